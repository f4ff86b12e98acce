from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from madang.ledger import actions as ledger
from madang.ledger import errors, queries
from madang.ledger.tests.make import books, named

pytestmark = pytest.mark.django_db(transaction=True)
WRITERS = 8


def race(attempt: Callable[[int], Any]) -> list[Any]:
    """What each of the writers got, or the class of its refusal; all start at the same instant."""
    start = Barrier(WRITERS)

    def run(number: int) -> Any:
        start.wait()
        try:
            return attempt(number)
        except errors.Refused as refused:
            return type(refused)
        finally:
            connection.close()

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(run, range(WRITERS)))


def test_eight_that_hold_at_once_never_hold_more_than_there_is():
    b = books(granted=100)

    def hold_ten_times(number: int) -> list[Any]:
        answers: list[Any] = []
        for _ in range(10):
            try:
                answers.append(b.hold(3))
            except errors.Overspent:
                answers.append(None)
        return answers

    answers = [answer for writer in race(hold_ten_times) for answer in writer]
    assert len([answer for answer in answers if answer is not None]) == 33
    assert b.balance() == queries.Balance(credited=100, debited=0, held=99)
    assert queries.check() == []


def test_eight_with_the_same_key_book_once_and_get_the_same_answer():
    b = books()
    same = named()
    answers = race(lambda _: ledger.charge(account=b.mine, sink=b.used, amount=30, **same))
    assert len(set(answers)) == 1
    assert b.balance().debited == 30


def test_of_eight_that_settle_one_hold_differently_one_is_booked():
    b = books()
    held = b.hold(50)
    answers = race(lambda number: ledger.settle(hold=held, used=number, **named()))
    assert Counter(answer is errors.AlreadyResolved for answer in answers) == {True: 7, False: 1}
    assert queries.check() == []


def test_eight_that_refund_at_once_give_back_no_more_than_was_used():
    b = books()
    used = b.charge(30)
    answers = race(lambda _: ledger.refund(entry=used, amount=10, **named()))
    assert answers.count(errors.NotRefundable) == 5
    assert b.balance().available == 100


def test_transfers_in_both_directions_do_not_lock_each_other_out():
    b = books()
    other = b.account(granted=100)

    def there_and_back(number: int) -> None:
        giver, taker = (b.mine, other) if number % 2 else (other, b.mine)
        for _ in range(10):
            ledger.transfer(giver=giver, taker=taker, amount=1, **named())

    assert race(there_and_back) == [None] * WRITERS
    assert (b.balance().available, b.balance(other).available) == (100, 100)
