"""What the officer proposes. Nothing of it is final, or seen by an applicant, before the results are announced."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext as _

from madang.calls import conflicts, sums
from madang.calls.actions.calls import require_officer, said_why
from madang.calls.locks import lock
from madang.calls.models import (
    Application,
    ApplicationLine,
    ApplicationState,
    Call,
    CallState,
    Decision,
    DecisionLine,
    Outcome,
)
from madang.identity.models import Person
from madang.web.amounts import written
from madang.workflow.errors import Refused, Stale
from madang.workflow.log import act
from madang.workflow.moment import now


def decide(
    actor: Person, *, application: Application, outcome: str, amounts: Mapping[int, int] | None = None, reason: str
) -> Decision:
    """Propose what becomes of one application; decided again, the newer proposal counts.

    `amounts` are by application line; what isn't named gets nothing, and None is all that was asked. Less than was
    asked is possible on every line, nothing on none that is essential. Refused where all proposals together exceed the
    awards, the budget (at list price) or the total of a line.
    """
    call = application.call
    require_officer(actor, call)
    conflicts.require_none(actor, application.organization_id)
    reason = said_why(reason, most=2000)
    if outcome not in Outcome.values:
        raise Refused(_("This outcome doesn't exist."), field="outcome")
    with act(actor, "decide", on=application, reason=reason, outcome=outcome) as said:
        _lock_undecided(call, application)
        asked = {line.pk: line for line in application.lines.select_related("call_line__resource")}
        awarded = _awarded(asked, outcome, amounts)
        decision, _new = Decision.objects.update_or_create(
            application=application,
            defaults={"outcome": outcome, "reason": reason, "decided_by": actor, "decided_at": now()},
        )
        decision.lines.all().delete()
        DecisionLine.objects.bulk_create(
            DecisionLine(decision=decision, line=asked[id], amount=amount) for id, amount in awarded.items()
        )
        said["amounts"] = {str(id): amount for id, amount in awarded.items()}
        standings = sums.rank_again(call)
        if outcome != Outcome.REJECTED:
            sums.require_worthy(application, standings[application.pk])
        sums.require_within(call)
        decision.refresh_from_db()
    return decision


def undecide(actor: Person, *, application: Application) -> None:
    """Take a proposal back."""
    call = application.call
    require_officer(actor, call)
    conflicts.require_none(actor, application.organization_id)
    with act(actor, "undecide", on=application):
        _lock_undecided(call, application)
        Decision.objects.filter(application=application, final_at=None).delete()


def _lock_undecided(call: Call, application: Application) -> None:
    lock(call)
    lock(application)
    if call.state != CallState.EVALUATING:
        raise Stale(_("Decisions are made while a call is under evaluation. This one isn't now."))
    if application.state != ApplicationState.ELIGIBLE:
        raise Stale(
            _("This application is “%(state)s”: only eligible ones are decided.")
            % {"state": ApplicationState(application.state).label}
        )


def _awarded(asked: Mapping[int, ApplicationLine], outcome: str, amounts: Mapping[int, int] | None) -> dict[int, int]:
    """What is awarded by line, checked against what was asked."""
    if outcome == Outcome.REJECTED:
        if amounts and any(amounts.values()):
            raise Refused(_("Who isn't selected gets nothing."), field="amounts")
        return {}
    if amounts is None:
        return {id: line.amount for id, line in asked.items()}
    errors: dict[str, str] = {}
    for id, amount in amounts.items():
        line = asked.get(id)
        if line is None:
            errors[f"line-{id}"] = _("This application didn't ask for that.")
        elif amount < 0:
            errors[f"line-{id}"] = _("Not less than nothing.")
        elif amount > line.amount:
            errors[f"line-{id}"] = _("Only %(asked)s was asked for.") % {
                "asked": written(line.amount, line.call_line.resource.unit)
            }
    if errors:
        raise Refused(_("Check what is marked."), errors=errors)
    if outcome == Outcome.SELECTED and asked and not any(amounts.values()):
        raise Refused(_("Who is selected gets something. Award at least one line."), field="amounts")
    awarded = {id: amounts.get(id, 0) for id in asked}
    if any(awarded.values()):
        sums.require_essential(asked.values(), awarded)
    return awarded
