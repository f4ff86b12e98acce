from __future__ import annotations

from contextlib import contextmanager

import pytest
from django.conf import settings
from django.db import Error, connection, transaction

from madang.ledger import actions as ledger
from madang.ledger.tests.make import books, named

pytestmark = pytest.mark.django_db
TABLES = ["commodity", "account", "balance", "entry", "excess", "period"]
WRITES = [
    "INSERT INTO ledger_{} DEFAULT VALUES",
    "UPDATE ledger_{} SET {} = {}",
    "DELETE FROM ledger_{}",
    "TRUNCATE ledger_{} CASCADE",
]
COLUMN = {"balance": "account_id", "excess": "hold_id", "period": "month"}


@contextmanager
def the_application():
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {settings.APPLICATION_ROLE}")
        yield cursor
        cursor.execute("RESET ROLE")


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("write", WRITES)
def test_the_application_can_not_write_the_tables(table, write):
    books()
    column = COLUMN.get(table, "id")
    with the_application() as cursor, pytest.raises(Error, match="permission denied"), transaction.atomic():
        cursor.execute(write.format(table, column, column))


def test_the_application_can_call_every_verb_and_read():
    with the_application() as cursor:
        b = books()
        held = b.hold(10)
        used = ledger.settle(hold=held, used=12, **named()).entry
        ledger.refund(entry=used, amount=1, **named())
        ledger.release(hold=b.hold(1), **named())
        ledger.transfer(giver=b.mine, taker=b.account(), amount=1, **named())
        ledger.reclaim(account=b.mine, pool=b.pool, amount=1, **named())
        ledger.reverse(entry=b.charge(1), **named())
        assert b.balance().available == 89
        cursor.execute("SELECT count(*) FROM ledger_leg")
        assert cursor.fetchone()[0] > 0


INNER = [
    "ledger_move(1, 2, 3)",
    "ledger_free_overdue(1)",
    "ledger_the_hold(1)",
    "ledger_lose(1, 2, 3, 4, '', '', now(), 5, '')",
]


@pytest.mark.parametrize("inner", INNER)
def test_the_application_can_not_call_the_inner_steps(inner):
    with the_application() as cursor, pytest.raises(Error, match="permission denied"), transaction.atomic():
        cursor.execute(f"SELECT {inner}")


@pytest.mark.parametrize("write", ["UPDATE ledger_entry SET amount = 1", "DELETE FROM ledger_entry"])
def test_even_the_owner_can_not_change_an_entry(write):
    books()
    with pytest.raises(Error, match="Cannot"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(write)


def test_no_session_can_have_the_triggers_of_entries_passed_over():
    books()
    with connection.cursor() as cursor:
        cursor.execute("SELECT array_agg(tgname)::text FROM pg_trigger WHERE tgrelid = 'ledger_entry'::regclass")
        cursor.execute("SELECT set_config('pgtrigger.ignore', %s, true)", cursor.fetchone())
        with pytest.raises(Error, match="Cannot"), transaction.atomic():
            cursor.execute("UPDATE ledger_entry SET amount = 1")
