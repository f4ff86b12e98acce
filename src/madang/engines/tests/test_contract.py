"""What every engine keeps, named C1 … C17 as in the notes on compute."""

from __future__ import annotations

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from madang.engines.base import START, Conflict, Diff, InputFile, Limits, Maintenance, Outcome, Rejected, RunKey


@pytest.mark.parametrize(
    ("script", "code", "outcome"),
    [("exit 0", 0, "completed"), ("exit 5", 5, "failed"), ("kill -SEGV $$", 139, "failed")],
)
def test_c1_the_exit_code_and_the_log_are_the_jobs_own(rig, script, code, outcome):
    job = rig.submit(f"printf 'a\\001\\377b'; echo err >&2; {script}")
    row = rig.ended(job)
    assert (row.outcome, row.exit_code, row.gpus, row.declared) == (outcome, code, 1, rig.declared)
    assert rig.log(job) == b"a\x01\xffberr\n"
    assert rig.engine.log(RunKey(job), 2, 2) == b"\xffb"
    assert row.started_at <= row.ended_at
    assert row.gpu_seconds == math.ceil((row.ended_at - row.started_at).total_seconds())


def test_c2_jobs_get_disjoint_slots_and_the_third_waits(rig):
    up = "echo up $CUDA_VISIBLE_DEVICES; exec sleep 60"
    first, second, third = (rig.submit(up, gpus_per_node=n) for n in (1, 2, 1))
    small = rig.submit(up, priority=-1)
    assert [rig.slots_of(job) for job in (first, second)] == [(0,), (1, 2)]
    rig.until(lambda: (run := rig.live(third)) and (run.state, run.reason) == ("queued", "Resources"))
    rig.until(lambda: rig.live(small).reason == "Priority")
    rig.engine.cancel(first)
    assert rig.slots_of(third) == (0,)


def test_c2_nothing_overtakes_the_head_of_the_queue(rig):
    first = rig.submit("echo up; exec sleep 60")
    rig.running(first)
    big = rig.submit("exit 0", gpus_per_node=3)
    small = rig.submit("exit 0")
    for _ in range(5):
        rig.step()
    assert (rig.live(big).state, rig.live(small).state) == ("queued", "queued")
    rig.engine.cancel(first)
    rig.ended(small)
    assert [row.key.job for row in rig.usage()] == [first, big, small]


def test_c3_the_same_job_from_eight_threads_is_one_run(rig):
    spec = rig.spec("echo once")
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda _: rig.engine.submit(spec, 1), range(8)))
    assert len(set(receipts)) == 1
    rig.ended(spec.job)
    assert rig.engine.submit(spec, 1) == receipts[0]
    rig.step()
    assert len(rig.usage()) == 1
    assert rig.log(spec.job) == b"once\n"


def test_c4_the_same_job_with_other_content_is_a_conflict(rig):
    given = {"files": (InputFile("a", b"1"),), "environment": {"A": "1"}, "argv": ("1",)}
    job = rig.submit("exec sleep 20", **given)
    for change in (
        {"script": "#!/bin/sh\necho other"},
        {"files": (InputFile("a", b"2"),)},
        {"limit_s": 90},
        {"environment": {"A": "2"}},
        {"argv": ("2",)},
    ):
        with pytest.raises(Conflict):
            rig.engine.submit(rig.spec(**{"job": job, "script": "exec sleep 20", **given, **change}), 1)
    assert [run.key for run in rig.engine.poll().runs] == [RunKey(job)]


def test_c4_a_second_attempt_waits_for_the_end_of_the_first(rig):
    job = rig.submit("exit 3")
    with pytest.raises(Conflict):
        rig.engine.submit(rig.spec("exit 0", job=job), 2)
    rig.ended(job)
    rig.engine.submit(rig.spec("exit 0", job=job), 2)
    rig.until(lambda: len(rig.usage()) == 2)
    assert [(row.key, row.exit_code) for row in rig.usage()] == [(RunKey(job, 0, 1), 3), (RunKey(job, 0, 2), 0)]


def test_c5_cancelling_works_in_every_state_and_kills_grandchildren(rig):
    rig.engine.cancel(uuid4())
    busy = rig.submit(
        "setsid sh -c 'trap \"\" TERM HUP; while :; do date +%s%N > beat; sleep 0.05; done' & echo up; wait"
    )
    rig.running(busy)
    queued = rig.submit("echo never", gpus_per_node=3)
    rig.engine.cancel(queued)
    row = rig.ended(queued)
    assert (row.outcome, row.gpu_seconds, row.started_at) == ("cancelled", 0, None)
    beat = rig.folder(busy) / "work" / "beat"
    rig.until(beat.exists)
    rig.engine.cancel(busy)
    row = rig.ended(busy)
    assert row.outcome == "cancelled"
    assert row.gpu_seconds >= 1
    last = beat.read_text()
    time.sleep(0.3)
    assert beat.read_text() == last
    rig.engine.cancel(busy)
    assert rig.ended(busy) == row


