"""Long histories: several parcels at once, each a transaction of its own."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any

import pytest
from django.db import connection, transaction

from madang.ledger.errors import WrongAmount
from madang.ledger.models import Entry, Usage, UsageDay
from madang.ledger.tests.make import books
from madang.ledger.tests.test_usage import record
from madang.ledger.usage import Metered, _alone, _meter_lanes, booked, meter, meter_lanes
from madang.ledger.verify import verify

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("ledger-lanes")]
SOURCE = "test:lanes"


@pytest.fixture(autouse=True)
def no_records():
    """Django empties its own tables after a test; that of the records isn't one, so others leave theirs, too."""
    forget()
    yield
    forget()


def forget() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE ledger_usage")


def lines(*records: Any) -> list[str]:
    return [record.line() for record in records]


def test_lanes_book_what_one_after_the_other_would():
    b = books()
    accounts = [b.account(granted=1_000) for _ in range(7)]
    history = [record(b, f"{n}", 10, account=accounts[n * n % 7], user=n % 3) for n in range(200)]
    assert meter_lanes(lines(*history), source=SOURCE, parcel=9) == Metered(fresh=200)
    assert verify() == []
    counted = Counter(item.account for item in history)
    assert {account: b.balance(account).debited for account in accounts} == {
        account: 10 * counted[account] for account in accounts
    }
    assert sum(UsageDay.objects.filter(account__in=accounts).values_list("records", flat=True)) == 200
    # The order of each account's records is kept: their entries follow each other as the lines did.
    for account in accounts:
        keys = Entry.objects.filter(debit_id=account).order_by("id").values_list("ext_key", flat=True)
        assert list(keys) == [item.key for item in history if item.account == account]
    assert meter_lanes(lines(*history), source=SOURCE, parcel=9) == Metered()
    assert meter(history, source=SOURCE) == Metered()


def test_what_does_not_fit_is_named_and_an_overrun_is_added_up():
    b = books()
    other = b.account(granted=5)
    came = meter_lanes(
        lines(record(b, "1", 30), record(b, "2", 30, account=other), record(b, "3", -1)), source=SOURCE, parcel=1
    )
    assert (came.fresh, came.overrun, [key for key, _ in came.refused]) == (2, 25, ["3"])
    assert verify() == []


@pytest.mark.parametrize("granted", [0, 100])
def test_a_key_that_came_for_two_accounts_is_booked_once(granted):
    """One account covers it and one may not, so that the two entries would be of two kinds."""
    b = books()
    others = [b.account(granted=granted) for _ in range(4)]
    for number, other in enumerate(others):
        once, again = record(b, f"k{number}", 10), record(b, f"k{number}", 10, account=other)
        meter_lanes(lines(once, again, again), source=SOURCE, parcel=1)
        assert Usage.objects.filter(key=f"k{number}").count() == 2
        assert booked(SOURCE, f"k{number}").used == (10 if granted else 0)
        assert b.balance(other).debited == (10 if granted else 0)
    back = b.balance()
    assert back.credited - back.debited == 100  # each was booked on it first and reversed
    assert verify() == []


def test_two_imports_of_the_same_history_at_once_book_it_once():
    """Some of it is covered and some isn't, so that the two might make entries of two kinds, which no index forbids."""
    b = books()
    accounts = [b.account(granted=35) for _ in range(3)]
    history = [record(b, f"{n}", 10, account=accounts[n % 3]) for n in range(30)]

    def book(seed: int) -> Metered:
        mine = lines(*random.Random(seed).sample(history, 30))
        try:
            return meter_lanes(mine, source=SOURCE, parcel=3)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as two:
        came = list(two.map(book, range(2)))
    assert sum(c.fresh for c in came) == 30
    assert {account: b.balance(account).debited for account in accounts} == dict.fromkeys(accounts, 35)
    assert sum(c.overrun for c in came) == 300 - 3 * 35
    assert verify() == []


def test_an_error_in_one_lane_leaves_what_others_booked_and_a_second_try_books_the_rest():
    b = books()
    other = b.account(granted=100)
    good, bad = record(b, "1", account=other).line(), record(b, "2").line().replace("3600", "an hour")
    with pytest.raises(WrongAmount) as found:
        meter_lanes([good, bad], source=SOURCE, parcel=1)
    assert "an hour" in str(found.value.__cause__)  # which, for whoever reads the log
    meter_lanes([good, record(b, "2").line()], source=SOURCE, parcel=1)
    assert (b.balance(other).debited, b.balance().debited) == (10, 10)
    assert verify() == []


def test_lanes_are_no_part_of_another_transaction():
    with transaction.atomic(), pytest.raises(RuntimeError, match="commit by themselves"):
        meter_lanes([], source=SOURCE)


def test_an_import_of_the_same_source_elsewhere_waits_so_that_no_key_is_in_two_lanes():
    """The first books the use on an account that covers it, the second would have made an overrun of it, beside."""
    b = books()
    first, then = lines(record(b, "k", 7)), lines(record(b, "k", 7, account=b.account()))
    waits: Queue[int] = Queue()

    def beside() -> Metered:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            waits.put(cursor.fetchone()[0])
        try:
            return meter_lanes(then, source=SOURCE)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as other:
        with _alone(SOURCE), connection.cursor() as cursor:
            answer, process, found = other.submit(beside), waits.get(), False
            while not found:
                cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND NOT granted)", [process])
                (found,) = cursor.fetchone()
            _meter_lanes(first, SOURCE, None, "metered", 10)
        assert answer.result().changed == 1
    assert verify() == []
