"""What operators do over HTTP: the jobs of all organizations, the nodes, and their maintenance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status
from pydantic import AfterValidator

from madang.facilities.compute import queries, words
from madang.identity.access import me
from madang.jobs import actions, maintenance
from madang.jobs import queries as jobs
from madang.jobs.models import Job, Maintenance, Node
from madang.web.api import PROBLEMS, Id, In, Instant, Line
from madang.web.templatetags.madang import SEOUL
from madang.workflow.errors import Refused

router = Router()

# In the order of `engines.base.NODE_STATES`, which a test compares.
NodeStateName = Literal["idle", "mixed", "full", "draining", "drained", "maintenance", "down", "unknown"]
# One without a zone is Korean time, as everywhere.
Zoned = Annotated[Instant, AfterValidator(lambda value: value if value.tzinfo else value.replace(tzinfo=SEOUL))]
After = Annotated[int | None, Query(ge=1, le=2**63 - 1)]
Name = Annotated[str, Query(max_length=80)]


class SiteJobOut(Schema):
    """A job of any organization as operators see it: neither its script nor what it writes. `held`, `used` and
    `overrun` in GPU-seconds, `limit_s` in seconds. `waits` says why it is queued, `cancel_why` why the site, or an
    operator, had it end, both also in words for people (`waits_said`, `cancel_why_said`)."""

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
    waits_said: str
    place: int | None
    held: int
    used: int
    overrun: int
    cancel_asked_at: datetime | None
    cancel_why: str
    cancel_why_said: str
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class SiteJobsOut(Schema):
    """Newest first; pass `next` as `after` to read on."""

    items: list[SiteJobOut]
    next: int | None


class EndIn(In):
    """Why, in a few words: the job's owner reads it."""

    reason: Line


def site_job_out(row: Job) -> dict[str, Any]:
    return site_jobs_out([row])[0]


def site_jobs_out(rows: Sequence[Job]) -> list[dict[str, Any]]:
    waits, found = queries.why_waiting(rows), []
    for row in rows:
        grant = row.allocation.grant
        facts = {"organization": grant.organization.name, "grant": grant.number, "cluster": row.engine}
        facts |= {"waits_said": waits[row.pk], "cancel_why_said": words.reason(row.cancel_why)}
        own = {name: getattr(row, name) for name in SiteJobOut.model_fields if name not in facts}
        found.append({**own, **facts})
    return found


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
    return {"items": site_jobs_out(page.items), "next": page.after}


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


class NodeOut(Schema):
    """A machine of a cluster as it was last seen. `reason` says why it takes no jobs, `reason_by` (a user of the
    cluster) and `reason_at` who gave it and when, where the cluster says that. `wish`: what an operator asked of it,
    "drain" or "resume", until it was seen to have come true."""

    id: int
    cluster: str
    name: str
    state: NodeStateName
    takes_jobs: bool
    reason: str
    reason_by: str
    reason_at: datetime | None
    partitions: list[str]
    gpu_type: str
    gpus: int
    used: int
    wish: str
    wish_why: str
    changed_at: datetime


class NodesOut(Schema):
    """In the order in which they were first seen; pass `next` as `after` to read on."""

    items: list[NodeOut]
    next: int | None


class DrainIn(In):
    """Why, in a line: everybody who asks the cluster reads it."""

    reason: Line


class PlannedOut(Schema):
    """A maintenance: of the named `nodes`, of a `partition`, or of all of a cluster. `taken_at`: when the cluster was
    seen to have it as it stands here. Of a whole cluster or partition, `still` jobs may run when it begins."""

    id: int
    cluster: str
    partition: str
    nodes: list[str]
    starts_at: datetime
    ends_at: datetime
    reason: str
    announced_by: str
    announced_at: datetime
    withdrawn_at: datetime | None
    taken_at: datetime | None
    still: int | None


class PlannedListOut(Schema):
    """What is to come or goes on, the next one first."""

    items: list[PlannedOut]
    next: int | None = None


