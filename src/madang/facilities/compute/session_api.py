"""Interactive sessions over HTTP. No ticket is given here: opening one takes a browser that is logged in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from ninja import Field, Query, Router, Schema, Status

from madang.facilities.compute import sessions
from madang.facilities.compute.models import Session
from madang.grants.queries import allocation_for
from madang.identity.access import me
from madang.jobs.checks import MOST_INPUTS
from madang.web.api import PROBLEMS, In, Line, Ref, Whole
from madang.workflow.moment import now

router = Router()


class KindOut(Schema):
    """A program that the site offers for interactive use, and what a session of it has at most. Times in seconds."""

    code: str
    name: str
    program: str
    most_gpus: int
    longest_s: int
    idle_s: int


class KindsOut(Schema):
    items: list[KindOut]
    next: int | None = None


class SessionIn(In):
    """`uuid` is yours to choose: the same one with the same content is the same session. `limit_s` in seconds; `files`
    are names of files of the project, which the session finds in its folder."""

    kind: Annotated[Line, Field(min_length=1, max_length=40)]
    allocation: Ref
    gpus: Annotated[Whole, Field(ge=1, le=1024)] = 1
    limit_s: Annotated[Whole, Field(ge=1, le=sessions.LONGEST_S)]
    files: Annotated[list[Line], Field(max_length=MOST_INPUTS)] = []
    uuid: UUID | None = None


class SessionOut(Schema):
    """`uuid` is also that of its job. `state`: "waits", "starts", "ready", "unknown" or "ended", then with an
    `outcome`. `held` and `used` in GPU-seconds; while it runs, `used` is what it has come to so far. `url` is the page
    to open it from, in a browser."""

    uuid: UUID
    kind: str
    name: str
    state: Literal["waits", "starts", "ready", "unknown", "ended"]
    outcome: str
    idle: bool
    allocation: int
    grant: str
    person: str
    gpus: int
    gpu_type: str
    partition: str
    limit_s: int
    idle_s: int
    held: int
    used: int
    url: str
    submitted_at: datetime
    started_at: datetime | None
    ready_at: datetime | None
    ended_at: datetime | None


class SessionsOut(Schema):
    """Newest first; pass `next` as `after` to read on."""

    items: list[SessionOut]
    next: int | None


def session_out(row: Session, moment: datetime) -> dict[str, Any]:
    job = row.job
    return {
        **{
            name: getattr(job, name) for name in ("uuid", "outcome", "gpus", "gpu_type", "partition", "limit_s", "held")
        },
        **{name: getattr(job, name) for name in ("submitted_at", "started_at", "ended_at")},
        "kind": row.kind.code,
        "name": row.kind.name,
        "state": sessions.state_of(row),
        "idle": row.idle_at is not None,
        "allocation": job.allocation_id,
        "grant": job.allocation.grant.number,
        "person": str(job.person),
        "idle_s": row.idle_s,
        "used": sessions.so_far(row, moment),
        "url": settings.PUBLIC_URL + reverse("compute:session", args=[job.uuid]),
        "ready_at": row.ready_at,
    }


@router.get(
    "/session-kinds", response={200: KindsOut} | PROBLEMS, auth=None, summary="The sessions that the site offers"
)
def kinds(request: HttpRequest) -> dict[str, Any]:
    return {"items": sessions.kinds() if sessions.offered() else []}


@router.post("/sessions", response={201: SessionOut} | PROBLEMS, summary="Start an interactive session")
def start(request: HttpRequest, data: SessionIn) -> Status[dict[str, Any]]:
    row = sessions.start(
        me(request),
        uuid=data.uuid or uuid4(),
        kind=sessions.kind_named(data.kind),
        allocation=allocation_for(request.user, data.allocation),
        gpus=data.gpus,
        limit_s=data.limit_s,
        files=data.files,
    )
    return Status(201, session_out(sessions.session_for(request.user, row.job.uuid), now()))


@router.get("/sessions", response={200: SessionsOut} | PROBLEMS, summary="Your organization's sessions, newest first")
def listed(
    request: HttpRequest,
    state: Literal["", "live"] = "",
    after: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 30,
) -> dict[str, Any]:
    found = sessions.sessions_of(request.user, live=state == "live", after=after, limit=limit)
    shown, moment = found[:limit], now()
    return {"items": [session_out(row, moment) for row in shown], "next": shown[-1].pk if len(found) > limit else None}


@router.get("/sessions/{uuid:uuid}", response={200: SessionOut} | PROBLEMS, summary="One session")
def session(request: HttpRequest, uuid: UUID) -> dict[str, Any]:
    return session_out(sessions.session_for(request.user, uuid), now())


@router.post("/sessions/{uuid:uuid}/end", response={200: SessionOut} | PROBLEMS, summary="End a session")
def end(request: HttpRequest, uuid: UUID) -> dict[str, Any]:
    row = sessions.session_for(request.user, uuid)
    return session_out(sessions.end(me(request), session=row), now())
