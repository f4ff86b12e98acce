"""What only a cluster has: bare sbatch, arrays, several nodes, budgets, and people who edit their own jobs."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from madang.engines.base import HELD_BACK, Diff, JobSpec, Limits, Maintenance, Rejected, RunKey, Unavailable
from madang.engines.slurm import Breaker, Commands, SlurmEngine, accounts, answers, nodes, records, reservations, watch
from madang.engines.slurm.handing import Marks
from madang.engines.tests.conftest import ON_SLURM

SLEEP = "#!/bin/bash\nsleep 20\n"


@pytest.fixture
def rig(slurm_rig):
    return slurm_rig


def bare(rig, *more, user=0, script="#!/bin/bash\ntrue\n"):
    """What somebody submits by hand; the id that Slurm gave."""
    given = [f"--account={rig.account}", f"--qos={rig.budget}", "--partition=small", "--nodes=1", "--time=1"]
    return int(
        rig.as_user(
            *("sbatch", "--parsable", *given, "--gpus-per-node=small:1", "--mem=100M", "--output=/dev/null", *more),
            user=user,
            stdin=script,
        )
    )


@ON_SLURM
def test_a_job_by_bare_sbatch_is_reported_with_its_budget_and_its_user_and_without_a_job(rig):
    bare(rig, "--comment=x\nmadang:1|2;3\n7", script="#!/bin/bash\nsleep 1\n")
    row = rig.until(rig.usage)[0]
    assert (row.bare, row.account, row.budget, row.posix_user) == (True, rig.account, rig.budget, rig.users[0])
    assert (row.outcome, row.gpus, row.gpu_type) == ("completed", 1, "small")
    assert rig.usage() == [row]  # the same name for it, however often asked


@ON_SLURM
def test_f10_a_comment_that_names_another_tenants_job_is_charged_to_who_wrote_it(rig):
    rig.engine.sync([rig.limits(), Limits("a-2", "b-2", members=rig.users[1:], partitions=("small",))], apply=True)
    mine = rig.submit("exec sleep 20")
    forged = bare(
        rig, f"--comment=madang:{mine}.1.1", "--account=a-2", "--qos=b-2", user=1, script="#!/bin/bash\nsleep 1\n"
    )
    before = rig.cursor

    def theirs():
        rows = rig.engine.usage(before).rows
        return [row for row in rows if row.engine_run and row.posix_user == rig.users[1]]

    row = rig.until(theirs)[0]
    assert (row.bare, row.budget, row.key.job == mine) == (True, "b-2", False)
    assert rig.live(mine).state == "running"
    assert forged
    rig.engine.cancel(mine)
    assert rig.ended(mine).outcome == "cancelled"


@ON_SLURM
def test_c3_a_submission_that_lost_its_answer_is_found_and_not_sent_again(rig):
    """Killed between sbatch and the receipt: a naive adapter submits a second job."""
    spec = rig.spec("exec sleep 20")
    first = rig.engine.submit(spec, 1)
    with rig.connect() as conn:
        conn.execute("UPDATE slurm_send SET slurm_id = NULL, submit = NULL WHERE job = %s", [spec.job])
    assert rig.engine.submit(spec, 1) == first
    assert [run.key.job for run in rig.engine.poll().runs] == [spec.job]


@ON_SLURM
def test_c3_a_submission_of_which_nothing_arrived_is_sent_again_and_an_older_copy_never_starts(rig):
    spec = rig.spec("echo once; sleep 1")
    blocked = rig.submit("exec sleep 20", gpus_per_node=3)  # so that both copies wait
    rig.engine.submit(spec, 1)
    with rig.connect() as conn:  # as if the first one had gone out after we had looked for it
        conn.execute("UPDATE slurm_send SET slurm_id = NULL, submit = NULL WHERE job = %s", [spec.job])
    unseen = rig.new_engine()
    unseen._find = lambda *asked: None  # it looks a moment too early
    unseen.submit(spec, 1)
    assert len({run.key for run in rig.engine.poll().runs if run.key.job == spec.job}) == 1
    rig.engine.cancel(blocked)
    rig.ended(spec.job)
    rig.until(rig.quiet)
    assert rig.log(spec.job) == b"once\n"
    assert [row.exit_code for row in rig.usage() if row.key.job == spec.job] == [0]


@ON_SLURM
def test_f1_a_job_that_slurm_forgot_is_started_again_and_one_that_may_run_is_left(rig):
    """The controller was killed before it saved the job: nobody knows it, and nothing has started."""
    rig.engine.confirmed_s = 0
    spec = rig.spec("echo ran")
    rig.engine.submit(spec, 1)
    rig.ended(spec.job)
    with rig.connect() as conn:  # as if that id were of a job that was never saved: nothing of it is anywhere
        conn.execute("DELETE FROM slurm_run WHERE job = %s", [spec.job])
        conn.execute("UPDATE slurm_job SET open = true WHERE job = %s", [spec.job])
        conn.execute("UPDATE slurm_send SET slurm_id = 900000, submit = 1 WHERE job = %s", [spec.job])
    started = next(rig.folder(spec.job).glob("started.1.*"))
    alive = next(rig.folder(spec.job).glob("alive.1.*"))
    next(rig.folder(spec.job).glob("ended.1.*")).unlink()
    rig.engine._find = lambda *asked: None
    assert rig.engine.submit(spec, 1).engine_id.endswith(":900000")  # alive a moment ago: may run
    started.unlink()
    alive.unlink()
    assert not rig.engine.submit(spec, 1).engine_id.endswith(":900000")
    rig.until(lambda: rig.log(spec.job) == b"ran\nran\n")


@ON_SLURM
def test_f5_a_requeue_is_two_runs_of_one_job(rig):
    """Without `sacct -D` the first of them is not to be seen."""
    job = rig.submit("echo up; sleep 3", requeue=True)
    rig.running(job)
    number = rig.commands.read("squeue", "-h", "-o", "%A").strip()
    rig.cluster.command("scontrol", "requeue", number)
    row = rig.ended(job, seconds=60)
    rows = [r for r in rig.usage() if r.key.job == job]
    assert [(r.key.restart, r.outcome, r.goes_on) for r in rows] == [(0, "preempted", True), (1, "completed", False)]
    assert row.key == RunKey(job, 0, 1, 1)
    said = rig.commands.read("sacct", "-n", "-P", "-X", "-j", number, "--format=State").split()
    assert len(said) == 1


@ON_SLURM
def test_tasks_that_wait_are_held_back_and_let_go_one_by_one_and_what_runs_goes_on(rig):
    blocker = rig.submit("echo up; sleep 5", gpus_per_node=3)
    rig.running(blocker)
    job = rig.submit("exit 0", tasks=4)
    rig.engine.hold_back(job, [1, 3])
    rig.engine.hold_back(blocker, [0])

    def kept():
        return {run.key.task for run in rig.engine.poll().runs if run.key.job == job and run.reason == HELD_BACK}

    rig.until(lambda: kept() == {1, 3})
    assert [rig.ended(job, task).outcome for task in (0, 2)] == ["completed"] * 2
    assert rig.ended(blocker).outcome == "completed"
    assert kept() == {1, 3}
    rig.engine.let_go(job, [1, 3])
    assert [rig.ended(job, task).outcome for task in (1, 3)] == ["completed"] * 2
    rig.engine.let_go(job, [0, 1])  # nothing waits any more


@ON_SLURM
def test_f6_while_the_controller_is_away_nothing_is_decided_and_then_each_job_runs_once(rig):
    running = rig.submit("echo up; sleep 4; exit 3")
    rig.running(running)
    time.sleep(6)  # by now the controller has saved it
    rig.cluster.stop("slurm/slurmctld.pid", 9)
    specs = [rig.spec("echo once") for _ in range(3)]
    try:
        for spec in specs:
            with pytest.raises(Unavailable):
                rig.engine.submit(spec, 1)
        with pytest.raises(Unavailable):
            rig.engine.poll()
        assert not rig.engine.health().reachable
    finally:
        rig.cluster.start_controller()
    for spec in specs:
        rig.until(lambda spec=spec: submitted(rig, spec))
    for spec in specs:
        rig.ended(spec.job, seconds=60)
        assert rig.log(spec.job) == b"once\n"
    assert rig.ended(running, seconds=60).exit_code == 3
    assert len(rig.usage()) == 4


def submitted(rig, spec):
    try:
        return rig.engine.submit(spec, 1)
    except Unavailable:
        return None


@ON_SLURM
def test_f7_a_silent_accounting_ends_nothing(rig):
    """A naive adapter takes "not in squeue" for the end."""
    job = rig.submit("echo up; sleep 1; exit 7")
    rig.running(job)
    pid = rig.cluster.alive("slurm/slurmdbd.pid")
    subprocess.run(["kill", "-STOP", str(pid)], check=True)
    try:
        rig.until(lambda: rig.live(job).reason == "Accounting")
        later = rig.submit("exit 0")
        assert rig.live(later)
    finally:
        subprocess.run(["kill", "-CONT", str(pid)], check=True)
    assert rig.ended(job).exit_code == 7
    assert rig.ended(later).outcome == "completed"


@ON_SLURM
def test_f8_a_waiting_job_that_its_owner_enlarged_is_noticed_before_it_starts(rig):
    blocker = rig.submit("exec sleep 30", gpus_per_node=3)
    rig.running(blocker, word=b"")
    job = rig.submit("exit 0")
    number = rig.commands.read("squeue", "-h", "-t", "PENDING", "-o", "%A").strip()
    assert "enlarged" not in [warn.code for warn in rig.engine.health().warnings]
    rig.as_user("scontrol", "update", f"JobId={number}", "NumNodes=1", "TresPerNode=gres:gpu:small:2")
    assert rig.live(job).gpus == 2
    assert "enlarged" in [warn.code for warn in rig.engine.health().warnings]


@ON_SLURM
def test_the_script_directives_of_a_user_are_comments(rig):
    job = rig.submit("#!/bin/bash\n#SBATCH --array=0-9\n#SBATCH --gpus-per-node=small:3\necho $CUDA_VISIBLE_DEVICES\n")
    assert rig.ended(job).gpus == 1
    assert (rig.log(job), len(rig.usage())) == (b"0\n", 1)


@ON_SLURM
def test_a_job_on_two_nodes_is_one_run_of_all_its_gpus(rig):
    rig.engine.sync([rig.limits(partitions=("small", "h100"))], apply=True)
    job = rig.submit("sleep 1; echo $SLURM_JOB_NODELIST", nodes=2, gpu_type="h100", gpus_per_node=8, partition="h100")
    row = rig.ended(job)
    assert (row.gpus, row.gpu_type, rig.log(job)) == (16, "h100", b"h100-[1-2]\n")
    assert row.gpu_seconds == 16 * (row.ended_at - row.started_at).total_seconds()
    with pytest.raises(Rejected):
        rig.submit("exit 0", partition="a100", gpu_type="a100")  # the association pins the partition


@ON_SLURM
def test_c10_a_waiting_array_is_one_call_and_a_cancelled_one_ends_each_of_its_tasks(rig):
    blocker = rig.submit("exec sleep 60", gpus_per_node=3)
    job = rig.submit("exit 0", tasks=1000, parallel=50)
    waiting = [run for run in rig.engine.poll().runs if run.key.job == job]
    assert {run.key.task for run in waiting} == set(range(1000))
    assert waiting[0].place < waiting[-1].place
    rig.engine.cancel(job)
    rig.until(lambda: len([row for row in rig.usage() if row.key.job == job]) == 1000)
    rows = [row for row in rig.usage() if row.key.job == job]
    assert {(row.outcome, row.gpu_seconds, row.started_at) for row in rows} == {("cancelled", 0, None)}
    assert len({row.engine_run for row in rows}) == 1000
    rig.engine.cancel(blocker)


@ON_SLURM
def test_budgets_are_brought_to_what_is_wanted_and_a_closed_one_takes_nothing(rig):
    many = [Limits(f"a-x{n}", f"b-x{n}", gpu_seconds=6000 + 60 * (n % 2)) for n in range(40)]
    asked = []
    watched = Commands(rig.cluster.conf)
    watched.write = lambda *command: (asked.append(command), Commands.write(watched, *command))
    diff = accounts.reconcile(watched, rig.cluster.name, many, {}, apply=True)
    assert (len(diff.missing), diff.applied) == (80, True)
    assert len(asked) <= 6  # however many there are
    assert not any("delete" in word or "remove" in word for command in asked for word in command)
    again = accounts.reconcile(watched, rig.cluster.name, many, {}, apply=True)
    assert (again.missing, again.changed) == ((), ())
    shut = [replace(limit, open=False) for limit in many]
    assert "would close 40" in accounts.reconcile(watched, rig.cluster.name, shut, {}, apply=True).held
    counted = {"b-x0": 120}
    moved = accounts.reconcile(watched, rig.cluster.name, many[:1], counted, apply=True)
    assert (moved.changed, moved.applied) == (("b-x0",), True)
    assert accounts.observe(watched, rig.cluster.name).limits["b-x0"] == 102
    assert rig.engine.sync([rig.limits(open=False)], apply=True).applied
    try:
        with pytest.raises(Rejected):
            rig.submit("exit 0")
    finally:
        assert rig.engine.sync([rig.limits()], apply=True).applied


@ON_SLURM
def test_who_leaves_can_submit_nothing_more_and_names_of_others_are_not_touched(rig):
    both = rig.limits(members=rig.users)
    assert rig.engine.sync([both], apply=True).applied
    assert bare(rig, user=1)
    assert rig.engine.sync([rig.limits()], apply=True).applied
    with pytest.raises(Rejected):
        bare(rig, user=1)
    theirs = rig.engine.sync([rig.limits(), Limits("root", "b-8"), Limits("a-8", "normal")], apply=True)
    assert (theirs.applied, theirs.held) == (False, f"{accounts.NOT_OURS}normal, root")
    assert "b-8" not in accounts.observe(rig.commands, rig.cluster.name).limits
    with pytest.raises(Rejected):
        rig.engine.sync([Limits("Upper", "b-9")], apply=True)


def up_again(rig, *names):
    """Also where a node came back by itself meanwhile (ReturnToService): Slurm refuses to resume that one."""

    def up():
        out = [node.name for node in rig.engine.health().nodes if node.name in names and not node.takes_jobs]
        if out:
            rig.commands.write("scontrol", "update", f"NodeName={','.join(out)}", "State=RESUME")
        return not out

    rig.until(up)


@ON_SLURM
def test_a_budget_that_is_changed_or_deleted_by_hand_is_mended_and_keeps_nobody_from_theirs(rig):
    many = [Limits("a-hand", f"b-hand{n}", gpu_seconds=6000) for n in range(3)]
    assert rig.engine.sync(many, apply=True).applied
    by_hand = ("sacctmgr", "-iQ", "modify", "qos", "b-hand0", "set")
    rig.cluster.command(*by_hand, "Flags-=NoDecay")
    mended = rig.engine.sync(many, apply=True)
    assert (mended.changed, mended.applied) == (("b-hand0",), True)
    assert accounts.observe(rig.commands, rig.cluster.name).loose.isdisjoint({"b-hand0"})
    rig.cluster.command("sacctmgr", "-iQ", "delete", "qos", "b-hand1")
    assert rig.engine.sync(many, apply=True).missing == ("b-hand1",)
    rig.cluster.command(*by_hand, "Description=mine")
    more = [replace(limit, gpu_seconds=7200) for limit in many]
    stuck = rig.engine.sync(more, apply=True)
    assert (stuck.changed, stuck.held) == (("b-hand1", "b-hand2"), f"{accounts.NOT_OURS}b-hand0")
    assert {accounts.observe(rig.commands, rig.cluster.name).limits[f"b-hand{n}"] for n in (1, 2)} == {120}
    rig.cluster.command(*by_hand, "Description=madang")
    assert (rig.engine.sync(more, apply=True).changed, rig.engine.sync(more, apply=True).changed) == (("b-hand0",), ())


@ON_SLURM
def test_nobody_sees_the_jobs_use_and_names_of_others(rig):
    job = rig.submit("exec sleep 20")
    rig.running(job, word=b"")
    other = {"user": 1}
    assert str(job) in rig.as_user("squeue", "-a", "-h", "-o", "%k")
    assert rig.as_user("squeue", "-a", "-h", "-o", "%k", **other).strip() == ""
    rig.engine.cancel(job)
    rig.ended(job)
    asked = ("sacct", "-a", "-X", "-n", "-P", "--format=User")
    assert set(rig.as_user(*asked).split()) == {rig.users[0]}
    assert rig.users[0] not in rig.as_user(*asked, **other).split()
    for what in ("user", "assoc"):
        said = rig.as_user("sacctmgr", "-nP", "show", what, "format=user", **other).split()
        assert rig.users[0] not in said


@ON_SLURM
def test_health_tells_of_the_gpus_by_type_and_of_a_node_that_is_gone(rig):
    rig.usage()
    health = rig.engine.health()
    assert health.reachable
    assert {warn.code for warn in health.warnings} <= {"backlog", "runaway"}  # the accounting may be a message behind
    assert {(s.gpu_type, s.slots, s.busy) for s in health.slots} == {("h100", 16, 0), ("a100", 16, 0), ("small", 3, 0)}
    rig.cluster.command("scontrol", "update", "NodeName=a100-[1-2]", "State=DOWN", "Reason=test")
    try:
        health = rig.engine.health()
        assert {warn.code for warn in health.warnings} - {"backlog", "runaway"} == {"nodes_down"}
        assert [s.slots for s in health.slots if s.gpu_type == "a100"] == []
    finally:
        up_again(rig, "a100-1", "a100-2")


@ON_SLURM
def test_a_node_is_drained_with_its_reason_by_whom_and_since_when_whether_it_answers_or_not(rig):
    said = "a fan is loud [not @ all] = why"
    before = datetime.now(UTC) - timedelta(seconds=2)
    try:
        rig.engine.drain("a100-1", said)
        rig.cluster.command("scontrol", "update", "NodeName=a100-2", "State=DOWN", "Reason=burnt")
        rig.engine.drain("a100-2", "it is mended")
        nodes = {node.name: node for node in rig.engine.health().nodes}
        one, other = nodes["a100-1"], nodes["a100-2"]
        assert (one.state, one.reason, one.reason_by) == ("drained", said, "root")
        assert before <= one.reason_at <= datetime.now(UTC)
        assert other.state == "drained"
        assert nodes["h100-1"].reason_at is None
        codes = {warn.code: warn.text for warn in rig.engine.health().warnings}
        assert ("nodes_down" in codes, f"a100-1 ({said}; root)" in codes["nodes_drained"]) == (False, True)
    finally:
        up_again(rig, "a100-1", "a100-2")


def test_gpus_are_counted_by_partition_and_type_and_those_of_nodes_that_are_down_nowhere():
    lines = [
        "NodeName=n1 Gres=gpu:h100:8 GresUsed=gpu:h100:3(IDX:0-2) State=MIXED Partitions=short,long",
        "NodeName=n2 Gres=gpu:h100:8 GresUsed=gpu:h100:0(IDX:N/A) State=IDLE Partitions=short",
        "NodeName=n3 Gres=gpu:h100:8 GresUsed=gpu:h100:0(IDX:N/A) State=IDLE+DRAIN Partitions=long",
        "NodeName=n4 CPUAlloc=12 CPUTot=64 Gres=(null) GresUsed=gpu:0 State=MIXED Partitions=cpu",
        "NodeName=n5 CPUAlloc=0 CPUTot=64 Gres=(null) GresUsed=gpu:0 State=DOWN Partitions=cpu",
    ]
    seen = list(map(nodes.state, lines))
    owner = answers.Owner(7, 0, "kim", "a", "b", "long", "")
    waits = answers.Live(owner, 7, (0, 1), "PENDING", "Priority", None, None, 60, 1, "h100", "")
    also = replace(waits, owner=replace(owner, partition="cpu"), gpu_type="")
    found = [(row.partition, row.gpu_type, row.slots, row.busy, row.queued) for row in watch.slots(seen, [waits, also])]
    assert found == [("cpu", "cpu", 64, 12, 2), ("long", "h100", 8, 3, 2), ("short", "h100", 16, 3, 0)]
    (whole,) = watch.slots(seen, [waits], apart=False)
    assert (whole.partition, whole.gpu_type, whole.slots, whole.busy, whole.queued) == ("", "h100", 16, 3, 2)


@ON_SLURM
def test_the_gpus_of_two_partitions_of_a_type_are_counted_for_each(rig):
    """They share their nodes, so what one takes the other doesn't have; who waits, waits in one."""
    rig.cluster.command("scontrol", "create", "PartitionName=small-long", "Nodes=small-1")
    try:
        running = rig.submit("echo up; sleep 60", gpus_per_node=2)
        rig.running(running)
        waiting = rig.submit(gpus_per_node=3)
        rig.until(lambda: rig.live(waiting).reason == "Resources")
        found = rig.engine.health().partitions
        counts = {row.partition: (row.gpu_type, row.slots, row.busy, row.queued) for row in found}
        assert counts["small"] == ("small", 3, 2, 1)
        assert counts["small-long"] == ("small", 3, 2, 0)
        assert counts["h100"] == ("h100", 16, 0, 0)
        assert (counts["cpu"][0], counts["cpu"][1] > 0) == ("cpu", True)
    finally:
        for job in (running, waiting):
            rig.engine.cancel(job)
            rig.ended(job)
        rig.cluster.command("scontrol", "delete", "PartitionName=small-long")


