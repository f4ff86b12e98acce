"""Outcomes over HTTP: report with evidence, verify, return, download."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from django.http import FileResponse, HttpRequest
from django.http.response import HttpResponseBase
from ninja import Field, File, Form, Query, Router, Schema
from ninja.files import UploadedFile

from madang.grants.queries import grant_for
from madang.outcomes import actions, queries
from madang.outcomes.models import Level, Outcome, OutcomeKind, OutcomeState
from madang.web.api import PROBLEMS, Day, Id, In, Line, Slug, Text, bytes_of

router = Router()


class EvidenceOut(Schema):
    id: int
    name: str
    size: int
    digest: str


class VerificationOut(Schema):
    level: Level
    accepted: bool
    reason: str
    person: str
    at: datetime


class OutcomeOut(Schema):
    """`amount` is in `unit`: people, KRW or pieces."""

    id: int
    grant: str
    organization: int
    organization_ko: str
    organization_en: str
    kind: OutcomeKind
    amount: int
    unit: str
    occurred_on: date
    title: str
    share_percent: int
    state: OutcomeState
    level: Level
    replaces: int | None
    reported_at: datetime


class OutcomeWhole(OutcomeOut):
    text: str
    evidence: list[EvidenceOut]
    verifications: list[VerificationOut]


class OutcomesOut(Schema):
    items: list[OutcomeOut]
    next: int | None


class Report(In):
    kind: OutcomeKind
    amount: int = Field(ge=1, le=100_000_000_000_000)
    occurred_on: Day
    title: Annotated[Line, Field(min_length=1)]
    text: Annotated[Text, Field(max_length=4000)] = ""
    share_percent: int = Field(100, ge=1, le=100)
    replaces: Id | None = None


class Judgement(In):
    level: Level
    reason: Annotated[Text, Field(min_length=1, max_length=2000)]


class OutcomeReason(In):
    reason: Annotated[Text, Field(min_length=1, max_length=2000)]


def outcome_out(row: Outcome) -> OutcomeOut:
    return OutcomeOut(
        id=row.pk,
        grant=row.grant.number,
        organization=row.organization_id,
        organization_ko=row.organization.name_ko,
        organization_en=row.organization.name_en,
        kind=OutcomeKind(row.kind),
        amount=row.amount,
        unit=row.unit,
        occurred_on=row.occurred_on,
        title=row.title,
        share_percent=row.share_percent,
        state=OutcomeState(row.state),
        level=Level(row.level),
        replaces=row.replaces_id,
        reported_at=row.reported_at,
    )


def _whole(request: HttpRequest, id: int) -> OutcomeWhole:
    row = queries.outcome_for(request.user, id)
    return OutcomeWhole(
        **outcome_out(row).dict(),
        text=row.text,
        evidence=[
            EvidenceOut(id=file.pk, name=file.name, size=file.size, digest=file.digest) for file in row.evidence.all()
        ],
        verifications=[
            VerificationOut(
                level=Level(check.level),
                accepted=check.accepted,
                reason=check.reason,
                person=check.person.name,
                at=check.at,
            )
            for check in row.verifications.all()
        ],
    )


@router.get("/", response={200: OutcomesOut} | PROBLEMS, summary="Outcomes that you may see, newest first")
def outcomes(
    request: HttpRequest,
    grant: Annotated[str, Query(max_length=60)] = "",
    state: OutcomeState | None = None,
    kind: OutcomeKind | None = None,
    after: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 30,
) -> OutcomesOut:
    page = queries.outcomes(request.user, grant=grant, state=state or "", kind=kind or "", after=after, limit=limit)
    return OutcomesOut(items=[outcome_out(row) for row in page.rows], next=page.after)


@router.get("/queue", response={200: OutcomesOut} | PROBLEMS, summary="What waits for your verification, oldest first")
def queue(
    request: HttpRequest,
    after: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 30,
) -> OutcomesOut:
    page = queries.queue(request.user, after=after, limit=limit)
    return OutcomesOut(items=[outcome_out(row) for row in page.rows], next=page.after)


@router.post(
    "/report/{number}", response={200: OutcomeWhole} | PROBLEMS, summary="Report what came of a grant, with evidence"
)
def report(request: HttpRequest, number: Slug, body: Form[Report], evidence: File[list[UploadedFile]]) -> OutcomeWhole:
    grant = grant_for(request.user, number)
    replaces = queries.outcome_for(request.user, body.replaces) if body.replaces else None
    row = actions.report(
        request.user,  # type: ignore[arg-type]
        grant=grant,
        kind=body.kind,
        amount=body.amount,
        occurred_on=body.occurred_on,
        title=body.title,
        text=body.text,
        share_percent=body.share_percent,
        evidence=evidence,
        replaces=replaces,
    )
    return _whole(request, row.pk)


@router.get("/{id}", response={200: OutcomeWhole} | PROBLEMS, summary="One outcome with its evidence and verifications")
def outcome(request: HttpRequest, id: Id) -> OutcomeWhole:
    return _whole(request, id)


@router.post("/{id}/verify", response={200: OutcomeWhole} | PROBLEMS, summary="Confirm it at a level of the ladder")
def verify(request: HttpRequest, id: Id, body: Judgement) -> OutcomeWhole:
    row = queries.outcome_for(request.user, id)
    actions.verify(request.user, outcome=row, level=body.level, reason=body.reason)  # type: ignore[arg-type]
    return _whole(request, id)


@router.post("/{id}/return", response={200: OutcomeWhole} | PROBLEMS, summary="Give it back to the organization")
def give_back(request: HttpRequest, id: Id, body: OutcomeReason) -> OutcomeWhole:
    row = queries.outcome_for(request.user, id)
    actions.return_(request.user, outcome=row, reason=body.reason)  # type: ignore[arg-type]
    return _whole(request, id)


@router.get(
    "/{id}/evidence/{evidence}",
    response=PROBLEMS,
    summary="Download a file; reading it from outside the organization is recorded",
    openapi_extra=bytes_of("application/octet-stream"),
)
def evidence(request: HttpRequest, id: Id, evidence: Id) -> HttpResponseBase:
    row = queries.evidence_for(request.user, id, evidence)
    return FileResponse(
        row.file.open("rb"), as_attachment=True, filename=row.name, content_type="application/octet-stream"
    )
