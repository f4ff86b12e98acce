from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import Error, connection, transaction

from madang.ledger import actions as ledger
from madang.ledger import errors, queries
from madang.ledger.models import Entry, Import, Usage, UsageDay, UsageMonth
from madang.ledger.queries import Balance
from madang.ledger.tests.make import books, entry, named
from madang.ledger.tests.test_months import month_before, this_month
from madang.ledger.usage import Booked, Metered, Record, booked, meter, meter_lines
from madang.ledger.verify import verify
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
SOURCE = "test:usage"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def record(b: Any, key: str = "1", amount: int = 10, **other: Any) -> Record:
    """A use of an hour, the day before yesterday in Seoul."""
    ended = now().replace(hour=3, minute=0, second=0, microsecond=0) - timedelta(days=2)
    usual: dict[str, Any] = {
        "account": b.mine, "submitted_at": ended - timedelta(hours=2), "started_at": ended - timedelta(hours=1),
        "ended_at": ended, "wall_s": 3600, "wait_s": 3600, "user": 7, "resource": 3,
    }  # fmt: skip
    return Record(key=key, amount=amount, **(usual | other))


def metered(*records: Record) -> Metered:
    came = meter(records, source=SOURCE)
    assert verify() == []
    return came


def test_a_record_settles_the_hold_that_it_names():
    b = books()
    held = b.hold(60)
    assert metered(record(b, amount=40, hold=held)) == Metered(fresh=1)
    assert b.balance() == Balance(credited=100, debited=40, held=0)
    assert booked(SOURCE, "1") == Booked(Entry.objects.get(hold_id=held).pk, used=40, overrun=0)


def test_what_the_hold_does_not_cover_is_an_overrun():
    b = books()
    held = b.hold(60)
    assert metered(record(b, amount=75, hold=held)) == Metered(fresh=1, overrun=15)
    assert b.balance() == Balance(credited=100, debited=60, held=0)
    assert queries.overruns([b.mine]) == {b.mine: 15}


def test_a_record_without_a_hold_is_charged_as_far_as_the_account_covers_it():
    b = books()
    came = metered(*[record(b, key=str(number), amount=40) for number in range(4)])
    assert came == Metered(fresh=4, overrun=60)
    assert b.balance() == Balance(credited=100, debited=100, held=0)
    covered = [booked(SOURCE, str(number)) for number in range(4)]
    assert [(row.used, row.overrun) for row in covered] == [(40, 0), (40, 0), (20, 20), (0, 40)]


def test_what_others_hold_is_not_charged_and_what_is_overdue_is():
    b = books()
    b.hold(50)
    b.hold(30, until=now() - timedelta(seconds=1))
    assert metered(record(b, amount=60)).overrun == 10
    assert b.balance() == Balance(credited=100, debited=50, held=50)


def test_a_second_record_of_one_hold_is_charged_by_itself():
    b = books()
    held = b.hold(30)
    assert metered(record(b, key="a", amount=20, hold=held), record(b, key="b", amount=70, hold=held)).overrun == 0
    assert metered(record(b, key="c", amount=11, hold=held)).overrun == 1
    assert b.balance() == Balance(credited=100, debited=100, held=0)


def test_the_same_record_again_is_nothing_new():
    b = books()
    held = b.hold(60)
    same = record(b, amount=75, hold=held, raw={"state": "COMPLETED"})
    metered(same)
    assert metered(same) == Metered()
    Import.objects.all()._raw_delete("default")  # so that it is compared, and not known by its parcel
    assert metered(same) == Metered()
    assert metered(same, record(b, key="2")) == Metered(fresh=1)
    assert Usage.objects.filter(source=SOURCE).count() == 2
    assert b.balance().debited == 70


@pytest.mark.parametrize("used", [40, 75])
def test_a_record_that_comes_again_with_its_hold_settles_it(used):
    """It had come without: charged as far as the account covered it besides the hold."""
    b = books()
    held = b.hold(60)
    assert metered(record(b, amount=used)) == Metered(fresh=1, overrun=max(0, used - 40))
    assert metered(record(b, amount=used, hold=held)) == Metered(changed=1, overrun=max(0, used - 60))
    assert b.balance() == Balance(credited=140, debited=40 + min(used, 60), held=0)
    assert queries.overruns([b.mine]) == {b.mine: max(0, used - 60)}
    assert metered(record(b, amount=used, hold=held)) == metered(record(b, amount=used)) == Metered()
    assert list(queries.open_holds(source="test")) == []


