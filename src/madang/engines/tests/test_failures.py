"""Whatever is killed: the end, the log and the usage of every run are true, and nothing runs twice."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import psycopg
import pytest

from madang.engines.base import InputFile, Rejected, RunKey, Unavailable
from madang.engines.local import LocalEngine, Sandbox, shim
from madang.engines.local.dispatcher import Dispatcher

LOOP = """
import psycopg, sys, threading
from pathlib import Path
from madang.engines.local import Dispatcher
database, runs, machine = sys.argv[1:]
Dispatcher(lambda: psycopg.connect(database), Path(runs), machine).run(threading.Event(), 0.05)
"""


@pytest.fixture
def rig(local_rig):
    return local_rig


def start_dispatcher(rig) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", LOOP, rig.database, str(rig.runs), rig.machine])


def wait(happened, seconds=15):
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def shim_of(rig, job) -> int:
    return json.loads((rig.folder(job) / "shim.json").read_text())["pid"]


def gone(pid: int) -> bool:
    return shim.ticks(pid) is None


def test_a_killed_dispatcher_leaves_the_job_running_and_the_next_one_reports_its_end(rig):
    first = start_dispatcher(rig)
    job = rig.submit("echo up; sleep 1; echo down; exit 6")
    later = rig.submit("echo later", gpus_per_node=3)
    wait(lambda: b"up" in rig.log(job))
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait(lambda: b"down" in rig.log(job))
    assert rig.live(job)
    second = start_dispatcher(rig)
    try:
        wait(lambda: len(rig.usage()) == 2)
    finally:
        second.terminate()
        second.wait()
    rows = {row.key.job: row for row in rig.usage()}
    assert (rows[job].outcome, rows[job].exit_code, rows[job].gpu_seconds) == ("failed", 6, 2)
    assert rig.log(job) == b"up\ndown\n"
    assert rows[later].outcome == "completed"
    assert not any(slot.busy for slot in rig.engine.health().slots)


def test_a_run_whose_shim_was_killed_is_lost_and_its_processes_are_dead(rig):
    job = rig.submit("echo up; while :; do date +%s%N > beat; sleep 0.05; done")
    rig.running(job)
    beat = rig.folder(job) / "work" / "beat"
    rig.until(beat.exists)
    os.kill(shim_of(rig, job), signal.SIGKILL)
    row = rig.ended(job)
    assert (row.outcome, row.exit_code) == ("lost", None)
    last = beat.read_text()
    time.sleep(0.3)
    assert beat.read_text() == last


def test_a_run_of_an_earlier_boot_is_lost_not_mistaken_for_a_process_of_now(rig):
    job = rig.submit("echo up; exec sleep 60")
    rig.running(job)
    path = rig.folder(job) / "shim.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "boot": "another"}))
    assert rig.ended(job).outcome == "lost"
    os.kill(said["pid"], signal.SIGTERM)
    wait(lambda: gone(said["pid"]))


@pytest.mark.parametrize("moment", ["claimed", "half_filled", "filled"])
def test_a_dispatcher_killed_before_the_start_is_continued_by_the_next(rig, moment):
    job = rig.submit("echo ran")
    conn = rig.dispatcher._ready()
    row = rig.dispatcher._claim(conn, "cpu")
    if moment == "half_filled":
        (rig.folder(job) / "work").mkdir(parents=True)
    if moment == "filled":
        rig.dispatcher._fill(conn, row, rig.folder(job))
    rig.dispatcher.close()
    rig.dispatcher = rig.new_dispatcher()
    assert rig.ended(job).outcome == "completed"
    assert rig.log(job) == b"ran\n"


def test_of_two_starters_of_one_run_one_wins(rig):
    job = rig.submit("echo ran; sleep 0.2")
    row = rig.dispatcher._claim(rig.dispatcher._ready(), "cpu")
    other = rig.new_dispatcher()
    for starter in (rig.dispatcher, other, rig.dispatcher):
        starter._start(rig.dispatcher._ready(), row)
    assert rig.ended(job).outcome == "completed"
    assert rig.log(job) == b"ran\n"
    assert next(iter(other._started.values())).wait() in (0, 17)


def test_a_start_that_died_with_an_empty_mark_is_lost(rig):
    job = rig.submit("echo ran")
    row = rig.dispatcher._claim(rig.dispatcher._ready(), "cpu")
    rig.dispatcher._fill(rig.dispatcher._ready(), row, rig.folder(job))
    mark = rig.folder(job) / "shim.json"
    mark.touch()
    rig.dispatcher.step()
    assert rig.live(job).state == "starting"
    os.utime(mark, (time.time() - 60,) * 2)
    assert rig.ended(job).outcome == "lost"


@pytest.fixture
def slow(tmp_path):
    """A file whose copy takes as long as the test wants: nobody writes to it yet."""
    path = tmp_path / "slow"
    os.mkfifo(path)
    return path


def writer(slow) -> int | None:
    """The other end, once somebody reads."""
    try:
        return os.open(slow, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


def copying(rig, slow, script="cat in/big", **more):
    """A run of which the input is being copied, and the end to write to."""
    job = rig.submit(script, files=(InputFile("first", b"1"), InputFile("in/big", source=slow)), **more)
    return job, rig.until(lambda: writer(slow))


def test_while_the_input_of_one_run_is_copied_others_start_and_are_cancelled(rig, slow):
    job, end = copying(rig, slow)
    other = rig.submit("echo up; exec sleep 60")
    rig.running(other)
    rig.engine.cancel(other)
    assert rig.ended(other).outcome == "cancelled"
    assert (rig.live(job).state, rig.live(job).started_at) == ("starting", None)
    os.write(end, b"all of it")
    os.close(end)
    assert rig.ended(job).outcome == "completed"
    assert rig.log(job) == b"all of it"


def test_the_time_of_a_run_begins_when_it_has_its_input(rig, slow):
    job, end = copying(rig, slow, limit_s=1)
    time.sleep(1.5)
    os.close(end)
    row = rig.ended(job)
    assert (row.outcome, row.gpu_seconds) == ("completed", 1)


def test_a_run_cancelled_while_its_input_is_copied_never_started_and_keeps_none_of_it(rig, slow):
    job, end = copying(rig, slow, "echo ran")
    os.write(end, b"half")
    rig.engine.cancel(job)
    row = rig.ended(job)
    os.close(end)
    assert (row.outcome, row.started_at, row.gpu_seconds) == ("cancelled", None, 0)
    assert row.reason == "cancelled before it started"
    assert (rig.log(job), rig.engine.files(RunKey(job))) == (b"", [])


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGKILL, "its process was gone and had not said how it ended"),
        (signal.SIGTERM, "the machine was stopping"),
    ],
)
def test_a_shim_killed_while_it_copies_is_a_run_that_is_lost_and_costs_nothing(rig, slow, number, reason):
    job, end = copying(rig, slow, "echo ran")
    os.kill(shim_of(rig, job), number)
    row = rig.ended(job)
    os.close(end)
    assert (row.outcome, row.reason, row.started_at, row.gpu_seconds) == ("lost", reason, None, 0)


def test_a_dispatcher_killed_while_an_input_is_copied_is_continued_by_the_next(rig, slow):
    first = start_dispatcher(rig)
    job = rig.submit("cat big", files=(InputFile("big", source=slow),))
    end = wait(lambda: writer(slow))
    first.send_signal(signal.SIGKILL)
    first.wait()
    rig.step()
    assert rig.live(job).state == "starting"
    os.write(end, b"all of it")
    os.close(end)
    assert rig.ended(job).outcome == "completed"
    assert rig.log(job) == b"all of it"


def test_an_input_that_vanished_before_it_was_copied_is_a_run_that_could_not_start(rig, slow, tmp_path):
    (tmp_path / "second").touch()
    files = (InputFile("first", source=slow), InputFile("second", source=tmp_path / "second"))
    job = rig.submit("echo ran", files=files)
    end = rig.until(lambda: writer(slow))
    (tmp_path / "second").unlink()
    os.close(end)
    row = rig.ended(job)
    assert (row.outcome, row.started_at, row.gpu_seconds) == ("failed", None, 0)
    assert row.reason == "could not start: No such file or directory"  # and not where
    assert rig.engine.files(RunKey(job)) == []


def test_what_is_still_to_be_copied_counts_as_taken_before_another_run_starts(rig, slow, tmp_path):
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 2 * shutil.disk_usage(tmp_path).free)  # a hole, which takes nothing
    rig.dispatcher.caps = replace(rig.caps, least_free=1)
    files = (InputFile("first", source=slow), InputFile("second", source=tmp_path / "large"))
    job = rig.submit("echo ran", files=files)
    end = rig.until(lambda: writer(slow))
    waits = rig.submit("echo ran")
    rig.step()
    assert rig.live(waits).state == "queued"
    rig.engine.cancel(job)
    assert rig.ended(job).outcome == "cancelled"
    os.close(end)
    assert rig.ended(waits).outcome == "completed"


def test_a_second_dispatcher_of_the_machine_stands_by(rig):
    rig.dispatcher.step()
    other = rig.new_dispatcher()
    with pytest.raises(Unavailable):
        other.step()
    rig.dispatcher.close()
    other.step()
    other.close()


def test_a_lost_database_connection_is_an_engine_that_does_not_answer(rig, tmp_path):
    job = rig.submit("echo up; sleep 0.3; exit 2")
    rig.running(job)
    with rig.connect() as conn:
        conn.execute("SELECT pg_terminate_backend(%s)", [rig.dispatcher._conn.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):
        rig.dispatcher.step()
    rig.dispatcher.close()
    assert rig.ended(job).exit_code == 2

    def nowhere():
        return psycopg.connect(f"host={tmp_path} dbname=none")

    with pytest.raises(Unavailable):
        LocalEngine(nowhere, rig.runs, rig.machine).poll()


def test_a_machine_that_stops_does_not_make_its_jobs_cancelled_or_completed(rig):
    job = rig.submit("echo up; exec sleep 60")
    rig.running(job)
    os.kill(shim_of(rig, job), signal.SIGTERM)
    row = rig.ended(job)
    assert (row.outcome, row.reason) == ("lost", "the machine was stopping")


def test_a_log_that_never_ends_is_cut_with_a_notice(rig):
    job = rig.submit("head -c 3000000 /dev/zero; exit 3")
    row = rig.ended(job)
    assert (row.exit_code, row.log_truncated) == (3, True)
    log = rig.log(job)
    assert log == bytes(200_000) + shim.NOTICE


def test_memory_beyond_what_was_asked_ends_the_run_as_such(rig):
    hungry = "#!/usr/bin/env python3\n"
    hungry += "import time\nx = bytearray(b'x') * (400 << 20)\ntime.sleep(30)\n"
    row = rig.ended(rig.submit(hungry, memory_mb=128))
    assert row.outcome == "out_of_memory"
    assert row.peak_memory_mb > 128


def test_a_file_larger_than_the_cap_cannot_be_written(rig):
    job = rig.submit("head -c 6000000 /dev/zero > big || exit 9")
    assert rig.ended(job).exit_code == 9
    assert [entry.size for entry in rig.engine.files(RunKey(job))] == [4 << 20]


def test_a_flood_of_processes_is_ended(make_rig):
    rig = make_rig()
    rig.dispatcher.caps = type(rig.caps)(grace_s=0.4, processes=40)
    row = rig.ended(rig.submit("for i in $(seq 60); do sleep 30 & done; echo up; wait"))
    assert row.outcome == "failed"


class NoSandbox(Sandbox):
    @property
    def probe(self):  # type: ignore[override]
        return "bubblewrap (bwrap) is not installed"


def test_without_a_sandbox_only_the_operators_own_jobs_run_and_say_so(make_rig):
    rig = make_rig(sandbox=NoSandbox())
    with pytest.raises(Rejected) as refused:
        rig.engine.submit(rig.spec("echo mine", trusted=False), 1)
    assert (refused.value.code, refused.value.field) == ("no_sandbox", "trusted")
    assert "bubblewrap" in refused.value.message
    job = rig.submit("setsid sleep 77.7 & echo mine $MADANG_JOB; env | grep -c DATABASE")
    assert rig.ended(job).exit_code == 1
    assert rig.log(job) == shim.WARNING + f"mine {job}\n0\n".encode()
    assert "no_sandbox" in {warn.code for warn in rig.engine.health().warnings}


def test_a_job_queued_while_there_was_a_sandbox_does_not_run_without_one(make_rig):
    rig = make_rig()
    if rig.sandbox.probe:
        pytest.skip(rig.sandbox.probe)
    job = rig.submit("echo mine")
    rig.sandbox = NoSandbox()
    rig.dispatcher = rig.new_dispatcher()
    row = rig.ended(job)
    assert row.outcome == "failed"
    assert "operator" in row.reason
    assert rig.log(job) == b""


def test_dispatcher_stops_when_told(rig):
    stop = threading.Event()
    thread = threading.Thread(target=Dispatcher.run, args=(rig.dispatcher, stop, 0.02))
    thread.start()
    job = rig.submit("echo hi")
    wait(lambda: rig.usage())
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    assert rig.log(job) == b"hi\n"
