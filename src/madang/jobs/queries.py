"""What is read of jobs. Scoped by the organizations of the reader: another tenant's job is Missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import islice
from typing import Any
from uuid import UUID

from django.db.models import Count, DateTimeField, Exists, Func, JSONField, Max, Min, OuterRef, Q, QuerySet, Sum
from django.db.models.expressions import RawSQL
from django.utils.translation import gettext as _

from madang.engines.base import MAX_LIMIT_S
from madang.identity.access import access_of, require
from madang.identity.models import Role
from madang.jobs import maintenance, sweeps
from madang.jobs.actions import SOURCE
from madang.jobs.models import LIVE, Bare, Job, JobOutcome, JobState, Node, Run, Task, Watch
from madang.ledger import queries as ledger
from madang.ledger.models import Entry
from madang.twin.backtest import Stint
from madang.twin.expect import Live
from madang.workflow.errors import Missing
from madang.workflow.models import LogLine
from madang.workflow.moment import now

PAGE = 30


@dataclass(frozen=True)
class Slice:
    """One page of a list, newest first. `after` continues it; None where this is the end."""

    items: list[Job]
    after: int | None


def visible(person: Any) -> QuerySet[Job]:
    """The jobs of the person's own organizations."""
    return Job.objects.filter(allocation__grant__organization_id__in=list(access_of(person).organizations))


LISTED = (  # the columns of a line in a list
    *("uuid", "name", "bare", "state", "outcome", "gpus", "held", "used", "expected_at", "submitted_at"),
    *("person__name", "person__email", "allocation__resource__name_ko", "allocation__resource__name_en"),
)


def jobs_of(
    person: Any,
    *,
    columns: Sequence[str] = (),
    mine: bool = False,
    live: bool | None = None,
    allocation: int | None = None,
    after: int | None = None,
    limit: int = PAGE,
) -> Slice:
    """A page of jobs, without their scripts, or with these `columns` alone; `after` is the id of the last one of the
    page before."""
    rows = visible(person)
    if columns:
        rows = rows.select_related("allocation__resource", "person").only(*columns)
    else:
        wide = ("allocation__grant__organization", "allocation__resource", "person")
        rows = rows.defer("script").select_related(*wide)
    if mine:
        rows = rows.filter(person=person)
    if live is not None:
        rows = rows.filter(state__in=LIVE) if live else rows.filter(state=JobState.ENDED)
    if allocation is not None:
        rows = rows.filter(allocation_id=allocation)
    return _slice(rows, after, limit)


def _slice(rows: QuerySet[Job], after: int | None, limit: int) -> Slice:
    """The newest of them that are older than `after`."""
    if after is not None:
        rows = rows.filter(id__lt=after)
    found = list(rows.order_by("-id")[: limit + 1])
    return Slice(found[:limit], found[limit - 1].pk if len(found) > limit else None)


def job_for(person: Any, uuid: UUID) -> Job:
    """One job with its allocation, grant and person, if this person may see it; Missing otherwise."""
    job = (
        visible(person)
        .filter(uuid=uuid)
        .select_related("allocation__grant__organization", "allocation__resource", "person")
        .first()
    )
    if job is None:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    return job


OPERATED = (  # what operators see of a job: neither what runs, nor with what, nor what it writes
    *("uuid", "name", "engine", "partition", "posix_user", "gpu_type", "gpus", "limit_s", "tasks", "requeue", "bare"),
    *("state", "outcome", "exit_code", "held", "used", "overrun", "waits", "place", "expected_at"),
    *("person", "cancel_asked_at", "cancel_why", "submitted_at", "told_at", "started_at", "ended_at"),
    *("allocation__resource__name_ko", "allocation__resource__name_en", "allocation__resource__kind"),
    *("allocation__grant__number", "allocation__grant__title", "allocation__grant__organization__name_ko"),
    "allocation__grant__organization__name_en",
)


def _operated(person: Any) -> QuerySet[Job]:
    require(person, Role.OPERATOR)
    return Job.objects.select_related("allocation__resource", "allocation__grant__organization").only(*OPERATED)


def live_of_all(
    person: Any, *, engine: str = "", partition: str = "", after: int | None = None, limit: int = PAGE
) -> Slice:
    """A page of the jobs of all organizations that run or wait, newest first, as operators see them; of one engine or
    partition where these are named."""
    rows = _operated(person).exclude(state=JobState.ENDED)  # in the words of the index of live jobs
    if engine:
        rows = rows.filter(engine=engine)
    if partition:
        rows = rows.filter(partition=partition)
    return _slice(rows, after, limit)


