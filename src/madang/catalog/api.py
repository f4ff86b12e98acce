"""The catalog over HTTP. Reading is open to everybody; amounts are in the smallest unit."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from madang.catalog import actions, queries
from madang.catalog.models import Kind, Rate, Resource, Sector
from madang.identity import queries as identity
from madang.identity.access import me
from madang.web.api import PROBLEMS, Amount, Day, In, Line, Ref, Text, Whole

router = Router()

Code = Annotated[str, Field(max_length=60, pattern=r"^[-a-zA-Z0-9_]+$")]


class PlaceOut(Schema):
    id: int
    code: str
    name_ko: str
    name_en: str


class PlacesOut(Schema):
    items: list[PlaceOut]
    next: int | None = None


class RateOut(Schema):
    price_krw: int
    per_amount: int
    starts_on: date
    ends_before: date | None
    basis_ko: str
    basis_en: str

    @staticmethod
    def resolve_starts_on(rate: Rate) -> date:
        return rate.days.lower

    @staticmethod
    def resolve_ends_before(rate: Rate) -> date | None:
        return rate.days.upper


class RatesOut(Schema):
    items: list[RateOut]
    next: int | None = None


class ResourceOut(Schema):
    id: int
    kind: str
    code: str
    name_ko: str
    name_en: str
    about_ko: str
    about_en: str
    owner_id: int
    owner: str
    place: str | None
    sector: str
    resource_class: str
    unit: str
    capacity_per_hour: int | None
    source: str
    state: str
    rate: RateOut | None = None

    @staticmethod
    def resolve_owner(resource: Resource) -> str:
        return resource.owner.name

    @staticmethod
    def resolve_place(resource: Resource) -> str | None:
        return resource.place.code if resource.place else None

    @staticmethod
    def resolve_rate(resource: Resource) -> Rate | None:
        return getattr(resource, "rate_today", None)


class ResourcesOut(Schema):
    items: list[ResourceOut]
    next: int | None


class PlaceIn(In):
    code: Annotated[str, Field(max_length=40, pattern=r"^[-a-zA-Z0-9_]+$")]
    name_ko: Annotated[Line, Field(min_length=1, max_length=120)]
    name_en: Annotated[Line, Field(min_length=1, max_length=120)]
    note_ko: Line = ""
    note_en: Line = ""


class ResourceIn(In):
    kind: Kind
    code: Code
    name_ko: Annotated[Line, Field(min_length=1, max_length=160)]
    name_en: Annotated[Line, Field(min_length=1, max_length=160)]
    owner_id: Ref
    place: Annotated[str, Field(max_length=40)] = ""
    sector: Sector = Sector.UNSTATED
    resource_class: Annotated[Line, Field(max_length=40)] = ""
    capacity_per_hour: Amount | None = None
    about_ko: Text = ""
    about_en: Text = ""
    source: Line = ""


class ResourceChange(In):
    name_ko: Annotated[Line, Field(min_length=1, max_length=160)] | None = None
    name_en: Annotated[Line, Field(min_length=1, max_length=160)] | None = None
    sector: Sector | None = None
    capacity_per_hour: Amount | None = None
    about_ko: Text | None = None
    about_en: Text | None = None
    source: Line | None = None


class RateIn(In):
    price_krw: Amount
    per_amount: Annotated[Whole, Field(ge=1, le=2**53)]
    starts_on: Day
    basis_ko: Annotated[Line, Field(min_length=1)]
    basis_en: Line = ""


class ResourceReason(In):
    reason: Annotated[Line, Field(min_length=1)]


class Find(Schema):
    kind: Kind | None = None
    sector: Sector | None = None
    search: Line = ""
    after: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


@router.get("/resources", response={200: ResourcesOut} | PROBLEMS, auth=None)
def list_resources(request: HttpRequest, find: Query[Find]) -> Any:
    """What is lent, in the order it was added. Pass `next` of the answer as `after` to read on."""
    page = queries.resources(
        kind=find.kind or "", sector=find.sector, search=find.search, after=find.after, limit=find.limit
    )
    rates = queries.rates_on([row.pk for row in page.rows], actions.today())
    for row in page.rows:
        row.rate_today = rates.get(row.pk)  # type: ignore[attr-defined]
    return {"items": page.rows, "next": page.after}


@router.get("/resources/{code}", response={200: ResourceOut} | PROBLEMS, auth=None)
def read_resource(request: HttpRequest, code: Code) -> Any:
    return _with_rate(queries.resource(code))


@router.get("/resources/{code}/rates", response={200: RatesOut} | PROBLEMS, auth=None)
def list_rates(request: HttpRequest, code: Code) -> Any:
    """All rates, the latest first."""
    return {"items": queries.rate_history(queries.resource(code))}


@router.post("/resources", response={201: ResourceOut} | PROBLEMS)
def add_resource(request: HttpRequest, body: ResourceIn) -> Any:
    facts = body.dict(exclude={"place", "owner_id"})
    place = queries.place(body.place) if body.place else None
    owner = identity.organization(me(request), body.owner_id)
    return Status(201, _with_rate(actions.add_resource(me(request), owner=owner, place=place, **facts)))


@router.patch("/resources/{code}", response={200: ResourceOut} | PROBLEMS)
def edit_resource(request: HttpRequest, code: Code, body: ResourceChange) -> Any:
    """Only what is named changes."""
    facts = {name: "" if value is None and name != "capacity_per_hour" else value for name, value in _named(body)}
    return _with_rate(actions.edit_resource(me(request), resource=queries.resource(code), **facts))


@router.post("/resources/{code}/rates", response={201: RateOut} | PROBLEMS)
def set_rate(request: HttpRequest, code: Code, body: RateIn) -> Any:
    return Status(201, actions.set_rate(me(request), resource=queries.resource(code), **body.dict()))


@router.post("/resources/{code}/{verb}", response={200: ResourceOut} | PROBLEMS)
def move_resource(
    request: HttpRequest, code: Code, verb: Literal["pause", "resume", "retire"], body: ResourceReason
) -> Any:
    """Not lent for now, lent again, or retired for good."""
    verbs = {"pause": actions.pause, "resume": actions.resume, "retire": actions.retire}
    return _with_rate(verbs[verb](me(request), resource=queries.resource(code), reason=body.reason))


@router.get("/places", response={200: PlacesOut} | PROBLEMS, auth=None)
def list_places(request: HttpRequest) -> Any:
    return {"items": queries.places()}


@router.post("/places", response={201: PlaceOut} | PROBLEMS)
def add_place(request: HttpRequest, body: PlaceIn) -> Any:
    return Status(201, actions.add_place(me(request), **body.dict()))


def _with_rate(resource: Resource) -> Resource:
    rates = queries.rates_on([resource.pk], actions.today())
    resource.rate_today = rates.get(resource.pk)  # type: ignore[attr-defined]
    return resource


def _named(body: Schema) -> list[tuple[str, Any]]:
    return list(body.dict(exclude_unset=True).items())
