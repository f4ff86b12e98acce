from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils.timezone import now
from procrastinate.contrib.django.models import ProcrastinateJob

from madang.identity.tests import make as identity
from madang.jobs import actions
from madang.jobs.models import Job, JobState
from madang.jobs.tests import make
from madang.ledger import queries as ledger
from madang.workflow.errors import Missing, Refused, Stale
from madang.workflow.models import LogLine

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("paper")]


def test_a_job_holds_its_worst_case_and_is_deferred_once():
    row = make.allocation()
    job = make.job(row, gpus=2, limit_s=601)
    assert (job.state, job.held) == (JobState.ACCEPTED, 2 * 11 * 60)
    assert make.balance(row) == (1320, 0, 10 * 3600 - 1320)
    (task,) = ProcrastinateJob.objects.filter(lock=str(job.uuid))
    assert (task.args, task.lock) == ({"job": job.pk}, str(job.uuid))
    assert list(LogLine.objects.filter(kind="jobs.job", ref=job.pk).values_list("verb", flat=True)) == ["submit"]


def test_a_double_click_is_one_job_one_hold_one_task():
    row = make.allocation()
    uuid = uuid4()
    assert make.job(row, uuid=uuid).pk == make.job(row, uuid=uuid).pk
    assert Job.objects.count() == 1
    assert make.balance(row)[0] == 600
    assert ProcrastinateJob.objects.filter(lock=str(uuid)).count() == 1
    assert LogLine.objects.get(kind="jobs.job").verb == "submit"


@pytest.mark.parametrize(
    "other",
    [{"gpus": 2}, {"name": "다른 이름"}, {"script": "#!/bin/sh\necho other\n"}, {"arguments": ["x"]}, {"limit_s": 60}],
)
def test_the_same_uuid_with_other_content_is_refused(other):
    row = make.allocation()
    uuid = uuid4()
    make.job(row, uuid=uuid)
    with pytest.raises(Stale):
        make.job(row, uuid=uuid, **other)
    assert make.balance(row)[0] == 600


def test_the_uuid_of_somebody_elses_job_gives_nothing_away():
    mine, theirs = make.allocation(), make.allocation()
    job = make.job(theirs)
    with pytest.raises(Stale):
        make.job(mine, uuid=job.uuid)
    assert make.balance(mine)[0] == 0


def test_what_a_browser_does_to_line_ends_changes_nothing():
    row = make.allocation()
    uuid = uuid4()
    make.job(row, uuid=uuid, script="#!/bin/sh\necho 1\n")
    assert make.job(row, uuid=uuid, script="#!/bin/sh\r\necho 1").script == "#!/bin/sh\necho 1\n"


def test_more_than_is_left_is_refused_at_the_field_and_nothing_is_kept():
    row = make.allocation(amount=3600)
    uuid = uuid4()
    with pytest.raises(Refused) as refused:
        make.job(row, uuid=uuid, gpus=8, limit_s=3600)
    assert list(refused.value.errors) == ["limit_s"]
    assert "8 GPU" in str(refused.value)
    assert "1 GPU" in str(refused.value)
    assert (Job.objects.count(), make.balance(row)) == (0, (0, 0, 3600))
    assert not ProcrastinateJob.objects.filter(lock=str(uuid)).exists()


def test_an_allocation_is_filled_to_the_last_second():
    row = make.allocation(amount=1200)
    make.job(row)
    make.job(row)
    with pytest.raises(Refused):
        make.job(row, limit_s=60)
    assert make.balance(row) == (1200, 0, 0)


@pytest.mark.parametrize("state", ["paused", "closed"])
def test_only_an_open_allocation_takes_jobs(state):
    row = make.allocation(state=state)
    with pytest.raises(Refused) as refused:
        make.job(row)
    assert list(refused.value.errors) == ["allocation"]


@pytest.mark.parametrize(
    "facts",
    [
        {"state": "closed"},
        {"starts_at": now() + timedelta(hours=1)},
        {"starts_at": now() - timedelta(days=2), "ends_at": now() - timedelta(seconds=1)},
    ],
)
def test_only_an_active_grant_on_its_days_of_use_takes_jobs(facts):
    row = make.allocation(make.grant(**facts))
    with pytest.raises(Refused) as refused:
        make.job(row)
    assert list(refused.value.errors) == ["allocation"]
    assert make.balance(row)[0] == 0


def test_strangers_and_former_members_find_no_allocation():
    row = make.allocation()
    make.job(row)
    with pytest.raises(Missing):
        make.job(row, actor=identity.lead_of(identity.organization()))
    with pytest.raises(Missing):
        make.job(row, actor=identity.officer())
    former = identity.member(row.grant.organization)
    former.memberships.update(until=now())
    identity.forget(former)
    with pytest.raises(Missing):
        make.job(row, actor=former)
    assert make.job(row, actor=identity.member(row.grant.organization)).lives


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "nul\x00"}, "name"),
        ({"name": "turned \u202etxt.exe"}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"script": "echo no interpreter"}, "script"),
        ({"script": "#!/bin/sh\n\x00"}, "script"),
        ({"script": "#!/bin/sh\n" + "#" * 200_000}, "script"),
        ({"script": "#!/bin/sh\n" + "가" * 70_000}, "script"),
        ({"arguments": ["x"] * 101}, "arguments"),
        ({"arguments": ["a\nb"]}, "arguments"),
        ({"arguments": ["x" * 1001]}, "arguments"),
        ({"gpus": 0}, "gpus"),
        ({"gpus": -1}, "gpus"),
        ({"gpus": 9}, "gpus"),
        ({"limit_s": 0}, "limit_s"),
        ({"limit_s": 10**9}, "limit_s"),
    ],
)
def test_what_cannot_be_run_is_refused_at_its_field(facts, field):
    row = make.allocation()
    with pytest.raises(Refused) as refused:
        make.job(row, **facts)
    assert list(refused.value.errors) == [field]
    assert make.balance(row)[0] == 0


def test_everything_wrong_is_said_at_once():
    with pytest.raises(Refused) as refused:
        make.job(make.allocation(), name="", script="x", gpus=0)
    assert sorted(refused.value.errors) == ["gpus", "name", "script"]


@pytest.mark.parametrize("name", ["🚀 훈련", "عربي", "a" * 80])
def test_names_of_all_peoples_are_welcome(name):
    assert make.job(make.allocation(), name=name).name == name


def test_canceling_before_the_engine_was_told_gives_everything_back():
    row = make.allocation()
    job = make.job(row)
    actions.cancel(make.holder(row), job=job)
    assert (job.state, job.outcome, job.held) == ("ended", "cancelled", 0)
    assert make.balance(row) == (0, 0, 10 * 3600)
    with pytest.raises(Stale):
        actions.cancel(make.holder(row), job=job)
    assert ledger.check() == []


def test_only_members_of_its_organization_cancel_a_job():
    row = make.allocation()
    job = make.job(row)
    with pytest.raises(Missing):
        actions.cancel(identity.lead_of(identity.organization()), job=job)
    assert actions.cancel(identity.member(row.grant.organization), job=job).outcome == "cancelled"
