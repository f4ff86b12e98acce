from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from madang.calls.models import Decision
from madang.catalog.models import Resource
from madang.grants.models import Allocation
from madang.identity.access import access_of
from madang.identity.models import Role
from madang.insight.measures import COUNTS, Days, Value, rows, values
from madang.jobs.models import Run
from madang.outcomes.models import Outcome
from madang.programs.models import Condition, Hide, Indicator, ReferenceFigure, Target
from madang.web.amounts import written
from madang.workflow.errors import Missing

ROWS = 50
INSIDERS = (Role.EXECUTIVE, Role.OFFICER, Role.OPERATOR, Role.AUDITOR)


@dataclass(frozen=True)
class Line:
    """One indicator on the board: what was promised for the period, what was done, and how far that is."""

    indicator: Indicator
    target: Target | None
    value: Value

    @property
    def done(self) -> str:
        return _withheld() if self.value.withheld else shown(self.value.amount, self.value.unit)

    @property
    def promised(self) -> str:
        return shown(self.target.value, self.value.unit) if self.target else ""

    @property
    def percent(self) -> int | None:
        """How much of the target was reached, in whole percent; None where that can't be said."""
        if not self.target or not self.target.value or self.value.amount is None:
            return None
        return int(self.value.amount * 100 // self.target.value)


@dataclass(frozen=True)
class Board:
    """H·I·D·E and the five conditions. `references` is what others published: it is shown beside, never added."""

    on: date
    lines: Sequence[Line]
    references: Sequence[ReferenceFigure]
    public: bool

    @property
    def hide(self) -> list[dict[str, Any]]:
        return [self._part(letter, "hide") for letter in Hide]

    @property
    def conditions(self) -> list[dict[str, Any]]:
        return [self._part(condition, "condition") for condition in Condition]

    def _part(self, choice: Any, name: str) -> dict[str, Any]:
        figures = defaultdict(list)
        for figure in self.references:
            if getattr(figure, name) == choice.value:
                figures[figure.key].append(figure)
        return {
            "code": choice.value,
            "name": choice.label,
            "lines": [line for line in self.lines if getattr(line.indicator, name) == choice.value],
            "figures": list(figures.values()),
        }


def shown(amount: int | float | None, unit: str) -> str:
    """A figure with its unit, as people read it."""
    if amount is None:
        return _("nothing yet")
    if unit == "krw":
        return f"₩{amount:,}"
    if unit in ("gpu_second", "mb_hour"):
        return written(int(amount), unit)
    return _counted(amount)[unit] % {"n": f"{amount:,}"}


def _counted(amount: int | float) -> dict[str, str]:
    """The words for so many of each unit; Korean counts without a blank, English knows one and many."""
    n = 1 if amount == 1 else 2
    return {
        "organization": ngettext("%(n)s organization", "%(n)s organizations", n),
        "project": ngettext("%(n)s project", "%(n)s projects", n),
        "job": ngettext("%(n)s job", "%(n)s jobs", n),
        "resource": ngettext("%(n)s resource", "%(n)s resources", n),
        "person": ngettext("%(n)s person", "%(n)s people", n),
        "count": ngettext("%(n)s item", "%(n)s items", n),
        "day": ngettext("%(n)s day on average", "%(n)s days on average", n),
    }


def _withheld() -> str:
    return _("withheld (fewer than 5)")


def is_public(person: Any) -> bool:
    """Whether this reader sees only what everybody may see. An officer of one program is an outsider to the others."""
    access = access_of(person)
    return not any(access.holds(role) for role in INSIDERS)


def board(person: Any, on: date) -> Board:
    """The board as it stands on a day, in eight SQL statements."""
    indicators = list(Indicator.objects.prefetch_related("targets"))
    targets = {indicator.pk: _target_on(indicator, on) for indicator in indicators}
    public = is_public(person)
    counted = values(((i.pk, i.measure, period(targets[i.pk], on)) for i in indicators), public=public)
    lines = [Line(i, targets[i.pk], counted[i.pk]) for i in indicators]
    references = list(ReferenceFigure.objects.select_related("source", "program"))
    return Board(on, lines, references, public)


def period(target: Target | None, on: date) -> Days:
    """The days that are counted: from the first one of the target's period to the day that was asked for."""
    return Days(target.starts_on if target else None, on)


def _target_on(indicator: Indicator, on: date) -> Target | None:
    """The target whose period holds this day; the shortest where several do."""
    fitting = [t for t in indicator.targets.all() if t.starts_on <= on <= t.ends_on]
    return min(fitting, key=lambda t: t.ends_on - t.starts_on, default=None)


@dataclass(frozen=True)
class Row:
    """One row behind a number. `whose` is empty for readers who may not know."""

    what: str
    when: Any
    amount: str
    whose: str
    state: str


@dataclass(frozen=True)
class Trace:
    """A number of the board with its definition and the rows that it was counted from."""

    line: Line
    days: Days
    rows: Sequence[Row]
    next: int | None
    public: bool


def trace(person: Any, code: str, on: date, before: int | None = None) -> Trace:
    """What stands behind one indicator. Raises Missing for a code that there isn't."""
    indicator = Indicator.objects.prefetch_related("targets").filter(code=code).first()
    if indicator is None:
        raise Missing(_("There is no such indicator."))
    target = _target_on(indicator, on)
    days, public = period(target, on), is_public(person)
    value = values([(indicator.pk, indicator.measure, days)], public=public)[indicator.pk]
    found: list[Any] = []
    if not value.withheld:
        behind = rows(indicator.measure, days)
        found = list((behind.filter(pk__lt=before) if before else behind)[: ROWS + 1])
    page, more = found[:ROWS], found[ROWS:]
    count = COUNTS[indicator.measure]
    return Trace(
        Line(indicator, target, value),
        days,
        [_row(row, count.row, count.unit, public=public) for row in page],
        page[-1].pk if more else None,
        public,
    )


def _row(row: Any, adds: str, unit: str, *, public: bool) -> Row:
    amount = shown(getattr(row, adds), unit) if adds else ""
    match row:
        case Allocation():
            what = f"{row.grant.number} · {row.resource.name}"
            return Row(what, row.grant.accepted_at, amount, _name(row.grant, public), row.get_state_display())
        case Run():
            grant = row.job.allocation.grant
            what = f"{grant.number} · {row.job.allocation.resource.name}"
            return Row(what, row.ended_at, amount, _name(grant, public), row.get_outcome_display())
        case Outcome():
            what = f"{row.grant.number} · {row.get_kind_display() if public else row.title}"
            return Row(what, row.occurred_on, amount, _name(row, public), row.get_level_display())
        case Decision():
            assert row.final_at is not None  # what counts it asks for that
            days = (row.final_at - row.application.call.closes_at).total_seconds() / 86400
            what = row.application.receipt_number
            return Row(what, row.final_at, f"{days:.1f}", "", row.get_outcome_display() if not public else "")
        case Resource():
            return Row(row.name, row.added_at, "", row.owner.name, row.get_state_display())
    raise TypeError(type(row))


def _name(owner: Any, public: bool) -> str:
    return "" if public else str(owner.organization.name)