def test_a_record_that_comes_again_with_a_hold_that_was_ended_is_nothing_new():
    b = books()
    freed = b.hold(60)
    ledger.release(hold=freed, **named())
    metered(record(b, amount=40))
    assert metered(record(b, amount=40, hold=freed)) == Metered()


def test_a_record_that_was_partly_refunded_and_comes_again_with_its_hold_is_named():
    b = books()
    metered(record(b, amount=30))
    ledger.refund(entry=booked(SOURCE, "1").entry, amount=5, **named())
    assert [type(why) for _key, why in metered(record(b, amount=30, hold=b.hold(30))).refused] == [errors.NotReversible]


def test_a_changed_record_is_reversed_and_booked_anew():
    b = books()
    metered(record(b, amount=75, hold=b.hold(60)), record(b, key="other"))
    assert metered(record(b, amount=30)) == Metered(changed=1)
    assert b.balance() == Balance(credited=170, debited=100, held=0) or b.balance().available == 60
    assert queries.overruns([b.mine]) == {b.mine: 0}
    assert booked(SOURCE, "1").used == 30
    assert sum(UsageDay.objects.values_list("used", flat=True)) == 40
    assert [row.rev for row in Usage.objects.filter(source=SOURCE, key="1").order_by("rev")] == [0, 1]
    assert metered(record(b, amount=75)) == Metered(changed=1)  # and back again
    assert b.balance().available == 15


def test_a_record_that_moved_to_another_account_leaves_the_first_as_it_was():
    b = books()
    other = b.account(granted=100)
    metered(record(b, amount=30))
    metered(record(b, amount=30, account=other, user=8))
    assert (b.balance().available, b.balance(other).available) == (100, 70)


def test_use_is_split_at_midnight_in_seoul_and_booked_as_a_whole():
    b = books(granted=1000)
    first, second = at("2026-03-30T22:00:00+09:00"), at("2026-04-01T04:00:00+09:00")
    metered(record(b, amount=301, submitted_at=first, started_at=first, ended_at=second, wall_s=108_000))
    assert list(UsageDay.objects.order_by("day").values_list("day", "records", "used", "wall_s", "wait_s")) == [
        (date(2026, 3, 30), 0, 20, 7200, 0),
        (date(2026, 3, 31), 0, 240, 86_400, 0),
        (date(2026, 4, 1), 1, 41, 14_400, 3600),
    ]
    assert list(UsageMonth.objects.order_by("month").values_list("month", "records", "used", "booked")) == [
        (date(2026, 3, 1), 0, 260, 0),
        (date(2026, 4, 1), 1, 41, 301),
    ]


@pytest.mark.parametrize(("hours", "days"), [(0, 1), (24, 1), (24.5, 2), (49, 3)])
def test_a_span_that_ends_at_midnight_has_nothing_in_the_next_day(hours, days):
    b = books()
    start = at("2026-03-30T00:00:00+09:00")
    metered(record(b, submitted_at=start, started_at=start, ended_at=start + timedelta(hours=hours)))
    assert UsageDay.objects.count() == days
    assert sum(UsageDay.objects.values_list("used", flat=True)) == 10


def test_late_use_books_into_the_open_month_and_leaves_the_closed_one_as_it_was_published():
    b = books()
    late = month_before(this_month())
    day = at(f"{late.replace(day=3)}T12:00:00+09:00")
    when = {"submitted_at": day, "started_at": day, "ended_at": day + timedelta(hours=1)}
    metered(record(b, key="a", **when))
    published = list(UsageMonth.objects.filter(month=late).values_list("booked", flat=True))
    ledger.close_month(month=late, actor=None)
    metered(record(b, key="b", amount=5, **when))
    metered(record(b, key="a", amount=7, **when))
    assert list(UsageMonth.objects.filter(month=late).values_list("booked", flat=True)) == published == [10]
    corrected = UsageMonth.objects.get(month=this_month(), adjusts=late)
    assert (corrected.booked, corrected.records, corrected.used) == (5 - 10 + 7, 1, 0)
    assert UsageMonth.objects.get(month=late).used == 12
    booked_late = Entry.objects.filter(source=SOURCE, adjusts_period=late).values_list("period", flat=True)
    assert set(booked_late) == {this_month()}


