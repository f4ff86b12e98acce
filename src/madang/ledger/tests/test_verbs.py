from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import Error, connection, transaction

from madang.ledger import actions as ledger
from madang.ledger import errors, queries
from madang.ledger.models import Excess
from madang.ledger.queries import Balance
from madang.ledger.tests.make import books, entry, named
from madang.workflow.errors import Missing
from madang.workflow.log import act
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db


def test_what_a_job_did_not_use_is_back_after_settling():
    b = books()
    held = b.hold(60)
    assert b.balance() == Balance(credited=100, debited=0, held=60)
    settled = ledger.settle(hold=held, used=25, **named())
    assert (settled.used, settled.overrun) == (25, 0)
    assert b.balance() == Balance(credited=100, debited=25, held=0)
    assert b.balance(b.used).available == 25
    assert b.balance(b.pool).available == -100


def test_use_beyond_the_hold_is_an_overrun_and_never_refused():
    b = books()
    held = b.hold(60)
    settled = ledger.settle(hold=held, used=75, **named())
    assert (settled.used, settled.overrun) == (60, 15)
    assert b.balance() == Balance(credited=100, debited=60, held=0)
    assert queries.overruns([b.mine]) == {b.mine: 15}
    assert [lost.amount for lost in queries.units_lost() if lost.commodity == b.commodity] == [15]
    assert [e.kind for e in queries.entries(b.mine)] == ["overrun", "settle", "hold", "grant"]


def test_use_after_the_hold_was_freed_is_an_overrun_as_a_whole():
    b = books()
    held = b.hold(60)
    ledger.release(hold=held, **named())
    use = named()
    settled = ledger.settle(hold=held, used=30, **use)
    assert (settled.used, settled.overrun) == (0, 30)
    assert ledger.settle(hold=held, used=30, **use) == settled
    assert b.balance() == Balance(credited=100, debited=0, held=0)
    assert queries.overruns([b.mine]) == {b.mine: 30}


@pytest.mark.parametrize("end", ["release", "expire"])
def test_the_late_use_of_a_hold_that_was_freed_counts_once_whatever_its_key(end):
    b = books()
    held = b.hold(60, until=now())
    getattr(ledger, end)(hold=held, **named())
    late, use = ledger.settle(hold=held, used=30, **named()), named()
    assert ledger.settle(hold=held, used=30, **use) == late == (late.entry, 0, 30)
    with pytest.raises(errors.AlreadyResolved):
        ledger.settle(hold=held, used=31, **use)
    with pytest.raises(errors.AlreadyResolved):
        ledger.settle(hold=held, used=0, **use)
    assert queries.overruns([b.mine]) == {b.mine: 30}
    assert Excess.objects.get(hold=held).entry_id == late.entry


def test_a_key_names_the_late_use_of_one_hold():
    b = books()
    first, second, use = b.hold(10), b.hold(10), named()
    for held in (first, second):
        ledger.release(hold=held, **named())
    ledger.settle(hold=first, used=3, **use)
    for held, used in ((first, 4), (second, 3), (second, 4), (first, 0)):
        with pytest.raises(errors.KeyConflict):
            ledger.settle(hold=held, used=used, **use)
    ledger.settle(hold=second, used=3, **named())
    assert queries.overruns([b.mine]) == {b.mine: 6}


def test_an_overrun_and_what_a_hold_did_not_cover_are_two_uses_and_no_key_is_both():
    """Of the same amount and under the same key, so that only the hold tells them apart."""
    b = books()
    over = {"account": b.mine, "sink": b.used, "amount": 15}
    first, freed, use = b.hold(20), b.hold(1), named()
    ledger.release(hold=freed, **named())
    ledger.overrun(**over, **use)
    for held, used in ((first, 35), (freed, 15)):
        with pytest.raises(errors.KeyConflict):
            ledger.settle(hold=held, used=used, **use)
    settled, late = named(), named()
    assert ledger.settle(hold=first, used=35, **settled).overrun == 15
    assert ledger.settle(hold=freed, used=15, **late).overrun == 15
    for taken in (settled, late):
        with pytest.raises(errors.KeyConflict):
            ledger.overrun(**over, **taken)
    assert queries.overruns([b.mine]) == {b.mine: 45}


