from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import IntegrityError, connection, transaction

from madang.claims import actions as claims
from madang.claims import pools, queries
from madang.claims.models import Claim
from madang.claims.tests.make import at, book, hours, leaf, pool, seat, source
from madang.workflow.errors import Missing, Refused

pytestmark = pytest.mark.django_db
EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
FAR = [
    (datetime.max.replace(tzinfo=WEST), None),
    (datetime.min.replace(tzinfo=EAST), at(1)),
    (at(1), datetime.max.replace(tzinfo=UTC)),
    (at(1), datetime(9000, 1, 1, tzinfo=UTC)),
]
NAIVE = [(at(0).replace(tzinfo=None), at(1)), (at(1), at(2).replace(tzinfo=None))]
EMPTY = [(at(1), at(1)), (at(2), at(1)), (at(1), at(1).astimezone(EAST))]


@pytest.mark.parametrize("during", FAR + NAIVE + EMPTY)
def test_a_time_that_is_none_is_refused_by_every_verb(during):
    booked, seats = book(leaf()), pool(2)
    seated = seat(seats)
    for verb in (
        lambda: claims.take(**source(), leaves=[leaf()], during=during),
        lambda: claims.move(claims=booked, during=during),
        lambda: queries.taking([1], during),
        lambda: pools.take(**source(), pool=seats, amount=1, during=during),
        lambda: pools.move(claim=seated, during=during),
        lambda: pools.peak(pool=seats, during=during),
    ):
        with pytest.raises(Refused) as refused:
            verb()
        assert list(refused.value.errors) == ["during"]


@pytest.mark.parametrize("until", [at(1).replace(tzinfo=None), datetime.max.replace(tzinfo=WEST)])
def test_a_hold_ends_at_a_time_that_everybody_can_read(until):
    held = {"state": "held", "expires_at": until}
    for verb in (lambda: book(leaf(), **held), lambda: seat(pool(1), **held)):
        with pytest.raises(Refused) as refused:
            verb()
        assert list(refused.value.errors) == ["expires_at"]


def test_what_is_confirmed_has_no_end_by_the_clock():
    for begins in ({"state": "confirmed", "expires_at": at(1)}, {"state": "released"}, {"state": "expired"}):
        for verb in (lambda begins=begins: book(leaf(), **begins), lambda begins=begins: seat(pool(1), **begins)):
            with pytest.raises(ValueError, match="begins"):
                verb()


def test_the_same_instant_in_another_zone_is_the_same_instant():
    thing = leaf()
    (first,) = claims.take(**source(), leaves=[thing], during=(at(10).astimezone(EAST), at(12).astimezone(WEST)))
    book(thing, start=12, end=13)
    assert Claim.objects.get(id=first).during.upper == at(12)


@pytest.mark.parametrize("during", ["[2031-05-01,infinity)", "[-infinity,2031-05-01)", "(,2031-05-01)", "empty"])
@pytest.mark.parametrize("table", ["claims_claim", "claims_pool_claim"])
def test_the_database_itself_refuses_what_nobody_could_read(table, during):
    book(leaf())
    seat(pool(1))
    with pytest.raises(IntegrityError, match=f"{table}_during"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET during = %s", [during])


@pytest.mark.parametrize(
    "change",
    ["state = 'confirmed', expires_at = now()", "state = 'expired', expires_at = NULL", "expires_at = 'infinity'"],
)
@pytest.mark.parametrize("table", ["claims_claim", "claims_pool_claim"])
def test_the_database_itself_refuses_an_end_where_none_can_be_and_none_where_there_was_one(table, change):
    for ends in (None, at(9)):
        book(leaf(), state="held", expires_at=ends)
        seat(pool(1), state="held", expires_at=ends)
    with pytest.raises(IntegrityError, match=f"{table}_until"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {change}")


@pytest.mark.parametrize("number", [0, -1, 2**62, 2**63, 2**80])
def test_a_number_that_no_claim_or_thing_has_is_missing(number):
    thing = leaf()
    booked = book(thing, state="held")
    for verb in (
        lambda: book(thing, number, start=20, end=21),
        lambda: leaf(parent=number),
        lambda: claims.confirm(claims=[*booked, number]),
        lambda: claims.move(claims=[*booked, number], during=hours(20, 21)),
        lambda: seat(number),
        lambda: pools.confirm(claim=number),
        lambda: pools.move(claim=number, during=hours(20, 21)),
        lambda: pools.resize(pool=number, capacity=1),
    ):
        with pytest.raises(Missing):
            verb()
    assert [claim.state for claim in queries.taking([thing], hours(0, None))] == ["held"]