def test_what_can_not_be_booked_is_named_and_the_rest_is_booked():
    b = books()
    fine, past = record(b), record(b).started_at
    came = metered(
        fine,
        record(b, key="2", account=2**62),
        record(b, key="3", account=b.pool),
        record(b, key="4", amount=-1),
        record(b, key="5", ended_at=past - timedelta(seconds=1)),
        record(b, key="6", ended_at=now() + timedelta(days=9)),
        record(b, key="7", hold=b.grant(1)),
        record(b, key="1", amount=3),
    )
    assert came.fresh == 1
    assert [(key, type(why)) for key, why in came.refused] == [
        ("2", errors.Missing),
        ("3", errors.WrongAccounts),
        ("4", errors.WrongAmount),
        ("5", errors.WrongRecord),
        ("6", errors.WrongRecord),
        ("7", errors.Missing),
        ("1", errors.KeyConflict),
    ]
    assert b.balance().debited == 10


def test_a_key_that_something_else_booked_is_refused():
    b = books()
    ledger.charge(account=b.mine, sink=b.used, amount=1, source=SOURCE, key="1", actor=None, reason="")
    (refused,) = metered(record(b)).refused
    assert (refused[0], type(refused[1])) == ("1", errors.KeyConflict)
    metered(record(b, key="2"))
    again = record(b, key="2", submitted_at=record(b).submitted_at - timedelta(days=40))
    assert [type(why) for _key, why in metered(again).refused] == [errors.KeyConflict]


def test_a_record_that_changes_leaves_alone_what_a_verb_booked_under_its_key():
    b = books()
    meter([record(b, amount=5)], source=SOURCE)
    same: dict[str, Any] = {"source": SOURCE, "key": "1", "actor": None, "reason": ""}
    ledger.overrun(account=b.mine, sink=b.used, amount=3, **same)
    ledger.settle(hold=b.hold(9), used=4, **same)
    assert meter([record(b, amount=7)], source=SOURCE) == Metered(changed=1)
    assert b.balance().available == 100 - 4 - 7
    assert queries.overruns([b.mine]) == {b.mine: 3}


def test_a_record_that_was_partly_refunded_can_not_be_replaced():
    b = books()
    metered(record(b, amount=30))
    ledger.refund(entry=booked(SOURCE, "1").entry, amount=5, **named())
    assert [type(why) for _key, why in metered(record(b, amount=20)).refused] == [errors.NotReversible]
    assert b.balance().available == 75


def test_a_record_of_nothing_that_was_reversed_can_not_be_replaced():
    b = books()
    metered(record(b, amount=0))
    ledger.reverse(entry=booked(SOURCE, "1").entry, **named())
    assert [type(why) for _key, why in metered(record(b, amount=20)).refused] == [errors.NotReversible]


@pytest.mark.parametrize(
    "odd",
    [{"raw": {"name": "\ud800"}}, {"key": "\ud800"}, {"raw": {"load": float("nan")}},
     {"ended_at": datetime(2026, 11, 1, 12)}],  # noqa: DTZ001
    ids=["half of a sign", "half of a sign as key", "no number", "no zone"],
)  # fmt: skip
def test_a_record_that_can_not_be_written_is_said_in_words(odd):
    b = books()
    with pytest.raises(errors.WrongRecord):
        meter([record(b, **odd)], source=SOURCE)


@pytest.mark.parametrize("figure", ["amount", "account", "wall_s", "wait_s", "user", "resource", "hold"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1.5, "x", ""])
def test_a_figure_of_a_record_that_is_no_whole_number_is_said_in_words(figure, number):
    b = books()
    with pytest.raises((errors.WrongRecord, errors.WrongAmount)):
        meter([record(b), record(b, "odd", **{figure: number})], source=SOURCE)
    assert b.balance().debited == 0


@pytest.mark.parametrize("line", ["a\tb\n", "\\.\n", "\\N" + "\t\\N" * 11 + "\n"])
def test_lines_that_are_no_records_are_said_in_words(line):
    with pytest.raises((errors.WrongRecord, errors.WrongAmount)):
        meter_lines([line], source=SOURCE)


