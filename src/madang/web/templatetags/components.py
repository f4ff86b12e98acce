"""What the components need and templates can't do: which tone a state has."""

from __future__ import annotations

from typing import Any

from django import template

register = template.Library()

_TONES = {
    "success": "accepted active agreed available awarded completed confirmed done eligible full granted "
    "met open passed published selected settled succeeded verified",
    "info": "assigned deciding in_review invited offered reported reviewing running scored screening started submitted "
    "under_review",
    "warning": "conditional due held partial paused pending preparing queued reserve returned scaled starting "
    "stopping supplement suspended waiting",
    "danger": "failed ineligible killed lost missed out_of_memory over overdue overrun refused rejected revoked "
    "terminated timed_out",
}
TONES = {state: tone for tone, states in _TONES.items() for state in states.split()}


@register.filter
def tone(state: Any) -> str:
    """The tone in which a state is shown; "neutral" for one that is neither good nor bad, such as a draft."""
    return TONES.get(str(state), "neutral")
