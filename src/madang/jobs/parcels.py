"""Ended runs, many in one transaction: what a page of usage costs hardly grows with its rows.

Only what is plain goes together: the one end of a task, of whose use nothing needs to be given back. All else, and all
of a parcel in which one row fails, is recorded run by run.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db import connection
from django.db.models import Count, Max, Q

from madang.engines.base import Outcome, UsageRow
from madang.grants import actions as grants
from madang.grants.models import Allocation
from madang.jobs import actions
from madang.jobs.models import Job, JobOutcome, JobState, Run, Task
from madang.ledger import actions as ledger
from madang.ledger.actions import Settlement
from madang.ledger.usage import Booked, booked_each, meter
from madang.workflow.log import act_on_many

SPECIAL = (Outcome.NODE_FAILED, Outcome.LOST)
logger = logging.getLogger(__name__)


def record_usage(engine: str, rows: Sequence[UsageRow]) -> int:
    """Each ended run once: see `actions.record_usage`. How many were new."""
    done: set[str] = set()
    if len(plain := _plain(rows)) > 1:
        try:
            done = _together(engine, plain)
        except Exception:
            logger.exception("%d runs could not be recorded together; each is tried by itself", len(plain))
    rest = [row for row in rows if actions.key_of(engine, row.key) not in done]
    return len(done) + actions.record_usage(engine, rest)


def _plain(rows: Sequence[UsageRow]) -> list[UsageRow]:
    ends = Counter((row.key.job, row.key.task) for row in rows)
    return [
        row for row in rows if ends[row.key.job, row.key.task] == 1 and not row.goes_on and row.outcome not in SPECIAL
    ]


@dataclass
class _End:
    """A run with the locked job and the task that it ends, and what it was charged."""

    key: str
    row: UsageRow
    job: Job
    task: Task
    charged: Booked


def _together(engine: str, rows: Sequence[UsageRow]) -> set[str]:
    """Record those of them that are new and of a task of ours. Their keys."""
    with act_on_many(None, "record_usage") as lines:
        ends = _ends(engine, rows)
        if not ends:
            return set()
        _charge(ends)
        _write_runs(ends)
        for end in ends:
            _count(end)
        _write_tasks([end.task for end in ends])
        jobs = {end.job.pk: end.job for end in ends}
        _sum_up(jobs)
        _write_jobs(list(jobs.values()))
        said: dict[int, list[UsageRow]] = {}
        for end in ends:
            said.setdefault(end.job.pk, []).append(end.row)
        for pk, mine in said.items():
            lines[jobs[pk]] = {
                "gpu_seconds": sum(row.gpu_seconds for row in mine),
                "outcome": jobs[pk].outcome or mine[-1].outcome.value,
                "runs": len(mine),
            }
        over = {end.job.allocation_id: end.job for end in ends if end.charged.overrun}
        for job in over.values():
            grants.overran(job.allocation)
    return {end.key for end in ends}


def _ends(engine: str, rows: Sequence[UsageRow]) -> list[_End]:
    locked = Job.objects.filter(engine=engine, uuid__in={row.key.job for row in rows})
    jobs = {job.uuid: job for job in locked.defer("script").select_for_update(of=("self",)).order_by("id")}
    keys = [actions.key_of(engine, row.key) for row in rows]
    known = set(Run.objects.filter(key__in=keys).values_list("key", flat=True))
    numbers = [row.key.task for row in rows]
    found = Task.objects.filter(job__in=jobs.values(), number__in=numbers)
    tasks = {(task.job_id, task.number): task for task in found}
    ends = []
    for key, row in zip(keys, rows, strict=True):
        job = jobs.get(row.key.job)
        task = tasks.get((job.pk, row.key.task)) if job else None
        if job and task and key not in known:
            ends.append(_End(key, row, job, task, Booked(None, 0, 0)))
    return ends


def _charge(ends: Sequence[_End]) -> None:
    payers = {
        pk: (account, resource)
        for pk, account, resource in Allocation.objects.filter(pk__in={end.job.allocation_id for end in ends})
        .order_by()
        .values_list("pk", "account", "resource_id")
    }
    records, unused = [], []
    for end in ends:
        if not end.row.gpu_seconds or end.row.started_at is None:
            if end.task.held and end.task.hold is not None:
                unused.append(Settlement(end.task.hold, 0, actions.hold_key(end.job.uuid, end.task.number)))
            continue
        account, resource = payers[end.job.allocation_id]
        assert account is not None
        hold = end.task.hold if end.task.held else None
        records.append(actions.record_of(end.job, end.key, hold, end.row, account=account, resource=resource))
    for _key, refused in meter(records, source=actions.SOURCE, reason="run").refused:
        raise refused
    for answer in ledger.settle_batch(unused, source=actions.SOURCE, actor=None, reason="nothing was used"):
        if isinstance(answer, Exception):
            raise answer
    charged = booked_each(actions.SOURCE, [end.key for end in ends])
    for end in ends:
        end.charged = charged[end.key]


def _count(end: _End) -> None:
    job, task, row = end.job, end.task, end.row
    job.held -= task.held
    task.held = 0
    for counted in (job, task):
        counted.used += end.charged.used
        counted.overrun += end.charged.overrun
    task.started_at, task.ended_at, task.exit_code = row.started_at, row.ended_at, actions.own_exit_code(row)
    task.outcome, task.why = JobOutcome(row.outcome.value), row.reason[:400]
    if job.tasks == 1:
        actions.sum_up(job, task)
    elif job.started_at is None or (task.started_at and task.started_at < job.started_at):
        job.started_at = task.started_at


def _sum_up(jobs: dict[int, Job]) -> None:
    """End those jobs of several tasks whose last task has ended."""
    many = [job.pk for job in jobs.values() if job.tasks > 1]
    if not many:
        return
    came = Task.objects.filter(job__in=many).order_by().values("job")
    for row in came.annotate(
        open=Count("id", filter=Q(outcome="")), last=Max("ended_at"), outcomes=ArrayAgg("outcome", distinct=True)
    ):
        if not row["open"]:
            job = jobs[row["job"]]
            job.outcome = next(outcome for outcome in actions.WORST_FIRST if outcome in row["outcomes"])
            job.ended_at, job.waits = row["last"], ""
            if job.lives:
                job.state = JobState.ENDED


TASKS = {
    "id": "bigint",
    "held": "bigint",
    "used": "bigint",
    "overrun": "bigint",
    "outcome": "text",
    "exit_code": "int",
    "why": "text",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
}
JOBS = {**TASKS, "state": "text", "waits": "text"}


RUNS = {
    "job_id": "bigint",
    "key": "text",
    "task": "int",
    "attempt": "int",
    "outcome": "text",
    "exit_code": "int",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "gpu_seconds": "bigint",
    "declared": "bool",
    "peak_memory_mb": "int",
    "log_truncated": "bool",
    "entry": "bigint",
    "marked_at": "timestamptz",
    "answer": "text",
}


def _write_runs(ends: Sequence[_End]) -> None:
    """As bulk_create does, whose statement would have a place for every value."""
    rows = []
    for end in ends:
        facts = actions.facts_of(end.row) | {"job_id": end.job.pk, "key": end.key, "task": end.task.number}
        rows.append(facts | {"attempt": end.row.key.attempt, "entry": end.charged.entry, "answer": ""})
    names, arrays = ", ".join(RUNS), ", ".join(f"%s::{kind}[]" for kind in RUNS.values())
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO jobs_run ({names}) SELECT * FROM unnest({arrays})",  # noqa: S608
            [[row[name] for row in rows] for name in RUNS],
        )


def _write_tasks(tasks: Sequence[Task]) -> None:
    _write("jobs_task", TASKS, tasks)


def _write_jobs(jobs: Sequence[Job]) -> None:
    _write("jobs_job", JOBS, jobs)


def _write(table: str, columns: dict[str, str], rows: Sequence[Any]) -> None:
    """The same columns of many rows in one statement: what the ORM makes for it grows with rows × columns."""
    names = list(columns)
    sets = ", ".join(f"{name} = s.{name}" for name in names[1:])
    arrays = ", ".join(f"%s::{kind}[]" for kind in columns.values())
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} t SET {sets} FROM unnest({arrays}) AS s({', '.join(names)}) WHERE t.id = s.id",  # noqa: S608
            [[getattr(row, name) for row in rows] for name in names],
        )
