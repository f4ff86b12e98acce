"""The late use of a hold that was freed comes by two ways, as a record that names it and as a settlement of it, and
counts once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from madang.ledger import actions as ledger
from madang.ledger import errors, queries
from madang.ledger.actions import Settled, Settlement
from madang.ledger.models import Entry, Excess, Import
from madang.ledger.tests.make import Books, books, named
from madang.ledger.tests.test_usage import SOURCE, metered, record
from madang.ledger.usage import Booked, Metered, booked
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db


@pytest.fixture
def b() -> Books:
    return books()


def freed(b: Books, amount: int = 60, by: str = "release") -> int:
    held = b.hold(amount, until=now() - timedelta(seconds=1) if by == "expire" else None)
    getattr(ledger, by)(hold=held, **named())
    return held


def used(b: Books) -> int:
    """All that was used by anybody, covered or not."""
    return queries.balances([b.used])[b.used].credited - queries.balances([b.used])[b.used].debited


def settle(hold: int, amount: int, **other: Any) -> Settled:
    return ledger.settle(**{"hold": hold, "used": amount, **named(), **other})


@pytest.mark.parametrize("by", ["release", "expire"])
@pytest.mark.parametrize(("amount", "covered"), [(40, 40), (130, 100)], ids=["covered", "covered in part"])
@pytest.mark.parametrize("key", [{}, {"source": SOURCE, "key": "1"}], ids=["its own key", "the record's key"])
def test_a_late_settlement_of_what_a_record_told_adds_nothing(b, by, amount, covered, key):
    held = freed(b, by=by)
    metered(record(b, amount=amount, hold=held))
    told = booked(SOURCE, "1")
    for _again in range(2):
        assert settle(held, amount, **key) == Settled(told.entry, covered, amount - covered)
    (answer,) = ledger.settle_batch([Settlement(held, amount, "late")], source="test", actor=None, reason="")
    assert answer == Settled(told.entry, covered, amount - covered)
    assert (used(b), booked(SOURCE, "1")) == (amount, told)
    with pytest.raises(errors.AlreadyResolved):
        settle(held, amount + 1)
    assert used(b) == amount
    metered()


def test_what_no_account_covered_adds_nothing_either(b):
    b.charge(100)
    held = b.hold(0)
    ledger.release(hold=held, **named())
    assert metered(record(b, amount=7, hold=held)).overrun == 7
    assert settle(held, 7) == Settled(booked(SOURCE, "1").entry, 0, 7)
    assert (used(b), queries.overruns([b.mine])) == (107, {b.mine: 7})


@pytest.mark.parametrize("amount", [30, 45], ids=["as the settlement said", "more than the settlement said"])
def test_a_record_of_what_was_settled_late_takes_its_place(b, amount):
    held, late = freed(b), named()
    said = settle(held, 30, **late)
    assert queries.overruns([b.mine]) == {b.mine: 30}
    assert metered(record(b, amount=amount, hold=held)) == Metered(fresh=1)
    assert (used(b), queries.overruns([b.mine]), b.balance().debited) == (amount, {b.mine: 0}, amount)
    assert settle(held, 30, **late) == said
    with pytest.raises(errors.AlreadyResolved):
        settle(held, 31)
    assert used(b) == amount
    metered()


def test_a_second_record_of_the_same_hold_counts_by_itself(b):
    held = freed(b)
    settle(held, 30)
    metered(record(b, "a", 10, hold=held), record(b, "b", 20, hold=held))
    metered(record(b, "c", 5, hold=held))
    assert used(b) == 35
    other = freed(b)
    metered(record(b, "d", 10, hold=other), record(b, "e", 20, hold=other))
    assert settle(other, 10).entry == booked(SOURCE, "d").entry
    assert used(b) == 65


def test_a_late_settlement_that_was_reversed_by_hand_is_reversed_once(b):
    held = freed(b)
    ledger.reverse(entry=settle(held, 30).entry, **named())
    assert metered(record(b, amount=30, hold=held)) == Metered(fresh=1)
    assert used(b) == 30


def test_a_record_that_changes_is_what_its_newest_revision_says(b):
    held = freed(b)
    metered(record(b, amount=30, hold=held))
    metered(record(b, amount=120, hold=held))
    assert settle(held, 120) == Settled(Excess.objects.get(hold=held).entry_id, 100, 20)
    with pytest.raises(errors.AlreadyResolved):
        settle(held, 30)
    assert used(b) == 120


def test_a_record_that_comes_again_and_names_its_freed_hold_only_now_is_the_same_use(b):
    early, late = freed(b), freed(b)
    metered(record(b, "a", 30), record(b, "b", 20))
    settle(early, 30)
    assert used(b) == 80
    assert metered(record(b, "a", 30, hold=early), record(b, "b", 20, hold=late)) == Metered()
    Import.objects.all()._raw_delete("default")
    assert metered(record(b, "a", 30, hold=early)) == Metered()
    assert settle(late, 20) == Settled(booked(SOURCE, "b").entry, 20, 0)
    assert used(b) == 50


def test_a_record_of_nothing_is_no_late_use(b):
    held = freed(b)
    metered(record(b, amount=0, hold=held))
    assert settle(held, 8).overrun == 8
    metered(record(b, "again", 0, hold=held))
    assert used(b) == 8


def test_a_record_that_settles_its_hold_is_no_late_use(b):
    held = b.hold(60)
    metered(record(b, amount=75, hold=held))
    assert settle(held, 75) == Settled(Entry.objects.get(hold_id=held).pk, 60, 15)
    assert metered(record(b, "more", 1, hold=held)) == Metered(fresh=1)
    assert (used(b), booked(SOURCE, "1")) == (76, Booked(Entry.objects.get(hold_id=held).pk, 60, 15))
