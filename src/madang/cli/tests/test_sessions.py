"""Interactive sessions from the command line, against a real server."""

from __future__ import annotations

import io

import pytest

from madang.facilities.compute import actions
from madang.facilities.compute.models import Session
from madang.facilities.compute.tests import make
from madang.jobs.tests import make as jobs

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_session_is_started_looked_at_and_ended(world):
    kind = make.kind(code="lab", most_gpus=2, longest_s=7200, idle_s=1800)
    assert [row["code"] for row in world.type.json("session", "kinds")] == ["lab"]
    actions.add_file(
        jobs.holder(world.allocation), grant=world.allocation.grant, path="a.csv", content=io.BytesIO(b"x"), size=1
    )
    started = world.type("session", "start", "--gpus", "2", "--time", "00:10:00", "--use", "a.csv")
    session = Session.objects.select_related("job").get()
    assert [entry[0] for entry in session.job.inputs] == ["a.csv"]
    uuid = str(session.job.uuid)
    assert (started.exit_code, session.kind, session.job.gpus) == (0, kind, 2)
    assert started.stdout.endswith(f"/compute/sessions/{uuid}/\n")
    assert "0.33 GPU-hours held" in started.stderr
    assert jobs.balance(world.allocation)[0] == 1200
    make.runs(session)
    assert world.type.json("session", "show", uuid[:8])["state"] == "ready"
    assert "jobs" not in world.type("session", "list").stdout
    assert [row["uuid"] for row in world.type.json("session", "list", "--live")] == [uuid]
    ended = world.type("session", "end", uuid[:8])
    assert (ended.exit_code, ended.stdout) == (0, f"{uuid} is being ended\n")
    assert world.type.json("session", "list")[0]["state"] == "ready"  # until its engine says so


def test_what_cant_be_started_says_why_and_leaves_nothing(world):
    none = world.type("session", "start")
    assert (none.exit_code, "this site offers none" in none.stderr) == (2, True)
    make.kind(code="lab", most_gpus=1)
    too_many = world.type("session", "start", "lab", "--gpus", "2")
    assert (too_many.exit_code, "at most 1 GPU" in too_many.stderr) == (1, True)
    assert world.type("session", "start", "other").exit_code == 1
    assert world.type("session", "show", "zz").exit_code == 2
    assert world.type("session", "end", "abcd1234").exit_code == 4
    assert Session.objects.count() == 0
