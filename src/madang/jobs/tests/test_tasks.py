"""Jobs of many tasks: each with its own hold, settled by its own run; and sweeps, whose tasks differ by a table."""

from __future__ import annotations

import csv
import subprocess
from datetime import timedelta
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction
from django.utils.timezone import now

from madang.engines.base import Outcome, RunKey
from madang.jobs import actions, poller, queries, sweeps
from madang.jobs.models import Job, Run, Task
from madang.jobs.tests import make
from madang.ledger import queries as ledger
from madang.ledger.models import Entry
from madang.workflow.errors import Missing, Refused, Stale

pytestmark = [pytest.mark.django_db]
TEN_HOURS = 10 * 3600
TABLE = 'lr,name\n0.1,first\n0.01,"it\'s, $(touch x) `id`"\n0.001,한글\n'


def again(job: Job) -> Job:
    job.refresh_from_db()
    return job


def nothing_is_wrong() -> None:
    assert (queries.mismatches(), ledger.check()) == (([], []), [])


def handed_over(row, **facts) -> Job:
    job = make.job(row, **facts)
    actions.hand_over(job)
    return job


def test_every_task_has_a_hold_of_its_own_under_its_own_name(paper):
    row = make.allocation()
    job = make.job(row, tasks=3, gpus=2)
    assert (job.tasks, job.held, make.balance(row)[0]) == (3, 3600, 3600)
    keys = Entry.objects.filter(pk__in=job.task_rows.values("hold")).order_by("id").values_list("ext_key", flat=True)
    assert list(keys) == [f"{job.uuid}#{task}#1.0" for task in range(3)]
    actions.hand_over(job)
    assert (paper.specs[job.uuid].tasks, paper.submissions) == (3, 1)
    nothing_is_wrong()


def test_what_a_task_did_not_use_is_back_when_it_ends_and_the_job_ends_with_the_last(paper):
    row = make.allocation()
    job = handed_over(row, tasks=3)
    paper.start(job, 1)
    poller.look()
    assert (again(job).state, [bool(task.started_at) for task in job.task_rows.all()]) == (
        "running",
        [False, True, False],
    )
    paper.end(job, task=1, seconds=100)
    poller.look()
    assert (again(job).state, job.held, job.used) == ("running", 1200, 100)
    assert make.balance(row) == (1200, 100, TEN_HOURS - 1300)
    paper.end(job, task=0, seconds=50, outcome=Outcome.FAILED)
    paper.end(job, task=2, seconds=0, outcome=Outcome.CANCELLED)
    poller.look()
    assert (again(job).state, job.outcome, job.held, job.used) == ("ended", "failed", 0, 150)
    assert make.balance(row) == (0, 150, TEN_HOURS - 150)
    assert list(job.task_rows.values_list("outcome", "used", "exit_code")) == [
        ("failed", 50, 5),
        ("completed", 100, 0),
        ("cancelled", 0, None),
    ]
    assert queries.tally(job).counts == {"failed": 1, "completed": 1, "cancelled": 1}
    nothing_is_wrong()


@pytest.mark.parametrize(
    ("came", "outcome"),
    [
        ([Outcome.COMPLETED, Outcome.COMPLETED], "completed"),
        ([Outcome.COMPLETED, Outcome.CANCELLED], "cancelled"),
        ([Outcome.TIMED_OUT, Outcome.CANCELLED], "timed_out"),
        ([Outcome.FAILED, Outcome.OUT_OF_MEMORY], "out_of_memory"),
        ([Outcome.LOST, Outcome.FAILED], "lost"),
    ],
)
def test_a_job_came_to_the_worst_that_one_of_its_tasks_came_to(paper, came, outcome):
    job = handed_over(make.allocation(), tasks=2)
    for task, one in enumerate(came):
        paper.end(job, task=task, seconds=10, outcome=one)
    poller.look()
    assert (again(job).outcome, job.lives) == (outcome, False)


def test_usage_of_tasks_in_any_order_any_number_of_times_counts_once(paper):
    row = make.allocation()
    job = handed_over(row, tasks=4)
    rows = [paper.end(job, task=task, seconds=10 * (task + 1)) for task in range(4)]
    for part in (rows[2:], rows, list(reversed(rows)), rows[:1]):
        actions.record_usage("paper", part)
    poller.look()
    assert (Run.objects.count(), again(job).used, make.balance(row)) == (4, 100, (0, 100, TEN_HOURS - 100))