@ON_SLURM
def test_a_log_that_is_a_link_is_not_read(rig):
    job = rig.submit('rm -f ../out.log; ln -s /etc/shadow ../out.log; rm -rf "$HOME"; ln -s /etc "$HOME"')
    rig.ended(job)
    assert rig.log(job) == b""
    assert rig.engine.files(RunKey(job)) == []


@ON_SLURM
def test_nothing_runs_as_root_or_as_an_account_of_the_system(rig):
    for name in ("root", "daemon", "nobody-of-this-name"):
        with pytest.raises(Rejected) as refused:
            rig.submit("exit 0", posix_user=name)
        assert refused.value.field == "posix_user"


def test_after_a_silence_nobody_waits_for_the_next_one(tmp_path):
    breaker = Breaker(60)
    commands = Commands(tmp_path / "nowhere", breaker=breaker)
    with pytest.raises(Unavailable):
        commands.read("sh", "-c", "echo no >&2; exit 1")
    with pytest.raises(Unavailable, match="a moment ago"):
        commands.read("true")
    breaker.close()
    assert commands.read("echo", "x") == "x\n"


def test_while_the_accounting_is_silent_the_controller_is_asked(tmp_path):
    commands = Commands(tmp_path / "nowhere", breaker=Breaker(60))
    with pytest.raises(Unavailable):
        commands.read("sacct")  # there is no such slurm.conf, or no sacct
    commands.accounting.open("sacct took longer than 20 s")
    for asked in ("sacct", "sacctmgr"):
        with pytest.raises(Unavailable, match="a moment ago"):
            commands.read(asked, "--version")
    assert commands.read("echo", "x") == "x\n"


