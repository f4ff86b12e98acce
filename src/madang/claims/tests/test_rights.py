from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.db import Error, connection, transaction

from madang.claims import actions as claims
from madang.claims import pools, queries
from madang.claims.tests.make import book, hours, leaf, pool, seat

pytestmark = pytest.mark.django_db
TABLES = ["leaf", "claim", "claimevent", "pool", "pool_claim", "poolclaimevent"]
WRITES = ["INSERT INTO claims_{} DEFAULT VALUES", "UPDATE claims_{} SET {} = {}", "DELETE FROM claims_{}"]
WRITES += ["TRUNCATE claims_{} CASCADE"]


@contextmanager
def the_application() -> Iterator[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {settings.APPLICATION_ROLE}")
        yield cursor
        cursor.execute("RESET ROLE")


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("write", WRITES)
def test_the_application_can_not_write_the_tables(table, write):
    book(leaf())
    seat(pool(1))
    with the_application() as cursor, pytest.raises(Error, match="permission denied"), transaction.atomic():
        cursor.execute(write.format(table, "id", "id"))


def test_the_application_can_call_every_verb_and_read():
    with the_application():
        room = leaf()
        desk = leaf(parent=room)
        booked = book(room, state="held")
        claims.confirm(claims=booked)
        claims.move(claims=booked, during=hours(14, 16))
        assert [claim.leaf_id for claim in queries.taking([room], hours(0, None))] == [desk]
        assert claims.release(claims=booked) == 1
        seats = pool(3)
        held = seat(seats, state="held")
        pools.confirm(claim=held)
        pools.move(claim=held, during=hours(14, 16), amount=2)
        pools.resize(pool=seats, capacity=2)
        assert pools.peak(pool=seats, during=hours(0, None)) == 2
        assert pools.release(claims=[held]) == 1


@pytest.mark.parametrize(
    "inner", ["claims_lock_leaves('{1}')", "claims_lock_things('{1}')", "claims_lock_pool(1)", "claims_peak(1, '{}')"]
)
def test_the_application_can_not_call_the_inner_steps(inner):
    with the_application() as cursor, pytest.raises(Error, match="permission denied"), transaction.atomic():
        cursor.execute(f"SELECT {inner}")


def test_no_session_keeps_the_history_from_being_written():
    with connection.cursor() as cursor:
        cursor.execute("SELECT array_agg(tgname) FROM pg_trigger WHERE tgrelid = 'claims_claim'::regclass")
        cursor.execute("SELECT set_config('pgtrigger.ignore', %s::text[]::text, true)", cursor.fetchone())
    booked = book(leaf())
    claims.release(claims=booked)
    with connection.cursor() as cursor:
        cursor.execute("SELECT state FROM claims_claimevent WHERE pgh_obj_id = %s ORDER BY pgh_id", booked)
        assert cursor.fetchall() == [("confirmed",), ("released",)]