def test_c16_a_drained_node_finishes_what_runs_starts_nothing_more_and_takes_jobs_again(rig):
    busy = rig.submit("echo up; sleep 3")
    rig.running(busy)
    node = next(n for n in rig.engine.health().nodes if n.used)
    nodes = [n.name for n in rig.engine.health().nodes if n.gpu_type == node.gpu_type]
    assert node.state in ("mixed", "full")
    try:
        for name in nodes:
            rig.engine.drain(name, "a fan,\nis loud")
        rig.until(lambda: next(n for n in rig.engine.health().nodes if n.name == node.name).state == "draining")
        waits = rig.submit("echo up")
        assert rig.ended(busy).outcome == "completed"
        seen = rig.until(lambda: next((n for n in rig.engine.health().nodes if n.state == "drained"), None))
        assert not seen.takes_jobs
        assert not any(s.slots - s.closed for s in rig.engine.health().slots if s.gpu_type == node.gpu_type)
        assert seen.reason.replace("\n", " ") == "a fan, is loud"
        live = rig.until(lambda: (run := rig.live(waits)) and run.reason == "NodesDrained" and run)
        assert live.state == "queued"
    finally:
        for name in nodes:
            rig.engine.resume(name)
    assert rig.ended(waits).outcome == "completed"
    with pytest.raises(Rejected):
        rig.engine.drain("ALL [1-9]", "why")


def in_(seconds):
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_c17_what_would_run_into_a_maintenance_waits_and_what_ends_before_it_starts(rig):
    window = Maintenance("7", in_(100), in_(3600), "new fans")
    try:
        assert rig.engine.maintain([window]) == Diff(missing=("7",), applied=True)
        assert rig.engine.maintain([window]) == Diff(applied=True)
        long, short = rig.submit("exit 0", limit_s=600), rig.submit("exit 0", limit_s=60)
        assert rig.ended(short).outcome == "completed"
        assert rig.until(lambda: (run := rig.live(long)) and run.reason == "Maintenance" and run).state == "queued"
        later = replace(window, starts_at=in_(3600), ends_at=in_(7200))
        assert rig.engine.maintain([later]) == Diff(changed=("7",), applied=True)
        assert rig.ended(long).outcome == "completed"
    finally:
        rig.engine.maintain([])


def test_c17_in_a_maintenance_nothing_starts_what_runs_goes_on_and_when_it_is_withdrawn_jobs_start(rig):
    busy = rig.submit("echo up; sleep 4")
    rig.running(busy)
    try:
        assert rig.engine.maintain([Maintenance("8", in_(-60), in_(3600), "new fans")]).applied
        rig.until(lambda: {n.state for n in rig.engine.health().nodes} == {"maintenance"})
        assert not any(node.takes_jobs for node in rig.engine.health().nodes)
        waits = rig.submit("exit 0")
        rig.until(lambda: (run := rig.live(waits)) and run.reason == "Maintenance")
        assert rig.ended(busy).outcome == "completed"
        assert rig.live(waits).state == "queued"
        assert rig.engine.maintain([Maintenance("8", in_(-60), in_(7200), "new fans")]).changed == ("8",)
        assert rig.engine.maintain([]) == Diff(extra=("8",), applied=True)
    finally:
        rig.engine.maintain([])
    assert rig.ended(waits).outcome == "completed"


@pytest.mark.parametrize(
    "change",
    [
        *({"key": "a b"}, {"nodes": ("n[1-9]",)}, {"nodes": ("all",)}, {"partition": "-x"}),
        *({"nodes": ("n1",), "partition": "p"}, {}),
    ],
)
def test_c17_no_engine_is_given_a_maintenance_that_is_none(rig, change):
    window = Maintenance("9", in_(60), in_(120 if change else 30))
    with pytest.raises(Rejected):
        rig.engine.maintain([replace(window, **change)])
    assert rig.engine.maintain([]) == Diff(applied=True)


def test_a_maintenance_of_one_partition_leaves_the_others_alone(local_rig):
    rig = local_rig
    rig.engine.maintain([Maintenance("7", in_(-5), in_(60), "new fans", partition="h100")])
    waits, goes = rig.submit(partition="h100"), rig.submit(partition="a100")
    assert rig.ended(goes).outcome == "completed"
    assert (rig.live(waits).reason, rig.engine.health().nodes[0].state) == ("Maintenance", "idle")
    rig.engine.maintain([Maintenance("7", in_(-5), in_(60), "new fans", nodes=(rig.machine,))])
    also = rig.submit(partition="a100")
    rig.step()
    assert rig.live(also).reason == "Maintenance"
    with pytest.raises(Rejected):
        rig.engine.maintain([Maintenance("8", in_(1), in_(60), nodes=("another",))])


