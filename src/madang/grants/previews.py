"""What an announcement would send, before it is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.timezone import localdate

from madang.calls.models import Application, Call, Outcome
from madang.grants import rules, terms
from madang.grants.facility import Finding, facility_of
from madang.grants.models import Allocation
from madang.grants.queries import waiting


@dataclass(frozen=True)
class Preview:
    """One applicant: the outcome, and for the selected the lines with their prices. Nothing of it is saved."""

    application: Application
    outcome: str
    outcome_label: str
    allocations: list[Allocation]
    total: terms.Price
    findings: list[Finding]


def total_of(allocations: Iterable[Allocation]) -> terms.Price:
    return terms.total(terms.Price(row.list_krw, row.reduction_krw) for row in allocations)


def of_announcement(call: Call) -> list[Preview]:
    """Everybody whom the announcement of this call would reach, best rank first, at today's rates."""
    applications = waiting(call)
    rates = rules.rates_for(applications, localdate())
    previews = []
    for application in applications:
        decision = getattr(application, "decision", None)
        selected = decision is not None and decision.outcome == Outcome.SELECTED
        amounts = rules.awards_of(application) if selected else {}
        rows = rules.allocations_of(application, amounts, rates)
        previews.append(
            Preview(
                application,
                decision.outcome if decision else "",
                decision.get_outcome_display() if decision else "",
                rows,
                total_of(rows),
                [finding for row in rows for finding in facility_of(row.resource.kind).feasibility(row.line)],
            )
        )
    return previews
