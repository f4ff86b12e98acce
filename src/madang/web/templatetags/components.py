"""What the components need and templates can't do: which tone a state has."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

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


@register.filter
def badge(text: Any, state: Any) -> SafeString:
    """What c-badge makes, for lists whose every line has some: a component costs many times as much."""
    return format_html('<span class="badge {}">{}</span>', tone(state), text)