def test_c6_the_limit_warns_then_ends_then_kills(local_rig):
    rig = local_rig  # Slurm counts limits in minutes: its own test waits for one
    script = "trap 'echo warned' USR1; trap 'echo ended' TERM; echo up; while :; do sleep 0.05; done"
    job = rig.submit(script, limit_s=2, warn_s=60)
    row = rig.ended(job)
    assert (row.outcome, row.gpu_seconds) == ("timed_out", 2)
    said = [word for word in rig.log(job).split() if word != b"Terminated"]  # that is sh on its own child
    assert said == [b"up", b"warned", b"ended"]
    assert row.exit_code == 137
    assert 2 <= (row.ended_at - row.started_at).total_seconds() < 4


def test_c6_the_warning_does_not_kill_a_job_that_knows_nothing_of_it(local_rig):
    rig = local_rig
    job = rig.submit("sleep 1.5; echo done", limit_s=2)
    assert rig.ended(job).outcome == "completed"


def test_c8_a_new_dispatcher_finds_the_jobs_of_the_old_one(local_rig):
    rig = local_rig
    job = rig.submit("echo up; sleep 0.5; echo down; exit 4")
    rig.running(job)
    rig.dispatcher.close()
    rig.dispatcher = rig.new_dispatcher()
    row = rig.ended(job)
    assert (row.outcome, row.exit_code, rig.log(job)) == ("failed", 4, b"up\ndown\n")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a\nb"},
        {"name": "a\u202eb"},
        {"name": "x" * 101},
        {"account": "a|b"},
        {"budget": "$(id)"},
        {"partition": "-x"},
        {"gpu_type": "cpu;true"},
        {"script": "#!/bin/sh\n\0"},
        {"script": "#!/bin/sh\r\necho"},
        {"script": "#!/bin/sh\n" + "x" * (1 << 20)},
        {"argv": ("a\0b",)},
        {"environment": {"A=B": "1"}},
        {"environment": {"MADANG_JOB": "1"}},
        {"environment": {"A": "\0"}},
        {"environment": {"A": "\ud800"}},
        {"files": (InputFile("../a", b""),)},
        {"files": (InputFile("/a", b""),)},
        {"files": (InputFile("a\nb", b""),)},
        {"files": (InputFile("a/./b", b""),)},
        {"files": (InputFile("a", b""), InputFile("a/b", b""))},
        {"files": (InputFile("a/b", b""), InputFile("a", b""))},
        {"files": (InputFile("x" * 101, b""),)},
        {"files": (InputFile("a"),)},
        {"limit_s": 0},
        {"limit_s": 10**9},
        {"gpus_per_node": 4},
        {"nodes": 2},
        {"memory_mb": 0},
    ],
)
def test_c12_what_no_engine_may_be_given_is_refused_and_leaves_nothing(rig, change):
    with pytest.raises(Rejected) as refused:
        rig.engine.submit(rig.spec(**{"script": "echo", **change}), 1)
    assert refused.value.field == next(iter(change))
    assert rig.engine.poll().runs == ()


def test_c12_odd_text_stays_text(rig):
    odd = ["a\nb", "|;$(id)`id`", "--unshare-net", "'\"\\", "#SBATCH --nodes=9", "\u202e한글 🎛"]
    spec = rig.spec(
        '#!/bin/sh\n#SBATCH --nodes=9\nprintf "%s\\0" "$@" "$ODD" "$(cat "in put/한글.txt")"\n',
        argv=tuple(odd),
        environment={"ODD": odd[0] + odd[1]},
        files=(InputFile("in put/한글.txt", b"--bind / /"),),
        name="$(touch x); 한글 --help",
    )
    rig.engine.submit(spec, 1)
    rig.ended(spec.job)
    assert rig.log(spec.job).decode().split("\0")[:-1] == [*odd, odd[0] + odd[1], "--bind / /"]
    assert len(rig.usage()) == 1


def test_c13_nothing_of_our_own_environment_reaches_the_job(rig, monkeypatch):
    monkeypatch.setenv("DATABASE_PASSWORD_OF_THE_SITE", "hunter2")
    job = rig.submit("env -0", environment={"MINE": "yes"})
    rig.ended(job)
    given = dict(item.split("=", 1) for item in rig.log(job).decode().split("\0") if "=" in item)
    mine = {name for name in given if not name.startswith("MADANG_")}
    mine = {name for name in mine if not name.startswith("SLURM")}
    usual = {"PATH", "HOME", "LANG", "TMPDIR", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "MINE", "PWD", "_"}
    assert mine <= usual | {"OLDPWD", "SHLVL"}
    assert "hunter2" not in str(given)
    assert given["MINE"] == "yes"
    assert given["MADANG_JOB"] == str(job)
    assert given["CUDA_VISIBLE_DEVICES"] == ("" if rig.declared else "0")


