"""How a cluster is: its GPUs, and what only its engine can see going wrong."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

from madang.engines.base import Health, NodeState, RunKey, SlotCount, Unavailable, Warn
from madang.engines.slurm import answers
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
        nodes = commands.read("scontrol", "-o", "-d", "show", "node").splitlines()
        queue = [answers.live(row) for row in commands.rows("squeue", "-a", fields=answers.LIVE_FIELDS)]
    except Unavailable as silent:
        return Health(False, lag_s, (), False, (Warn("no_answer", silent.message),))
    warnings = [*_nodes(nodes, queue), *_jobs(runs, queue, sends, clocks)]
    if apart := ", ".join(f"{who} {seconds:+d} s" for who, seconds in clocks.apart.items()):
        warnings.append(Warn("clocks", f"these clocks aren't the database's: {apart}"))
    if lag_s is None or lag_s > LATE_S:
        since = "was never read" if lag_s is None else f"was last read {int(lag_s)} s ago"
        warnings.append(Warn("late", f"the accounting {since}: nothing that ended is known"))
    for look in (_backlog, _runaway, lambda c: _budgets(c, counted)):
        try:
            warnings += look(commands)
        except Unavailable as silent:
            warnings.append(Warn("no_accounting", silent.message))
            break
    return Health(
        True, lag_s, _slots(nodes, queue), True, tuple(warnings), kept_apart=True, nodes=tuple(map(_state, nodes))
    )


def _field(line: str, name: str) -> str:
    found = re.search(rf"(?:^| ){name}=(\S*)", line)
    return found[1] if found else ""


def _slots(nodes: Sequence[str], queue: Sequence[answers.Live]) -> tuple[SlotCount, ...]:
    """By GPU type. Nodes that are down have no slots."""
    there, busy = Counter[str](), Counter[str]()
    for line in nodes:
        count, kind = answers.gpus_per_node(_field(line, "Gres"))
        if kind and not re.search(r"DOWN|DRAIN|FAIL|NOT_RESPONDING|\*", _field(line, "State")):
            there[kind] += count
            busy[kind] += answers.gpus_per_node(_field(line, "GresUsed"))[0]
    waiting = Counter[str]()
    for live in queue:
        if live.state in answers.WAITING:
            waiting[live.gpu_type] += len(live.tasks)
    return tuple(SlotCount(kind, there[kind], busy[kind], False, waiting[kind]) for kind in sorted(there))


def _state(line: str) -> NodeState:
    said = _field(line, "State")
    count, kind = answers.gpus_per_node(_field(line, "Gres"))
    reason = re.search(r" Reason=(.*?)(?: \[[^\]\[]*@[^\]\[]*\])?(?: Comment=.*)?$", line.strip())
    if re.search(r"DOWN|FAIL|NOT_RESPONDING|\*", said):
        state = "down"
    elif "DRAIN" in said:
        state = "drained" if said.startswith("IDLE") else "draining"
    elif "MAINT" in said:
        state = "maintenance"
    else:
        state = {"IDLE": "idle", "MIXED": "mixed", "ALLOCATED": "full"}.get(re.split(r"[+*]", said)[0], "unknown")
    return NodeState(
        name=_field(line, "NodeName"),
        state=state,
        reason=reason[1].strip() if reason else "",
        partitions=tuple(filter(None, _field(line, "Partitions").split(","))),
        gpu_type=kind,
        gpus=count,
        used=answers.gpus_per_node(_field(line, "GresUsed"))[0] if count else 0,
    )


def _nodes(nodes: Sequence[str], queue: Sequence[answers.Live]) -> list[Warn]:
    found = []
    down = [_field(line, "NodeName") for line in nodes if re.search(r"DOWN|\*", _field(line, "State"))]
    if down:
        found.append(Warn("nodes_down", f"these nodes don't answer: {', '.join(sorted(down)[:20])}"))
    drained = [
        f"{_field(line, 'NodeName')} ({reason[1].strip() if (reason := re.search(r'Reason=([^[]*)', line)) else '?'})"
        for line in nodes
        if "DRAIN" in _field(line, "State")
    ]
    if drained:
        found.append(Warn("nodes_drained", f"these nodes take no jobs: {', '.join(sorted(drained)[:20])}"))
    working = any(live.state in answers.RUNNING for live in queue)
    waits = any(live.state in answers.WAITING and live.reason == "Resources" for live in queue)
    idle = [
        _field(line, "NodeName")
        for line in nodes
        if _field(line, "State").startswith("IDLE") and answers.gpus_per_node(_field(line, "GresUsed"))[0]
    ]
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