@pytest.mark.parametrize("word", ["a\0b", "half of a sign \ud800", "s" * 101])
@pytest.mark.parametrize("which", ["source", "reason"])
def test_a_source_or_reason_that_can_not_be_stored_is_said_in_words(which, word):
    b = books()
    words = {"source": SOURCE, "reason": "metered"} | {which: word}
    if (which, len(word)) == ("reason", 101):
        assert meter([record(b)], **words).fresh == 1
        return
    with pytest.raises(errors.WrongRecord):
        meter([record(b)], **words)
    assert b.balance().debited == 0


def test_keys_and_what_a_source_says_may_hold_any_sign():
    b = books()
    key = "a\tb\\n\\N 광주 \u202e🚗"
    said = {"name": "tab\t, line\n, \\N, “quoted”", "광주": "H100"}
    metered(record(b, key=key, raw=said))
    stored = Usage.objects.get(source=SOURCE)
    assert (stored.key, stored.raw) == (key, said)


def test_a_failure_between_leaves_nothing_half_done():
    b = books()
    for wrong in (record(b, key="x" * 201), record(b, key="\0"), record(b, amount=2**63)):
        with pytest.raises((errors.WrongRecord, errors.WrongAmount)):
            meter([record(b), wrong], source=SOURCE)
    assert not Usage.objects.filter(source=SOURCE).exists()
    assert b.balance().debited == 0


def test_the_application_meters_through_the_functions_alone():
    b = books()
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {settings.APPLICATION_ROLE}")
        assert meter([record(b)], source=SOURCE) == Metered(fresh=1)
        month = f"ledger_usage_{record(b).submitted_at + timedelta(hours=9):%Y%m}"
        for table in ("ledger_usage", month, "ledger_usage_day", "ledger_usage_month", "ledger_import"):
            for write in ("UPDATE {} SET records = 0", "DELETE FROM {}", "INSERT INTO {} DEFAULT VALUES"):
                with pytest.raises(Error, match=r"permission denied|does not exist"), transaction.atomic():
                    cursor.execute(write.format(table))
        for read in ("SELECT * FROM pg_temp.ledger_stage", "UPDATE pg_temp.ledger_stage SET rev = 1"):
            with pytest.raises(Error, match="permission denied"), transaction.atomic():
                cursor.execute(read)
        cursor.execute("RESET ROLE")


def test_a_stage_that_the_application_made_itself_is_not_read():
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS pg_temp.ledger_stage")
        cursor.execute(f"SET ROLE {settings.APPLICATION_ROLE}")
        cursor.execute("CREATE TEMP TABLE ledger_stage (LIKE ledger_usage)")
        with pytest.raises(Error, match="not our stage"), transaction.atomic():
            cursor.execute("SELECT ledger_meter('x', NULL, NULL, '')")
        cursor.execute("RESET ROLE")
        cursor.execute("DROP TABLE pg_temp.ledger_stage")


def test_what_was_metered_says_where_it_came_from():
    b = books()
    metered(record(b, raw={"gpus": 4}))
    row = Usage.objects.get(source=SOURCE)
    assert (row.entry_id, row.amount, row.user_ref, row.resource_ref, row.raw) == (
        booked(SOURCE, "1").entry, 10, 7, 3, {"gpus": 4},
    )  # fmt: skip
    assert entry(row.entry_id).kind == "charge"


@pytest.mark.parametrize("much", [{"amount": 10**16 + 1}, {"wall_s": 2**62}, {"wait_s": 2**62}])
def test_what_no_sum_could_hold_is_named_and_the_rest_is_booked(much):
    b = books()
    came = metered(record(b, "much", **much), record(b, "other", 7))
    assert (came.fresh, [(key, type(why)) for key, why in came.refused]) == (1, [("much", errors.WrongAmount)])
    assert b.balance().debited == 7


def test_the_bounds_of_a_month_are_seouls_whatever_the_session_says():
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL datestyle = 'SQL, DMY'")
        cursor.execute("SET LOCAL timezone = 'Asia/Shanghai'")  # CST, which reads back as that of Chicago
        cursor.execute("SELECT ledger_open_months('{2025-03-01}')")
        cursor.execute("SET LOCAL datestyle = 'ISO'")
        cursor.execute("SET LOCAL timezone = 'UTC'")
        cursor.execute("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'ledger_usage_202503'")
        assert cursor.fetchall() == [("FOR VALUES FROM ('2025-02-28 15:00:00+00') TO ('2025-03-31 15:00:00+00')",)]
