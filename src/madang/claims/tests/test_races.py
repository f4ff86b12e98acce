from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from madang.claims import actions as claims
from madang.claims.errors import Taken
from madang.claims.models import Claim, PoolClaim
from madang.claims.tests.make import book, leaf, pool, seat
from madang.workflow.errors import Refused
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db(transaction=True)
WRITERS = 8
ROUNDS = 10


def race(attempt: Callable[[int], Any]) -> list[Any]:
    """What each of the writers got, or the class of its refusal; all start at the same instant."""
    start = Barrier(WRITERS)

    def run(number: int) -> list[Any]:
        answers: list[Any] = []
        try:
            for _ in range(ROUNDS):
                start.wait()
                try:
                    answers.append(attempt(number))
                except Refused as refused:
                    answers.append(type(refused))
        finally:
            connection.close()
        return answers

    with ThreadPoolExecutor(WRITERS) as writers:
        return list(zip(*writers.map(run, range(WRITERS)), strict=True))


def test_of_eight_that_take_one_slot_at_once_exactly_one_wins():
    thing = leaf()
    start = Barrier(WRITERS)
    won: list[list[int]] = []

    def attempt(number: int) -> None:
        try:
            won.append(book(thing))
        finally:
            if start.wait() == 0:  # one of them frees the slot for the next round
                claims.release(claims=won[-1])
            start.wait()

    for answers in race(attempt):
        assert sorted(answers, key=str) == [Taken] * 7 + [None]
    assert len(won) == ROUNDS


def test_what_overlaps_in_several_leaves_is_taken_whole_by_one_and_locks_nobody_out():
    things = [leaf() for _ in range(4)]
    rounds = race(lambda number: book(*(things if number % 2 else things[::-1])))
    assert [answer for answers in rounds for answer in answers].count(Taken) == WRITERS * ROUNDS - 1
    assert Claim.objects.filter(leaf_id__in=things, state="confirmed").count() == 4


def test_an_overdue_hold_is_ended_by_eight_at_once_and_one_gets_the_time():
    thing = leaf()
    book(thing, state="held", expires_at=now() - timedelta(seconds=1))
    rounds = race(lambda _: book(thing))
    assert [answer for answers in rounds for answer in answers].count(Taken) == WRITERS * ROUNDS - 1


def test_of_eight_that_take_a_seat_at_once_as_many_win_as_there_are():
    seats = pool(2)
    rounds = race(lambda _: seat(seats))
    assert [answer for answers in rounds for answer in answers].count(Taken) == WRITERS * ROUNDS - 2
    assert PoolClaim.objects.filter(pool_id=seats, state="confirmed").count() == 2
