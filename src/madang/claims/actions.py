"""The verbs of exclusive time. All or nothing, in a transaction of their own or inside the caller's.

`during` is (start, end), both with a time zone, the end not included; an end of None means until further notice.
`source_type` and `source_id` say what a claim is for and are opaque here: a booking, a lease, an outage, a buffer.
Who changed a claim, and why, is in its history: open `madang.workflow.log.act` around these.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from madang.claims.attempts import During, gone, ids, interval, missing, rows, whole
from madang.claims.models import State
from madang.workflow.errors import Refused, Stale

TREE = 109317141917043  # the letters of "claims" as one number


def leaf(*, owner_type: str, owner_id: int, part: str = "", parent: int | None = None) -> int:
    """The id of the thing (or of this part of it), made if it is new. Stale where it exists below another parent.

    A thing that has claims of its own can't get parts any more: they would not know of those.
    """
    with transaction.atomic():
        # Alone against all that take: whoever expands a thing into its leaves must not miss a new one.
        rows("SELECT pg_advisory_xact_lock(%s)", TREE)
        found = rows(
            "SELECT id, parent_id FROM claims_leaf WHERE owner_type = %s AND owner_id = %s AND part = %s",
            owner_type,
            owner_id,
            part,
        )
        if found:
            if found[0][1] != parent:
                raise Stale(_("This thing is already a part of another."))
            return int(found[0][0])
        if parent is not None and rows(
            "SELECT 1 FROM claims_claim WHERE leaf_id = %s AND state IN ('held', 'confirmed') LIMIT 1", parent
        ):
            raise Refused(_("This thing is in use as a whole and can't be divided now."), field="parent")
        made = rows(
            "INSERT INTO claims_leaf (owner_type, owner_id, part, parent_id) VALUES (%s, %s, %s, %s) RETURNING id",
            owner_type,
            owner_id,
            part,
            parent,
        )
        return int(made[0][0])


def _lock(things: Iterable[int]) -> list[int]:
    """The leaves of these things, locked in id order, with what is overdue on them ended. Missing where one isn't.

    Whoever takes the same leaf waits here and not at the constraint, where two that wait for each other would deadlock.
    """
    wanted = ids(things)
    rows("SELECT pg_advisory_xact_lock_shared(%s)", TREE)
    found = rows(
        """
        WITH RECURSIVE tree AS (
          SELECT id, id AS root FROM claims_leaf WHERE id = ANY (%s)
          UNION SELECT part.id, tree.root FROM claims_leaf part JOIN tree ON part.parent_id = tree.id)
        SELECT id, root, EXISTS (SELECT FROM claims_leaf part WHERE part.parent_id = tree.id) FROM tree
        """,
        wanted,
    )
    if {root for _leaf, root, _divided in found} != set(wanted) or not wanted:
        raise missing()
    leaves = ids(number for number, _root, divided in found if not divided)
    rows("SELECT id FROM claims_leaf WHERE id = ANY (%s) ORDER BY id FOR NO KEY UPDATE", leaves)
    rows(
        """
        UPDATE claims_claim SET state = 'expired'
         WHERE leaf_id = ANY (%s) AND state = 'held' AND expires_at <= clock_timestamp()
        """,
        leaves,
    )
    return leaves


@whole
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
    if state not in (State.HELD, State.CONFIRMED) or (state == State.CONFIRMED and expires_at):
        raise ValueError("a claim begins held, maybe until an instant, or confirmed")
    made = rows(
        """
        INSERT INTO claims_claim (leaf_id, during, state, expires_at, source_type, source_id)
        SELECT leaf, tstzrange(%s, %s, '[)'), %s, %s, %s, %s FROM unnest(%s::bigint[]) leaf ORDER BY leaf RETURNING id
        """,
        start,
        end,
        state,
        expires_at,
        source_type,
        source_id,
        _lock(leaves),
    )
    return [int(number) for (number,) in made]


def _locked(claims: Iterable[int]) -> list[int]:
    """The claims that still take their time, locked in the order of their leaves. Gone where one of them doesn't."""
    wanted = ids(claims)
    leaves = rows("SELECT DISTINCT leaf_id FROM claims_claim WHERE id = ANY (%s)", wanted)
    if not leaves:
        raise missing()
    _lock(leaf for (leaf,) in leaves)
    there = rows(
        "SELECT id FROM claims_claim WHERE id = ANY (%s) AND state IN ('held', 'confirmed') ORDER BY id FOR UPDATE",
        wanted,
    )
    if [number for (number,) in there] != wanted:
        raise gone()
    return wanted


@whole
def confirm(*, claims: Iterable[int]) -> None:
    """Make holds firm. Gone where one was released or is overdue; confirming again changes nothing."""
    rows(
        "UPDATE claims_claim SET state = 'confirmed', expires_at = NULL WHERE id = ANY (%s) AND state = 'held'",
        _locked(claims),
    )


@whole
def release(*, claims: Iterable[int]) -> int:
    """Give the time back: how many claims were still taking it. Releasing again changes nothing."""
    freed = rows(
        """
        UPDATE claims_claim SET state = 'released' WHERE id = ANY (%s) AND state IN ('held', 'confirmed') RETURNING id
        """,
        ids(claims),
    )
    return len(freed)


@whole
def move(*, claims: Iterable[int], during: During) -> None:
    """Another time for the same claims: moving, extending and shortening are one verb under one constraint. Taken where
    somebody has it, and then they stay as they were."""
    start, end = interval(during)
    rows("UPDATE claims_claim SET during = tstzrange(%s, %s, '[)') WHERE id = ANY (%s)", start, end, _locked(claims))