def test_a_settlement_is_answered_again_whatever_else_its_key_names():
    b = books()
    held, use = b.hold(20), named()
    ledger.overrun(account=b.mine, sink=b.used, amount=15, **use)
    settled = ledger.settle(hold=held, used=20, **use)
    assert ledger.settle(hold=held, used=20, **use) == settled == (settled.entry, 20, 0)


def test_a_reversed_overrun_is_no_longer_lost():
    b = books()
    lost = ledger.overrun(account=b.mine, sink=b.used, amount=9, **named())
    ledger.reverse(entry=lost, **named())
    assert queries.overruns([b.mine]) == {b.mine: 0}


def test_more_than_is_left_is_refused_and_says_what_is_left():
    b = books()
    b.hold(60)
    with pytest.raises(errors.Overspent) as refused:
        b.hold(41)
    assert (refused.value.left, refused.value.unit) == (40, "krw")
    assert "40" in str(refused.value)
    b.hold(40)
    assert b.balance().available == 0


def test_what_is_held_can_not_be_charged_transferred_or_reclaimed():
    b = books()
    b.hold(60)
    with pytest.raises(errors.Overspent):
        b.charge(41)
    with pytest.raises(errors.Overspent):
        ledger.transfer(giver=b.mine, taker=b.account(), amount=41, **named())
    with pytest.raises(errors.Overspent):
        ledger.reclaim(account=b.mine, pool=b.pool, amount=41, **named())
    assert b.balance() == Balance(credited=100, debited=0, held=60)


def test_a_refusal_does_not_spoil_the_transaction_of_the_caller():
    b = books()
    with transaction.atomic():
        b.charge(10)
        with pytest.raises(errors.Overspent):
            b.charge(91)
        b.charge(90)
    assert b.balance() == Balance(credited=100, debited=100, held=0)


def test_verbs_join_the_transaction_of_an_act():
    b = books()
    with act(None, "lend", reason="test"):
        held = b.hold(60)
        with pytest.raises(errors.Overspent):
            b.charge(41)
        settled = ledger.settle(hold=held, used=70, **named())
    assert (settled.used, settled.overrun) == (60, 10)
    assert entry(settled.entry).kind == "settle"


def test_every_verb_is_one_round_trip(django_assert_num_queries):
    b = books()
    with django_assert_num_queries(1), transaction.atomic(durable=False, savepoint=False):
        b.hold(1)


def test_the_same_key_gives_the_same_answer_and_counts_once():
    b = books()
    same = named()
    first = ledger.charge(account=b.mine, sink=b.used, amount=30, **same)
    assert ledger.charge(account=b.mine, sink=b.used, amount=30, **same) == first
    assert b.balance().debited == 30
    held = b.hold(20)
    use = named()
    settled = ledger.settle(hold=held, used=29, **use)
    assert ledger.settle(hold=held, used=29, **use) == settled
    assert b.balance() == Balance(credited=100, debited=50, held=0)
    assert queries.overruns([b.mine]) == {b.mine: 9}


def test_the_same_key_with_another_payload_is_a_conflict():
    b = books()
    same = named()
    ledger.charge(account=b.mine, sink=b.used, amount=30, **same)
    with pytest.raises(errors.KeyConflict):
        ledger.charge(account=b.mine, sink=b.used, amount=31, **same)
    held, use = b.hold(20), named()
    ledger.settle(hold=held, used=29, **use)
    with pytest.raises(errors.KeyConflict):
        ledger.settle(hold=held, used=28, **use)


def test_a_hold_is_ended_once():
    b = books()
    settled, freed = b.hold(20), b.hold(20)
    ledger.settle(hold=settled, used=5, **named())
    with pytest.raises(errors.AlreadyResolved):
        ledger.settle(hold=settled, used=6, **named())
    with pytest.raises(errors.AlreadyResolved):
        ledger.release(hold=settled, **named())
    first = ledger.release(hold=freed, **named())
    assert ledger.release(hold=freed, **named()) == first
    assert b.balance() == Balance(credited=100, debited=5, held=0)


