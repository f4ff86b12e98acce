"""How the pages write money, amounts and instants."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from madang.web import amounts, korean
from madang.web.forms import visible

register = template.Library()
SEOUL = ZoneInfo("Asia/Seoul")
WHOLE = re.compile(r"(\d{4}-\d\d-\d\d|₩[\d,]*\d|\d[\d,.]* (?:GPU|TB|MB)-(?:hours?|seconds?|days?|시간|초|일))")


@register.filter
def krw(value: int | None) -> str:
    """₩1,234,000. Nothing where there is no figure: a missing price isn't a price of zero."""
    return "" if value is None else _whole(f"₩{value:,}")


@register.filter
def grouped(value: int) -> str:
    """4,096: a whole number as every page writes it, also inside a sentence."""
    return f"{value:,}"


@register.filter
def seen(path: str) -> str:
    """The path of a file; in quotation marks where a part of it shows nothing, or blanks at an end of it."""
    odd = any(part != part.strip() or not visible(part) for part in path.split("/"))
    return f"“{path}”" if odd else path


@register.filter
def won(value: int) -> str:
    """As `krw`, for a text that is no page."""
    return f"₩{value:,}"


@register.filter
def unbroken(text: str) -> str:
    """A text in which days, sums and amounts are never broken over two lines."""
    pieces = enumerate(WHOLE.split(text))  # every second one is what the pattern found
    return format_html_join("", "{}", ((_whole(piece) if place % 2 else piece,) for place, piece in pieces))


@register.filter
def amount(value: int | None, unit: str) -> str:
    """An amount in its smallest unit, written in the unit that people use (GPU-seconds as GPU-hours)."""
    return "" if value is None else _whole(amounts.written(value, unit))


@register.filter
def left(value: int | None, unit: str) -> str:
    """What is left of an amount, as `amount` writes it: never rounded up."""
    return "" if value is None else _whole(amounts.left(value, unit))


@register.filter
def used(value: int | None, unit: str) -> str:
    """What was used or is held of an amount, as `amount` writes it: never rounded down."""
    return "" if value is None else _whole(amounts.used(value, unit))


def _whole(text: str) -> str:
    """One line, however narrow the page."""
    return format_html('<span class="nowrap">{}</span>', text)


@register.filter
def seoul(value: datetime | None, form: str = "%Y-%m-%d %H:%M") -> str:
    """An instant as the clocks in Gwangju show it."""
    return "" if value is None else localtime(value, SEOUL).strftime(form)


@register.filter
def span(seconds: float) -> str:
    """How long: 40 s, 12 min, 3.5 h, 4.2 d."""
    if seconds < 60:
        return _("%(n)d s") % {"n": round(seconds)}
    if seconds < 3600:
        return _("%(n)d min") % {"n": round(seconds / 60)}
    if seconds < 72 * 3600:
        return _("%(n)s h") % {"n": f"{seconds / 3600:.1f}"}
    return _("%(n)s d") % {"n": f"{seconds / 86_400:,.1f}"}


@register.filter
def lasting(minutes: int) -> str:
    """A time limit: 3 days, 1 hour 30 minutes."""
    return amounts.lasting(minutes)


@register.filter
def lasting_as_typed(minutes: int) -> str:
    """A time limit with what to type for it: 3 days (4,320 minutes)."""
    return amounts.lasting_as_typed(minutes)


@register.filter
def share(value: float) -> str:
    """A share as a percentage: 0.125 is 12.5%, and all of it 100%."""
    return "100%" if (text := f"{value * 100:.1f}") == "100.0" else f"{text}%"


@register.filter
def particle(word: str, pair: str) -> str:
    """The Korean particle that follows `word`: {{ name }}{{ name|particle:"이/가" }}."""
    return korean.particle(str(word), pair)


@register.filter
def get(mapping: Any, key: Any) -> Any:
    """`mapping[key]`, or nothing."""
    return mapping.get(key) if mapping else None
