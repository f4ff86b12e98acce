"""Nodes and maintenance from the command line."""

from __future__ import annotations

import doctest
from datetime import datetime, timedelta

import pytest

from madang.cli import complete, operate
from madang.client import Client
from madang.engines.base import NODE_STATES, NodeState
from madang.facilities.compute.tests import make
from madang.identity import actions as people
from madang.identity.tests import make as identity
from madang.jobs import nodes
from madang.jobs.models import Maintenance, Node
from madang.workflow.moment import now

database = pytest.mark.django_db(transaction=True)
AT = datetime.fromisoformat("2026-11-28T16:00:00+09:00")


@pytest.fixture
def operates(world):
    """The terminal of the site's operator, with two nodes of the cluster."""
    _row, token = people.make_token(identity.operator(), name="operate", days=1)
    world.type.environment["MADANG_TOKEN"] = token
    nodes.keep(
        world.allocation.resource.partition.cluster.code,
        [
            NodeState("n1", "idle", "", ("h100",), "h100", 8, 0),
            NodeState("n2", "drained", "a fan is loud", ("h100",), "h100", 8, 0, "root", AT),
        ],
    )
    return world.type


@database
def test_nodes_are_listed_drained_and_resumed(operates, world):
    listed = operates("node", "list").stdout
    assert all(word in listed for word in ("n1", "idle", "0/8 h100", "n2", "drained", "root"))
    assert [row["name"] for row in operates.json("node", "list", "--state", "drained")] == ["n2"]
    answer = operates("node", "drain", "n1", "n2", "n1", "--reason", "new fans")
    assert (answer.exit_code, answer.stdout) == (0, "n1 is being drained\nn2 is being drained\n")
    assert [row["wish"] for row in operates.json("node", "resume", "n1")] == ["resume"]
    listed = " ".join(operates("node", "list").stdout.split())
    assert ("idle → resume" in listed, "drained → drain" in listed) == (True, True)
    for words, code in (
        (("node", "list", "--state", "tired"), 2),
        (("node", "drain", "n1"), 2),
        (("node", "drain", "n1", "--reason", " "), 1),
        (("node", "drain", "n9", "--reason", "why"), 4),
        (("node", "resume", "n1", "--cluster", "other"), 4),
    ):
        assert (words, operates(*words).exit_code) == (words, code)
    nodes.keep("other", [NodeState("n1", "idle", "", (), "h100", 8, 0)])
    two = operates("node", "drain", "n1", "--reason", "why")
    assert (two.exit_code, "choose one: --cluster" in two.stderr) == (2, True)
    assert operates("node", "drain", "n1", "--reason", "why", "--cluster", "other").exit_code == 0
    assert Node.objects.get(engine="other").wish_why == "why"


@database
def test_where_one_of_the_named_nodes_is_not_there_none_is_drained(operates):
    assert operates("node", "drain", "n1", "n9", "--reason", "why").exit_code == 4
    assert set(Node.objects.values_list("wish", flat=True)) == {""}


@database
def test_maintenance_is_planned_listed_changed_and_withdrawn(operates, world):
    partition = world.allocation.resource.partition
    begins = (now() + timedelta(days=1)).replace(second=0, microsecond=0)
    times = ("--from", begins.isoformat(), "--until", (begins + timedelta(hours=1)).isoformat())
    made = operates("maintenance", "plan", "n1", *times, "--reason", "new fans")
    row = Maintenance.objects.get()
    assert (made.exit_code, row.nodes, row.starts_at, row.reason) == (0, ["n1"], begins, "new fans")
    assert f"{row.pk} {partition.cluster.code}: n1, " in made.stdout
    listed = " ".join(operates("maintenance", "list").stdout.split())
    assert all(word in listed for word in (str(row.pk), "new fans", "not yet"))
    longer = (begins + timedelta(hours=3)).isoformat()
    changed = operates.json("maintenance", "change", str(row.pk), "--until", longer)
    assert (changed["reason"], datetime.fromisoformat(changed["ends_at"])) == ("new fans", begins + timedelta(hours=3))
    assert operates("maintenance", "change", str(row.pk)).exit_code == 2
    assert operates("maintenance", "withdraw", str(row.pk)).stdout == f"{row.pk} is withdrawn\n"
    assert operates("maintenance", "withdraw", str(row.pk)).exit_code == 1
    assert operates("maintenance", "withdraw", "999999").exit_code == 4
    whole = operates.json("maintenance", "plan", "--partition", partition.name, *times, "--reason", "why")
    assert (whole["partition"], whole["nodes"]) == (partition.name, [])
    odd = operates("maintenance", "plan", "--from", "soon", "--until", "later", "--reason", "why")
    assert (odd.exit_code, "soon" in odd.stderr) == (2, True)
    past = operates("maintenance", "plan", "--from", "2020-01-01", "--until", "now", "--reason", "why")
    assert (past.exit_code, "starts_at" in past.stderr) == (1, True)


