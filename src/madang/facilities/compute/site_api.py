"""What operators do over HTTP: the jobs of all organizations, the nodes, and their maintenance."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Schema

from madang.identity.access import me
from madang.jobs import actions
from madang.jobs import queries as jobs
from madang.jobs.models import Job
from madang.web.api import PROBLEMS, In, Line

router = Router()

After = Annotated[int | None, Query(ge=1, le=2**63 - 1)]
Name = Annotated[str, Query(max_length=80)]


class SiteJobOut(Schema):
    """A job of any organization as operators see it: neither its script nor what it writes. `held`, `used` and
    `overrun` in GPU-seconds, `limit_s` in seconds. `cancel_why` says why the site, or an operator, had it end."""

    uuid: UUID
    name: str
    organization: str
    grant: str
    cluster: str
    partition: str
    posix_user: str
    gpu_type: str
    gpus: int
    limit_s: int
    tasks: int
    state: str
    outcome: str
    exit_code: int | None
    waits: str
    place: int | None
    held: int
    used: int
    overrun: int
    cancel_asked_at: datetime | None
    cancel_why: str
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class SiteJobsOut(Schema):
    """Newest first; pass `next` as `after` to read on."""

    items: list[SiteJobOut]
    next: int | None


class EndIn(In):
    """Why, in a few words: whose job it is reads it."""

    reason: Line


def site_job_out(row: Job) -> dict[str, Any]:
    grant = row.allocation.grant
    facts = {"organization": grant.organization.name, "grant": grant.number, "cluster": row.engine}
    return {**{name: getattr(row, name) for name in SiteJobOut.model_fields if name not in facts}, **facts}


@router.get(
    "/site-jobs",
    response={200: SiteJobsOut} | PROBLEMS,
    summary="What runs or waits, of all organizations, for operators",
)
def site_jobs(
    request: HttpRequest,
    cluster: Name = "",
    partition: Name = "",
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 30,
) -> dict[str, Any]:
    page = jobs.live_of_all(request.user, engine=cluster, partition=partition, after=after, limit=limit)
    return {"items": [site_job_out(row) for row in page.items], "next": page.after}


@router.get(
    "/site-jobs/{uuid:uuid}", response={200: SiteJobOut} | PROBLEMS, summary="One job of anybody, for operators"
)
def site_job(request: HttpRequest, uuid: UUID) -> dict[str, Any]:
    return site_job_out(jobs.operated(request.user, uuid))


@router.post(
    "/site-jobs/{uuid:uuid}/end",
    response={200: SiteJobOut} | PROBLEMS,
    summary="Have a job of anybody end, for operators",
    description="It is charged as one that its owner canceled: what it used until then. Its owner reads the reason.",
)
def end_for(request: HttpRequest, uuid: UUID, data: EndIn) -> dict[str, Any]:
    return site_job_out(actions.end_for(me(request), job=jobs.operated(request.user, uuid), reason=data.reason))
