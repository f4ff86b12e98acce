"""The verbs of what is counted (seats, licenses, desks of one type): under the pool's row lock, by the *peak* over the
interval. Two that follow each other need one seat, not two, so the sum would refuse what fits."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.utils.translation import gettext as _

from madang.claims.attempts import During, attempt, beginning, ids, interval
from madang.claims.models import State
from madang.workflow.errors import Refused

MOST = 2**31 - 1  # what the column holds


def peak(*, pool: int, during: During) -> int:
    """The most that is taken of the pool at any instant of that time."""
    start, end = interval(during)
    return int(attempt("claims_pool_peak", pool=pool, start=start, end=end))


def pool(*, owner_type: str, owner_id: int, part: str = "", capacity: int) -> int:
    """The id of the pool, made if it is new. Stale where it exists with another capacity: resize it."""
    made = attempt(
        "claims_make_pool", owner_type=owner_type, owner_id=owner_id, part=part, capacity=_capacity(capacity)
    )
    return int(made)


def take(
    *,
    pool: int,
    amount: int,
    during: During,
    source_type: str,
    source_id: int,
    state: str = State.CONFIRMED,
    expires_at: datetime | None = None,
) -> int:
    """Take that many of the pool for that time: the id of the claim. Taken where at some instant fewer are left."""
    start, end = interval(during)
    made = attempt(
        "claims_pool_take",
        pool=pool,
        amount=_amount(amount),
        start=start,
        end=end,
        **beginning(state, expires_at),
        source_type=source_type,
        source_id=source_id,
    )
    return int(made)


def confirm(*, claim: int) -> None:
    """Make a hold firm. Gone where it was released or is overdue; confirming again changes nothing."""
    attempt("claims_pool_confirm", claim=claim)


def release(*, claims: Iterable[int]) -> int:
    """Give them back: how many claims were still taking. Releasing again changes nothing."""
    return int(attempt("claims_pool_release", claims=ids(claims)))


def move(*, claim: int, during: During, amount: int | None = None) -> None:
    """Another time, or another number. Taken where what it asks for beyond what it has doesn't fit; it stays as it
    was."""
    start, end = interval(during)
    wanted = None if amount is None else _amount(amount)
    attempt("claims_pool_move", claim=claim, start=start, end=end, amount=wanted)


def resize(*, pool: int, capacity: int) -> None:
    """Another capacity. Taken where from now on more than that is promised at some instant."""
    attempt("claims_pool_resize", pool=pool, capacity=_capacity(capacity))


def _amount(amount: int) -> int:
    """At least one. More than any pool has is as much too much as one more than it has."""
    if amount < 1:
        raise Refused(_("Take at least one."), field="amount")
    return min(amount, MOST + 1)


def _capacity(capacity: int) -> int:
    if capacity < 0:
        raise Refused(_("A capacity can't be negative."), field="capacity")
    if capacity > MOST:
        raise Refused(_("A capacity can't be that large."), field="capacity")
    return capacity
