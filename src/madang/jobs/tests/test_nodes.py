"""The nodes of an engine: written down where they changed, and drained as operators want it."""

from __future__ import annotations

import pytest

from madang.engines.base import NodeState, Rejected, Unavailable
from madang.identity.tests import make as people
from madang.jobs import actions, nodes
from madang.jobs.models import Node
from madang.workflow.errors import NotAllowed, Refused
from madang.workflow.models import LogLine

pytestmark = pytest.mark.django_db


def state(name: str = "n1", state: str = "idle", used: int = 0, reason: str = "") -> NodeState:
    return NodeState(name, state, reason, ("h100",), "h100", 8, used)


class Told:
    """An engine that only listens."""

    def __init__(self, error: Exception | None = None) -> None:
        self.said: list[tuple[str, ...]] = []
        self.error = error

    def drain(self, node: str, reason: str) -> None:
        self.said.append(("drain", node, reason))
        if self.error:
            raise self.error

    def resume(self, node: str) -> None:
        self.said.append(("resume", node))


def test_only_what_changed_is_written_and_what_is_gone_is_gone(django_assert_num_queries):
    nodes.keep("c", [state("n1"), state("n2"), state("n3")])
    nodes.keep("other", [state("n1")])
    before = dict(Node.objects.filter(engine="c").values_list("name", "changed_at"))
    with django_assert_num_queries(1):
        nodes.keep("c", [state("n1", used=4), state("n2", "down"), *(state(f"m{n}") for n in range(1000))])
    rows = {row.name: row for row in Node.objects.filter(engine="c")}
    assert len(rows) == 1002
    assert "n3" not in rows
    assert (rows["n1"].used, rows["n1"].changed_at) == (4, before["n1"])  # since when it is in its state
    assert (rows["n2"].state, rows["n2"].takes_jobs) == ("down", False)
    assert Node.objects.filter(engine="other").count() == 1


def test_a_wish_is_told_until_it_was_seen_to_have_come_true():
    boss = people.operator()
    nodes.keep("c", [state("n1"), state("n2")])
    node = Node.objects.get(name="n1")
    actions.drain_node(boss, node=node, reason=" a fan\n is loud ")
    told = Told()
    nodes.fulfil(told, "c")
    nodes.keep("c", [state("n1"), state("n2")])
    nodes.fulfil(told, "c")
    assert told.said == [("drain", "n1", "a fan is loud")] * 2
    nodes.keep("c", [state("n1", "draining", 2, "a fan is loud"), state("n2")])
    nodes.fulfil(told, "c")
    assert len(told.said) == 2
    actions.resume_node(boss, node=Node.objects.get(name="n1"))
    nodes.fulfil(told, "c")
    nodes.keep("c", [state("n1"), state("n2")])
    nodes.fulfil(told, "c")
    assert told.said[2:] == [("resume", "n1")]
    lines = LogLine.objects.filter(kind="jobs.node").order_by("id")
    assert [(line.verb, line.reason) for line in lines] == [("drain", "a fan is loud"), ("resume", "")]


def test_what_an_engine_refuses_is_asked_again_and_keeps_nobody_from_the_rest():
    nodes.keep("c", [state("n1"), state("n2")])
    Node.objects.update(wish="drain", wish_why="why")
    told = Told(Rejected("no_node", "there is none"))
    nodes.fulfil(told, "c")
    assert [said[1] for said in told.said] == ["n1", "n2"]
    with pytest.raises(Unavailable):
        nodes.fulfil(Told(Unavailable("no_answer", "")), "c")
    assert Node.objects.exclude(wish="drain").count() == 0


def test_only_operators_drain_and_they_say_why():
    nodes.keep("c", [state()])
    node = Node.objects.get()
    for person in (people.person(), people.steward(), people.auditor()):
        with pytest.raises(NotAllowed):
            actions.drain_node(person, node=node, reason="why")
        with pytest.raises(NotAllowed):
            actions.resume_node(person, node=node)
    with pytest.raises(Refused) as told:
        actions.drain_node(people.operator(), node=node, reason=" \n")
    assert "reason" in told.value.errors
    assert Node.objects.get().wish == ""
