"""Amounts of a call as people write them: GPU-hours, seats, and of storage the TB held over the days of use."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from madang.web import amounts

if TYPE_CHECKING:
    from madang.calls.models import Call

MB_IN_TB = 1_000_000


def days_of_use(call: Call) -> int:
    """How many days what is granted may be used, the last one included."""
    return max((call.use.upper - call.use.lower).days, 1)


def size(unit: str, call: Call) -> int:
    """How many smallest units one of what people write is: an hour of a GPU, or a TB held over all days of use."""
    return MB_IN_TB * 24 * days_of_use(call) if unit == "mb_hour" else amounts.READ[unit][0]


def unit_name(unit: str) -> str:
    return "TB" if unit == "mb_hour" else amounts.unit_name(unit)


def smallest(value: Decimal, unit: str, call: Call) -> int:
    return round(Fraction(value) * size(unit, call))


def figure(amount: int | None, unit: str, call: Call) -> str:
    """The number alone, as it stands in an input: no separators, at most six decimals."""
    if amount is None:
        return ""
    exact = Fraction(amount, size(unit, call))
    return f"{Decimal(exact.numerator) / Decimal(exact.denominator):.6f}".rstrip("0").rstrip(".")


def in_words(amount: int | None, unit: str, call: Call) -> str:
    """`"5,000 GPU-hours"`, `"10 TB for 184 days"`. Nothing where there is no amount."""
    if amount is None:
        return ""
    number = f"{float(Fraction(amount, size(unit, call))):,.2f}".rstrip("0").rstrip(".")
    if number == "0" and amount:
        number = f"{float(Fraction(amount, size(unit, call))):.2g}"
    if unit == "mb_hour":
        days = days_of_use(call)
        held = ngettext("%(number)s TB for %(days)s day", "%(number)s TB for %(days)s days", days)
        return held % {"number": number, "days": days}
    return _("%(number)s %(unit)s") % {"number": number, "unit": unit_name(unit)}
