"""How each measure is counted, and from which rows: the number on the board and the list behind it are one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Aggregate, Avg, Count, DurationField, ExpressionWrapper, F, Model, Q, QuerySet, Sum

from madang.calls.models import Decision
from madang.catalog.models import Kind, Resource, ResourceState
from madang.grants.models import Allocation, AllocationState
from madang.jobs.models import Run
from madang.outcomes.models import Outcome, OutcomeKind, OutcomeState
from madang.programs.models import Measure

SEOUL = ZoneInfo("Asia/Seoul")
STARTED = [AllocationState.OPEN, AllocationState.PAUSED, AllocationState.CLOSED]


@dataclass(frozen=True)
class Days:
    """The days of a period, both included, as Seoul counts them. Open ends are None."""

    first: date | None = None
    last: date | None = None

    def within(self, name: str, *, instants: bool) -> Q:
        """The filter that keeps a date or an instant column to these days."""
        q = Q()
        if self.first:
            q &= Q(**{f"{name}__gte": _midnight(self.first) if instants else self.first})
        if self.last:
            after = self.last + timedelta(days=1)
            q &= Q(**{f"{name}__lt": _midnight(after) if instants else after})
        return q


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), SEOUL)


@dataclass(frozen=True)
class Counted:
    """One measure: the rows it counts, and how.

    `of` and `only` choose rows of `model`; `when` is the column that puts a row into a period; `adds` is the aggregate;
    `row` is what one row adds (for the list); `whose` leads to the organization, where a row belongs to one. `private`
    measures could give away the business of a single company: the public sees them from `FEWEST` companies on.
    """

    model: type[Model]
    adds: Callable[[Q | None], Aggregate]
    when: str
    unit: str
    only: Q = field(default_factory=Q)
    instants: bool = True
    row: str = ""
    whose: str = ""
    private: bool = False


FEWEST = 5

_wait = ExpressionWrapper(F("final_at") - F("application__call__closes_at"), output_field=DurationField())


def _sum(column: str) -> Callable[[Q | None], Aggregate]:
    return lambda only: Sum(column, filter=only)


def _count(column: str) -> Callable[[Q | None], Aggregate]:
    """Each one once, in however many rows it stands."""
    return lambda only: Count(column, distinct=True, filter=only)


def _attributed(only: Q | None) -> Aggregate:
    """The part of each amount that the support brought about, in whole units."""
    return Sum(F("amount") * F("share_percent") / 100, filter=only)


def _outcome(kind: OutcomeKind, unit: str, adds: str = "amount") -> Counted:
    return Counted(
        Outcome, _attributed if adds == "attributed" else _sum("amount"), "occurred_on", unit,
        Q(kind=kind, state=OutcomeState.VERIFIED), instants=False, row=adds, whose="organization", private=True,
    )  # fmt: skip


COUNTS: dict[str, Counted] = {
    Measure.COMPANIES_SUPPORTED: Counted(
        Allocation, _count("grant__organization"), "grant__accepted_at", "organization",
        Q(state__in=STARTED), whose="grant__organization",
    ),
    Measure.PROJECTS_SUPPORTED: Counted(
        Allocation, _count("grant"), "grant__accepted_at", "project",
        Q(state__in=STARTED), whose="grant__organization",
    ),
    Measure.GPU_HOURS_GRANTED: Counted(
        Allocation, _sum("amount"), "grant__accepted_at", "gpu_second",
        Q(state__in=STARTED, resource__kind=Kind.COMPUTE), row="amount", whose="grant__organization",
    ),
    Measure.STORAGE_GRANTED: Counted(
        Allocation, _sum("amount"), "grant__accepted_at", "mb_hour",
        Q(state__in=STARTED, resource__kind=Kind.STORAGE), row="amount", whose="grant__organization",
    ),
    Measure.GPU_HOURS_USED: Counted(
        Run, _sum("gpu_seconds"), "ended_at", "gpu_second", row="gpu_seconds",
        whose="job__allocation__grant__organization", private=True,
    ),
    Measure.JOBS_RUN: Counted(
        Run, _count("job"), "ended_at", "job", whose="job__allocation__grant__organization", private=True,
    ),
    Measure.RESOURCES_LENT: Counted(Resource, _count("id"), "added_at", "resource", Q(state=ResourceState.OPEN)),
    Measure.HIRES: _outcome(OutcomeKind.HIRE, "person"),
    Measure.REVENUE: _outcome(OutcomeKind.REVENUE, "krw", "attributed"),
    Measure.PRODUCTS: _outcome(OutcomeKind.PRODUCT, "count"),
    Measure.PATENTS: _outcome(OutcomeKind.PATENT, "count"),
    Measure.INVESTMENT: _outcome(OutcomeKind.INVESTMENT, "krw", "attributed"),
    Measure.DECISION_DAYS: Counted(
        Decision, lambda only: Avg(_wait, filter=only), "final_at", "day", Q(final_at__isnull=False),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """What was counted. `amount` is None where nothing was, or where too few companies stand behind it to say so."""

    amount: int | float | None
    unit: str
    organizations: int = 0
    withheld: bool = False


def values(wanted: Iterable[tuple[int, str, Days]], *, public: bool) -> dict[int, Value]:
    """Each (key, measure, days) counted: one statement for each table, however many are wanted."""
    by_model: dict[type[Model], dict[str, Any]] = {}
    asked = list(wanted)
    for key, measure, days in asked:
        count = COUNTS[measure]
        only = count.only & days.within(count.when, instants=count.instants)
        columns = by_model.setdefault(count.model, {})
        columns[f"v{key}"] = count.adds(only or None)
        if count.whose:
            columns[f"o{key}"] = Count(count.whose, distinct=True, filter=only or None)
    found = {model: model._default_manager.aggregate(**columns) for model, columns in by_model.items()}
    return {key: _value(COUNTS[measure], found[COUNTS[measure].model], key, public) for key, measure, _ in asked}


def _value(count: Counted, row: dict[str, Any], key: int, public: bool) -> Value:
    amount, organizations = row[f"v{key}"], row.get(f"o{key}", 0)
    if public and count.private and 0 < organizations < FEWEST:
        return Value(None, count.unit, organizations=0, withheld=True)
    if isinstance(amount, timedelta):
        amount = round(amount.total_seconds() / 86400, 1)
    elif amount is None and count.unit != "day":
        amount = 0
    return Value(amount, count.unit, organizations)


def rows(measure: str, days: Days) -> QuerySet[Any]:
    """The rows behind a measure, newest first, with what leads from them to what a reader knows them by."""
    count = COUNTS[measure]
    found = count.model._default_manager.filter(count.only, days.within(count.when, instants=count.instants))
    related = {
        Allocation: ("grant__organization", "resource"),
        Run: ("job__allocation__grant__organization", "job__allocation__resource"),
        Outcome: ("organization", "grant"),
        Decision: ("application__call",),
        Resource: ("owner",),
    }[count.model]
    return found.select_related(*related).order_by("-id")