def test_c10_an_array_is_one_submission_with_so_many_at_once(rig):
    job = rig.submit('echo "$MADANG_TASK/$MADANG_TASKS"; sleep 0.3', tasks=7, parallel=2)
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, sum(run.state != "queued" and not run.reason for run in rig.engine.poll().runs))
        return len(rig.usage()) == 7

    rig.until(done)
    assert most == 2
    assert sorted(row.key.task for row in rig.usage()) == list(range(7))
    assert [rig.log(job, task) for task in (0, 6)] == [b"0/7\n", b"6/7\n"]


def test_c11_usage_is_the_same_wherever_it_is_cut(rig):
    rig.submit("exit $((MADANG_TASK % 2))", tasks=5)
    rig.until(lambda: len(rig.usage()) == 5)
    whole = rig.usage()
    for size in (1, 2, 4, 5):
        rows, cursor, more = [], getattr(rig, "cursor", START), True
        while more:
            page = rig.engine.usage(cursor, size)
            rows += page.rows
            cursor, more = page.next, page.more
        assert rows == whole
        assert rig.engine.usage(cursor).rows == ()
    with pytest.raises(Rejected):
        rig.engine.usage("1; DROP TABLE engine_run")


def test_runs_of_a_closed_budget_wait_and_hold_up_nobody(local_rig):
    rig = local_rig
    closed = [Limits("acc", "g-1", open=False)]
    assert rig.engine.sync(closed, apply=False).missing == ("g-1",)
    assert rig.engine.sync(closed, apply=True).applied
    assert rig.engine.sync(closed, apply=True).missing == ()
    waits, goes = rig.submit(budget="g-1"), rig.submit(budget="g-2")
    rig.ended(goes)
    assert rig.live(waits).reason == "BudgetClosed"
    assert rig.engine.sync([Limits("acc", "g-1")], apply=True).changed == ("g-1",)
    assert rig.ended(waits).outcome == Outcome.COMPLETED


def test_runs_wait_while_the_disk_is_nearly_full_and_the_operator_is_told(local_rig):
    rig = local_rig
    rig.engine.least_free = 1 << 62
    rig.dispatcher.caps = replace(rig.caps, least_free=1 << 62)
    waits = rig.submit()
    assert rig.dispatcher.step() == 0
    assert rig.live(waits).reason == "DiskFull"
    assert "disk_full" in [warning.code for warning in rig.engine.health().warnings]
    rig.engine.least_free = 0
    rig.dispatcher.caps = rig.caps
    assert "disk_full" not in [warning.code for warning in rig.engine.health().warnings]
    assert rig.ended(waits).outcome == Outcome.COMPLETED


def test_the_work_folder_has_what_was_given_and_gives_back_what_was_written(rig, tmp_path):
    (tmp_path / "big").write_bytes(b"from disk")
    files = (InputFile("train.py", b"print(1)"), InputFile("data/big", source=tmp_path / "big"))
    job = rig.submit("cat train.py data/big; mkdir out; echo hi > out/model; rm data/big", files=files)
    assert rig.ended(job).outcome == "completed"
    assert rig.log(job) == b"print(1)from disk"
    assert [entry.path for entry in rig.engine.files(RunKey(job))] == ["out/model", "train.py"]
    with rig.engine.open_file(RunKey(job), "out/model") as file:
        assert file.read() == b"hi\n"
    assert (tmp_path / "big").read_bytes() == b"from disk"


def test_a_job_that_cannot_start_has_failed_and_costs_nothing(local_rig, tmp_path):
    rig = local_rig
    job = rig.submit(files=(InputFile("a", source=tmp_path / "nowhere"),))
    row = rig.ended(job)
    assert (row.outcome, row.started_at, row.gpu_seconds) == ("failed", None, 0)
    assert row.reason == "could not start: No such file or directory"  # and not where
    assert not any(slot.busy for slot in rig.engine.health().slots)


def test_health_tells_of_slots_and_of_a_dispatcher_that_is_not_there(local_rig):
    rig = local_rig
    assert "no_dispatcher" in {warn.code for warn in rig.engine.health().warnings}
    rig.running(rig.submit("echo up; exec sleep 60"))
    health = rig.engine.health()
    assert health.reachable
    assert health.lag_s < 5
    assert [(s.gpu_type, s.slots, s.busy, s.declared, s.queued) for s in health.slots] == [("cpu", 3, 1, True, 0)]
    codes = {warn.code for warn in health.warnings}
    assert "declared" in codes
    assert ("root" in codes) == (os.geteuid() == 0)
