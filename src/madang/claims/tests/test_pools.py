from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from madang.claims import pools
from madang.claims.errors import Gone, Taken
from madang.claims.models import PoolClaim
from madang.claims.tests.make import hours, pool, seat, source
from madang.workflow.errors import Missing, Refused, Stale
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db


def test_the_peak_counts_and_not_the_sum():
    seats = pool(2)
    seat(seats, start=8, end=10)
    seat(seats, start=10, end=12)
    seat(seats, start=9, end=11)
    assert pools.peak(pool=seats, during=hours(8, 12)) == 2
    assert pools.peak(pool=seats, during=hours(11, 12)) == 1
    assert pools.peak(pool=seats, during=hours(12, 13)) == 0
    seat(seats, start=11, end=20)
    with pytest.raises(Taken) as refused:
        seat(seats, start=7, end=13)
    assert "amount" in refused.value.errors


def test_more_than_there_are_is_refused_and_says_how_many_are_left():
    seats = pool(5)
    seat(seats, amount=3)
    with pytest.raises(Taken, match="2"):
        seat(seats, amount=3)
    seat(seats, amount=2)


def test_a_held_seat_ends_by_the_clock_of_the_database():
    seats = pool(1)
    held = seat(seats, state="held", expires_at=now() - timedelta(seconds=1))
    assert pools.peak(pool=seats, during=hours(0, 24)) == 0
    seat(seats)
    with pytest.raises(Gone):
        pools.confirm(claim=held)
    assert PoolClaim.objects.get(id=held).state == "expired"


def test_a_held_seat_is_taken_until_then_and_after_it_is_confirmed():
    seats = pool(1)
    held = seat(seats, state="held", expires_at=now() + timedelta(seconds=30))
    with pytest.raises(Taken):
        seat(seats)
    pools.confirm(claim=held)
    assert PoolClaim.objects.get(id=held).expires_at is None
    assert pools.release(claims=[held]) == 1
    assert pools.release(claims=[held]) == 0
    seat(seats)


def test_moving_is_checked_against_the_others_only():
    seats = pool(3)
    mine = seat(seats, amount=2, start=10, end=12)
    seat(seats, amount=1, start=10, end=20)
    pools.move(claim=mine, during=hours(11, 13))
    with pytest.raises(Taken):
        pools.move(claim=mine, during=hours(11, 13), amount=3)
    pools.move(claim=mine, during=hours(20, None), amount=3)
    assert pools.peak(pool=seats, during=hours(0, None)) == 3


def test_a_pool_is_not_made_smaller_than_what_is_promised():
    seats = pool(3)
    seat(seats, amount=2)
    with pytest.raises(Taken):
        pools.resize(pool=seats, capacity=1)
    pools.resize(pool=seats, capacity=2)
    with pytest.raises(Taken):
        seat(seats)


def test_a_running_claim_can_go_on_in_a_pool_that_was_made_smaller():
    seats, moment = pool(5), now()
    before, later = moment - timedelta(hours=2), moment + timedelta(hours=2)
    running = pools.take(**source(), pool=seats, amount=1, during=(before, later))
    pools.take(**source(), pool=seats, amount=4, during=(before, moment - timedelta(hours=1)))
    pools.resize(pool=seats, capacity=2)
    pools.move(claim=running, during=(before, None))
    with pytest.raises(Taken):
        pools.move(claim=running, during=(before, None), amount=2)
    pools.move(claim=running, during=(moment, later), amount=2)
    with pytest.raises(Taken):
        pools.take(**source(), pool=seats, amount=1, during=(before, moment))


def test_giving_back_a_seat_that_is_overdue_frees_nothing():
    held = seat(pool(1), state="held", expires_at=now() - timedelta(seconds=1))
    assert pools.release(claims=[held]) == 0
    assert PoolClaim.objects.get(id=held).state == "expired"


def test_of_a_pool_of_none_nothing_can_be_taken_and_of_none_more_than_there_is():
    for capacity in (0, 7, 2**31 - 1):
        seats = pool(capacity)
        for amount in (capacity + 1, 2**63 - 1, 2**80):
            with pytest.raises(Taken, match=str(capacity)):
                seat(seats, amount=amount)
        pools.resize(pool=seats, capacity=0)


def test_bad_requests_are_named():
    seats = pool(3)
    with pytest.raises(Refused):
        seat(seats, amount=0)
    with pytest.raises(Missing):
        seat(2**62)
    with pytest.raises(Missing):
        pools.confirm(claim=2**62)
    for capacity in (-1, 2**31, 2**80):
        with pytest.raises(Refused):
            pools.resize(pool=seats, capacity=capacity)
        with pytest.raises(Refused):
            pool(capacity)
    same = {"owner_type": "pool", "owner_id": 1}
    assert pools.pool(**same, capacity=4) == pools.pool(**same, capacity=4)
    with pytest.raises(Stale):
        pools.pool(**same, capacity=5)


def test_of_what_a_pool_lent_in_the_past_nothing_is_read_for_the_next_seat():
    seats = pool(1)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO claims_pool_claim (pool_id, amount, during, state, source_type, source_id)"
            " SELECT %s, 1, tstzrange(hour, hour + interval '1 hour'), 'confirmed', 'test', 1"
            " FROM generate_series('2019-01-01', '2019-08-01', interval '1 hour') hour",
            [seats],
        )
        cursor.execute("ANALYZE claims_pool_claim")

        def rows_read() -> int:
            cursor.execute(
                "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'claims_pool_claim'"
            )
            return int(cursor.fetchone()[0])

        before = rows_read()
        seat(seats)
        with pytest.raises(Taken):
            seat(seats)
        pools.resize(pool=seats, capacity=2)
        assert rows_read() - before < 10, "of 5,000 that are over"