def test_a_hold_ends_by_the_clock_of_the_database_without_any_timer():
    b = books()
    gone = b.hold(100, until=now() - timedelta(seconds=1))
    assert b.balance().available == 100
    b.hold(70)
    assert b.balance() == Balance(credited=100, debited=0, held=70)
    assert gone not in {hold.pk for hold in queries.open_holds()}


def test_a_hold_is_not_expired_early():
    b = books()
    later, never = b.hold(10, until=now() + timedelta(hours=1)), b.hold(10)
    for held in (later, never):
        with pytest.raises(errors.NotOverdue):
            ledger.expire(hold=held, **named())
    assert [hold.pk for hold in queries.open_holds(source="test")] == [later, never]
    due = b.hold(10, until=now())
    ledger.expire(hold=due, **named())
    assert [hold.pk for hold in queries.open_holds(source="test")] == [later, never]


def test_refunds_give_back_no_more_than_was_used():
    b = books()
    used = b.charge(30)
    first = ledger.refund(entry=used, amount=20, **named())
    with pytest.raises(errors.NotRefundable):
        ledger.refund(entry=used, amount=11, **named())
    with pytest.raises(errors.NotReversible):
        ledger.reverse(entry=used, **named())
    ledger.reverse(entry=first, **named())
    ledger.refund(entry=used, amount=30, **named())
    assert b.balance().available == 100
    with pytest.raises(errors.NotRefundable):
        ledger.refund(entry=b.grant(5), amount=1, **named())


def test_an_entry_is_reversed_once_and_a_hold_or_a_reversal_never():
    b = books()
    used = b.charge(30)
    reversal = ledger.reverse(entry=used, **named())
    assert b.balance().available == 100
    with pytest.raises(errors.AlreadyReversed):
        ledger.reverse(entry=used, **named())
    for wrong in (reversal, b.hold(1)):
        with pytest.raises(errors.NotReversible):
            ledger.reverse(entry=wrong, **named())


def test_a_grant_that_was_used_can_not_be_reversed():
    b = books(granted=0)
    given = b.grant(50)
    b.charge(1)
    with pytest.raises(errors.Overspent):
        ledger.reverse(entry=given, **named())
    assert b.balance() == Balance(credited=50, debited=1, held=0)


def test_a_transfer_moves_both_balances_and_stays_within_a_commodity():
    b = books()
    other = b.account()
    ledger.transfer(giver=b.mine, taker=other, amount=40, **named())
    assert (b.balance().available, b.balance(other).available) == (60, 40)
    with pytest.raises(errors.WrongAccounts):
        ledger.transfer(giver=b.mine, taker=books().mine, amount=1, **named())


def test_reclaimed_amounts_are_in_the_pool_again():
    b = books()
    ledger.reclaim(account=b.mine, pool=b.pool, amount=30, **named())
    assert (b.balance().available, b.balance(b.pool).available) == (70, -70)


def test_a_limited_pool_can_not_give_more_than_it_has():
    b = books(granted=0)
    purse = ledger.open_account(commodity=b.commodity, owner_type="call", owner_id=1, role="pool", limited=True)
    with pytest.raises(errors.Overspent):
        b.grant(1, pool=purse)


@pytest.mark.parametrize(
    ("amount", "error"),
    [(-1, errors.WrongAmount), (2**63, errors.WrongAmount), (10**16 + 1, (errors.Overspent, errors.WrongAmount))],
)
def test_amounts_that_no_ledger_can_book_are_refused(amount, error):
    b = books()
    with pytest.raises(error):
        b.hold(amount)
    with pytest.raises(error):
        b.charge(amount)
    for most in (2**63 - 1, 10**16 + 1):  # sums could not hold many of them
        with pytest.raises(errors.WrongAmount):
            b.grant(most)
        with pytest.raises(errors.WrongAmount):
            ledger.overrun(account=b.mine, sink=b.used, amount=most, **named())
    assert b.balance() == Balance(credited=100, debited=0, held=0)


def test_verbs_join_only_the_accounts_that_they_are_for():
    b = books()
    with pytest.raises(errors.WrongAccounts):
        ledger.grant(pool=b.used, account=b.mine, amount=1, **named())
    with pytest.raises(errors.WrongAccounts):
        b.hold(1, account=b.pool)
    with pytest.raises(Missing):
        b.hold(1, account=2**62)
    with pytest.raises(Missing):
        ledger.settle(hold=2**62, used=1, **named())


