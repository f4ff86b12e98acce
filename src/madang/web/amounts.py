"""What is lent is counted in whole smallest units; people read it in larger ones."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

# smallest unit → (how many of it make one of the unit that people read, name of that unit)
READ = {
    "gpu_second": (3600, gettext_noop("GPU-hours")),
    "mb_hour": (1_000_000 * 24, gettext_noop("TB-days")),
    "minute": (60, gettext_noop("hours")),
    "m2_day": (1, gettext_noop("m²·days")),
    "seat": (1, gettext_noop("seats")),
    "access": (1, gettext_noop("accesses")),
    "krw": (1, gettext_noop("KRW")),
    "day": (1, gettext_noop("days")),
    "case": (1, gettext_noop("cases")),
    "run": (1, gettext_noop("runs")),
}


def unit_name(unit: str) -> str:
    return _(READ[unit][1])


# smallest unit → (below how many of it an amount is written in it, whole)
SMALL = {"gpu_second": 360, "mb_hour": 24_000}


def written(value: int, unit: str, rounded: Callable[[Fraction], int] = round) -> str:
    """`7200, "gpu_second"` → "2 GPU-hours": two decimals, more below 1, and a small amount whole in its smallest unit.

    `rounded` is `floor` for what is left and `ceil` for what was used, so that neither is better than it is.

    >>> written(7200, "gpu_second")
    '2 GPU-시간'
    """
    if 0 < abs(value) < SMALL.get(unit, 0):
        return f"{value:,} {_small_name(unit, abs(value))}"
    return f"{_figure(value, unit, rounded)} {unit_name(unit)}"


@lru_cache(maxsize=4096)  # a list writes the same few limits again and again
def _figure(value: int, unit: str, rounded: Callable[[Fraction], int]) -> str:
    share = Fraction(value, READ[unit][0])
    decimals = 2 if abs(share) >= 1 else 3 if abs(share) >= Fraction(1, 10) else 5
    figure = Fraction(rounded(share * 10**decimals), 10**decimals)
    text = f"{float(figure):,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def left(value: int, unit: str) -> str:
    """What is left: never more than there is."""
    return written(value, unit, floor)


def used(value: int, unit: str) -> str:
    """What was used, or is held: never less than it was."""
    return written(value, unit, ceil)


def _small_name(unit: str, count: int) -> str:
    if unit == "gpu_second":
        return ngettext("GPU-second", "GPU-seconds", count)
    return ngettext("MB-hour", "MB-hours", count)


def lasting(minutes: int) -> str:
    """How long a limit is, exactly: 4,320 minutes are 3 days, 90 are 1 hour 30 minutes."""
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [
        ngettext("%(n)s day", "%(n)s days", days) % {"n": f"{days:,}"} if days else "",
        ngettext("%(n)s hour", "%(n)s hours", hours) % {"n": hours} if hours else "",
        _minutes(rest) if rest or not minutes else "",
    ]
    return " ".join(part for part in parts if part)


def lasting_as_typed(minutes: int) -> str:
    """The same for who types it into a field of minutes: 3 days (4,320 minutes)."""
    return lasting(minutes) if minutes < 60 else f"{lasting(minutes)} ({_minutes(minutes)})"


def _minutes(count: int) -> str:
    return ngettext("%(n)s minute", "%(n)s minutes", count) % {"n": f"{count:,}"}


def smallest(value: int, unit: str) -> int:
    """What people wrote in their unit, in the smallest one: 2 (GPU-hours) → 7200."""
    return value * READ[unit][0]