def test_a_second_run_of_a_task_is_charged_by_itself_and_the_others_keep_their_holds(paper):
    row = make.allocation()
    job = handed_over(row, tasks=2)
    actions.record_usage("paper", [paper.end(job, task=0, seconds=30)])
    actions.record_usage("paper", [paper.end(job, task=0, seconds=20, attempt=2)])
    assert (again(job).lives, job.used, make.balance(row)) == (True, 50, (600, 50, TEN_HOURS - 650))
    nothing_is_wrong()


def test_a_task_that_the_job_does_not_have_is_charged_to_nobody(paper):
    row = make.allocation()
    job = handed_over(row, tasks=2)
    actions.record_usage("paper", [paper.end(job, task=7, seconds=30)])
    assert (Run.objects.count(), make.balance(row)) == (0, (1200, 0, TEN_HOURS - 1200))


def test_either_every_task_is_held_or_none(paper):
    row = make.allocation(amount=1800)
    with pytest.raises(Refused) as refused:
        make.job(row, tasks=4)
    assert (list(refused.value.errors), make.balance(row)) == (["limit_s"], (0, 0, 1800))
    assert (Job.objects.count(), Task.objects.count()) == (0, 0)
    assert make.job(row, tasks=3).held == 1800


def test_canceling_before_the_engine_was_told_gives_every_hold_back(paper):
    row = make.allocation()
    job = make.job(row, tasks=50)
    actions.cancel(make.holder(row), job=job)
    assert (job.outcome, job.held, make.balance(row)) == ("cancelled", 0, (0, 0, TEN_HOURS))
    assert queries.tally(job).counts == {"cancelled": 50}
    nothing_is_wrong()


def test_a_refusal_by_the_engine_ends_every_task(paper):
    row = make.allocation()
    job = make.job(row, tasks=2)
    paper.reject = "no"
    actions.hand_over(job)
    assert (again(job).outcome, queries.tally(job).counts, make.balance(row)[0]) == ("refused", {"refused": 2}, 0)


def test_an_array_that_the_engine_forgot_is_handed_over_again_with_the_same_content(paper):
    job = handed_over(make.allocation(), parameters=TABLE)
    before = paper.specs[job.uuid]
    poller.look()
    Job.objects.update(told_at=now() - timedelta(hours=1), submitted_at=now() - timedelta(hours=1))
    paper.forget(job)
    for _ in range(3):
        poller.look()
    assert (again(job).state, paper.specs[job.uuid] == before, len(paper.live)) == ("queued", True, 3)


def test_a_thousand_tasks_are_one_submission(paper):
    row = make.allocation(amount=10**9)
    job = handed_over(row, tasks=1000, parallel=50)
    assert (job.task_rows.count(), make.balance(row)[0], paper.specs[job.uuid].parallel) == (1000, 600_000, 50)
    first = queries.tasks_of(job)
    second = queries.tasks_of(job, after=first.after)
    assert [task.number for task in (*first.items, *second.items)] == list(range(200))


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"tasks": 0}, "tasks"),
        ({"tasks": 10_001}, "tasks"),
        ({"tasks": -1}, "tasks"),
        ({"parallel": -1}, "parallel"),
        ({"parallel": 10_001}, "parallel"),
        ({"parameters": "a,b\n"}, "parameters"),
        ({"parameters": "a,b\n1\n"}, "parameters"),
        ({"parameters": "a,a\n1,2\n"}, "parameters"),
        ({"parameters": "1a\n1\n"}, "parameters"),
        ({"parameters": "a b\n1\n"}, "parameters"),
        ({"parameters": "x=1;id\n1\n"}, "parameters"),
        ({"parameters": "MADANG_JOB\n1\n"}, "parameters"),
        ({"parameters": "MADANG_TASK\n-1\n"}, "parameters"),
        ({"parameters": 'a\n"two\nlines"\n'}, "parameters"),
        ({"parameters": 'a\n"open\n'}, "parameters"),
        ({"parameters": "a\nnul\x00\n"}, "parameters"),
        ({"parameters": "a\n" + "x" * 1001 + "\n"}, "parameters"),
        ({"parameters": "a\n" + "1\n" * 10_001}, "parameters"),
        ({"parameters": "a\n" + "x" * 1_000_000}, "parameters"),
        ({"parameters": ",".join(f"v{n}" for n in range(101)) + "\n"}, "parameters"),
        ({"parameters": TABLE, "tasks": 2}, "tasks"),
    ],
)
def test_what_is_no_array_and_no_table_is_refused_at_its_field(paper, facts, field):
    row = make.allocation()
    with pytest.raises(Refused) as refused:
        make.job(row, **facts)
    assert (list(refused.value.errors), make.balance(row)[0], Job.objects.count()) == ([field], 0, 0)