@pytest.mark.parametrize(
    ("text", "tasks"), [("0-3%2", [0, 1, 2, 3]), ("2,5-6", [2, 5, 6]), ("0-8:4", [0, 4, 8]), ("N/A", []), ("7", [7])]
)
def test_the_tasks_of_an_array_are_read_as_slurm_writes_them(text, tasks):
    assert list(answers.numbers(text)) == tasks
    assert list(answers.numbers(answers.ranges(tasks))) == tasks


def test_f4_an_orphan_of_a_killed_controller_is_not_a_run():
    row = ["5", "9", "9", "1795711470", "1795711470", "1795711475", "5", "PENDING", "0:0", "", "n", "1"]
    assert answers.ended([*row, "", "", "", "", ""]) is None
    row[7] = "COMPLETED"
    assert answers.ended([*row, "", "", "", "", ""]) is None
    assert answers.ended([*row, "a", "q", "u", "p", ""])


@ON_SLURM
def test_f1_a_job_that_slurm_forgot_and_that_ran_to_its_end_ends_as_its_wrapper_said(rig):
    rig.engine.confirmed_s = 0
    spec = rig.spec("echo ran; exit 3")
    rig.engine.submit(spec, 1)
    rig.ended(spec.job)
    with rig.connect() as conn:
        conn.execute("DELETE FROM slurm_run WHERE job = %s", [spec.job])
        conn.execute("UPDATE slurm_job SET open = true WHERE job = %s", [spec.job])
        conn.execute("UPDATE slurm_send SET slurm_id = 900000, submit = 1 WHERE job = %s", [spec.job])
    rig.engine._find = lambda *asked: None
    assert rig.engine.submit(spec, 1).engine_id.endswith(":900000")
    row = rig.ended(spec.job)
    assert (row.outcome, row.exit_code, row.reason) == ("failed", 3, "forgotten by Slurm")
    assert rig.log(spec.job) == b"ran\n"


