from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.conf import settings
from django.db import Error, connection, models, transaction
from django.test.utils import isolate_apps

from madang.workflow.errors import Missing, NotAllowed, Refused, Stale
from madang.workflow.log import act, note, read_of
from madang.workflow.machine import Machine, state_check
from madang.workflow.models import LogLine
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
Door = models.TextChoices("Door", "OPEN CLOSED BRICKED")
MOVES = Machine(
    Door,
    (Door.OPEN, "close", Door.CLOSED),
    (Door.CLOSED, "open", Door.OPEN),
    ([Door.OPEN, Door.CLOSED], "brick up", Door.BRICKED),
)


class Somebody(SimpleNamespace):
    def __str__(self) -> str:
        return str(self.name)


OLGA = Somebody(pk=7, name="Olga")


@pytest.fixture
def door():
    with isolate_apps("madang.workflow"):

        class TestDoor(models.Model):
            state = models.CharField(max_length=10, choices=Door.choices, default=Door.OPEN)

            class Meta:
                app_label = "workflow"
                constraints = [state_check(Door, "test_door_state")]

        with connection.schema_editor() as editor:
            editor.create_model(TestDoor)
        yield TestDoor.objects.create()


def test_a_move_of_the_table_is_written(door):
    MOVES.move(door, "close")
    assert type(door).objects.get().state == Door.CLOSED
    assert MOVES.verbs(door.state) == ["open", "brick up"]


def test_a_move_that_the_table_does_not_have_is_stale_and_changes_nothing(door):
    with pytest.raises(Stale) as refused:
        MOVES.move(door, "open")
    assert refused.value.status == 409
    assert type(door).objects.get().state == Door.OPEN


def test_a_move_goes_from_the_state_that_is_stored_and_not_from_that_of_an_old_page(door):
    old_page = type(door).objects.get()
    MOVES.move(door, "brick up")
    with pytest.raises(Stale):
        MOVES.move(old_page, "close")
    assert type(door).objects.get().state == Door.BRICKED


def test_the_database_refuses_a_state_that_there_is_not(door):
    with pytest.raises(Error, match="test_door_state"), transaction.atomic():
        type(door).objects.update(state="AJAR")


def test_a_verb_leaves_one_line_that_says_who_what_and_why(door):
    with act(OLGA, "close", on=door, reason="draft", by="hand") as said:
        MOVES.move(door, "close")
        said["twice"] = True
    line = LogLine.objects.get()
    assert (line.actor_id, line.actor_name, line.verb, line.kind, line.ref) == (
        7,
        "Olga",
        "close",
        "workflow.testdoor",
        1,
    )
    assert (line.before, line.after, line.reason) == ("OPEN", "CLOSED", "draft")
    assert line.detail == {"by": "hand", "twice": True}


def test_a_verb_that_makes_its_row_names_it_afterwards(door):
    with act(None, "build") as said:
        made = said["on"] = type(door).objects.create()
    line = LogLine.objects.get()
    assert (line.actor_id, line.ref, line.after) == (None, made.pk, "OPEN")


def test_a_verb_that_finds_itself_done_already_leaves_no_second_line(door):
    for again in (False, True, True):
        with act(OLGA, "close", on=door) as said:
            said["again"] = again
    assert LogLine.objects.get(verb="close").detail == {}


def test_a_verb_that_fails_leaves_neither_change_nor_line(door):
    def fail() -> None:
        with act(OLGA, "close", on=door):
            MOVES.move(door, "close")
            raise Refused("no")

    with pytest.raises(Refused):
        fail()
    assert type(door).objects.get().state == Door.OPEN
    assert LogLine.objects.count() == 0


def test_notes_and_reading_are_recorded_too(door):
    note(None, "looked", on=door)
    read_of(OLGA, door, "contact")
    assert list(LogLine.objects.order_by("id").values_list("verb", "detail")) == [
        ("looked", {}),
        ("read", {"what": "contact"}),
    ]


@pytest.mark.parametrize("write", ["UPDATE workflow_logline SET verb = 'x'", "DELETE FROM workflow_logline"])
def test_not_even_the_owner_can_change_the_log(write):
    note(OLGA, "looked")
    with pytest.raises(Error, match="Cannot"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(write)


def test_no_session_can_have_a_trigger_passed_over():
    note(OLGA, "looked")
    with connection.cursor() as cursor:
        cursor.execute("SELECT array_agg(tgname)::text FROM pg_trigger WHERE tgrelid = 'workflow_logline'::regclass")
        cursor.execute("SELECT set_config('pgtrigger.ignore', %s, true)", cursor.fetchone())
        with pytest.raises(Error, match="Cannot"), transaction.atomic():
            cursor.execute("UPDATE workflow_logline SET verb = 'x'")


@pytest.mark.parametrize(
    "write", ["UPDATE workflow_logline SET verb = 'x'", "DELETE FROM workflow_logline", "TRUNCATE workflow_logline"]
)
def test_the_application_may_add_to_the_log_and_no_more(write):
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {settings.APPLICATION_ROLE}")
        note(OLGA, "looked")
        with pytest.raises(Error, match="permission denied"), transaction.atomic():
            cursor.execute(write)
        cursor.execute("RESET ROLE")


def test_the_moment_is_that_of_the_database_and_goes_on_within_a_transaction():
    with transaction.atomic():
        assert now() < now()


def test_a_refusal_carries_its_field_and_status():
    refused = Refused("too long", field="title", errors={"end": "before the start"})
    assert (str(refused), refused.errors) == ("too long", {"title": "too long", "end": "before the start"})
    assert [kind.status for kind in (Refused, Stale, NotAllowed, Missing)] == [422, 409, 403, 404]
