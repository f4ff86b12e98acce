"""What the ledger answers when it doesn't book, mapped in one place from the names that the database raises."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import DataError, Error
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from madang.workflow.errors import Missing, Refused, Stale


class Overspent(Refused):
    """The account has less than was asked for. `left` in the smallest `unit`; None where the database didn't say."""

    left: int | None = None
    unit: str = ""


class KeyConflict(Stale):
    """The key was used before, with another payload."""


class AlreadyResolved(Stale):
    """The hold was ended before, and otherwise."""


class NotOverdue(Stale):
    """Too early to expire this hold, by the database's clock."""


class NotRefundable(Refused):
    """Not a use, or more than is left to give back of it."""


class NotReversible(Refused):
    """A hold, the end of one, a reversal, or an entry that was partly refunded."""


class AlreadyReversed(Stale):
    """Corrected before."""


class WrongAccounts(Refused):
    """Two commodities, roles that the verb doesn't join, or an account without a limit where one is needed."""


class WrongAmount(Refused):
    """Negative, or larger than the ledger can count."""


class MonthNotOver(Refused):
    """A month can be closed when it is over."""


class Busy(Stale):
    """Postings didn't pause long enough to close the month."""


def written(amount: int, unit: str) -> str:
    """An amount for people. What counts it in larger units is named by the setting LEDGER_WRITES_AMOUNTS."""
    if path := getattr(settings, "LEDGER_WRITES_AMOUNTS", None):
        return str(import_string(path)(amount, unit))
    return f"{amount:,} {unit}"


def overspent(detail: str | None) -> Overspent:
    left, _space, unit = (detail or "").partition(" ")
    if not left.lstrip("-").isdigit():  # the CHECK itself spoke: its detail is the row
        return Overspent(_("The balance doesn't cover this."))
    answer = Overspent(
        _("The balance doesn't cover this: %(left)s left.") % {"left": written(int(left), unit)}, field="amount"
    )
    answer.left, answer.unit = int(left), unit
    return answer


class WrongRecord(Refused):
    """A record of use that can't be: it ends before it begins, or in the future."""


# A key that was used, a hold that was ended, an entry that was reversed, before or at this very moment: an index or the
# balance refuses the second, which finds what the first has booked when it asks again.
RACES = {
    ("23505", "ledger_key"),
    ("23505", "ledger_hold_resolved_once"),
    ("23505", "ledger_reversed_once"),
    ("23514", "ledger_balance_not_negative"),
}


def lost_a_race(error: Error) -> bool:
    diag: Any = getattr(error.__cause__, "diag", None)
    return (getattr(diag, "sqlstate", None), getattr(diag, "constraint_name", None)) in RACES


def refusal(error: Error) -> Refused | None:
    """What an error of the database means for people; None where it is no answer of the ledger."""
    diag: Any = getattr(error.__cause__, "diag", None)
    if answer := named(getattr(diag, "constraint_name", None) or "", getattr(diag, "message_detail", None)):
        return answer
    match getattr(diag, "sqlstate", None):
        case "22003":
            return too_large()
        case "22001" | "22021" | "22007" | "22008":
            return not_storable()
        case "22P02" | "22P04" | "23502":
            return unreadable()
        case "23503":
            return nothing_there()
        case "55P03" | "40P01":  # a transaction of several verbs waits for another, and that for it
            return Busy(_("The ledger is busy. Try again in a moment."))
        case None if isinstance(error, DataError):  # a NUL doesn't even reach the database
            return not_storable()
    return None


def too_large() -> WrongAmount:
    return WrongAmount(_("This amount is too large."), field="amount")


def not_storable() -> WrongRecord:
    return WrongRecord(_("A key of this record is too long, or a sign or an instant in it can't be stored."))


def unreadable() -> WrongAmount:
    return WrongAmount(_("A figure in it is no whole number, or something in it is missing or can't be read."))


def nothing_there() -> Missing:
    return Missing(_("There is no such account or entry."))


def without_zone() -> WrongRecord:
    return WrongRecord(_("A time needs its time zone."))


def unfit(amount: int, key: str, *ids: int) -> Refused | None:
    """What is wrong with a request that the database couldn't even read: it must not take others down with it."""
    if not all(isinstance(number, int) for number in (amount, *ids)):
        return unreadable()
    if not -(1 << 63) <= amount < 1 << 63:
        return too_large()
    if not all(-(1 << 63) <= one < 1 << 63 for one in ids):
        return nothing_there()
    return not_storable() if "\0" in key or len(key) > 200 or not storable(key) else None


def storable(text: str) -> bool:
    """Half of a sign is none: it can't be written as bytes."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def named(name: str, detail: str | None = None) -> Refused | None:
    """The answer that stands for this name of a constraint; None where it is none of the ledger's."""
    match name:
        case "ledger_never_overspent":
            return overspent(detail)
        case "ledger_key":
            return KeyConflict(_("This was already booked, with other figures."))
        case "ledger_hold_resolved_once":
            return AlreadyResolved(_("What was held has already been settled or released."))
        case "ledger_overdue":
            return NotOverdue(_("This hold isn't overdue yet."))
        case "ledger_refundable":
            return NotRefundable(_("No more than what was used can be refunded."), field="amount")
        case "ledger_reversible":
            return NotReversible(_("This entry can't be reversed."))
        case "ledger_reversed_once":
            return AlreadyReversed(_("This entry was already reversed."))
        case "ledger_one_commodity" | "ledger_account_role" | "ledger_limited" | "ledger_two_accounts":
            return WrongAccounts(_("These accounts don't belong together."))
        case "ledger_amount_not_beyond":
            return too_large()
        case "ledger_amount_not_negative" | "ledger_balance_not_negative":
            return WrongAmount(_("An amount can't be negative."), field="amount")
        case "ledger_until":
            return not_storable()
        case "ledger_usage_times":
            return WrongRecord(_("This use ends before it begins, or in the future."), field="ended_at")
        case "ledger_month_over":
            return MonthNotOver(_("A month can be closed when it is over."), field="month")
        case "ledger_account" | "ledger_hold" | "ledger_entry":
            return nothing_there()
    return None