def operated(person: Any, uuid: UUID) -> Job:
    """Any job, as operators see it; NotAllowed for others, Missing where there is none."""
    job = _operated(person).filter(uuid=uuid).first()
    if job is None:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    return job


def runs_of(job: Job, task: int | None = None) -> list[Run]:
    """The ended runs of a job, or of one task of it, in the order in which they were recorded."""
    rows = job.runs.order_by("id")
    return list(rows if task is None else rows.filter(task=task))


def held_back(job: Job) -> bool:
    """Whether a run of it that is to start again waits until the balance covers it."""
    return job.requeue and job.lives and job.task_rows.filter(held_back=True, outcome="", held=0).exists()


def held_back_of(jobs: Sequence[int]) -> set[int]:
    """Of these jobs, by their ids, those of which a run that is to start again waits until the balance covers it."""
    rows = Task.objects.filter(job__in=jobs, held_back=True, outcome="", held=0)
    return set(rows.order_by().values_list("job_id", flat=True)) if jobs else set()


TASKS = 100  # on one page


@dataclass(frozen=True)
class TaskSlice:
    """One page of a job's tasks by number. `after` continues it; None where this is the end."""

    items: list[Task]
    after: int | None


def tasks_of(job: Job, *, outcome: str = "", after: int | None = None, limit: int = TASKS) -> TaskSlice:
    """A page of the tasks of a job; `outcome` "open": those that haven't ended, "failed": those that ended badly."""
    rows = job.task_rows.order_by("number")
    if outcome == "failed":
        rows = rows.exclude(outcome__in=["", JobOutcome.COMPLETED])
    elif outcome:
        rows = rows.filter(outcome="" if outcome == "open" else outcome)
    if after is not None:
        rows = rows.filter(number__gt=after)
    found = list(rows[: limit + 1])
    return TaskSlice(found[:limit], found[limit - 1].number if len(found) > limit else None)


def task_for(job: Job, number: int) -> Task:
    """One task of a job that may be seen; Missing where it has none of this number."""
    task = job.task_rows.filter(number=number).first() if number < job.tasks else None
    if task is None:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    return task


@dataclass(frozen=True)
class Tally:
    """How many tasks of a job came to what; "running" and "waiting" are those that haven't ended. `mark` is another one
    once a line of their table says something else."""

    counts: dict[str, int]
    mark: str


def tally(job: Job) -> Tally:
    """The tasks of a job, counted by how they ended. One SQL statement."""
    rows = list(
        job.task_rows.order_by("outcome")
        .values_list("outcome")
        .annotate(Count("id"), Count("started_at"), Max("started_at"), Max("ended_at"), Sum("used"))
    )
    counts: dict[str, int] = {}
    for outcome, number, started, *_rest in rows:
        named = {outcome: number} if outcome else {"running": started, "waiting": number - started}
        counts |= {name: how_many for name, how_many in named.items() if how_many}
    return Tally(counts, sha256(repr(rows).encode()).hexdigest()[:16])


def again(job: Job) -> str:
    """The parameter table of the tasks that ended badly, as CSV: submitted, it runs them again under their numbers."""
    bad = job.task_rows.exclude(outcome__in=["", JobOutcome.COMPLETED]).order_by("number")
    return sweeps.table_of(job.variables, bad.values_list("number", "parameters"))


def history(job: Job, *, limit: int = 50) -> list[LogLine]:
    return list(LogLine.objects.filter(kind="jobs.job", ref=job.pk).order_by("id")[:limit])


def watches() -> dict[str, Watch]:
    """What the poller last heard of each engine, with its `coming` maintenance (see `maintenance.windows_of`) and the
    `moment` of reading."""
    coming = RawSQL(maintenance.COMING, (), output_field=JSONField())  # noqa: S611
    moment = Func(function="clock_timestamp", output_field=DateTimeField())
    rows = Watch.objects.annotate(coming=coming, moment=moment)  # type: ignore[no-redef]
    return {watch.engine: watch for watch in rows}


@dataclass(frozen=True)
class Line:
    """How many jobs of a partition are in a state, and since when the oldest of them."""

    engine: str
    partition: str
    state: str
    jobs: int
    gpus: int
    since: Any

    @property
    def said(self) -> str:
        return str(JobState(self.state).label)