@ON_SLURM
def test_what_the_accounting_says_otherwise_later_is_told_again_under_the_same_key(rig):
    job = rig.submit("sleep 2")
    first = rig.ended(job)
    with rig.connect() as conn:
        conn.execute(
            "UPDATE slurm_run SET counted_seconds = 0, gpu_seconds = 0, outcome = 'failed' WHERE job = %s", [job]
        )
    again = rig.until(lambda: next((r for r in rig.usage() if r.key == first.key and r.gpu_seconds), None))
    assert (again.outcome, again.gpu_seconds) == (first.outcome, first.gpu_seconds)
    assert [row.key for row in rig.usage()].count(first.key) == 1


def test_f3_a_run_of_which_the_controller_missed_the_end_ended_as_its_wrapper_said():
    row = answers.ended(
        *[[*("9", "7", "7", "1000", "1000", "1120", "120", "TIMEOUT", "0:15", "gres/gpu=1,gres/gpu:h100=1"),
           *("n1", "2", "a", "b", "kim", "h100", "")]]
    )  # fmt: skip
    assert row
    assert records._ended_before(row, Marks(1001, 1002, 1002, 0)) == 0
    assert records._ended_before(row, Marks(1001, 1002, 1002, 3)) == 3
    assert records._ended_before(row, Marks(1001, 1121, 1121, 143)) is None
    assert records._ended_before(row, Marks(1001, 1121, None, None)) is None


