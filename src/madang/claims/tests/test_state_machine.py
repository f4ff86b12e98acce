"""Any order of verbs, against a model in plain Python that says what must come of each."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

import hypothesis.strategies as st
import pytest
from django.db import transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models.functions import Now
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from madang.claims import actions as claims
from madang.claims import pools, queries
from madang.claims.errors import Gone, Taken
from madang.claims.models import Claim, PoolClaim
from madang.claims.tests.make import leaf, pool, source
from madang.workflow.errors import Refused
from madang.workflow.moment import now

# Whole hours from half an hour after the start, so that the clock passes none of them: hour -1 is running, and what
# begins before it is past.
FIRST, RUNNING, LAST = -4, -1, 12
starts = st.integers(FIRST, 4)
lengths = st.sampled_from([1, 2, 3, 5, None])
begins = st.sampled_from(["confirmed", "confirmed", "held", "held past", "held past", "held future"])
several = st.lists(st.integers(0, 30), min_size=1, max_size=4)
one = st.integers(0, 30)
amounts = st.sampled_from([1, 1, 2, 2, 3, 4])
sides = st.sampled_from([0, 0, 1])


@dataclass
class Made:
    """A claim on a leaf, or on a pool. Its time as (first hour, hour after the last or None)."""

    on: int
    time: tuple[int, int | None]
    state: str
    until: str | None
    amount: int = 1
    source: int = 0  # which take it was

    @property
    def taking(self) -> bool:
        return self.state in ("held", "confirmed") and self.until != "past"

    def takes(self, hour: int) -> bool:
        return self.taking and hour in hours_of(self.time)


def hours_of(time: tuple[int, int | None]) -> range:
    return range(time[0], LAST if time[1] is None else time[1])


def meet(one: Made, other: Made) -> bool:
    return one.on == other.on and overlap(one, other)


def overlap(one: Made, other: Made) -> bool:
    return bool(set(hours_of(one.time)) & set(hours_of(other.time)))


def of(begins: str) -> tuple[str, str | None]:
    state, _space, until = begins.partition(" ")
    return state, until or None


@dataclass
class Model:
    """Parents of things by number; capacities of pools; claims by the order of taking."""

    parents: dict[int, int | None] = field(default_factory=dict)
    capacities: dict[int, int] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)

    def leaves(self, things: Iterable[int]) -> list[int]:
        found = set()
        for thing in things:
            parts = [part for part, parent in self.parents.items() if parent == thing]
            found |= set(self.leaves(parts)) if parts else {thing}
        return sorted(found)

    def whole(self, thing: int) -> bool:
        """Whether all of it is taken: a new part of it would not know."""
        leaves = self.leaves([thing])
        taking = [claim for claim in self.made if claim.taking and claim.on in leaves]
        if leaves == [thing] and taking:
            return True
        for first in taking:
            lasts = first.time[1] is None or first.time[1] > RUNNING
            beside = {claim.on for claim in taking if claim.source == first.source and overlap(claim, first)}
            if first.on == leaves[0] and lasts and len(beside) == len(leaves):
                return True
        return False

    def wanted(self, numbers: Iterable[int]) -> list[Made]:
        wanted = [self.made[number] for number in sorted(set(numbers))]
        if not all(claim.taking for claim in wanted):
            raise Gone("")
        return wanted

    def release(self, numbers: Iterable[int]) -> int:
        freed = [claim for claim in (self.made[number] for number in set(numbers)) if claim.taking]
        for claim in freed:
            claim.state = "released"
        return len(freed)

    def peak(self, pool: int, hours: Iterable[int], besides: Made | None = None) -> int:
        others = [claim for claim in self.made if claim.on == pool and claim is not besides]
        return max((sum(claim.amount for claim in others if claim.takes(hour)) for hour in hours), default=0)

    def need(self, pool: int, hours: Iterable[int], amount: int, besides: Made | None = None) -> None:
        wanted = list(hours)
        free = self.capacities[pool] - self.peak(pool, wanted, besides)
        if wanted and amount > free:
            raise Taken(str(max(free, 0)))


class Machine(RuleBasedStateMachine):
    stored: type[Claim | PoolClaim]
    on: str

    def __init__(self) -> None:
        super().__init__()
        self.around = transaction.atomic()
        self.around.__enter__()
        self.model = Model()
        self.zero = now() + timedelta(minutes=30)
        self.ids: list[int] = []
        self.rows: list[Any] = []

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.around.__exit__(None, None, None)

    def step(self, verb: Callable[..., Any], effect: Callable[[Model], Any], **arguments: Any) -> Any:
        """Do it to both. Every answer and every refusal must be the one that the model predicts."""
        after = copy.deepcopy(self.model)
        said: Any
        try:
            expected: Any = effect(after)
        except Refused as refused:
            expected, after = (type(refused), str(refused)), self.model
        try:
            said = verb(**arguments)
        except Refused as refused:
            # A pool says how many are left.
            said = (type(refused), "".join(re.findall(r"\d+", str(refused))))
        new = len(after.made) - len(self.model.made)
        self.model = after
        mine = self.stored.objects.filter(**{f"{self.on}__in": self.things()})
        self.rows = list(mine.annotate(moment=Now()).order_by("pk"))
        self.ids = [row.pk for row in self.rows]
        assert len(self.ids) == len(after.made), f"{verb.__name__} {arguments}: other claims than predicted"
        if expected is None and new:
            expected = self.ids[-new:] if isinstance(said, list) else self.ids[-1]
        assert said == expected, f"{verb.__name__} {arguments}: {said} where {expected} was predicted"
        return said

    def at(self, hour: int) -> datetime:
        return self.zero + timedelta(hours=hour)

    def during(self, time: tuple[int, int | None]) -> tuple[datetime, datetime | None]:
        return self.at(time[0]), None if time[1] is None else self.at(time[1])

    def began(self, begins: str) -> dict[str, Any]:
        state, until = of(begins)
        return source() | {"state": state, "expires_at": until and self.at(-1 if until == "past" else 1)}

    def hours(self, row: Any) -> set[int]:
        """The hours that a stored claim really takes."""
        time = row.during
        return {hour for hour in range(FIRST, LAST) if self.at(hour) + timedelta(minutes=1) in time}

    def some(self, numbers: Iterable[int]) -> list[int]:
        return [number % len(self.ids) for number in numbers]

    def taking(self) -> list[Any]:
        """The stored claims that take their time, by the database's clock."""
        return [row for row in self.rows if self.state_of(row) in ("held", "confirmed")]

    def state_of(self, row: Any) -> str:
        overdue = row.state == "held" and row.expires_at is not None and row.expires_at <= row.moment
        return "expired" if overdue else row.state

    @invariant()
    def what_is_stored_is_what_the_model_says(self):
        for claim, row in zip(self.model.made, self.rows, strict=True):
            until = {None: None, self.at(-1): "past", self.at(1): "future"}[row.expires_at]
            predicted = "expired" if claim.state == "held" and claim.until == "past" else claim.state
            assert (self.state_of(row), until) == (predicted, claim.until), f"claim {row.pk}"
            assert row.during == DateTimeTZRange(*self.during(claim.time), "[)"), f"time of claim {row.pk}"
            assert getattr(row, "amount", 1) == claim.amount, f"amount of claim {row.pk}"


