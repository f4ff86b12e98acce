"""The verbs of exclusive time. Each is one round trip to one function of the database, all or nothing, in a transaction
of its own or inside the caller's; a refusal undoes the verb alone.

`during` is (start, end), both with a time zone, the end not included; an end of None means until further notice.
`source_type` and `source_id` say what a claim is for and are opaque here: a booking, a lease, an outage, a buffer.
Who changed a claim, and why, is in its history: open `madang.workflow.log.act` around these.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from madang.claims.attempts import During, attempt, beginning, ids, interval
from madang.claims.models import State


def leaf(*, owner_type: str, owner_id: int, part: str = "", parent: int | None = None) -> int:
    """The id of the thing (or of this part of it), made if it is new. Stale where it exists below another parent.

    A thing that has claims of its own can't get parts any more: they would not know of those.
    """
    return int(attempt("claims_make_leaf", owner_type=owner_type, owner_id=owner_id, part=part, parent=parent))


def take(
    *,
    leaves: Iterable[int],
    during: During,
    source_type: str,
    source_id: int,
    state: str = State.CONFIRMED,
    expires_at: datetime | None = None,
) -> list[int]:
    """Take all of these things for that time: the ids of the claims, one per leaf. Taken where any of it is not free.

    With `state="held"` it is held only until `expires_at` (None: until it is confirmed or released), by the database's
    clock and without any timer: whoever next wants the time ends what is overdue.
    """
    start, end = interval(during)
    made = attempt(
        "claims_take",
        things=ids(leaves),
        start=start,
        end=end,
        **beginning(state, expires_at),
        source_type=source_type,
        source_id=source_id,
    )
    return list(made)


def confirm(*, claims: Iterable[int]) -> None:
    """Make holds firm. Gone where one was released or is overdue; confirming again changes nothing."""
    attempt("claims_confirm", claims=ids(claims))


def release(*, claims: Iterable[int]) -> int:
    """Give the time back: how many claims were still taking it. Releasing again changes nothing."""
    return int(attempt("claims_release", claims=ids(claims)))


def move(*, claims: Iterable[int], during: During) -> None:
    """Another time for the same claims: moving, extending and shortening are one verb under one constraint. Taken where
    somebody has it, and then they stay as they were."""
    start, end = interval(during)
    attempt("claims_move", claims=ids(claims), start=start, end=end)
