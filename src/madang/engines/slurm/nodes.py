"""The machines of a cluster as Slurm says them: which take jobs, and why the others don't."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime

from madang.engines.base import NodeState
from madang.engines.slurm import answers
from madang.engines.slurm.commands import Commands

DOWN = {"DOWN", "ERROR", "FAIL", "FAILING", "FUTURE", "NOT_RESPONDING"}
BUSY = {"ALLOCATED", "MIXED", "COMPLETING"}
TAKES = {"IDLE": "idle", "MIXED": "mixed", "ALLOCATED": "full"}
# The reason ends with who gave it and when. A comment may follow, and holds what somebody likes.
REASON = re.compile(r" Reason=(.*?)(?: \[([^\]\[@]*)@([^\]\[]*)\])?(?: Comment=.*)?$")


def lines(commands: Commands) -> list[str]:
    """What Slurm says of each node."""
    return commands.read("scontrol", "-o", "-d", "show", "node").splitlines()


def field(line: str, name: str) -> str:
    """One of the words of a line; empty where it isn't there."""
    found = re.search(rf"(?:^| ){name}=(\S*)", line)
    return found[1] if found else ""


def state(line: str) -> NodeState:
    """A node that was drained is drained whether it answers or not, as sinfo has it: who drained it knows. One in a
    maintenance may be switched off, so it isn't called down either."""
    said = set(re.split(r"[+*~#!%$@^-]+", field(line, "State")))
    if "*" in field(line, "State"):
        said.add("NOT_RESPONDING")
    if any(word.startswith("DRAIN") for word in said):
        name = "draining" if said & (BUSY | {"DRAINING"}) else "drained"
    elif any(word.startswith("MAINT") for word in said):
        name = "maintenance"
    elif said & DOWN:
        name = "down"
    else:
        name = next((name for word, name in TAKES.items() if word in said), "unknown")
    count, kind = answers.gpus_per_node(field(line, "Gres"))
    used = answers.gpus_per_node(field(line, "GresUsed"))[0] if count else 0
    if name == "mixed" and 0 < count <= used:
        name = "full"  # to Slurm some of its processors are free
    reason = REASON.search(line.strip())
    return NodeState(
        name=field(line, "NodeName"),
        state=name,
        reason=reason[1].strip() if reason else "",
        partitions=tuple(filter(None, field(line, "Partitions").split(","))),
        gpu_type=kind,
        gpus=count,
        used=used,
        reason_by=(reason[2] or "") if reason else "",
        reason_at=_instant(reason[3] or "") if reason else None,
        cpus=_number(line, "CPUTot"),
        cpus_used=_number(line, "CPUAlloc"),
    )


def _number(line: str, name: str) -> int:
    said = field(line, name)
    return int(said) if said.isdecimal() else 0


def _instant(text: str) -> datetime | None:
    """In seconds as we ask for it, or as a release writes it that doesn't heed that."""
    if seconds := answers.instant(text):
        return answers.moment(seconds)
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None


def named(node: NodeState) -> str:
    """A node with what is known of why it takes no jobs: "h100-1 (a fan is loud; root)"."""
    why = "; ".join(filter(None, (node.reason, node.reason_by)))
    return f"{node.name} ({why})" if why else node.name


def out(nodes: Sequence[NodeState]) -> dict[str, str]:
    """By partition, one word for why those of its nodes that take no jobs don't. Of jobs that wait for them Slurm says
    nothing but that they are "DOWN, DRAINED or reserved"."""
    why = defaultdict[str, set[str]](set)
    for node in nodes:
        if not node.takes_jobs:
            for partition in node.partitions:
                why[partition].add({"draining": "drained", "unknown": "down"}.get(node.state, node.state))
    words = {"drained": "NodesDrained", "maintenance": "ReqNodeNotAvail", "down": "NodesDown"}
    return {name: words[next(iter(found))] if len(found) == 1 else "NodesOut" for name, found in why.items()}
