"""What is read of jobs. Scoped by the organizations of the reader: another tenant's job is Missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Count, Min, QuerySet, Sum
from django.utils.translation import gettext as _

from madang.identity.access import access_of
from madang.jobs.actions import SOURCE
from madang.jobs.models import LIVE, Job, JobState, Run, Watch
from madang.ledger import queries as ledger
from madang.ledger.models import Entry
from madang.workflow.errors import Missing
from madang.workflow.models import LogLine

PAGE = 30


@dataclass(frozen=True)
class Slice:
    """One page of a list, newest first. `after` continues it; None where this is the end."""

    items: list[Job]
    after: int | None


def visible(person: Any) -> QuerySet[Job]:
    """The jobs of the person's own organizations."""
    return Job.objects.filter(allocation__grant__organization_id__in=list(access_of(person).organizations))


def jobs_of(
    person: Any,
    *,
    mine: bool = False,
    live: bool | None = None,
    allocation: int | None = None,
    after: int | None = None,
    limit: int = PAGE,
) -> Slice:
    """A page of jobs, without their scripts; `after` is the id of the last one of the page before."""
    rows = (
        visible(person)
        .defer("script")
        .select_related("allocation__grant__organization", "allocation__resource", "person")
    )
    if mine:
        rows = rows.filter(person=person)
    if live is not None:
        rows = rows.filter(state__in=LIVE) if live else rows.filter(state=JobState.ENDED)
    if allocation is not None:
        rows = rows.filter(allocation_id=allocation)
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


def runs_of(job: Job) -> list[Run]:
    return list(job.runs.order_by("id"))


def history(job: Job, *, limit: int = 50) -> list[LogLine]:
    return list(LogLine.objects.filter(kind="jobs.job", ref=job.pk).order_by("id")[:limit])


def watches() -> dict[str, Watch]:
    return {watch.engine: watch for watch in Watch.objects.all()}


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


def mismatches() -> tuple[list[Entry], list[Job]]:
    """What must never be: holds without a live job behind them, and live jobs whose hold something else has ended."""
    live = list(Job.objects.filter(state__in=LIVE).only("id", "uuid", "hold"))
    holds = list(ledger.open_holds(source=SOURCE))
    held, backed = {entry.pk for entry in holds}, {job.hold for job in live}
    return [entry for entry in holds if entry.pk not in backed], [job for job in live if job.hold not in held]