class Booking(Machine):
    stored, on = Claim, "leaf_id"

    def things(self) -> list[int]:
        return list(self.model.parents)

    @initialize()
    def begin_with_a_room_and_a_lone_thing(self):
        for number in (None, None, 0, 0, 2, 2):
            self.make(None if number is None else self.things()[number])

    def make(self, parent: int | None) -> None:
        in_use = parent is not None and self.model.whole(parent)
        try:
            self.model.parents[leaf(parent=parent)] = parent
            divided = True
        except Refused:
            divided = False
        assert divided is not in_use, f"a part of {parent} {'was' if divided else 'could not be'} made"

    @precondition(lambda self: len(self.model.parents) < 12)
    @rule(number=st.none() | one)
    def make_a_part(self, number):
        known = [claim.on for claim in self.model.made] + self.things()
        self.make(None if number is None else known[number % len(known)])

    @rule(numbers=several, start=starts, length=lengths, begins=begins)
    def take(self, numbers, start, length, begins):
        things = [self.things()[number % len(self.model.parents)] for number in numbers]
        time = (start, length and start + length)

        def effect(m: Model) -> None:
            new = [Made(thing, time, *of(begins), source=len(m.made)) for thing in m.leaves(things)]
            if any(meet(mine, other) for mine in new for other in m.made if other.taking):
                raise Taken("")
            m.made += new

        self.step(claims.take, effect, leaves=things, during=self.during(time), **self.began(begins))

    @precondition(lambda self: self.ids)
    @rule(numbers=several)
    def confirm(self, numbers):
        def effect(m: Model) -> None:
            for claim in m.wanted(self.some(numbers)):
                claim.state, claim.until = "confirmed", None

        self.step(claims.confirm, effect, claims=[self.ids[number] for number in self.some(numbers)])

    @precondition(lambda self: self.ids)
    @rule(numbers=several, start=starts, length=lengths)
    def move(self, numbers, start, length):
        time = (start, length and start + length)

        def effect(m: Model) -> None:
            for claim in m.wanted(self.some(numbers)):
                claim.time = time
            if any(meet(a, b) for a, b in combinations([claim for claim in m.made if claim.taking], 2)):
                raise Taken("")

        chosen = [self.ids[number] for number in self.some(numbers)]
        self.step(claims.move, effect, claims=chosen, during=self.during(time))

    @precondition(lambda self: self.ids)
    @rule(numbers=several)
    def release(self, numbers):
        self.step(
            claims.release,
            lambda m: m.release(self.some(numbers)),
            claims=[self.ids[number] for number in self.some(numbers)],
        )

    @rule(number=one, start=starts, length=lengths)
    def ask(self, number, start, length):
        thing = self.things()[number % len(self.model.parents)]
        wish = [Made(leaf, (start, length and start + length), "wish", None) for leaf in self.model.leaves([thing])]
        found = queries.taking([thing], self.during(wish[0].time))
        made = zip(self.ids, self.model.made, strict=True)
        predicted = [pk for pk, claim in made if claim.taking and any(meet(mine, claim) for mine in wish)]
        assert sorted(claim.pk for claim in found) == predicted

    @invariant()
    def no_two_claims_of_a_leaf_overlap(self):
        for one, other in combinations(self.taking(), 2):
            apart = one.leaf_id != other.leaf_id or not self.hours(one) & self.hours(other)
            assert apart, f"claims {one.pk} and {other.pk} have the same time"

    @invariant()
    def only_what_has_no_parts_is_taken(self):
        assert not {claim.leaf_id for claim in self.taking()} & set(self.model.parents.values())


