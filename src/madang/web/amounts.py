"""What is lent is counted in whole smallest units; people read it in larger ones."""

from __future__ import annotations

from fractions import Fraction

from django.utils.translation import gettext as _

# smallest unit → (how many of it make one of the unit that people read, name of that unit)
READ = {
    "gpu_second": (3600, "GPU-hours"),
    "mb_hour": (1_000_000 * 24, "TB-days"),
    "minute": (60, "hours"),
    "m2_day": (1, "m²·days"),
    "seat": (1, "seats"),
    "access": (1, "accesses"),
    "krw": (1, "KRW"),
    "day": (1, "days"),
    "case": (1, "cases"),
    "run": (1, "runs"),
}


def unit_name(unit: str) -> str:
    return {
        "gpu_second": _("GPU-hours"),
        "mb_hour": _("TB-days"),
        "minute": _("hours"),
        "m2_day": _("m²·days"),
        "seat": _("seats"),
        "access": _("accesses"),
        "krw": _("KRW"),
        "day": _("days"),
        "case": _("cases"),
        "run": _("runs"),
    }[unit]


def written(value: int, unit: str) -> str:
    """`7200, "gpu_second"` → "2 GPU-hours": at most two decimals, and never rounded to zero.

    >>> written(7200, "gpu_second")
    '2 GPU-시간'
    """
    return f"{number(value, unit)} {unit_name(unit)}"


def number(value: int, unit: str) -> str:
    """The figure alone, in the unit that people read."""
    share = Fraction(value, READ[unit][0])
    text = f"{float(share):,.2f}".rstrip("0").rstrip(".")
    if text in ("0", "-0") and value:
        return f"{float(share):.2g}"
    return text


def smallest(value: int, unit: str) -> int:
    """What people wrote in their unit, in the smallest one: 2 (GPU-hours) → 7200."""
    return value * READ[unit][0]
