"""Grants, agreements and allocations over HTTP: the same verbs as the pages."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema

from madang.calls.models import Application
from madang.grants import actions, queries
from madang.grants.models import Agreement, Allocation, AllocationState, Grant, GrantState
from madang.identity.access import me
from madang.ledger import queries as ledger
from madang.ledger.models import Kind as EntryKind
from madang.web.api import PROBLEMS, Amount, Id, In, Line, Slug, Text, Whole

router = Router()
After = Annotated[Id | None, Field(description="the `next` of the page before")]
Limit = Annotated[int, Field(ge=1, le=100)]


class MeterOut(Schema):
    """In the smallest unit of the resource: granted = held + used + left."""

    granted: int
    held: int
    used: int
    left: int
    overrun: int


class AllocationOut(Schema):
    id: int
    grant: str
    resource: str
    name_ko: str
    name_en: str
    kind: str
    unit: str
    amount: int
    meter: MeterOut
    list_krw: int | None
    reduction_krw: int | None
    own_share_krw: int | None
    discount_ko: str
    discount_en: str
    state: AllocationState
    opened_at: datetime | None


class LentOut(Schema):
    """An allocation as the steward of its resource sees it: no price, no agreement, no person."""

    id: int
    grant: str
    organization_ko: str
    organization_en: str
    resource: str
    unit: str
    amount: int
    meter: MeterOut
    state: AllocationState


class LentPage(Schema):
    items: list[LentOut]
    next: int | None


class GrantOut(Schema):
    number: str
    title: str
    organization: int
    organization_ko: str
    organization_en: str
    program: str
    call: str
    application: int
    state: GrantState
    starts_at: datetime
    ends_at: datetime
    accept_by: datetime
    accepted_at: datetime | None
    allocations: list[AllocationOut]


class GrantsOut(Schema):
    items: list[GrantOut]
    next: int | None


class AgreementOut(Schema):
    version: int
    digest: str
    text_ko: str
    text_en: str
    terms: dict[str, Any]
    signed_at: datetime | None
    signed_as: str


class EntryOut(Schema):
    """`change` is what the entry did to the balance; `held` is what it set aside, `overrun` what went beyond it."""

    id: int
    kind: EntryKind
    change: int
    held: int
    overrun: int
    event_at: datetime
    booked_at: datetime
    source: str
    key: str
    reason: str


class StatementOut(Schema):
    items: list[EntryOut]
    next: int | None


class TotalOut(Schema):
    commodity: str
    unit: str
    granted: int
    held: int
    used: int
    left: int
    overrun: int


class DifferenceOut(Schema):
    account: int
    figure: str
    stored: int | None
    counted: int


class OverrunOut(Schema):
    """More was used than the allocation covers, by so many of its smallest unit. With `closes_when_free` it is closed
    once nothing is held on it."""

    allocation: int
    grant: str
    organization_ko: str
    organization_en: str
    resource: str
    unit: str
    amount: int
    since: datetime
    state: AllocationState
    closes_when_free: bool


class LedgerOut(Schema):
    """`differences` is empty, or the ledger is wrong. `overruns`: those of the active grants that you oversee."""

    totals: list[TotalOut]
    overruns: list[OverrunOut]
    differences: list[DifferenceOut]


class ClosedOut(Schema):
    """`month` is its first day. `closed_by` is empty where that was the system."""

    month: date
    closed_at: datetime
    closed_by: str


class SealOut(Schema):
    """All entries of a day as one SHA-256 digest that continues the one of the day before it."""

    day: date
    entries: int
    digest: str
    previous: str
    sealed_at: datetime


class MonthClose(In):
    """Any day of the month. There is no way back."""

    month: date
    reason: Annotated[Text, Field(min_length=1, max_length=600)]


class Acceptance(In):
    """`version` and `digest` are those of the agreement that was read."""

    version: Whole = Field(ge=1, le=32_767)
    digest: str = Field(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}$")
    signed_as: Annotated[Line, Field(min_length=1, max_length=160)]


class GrantReason(In):
    reason: Annotated[Text, Field(min_length=1, max_length=600)]


class Promotion(In):
    """Awarded amounts by application line; without them what the decision said, or what was asked."""

    amounts: dict[Slug, Amount] | None = Field(None, max_length=200)


def allocation_out(row: Allocation, grant: Grant) -> AllocationOut:
    resource, meter = row.resource, row.meter
    return AllocationOut(
        id=row.pk,
        grant=grant.number,
        resource=resource.code,
        name_ko=resource.name_ko,
        name_en=resource.name_en,
        kind=resource.kind,
        unit=resource.unit,
        amount=row.amount,
        meter=MeterOut(granted=meter.granted, held=meter.held, used=meter.used, left=meter.left, overrun=meter.overrun),
        list_krw=row.list_krw,
        reduction_krw=row.reduction_krw,
        own_share_krw=row.own_share_krw,
        discount_ko=row.discount_ko,
        discount_en=row.discount_en,
        state=AllocationState(row.state),
        opened_at=row.opened_at,
    )


def lent_out(row: Allocation) -> LentOut:
    meter, organization = row.meter, row.grant.organization
    return LentOut(
        id=row.pk,
        grant=row.grant.number,
        organization_ko=organization.name_ko,
        organization_en=organization.name_en,
        resource=row.resource.code,
        unit=row.resource.unit,
        amount=row.amount,
        meter=MeterOut(granted=meter.granted, held=meter.held, used=meter.used, left=meter.left, overrun=meter.overrun),
        state=AllocationState(row.state),
    )


def grant_out(grant: Grant) -> GrantOut:
    return GrantOut(
        number=grant.number,
        title=grant.title,
        organization=grant.organization_id,
        organization_ko=grant.organization.name_ko,
        organization_en=grant.organization.name_en,
        program=grant.program.code,
        call=grant.application.call.code,
        application=grant.application_id,
        state=GrantState(grant.state),
        starts_at=grant.starts_at,
        ends_at=grant.ends_at,
        accept_by=grant.accept_by,
        accepted_at=grant.accepted_at,
        allocations=[allocation_out(row, grant) for row in grant.allocations.all()],
    )


def agreement_out(row: Agreement) -> AgreementOut:
    return AgreementOut(
        version=row.version,
        digest=row.digest,
        text_ko=row.text_ko,
        text_en=row.text_en,
        terms=row.terms,
        signed_at=row.signed_at,
        signed_as=row.signed_as,
    )


def _again(request: HttpRequest, number: str) -> GrantOut:
    return grant_out(queries.grant_for(request.user, number))


@router.get("/", response={200: GrantsOut} | PROBLEMS, summary="Grants that you may see, newest first")
def grants(
    request: HttpRequest,
    program: Annotated[str, Query(max_length=60)] = "",
    state: GrantState | None = None,
    search: Annotated[str, Query(max_length=100)] = "",
    after: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 30,
) -> GrantsOut:
    page = queries.grants_page(
        request.user, program=program, state=state or "", search=search, after=after, limit=limit
    )
    return GrantsOut(items=[grant_out(row) for row in page.rows], next=page.after)


@router.get("/ledger", response={200: LedgerOut} | PROBLEMS, summary="Totals of the site's ledger, checked now")
def site_ledger(request: HttpRequest) -> LedgerOut:
    totals = queries.ledger_totals(request.user)
    return LedgerOut(
        totals=[
            TotalOut(
                commodity=row.commodity,
                unit=row.unit,
                granted=row.granted,
                held=row.held,
                used=row.used,
                left=row.left,
                overrun=row.overrun,
            )
            for row in totals
        ],
        overruns=[
            OverrunOut(
                allocation=row.allocation.pk,
                grant=row.allocation.grant.number,
                organization_ko=row.allocation.grant.organization.name_ko,
                organization_en=row.allocation.grant.organization.name_en,
                resource=row.allocation.resource.code,
                unit=row.allocation.resource.unit,
                amount=row.amount,
                since=row.since,
                state=AllocationState(row.allocation.state),
                closes_when_free=row.allocation.closes_when_free,
            )
            for row in queries.overruns_for(request.user)
        ],
        differences=[
            DifferenceOut(account=d.account, figure=d.figure, stored=d.stored, counted=d.counted)
            for d in ledger.check()
        ],
    )


@router.get("/ledger/close", response={200: list[ClosedOut]} | PROBLEMS, summary="The newest closed months")
def closed_months(request: HttpRequest) -> list[ClosedOut]:
    rows = queries.closed_months(request.user)
    return [ClosedOut(month=row.month, closed_at=row.closed_at, closed_by=row.closed_by) for row in rows]


@router.post(
    "/ledger/close",
    response={200: ClosedOut} | PROBLEMS,
    summary="Close a month and every one before it, for good: for officers of the whole site",
)
def close_month(request: HttpRequest, body: MonthClose) -> ClosedOut:
    person = me(request)
    row = actions.close_month(person, month=body.month, reason=body.reason)
    return ClosedOut(month=row.month, closed_at=row.closed_at, closed_by=person.name)


@router.get("/ledger/seals", response={200: list[SealOut]} | PROBLEMS, summary="The newest seals of the ledger")
def seals(request: HttpRequest) -> list[SealOut]:
    return [
        SealOut(day=row.day, entries=row.entries, digest=row.digest, previous=row.previous, sealed_at=row.sealed_at)
        for row in queries.seals(request.user)
    ]


@router.get(
    "/allocations", response={200: list[AllocationOut]} | PROBLEMS, summary="What you can run jobs on at this moment"
)
def allocations(request: HttpRequest) -> list[AllocationOut]:
    return [allocation_out(row, row.grant) for row in queries.allocations_for_jobs(request.user)]


@router.get("/allocations/lent", response={200: LentPage} | PROBLEMS, summary="What is lent of a steward's resources")
def lent(
    request: HttpRequest,
    after: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> LentPage:
    page = queries.allocations_lent(request.user, after=after, limit=limit)
    return LentPage(items=[lent_out(row) for row in page.rows], next=page.after)


@router.get(
    "/allocations/{id}/entries", response={200: StatementOut} | PROBLEMS, summary="The ledger's entries, newest first"
)
def entries(
    request: HttpRequest,
    id: Id,
    after: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> StatementOut:
    page = queries.statement(queries.allocation_for(request.user, id), before=after, limit=limit)
    return StatementOut(
        items=[
            EntryOut(
                id=posting.entry.pk,
                kind=EntryKind(posting.entry.kind),
                change=posting.change,
                held=posting.held,
                overrun=posting.over,
                event_at=posting.entry.event_at,
                booked_at=posting.entry.booked_at,
                source=posting.entry.source,
                key=posting.entry.ext_key,
                reason=posting.entry.reason,
            )
            for posting in page.rows
        ],
        next=page.after,
    )


@router.post("/allocations/{id}/pause", response={200: AllocationOut} | PROBLEMS, summary="Pause an allocation")
def pause(request: HttpRequest, id: Id, body: GrantReason) -> AllocationOut:
    row = queries.allocation_to_keep(request.user, id)
    actions.pause_allocation(request.user, allocation=row, reason=body.reason)  # type: ignore[arg-type]
    return allocation_out(row, row.grant)


@router.post("/allocations/{id}/resume", response={200: AllocationOut} | PROBLEMS, summary="Resume an allocation")
def resume(request: HttpRequest, id: Id, body: GrantReason) -> AllocationOut:
    row = queries.allocation_to_keep(request.user, id)
    actions.resume_allocation(request.user, allocation=row, reason=body.reason)  # type: ignore[arg-type]
    return allocation_out(row, row.grant)


@router.post(
    "/announce/{code}",
    response={200: list[GrantOut]} | PROBLEMS,
    summary="Make the results of a call final and offer the agreements",
)
def announce(request: HttpRequest, code: Slug) -> list[GrantOut]:
    call = queries.call_for_officer(request.user, code)
    actions.announce(request.user, call=call)  # type: ignore[arg-type]
    return [grant_out(grant) for grant in queries.grants_of_call(call)]


@router.post(
    "/promote/{application}", response={200: GrantOut} | PROBLEMS, summary="Offer an agreement to the next in reserve"
)
def promote(request: HttpRequest, application: Id, body: Promotion) -> GrantOut:
    row = Application.objects.select_related("call").filter(pk=application).first()
    if row is None:
        raise queries.missing()
    queries.call_for_officer(request.user, row.call.code)
    amounts = {int(line): amount for line, amount in (body.amounts or {}).items() if line.isdigit()}
    grant = actions.promote(request.user, application=row, amounts=amounts or None)  # type: ignore[arg-type]
    return _again(request, grant.number)


@router.get("/{number}", response={200: GrantOut} | PROBLEMS, summary="One grant with its allocations")
def grant(request: HttpRequest, number: Slug) -> GrantOut:
    return _again(request, number)


@router.get("/{number}/agreement", response={200: AgreementOut} | PROBLEMS, summary="The newest agreement of a grant")
def agreement(request: HttpRequest, number: Slug) -> AgreementOut:
    return agreement_out(queries.agreement_of(queries.grant_for(request.user, number)))


@router.post("/{number}/accept", response={200: GrantOut} | PROBLEMS, summary="Accept the agreement; the package opens")
def accept(request: HttpRequest, number: Slug, body: Acceptance) -> GrantOut:
    row = queries.grant_for(request.user, number)
    actions.accept(
        request.user,  # type: ignore[arg-type]
        grant=row,
        version=body.version,
        digest=body.digest,
        signed_as=body.signed_as,
    )
    return _again(request, number)


@router.post("/{number}/decline", response={200: GrantOut} | PROBLEMS, summary="Decline the agreement")
def decline(request: HttpRequest, number: Slug, body: GrantReason) -> GrantOut:
    actions.decline(request.user, grant=queries.grant_for(request.user, number), reason=body.reason)  # type: ignore[arg-type]
    return _again(request, number)


@router.post("/{number}/close", response={200: GrantOut} | PROBLEMS, summary="Close a grant; what is left is reclaimed")
def close(request: HttpRequest, number: Slug, body: GrantReason) -> GrantOut:
    actions.close(request.user, grant=queries.grant_for(request.user, number), reason=body.reason)  # type: ignore[arg-type]
    return _again(request, number)
