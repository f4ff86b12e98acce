from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from madang.ledger import actions as ledger
from madang.ledger import errors
from madang.ledger.models import Period
from madang.ledger.tests.make import books, entry
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
SEOUL = ZoneInfo("Asia/Seoul")


def this_month() -> date:
    return now().astimezone(SEOUL).date().replace(day=1)


def month_before(month: date) -> date:
    return (month - timedelta(days=1)).replace(day=1)


def test_use_counts_in_the_month_in_which_it_happened():
    b = books()
    late = month_before(this_month())
    e = entry(b.charge(1, event_at=datetime(late.year, late.month, 3, tzinfo=SEOUL)))
    assert (e.period, e.adjusts_period) == (late, None)


def test_months_are_those_of_seoul():
    b = books()
    e = entry(b.charge(1, event_at=datetime.fromisoformat("2026-03-31T15:00:00+00:00")))
    assert e.period == date(2026, 4, 1)
    e = entry(b.charge(1, event_at=datetime.fromisoformat("2026-03-31T14:59:59+00:00")))
    assert e.period == date(2026, 3, 1)


def test_late_use_books_into_the_open_month_and_names_the_closed_one():
    b = books()
    closed = month_before(this_month())
    ledger.close_month(month=closed.replace(day=17), actor=4)
    for late in (closed, month_before(closed)):
        e = entry(b.charge(1, event_at=datetime(late.year, late.month, 3, tzinfo=SEOUL)))
        assert (e.period, e.adjusts_period) == (this_month(), late)
    assert entry(b.charge(1)).adjusts_period is None


def test_closing_again_changes_nothing_and_a_month_that_runs_can_not_be_closed():
    closed = month_before(this_month())
    ledger.close_month(month=closed, actor=4)
    ledger.close_month(month=closed, actor=5)
    ledger.close_month(month=month_before(closed), actor=5)
    assert list(Period.objects.values_list("month", "closed_by")) == [(closed, 4)]
    for later in (this_month(), this_month() + timedelta(days=40)):
        with pytest.raises(errors.MonthNotOver):
            ledger.close_month(month=later, actor=4)


@pytest.mark.parametrize("month", ["-infinity", "1999-12-31"])
def test_before_anything_can_have_happened_there_is_no_month_to_close(month):
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_close_month(%s, NULL)", [month])
    assert not Period.objects.exists()
