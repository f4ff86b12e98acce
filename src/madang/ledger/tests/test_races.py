from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from queue import Queue
from threading import Barrier
from typing import Any

import pytest
from django.db import NotSupportedError, connection, transaction

from madang.ledger import actions as ledger
from madang.ledger import errors, queries
from madang.ledger.models import Entry
from madang.ledger.tests.make import Books, books, named
from madang.ledger.tests.test_usage import SOURCE, record
from madang.ledger.usage import Record, meter
from madang.ledger.verify import verify

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


def test_of_eight_that_settle_one_hold_that_was_freed_one_is_booked():
    b = books()
    held = b.hold(50)
    ledger.release(hold=held, **named())
    answers = race(lambda number: ledger.settle(hold=held, used=30 + number % 2, **named()))
    assert Counter(answer is errors.AlreadyResolved for answer in answers) == {True: 4, False: 4}
    assert len({answer for answer in answers if answer is not errors.AlreadyResolved}) == 1
    assert queries.overruns([b.mine])[b.mine] in (30, 31)


def test_of_records_and_settlements_at_once_of_one_hold_that_was_freed_one_use_is_booked():
    for _ in range(5):
        b = books()
        held = b.hold(50)
        ledger.release(hold=held, **named())
        told = record(b, key=f"late {held}", amount=30, hold=held)

        def tell(number: int, b: Books = b, held: int = held, told: Record = told) -> Any:
            if number % 2:
                return meter([told], source=SOURCE)
            return ledger.settle(hold=held, used=30, **named())

        answers = race(tell)
        assert sum(answer.fresh for answer in answers[1::2]) == 1
        assert (b.balance().debited, queries.overruns([b.mine])) == (30, {b.mine: 0}), answers
        assert verify() == []


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


def at_once(first: Callable[[], Any], then: Callable[[], Any], last: Callable[[], Any] = lambda: None) -> Any:
    """What `then` gets, from another connection: it is asked after `first`, and waits; `last` ends the transaction."""

    def beside() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            waits.put(cursor.fetchone()[0])
        try:
            return then()
        except errors.Refused as refused:
            return type(refused)
        finally:
            connection.close()

    waits: Queue[int] = Queue()
    with ThreadPoolExecutor(1) as other:
        with transaction.atomic(), connection.cursor() as cursor:
            first()
            answer = other.submit(beside)
            process, found = waits.get(), False
            while not found and not answer.done():
                cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND NOT granted)", [process])
                (found,) = cursor.fetchone()
            assert found, "it waits for the first"
            last()
        return answer.result()


def test_a_refund_beside_a_metering_that_corrects_the_same_use_gives_nothing_back_twice():
    b = books(granted=1000)
    meter([record(b, amount=100)], source=SOURCE)
    entry = Entry.objects.get(source=SOURCE, kind="charge").pk
    answer = at_once(
        lambda: meter([record(b, amount=50)], source=SOURCE),
        lambda: ledger.refund(entry=entry, amount=100, **named()),
    )
    assert answer is errors.NotRefundable
    assert b.balance().available == 950
    assert queries.check() == []
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE ledger_usage")  # not Django's own


def test_an_overrun_that_is_reversed_beside_a_metering_that_corrects_it_is_reversed_once_and_the_sums_agree():
    b = books(granted=0)
    meter([record(b, amount=7)], source=SOURCE)
    lost = Entry.objects.get(source=SOURCE, kind="overrun").pk
    answer = at_once(
        lambda: ledger.reverse(entry=lost, **named()),
        lambda: meter([record(b, amount=3)], source=SOURCE),
    )
    assert (answer.changed, [type(why) for _key, why in answer.refused]) == (0, [errors.NotReversible])
    assert verify() == []
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE ledger_usage")  # not Django's own


def test_a_release_beside_a_settlement_waits_for_the_balance_and_nobody_stands_in_a_circle():
    b = books()
    held = b.hold(10)
    answer = at_once(lambda: b.hold(1), lambda: ledger.release(hold=held, **named()), lambda: settled(b, held))
    assert answer is errors.AlreadyResolved
    assert b.balance().debited == 7


def settled(b: Books, held: int) -> None:
    assert ledger.settle(hold=held, used=7, **named()).used == 7


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_nothing_is_booked_by_an_older_view(level):
    b = books()
    used, held = b.charge(10), b.hold(10)
    verbs: list[Callable[[], Any]] = [
        lambda: b.grant(1),
        lambda: b.hold(1),
        lambda: b.charge(1),
        lambda: ledger.settle(hold=held, used=1, **named()),
        lambda: ledger.release(hold=held, **named()),
        lambda: ledger.overrun(account=b.mine, sink=b.used, amount=1, **named()),
        lambda: ledger.refund(entry=used, amount=1, **named()),
        lambda: ledger.reverse(entry=used, **named()),
        lambda: ledger.reclaim(account=b.mine, pool=b.pool, amount=1, **named()),
        lambda: ledger.hold_batch([ledger.Hold(b.mine, b.used, 1, "one")], source="test", actor=None, reason=""),
        lambda: ledger.settle_batch([ledger.Settlement(held, 1, "one")], source="test", actor=None, reason=""),
        lambda: meter([record(b, amount=1)], source=SOURCE),
        ledger.seal,
        lambda: ledger.close_month(month=date(2026, 1, 1), actor=None),
    ]
    before = b.balance()
    for verb in verbs:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
            with pytest.raises(NotSupportedError, match="READ COMMITTED"):
                verb()
    assert b.balance() == before