@pytest.mark.parametrize(
    ("state", "marks", "outcome", "code"),
    [
        ("CANCELLED by 64", Marks(1001, 1002, 1002, 0), "completed", 0),  # its node no longer knew it
        ("CANCELLED by 64", Marks(1001, 1002, 1002, 3), "failed", 3),
        ("CANCELLED by 64", Marks(1001, 1002, 1002, 143), "cancelled", 15),
        ("CANCELLED by 64", Marks(1001, 1121, 1120, 0), "cancelled", 15),  # it caught the signal
        ("CANCELLED by 1001", Marks(1001, 1002, 1002, 0), "cancelled", 15),
        ("CANCELLED", Marks(1001, 1119, None, None), "cancelled", 15),
    ],
)
def test_f1_what_the_controller_ended_itself_had_ended_as_its_wrapper_said(tmp_path, state, marks, outcome, code):
    (tmp_path / "slurm.conf").write_text("ClusterName=x\nSlurmUser = 64\n")
    row = answers.ended(
        *[[*("9", "7", "7", "1000", "1000", "1120", "120", state, "15:0", "gres/gpu=1,gres/gpu:h100=1"),
           *("n1", "2", "a", "b", "kim", "h100", "")]],
        Commands(tmp_path / "slurm.conf").controllers,
    )  # fmt: skip
    assert row
    fact = records._run("c", "c/9/1000", RunKey(uuid4()), row, None, marks, (0, False))
    assert (fact["outcome"], fact["exit_code"], fact["gpu_seconds"]) == (outcome, code, 120)


