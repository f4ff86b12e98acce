"""One attempt to take time, and what its failures mean."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db import DataError, Error
from django.utils.translation import gettext as _

from madang.claims.errors import Gone, Taken
from madang.claims.models import EARLIEST, LATEST, State
from madang.workflow.errors import Missing, Refused, Stale
from madang.workflow.functions import call

During = tuple[datetime, datetime | None]
AGAIN = {"40P01", "40001"}  # a deadlock, a serialization failure
ATTEMPTS = 3


def attempt(function: str, **arguments: Any) -> Any:
    """Call it, in a transaction of its own or a savepoint of the caller's: all of the verb or nothing.

    A deadlock or serialization failure is tried again, twice, and then answered as Taken: somebody else is busy with
    the same time. Whoever asks out of order in a transaction of several verbs, and is waited for, is told so at once.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            return call(function, **arguments)
        except UnicodeEncodeError as error:  # half of a sign
            raise not_storable() from error
        except Error as error:
            if left and _told(error).sqlstate in AGAIN:
                continue
            if answer := refusal(error):
                raise answer from error
            raise
    raise AssertionError("the last attempt returns or raises")


def _told(error: Error) -> Any:
    return getattr(error.__cause__, "diag", None)


def refusal(error: Error) -> Refused | None:
    """What an error of the database means for people; None where it is no answer of this room."""
    told = _told(error)
    match getattr(told, "constraint_name", None):
        case "claims_never_twice" | "claims_circle":
            return taken()
        case "claims_full":
            return Taken(_("Only %(free)s are left in this time.") % {"free": told.message_detail}, field="amount")
        case "claims_promised":
            return Taken(_("%(promised)s are already promised.") % {"promised": told.message_detail}, field="capacity")
        case "claims_gone":
            return Gone(_("This is no longer held for you. Choose a time again."))
        case "claims_in_use":
            return Refused(_("This thing is in use as a whole and can't be divided now."), field="parent")
        case "claims_other_parent":
            return Stale(_("This thing is already a part of another."))
        case "claims_other_capacity":
            return Stale(_("This pool exists with another capacity."))
        case "claims_missing":
            return missing()
    match getattr(told, "sqlstate", None):
        case "40P01" | "40001":
            return taken()
        case "22001" | None if isinstance(error, DataError):
            return not_storable()
        case "22003":  # a larger number than any id
            return missing()
    return None


def not_storable() -> Refused:
    return Refused(_("What this is for is too long, or a sign in it can't be stored."))


def taken() -> Taken:
    return Taken(_("This time is already taken."), field="during")


def missing() -> Missing:
    return Missing(_("There is no such place or claim."))


def interval(during: During) -> During:
    """(start, end) with an end after the start, or with none: until further notice. Refused where it isn't one."""
    start, end = instant(during[0], "during"), None if during[1] is None else instant(during[1], "during")
    if end is not None and end <= start:
        raise Refused(_("The end must be after the start."), field="during")
    return start, end


def instant(moment: datetime, field: str) -> datetime:
    """The same instant in UTC. Refused without a time zone, or so far away that some zone couldn't write it."""
    if moment.utcoffset() is None:
        raise Refused(_("A time needs its time zone."), field=field)
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        moment = LATEST
    if not EARLIEST <= moment < LATEST:
        raise Refused(_("This time is too far away."), field=field)
    return moment


def beginning(state: str, expires_at: datetime | None) -> dict[str, Any]:
    """How a claim begins. ValueError where none can begin so."""
    if state not in (State.HELD, State.CONFIRMED) or (state == State.CONFIRMED and expires_at):
        raise ValueError("a claim begins held, maybe until an instant, or confirmed")
    return {"state": str(state), "expires_at": None if expires_at is None else instant(expires_at, "expires_at")}


def ids(numbers: Iterable[int]) -> list[int]:
    return sorted(set(numbers))
