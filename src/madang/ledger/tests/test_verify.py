"""Whoever may change anything changes one row: the check names it."""

from __future__ import annotations

import logging
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from madang.ledger import actions as ledger
from madang.ledger import queries
from madang.ledger.models import Entry, Seal, Total
from madang.ledger.tasks import every_night
from madang.ledger.tests.make import Books, books, named
from madang.ledger.tests.test_usage import SOURCE, record
from madang.ledger.usage import meter
from madang.ledger.verify import Problem, last_seal, missing, verify
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
SEOUL = ZoneInfo("Asia/Seoul")


def as_owner(*statements: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ledger_entry DISABLE TRIGGER USER")
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE ledger_entry ENABLE TRIGGER USER")


def days_ago(days: int) -> None:
    """As if everything so far had been booked that many days ago."""
    as_owner(f"UPDATE ledger_entry SET booked_at = booked_at - interval '{days} days'")


def today() -> date:
    return (now() + timedelta(hours=9)).date()


def said() -> list[tuple[str, str]]:
    return [(problem.check, problem.where) for problem in verify()]


def metered_and_sealed(days: int = 2) -> Books:
    """Two records of use, booked and sealed so many days ago; something else was booked since."""
    b = books()
    meter([record(b, "1", raw={"gpus": 4}), record(b, "2")], source=SOURCE)
    days_ago(days)
    assert ledger.seal() == days
    b.charge(1)
    assert verify() == []
    return b


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM ledger_usage WHERE key = '1'; UPDATE ledger_usage_day SET records = 1, used = used - 10,"
        " wall_s = wall_s - 3600, wait_s = wait_s - 3600; UPDATE ledger_usage_month SET records = 1, used = used - 10,"
        " booked = booked - 10, wall_s = wall_s - 3600, wait_s = wait_s - 3600",
        """UPDATE ledger_usage SET raw = '{"gpus": 5}' WHERE key = '1'""",
        "UPDATE ledger_usage SET started_at = started_at - interval '1 minute' WHERE key = '1'",
    ],
    ids=["taken out with its sums", "what its source said", "when it began, on the same day"],
)
def test_a_record_that_was_changed_after_its_day_was_sealed_is_found_on_that_day(change):
    metered_and_sealed()
    as_owner(change)
    assert said() == [("seals", str(today() - timedelta(days=2)))]


SEAL_TAKEN_AWAY = (
    "ALTER TABLE ledger_seal DISABLE TRIGGER USER",
    "DELETE FROM ledger_seal WHERE day = (SELECT {} FROM ledger_seal)",
    "ALTER TABLE ledger_seal ENABLE TRIGGER USER",
)


def without_seal(which: str) -> None:
    as_owner(*(statement.format(which) for statement in SEAL_TAKEN_AWAY))


def test_a_seal_that_was_taken_away_with_what_it_folded_is_found_once_anything_was_booked_since():
    metered_and_sealed()
    without_seal("max(day)")
    assert verify() == []  # nothing was booked on that day, nor is it known that a night came after it
    without_seal("max(day)")
    as_owner("DELETE FROM ledger_total")
    day = str(today() - timedelta(days=2))
    assert verify() == [Problem("missing seals", day, "no seal", "3 entries")]
    assert (ledger.seal(), verify()) == (2, [])  # a copy of the digest elsewhere still tells what was changed meanwhile


