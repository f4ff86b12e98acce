"""How the pages of calls write amounts, files and time that is left."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils.translation import gettext as _

from madang.calls import measure
from madang.calls.models import Call
from madang.web import amounts

register = template.Library()


@register.simple_tag
def lent(amount: int | None, unit: str, call: Call) -> str:
    """An amount of a line, in the unit that people use for it in this call."""
    return measure.in_words(amount, unit, call)


@register.simple_tag
def left_until(until: datetime | None, now: datetime) -> str:
    """How long it is from `now` until an instant, in the two largest parts; nothing when it has passed."""
    if until is None or until <= now:
        return ""
    minutes = int((until - now).total_seconds() // 60)
    if minutes >= 1440:
        minutes -= minutes % 60
    return amounts.lasting(minutes) if minutes else str(_("less than a minute"))


@register.filter
def file_size(size: int) -> str:
    """1,234,567 bytes → "1.2 MB"."""
    for unit, bytes_ in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}"
    return f"{size} B"


@register.filter
def score(value: Any) -> str:
    """85.00 → "85", 85.50 → "85.5"; a dash where nothing was scored."""
    return "–" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


@register.filter
def digest(value: str) -> str:
    """A digest in groups of eight, so that two of them can be compared by eye."""
    return " ".join(value[at : at + 8] for at in range(0, len(value), 8))