@database
def test_of_several_clusters_one_is_chosen(operates, world):
    other = make.partition()
    words = ("maintenance", "plan", "--from", "now", "--until", (now() + timedelta(hours=1)).isoformat())
    answer = operates(*words, "--reason", "why")
    assert (answer.exit_code, "choose one: --cluster" in answer.stderr) == (2, True)
    assert operates(*words, "--reason", "why", "--partition", "nowhere").exit_code == 4
    row = operates.json(*words, "--reason", "why", "--cluster", other.cluster.code)
    assert (row["cluster"], row["partition"], row["nodes"]) == (other.cluster.code, "", [])


@database
def test_a_tenant_may_none_of_it(world):
    for words in (
        ("node", "list"),
        ("node", "drain", "n1", "--reason", "why"),
        ("maintenance", "list"),
        ("maintenance", "withdraw", "1"),
    ):
        assert (words, world.type(*words).exit_code) == (words, 3)


@database
def test_a_shell_completes_names_and_hears_nothing_where_nobody_answers(operates, world, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("MADANG_URL", world.type.url)
    monkeypatch.setenv("MADANG_TOKEN", world.type.environment["MADANG_TOKEN"])
    monkeypatch.setattr(complete, "PATIENCE_S", 60)  # as much as a busy machine needs
    partition = world.allocation.resource.partition
    cluster = partition.cluster.code
    assert dict(complete.nodes("")).keys() == {"n1", "n2"}
    assert (dict(complete.nodes("n2")), complete.nodes("x")) == ({"n2": f"{cluster}, drained"}, [])
    assert dict(complete.clusters("")).keys() == {cluster}
    assert dict(complete.open_partitions(partition.name[:1])).keys() == {partition.name}
    assert operate.state_names("d") == ["draining", "drained", "down"]
    monkeypatch.setenv("MADANG_TOKEN", world.token)
    assert complete.nodes("") == []
    monkeypatch.setenv("MADANG_URL", "http://127.0.0.1:9")
    assert complete.clusters("") == []


@database
def test_the_client_speaks_of_nodes_and_maintenance_too(operates, world):
    cluster = world.allocation.resource.partition.cluster.code
    begins = now() + timedelta(days=1)
    with Client(world.type.url, world.type.environment["MADANG_TOKEN"]) as client:
        assert [row["name"] for row in client.nodes(cluster=cluster)] == ["n1", "n2"]
        assert client.drain("n1", cluster=cluster, reason="why")["wish"] == "drain"
        assert client.resume("n1", cluster=cluster)["wish"] == "resume"
        row = client.plan_maintenance(
            cluster=cluster, starts_at=begins, ends_at=begins + timedelta(hours=1), reason="why"
        )
        assert client.change_maintenance(row["id"], reason="new fans")["reason"] == "new fans"
        assert [found["id"] for found in client.maintenance()] == [row["id"]]
        assert client.withdraw_maintenance(row["id"])["withdrawn_at"]
        assert list(client.site_jobs()) == []


def test_the_states_that_may_be_asked_for_are_those_that_there_are():
    assert operate.STATES == NODE_STATES


def test_the_examples_in_the_docstrings_are_right():
    assert doctest.testmod(operate).failed == 0
