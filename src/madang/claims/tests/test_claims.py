from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import Error, IntegrityError, connection, transaction

from madang.claims import actions as claims
from madang.claims import queries
from madang.claims.errors import Gone, Taken
from madang.claims.models import Claim, Leaf
from madang.claims.tests.make import at, book, hours, leaf
from madang.workflow.errors import Missing, Refused, Stale
from madang.workflow.log import act
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db


def test_a_time_is_taken_once_and_the_next_one_may_begin_when_it_ends():
    thing = leaf()
    book(thing, start=10, end=12)
    for start, end in ((9, 10.1), (11, 11.5), (11.9, 13), (8, None)):
        with pytest.raises(Taken) as refused:
            book(thing, start=start, end=end)
        assert refused.value.status == 409
    book(thing, start=12, end=13)
    book(thing, start=9, end=10)
    book(leaf(), start=10, end=12)


def test_an_outage_and_a_booking_can_not_overlap():
    thing = leaf()
    outage = claims.take(leaves=[thing], during=hours(20, None), source_type="outage", source_id=1)
    with pytest.raises(Taken):
        book(thing, start=100, end=101)
    booked = book(thing, start=19, end=20)
    with pytest.raises(Taken):
        claims.move(claims=outage, during=hours(19.5, None))
    claims.release(claims=booked)
    claims.move(claims=outage, during=hours(19.5, 22))
    book(thing, start=22, end=24)


def test_all_or_nothing_is_taken():
    one, two, three = leaf(), leaf(), leaf()
    book(two)
    with pytest.raises(Taken):
        book(one, two, three)
    assert Claim.objects.filter(leaf_id__in=[one, three]).count() == 0
    assert len(book(three, one)) == 2


def test_a_refusal_does_not_spoil_the_transaction_of_the_caller():
    one, two = leaf(), leaf()
    with transaction.atomic():
        book(one)
        with pytest.raises(Taken):
            book(one)
        book(two)
    assert Claim.objects.filter(leaf_id__in=[one, two]).count() == 2


def test_a_room_is_taken_by_taking_all_of_its_desks():
    room = leaf()
    corner = leaf(parent=room)
    desks = [leaf(parent=room), leaf(parent=corner), leaf(parent=corner)]
    booked = book(desks[2])
    for whole in (room, corner):
        with pytest.raises(Taken):
            book(whole)
    book(desks[0])
    claims.release(claims=booked)
    book(corner)
    with pytest.raises(Taken):
        book(desks[1])
    taken = book(room, start=20, end=21)
    assert sorted(Claim.objects.filter(id__in=taken).values_list("leaf_id", flat=True)) == sorted(desks)


def test_what_is_taken_as_a_whole_can_not_be_divided():
    room = leaf()
    booked = book(room)
    with pytest.raises(Refused) as refused:
        leaf(parent=room)
    assert "parent" in refused.value.errors
    claims.release(claims=booked)
    leaf(parent=room)


def test_what_is_taken_as_a_whole_in_all_its_parts_gets_no_further_part():
    room = leaf()
    desks = [leaf(parent=room), leaf(parent=room)]
    whole = book(room)
    with pytest.raises(Refused):
        leaf(parent=room)
    claims.release(claims=whole)
    for desk in desks:  # one by one, and not the room
        book(desk)
    book(leaf(parent=room))


def test_what_was_taken_as_a_whole_and_is_over_gets_further_parts():
    room = leaf()
    leaf(parent=room)
    leaf(parent=room)
    book(room, start=-80_000, end=-79_990)
    leaf(parent=room)


def test_what_was_held_as_a_whole_and_is_overdue_can_be_divided():
    room = leaf()
    held = book(room, state="held", expires_at=now() - timedelta(seconds=1))
    desk = leaf(parent=room)
    with pytest.raises(Gone):
        claims.confirm(claims=held)
    with pytest.raises(Gone):
        claims.move(claims=held, during=hours(10, 12))
    book(desk)


def test_a_thing_named_twice_or_with_its_parts_is_taken_once():
    room = leaf()
    desk, other = leaf(parent=room), leaf(parent=room)
    booked = book(desk, room, desk, other)
    assert list(Claim.objects.filter(id__in=booked).order_by("id").values_list("leaf_id", flat=True)) == [desk, other]


def test_what_takes_a_part_stands_in_the_way_of_the_whole():
    room = leaf()
    corner = leaf(parent=room)
    desks = [leaf(parent=corner), leaf(parent=corner)]
    booked = book(desks[1])
    assert [[claim.pk for claim in queries.taking([thing], hours(0, 24))] for thing in (room, *desks)] == [
        booked,
        [],
        booked,
    ]
    assert list(queries.taking([], hours(0, 24))) == []


def test_nothing_is_a_part_of_itself():
    room = leaf()
    desk = leaf(parent=room)
    for parent, part in ((room, room), (desk, room)):
        with pytest.raises(IntegrityError, match="claims_no_circle"), transaction.atomic():
            Leaf.objects.filter(id=part).update(parent_id=parent)


