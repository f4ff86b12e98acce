"""A cluster whose clock isn't ours: two hours behind, and minutes ahead. What ended is found, and only once."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from madang.engines.base import RunKey
from madang.engines.slurm import clocks
from madang.engines.slurm.clocks import Clocks
from madang.engines.slurm.handing import marks
from madang.engines.tests import clusters
from madang.engines.tests.clusters import SlurmRig
from madang.engines.tests.conftest import ON_SLURM

BEHIND, AHEAD = -7500, 900  # further back than a question to the accounting goes, and into what is our future


@pytest.fixture(scope="module", params=[BEHIND, AHEAD], ids=["behind", "ahead"])
def cluster_of_another_time(request):
    made, reason = clusters.wrong_clock()
    if made is None:
        pytest.skip(reason)
    made.tell(request.param)
    return made


@pytest.fixture
def rig(database, cluster_of_another_time, users):
    rig = SlurmRig(database, cluster_of_another_time, users)
    yield rig
    rig.clear()


@ON_SLURM
def test_what_ends_in_our_future_or_before_our_last_question_is_metered_once(rig):
    """A naive adapter asks for what ended between its last question and now, by its own clock."""
    jobs = [rig.submit(f"sleep {n}; exit {n}", gpus_per_node=n) for n in (1, 2)]
    rows = [rig.ended(job) for job in jobs]
    assert [row.exit_code for row in rows] == [1, 2]
    for gpus, row in zip((1, 2), rows, strict=True):
        took = (row.ended_at - row.started_at).total_seconds()
        assert gpus <= took <= gpus + 4
        assert row.gpu_seconds == gpus * took
        assert abs((row.ended_at - datetime.now(UTC)).total_seconds() - rig.cluster.ahead) < 60
        assert row.marked_at is None
    again = rig.new_engine()
    assert [row.key.job for row in again.usage(rig.cursor).rows].count(jobs[0]) == 1
    assert [row.key.job for row in rig.usage()] == jobs


@ON_SLURM
def test_a_job_that_ended_before_its_receipt_was_written_is_found_and_not_run_again(rig):
    """A naive adapter looks among what ended since it asked, by its own clock, finds nothing and asks again."""
    spec = rig.spec("echo once")
    first = rig.engine.submit(spec, 1)
    rig.until(lambda: rig.log(spec.job) == b"once\n")
    time.sleep(3)  # the accounting has heard of it
    with rig.connect() as conn:
        conn.execute("UPDATE slurm_send SET slurm_id = NULL, submit = NULL WHERE job = %s", [spec.job])
    rig.engine._queue = lambda *asked: []  # the controller has forgotten what ended
    assert rig.engine.submit(spec, 1) == first
    del rig.engine._queue
    assert rig.ended(spec.job).outcome == "completed"
    rig.until(rig.quiet)
    assert rig.log(spec.job) == b"once\n"


@ON_SLURM
def test_a_run_that_reached_its_limit_did_so_by_the_clock_of_its_controller(rig):
    """By the date of its marks it had ended before: a naive adapter takes the code that it left, and calls it a fault
    of the controller."""
    if rig.cluster.ahead < 0:
        pytest.skip("its marks are then later than its end, which nobody takes for an end before")
    job = rig.submit("trap 'exit 3' TERM; sleep 600 & wait", limit_s=60)
    row = rig.ended(job, seconds=150)
    assert (row.outcome, row.marked_at) == ("timed_out", None)


@ON_SLURM
def test_a_start_is_forecast_by_our_clock(rig):
    rig.submit("exec sleep 40", gpus_per_node=3)
    job = rig.submit("exit 0")
    starts = rig.until(lambda: rig.live(job) and rig.live(job).starts_at)
    assert 0 < (starts - datetime.now(UTC)).total_seconds() <= 120


@ON_SLURM
def test_health_names_the_clock_that_is_wrong_and_by_how_much(rig):
    rig.usage()
    (warning,) = [warn for warn in rig.engine.health().warnings if warn.code == "clocks"]
    who, said = warning.text.partition(": ")[2].rsplit(" ", 2)[0], warning.text.split()[-2]
    assert who == "controller"
    assert abs(int(said) - rig.cluster.ahead) <= 2


def test_marks_are_dated_by_the_disk_and_read_by_the_clock_of_the_controller(tmp_path):
    """The nodes write them on a file server whose clock is ten minutes behind."""
    key = RunKey(uuid4())
    folder = tmp_path / str(key.job) / "0" / "1"
    folder.mkdir(parents=True)
    now = time.time()
    for name, age in (("started.1.0", 30), ("alive.1.0", 5)):
        (folder / name).touch()
        os.utime(folder / name, (now - 600 - age,) * 2)
    naive = marks(tmp_path, key, 1)
    assert not naive.fresh
    left = marks(tmp_path, key, 1, Clocks(controller=60, marks=-600))
    assert left.fresh
    assert abs(left.started - (now + 60 - 30)) <= 2


def test_the_clock_of_the_local_machine_is_compared_with_the_databases(local_rig, monkeypatch):
    assert "clocks" not in {warn.code for warn in local_rig.engine.health().warnings}
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 90)
    assert "these clocks aren't the database's: this machine +90 s" in {
        warn.text for warn in local_rig.engine.health().warnings
    }


def test_clocks_that_are_a_second_apart_are_taken_for_one():
    assert clocks._plain(1.4) == 0
    assert Clocks(database=4, controller=-4, marks=1).apart == {"controller": -8}
    assert Clocks(database=-6).apart == {"controller": 6, "run folders": 6, "this machine": 6}
