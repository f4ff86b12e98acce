"""What is said of a run that has ended: only what was measured, one sentence each, with the rules it was judged by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import translation

from madang.engines.base import Sample
from madang.facilities.compute import efficiency
from madang.facilities.compute.tests import make
from madang.identity import actions as people
from madang.jobs.models import Job, Run
from madang.jobs.tests import make as jobs

NINE = datetime(2026, 11, 26, 9, tzinfo=UTC)


def judged(samples=(), *, minutes=60, limit=60, outcome="completed", peak=None):
    job = Job(limit_s=limit * 60, memory_mb=8000, gpus=2)
    run = Run(started_at=NINE, ended_at=NINE + timedelta(minutes=minutes), outcome=outcome, peak_memory_mb=peak)
    with translation.override("en"):
        return efficiency.report(job, run, samples)


def sampled(*utilization, gpu=0, memory=4000):
    return [Sample(NINE + timedelta(seconds=15 * n), gpu, u, memory, 8000) for n, u in enumerate(utilization)]


def test_a_run_that_used_what_it_asked_for_gets_no_advice():
    found = judged(sampled(90, 80, 95, 99), minutes=50, peak=7000)
    assert (found.advice, found.utilization, found.idle, found.samples) == ([], 91, [], 4)


def test_a_generous_limit_is_said_with_one_that_would_do():
    (said,) = judged(minutes=20, limit=600).advice
    assert said == "It asked for 10 hours and needed 20 minutes: a limit of 40 minutes would do."


@pytest.mark.parametrize(
    ("minutes", "limit", "outcome"), [(13, 60, "completed"), (1, 9, "completed"), (1, 60, "failed")]
)
def test_a_limit_that_was_used_short_or_cut_by_a_failure_is_no_verdict(minutes, limit, outcome):
    assert judged(minutes=minutes, limit=limit, outcome=outcome).advice == []


@pytest.mark.parametrize(
    ("minutes", "outcome", "advised"),
    [(0.9, "completed", False), (1, "completed", True), (30, "failed", False), (30, "cancelled", False)],
)
def test_of_a_run_that_failed_or_was_over_in_no_time_nothing_is_advised(minutes, outcome, advised):
    found = judged(sampled(0, 0, 0, 0), minutes=minutes, limit=600, outcome=outcome, peak=10)
    assert (bool(found.advice), found.idle) == (advised, [0])


def test_memory_that_stayed_unused_is_said():
    assert judged(peak=1999).advice == [
        "It never used more than 1,999 of its 8,000 MiB of memory: larger batches would fit."
    ]
    assert judged(peak=2000).advice == []


def test_idle_gpus_are_told_from_slow_ones():
    none, one = judged(sampled(0, 1, 4, 0)), judged([*sampled(90, 90, 90, 90), *sampled(0, 0, 4, 0, gpu=1)])
    assert (none.advice, none.idle) == (["Its GPUs did nothing: does the script use them at all?"], [0])
    assert (one.advice, one.idle) == (["1 of its 2 GPUs did nothing: ask for fewer."], [1])
    assert judged(sampled(20, 20, 20, 20)).advice == ["Its GPUs were used 20% on average: perhaps they wait for data."]


def test_too_few_samples_or_none_are_no_verdict_about_gpus():
    for samples in ((), sampled(0, 0, 0), sampled(None, None, None, None, None)):
        found = judged(samples)
        assert (found.advice, found.utilization, found.idle) == ([], None, None)


def test_the_time_limit_that_ended_it_is_said():
    assert judged(outcome="timed_out").advice == [
        "It was ended at its limit: save its state on the signal USR1, or ask for more time."
    ]


def test_the_chart_has_a_bounded_number_of_points_and_a_table_of_some():
    found = judged(sampled(*([50] * 1000), memory=2000))
    assert len(found.points) <= efficiency.BUCKETS
    assert len(found.rows) <= efficiency.ROWS
    assert found.points[-1].at == found.rows[-1].at or len(found.rows) > 5
    assert {(point.utilization, point.memory) for point in found.points} == {(50, 25)}
    assert found.memory_line.startswith("0.0,120.0 ")
    assert found.utilization_line.endswith("640.0,80.0")


def test_a_run_that_never_ran_has_no_report():
    assert efficiency.report(Job(limit_s=60, memory_mb=1), Run(started_at=None, ended_at=NINE), ()) is None


@pytest.mark.django_db
def test_the_page_and_the_api_say_the_same_and_that_there_are_no_samples():
    row = make.allocation()
    job = make.job(row, tasks=2)
    client = Client(HTTP_ACCEPT_LANGUAGE="en")
    client.force_login(jobs.holder(row))
    page = reverse("compute:job", args=[job.uuid])
    assert "What it used of what it asked for" not in client.get(page).content.decode()
    make.ended(job, ["completed", "failed"], seconds=60)
    text = client.get(page, {"task": 0}).content.decode()
    assert "It asked for 10 minutes and needed 1 minute: a limit of 2 minutes would do" in text
    assert ("No samples" in text, "<polyline" in text) == (True, False)
    _token, secret = people.make_token(jobs.holder(row), name="test", days=1)
    api = Client(headers={"Authorization": f"Bearer {secret}", "Accept-Language": "en"})
    said = api.get(f"/api/v1/compute/jobs/{job.uuid}/efficiency", {"task": 0}).json()
    assert (said["wall_s"], said["limit_s"], said["samples"], said["points"]) == (60, 600, 0, [])
    assert (said["rules"], len(said["advice"])) == (efficiency.RULES, 1)
    waiting = make.job(row)
    assert api.get(f"/api/v1/compute/jobs/{waiting.uuid}/efficiency").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_what_the_engine_sampled_is_drawn_and_listed():
    row = make.allocation()
    job = make.job(row, gpus=1)
    jobs.actions.hand_over(job)
    with connection.cursor() as cursor:
        for n in range(5):
            cursor.execute(
                """INSERT INTO engine_sample (run, at, gpu, utilization, memory_mb, memory_total_mb)
                   SELECT run, now() + %s * interval '15 s', 0, 10, 100, 1000 FROM engine_run WHERE job = %s""",
                [n, job.uuid],
            )
    client = Client(HTTP_ACCEPT_LANGUAGE="en")
    client.force_login(jobs.holder(row))
    Job.objects.filter(pk=job.pk).update(started_at=job.submitted_at, state="running")
    address = reverse("compute:log", args=[job.uuid])
    live = client.get(address, headers={"HX-Request": "true"}).content.decode()
    told = client.get(f"/api/v1/compute/jobs/{job.uuid}/metrics").json()
    Job.objects.filter(pk=job.pk).update(started_at=None, state="submitted")
    make.ended(job, ["completed"], seconds=599)
    try:
        text = client.get(reverse("compute:job", args=[job.uuid])).content.decode()
    finally:
        with connection.cursor() as cursor:  # the tables that Django doesn't know, and so doesn't empty
            for table in ("engine_sample", "engine_slot", "engine_file", "engine_run", "engine_job"):
                cursor.execute(f"DELETE FROM {table}")
    assert "Its GPUs now" in live
    assert "100 / 1,000 MiB" in live
    assert "Its GPUs now" not in text
    assert ([gpu["utilization"] for gpu in told["gpus"]], len(told["points"])) == ([10.0], 5)
    assert "Its GPUs were used 10% on average" in text
    assert ("<polyline" in text, "No samples" in text) == (True, False)