def test_f1_a_second_copy_that_the_controller_gave_up_is_not_the_run():
    given_up = answers.ended(
        *[[*("9", "7", "7", "1000", "1050", "1051", "1", "CANCELLED by 0", "0:0", "gres/gpu=1"),
           *("n1", "2", "a", "b", "kim", "h100", "")]]
    )  # fmt: skip
    assert given_up
    assert given_up.given_up
    assert records._began_before(given_up, Marks(1010, 1012, 1012, 0))
    assert not records._began_before(given_up, Marks(1050, 1051, 1051, 143))


@pytest.mark.parametrize(
    ("ended", "marked"),
    [(1030, 1030), (1059, 1059), (1060, None), (1119, None), (None, None), (900, None)],  # 900: an older start's
)
def test_f3_a_run_that_was_billed_for_more_than_a_minute_beyond_its_marks_is_marked(ended, marked):
    row = answers.ended(
        *[[*("9", "7", "7", "1000", "1000", "1120", "120", "COMPLETED", "0:0", "gres/gpu=1,gres/gpu:h100=1"),
           *("n1", "60", "a", "b", "kim", "h100", "")]]
    )  # fmt: skip
    assert row
    found = records._marked(row, Marks(1001, ended, ended, None if ended is None else 0))
    assert found == (None if marked is None else answers.moment(marked))