def test_commodities_and_accounts_are_made_once():
    b = books()
    assert ledger.site_account(commodity=b.commodity, role="pool") == b.pool
    with pytest.raises(errors.KeyConflict):
        ledger.open_account(commodity=b.commodity, owner_type="site", owner_id=0, role="pool", limited=True)
    first = ledger.commodity(code="h100", unit="gpu_second", resource_class="h100")
    assert ledger.commodity(code="h100", unit="gpu_second", resource_class="h100") == first
    with pytest.raises(errors.KeyConflict):
        ledger.commodity(code="h100", unit="minute", resource_class="h100")
    with pytest.raises(Missing):
        ledger.site_account(commodity=2**62, role="pool")


def test_entries_come_in_pages_newest_first():
    b = books()
    ids = [b.charge(1) for _ in range(5)]
    page = queries.entries(b.mine, limit=3)
    assert [e.pk for e in page] == ids[:1:-1]
    assert [e.pk for e in queries.entries(b.mine, before=page[-1].pk, limit=2)] == ids[1::-1]
    assert [e.effect_on(b.mine) for e in page] == [-1, -1, -1]
    assert page[0].effect_on(b.used) == 1


def test_the_check_names_a_figure_that_its_entries_do_not_add_up_to():
    b = books()
    b.hold(10)
    assert queries.check() == []
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_balance SET credited = credited + 1 WHERE account_id = %s", [b.mine])
    assert queries.check() == [queries.Difference(account=b.mine, figure="credited", stored=101, counted=100)]


def test_legs_sum_to_zero():
    b = books()
    ledger.settle(hold=b.hold(10), used=12, **named())
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(amount), count(*) FROM ledger_leg")
        assert cursor.fetchone() == (0, 6)


def test_an_amount_is_written_as_people_read_it(settings):
    settings.LEDGER_WRITES_AMOUNTS = f"{__name__}.in_thousands"
    b = books(granted=7000)
    with pytest.raises(errors.Overspent, match="7 thousand krw"):
        b.hold(7001)


def in_thousands(amount: int, unit: str) -> str:
    return f"{amount // 1000} thousand {unit}"


def test_an_entry_says_when_it_happened_and_who_booked_it():
    b = books()
    at = now() - timedelta(minutes=3)
    e = entry(b.charge(5, event_at=at, actor=12))
    assert (e.event_at, e.actor_id, e.amount, e.debit_id, e.credit_id) == (at, 12, 5, b.mine, b.used)
    assert e.booked_at > at


def test_less_than_nothing_is_no_use_also_of_a_hold_that_was_freed():
    b = books()
    held = b.hold(10)
    ledger.release(hold=held, **named())
    with pytest.raises(errors.WrongAmount):
        ledger.settle(hold=held, used=-5, **named())


@pytest.mark.parametrize("days", [2, 4000, 300_000, -10_000])
def test_what_happens_far_from_now_is_not_booked(days):
    b = books()
    with pytest.raises(errors.WrongRecord):
        b.charge(1, event_at=now() + timedelta(days=days))
    assert b.balance().debited == 0


@pytest.mark.parametrize("key", ["k" * 201, "a\0b", "half of a sign \ud800"])
def test_a_key_that_can_not_be_stored_is_said_in_words(key):
    b = books()
    with pytest.raises(errors.WrongRecord):
        b.charge(1, key=key)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1.5])
def test_what_is_no_whole_number_is_said_in_words(number):
    b = books()
    held, used = b.hold(5), b.charge(1)
    for verb in (
        lambda: b.hold(number),
        lambda: b.hold(1, account=number),
        lambda: b.grant(number),
        lambda: ledger.settle(hold=held, used=number, **named()),
        lambda: ledger.release(hold=number, **named()),
        lambda: ledger.refund(entry=used, amount=number, **named()),
        lambda: ledger.reverse(entry=number, **named()),
    ):
        with pytest.raises(errors.WrongAmount):
            verb()
    batch = [ledger.Hold(b.mine, b.used, number, "odd"), ledger.Hold(b.mine, b.used, 2, "fine")]
    odd, fine = ledger.hold_batch(batch, source="test", actor=None, reason="")
    assert (type(odd), type(fine)) == (errors.WrongAmount, int)
    ends = [
        ledger.Settlement(held, number, "odd"),
        ledger.Settlement(number, 1, "odd"),
        ledger.Settlement(fine, 2, "x"),
    ]
    answers = ledger.settle_batch(ends, source="test", actor=None, reason="")
    assert [type(answer) for answer in answers] == [errors.WrongAmount, errors.WrongAmount, ledger.Settled]
    assert b.balance() == Balance(credited=100, debited=3, held=5)