def test_a_thing_is_made_once_and_has_one_parent():
    room, other = leaf(), leaf()
    desk = claims.leaf(owner_type="desk", owner_id=1, part="a", parent=room)
    assert claims.leaf(owner_type="desk", owner_id=1, part="a", parent=room) == desk
    with pytest.raises(Stale):
        claims.leaf(owner_type="desk", owner_id=1, part="a", parent=other)


def test_a_held_claim_ends_by_the_clock_of_the_database_without_any_timer():
    thing = leaf()
    held = book(thing, state="held", expires_at=now() - timedelta(seconds=1))
    assert list(queries.taking([thing], hours(0, 24))) == []
    with pytest.raises(Gone):
        claims.confirm(claims=held)
    book(thing)
    assert Claim.objects.get(id=held[0]).state == "expired"


def test_a_held_claim_takes_its_time_until_then_and_after_it_is_confirmed():
    thing = leaf()
    held = book(thing, state="held", expires_at=now() + timedelta(seconds=30))
    with pytest.raises(Taken):
        book(thing)
    claims.confirm(claims=held)
    claims.confirm(claims=held)
    claim = Claim.objects.get(id=held[0])
    assert (claim.state, claim.expires_at) == ("confirmed", None)
    assert [claim.pk for claim in queries.taking([thing], hours(11, 13))] == held


def test_giving_back_what_is_overdue_frees_nothing_and_the_history_says_that_it_expired():
    held = book(leaf(), state="held", expires_at=now() - timedelta(seconds=1))
    assert claims.release(claims=held) == 0
    assert Claim.objects.get(id=held[0]).state == "expired"


def test_of_several_holds_all_are_confirmed_and_moved_or_none():
    one, two = leaf(), leaf()
    mine = book(one, two, state="held")
    claims.release(claims=mine[1:])
    for verb in (lambda: claims.confirm(claims=mine), lambda: claims.move(claims=mine, during=hours(20, 21))):
        with pytest.raises(Gone):
            verb()
    claim = Claim.objects.get(id=mine[0])
    assert (claim.state, claim.during.lower) == ("held", at(10))


def test_what_was_released_can_be_taken_and_not_confirmed():
    thing = leaf()
    held = book(thing, state="held")
    assert claims.release(claims=held) == 1
    assert claims.release(claims=held) == 0
    book(thing)
    with pytest.raises(Gone):
        claims.confirm(claims=held)
    with pytest.raises(Gone):
        claims.move(claims=held, during=hours(20, 21))


def test_moving_obeys_the_same_constraint_and_does_not_collide_with_itself():
    thing = leaf()
    mine = book(thing, start=10, end=12)
    book(thing, start=14, end=16)
    claims.move(claims=mine, during=hours(11, 14))
    with pytest.raises(Taken):
        claims.move(claims=mine, during=hours(11, 14.5))
    claim = Claim.objects.get(id=mine[0])
    assert (claim.during.lower, claim.during.upper) == (at(11), at(14))


def test_what_is_not_there_can_not_be_taken():
    with pytest.raises(Missing):
        book(leaf(), 2**62)
    with pytest.raises(Missing):
        book()
    with pytest.raises(Missing):
        claims.confirm(claims=[2**62])


def test_the_database_refuses_a_second_claim_by_itself():
    thing = leaf()
    (booked,) = book(thing)
    claim = Claim.objects.get(id=booked)
    claim.pk = None
    with pytest.raises(IntegrityError, match="claims_never_twice"), transaction.atomic():
        claim.save()


@pytest.mark.django_db(transaction=True)
def test_the_history_says_who_and_why():
    thing = leaf()

    class Olga:
        pk = 7

    with act(Olga(), "book", reason="tests"):
        booked = book(thing)
    claims.release(claims=booked)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT e.state, c.metadata->>'actor', c.metadata->>'reason' FROM claims_claimevent e"
            " LEFT JOIN pghistory_context c ON c.id = e.pgh_context_id WHERE e.pgh_obj_id = %s ORDER BY e.pgh_id",
            booked,
        )
        assert cursor.fetchall() == [("confirmed", "7", "tests"), ("released", None, None)]


@pytest.mark.parametrize("source_type", ["x" * 61, "a\0b", "half of a sign \ud800"])
def test_what_can_not_be_stored_is_refused_in_words_and_the_caller_goes_on(source_type):
    thing = leaf()
    with transaction.atomic():
        with pytest.raises(Refused):
            claims.take(source_type=source_type, source_id=1, leaves=[thing], during=hours(1, 2))
        book(thing)


def test_who_names_no_list_of_things_takes_none_and_is_told_so_at_once():
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '5s'")
        with pytest.raises(Error, match="claims_missing"), transaction.atomic():
            cursor.execute("SELECT claims_take(NULL, now(), now() + interval '1 h', 'confirmed', NULL, 'x', 1)")