@ON_SLURM
def test_an_array_that_was_cancelled_before_slurm_looked_at_it_has_ended_in_all_of_its_tasks(rig):
    """Neither the accounting nor the queue names its tasks: a naive adapter takes it for running for ever."""
    rig.cluster.command("scontrol", "update", "PartitionName=small", "State=DOWN")
    try:
        job = rig.submit("true", tasks=3)
        rig.engine.cancel(job)
        rows = rig.until(lambda: [row for row in rig.usage() if row.key.job == job])
    finally:
        rig.cluster.command("scontrol", "update", "PartitionName=small", "State=UP")
    assert [(row.key.task, row.outcome, row.gpu_seconds) for row in rows] == [(n, "cancelled", 0) for n in range(3)]
    assert rig.live(job) is None


@ON_SLURM
def test_what_the_accounting_says_again_is_known_without_being_read_again_and_a_change_is_read(rig):
    job = rig.submit("exit 3")
    row = rig.ended(job)
    rig.usage()
    assert len(rig.engine._heard.settled) > 0
    before = set(rig.engine._heard.settled)
    rig.engine.usage(rig.cursor)
    assert before <= rig.engine._heard.settled
    with rig.connect() as conn:
        conn.execute("UPDATE slurm_run SET said = 'TIMEOUT' WHERE job = %s", [job])
    again = rig.new_engine()
    found = [r for r in again.usage(rig.cursor).rows if r.key.job == job]
    assert [(r.engine_run, r.outcome) for r in found] == [(row.engine_run, row.outcome)]


def window(key="7", begins=3600, ends=7200, **more):
    now = datetime.now(UTC)
    return Maintenance(key, now + timedelta(seconds=begins), now + timedelta(seconds=ends), **more)


@ON_SLURM
def test_a_maintenance_is_of_all_of_a_partition_or_of_named_nodes_and_may_become_another(rig):
    some, part, whole = window("1", nodes=("h100-2", "a100-1")), window("2", partition="h100"), window("3")
    try:
        assert rig.engine.maintain([some, part, whole]) == Diff(missing=("1", "2", "3"), applied=True)
        seen = reservations.observe(rig.commands)
        assert seen["1"].nodes == {"a100-1", "h100-2"}
        assert (seen["2"].partition, seen["2"].nodes, seen["3"].whole) == ("h100", {"h100-1", "h100-2"}, True)
        assert rig.engine.maintain([some, part, whole]) == Diff(applied=True)
        changed = [replace(some, nodes=("h100-2",)), replace(whole, partition="a100")]
        assert rig.engine.maintain(changed) == Diff(changed=("1", "3"), extra=("2",), applied=True)
        assert rig.engine.maintain(changed) == Diff(applied=True)
    finally:
        assert rig.engine.maintain([]).applied
    assert reservations.observe(rig.commands) == {}


