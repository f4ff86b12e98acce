from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from queue import Queue
from threading import Barrier
from time import sleep
from typing import Any

import pghistory
import pytest
from django.db import connection, transaction

from madang.claims import actions as claims
from madang.claims import pools
from madang.claims.errors import Gone, Taken
from madang.claims.models import Claim, Leaf, PoolClaim
from madang.claims.tests.make import book, hours, leaf, pool, seat
from madang.workflow.errors import Refused
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db(transaction=True)
WRITERS = 8
ROUNDS = 10


def elsewhere(verb: Callable[[], Any]) -> Any:
    """What another connection gets, which has committed when this returns."""

    def run() -> Any:
        try:
            return verb()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as one:
        return one.submit(run).result()


def process() -> int:
    """The server's number of this connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def until_it_waits(process: int) -> None:
    """For a lock that somebody else has."""
    with connection.cursor() as cursor:
        found = False
        while not found:
            cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND NOT granted)", [process])
            (found,) = cursor.fetchone()


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


def test_of_a_hold_that_is_released_and_moved_at_once_nothing_is_left():
    thing = leaf()
    held = [book(thing, start=number, end=number + 1) for number in range(ROUNDS)]
    later, turn = hours(30, 31), [0] * WRITERS

    def attempt(number: int) -> Any:
        mine, turn[number] = held[turn[number]], turn[number] + 1
        return claims.release(claims=mine) if number == 0 else claims.move(claims=mine, during=later)

    for released, *moved in race(attempt):
        assert released == 1
        assert set(moved) <= {None, Gone}
    assert not Claim.objects.filter(leaf_id=thing, state__in=["held", "confirmed"]).exists()


def test_a_thing_is_taken_as_a_whole_or_divided_and_never_both():
    rooms, turn = [leaf() for _ in range(ROUNDS)], [0] * WRITERS

    def attempt(number: int) -> Any:
        room, turn[number] = rooms[turn[number]], turn[number] + 1
        return book(room) if number % 2 else leaf(parent=room)

    race(attempt)
    whole = Claim.objects.filter(leaf__in=rooms, state="confirmed")
    assert not Leaf.objects.filter(parent__in=whole.values("leaf")).exists()


def test_the_same_thing_and_the_same_pool_made_by_eight_at_once_are_one():
    same = {"owner_type": "race", "owner_id": 1}
    for answers in race(lambda _: (claims.leaf(**same), pools.pool(**same, capacity=2))):
        assert len(set(answers)) == 1


def seats_of_two() -> list[Callable[..., Any]]:
    return [partial(seat, pool(1)) for _ in range(2)]


def two_leaves() -> list[Callable[..., Any]]:
    return [partial(book, leaf()) for _ in range(2)]


def a_leaf_and_a_seat() -> list[Callable[..., Any]]:
    return [partial(book, leaf()), partial(seat, pool(1))]


@pytest.mark.parametrize("make", [two_leaves, seats_of_two, a_leaf_and_a_seat])
def test_of_two_that_take_two_things_in_opposite_orders_the_one_out_of_order_gives_way_before_the_server_says_so(make):
    takes = make()
    both = Barrier(2)

    def run(number: int) -> Any:
        first, second = takes if number == 0 else takes[::-1]
        try:
            with transaction.atomic():
                first()
                both.wait()
                return second()
        except Taken as taken:
            return taken.__cause__.__cause__.diag.constraint_name
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as two:
        took, gave_way = two.map(run, range(2))
    assert gave_way == "claims_circle"
    assert took
    assert Claim.objects.count() + PoolClaim.objects.count() == 2


def test_who_asks_out_of_order_waits_for_one_that_is_slow_also_while_somebody_else_waits_for_it():
    one, two = leaf(), leaf()
    waits: Queue[int] = Queue()

    def out_of_order() -> list[int]:
        with transaction.atomic():
            book(two)
            waits.put(process())
            return book(one, start=14, end=16)

    def single() -> list[int]:
        waits.put(process())
        return book(two, start=14, end=16)

    with ThreadPoolExecutor(2) as others:
        with transaction.atomic():
            book(one)
            answers = []
            for ask in (out_of_order, single):
                answers.append(others.submit(elsewhere, ask))
                until_it_waits(waits.get())
            sleep(0.4)  # it looks up from its waiting several times meanwhile
        assert [len(answer.result()) for answer in answers] == [1, 1]


def test_what_failed_in_a_deadlock_is_tried_again():
    one, two = leaf(), leaf()
    waiting: Queue[int] = Queue()

    def wait_and_take() -> list[int]:
        waiting.put(process())
        return book(one, two)

    with ThreadPoolExecutor(1) as other, connection.cursor() as cursor:
        with transaction.atomic():
            cursor.execute("SELECT FROM claims_leaf WHERE id = %s FOR UPDATE", [two])
            answer = other.submit(elsewhere, wait_and_take)
            until_it_waits(waiting.get())
            sleep(0.4)  # whoever has waited for a second looks for a deadlock and fails: the other
            cursor.execute("SELECT FROM claims_leaf WHERE id = %s FOR UPDATE", [one])
        assert len(answer.result()) == 2


def test_a_room_that_gets_a_desk_while_somebody_waits_for_all_of_it_is_taken_with_that_desk():
    room = leaf()
    desks = [leaf(parent=room), leaf(parent=room)]
    waits: Queue[int] = Queue()

    def whole() -> list[int]:
        waits.put(process())
        return book(room)

    def divide() -> int:
        waits.put(process())
        return leaf(parent=room)

    with ThreadPoolExecutor(2) as others:
        with transaction.atomic():
            book(desks[0], start=20, end=21)
            answers = []
            for ask in (whole, divide):  # the room is whose who waits for all of it
                answers.append(others.submit(elsewhere, ask))
                until_it_waits(waits.get())
        taken = answers[0].result()
        with pytest.raises(Refused):
            answers[1].result()
    assert {claim.leaf_id for claim in Claim.objects.filter(id__in=taken)} == set(desks)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_an_old_view_of_the_claims_divides_nothing(level):
    room = leaf()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        cursor.execute("SELECT count(*) FROM claims_leaf")
        elsewhere(lambda: book(room))
        with pytest.raises(Taken):
            leaf(parent=room)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_an_old_view_of_the_claims_gets_no_time_that_is_taken(level):
    thing, room, seats = leaf(), leaf(), pool(1)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        cursor.execute("SELECT count(*) FROM claims_claim")
        elsewhere(lambda: (book(thing), book(leaf(parent=room)), seat(seats)))
        for verb in (lambda: book(thing), lambda: book(room), lambda: seat(seats)):
            with pytest.raises(Taken):
                verb()


def test_a_claim_is_made_by_whom_the_history_names_also_without_a_transaction_around_it():
    with pghistory.context(actor=9):
        booked = book(leaf())
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.metadata->>'actor' FROM claims_claimevent e"
            " JOIN pghistory_context c ON c.id = e.pgh_context_id WHERE e.pgh_obj_id = %s",
            booked,
        )
        assert cursor.fetchall() == [("9",)]