def lines() -> list[Line]:
    """The live jobs of the whole site, counted: no names, no owners."""
    rows = (
        Job.objects.filter(state__in=LIVE)
        .order_by()
        .values_list("engine", "partition", "state")
        .annotate(Count("id"), Sum("gpus"), Min("submitted_at"))
        .order_by("engine", "partition", "state")
    )
    return [Line(*row) for row in rows]


def nodes_by_state() -> list[tuple[str, str, int]]:
    """(engine, state, how many) of all nodes."""
    return list(
        Node.objects.order_by().values_list("engine", "state").annotate(Count("id")).order_by("engine", "state")
    )


def mismatches() -> tuple[list[Entry], list[Job]]:
    """What must never be: holds without a live task behind them, and jobs of which a live task's hold is ended by
    something else, or that live without a live task, or ended with one."""
    # A run that its engine starts again has a hold only where that is covered.
    tasks = list(Task.objects.filter(outcome="", held__gt=0).order_by().values_list("job_id", "hold"))
    holds = list(ledger.open_holds(source=SOURCE))
    held, backed = {entry.pk for entry in holds}, {hold for _job, hold in tasks}
    unheld = Q(pk__in={job for job, hold in tasks if hold not in held})
    # A job lives as long as one of its tasks.
    lives = Exists(Task.objects.filter(job=OuterRef("pk"), outcome=""))
    torn = Q(~lives, state__in=LIVE) | Q(lives, state=JobState.ENDED)
    return [entry for entry in holds if entry.pk not in backed], list(
        Job.objects.filter(unheld | torn).only("id", "uuid")
    )


LIVE_SEEN, PAST_SEEN, STINTS_SEEN = 5000, 1000, 50_000


def crowd(engine: str, partition: str) -> tuple[list[Live], list[float]]:
    """(tasks of a partition that run or wait, in the order of the queue; run ÷ limit of its latest runs), of everybody.

    For a forecast: nothing of it may be shown but what the forecast says.
    """
    at = now()
    rows = (
        Task.objects.filter(job__engine=engine, job__partition=partition, outcome="")
        .exclude(job__state=JobState.ENDED)
        .order_by("job_id", "number")
        .values_list("job__submitted_at", "job__gpus", "job__limit_s", "started_at")[:LIVE_SEEN]
    )
    past_us = (
        Bare.objects.filter(engine=engine, partition=partition, gpus__gt=0)
        .order_by("submitted_at", "id")
        .values_list("submitted_at", "gpus", "limit_s", "started_at", "runs")[:LIVE_SEEN]
    )
    each = (row for *row, runs in past_us for _run in range(runs))  # an array may have very many
    queue: list[Any] = [*rows, *islice(each, LIVE_SEEN)]
    queue.sort(key=lambda row: row[0])  # which leaves those of one instant as they are
    live = [
        Live(gpus, limit_s or MAX_LIMIT_S, None if started is None else max(0, int((at - started).total_seconds())))
        for _submitted, gpus, limit_s, started in queue[:LIVE_SEEN]
    ]
    ended = (
        Run.objects.filter(job__engine=engine, job__partition=partition, started_at__isnull=False, gpu_seconds__gt=0)
        .order_by("-id")
        .values_list("started_at", "ended_at", "job__limit_s")[:PAST_SEEN]
    )
    past = [(end - start).total_seconds() / max(1, limit_s) for start, end, limit_s in ended if start]
    return live, past


def stints(engine: str, partition: str, since: datetime, until: datetime) -> list[Stint]:
    """What ran on a partition of what was submitted from `since` until before `until`, of everybody, by submission. A
    later attempt counts from its start: when it became eligible isn't known.

    For a count: nothing of it may be shown but that.
    """
    rows = (
        Run.objects.filter(
            job__engine=engine,
            job__partition=partition,
            job__submitted_at__gte=since,
            job__submitted_at__lt=until,
            started_at__isnull=False,
        )
        .order_by("-id")
        .values_list("attempt", "job__submitted_at", "started_at", "ended_at", "job__gpus", "job__limit_s")
    )
    found = []
    for attempt, submitted, started, ended, gpus, limit_s in rows[:STINTS_SEEN]:
        submit, start, end = (int(at.timestamp()) for at in (submitted, started, ended) if at)
        found.append(Stint(submit if attempt == 1 else start, start, end, gpus, limit_s))
    return sorted(found)