class Counting(Machine):
    stored, on = PoolClaim, "pool_id"

    def things(self) -> list[int]:
        return list(self.model.capacities)

    @initialize(capacities=st.tuples(st.integers(1, 6), st.integers(1, 6)), amount=amounts)
    def begin_with_two_pools_of_which_one_was_larger(self, capacities, amount):
        self.model.capacities = {pool(capacity): capacity for capacity in (6, capacities[1])}
        self.take(0, amount, FIRST, 3, "confirmed")
        self.resize(0, capacities[0])

    @rule(side=sides, amount=amounts, start=starts, length=lengths, begins=begins)
    def take(self, side, amount, start, length, begins):
        seats, time = self.things()[side], (start, length and start + length)

        def effect(m: Model) -> None:
            m.need(seats, hours_of(time), amount)
            m.made.append(Made(seats, time, *of(begins), amount))

        self.step(pools.take, effect, pool=seats, amount=amount, during=self.during(time), **self.began(begins))

    @precondition(lambda self: self.ids)
    @rule(number=one)
    def confirm(self, number):
        (number,) = self.some([number])

        def effect(m: Model) -> None:
            (claim,) = m.wanted([number])
            claim.state, claim.until = "confirmed", None

        self.step(pools.confirm, effect, claim=self.ids[number])

    @precondition(lambda self: self.ids)
    @rule(number=one, amount=st.none() | amounts, later=st.integers(-2, 2), length=lengths)
    def move(self, number, amount, later, length):
        (number,) = self.some([number])
        start = min(max(self.model.made[number].time[0] + later, FIRST), LAST - 5)
        time = (start, length and start + length)

        def effect(m: Model) -> None:
            (claim,) = m.wanted([number])
            wanted = amount or claim.amount
            has = hours_of(claim.time) if wanted <= claim.amount else ()
            m.need(claim.on, [hour for hour in hours_of(time) if hour not in has], wanted, besides=claim)
            claim.time, claim.amount = time, wanted

        self.step(pools.move, effect, claim=self.ids[number], during=self.during(time), amount=amount)

    @precondition(lambda self: self.ids)
    @rule(numbers=several)
    def release(self, numbers):
        self.step(
            pools.release,
            lambda m: m.release(self.some(numbers)),
            claims=[self.ids[number] for number in self.some(numbers)],
        )

    @rule(side=sides, capacity=st.integers(0, 7))
    def resize(self, side, capacity):
        seats = self.things()[side]

        def effect(m: Model) -> None:
            promised = m.peak(seats, range(RUNNING, LAST))
            if promised > capacity:
                raise Taken(str(promised))
            m.capacities[seats] = capacity

        self.step(pools.resize, effect, pool=seats, capacity=capacity)

    @rule(side=sides, start=starts, length=lengths)
    def ask(self, side, start, length):
        seats, time = self.things()[side], (start, length and start + length)
        assert pools.peak(pool=seats, during=self.during(time)) == self.model.peak(seats, hours_of(time))

    @invariant()
    def the_peaks_are_those_of_the_model(self):
        for seats in self.things():
            peak = pools.peak(pool=seats, during=(self.at(FIRST), None))
            assert peak == self.model.peak(seats, range(FIRST, LAST)), f"peak of pool {seats}"

    @invariant()
    def no_pool_is_above_its_capacity_from_now_on(self):
        for seats, capacity in self.model.capacities.items():
            for hour in range(RUNNING, LAST):
                busy = [claim.amount for claim in self.taking() if claim.pool_id == seats and hour in self.hours(claim)]
                assert sum(busy) <= capacity, f"pool {seats} in hour {hour}"


@pytest.mark.django_db
@pytest.mark.parametrize("machine", [Booking, Counting])
def test_no_order_of_verbs_takes_twice_or_too_much(machine):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
