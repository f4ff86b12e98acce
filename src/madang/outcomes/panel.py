"""What this room says on the page of a grant."""

from __future__ import annotations

from typing import Any

from django.db.models import Count
from django.urls import reverse
from django.utils.translation import gettext as _

from madang.grants.facility import Action, Card
from madang.grants.models import Grant, GrantState
from madang.identity.access import access_of
from madang.outcomes.models import Outcome, OutcomeState


def panel(grant: Grant, person: Any) -> Card:
    """How many outcomes stand where, and the way to report one. One SQL statement."""
    counts = Outcome.objects.filter(grant=grant).order_by().values_list("state").annotate(n=Count("id"))
    found = {state: n for state, n in counts if state != OutcomeState.REPLACED}
    facts = [(str(OutcomeState(state).label), str(found[state])) for state in OutcomeState.values if state in found]
    actions = []
    if found:
        actions.append(Action(_("See the outcomes"), f"{reverse('outcomes:list')}?grant={grant.number}"))
    reporting = grant.state in (GrantState.ACTIVE, GrantState.CLOSED)
    if reporting and access_of(person).is_member(grant.organization_id):
        actions.insert(
            0, Action(_("Report an outcome"), reverse("outcomes:report", args=[grant.number]), main=not found)
        )
    text = "" if found else _("Nothing has been reported yet: new hires, revenue, products, patents, investment.")
    return Card(title=_("Outcomes"), text=text, facts=facts, actions=actions)
