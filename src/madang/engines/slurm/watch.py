"""How a cluster is: its GPUs, and what only its engine can see going wrong."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

from madang.engines.base import Health, NodeState, RunKey, SlotCount, Unavailable, Warn
from madang.engines.slurm import answers, nodes
from madang.engines.slurm.clocks import Clocks
from madang.engines.slurm.commands import Commands
from madang.engines.slurm.handing import DEAD_S, marks
from madang.engines.slurm.records import Known, Send

LATE_S = 30.0  # an accounting that hasn't been read for so long
APART_MINUTES, APART_SHARE = 60, 0.01  # how far Slurm's figure of a budget may be from ours
MOST_MARKS = 200  # submissions whose marks are looked at in one go


def health(
    commands: Commands,
    runs: Path,
    lag_s: float | None,
    counted: Mapping[str, int],
    sends: Sequence[Send],
    clocks: Clocks,
) -> Health:
    """Ask the controller, and the accounting where the controller answers. Never raises Unavailable."""
    try:
        commands.read("scontrol", "ping")
        lines = nodes.lines(commands)
        queue = [answers.live(row) for row in commands.rows("squeue", "-a", fields=answers.LIVE_FIELDS)]
    except Unavailable as silent:
        return Health(False, lag_s, (), False, (Warn("no_answer", silent.message),))
    seen = tuple(map(nodes.state, lines))
    warnings = [*_nodes(seen, queue), *_jobs(runs, queue, sends, clocks)]
    if apart := ", ".join(f"{who} {seconds:+d} s" for who, seconds in clocks.apart.items()):
        warnings.append(Warn("clocks", f"these clocks aren't the database's: {apart}"))
    if lag_s is None or lag_s > LATE_S:
        since = "was never read" if lag_s is None else f"was last read {int(lag_s)} s ago"
        warnings.append(Warn("late", f"the accounting {since}, so nothing that ended is known"))
    for look in (_backlog, _runaway, lambda c: _budgets(c, counted)):
        try:
            warnings += look(commands)
        except Unavailable as silent:
            warnings.append(Warn("no_accounting", silent.message))
            break
    return Health(
        reachable=True,
        lag_s=lag_s,
        slots=slots(seen, queue, apart=False),
        sandbox=True,
        warnings=tuple(warnings),
        kept_apart=True,
        nodes=seen,
        partitions=slots(seen, queue),
    )


def slots(seen: Sequence[NodeState], queue: Sequence[answers.Live], *, apart: bool = True) -> tuple[SlotCount, ...]:
    """By partition and GPU type, or, not `apart`, by type alone. Nodes that take no jobs have no slots. The slots of a
    partition for work without GPUs are the processors of its nodes that have none."""
    there, busy, waiting = Counter[tuple[str, str]](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for node in seen:
        if node.gpu_type and node.takes_jobs:
            for partition in node.partitions if apart else ("",):
                there[partition, node.gpu_type] += node.gpus
                busy[partition, node.gpu_type] += node.used
        elif node.takes_jobs and apart:
            for partition in node.partitions:
                there[partition, "cpu"] += node.cpus
                busy[partition, "cpu"] += node.cpus_used
    for live in queue:
        if live.state in answers.WAITING:
            for partition in live.owner.partition.split(",") if apart else ("",):
                waiting[partition, live.gpu_type or "cpu"] += len(live.tasks)
    return tuple(
        SlotCount(kind, there[partition, kind], busy[partition, kind], False, waiting[partition, kind], 0, partition)
        for partition, kind in sorted(there)
        if partition or not apart
    )


def _nodes(seen: Sequence[NodeState], queue: Sequence[answers.Live]) -> list[Warn]:
    """A maintenance is announced, so it is no alarm."""
    found = []
    for code, text, states in (
        ("nodes_down", "these nodes are down, or don't answer", ("down", "unknown")),
        ("nodes_drained", "these nodes take no jobs", ("drained", "draining")),
    ):
        if out := sorted(nodes.named(node) for node in seen if node.state in states):
            found.append(Warn(code, f"{text}: {', '.join(out[:20])}"))
    working = any(live.state in answers.RUNNING for live in queue)
    waits = any(live.state in answers.WAITING and live.reason == "Resources" for live in queue)
    idle = [node.name for node in seen if node.state == "idle" and node.used]
    if idle and waits:
        rest = "when the jobs have ended: " if working else ""
        text = f"idle nodes with GPUs taken by nobody: {', '.join(sorted(idle)[:20])}; {rest}scontrol reconfigure"
        found.append(Warn("leaked_gpus", text))
    return found


def _jobs(runs: Path, queue: Sequence[answers.Live], sends: Sequence[Send], clocks: Clocks) -> list[Warn]:
    """Jobs that their owners made larger, and runs that Slurm says run and that give no sign of life."""
    found, larger = list[Warn](), list[str]()
    silent, seen, known = list[str](), set[tuple[UUID, int]](), Known(sends, clocks)
    for live in queue:
        send = known.owned(live.owner)
        if send is None:
            continue
        seen.add((send.job, send.attempt))
        if live.state in answers.WAITING and (
            (live.gpu_type and live.gpus > send.gpus)
            or (live.owner.budget, live.owner.partition) != (send.budget, send.partition)
        ):
            larger.append(str(send.job))
        if live.state == "RUNNING" and len(silent) < MOST_MARKS:
            left = marks(runs, RunKey(send.job, live.tasks[0], send.attempt), send.send, clocks)
            if left.started is not None and left.ended is None and not left.fresh:
                silent.append(str(send.job))
    if larger:
        found.append(Warn("enlarged", f"changed by their owners while they waited: {', '.join(sorted(larger)[:20])}"))
    if silent:
        found.append(Warn("silent", f"running, without a sign of life: {', '.join(sorted(silent)[:20])}"))
    ghosts = []
    for send in sends[:MOST_MARKS]:
        old = time.time() + clocks.database - send.sent_at.timestamp() > DEAD_S
        if old and (send.job, send.attempt) not in seen and send.tasks == 1:
            left = marks(runs, RunKey(send.job, 0, send.attempt), send.send, clocks)
            if left.started is not None and left.ended is None and not left.fresh:
                ghosts.append(str(send.job))
    if ghosts:
        found.append(Warn("vanished", f"started, and gone without an end: {', '.join(sorted(ghosts)[:20])}"))
    return found


def _backlog(commands: Commands) -> list[Warn]:
    found = re.search(r"DBD Agent queue size: (\d+)", commands.read("sdiag"))
    if found and int(found[1]):
        return [Warn("backlog", f"{found[1]} messages wait for the accounting; beyond its limit they are lost")]
    return []


def _runaway(commands: Commands) -> list[Warn]:
    """Jobs that the accounting has as running and the controller doesn't know. Listed only: mending loses their use."""
    said = commands.read("sacctmgr", "-nP", "show", "runawayjobs", "format=ID", stdin="N\n")
    ids = [line for line in said.splitlines() if line.isdigit()]
    return [Warn("runaway", f"the accounting waits for the end of: {', '.join(ids[:20])}")] if ids else []


def _budgets(commands: Commands, counted: Mapping[str, int]) -> list[Warn]:
    """Budgets of which Slurm and we have counted differently. Slurm counts what runs too, so it may be ahead."""
    apart = []
    for line in commands.read("scontrol", "-o", "show", "assoc_mgr", "flags=qos").splitlines():
        name = re.match(r"\s*QOS=([^( ]+)", line)
        used = re.search(r"GrpTRESMins=\S*?gres/gpu=[^(]*\((\d+)\)", line)
        if name and used and name[1] in counted:
            theirs, ours = int(used[1]), counted[name[1]] // 60
            if ours - theirs > max(APART_MINUTES, APART_SHARE * ours):
                apart.append(f"{name[1]} ({theirs} against {ours} min)")
    return [Warn("counts_apart", f"Slurm has counted less than it reported: {', '.join(apart[:20])}")] if apart else []
