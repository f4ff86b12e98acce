"""The verbs of what is counted (seats, licenses, desks of one type): under the pool's row lock, by the *peak* over the
interval. Two that follow each other need one seat, not two, so the sum would refuse what fits."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import connection, transaction
from django.utils.translation import gettext as _

from madang.claims.attempts import During, gone, ids, interval, missing, rows, whole
from madang.claims.errors import Taken
from madang.claims.models import State
from madang.workflow.errors import Refused, Stale

PEAK = """
    WITH busy AS (
      SELECT amount, during * tstzrange(%(start)s, %(end)s, '[)') AS during FROM claims_pool_claim
       WHERE pool_id = %(pool)s AND state IN ('held', 'confirmed') AND during && tstzrange(%(start)s, %(end)s, '[)')
         AND (expires_at IS NULL OR state = 'confirmed' OR expires_at > clock_timestamp())
         AND id <> ALL (%(besides)s)),
    steps AS (
      SELECT lower(during) AS at, amount FROM busy
      UNION ALL SELECT upper(during), -amount FROM busy WHERE NOT upper_inf(during)),
    -- One step per instant: who leaves then and who comes then don't sit at the same time.
    levels AS (SELECT sum(sum(amount)) OVER (ORDER BY at) AS level FROM steps GROUP BY at)
    SELECT coalesce(max(level), 0)::bigint FROM levels
"""


def peak(*, pool: int, during: During, besides: Iterable[int] = ()) -> int:
    """The most that is taken of the pool at any instant of that time, without the claims `besides`."""
    start, end = interval(during)
    with connection.cursor() as cursor:
        cursor.execute(PEAK, {"pool": pool, "start": start, "end": end, "besides": list(besides)})
        (level,) = cursor.fetchone()
    return int(level)


def pool(*, owner_type: str, owner_id: int, part: str = "", capacity: int) -> int:
    """The id of the pool, made if it is new. Stale where it exists with another capacity: resize it."""
    with transaction.atomic():
        rows(
            """
            INSERT INTO claims_pool (owner_type, owner_id, part, capacity) VALUES (%s, %s, %s, %s)
            ON CONFLICT DO NOTHING
            """,
            owner_type,
            owner_id,
            part,
            capacity,
        )
        number, has = rows(
            "SELECT id, capacity FROM claims_pool WHERE owner_type = %s AND owner_id = %s AND part = %s",
            owner_type,
            owner_id,
            part,
        )[0]
        if has != capacity:
            raise Stale(_("This pool exists with another capacity."))
        return int(number)


def _lock(number: int) -> int:
    """The capacity of the pool, with its row locked until the transaction ends, and what is overdue on it ended."""
    found = rows("SELECT capacity FROM claims_pool WHERE id = %s FOR NO KEY UPDATE", number)
    if not found:
        raise missing()
    rows(
        """
        UPDATE claims_pool_claim SET state = 'expired'
         WHERE pool_id = %s AND state = 'held' AND expires_at <= clock_timestamp()
        """,
        number,
    )
    return int(found[0][0])


def _check(number: int, capacity: int, during: During, amount: int, besides: Iterable[int] = ()) -> None:
    free = capacity - peak(pool=number, during=during, besides=besides)
    if amount > free:
        raise Taken(_("Only %(free)s are left in this time.") % {"free": max(free, 0)}, field="amount")


@whole
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
    if amount < 1:
        raise Refused(_("Take at least one."), field="amount")
    if state not in (State.HELD, State.CONFIRMED) or (state == State.CONFIRMED and expires_at):
        raise ValueError("a claim begins held, maybe until an instant, or confirmed")
    _check(pool, _lock(pool), during, amount)
    made = rows(
        """
        INSERT INTO claims_pool_claim (pool_id, amount, during, state, expires_at, source_type, source_id)
        VALUES (%s, %s, tstzrange(%s, %s, '[)'), %s, %s, %s, %s) RETURNING id
        """,
        pool,
        amount,
        start,
        end,
        state,
        expires_at,
        source_type,
        source_id,
    )
    return int(made[0][0])


def _locked(claim: int) -> tuple[int, int, int]:
    """(pool, capacity, amount) of a claim that still takes its time, with the pool locked. Gone where it doesn't."""
    found = rows("SELECT pool_id FROM claims_pool_claim WHERE id = %s", claim)
    if not found:
        raise missing()
    number = int(found[0][0])
    capacity = _lock(number)
    there = rows("SELECT amount FROM claims_pool_claim WHERE id = %s AND state IN ('held', 'confirmed')", claim)
    if not there:
        raise gone()
    return number, capacity, int(there[0][0])


@whole
def confirm(*, claim: int) -> None:
    """Make a hold firm. Gone where it was released or is overdue; confirming again changes nothing."""
    _locked(claim)
    rows("UPDATE claims_pool_claim SET state = 'confirmed', expires_at = NULL WHERE id = %s AND state = 'held'", claim)


@whole
def release(*, claims: Iterable[int]) -> int:
    """Give them back: how many claims were still taking. Releasing again changes nothing."""
    freed = rows(
        """
        UPDATE claims_pool_claim SET state = 'released'
         WHERE id = ANY (%s) AND state IN ('held', 'confirmed') RETURNING id
        """,
        ids(claims),
    )
    return len(freed)


@whole
def move(*, claim: int, during: During, amount: int | None = None) -> None:
    """Another time, or another number, under the same check. Taken where it doesn't fit; it stays as it was."""
    start, end = interval(during)
    number, capacity, has = _locked(claim)
    wanted = has if amount is None else amount
    if wanted < 1:
        raise Refused(_("Take at least one."), field="amount")
    _check(number, capacity, during, wanted, besides=[claim])
    rows(
        "UPDATE claims_pool_claim SET during = tstzrange(%s, %s, '[)'), amount = %s WHERE id = %s",
        start,
        end,
        wanted,
        claim,
    )


@whole
def resize(*, pool: int, capacity: int) -> None:
    """Another capacity. Taken where from now on more than that is promised at some instant."""
    if capacity < 0:
        raise Refused(_("A capacity can't be negative."), field="capacity")
    _lock(pool)
    (moment,) = rows("SELECT clock_timestamp()")[0]
    promised = peak(pool=pool, during=(moment, None))
    if promised > capacity:
        raise Taken(_("%(promised)s are already promised.") % {"promised": promised}, field="capacity")
    rows("UPDATE claims_pool SET capacity = %s WHERE id = %s", capacity, pool)