class MaintenanceIn(In):
    """When nodes are out of service, in whole minutes: named ones, those of a partition, or all of the cluster. Tenants
    read the reason."""

    cluster: Annotated[Line, Field(min_length=1, max_length=40)]
    partition: Annotated[Line, Field(max_length=40)] = ""
    nodes: Annotated[list[Annotated[Line, Field(max_length=80)]], Field(max_length=10_000)] = []
    starts_at: Zoned
    ends_at: Zoned
    reason: Line


class MaintenanceChangeIn(In):
    """What is left out stays as it is. Of one that has begun only the end and the reason change."""

    starts_at: Zoned | None = None
    ends_at: Zoned | None = None
    reason: Line | None = None


def node_out(row: Node) -> dict[str, Any]:
    own = {"cluster": row.engine, "partitions": [name for name in row.partitions.split(",") if name]}
    return {**{name: getattr(row, name) for name in NodeOut.model_fields if name not in own}, **own}


def planned_out(row: Maintenance) -> dict[str, Any]:
    own = {"cluster": row.engine, "announced_by": str(row.announced_by), "still": None}
    if not row.nodes:
        own["still"] = getattr(row, "still", None)
    return {**{name: getattr(row, name) for name in PlannedOut.model_fields if name not in own}, **own}


@router.get("/nodes", response={200: NodesOut} | PROBLEMS, summary="The machines of the clusters, for operators")
def nodes(
    request: HttpRequest,
    cluster: Name = "",
    name: Name = "",
    state: Literal["", NodeStateName] = "",
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    rows, following = queries.nodes_listed(
        request.user, engine=cluster, name=name, state=state, after=after, limit=limit
    )
    return {"items": [node_out(row) for row in rows], "next": following}


@router.post(
    "/nodes/{cluster}/{name}/drain", response={200: NodeOut} | PROBLEMS, summary="Have a node start nothing more"
)
def drain(request: HttpRequest, cluster: str, name: str, data: DrainIn) -> dict[str, Any]:
    return node_out(actions.drain_node(me(request), node=_node(request, cluster, name), reason=data.reason))


@router.post(
    "/nodes/{cluster}/{name}/resume", response={200: NodeOut} | PROBLEMS, summary="Have a node take jobs again"
)
def resume(request: HttpRequest, cluster: str, name: str) -> dict[str, Any]:
    return node_out(actions.resume_node(me(request), node=_node(request, cluster, name)))


def _node(request: HttpRequest, cluster: str, name: str) -> Node:
    return queries.node_named(request.user, cluster, name)


@router.get("/maintenance", response={200: PlannedListOut} | PROBLEMS, summary="Maintenance to come, for operators")
def planned(request: HttpRequest) -> dict[str, Any]:
    return {"items": [planned_out(row) for row in queries.windows(request.user)]}


@router.post("/maintenance", response={201: PlannedOut} | PROBLEMS, summary="Announce maintenance of nodes")
def announce(request: HttpRequest, data: MaintenanceIn) -> Status[dict[str, Any]]:
    facts = data.dict()
    try:
        row = maintenance.announce(me(request), engine=facts.pop("cluster"), **facts)
    except Refused as refused:
        if "engine" in refused.errors:  # which is called the cluster here
            refused.errors = {"cluster" if name == "engine" else name: said for name, said in refused.errors.items()}
        raise
    return Status(201, planned_out(row))


@router.patch("/maintenance/{id}", response={200: PlannedOut} | PROBLEMS, summary="Change an announced maintenance")
def change(request: HttpRequest, id: Id, data: MaintenanceChangeIn) -> dict[str, Any]:
    row = queries.window_for(request.user, id)
    kept = {name: getattr(row, name) for name in MaintenanceChangeIn.model_fields}
    given = {name: value for name, value in data.dict().items() if value is not None}
    return planned_out(maintenance.change(me(request), window=row, **{**kept, **given}))


@router.post("/maintenance/{id}/withdraw", response={200: PlannedOut} | PROBLEMS, summary="Withdraw a maintenance")
def withdraw(request: HttpRequest, id: Id) -> dict[str, Any]:
    return planned_out(maintenance.withdraw(me(request), window=queries.window_for(request.user, id)))