def night(days: int, ended: str = "succeeded") -> None:
    """As the worker leaves it behind: the nightly task of the last night, or of so many nights before."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, args, status)"
            " VALUES ('default', 'ledger.every_night', '{}', %s) RETURNING id",
            [ended],
        )
        (job,) = cursor.fetchone()
        at = datetime.combine(today() - timedelta(days=days), time(3, 20), SEOUL)
        for number, kind in enumerate(("deferred", "started", ended)):
            cursor.execute(
                "INSERT INTO procrastinate_events (job_id, type, at) VALUES (%s, %s, %s)",
                [job, kind, at + timedelta(seconds=number)],
            )


def test_a_seal_that_was_taken_away_with_what_it_folded_is_found_at_once_where_the_nightly_task_had_made_it():
    books()
    days_ago(1)
    night(1)  # before that day was over
    night(0, ended="failed")
    assert verify() == []
    ledger.seal()
    night(0)
    assert verify() == []
    without_seal("max(day)")
    as_owner("DELETE FROM ledger_total")
    day = str(today() - timedelta(days=1))
    assert verify() == [Problem("missing seals", day, "no seal", "1 entries")]


def test_a_digest_that_was_kept_elsewhere_shows_what_was_rewritten_with_its_seal():
    b = metered_and_sealed()
    newest = last_seal()
    assert newest is not None
    assert verify(kept={newest.day: newest.digest}) == []
    without_seal("max(day)")
    without_seal("max(day)")
    as_owner("DELETE FROM ledger_total", "UPDATE ledger_entry SET reason = 'other' WHERE kind = 'grant'")
    assert (ledger.seal(), verify()) == (2, [])
    made_again = last_seal()
    assert made_again is not None
    assert verify(kept={newest.day: newest.digest}) == [
        Problem("kept digests", str(newest.day), made_again.digest, newest.digest)
    ]
    never = date(2020, 1, 1)
    assert verify(kept={never: newest.digest}) == [Problem("kept digests", str(never), "no seal", newest.digest)]
    assert b.balance().debited == 21


def test_a_day_whose_night_was_not_seen_here_misses_no_seal():
    """As in a copy that was restored: nothing was booked after it."""
    books()
    days_ago(9)
    assert verify() == []
    assert [problem.where for problem in missing(now())] == [str(today() - timedelta(days=9))]


def test_a_seal_that_was_taken_away_from_between_two_is_found():
    b = books()
    for _ in range(4):
        b.charge(1)
        days_ago(1)
    ledger.seal()
    without_seal("max(day) - 1")
    assert ("missing seals", str(today() - timedelta(days=2))) in said()


def test_every_night_says_which_seal_is_missing_before_it_is_made_again(caplog):
    books()
    days_ago(2)
    with caplog.at_level(logging.ERROR):
        every_night(timestamp=int(now().timestamp()))
        every_night(timestamp=int(now().timestamp()))
    day = today() - timedelta(days=2)
    assert caplog.messages == [
        f"the ledger does not add up: missing seals: {day}: no seal stands there, 1 entries is counted"
    ]


def test_seals_from_before_records_were_sealed_go_on_standing_and_the_next_covers_their_records():
    b = books()
    meter([record(b, "1")], source=SOURCE)
    days_ago(3)
    b.charge(5)
    as_owner(
        "INSERT INTO ledger_seal (day, entries, digest, previous, sealed_at)"
        f" SELECT '{today() - timedelta(days=3)}', o_entries, o_digest, '', now()"
        f" FROM ledger_digest('{today() - timedelta(days=3)}', '')"
    )
    meter([record(b, "2")], source=SOURCE)
    as_owner(
        "UPDATE ledger_entry SET booked_at = booked_at - interval '1 day' WHERE booked_at > now() - interval '1 day'"
    )
    assert ledger.seal() == 2
    assert list(Seal.objects.order_by("day").values_list("entries", "records")) == [(2, None), (0, 1), (2, 1)]
    assert [problem for problem in verify() if problem.check == "seals"] == []
    as_owner("UPDATE ledger_usage SET raw = '{}' WHERE key = '1'")
    assert ("seals", str(today() - timedelta(days=2))) in said()


def test_days_that_are_over_are_sealed_each_once_and_continue_one_another():
    books()
    assert ledger.seal() == 0
    days_ago(3)
    assert (ledger.seal(), ledger.seal()) == (3, 0)
    seals = list(Seal.objects.order_by("day"))
    assert [seal.day for seal in seals] == [today() - timedelta(days=days) for days in (3, 2, 1)]
    assert [seal.entries > 0 for seal in seals] == [True, False, False]
    assert [seal.previous for seal in seals] == ["", seals[0].digest, seals[1].digest]
    assert verify() == []


@pytest.mark.parametrize("change", ["reason = 'other'", "actor_id = 9", "event_at = event_at + interval '1 us'"])
def test_a_row_that_was_changed_after_its_day_was_sealed_is_found_on_that_day(change):
    b = books()
    b.charge(5)
    days_ago(1)
    b.charge(6)
    days_ago(1)
    ledger.seal()
    assert verify() == []
    as_owner(f"UPDATE ledger_entry SET {change} WHERE id = (SELECT min(id) FROM ledger_entry WHERE amount = 6)")
    assert said() == [("seals", str(today() - timedelta(days=1)))]


def test_an_entry_that_was_taken_out_or_slipped_in_is_found():
    b = books()
    b.charge(5)
    days_ago(1)
    ledger.seal()
    as_owner("DELETE FROM ledger_entry WHERE amount = 5")
    assert ("seals", str(today() - timedelta(days=1))) in said()
    assert ("balances", f"account {b.mine}, debited") in said()


def test_an_end_that_names_no_hold_is_found():
    b = books()
    held = b.hold(5)
    ledger.release(hold=held, source="test", key="free", actor=None, reason="")
    as_owner("UPDATE ledger_entry SET hold_id = 9 WHERE kind = 'release'")
    assert ("named rows", f"entry {Entry.objects.get(kind='release').pk}") in said()


def test_an_excess_that_is_of_another_account_is_found():
    b = books()
    other, held = b.account(granted=10), b.hold(5)
    ledger.settle(hold=held, used=7, **named())
    assert verify() == []
    as_owner(f"UPDATE ledger_entry SET concerns_id = {other} WHERE kind = 'overrun'")
    assert ("named rows", f"hold {held}") in said()


@pytest.mark.parametrize(("table", "check"), [("day", "sums of days"), ("month", "sums of months")])
@pytest.mark.parametrize("change", ["UPDATE {} SET used = used + 1", "DELETE FROM {}"])
def test_a_sum_that_is_not_what_the_records_add_up_to_is_found(table, check, change):
    meter([record(books())], source=SOURCE)
    assert verify() == []
    as_owner(change.format(f"ledger_usage_{table}"))
    assert check in {name for name, _where in said()}


def test_totals_of_accounts_without_a_limit_are_folded_day_by_day_and_answer_as_before():
    b = books()
    b.charge(30)
    days_ago(1)
    b.charge(7)
    before = queries.balances([b.used, b.pool])
    ledger.seal()
    b.charge(1)
    assert queries.balances([b.used])[b.used].credited == before[b.used].credited + 1 == 38
    assert Total.objects.get(account=b.used).credited == 30
    assert queries.balances([b.pool])[b.pool] == before[b.pool]
    as_owner(f"UPDATE ledger_total SET credited = 29 WHERE account_id = {b.used}")
    assert said() == [("totals", f"account {b.used}")]


def test_every_night_seals_and_says_what_is_wrong(caplog):
    b = books()
    days_ago(1)
    with caplog.at_level(logging.ERROR):
        every_night(timestamp=0)
        assert (Seal.objects.count(), caplog.messages) == (1, [])
        as_owner(f"UPDATE ledger_balance SET credited = credited + 1 WHERE account_id = {b.mine}")
        every_night(timestamp=0)
    assert caplog.messages == [
        f"the ledger does not add up: balances: account {b.mine}, credited: 101 stands there, 100 is counted"
    ]


SLIPPED_IN = (
    "INSERT INTO ledger_entry (source, ext_key, kind, debit_id, credit_id, amount, event_at, booked_at, period,"
    " reason{more}) SELECT 'x', 'x', '{kind}', {debit}, {credit}, 40, {at}, {at}, ledger_month({at}), ''{value}"
)
GIVEN = "UPDATE ledger_balance SET credited = credited + 40 WHERE account_id = {mine}"


@pytest.mark.parametrize(
    ("kind", "debit", "value", "at"),
    [("grant", "used", "", "now()"), ("refund", "used", "SELECT max(id) FROM ledger_entry", "now()"),
     ("grant", "pool", "", "timestamptz '2020-01-01'")],
    ids=["from an account of another role", "more than was used", "before the first seal"],
)  # fmt: skip
def test_what_was_given_besides_the_verbs_is_found_though_the_balance_agrees(kind, debit, value, at):
    b = books()
    days_ago(3)
    ledger.seal()
    b.charge(7)
    accounts = {"debit": getattr(b, debit), "credit": b.mine, "mine": b.mine}
    more, chosen = (", refunds_id", f", ({value})") if value else ("", "")
    as_owner(
        SLIPPED_IN.format(kind=kind, at=at, more=more, value=chosen, **accounts),
        GIVEN.format(**accounts),
        f"UPDATE ledger_total SET debited = debited + 40 WHERE account_id = {b.pool} AND '{debit}' = 'pool'",
    )
    assert {check for check, _where in said()} & {"named rows", "seals"}


@pytest.mark.parametrize(
    "change", ["amount = 4000", "account_id = (SELECT max(id) FROM ledger_account WHERE role = 'allocation')"]
)
def test_a_record_that_is_not_what_was_booked_is_found(change):
    b = books()
    meter([record(b, amount=5)], source=SOURCE)
    b.account()
    assert verify() == []
    as_owner(f"UPDATE ledger_usage SET {change} WHERE source = '{SOURCE}'")
    assert ("named rows", f"record {SOURCE} 1") in said()


def test_use_that_would_go_elsewhere_is_found():
    b = books()
    as_owner(f"UPDATE ledger_balance SET sink = {b.pool} WHERE account_id = {b.mine}")
    assert said() == [("named rows", f"account {b.mine}")]