@ON_SLURM
def test_a_job_that_would_run_into_a_maintenance_is_forecast_for_its_end(rig):
    coming = window(begins=90, ends=1800, partition="small")
    try:
        assert rig.engine.maintain([coming]).applied
        job = rig.submit("exit 0", limit_s=300)
        run = rig.until(lambda: (run := rig.live(job)) and run.starts_at and run)
        assert (run.reason, int(run.starts_at.timestamp())) == ("Maintenance", int(coming.ends_at.timestamp()))
    finally:
        assert rig.engine.maintain([]).applied


@ON_SLURM
def test_reservations_of_people_stay_and_one_that_has_our_name_is_said(rig):
    own = ["Nodes=a100-1", "StartTime=now+1hour", "Duration=60"]
    for name, more in (("theirs", ["Flags=MAINT", "Users=root"]), ("madang_5", [f"Users={rig.users[0]}"])):
        rig.cluster.command("scontrol", "create", "reservation", f"ReservationName={name}", *own, *more)
    try:
        diff = rig.engine.maintain([window("5", nodes=("a100-2",))])
        assert (diff.applied, "Duplicate reservation name" in diff.held) == (False, True)
        diff = rig.engine.maintain([window("6", nodes=("nowhere-1",))])
        assert (diff.applied, "Invalid node name" in diff.held) == (False, True)
        assert rig.engine.maintain([]) == Diff(applied=True)
        said = rig.commands.read("scontrol", "-o", "show", "reservation")
        assert [line.split()[0] for line in said.splitlines()] == ["ReservationName=theirs", "ReservationName=madang_5"]
    finally:
        for name in ("theirs", "madang_5"):
            rig.cluster.command("scontrol", "delete", f"ReservationName={name}")


@pytest.mark.parametrize(
    ("hosts", "nodes"),
    [
        ("n1", ["n1"]),
        ("h100-[1-2,11],a100-1", ["h100-1", "h100-2", "h100-11", "a100-1"]),
        ("n[008-010]", ["n008", "n009", "n010"]),
        ("r[1-2]n[1,3]", ["r1n1", "r1n3", "r2n1", "r2n3"]),
        ("(null)", ["(null)"]),
    ],
)
def test_a_list_of_nodes_is_read_as_slurm_writes_it(hosts, nodes):
    assert list(reservations.names(hosts)) == nodes


@pytest.mark.parametrize(
    ("said", "used", "state"),
    [
        ("MIXED", 3, "mixed"),
        ("MIXED", 8, "full"),
        ("ALLOCATED", 8, "full"),
        ("IDLE", 0, "idle"),
        ("MIXED+DRAIN", 8, "draining"),
    ],
)
def test_a_node_without_a_free_gpu_is_used_also_where_some_of_its_processors_are_free(said, used, state):
    line = f"NodeName=n1 Gres=gpu:h100:8(S:0-1) GresUsed=gpu:h100:{used}(IDX:0-7) State={said} Partitions=h100"
    seen = nodes.state(line)
    assert (seen.state, seen.used, seen.gpus) == (state, used, 8)


@pytest.mark.parametrize(
    ("limit_s", "said"),
    [
        (20, ["--time=1", "--signal=B:USR1@10"]),
        (60, ["--time=1", "--signal=B:USR1@10"]),
        (61, ["--time=2", "--signal=B:USR1@30"]),
        (3600, ["--time=60", "--signal=B:USR1@60"]),
    ],
)
def test_a_job_is_not_warned_of_its_limit_as_it_starts(tmp_path, limit_s, said):
    engine = SlurmEngine(lambda: None, tmp_path, "c", Commands(tmp_path / "none"))
    spec = JobSpec(job=uuid4(), script="#!/bin/sh\n", gpu_type="h100", limit_s=limit_s)
    command = engine._sbatch(spec, 1, 1, [0])
    assert [word for word in command if word.startswith(("--time", "--signal"))] == said


def test_slurm_calls_a_job_by_what_it_can_read_of_its_name(tmp_path):
    engine = SlurmEngine(lambda: None, tmp_path, "c", Commands(tmp_path / "none"))
    asked = (
        ("스윕 시험", "madang"),
        ("train 모델 v2", "train____v2"),
        ("a\n#SBATCH --exclusive", "a__SBATCH_--exclusive"),
    )
    for name, said in asked:
        spec = JobSpec(job=uuid4(), script="#!/bin/sh\n", gpu_type="h100", limit_s=60, name=name)
        assert f"--job-name={said}" in engine._sbatch(spec, 1, 1, [0])
