from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from django.utils.timezone import localdate
from ninja import Query, Router, Schema

from madang.identity.access import me
from madang.identity.api import public
from madang.insight import answers, queries
from madang.programs.models import Condition, Hide
from madang.web.api import PROBLEMS, Day, Id, Slug, bytes_of

router = Router(tags=["board"])
costs = Router(tags=["insight"])
Month = Annotated[str, Query(pattern=r"^20\d{2}-(0[1-9]|1[0-2])$", description="a month, like 2026-11")]


class LineOut(Schema):
    code: str
    name_ko: str
    name_en: str
    definition_en: str
    hide: Hide
    condition: Condition
    unit: str
    target: int | None
    target_from: date | None
    target_until: date | None
    actual: float | None
    percent: int | None
    withheld: bool
    organizations: int


class ReferenceOut(Schema):
    """A figure that somebody published. It isn't measured here, and never added to what is."""

    key: str
    label_ko: str
    label_en: str
    value: str
    unit_en: str
    hide: str
    condition: str
    publisher: str
    published: str


class BoardOut(Schema):
    on: date
    public: bool
    lines: list[LineOut]
    references: list[ReferenceOut]


class RowOut(Schema):
    what: str
    when: datetime | date | None
    amount: str
    whose: str
    state: str


class TraceOut(Schema):
    line: LineOut
    rows: list[RowOut]
    next: int | None


def _line(line: queries.Line) -> LineOut:
    indicator, target, value = line.indicator, line.target, line.value
    return LineOut(
        code=indicator.code,
        name_ko=indicator.name_ko,
        name_en=indicator.name_en,
        definition_en=indicator.definition_en,
        hide=Hide(indicator.hide),
        condition=Condition(indicator.condition),
        unit=value.unit,
        target=target.value if target else None,
        target_from=target.starts_on if target else None,
        target_until=target.ends_on if target else None,
        actual=value.amount,
        percent=line.percent,
        withheld=value.withheld,
        organizations=value.organizations,
    )


@router.get("/", response={200: BoardOut} | PROBLEMS, auth=public, summary="The board: promised beside done")
def board(request: HttpRequest, on: Day | None = None) -> BoardOut:
    found = queries.board(request.user, on or localdate())
    return BoardOut(
        on=found.on,
        public=found.public,
        lines=[_line(line) for line in found.lines],
        references=[
            ReferenceOut(
                key=f.key,
                label_ko=f.label_ko,
                label_en=f.label_en,
                value=f.value,
                unit_en=f.unit_en,
                hide=f.hide,
                condition=f.condition,
                publisher=f.source.publisher,
                published=f.source.published,
            )
            for f in found.references
        ],
    )


@router.get("/{code}", response={200: TraceOut} | PROBLEMS, auth=public, summary="The rows behind one number")
def trace(request: HttpRequest, code: Slug, on: Day | None = None, before: Id | None = None) -> TraceOut:
    found = queries.trace(request.user, code, on or localdate(), before)
    return TraceOut(
        line=_line(found.line),
        rows=[RowOut(what=r.what, when=r.when, amount=r.amount, whose=r.whose, state=r.state) for r in found.rows],
        next=found.next,
    )


@costs.get(
    "/focus",
    response=PROBLEMS,
    summary="What was used in a month and what it costs, as FOCUS 1.2",
    openapi_extra=bytes_of("text/csv", "application/vnd.apache.parquet"),
)
def focus_of(request: HttpRequest, month: Month, format: Literal["csv", "parquet"] = "csv") -> Any:
    """Of the programs that you oversee, and of your own organizations. Costs in whole KRW.

    `BilledCost` is the part of the own share that what was used stands for. The own share of the agreement, of all that
    was granted, stands in `x_AllocatedOwnShare`: the two are never added, and neither is an invoice.
    """
    return answers.focus_file(me(request), date.fromisoformat(f"{month}-01"), format)
