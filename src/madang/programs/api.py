"""Programs over HTTP. Reading is open to everybody; targets are in the smallest unit of their measure."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status

from madang.identity.access import me
from madang.programs import actions, queries
from madang.programs.models import Condition, Funding, Hide, Indicator, Measure
from madang.web.api import PROBLEMS, Amount, Day, In, Line, Text, Whole

router = Router()

Code = Annotated[str, Field(max_length=60, pattern=r"^[-a-zA-Z0-9_]+$")]
Name = Annotated[Line, Field(min_length=1, max_length=160)]
Note = Annotated[Line, Field(max_length=200)]
Year = Annotated[Whole, Field(ge=2000, le=2100)]


class ProgramOut(Schema):
    code: str
    name_ko: str
    name_en: str
    about_ko: str
    about_en: str
    parent: str | None

    @staticmethod
    def resolve_parent(program: Any) -> str | None:
        parent = program["parent"] if isinstance(program, dict) else program.parent
        return parent.code if parent else None


class SourceOut(Schema):
    code: str
    publisher: str
    published: str
    subject: str


class PurseOut(Schema):
    id: int
    funding: str
    fiscal_year: int | None
    amount_krw: int
    source: SourceOut | None
    note_ko: str
    note_en: str


class TargetOut(Schema):
    starts_on: date
    ends_on: date
    value: int
    basis_ko: str
    basis_en: str
    source: SourceOut | None


class IndicatorOut(Schema):
    code: str
    program: str | None
    name_ko: str
    name_en: str
    definition_ko: str
    definition_en: str
    measure: str
    unit: str
    version: int
    more_is_better: bool
    hide: str
    condition: str
    order: int
    targets: list[TargetOut]

    @staticmethod
    def resolve_program(indicator: Indicator) -> str | None:
        return indicator.program.code if indicator.program else None

    @staticmethod
    def resolve_targets(indicator: Indicator) -> list[Any]:
        return list(indicator.targets.all())


class FigureOut(Schema):
    id: int
    key: str
    label_ko: str
    label_en: str
    value: str
    number: Decimal | None
    unit_ko: str
    unit_en: str
    note_ko: str
    note_en: str
    hide: str
    condition: str
    source: SourceOut


class PublishedOut(Schema):
    """All figures of one key. `disagree`: the sources don't say the same."""

    key: str
    disagree: bool
    figures: list[FigureOut]


class ProgramDetailOut(ProgramOut):
    purses: list[PurseOut]
    parts: list[str]
    indicators: list[IndicatorOut]
    published: list[PublishedOut]


class ProgramsOut(Schema):
    items: list[ProgramOut]
    next: int | None = None


class SourcesOut(Schema):
    items: list[SourceOut]
    next: int | None = None


class FiguresOut(Schema):
    items: list[PublishedOut]
    next: int | None = None


class ProgramIn(In):
    code: Code
    name_ko: Name
    name_en: Name
    about_ko: Text = ""
    about_en: Text = ""
    parent: Code | None = None


class ProgramChange(In):
    name_ko: Name | None = None
    name_en: Name | None = None
    about_ko: Text | None = None
    about_en: Text | None = None


class SourceIn(In):
    code: Code
    publisher: Name
    published: Annotated[Line, Field(min_length=1, max_length=40)]
    subject: Line = ""


class PurseIn(In):
    funding: Funding
    amount_krw: Amount
    fiscal_year: Year | None = None
    source: Code | None = None
    note_ko: Note = ""
    note_en: Note = ""


class IndicatorIn(In):
    code: Code
    program: Code | None = None
    name_ko: Name
    name_en: Name
    definition_ko: Annotated[Text, Field(min_length=1, max_length=600)]
    definition_en: Annotated[Text, Field(min_length=1, max_length=600)]
    measure: Measure
    hide: Hide
    condition: Condition
    more_is_better: bool = True
    order: Annotated[Whole, Field(ge=0, le=32767)] = 0


class TargetIn(In):
    starts_on: Day
    ends_on: Day
    value: Amount
    basis_ko: Annotated[Line, Field(min_length=1)]
    basis_en: Line = ""
    source: Code | None = None


