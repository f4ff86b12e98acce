"""Runs that are recorded together are what they are one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from madang.engines.base import Outcome
from madang.jobs import actions, parcels
from madang.jobs.models import Job, Run, Task
from madang.jobs.tests import make
from madang.ledger.verify import verify
from madang.workflow.models import LogLine

pytestmark = pytest.mark.django_db


def ended(paper, row, count: int) -> list:
    """So many plain jobs of an allocation, handed over and ended after ten seconds each: their usage."""
    found = []
    for _ in range(count):
        job = make.job(row)
        actions.hand_over(job)
        found.append(paper.end(job, seconds=10))
    return found


def test_each_run_of_a_parcel_is_charged_once_to_its_own_allocation(paper):
    mine, theirs = make.allocation(), make.allocation()
    rows = [*ended(paper, mine, 3), *ended(paper, theirs, 2)]
    assert parcels.record_usage("paper", rows) == 5
    assert parcels.record_usage("paper", rows) == 0
    assert (make.balance(mine)[:2], make.balance(theirs)[:2]) == ((0, 30), (0, 20))
    assert set(Job.objects.values_list("state", "outcome", "held", "used")) == {("ended", "completed", 0, 10)}
    assert Run.objects.filter(entry__isnull=False).count() == 5
    assert LogLine.objects.filter(verb="record_usage").count() == 5
    assert verify() == []


def test_a_parcel_takes_the_same_number_of_statements_however_many_runs_it_has(paper):
    row = make.allocation()
    few, many = ended(paper, row, 2), ended(paper, row, 12)
    counts = []
    for rows in (few, many):
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert parcels.record_usage("paper", rows) == len(rows)
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_a_job_of_several_tasks_ends_with_its_last_and_as_its_worst(paper):
    row = make.allocation()
    job = make.job(row, tasks=3)
    actions.hand_over(job)
    rows = [paper.end(job, task=0, seconds=10), paper.end(job, task=1, seconds=20, outcome=Outcome.FAILED)]
    assert parcels.record_usage("paper", rows) == 2
    job.refresh_from_db()
    assert (job.lives, job.used, job.held) == (True, 30, 600)
    assert Task.objects.filter(job=job).exclude(outcome="").count() == 2
    last = [paper.end(job, task=2, seconds=5), *ended(paper, row, 1)]
    assert parcels.record_usage("paper", last) == 2
    job.refresh_from_db()
    assert (job.state, job.outcome, job.used, job.held, job.ended_at) == ("ended", "failed", 35, 0, last[0].ended_at)
    assert make.balance(row)[:2] == (0, 45)


def test_what_ended_before_it_used_anything_gives_its_holds_back_in_the_same_number_of_statements(paper):
    row = make.allocation()
    counts = []
    for tasks in (2, 12):
        job = make.job(row, tasks=tasks)
        actions.hand_over(job)
        rows = [paper.end(job, task=n, seconds=0, outcome=Outcome.CANCELLED) for n in range(tasks)]
        with CaptureQueriesContext(connection) as asked:
            assert parcels.record_usage("paper", rows) == tasks
        counts.append(len(asked))
        job.refresh_from_db()
        assert (job.state, job.outcome, job.held, job.used) == ("ended", "cancelled", 0, 0)
    assert make.balance(row) == (0, 0, row.amount)
    assert set(Run.objects.values_list("entry", "gpu_seconds")) == {(None, 0)}
    assert counts[0] == counts[1]
    assert verify() == []


def test_what_is_not_plain_keeps_nothing_else_from_being_recorded(paper):
    row = make.allocation()
    rows = ended(paper, row, 2)
    for outcome, seconds in ((Outcome.NODE_FAILED, 30), (Outcome.LOST, 30), (Outcome.CANCELLED, 0)):
        job = make.job(row)
        actions.hand_over(job)
        rows.append(paper.end(job, seconds=seconds, outcome=outcome))
    assert parcels.record_usage("paper", rows) == 5
    assert make.balance(row)[::2] == (0, row.amount - 20)  # what a node lost was given back
    assert not Job.objects.exclude(state="ended").exists()
    assert verify() == []


def test_what_the_holds_of_a_parcel_do_not_cover_is_an_overrun_of_its_job(paper):
    row = make.allocation()
    fine, long = ended(paper, row, 1), make.job(row)
    actions.hand_over(long)
    assert parcels.record_usage("paper", [*fine, paper.end(long, seconds=700)]) == 2
    long.refresh_from_db()
    assert (long.used + long.overrun, Task.objects.get(job=long).overrun) == (700, long.overrun)
    assert make.balance(row)[0] == 0


STOPPED = (Outcome.CANCELLED, Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY, Outcome.PREEMPTED, Outcome.NODE_FAILED)


@pytest.mark.parametrize("outcome", STOPPED)
@pytest.mark.parametrize("record", [parcels.record_usage, actions.record_usage])
def test_what_was_stopped_has_no_exit_code_of_its_own_though_its_engine_says_one(paper, record, outcome):
    job = make.job(make.allocation())
    actions.hand_over(job)
    told = paper.end(job, outcome=outcome)
    assert record("paper", [told]) == 1
    job.refresh_from_db()
    (run,), (task,) = job.runs.all(), job.task_rows.all()
    assert (job.outcome, job.exit_code, task.exit_code, run.exit_code) == (outcome, None, None, 0)
    record("paper", [replace(told, exit_code=15)])  # it says otherwise later
    job.refresh_from_db()
    assert (job.exit_code, job.runs.get().exit_code) == (None, 15)
