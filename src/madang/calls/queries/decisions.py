"""All that a decision rests on, on one sheet."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from madang.calls import publishing, ranking, sums
from madang.calls.models import (
    Application,
    ApplicationLine,
    ApplicationState,
    Call,
    CallLine,
    CallState,
    Discount,
    Outcome,
)
from madang.calls.queries.public import LINES
from madang.calls.queries.shapes import Proposals, Sheet, SheetLine, SheetRow, SheetRowLine, award_of, fitting, missing
from madang.calls.when import CLOCK, clock_of
from madang.catalog.models import Rate
from madang.identity.access import access_of
from madang.identity.models import Role


def decision_sheet(person: Any, call_code: str) -> Sheet:
    """Every eligible application with its standing, and what the proposals leave of the call. Eight SQL statements."""
    waiting = (
        Application.objects.filter(
            call=OuterRef("pk"), state__in=[ApplicationState.SUBMITTED, ApplicationState.SUPPLEMENT]
        )
        .order_by()
        .values("call")
        .annotate(n=Count("pk"))
        .values("n")
    )
    call = _call(
        person,
        Call.objects.prefetch_related("criteria", "discounts").annotate(
            waiting=Coalesce(Subquery(waiting, output_field=IntegerField()), 0)
        ),
        call_code,
    )
    lines: list[CallLine] = list(call.lines.all())
    asked = _asked(call)
    applications = {row[0].application_id: row[0].application for row in asked.values()}
    receipts = {id: application.receipt or 0 for id, application in applications.items()}
    standings = ranking.standings(list(call.criteria.all()), call.reviews_wanted, receipts, sums.latest_sheets(call))
    rates = sums.rates_of(call, lines)
    rows = [
        _row(applications[id], asked[id], standings[id], lines, rates, list(call.discounts.all()))
        for id in sorted(applications, key=lambda id: ranking.best_first(standings[id], receipts[id]))
    ]
    chosen = [row for row in rows if row.decision and row.decision.outcome == Outcome.SELECTED]
    together = sums.added_up(
        ((row.application.pk, line.call_line.pk, line.awarded or 0) for row in chosen for line in row.lines),
        lines,
        rates,
    )
    wanted: dict[int, int] = defaultdict(int)
    for row in rows:
        for line in row.lines:
            wanted[line.call_line.pk] += line.asked
    free = publishing.capacity(call, lines)
    undecided = sum(1 for row in rows if row.decision is None)
    evaluating = call.state == CallState.EVALUATING
    return Sheet(
        call=call,
        stage=call.stage(clock_of(call)),
        rows=rows,
        lines=[
            _line(line, wanted[line.pk], together.awarded.get(line.pk, 0), free[line.resource_id]) for line in lines
        ],
        criteria=list(call.criteria.all()),
        used_krw=together.used_krw,
        unpriced=together.unpriced,
        awards=len(chosen),
        undecided=undecided,
        waiting=call.waiting,
        can_decide=evaluating,
        can_announce=evaluating and not undecided and not call.waiting,
    )


def proposals(person: Any, call_code: str) -> Proposals:
    """What is proposed for every eligible application, in the order of the receipts. Three SQL statements."""
    call = _call(person, Call.objects.all(), call_code)
    lines: list[CallLine] = list(call.lines.all())
    rows = [
        _row(asked[0].application, asked, None, lines, {}, [])
        for asked in sorted(_asked(call).values(), key=lambda asked: asked[0].application.receipt or 0)
    ]
    return Proposals(call, call.stage(clock_of(call)), rows, lines)


def _call(person: Any, found: QuerySet[Call], code: str) -> Any:
    """The call with lines and clock, for an officer of its program. Two SQL statements, and those of `found`."""
    call = found.select_related("program").prefetch_related(LINES).annotate(clock=CLOCK).filter(code=code).first()
    if call is None or not access_of(person).holds(Role.OFFICER, program=call.program_id):
        raise missing()
    return call


def _asked(call: Call) -> dict[int, list[ApplicationLine]]:
    """The lines of every judged application, with the application, its applicant and decision. One SQL statement."""
    rows: dict[int, list[ApplicationLine]] = defaultdict(list)
    for row in ApplicationLine.objects.filter(
        application__call=call, application__state__in=sums.JUDGED
    ).select_related("application__organization", "application__decision", "award"):
        row.application.call = call
        rows[row.application_id].append(row)
    return rows


def _row(
    application: Application,
    asked: list[ApplicationLine],
    standing: ranking.Standing | None,
    offered: list[CallLine],
    rates: dict[int, Rate],
    discounts: list[Discount],
) -> SheetRow:
    by_id = {line.pk: line for line in offered}
    decision = getattr(application, "decision", None)
    lines = []
    value: int | None = None
    for row in sorted(asked, key=lambda row: row.call_line_id):
        awarded = (award_of(row) or 0) if decision else None
        line = by_id[row.call_line_id]
        lines.append(SheetRowLine(row.pk, line, row.amount, awarded, row.essential))
        if rate := rates.get(line.resource_id):
            value = (value or 0) + rate.price_of(row.amount if awarded is None else awarded)
    return SheetRow(application, standing, decision, lines, value, fitting(discounts, application.organization))


def _line(line: CallLine, asked: int, awarded: int, free: tuple[int | None, int | None]) -> SheetLine:
    whole, left = free
    return SheetLine(line, asked, awarded, whole, None if left is None else left - awarded)
