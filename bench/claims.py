"""Eight writers want one slot, or seats of one pool, at the same instant: who gets it, and how soon each is told. And
four times two of them want what the other has, in one transaction each: the server alone finds that after a second.

Eight processes, each with the connection that a site's processes have, on a database as durable as a site's. Each round
begins at a barrier; what was won is given back before the next. The peer is a bare INSERT into a table of one number:
the least that a database does to let one of eight win. (With the exclusion constraint alone many a round would take a
second: two that wait for each other at the constraint are in a deadlock.)
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from time import perf_counter
from typing import Any, NamedTuple

from bench.database import database
from bench.report import Figure, finish

WRITERS, ROUNDS, WARM_UP = 8, 200, 10
OPPOSITE_ROUNDS = 20
CAPACITY = 3
P99_MS, OPPOSITE_MS = 50, 500
DAY = (datetime(2031, 5, 1, 10, tzinfo=UTC), datetime(2031, 5, 1, 12, tzinfo=UTC))

barrier: Barrier


class Race(NamedTuple):
    """(milliseconds, won) of each writer, by round."""

    rounds: list[tuple[tuple[float, bool], ...]]

    def wrong(self, winners: int) -> int:
        return sum(sum(won for _ms, won in answers) != winners for answers in self.rounds)

    def percentile(self, share: float) -> float:
        taken = sorted(ms for answers in self.rounds for ms, _won in answers)
        return taken[min(int(len(taken) * share), len(taken) - 1)]


def slot(thing: int) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    from madang.claims import actions as claims

    return lambda: claims.take(leaves=[thing], **_asked()), lambda mine: claims.release(claims=mine)


def seats(pool: int) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    from madang.claims import pools

    return lambda: pools.take(pool=pool, amount=1, **_asked()), lambda mine: pools.release(claims=[mine])


def opposite(things: list[int]) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    from django.db import transaction

    from madang.claims import actions as claims

    def both() -> list[int]:
        with transaction.atomic():
            first = claims.take(leaves=things[:1], **_asked())
            barrier.wait(60)
            return first + claims.take(leaves=things[1:], **_asked())

    return both, lambda mine: claims.release(claims=mine)


def bare(_number: int) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    from django.db import IntegrityError, connection

    from madang.claims.errors import Taken

    def insert() -> None:
        with connection.cursor() as cursor:
            try:
                cursor.execute("INSERT INTO bench_slot VALUES (1)")
            except IntegrityError as error:
                raise Taken("") from error

    def delete(_mine: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM bench_slot")

    return insert, delete


def _asked() -> dict[str, Any]:
    return {"during": DAY, "source_type": "bench", "source_id": 1}


def ready(shared: Barrier) -> None:
    global barrier
    barrier = shared


def writer(asked: tuple[Callable[[Any], Any], Any, int]) -> list[tuple[float, bool]]:
    """One of the eight. Any answer but a win and Taken ends the benchmark."""
    from madang.claims.errors import Taken

    kind, wanted, rounds = asked
    take, give_back = kind(wanted)
    told = []
    try:
        for _ in range(WARM_UP + rounds):
            barrier.wait(60)
            begun, won = perf_counter(), False
            with suppress(Taken):
                mine = take()
                won = True
            told.append((1000 * (perf_counter() - begun), won))
            barrier.wait(60)
            if won:
                give_back(mine)
    except BaseException:
        barrier.abort()
        raise
    return told[WARM_UP:]


def race(kind: Callable[[Any], Any], wanted: list[Any], rounds: int = ROUNDS) -> Race:
    """What each writer was told. `wanted` is what each of them wants."""
    fork = multiprocessing.get_context("fork")
    with fork.Pool(WRITERS, ready, [fork.Barrier(WRITERS)]) as writers:
        told = writers.map(writer, [(kind, one, rounds) for one in wanted], chunksize=1)
    return Race(list(zip(*told, strict=True)))


def main() -> None:
    with database() as server:
        import psycopg
        from django.db import connection

        from madang.claims import actions as claims
        from madang.claims import pools

        thing, *things = (claims.leaf(owner_type="bench", owner_id=number) for number in range(1 + WRITERS))
        pool = pools.pool(owner_type="bench", owner_id=1, capacity=CAPACITY)
        with psycopg.connect(server.url("madang_owner"), autocommit=True) as owner:
            owner.execute("CREATE TABLE bench_slot (number int PRIMARY KEY)")
            owner.execute("GRANT ALL ON bench_slot TO madang")
        connection.close()
        connection.close_pool()  # its threads would not survive the fork
        for_slot, for_seats = race(slot, [thing] * WRITERS), race(seats, [pool] * WRITERS)
        peer = race(bare, [0] * WRITERS)
        pairs = [things[n : n + 2][:: 1 if way else -1] for n in range(0, WRITERS, 2) for way in (True, False)]
        crossed = race(opposite, pairs, OPPOSITE_ROUNDS)
    found = {"slot": for_slot, "seats": for_seats, "bare INSERT": peer, "opposite": crossed}
    for name, race_of in found.items():
        print(f"{name:12} median {race_of.percentile(0.5):6.2f} ms   p99 {race_of.percentile(0.99):6.2f} ms")
    finish(
        [
            Figure("rounds without exactly one winner", for_slot.wrong(1), at_most=0),
            Figure(f"rounds of the pool without exactly {CAPACITY}", for_seats.wrong(CAPACITY), at_most=0),
            Figure("p99 of the answers, ms", for_slot.percentile(0.99), at_most=P99_MS),
            Figure("p99 of the pool's answers, ms", for_seats.percentile(0.99), at_most=P99_MS),
            Figure("opposite orders without exactly one winner of two", crossed.wrong(WRITERS // 2), at_most=0),
            Figure("p99 of the answers in opposite orders, ms", crossed.percentile(0.99), at_most=OPPOSITE_MS),
            Figure("median to that of a bare INSERT", for_slot.percentile(0.5) / peer.percentile(0.5)),
        ]
    )


if __name__ == "__main__":
    main()
