"""Writers of claims on things and in pools, and what must be taken by what they were answered."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from typing import Any

from madang.claims import actions as claims
from madang.claims import pools, queries
from madang.claims.errors import Taken
from madang.claims.models import TAKING, Claim, PoolClaim
from tests.fault.counts import Counts
from tests.fault.writers import Asked

SOURCE = "fault"
THINGS, CAPACITY, HOURS = 6, 3, 400
FIRST = datetime(2031, 5, 1, tzinfo=UTC)
Hours = tuple[int, int]


@dataclass
class Places:
    """Things and one pool, and the claims that were acknowledged: thing and hours by their ids, hours in the pool."""

    things: list[int]
    pool: int
    taken: dict[int, tuple[int, Hours]] = field(default_factory=dict)
    seats: dict[int, Hours] = field(default_factory=dict)
    sources: Any = field(default_factory=lambda: count(1))

    def differences(self, counts: Counts) -> None:
        """Count what is taken otherwise than was answered. For when nobody writes."""
        rows = Claim.objects.filter(source_type=SOURCE, state__in=TAKING)
        taken = {row.pk: (row.leaf_id, hours(row.during)) for row in rows}
        rows = PoolClaim.objects.filter(source_type=SOURCE, state__in=TAKING)
        seats = {row.pk: hours(row.during) for row in rows}
        counts.wrong("lost", self.taken.items() - taken.items(), "a claim was acknowledged and isn't there")
        counts.wrong("lost", self.seats.items() - seats.items(), "a seat was acknowledged and isn't there")
        unasked = [*taken.items() - self.taken.items(), *seats.items() - self.seats.items()]
        counts.wrong("taken_twice", unasked, "taken and not acknowledged")
        by_thing = defaultdict[int, list[Hours]](list)
        for thing, during in taken.values():
            by_thing[thing].append(during)
        for thing, all_of_it in by_thing.items():
            twice = [(one, two) for one, two in pairwise(sorted(all_of_it)) if two[0] < one[1]]
            counts.wrong("taken_twice", twice, f"of thing {thing}")
        full = [hour for hour in range(HOURS) if sum(a <= hour < b for a, b in seats.values()) > CAPACITY]
        counts.wrong("taken_twice", full, f"hours with more than {CAPACITY} in the pool")


def places() -> Places:
    things = [claims.leaf(owner_type=SOURCE, owner_id=number) for number in range(THINGS)]
    return Places(things, pools.pool(owner_type=SOURCE, owner_id=0, capacity=CAPACITY))


def hours(during: Any) -> Hours:
    return tuple((end - FIRST) // timedelta(hours=1) for end in (during.lower, during.upper))  # type: ignore[return-value]


def instants(during: Hours) -> tuple[datetime, datetime]:
    return FIRST + timedelta(hours=during[0]), FIRST + timedelta(hours=during[1])


def some_hours() -> Hours:
    start = random.randrange(HOURS - 4)
    return start, start + random.randint(1, 4)


class ClaimsWriter(Asked):
    """Claims have no key: whoever was not answered looks for what it took by its source. Other verbs are repeated."""

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.places = places
        self.mine: list[int] = []
        self.seats: list[int] = []

    def turn(self) -> None:
        random.choice([self.take, self.take, self.move, self.release, self.sit, self.change, self.leave])()

    def take(self) -> None:
        source, during = next(self.places.sources), some_hours()
        things = random.sample(self.places.things, random.choice([1, 1, 2]))

        def call() -> list[tuple[int, int]]:
            try:
                claims.take(leaves=things, during=instants(during), source_type=SOURCE, source_id=source)
            except Taken:
                return []
            return found()

        def found() -> list[tuple[int, int]]:
            return list(queries.claims_of(SOURCE, source).values_list("id", "leaf_id"))

        # Nothing of it or all of it: half of it would be counted as lost.
        made = self.ask(call, lambda: found() or call())
        if made:
            assert sorted(thing for _claim, thing in made) == sorted(things)
        for claim, thing in made:
            self.places.taken[claim] = thing, during
            self.mine.append(claim)

    def move(self) -> None:
        if self.mine:
            claim, during = random.choice(self.mine), some_hours()
            if self._fits(lambda: claims.move(claims=[claim], during=instants(during))):
                self.places.taken[claim] = self.places.taken[claim][0], during

    def release(self) -> None:
        if self.mine:
            claim = self.mine.pop(random.randrange(len(self.mine)))
            self._fits(lambda: claims.release(claims=[claim]))
            del self.places.taken[claim]

    def sit(self) -> None:
        source, during = next(self.places.sources), some_hours()

        def call() -> int | None:
            try:
                return pools.take(
                    pool=self.places.pool, amount=1, during=instants(during), source_type=SOURCE, source_id=source
                )
            except Taken:
                return None

        def again() -> int | None:
            before = queries.pool_claims_of(SOURCE, source).first()
            return before.pk if before else call()

        if claim := self.ask(call, again):
            self.places.seats[claim] = during
            self.seats.append(claim)

    def change(self) -> None:
        if self.seats:
            claim, during = random.choice(self.seats), some_hours()
            if self._fits(lambda: pools.move(claim=claim, during=instants(during))):
                self.places.seats[claim] = during

    def leave(self) -> None:
        if self.seats:
            claim = self.seats.pop(random.randrange(len(self.seats)))
            self._fits(lambda: pools.release(claims=[claim]))
            del self.places.seats[claim]

    def _fits(self, verb: Any) -> bool:
        def call() -> bool:
            try:
                verb()
            except Taken:
                return False
            return True

        return bool(self.ask(call, call))