class FigureIn(In):
    key: Annotated[str, Field(max_length=80, pattern=r"^[-a-zA-Z0-9_]+$")]
    label_ko: Annotated[Line, Field(min_length=1)]
    label_en: Annotated[Line, Field(min_length=1)]
    value: Annotated[Line, Field(min_length=1, max_length=80)]
    source: Code
    number: Annotated[Decimal, Field(max_digits=20, decimal_places=4)] | None = None
    unit_ko: Annotated[Line, Field(max_length=40)] = ""
    unit_en: Annotated[Line, Field(max_length=40)] = ""
    note_ko: Note = ""
    note_en: Note = ""
    program: Code | None = None
    hide: Hide | None = None
    condition: Condition | None = None


@router.get("/", response={200: ProgramsOut} | PROBLEMS, auth=None)
def list_programs(request: HttpRequest) -> Any:
    return {"items": queries.programs()}


@router.post("/", response={201: ProgramOut} | PROBLEMS)
def add_program(request: HttpRequest, body: ProgramIn) -> Any:
    parent = queries.program(body.parent) if body.parent else None
    return Status(201, actions.add_program(me(request), parent=parent, **body.dict(exclude={"parent"})))


@router.get("/sources", response={200: SourcesOut} | PROBLEMS, auth=None)
def list_sources(request: HttpRequest) -> Any:
    return {"items": queries.sources()}


@router.post("/sources", response={201: SourceOut} | PROBLEMS)
def add_source(request: HttpRequest, body: SourceIn) -> Any:
    return Status(201, actions.add_source(me(request), **body.dict()))


@router.get("/figures", response={200: FiguresOut} | PROBLEMS, auth=None)
def list_figures(request: HttpRequest) -> Any:
    """Everything that others published about the site and its programs, grouped by what it is about."""
    return {"items": queries.published(everything=True)}


@router.post("/figures", response={201: FigureOut} | PROBLEMS)
def record_figure(request: HttpRequest, body: FigureIn) -> Any:
    facts = body.dict(exclude={"program", "source", "hide", "condition"})
    figure = actions.record_figure(
        me(request),
        program=queries.program(body.program) if body.program else None,
        source=queries.source(body.source),
        hide=body.hide or "",
        condition=body.condition or "",
        **facts,
    )
    return Status(201, figure)


@router.post("/indicators", response={201: IndicatorOut} | PROBLEMS)
def add_indicator(request: HttpRequest, body: IndicatorIn) -> Any:
    program = queries.program(body.program) if body.program else None
    return Status(201, actions.add_indicator(me(request), program=program, **body.dict(exclude={"program"})))


@router.post("/indicators/{code}/targets", response={201: TargetOut} | PROBLEMS)
def set_target(request: HttpRequest, code: Code, body: TargetIn) -> Any:
    """What the indicator should reach in a period. The same period again replaces what was said before."""
    source = queries.source(body.source) if body.source else None
    indicator = queries.indicator(code)
    target = actions.set_target(me(request), indicator=indicator, source=source, **body.dict(exclude={"source"}))
    return Status(201, target)


@router.get("/{code}", response={200: ProgramDetailOut} | PROBLEMS, auth=None)
def read_program(request: HttpRequest, code: Code) -> Any:
    program = queries.program(code)
    return {
        **{name: getattr(program, name) for name in ("code", "name_ko", "name_en", "about_ko", "about_en")},
        "parent": program.parent,
        "purses": queries.purses_of(program),
        "parts": [part.code for part in queries.parts_of(program)],
        "indicators": queries.indicators_of(program),
        "published": queries.published(program),
    }


@router.patch("/{code}", response={200: ProgramOut} | PROBLEMS)
def edit_program(request: HttpRequest, code: Code, body: ProgramChange) -> Any:
    """Only what is named changes."""
    facts = {name: value or "" for name, value in body.dict(exclude_unset=True).items()}
    return actions.edit_program(me(request), program=queries.program(code), **facts)


@router.post("/{code}/purses", response={201: PurseOut} | PROBLEMS)
def add_purse(request: HttpRequest, code: Code, body: PurseIn) -> Any:
    source = queries.source(body.source) if body.source else None
    program = queries.program(code)
    return Status(201, actions.add_purse(me(request), program=program, source=source, **body.dict(exclude={"source"})))