def test_the_same_uuid_with_another_table_is_refused(paper):
    row = make.allocation()
    uuid = uuid4()
    assert make.job(row, uuid=uuid, parameters=TABLE).pk == make.job(row, uuid=uuid, parameters=TABLE).pk
    for other in ({"parameters": TABLE.replace("0.1", "0.2")}, {"tasks": 3}, {"parameters": TABLE, "parallel": 1}):
        with pytest.raises(Stale):
            make.job(row, uuid=uuid, **other)
    assert (Task.objects.count(), make.balance(row)[0]) == (3, 1800)


SHOW = '#!/bin/sh\nprintf \'%s|%s|%s|%s\' "$MADANG_TASK" "$lr" "$name" "$*"\nls -A . >&2\n'


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_each_task_gets_its_own_row_and_no_value_is_ever_executed(paper, tmp_path, shell):
    job = handed_over(make.allocation(), script=SHOW, parameters=TABLE)
    spec = paper.specs[job.uuid]
    said = []
    for task in range(3):
        work = tmp_path / str(task)
        for file in spec.files:
            (work / file.path).parent.mkdir(parents=True, exist_ok=True)
            (work / file.path).write_bytes(file.content)
        wrapper = tmp_path / "wrapper"
        wrapper.write_text(spec.script)
        done = subprocess.run(
            [shell, str(wrapper), "a b"], cwd=work, env={"MADANG_TASK": str(task), "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stderr.split() == [".madang"]
        assert [path.name for path in Path(work / ".madang").iterdir()] == ["script"]
        said.append(done.stdout)
    assert said == ["0|0.1|first|a b", "1|0.01|it's, $(touch x) `id`|a b", "2|0.001|한글|a b"]


def test_the_failed_ones_again_are_a_table_that_keeps_their_numbers(paper):
    row = make.allocation()
    job = handed_over(row, parameters=TABLE)
    for task, outcome in enumerate([Outcome.COMPLETED, Outcome.FAILED, Outcome.TIMED_OUT]):
        paper.end(job, task=task, seconds=10, outcome=outcome)
    poller.look()
    table = queries.again(again(job))
    assert list(csv.reader(StringIO(table))) == [
        ["MADANG_TASK", "lr", "name"],
        ["1", "0.01", "it's, $(touch x) `id`"],
        ["2", "0.001", "한글"],
    ]
    second = handed_over(row, parameters=table)
    for task in range(2):
        paper.end(second, task=task, seconds=10, outcome=Outcome.FAILED)
    poller.look()
    assert queries.again(again(second)) == table
    assert "export MADANG_TASK=2 lr=0.001" in paper.specs[second.uuid].files[0].content.decode()


def test_the_failed_ones_of_a_plain_array_keep_their_numbers_too(paper):
    job = handed_over(make.allocation(), tasks=3)
    for task in range(3):
        paper.end(job, task=task, seconds=10, outcome=Outcome.FAILED if task == 2 else Outcome.COMPLETED)
    poller.look()
    assert queries.again(again(job)) == "MADANG_TASK\n2\n"
    assert sweeps.read(queries.again(job)).rows == [["2"]]


def test_a_task_that_is_not_there_is_missing(paper):
    job = make.job(make.allocation(), tasks=2)
    assert queries.task_for(job, 1).number == 1
    for number in (2, 10**9, 2**80):
        with pytest.raises(Missing):
            queries.task_for(job, number)


@pytest.mark.parametrize(
    "wrong",
    [{"outcome": "completed"}, {"ended_at": now()}, {"outcome": "failed", "held": 0}, {"held": -1}, {"number": 10_000}],
)
def test_the_database_refuses_a_task_that_cannot_be(paper, wrong):
    job = make.job(make.allocation(), tasks=2)
    with pytest.raises(IntegrityError), transaction.atomic():
        job.task_rows.filter(number=0).update(**wrong)
    with pytest.raises(IntegrityError), transaction.atomic():
        Task.objects.create(job=job, number=1, hold=0, held=0)


def test_a_live_job_without_a_live_task_is_reported(paper):
    job = make.job(make.allocation(), tasks=2)
    Job.objects.filter(pk=job.pk).update(state="ended", outcome="completed")
    assert queries.mismatches()[1] == [job]


def test_a_run_is_found_under_its_task(paper):
    job = handed_over(make.allocation(), tasks=2)
    paper.end(job, task=1, seconds=5)
    poller.look()
    (run,) = queries.runs_of(job, 1)
    assert (queries.runs_of(job, 0), actions.run_key(run)) == ([], RunKey(job.uuid, 1))
