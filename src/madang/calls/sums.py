"""What all awards of a call come to together, and whether that is within what it has to give."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from madang.calls import ranking
from madang.calls.models import (
    Application,
    ApplicationLine,
    ApplicationState,
    AssignmentState,
    Call,
    CallLine,
    Decision,
    DecisionLine,
    Outcome,
    ScoreSheet,
)
from madang.calls.ranking import Standing
from madang.catalog import queries as catalog
from madang.catalog.models import Rate, Resource
from madang.web.amounts import written
from madang.workflow.errors import Refused

JUDGED = (
    ApplicationState.ELIGIBLE,
    ApplicationState.SELECTED,
    ApplicationState.RESERVE,
    ApplicationState.REJECTED,
)


@dataclass(frozen=True)
class Sums:
    """`awarded` is by call line, `used_krw` the list value of all that has a rate; `unpriced` has none."""

    awards: int
    used_krw: int
    awarded: Mapping[int, int]
    unpriced: list[Resource] = field(default_factory=list)


def rates_of(call: Call, lines: Iterable[CallLine]) -> dict[int, Rate]:
    """resource id → its rate on the first day of use."""
    return catalog.rates_on([line.resource_id for line in lines], call.use.lower)


def added_up(awards: Iterable[tuple[int, int, int]], lines: Iterable[CallLine], rates: Mapping[int, Rate]) -> Sums:
    """The sums of (application, call line, amount). Each line of each application is priced by itself, like a bill."""
    offered = {line.pk: line for line in lines}
    awarded: dict[int, int] = defaultdict(int)
    used, applications = 0, set()
    for application, line, amount in awards:
        applications.add(application)
        awarded[line] += amount
        if rate := rates.get(offered[line].resource_id):
            used += rate.price_of(amount)
    unpriced = [line.resource for line in offered.values() if line.resource_id not in rates]
    return Sums(len(applications), used, dict(awarded), unpriced)


def require_within(call: Call) -> Sums:
    """Raises Refused where the selected decisions exceed the awards, the budget or a line. The call is locked."""
    lines = list(call.lines.select_related("resource"))
    chosen = Decision.objects.filter(
        application__call=call, outcome=Outcome.SELECTED, application__state=ApplicationState.ELIGIBLE
    )
    count = chosen.count()
    if count > call.most_awards:
        raise Refused(_("This call has %(most)s awards.") % {"most": call.most_awards}, field="outcome")
    awards = DecisionLine.objects.filter(decision__in=chosen, amount__gt=0).values_list(
        "decision__application_id", "line__call_line_id", "amount"
    )
    sums = added_up(awards, lines, rates_of(call, lines))
    for line in lines:
        if sums.awarded.get(line.pk, 0) > line.total:
            raise Refused(
                _("%(resource)s: all awards together would be %(sum)s; the call has %(total)s.")
                % {
                    "resource": line.resource.name,
                    "sum": written(sums.awarded[line.pk], line.resource.unit),
                    "total": written(line.total, line.resource.unit),
                },
                field="amounts",
            )
    if sums.used_krw > call.budget_krw:
        raise Refused(
            _("All awards together would be worth ₩%(used)s at list price; the budget is ₩%(budget)s.")
            % {"used": f"{sums.used_krw:,}", "budget": f"{call.budget_krw:,}"},
            field="amounts",
        )
    return sums


def require_essential(lines: Iterable[ApplicationLine], amounts: Mapping[int, int]) -> None:
    """Raises Refused where an essential line (of one application) gets nothing: without it the project can't be done.

    `amounts` are by application line.
    """
    errors = {
        f"line-{line.pk}": _("This line is essential: without it the project is not possible. Award some of it.")
        for line in lines
        if line.essential and amounts.get(line.pk, 0) <= 0
    }
    if errors:
        raise Refused(_("Essential lines are awarded together or not at all."), errors=errors)


def latest_sheets(call: Call) -> Iterable[tuple[int, Mapping[str, int]]]:
    """(application, scores) of every review that is handed in: its latest sheet. One SQL statement."""
    return (
        ScoreSheet.objects.filter(assignment__application__call=call, assignment__state=AssignmentState.SCORED)
        .order_by("assignment_id", "-id")
        .distinct("assignment_id")
        .values_list("assignment__application_id", "scores")
    )


def standings_of(call: Call) -> dict[int, Standing]:
    """How every judged application of the call stands, by id. Three SQL statements."""
    judged = call.applications.filter(state__in=JUDGED).values_list("pk", "receipt")
    receipts = {id: receipt or 0 for id, receipt in judged}
    return ranking.standings(list(call.criteria.all()), call.reviews_wanted, receipts, latest_sheets(call))


def rank_again(call: Call) -> dict[int, Standing]:
    """Write score and rank, as they are now, on the decisions that aren't final. Returns the standings."""
    standings = standings_of(call)
    changed = []
    for decision in Decision.objects.filter(application__call=call, final_at=None):
        standing = standings.get(decision.application_id)
        if standing and (decision.score, decision.rank) != (standing.score, standing.rank):
            decision.score, decision.rank = standing.score, standing.rank
            changed.append(decision)
    Decision.objects.bulk_update(changed, ["score", "rank"])
    return standings


def require_worthy(application: Application, standing: Standing) -> None:
    """Raises Refused for who can't be selected: reviews are missing, or a criterion is below its minimum."""
    if not standing.complete:
        raise Refused(
            _("%(application)s: %(done)s of %(wanted)s reviews are done.")
            % {"application": application.receipt_number, "done": standing.done, "wanted": standing.wanted},
            field="outcome",
        )
    if standing.fails:
        raise Refused(
            _("%(application)s is below the minimum in “%(criterion)s”.")
            % {"application": application.receipt_number, "criterion": standing.fails[0].name},
            field="outcome",
        )