@pytest.mark.parametrize("by", ["settle", "settle_batch"])
def test_no_use_is_settled_before_it_happened(by):
    b = books()
    held = b.hold(5)
    asked = {"hold": held, "used": 1} if by == "settle" else {"asked": [ledger.Settlement(held, 1, "x")]}
    words = {name: word for name, word in named().items() if by == "settle" or name != "key"}
    with pytest.raises(errors.WrongRecord):
        getattr(ledger, by)(**asked, event_at=now() + timedelta(hours=30), **words)
    assert b.balance().held == 5


def test_what_is_held_for_an_account_with_a_limit_is_refused_as_such_and_not_for_want_of_balance():
    b = books()
    limited = ledger.open_account(commodity=b.commodity, owner_type="test", owner_id=1, role="exchange", limited=True)
    with pytest.raises(errors.WrongAccounts):
        b.hold(1, sink=limited)
    (answer,) = ledger.hold_batch([ledger.Hold(b.mine, limited, 1, "x")], source="test", actor=None, reason="")
    assert isinstance(answer, errors.WrongAccounts)
    assert b.balance().held == 0


def test_a_use_that_is_not_said_is_not_taken_for_all_that_was_held():
    b = books()
    held = b.hold(60)
    unsaid: Any = None
    with pytest.raises(errors.WrongAmount):
        ledger.settle(hold=held, used=unsaid, **named())
    assert b.balance() == Balance(credited=100, debited=0, held=60)


def test_a_time_without_its_zone_is_not_taken_for_one_of_some_zone():
    b = books()
    naive = datetime(2026, 11, 1, 12)  # noqa: DTZ001
    with pytest.raises(errors.WrongRecord):
        b.charge(1, event_at=naive)
    with pytest.raises(errors.WrongRecord):
        b.hold(1, until=naive)


@pytest.mark.parametrize("until", ["infinity", "-infinity", "9999-12-31 23:59-12", "1999-12-31"])
def test_a_hold_ends_at_an_instant_that_everybody_can_read(until):
    b = books()
    words = [b.mine, b.used, until]
    with connection.cursor() as cursor:
        for verb in (
            "ledger_hold(%s, %s, 1, 'test', 'until', %s, NULL, '')",
            "ledger_hold_batch(ARRAY[%s], ARRAY[%s], '{1}', '{until}', 'test', %s, NULL, '')",
        ):
            with pytest.raises(Error, match="no instant"), transaction.atomic():
                cursor.execute(f"SELECT {verb}", words)
    with pytest.raises(errors.WrongRecord):
        b.hold(1, until=datetime(9999, 12, 31, 23, 59, tzinfo=timezone(-timedelta(hours=12))))
    assert b.balance().held == 0


def test_nobody_uses_up_the_keys_under_which_the_ledger_ends_and_reverses():
    b = books()
    gone, other = b.hold(60, until=now()), b.hold(1, until=now())
    mine = {"source": "ledger", "actor": None, "reason": ""}
    with pytest.raises(errors.KeyConflict):
        ledger.expire(hold=other, key=f"hold {gone}", **mine)
    with pytest.raises(errors.KeyConflict):
        ledger.reverse(entry=b.charge(1), key="entry 1", **mine)
    assert b.hold(99) > other


@pytest.mark.parametrize("role", ["consumed", "overrun"])
def test_what_takes_up_use_has_no_limit_that_could_refuse_it(role):
    b = books()
    with pytest.raises(errors.WrongAccounts):
        ledger.open_account(commodity=b.commodity, owner_type="site", owner_id=0, role=role, limited=True)
    assert ledger.settle(hold=b.hold(5), used=8, **named()).overrun == 3
