"""What Slurm says of its nodes, on paper: drained is drained, down is down, and jobs that wait for them say which."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from madang.engines.base import NodeState
from madang.engines.slurm import Commands, SlurmEngine, answers, nodes, watch
from madang.engines.slurm.clocks import IN_STEP
from madang.engines.slurm.engine import OUT_S, _reason

AT = datetime(2026, 11, 28, 7, 0, tzinfo=UTC)
REASON = f" Reason=a fan is loud [root@{int(AT.timestamp())}]"
DOWN_OR = "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions"


def line(name: str = "h100-1", state: str = "IDLE", more: str = "", *, partitions: str = "h100", used: int = 0) -> str:
    """A node as `scontrol -o -d show node` writes it (22.05), without what nobody reads."""
    gres = f"Gres=gpu:h100:8(S:0-1) GresUsed=gpu:h100:{used}(IDX:0-7)"
    return f"NodeName={name} Arch=x86_64 {gres} OS=Linux State={state} Owner=N/A Partitions={partitions}{more}"


class Paper(Commands):
    """A controller that has these nodes and nothing in its queue; counts how often it is asked for them."""

    def __init__(self, *lines: str) -> None:
        super().__init__(Path("/nonexistent"))
        self.lines, self.asked = lines, 0

    def read(self, *command: str, stdin: str = "") -> str:
        if command == ("scontrol", "-o", "-d", "show", "node"):
            self.asked += 1
            return "\n".join(self.lines)
        return ""

    def rows(self, *command: str, fields: object) -> list[list[str]]:
        return []


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("IDLE", "idle"),
        ("MIXED+PLANNED", "mixed"),
        ("ALLOCATED", "full"),
        ("IDLE+CLOUD+POWERED_DOWN", "idle"),  # saves power: Slurm starts it for a job
        ("IDLE+DRAIN", "drained"),
        ("IDLE*+DRAIN", "drained"),  # it was drained, and then switched off
        ("DOWN+DRAIN", "drained"),
        ("DOWN*+DRAIN+NOT_RESPONDING", "drained"),
        ("IDLE+DRAIN+MAINTENANCE", "drained"),
        ("MIXED+DRAIN", "draining"),
        ("ALLOCATED+DRAIN", "draining"),
        ("IDLE+COMPLETING+DRAIN", "draining"),
        ("DOWN", "down"),
        ("DOWN*", "down"),
        ("IDLE*", "down"),
        ("IDLE+NOT_RESPONDING", "down"),
        ("IDLE+FAIL", "down"),
        ("IDLE+MAINTENANCE+RESERVED", "maintenance"),
        ("MIXED+MAINTENANCE", "maintenance"),
        ("DOWN*+MAINTENANCE", "maintenance"),  # it may be switched off then
        ("UNKNOWN", "unknown"),
    ],
)
def test_a_state_of_slurm_is_one_word(said, state):
    assert nodes.state(line(state=said)).state == state


@pytest.mark.parametrize(
    ("more", "reason", "by", "at"),
    [
        (REASON, "a fan is loud", "root", AT),
        (" Reason=Not responding [slurm@2026-11-28T07:00:00]", "Not responding", "slurm", AT),
        (f"{REASON} Comment=rack 3 [kim@1]", "a fan is loud", "root", AT),
        (" Reason=why [not @ all] State=IDLE [kim@1795849200]", "why [not @ all] State=IDLE", "kim", AT),
        (" Reason=nobody says who", "nobody says who", "", None),
        (" Reason=odd [kim@yesterday]", "odd", "kim", None),
        ("", "", "", None),
    ],
)
def test_why_a_node_is_out_is_told_with_who_said_so_and_since_when(more, reason, by, at):
    seen = nodes.state(line(state="IDLE+DRAIN", more=more))
    assert (seen.state, seen.reason, seen.reason_by, seen.reason_at) == ("drained", reason, by, at)


def test_health_calls_drained_nodes_drained_and_is_not_alarmed_by_a_maintenance(tmp_path):
    commands = Paper(
        line("h100-1", "DOWN*+DRAIN", REASON),
        line("h100-2", "DOWN*", " Reason=Not responding [slurm@1795849200]"),
        line("h100-3", "DOWN*+MAINTENANCE"),
        line("h100-4", "MIXED", used=3),
        line("h100-5", "MIXED+MAINTENANCE", used=2),
    )
    seen = watch.health(commands, tmp_path, 0.0, {}, [], IN_STEP)
    told = {warn.code: warn.text.partition(": ")[2] for warn in seen.warnings}
    assert told == {"nodes_down": "h100-2 (Not responding; slurm)", "nodes_drained": "h100-1 (a fan is loud; root)"}
    # What is free is free for jobs: in a maintenance nothing starts.
    assert [(slot.gpu_type, slot.slots, slot.busy) for slot in seen.slots] == [("h100", 8, 3)]


def live(reason: str, partition: str = "h100") -> answers.Live:
    row = dict.fromkeys(answers.LIVE_FIELDS, "1")
    row |= {"%K": "N/A", "%T": "PENDING", "%r": reason, "%S": "N/A", "%e": "N/A", "%l": "10:00", "%P": partition}
    return answers.live([*(row | {"%b": "gres:gpu:h100:1", "%u": "kim", "%k": ""}).values()])


@pytest.mark.parametrize(
    ("states", "word"),
    [
        (["IDLE+DRAIN", "MIXED+DRAIN", "IDLE"], "NodesDrained"),
        (["DOWN*", "IDLE"], "NodesDown"),
        (["IDLE+MAINTENANCE"], "ReqNodeNotAvail"),
        (["DOWN*", "IDLE+DRAIN"], "NodesOut"),
        (["IDLE", "MIXED"], "Priority"),
    ],
)
def test_a_job_that_waits_for_nodes_is_told_which_of_slurms_three_reasons_it_is(tmp_path, states, word):
    commands = Paper(*(line(f"n-{n}", state, partitions="h100,all") for n, state in enumerate(states)))
    engine = SlurmEngine(lambda: None, tmp_path, "paper", commands)
    waits = live(DOWN_OR)
    for _look in range(3):
        out = engine._why_out([waits])
        assert _reason(waits, out) == word
    assert commands.asked == 1  # and again after some seconds
    engine._out_at -= OUT_S + 1
    engine._why_out([waits])
    assert commands.asked == 2
    other = _reason(live("ReqNodeNotAvail, UnavailableNodes:n-[0-1]"), out)
    assert other == (word if word != "Priority" else "ReqNodeNotAvail")
    assert _reason(live("ReqNodeNotAvail, Reserved for maintenance"), out) == "Maintenance"


def test_nodes_are_not_asked_for_where_no_job_waits_for_them(tmp_path):
    commands = Paper(line(state="DOWN"))
    engine = SlurmEngine(lambda: None, tmp_path, "paper", commands)
    assert engine._why_out([live("Resources"), live("Priority")]) == {}
    assert commands.asked == 0


def test_a_node_without_a_reason_is_named_alone():
    assert nodes.named(NodeState("n", "down", "", (), "", 0, 0)) == "n"
