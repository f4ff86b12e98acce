"""Nodes and maintenance over HTTP: the same verbs as the pages, for operators alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from django.test import Client

from madang.engines.base import NODE_STATES, NodeState
from madang.facilities.compute.site_api import NodeStateName
from madang.facilities.compute.tests import make
from madang.identity import actions as people
from madang.identity.models import Role
from madang.identity.tests import make as identity
from madang.jobs import maintenance, nodes
from madang.jobs.models import Job, Maintenance, Node, Watch
from madang.jobs.tests import make as jobs
from madang.web.templatetags.madang import seoul
from madang.workflow.models import LogLine
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
BASE = "/api/v1/compute"
AT = datetime(2026, 11, 28, 7, 0, tzinfo=UTC)


class Program(Client):
    """A client with a token, that sends and reads JSON."""

    def __init__(self, person):
        _token, secret = people.make_token(person, name="test", days=1)
        super().__init__(headers={"Authorization": f"Bearer {secret}", "Accept-Language": "en"})

    def send(self, path, body=None, method="post"):
        answer = getattr(self, method)(f"{BASE}{path}", json.dumps(body or {}), "application/json")
        return answer.status_code, answer.json()


def seen(*names: str, engine: str = "c", state: str = "idle", **facts) -> None:
    nodes.keep(engine, [NodeState(name, state, "", ("h100", "all"), "h100", 8, 2, **facts) for name in names])


def test_the_states_that_a_program_may_ask_for_are_those_that_there_are():
    assert get_args(NodeStateName) == NODE_STATES


def test_nodes_are_listed_drained_and_let_take_jobs_again():
    seen("n1", "n2", "n3")
    boss = Program(identity.operator())
    first = boss.get(f"{BASE}/nodes?limit=2").json()
    rest = boss.get(f"{BASE}/nodes?after={first['next']}").json()
    assert [row["name"] for row in first["items"] + rest["items"]] == ["n1", "n2", "n3"]
    row = first["items"][0]
    assert (rest["next"], row["partitions"], row["takes_jobs"]) == (None, ["h100", "all"], True)
    status, row = boss.send("/nodes/c/n1/drain", {"reason": " a fan  is loud "})
    assert (status, row["wish"], row["wish_why"]) == (200, "drain", "a fan is loud")
    assert Node.objects.get(name="n1").wish == "drain"
    status, row = boss.send("/nodes/c/n1/resume")
    assert (status, row["wish"]) == (200, "resume")
    lines = LogLine.objects.filter(kind="jobs.node").order_by("id")
    assert [(line.verb, line.reason) for line in lines] == [("drain", "a fan is loud"), ("resume", "")]
    assert boss.send("/nodes/c/n1/drain", {"reason": " "})[0] == 422
    assert boss.send("/nodes/c/n9/drain", {"reason": "why"})[0] == 404
    assert boss.send("/nodes/other/n1/resume")[0] == 404
    assert boss.get(f"{BASE}/nodes?state=tired").status_code == 422
    assert boss.get(f"{BASE}/nodes?state=down").json()["items"] == []


def test_why_a_node_takes_no_jobs_is_told_with_who_said_so_and_since_when():
    nodes.keep("c", [NodeState("n1", "drained", "a fan is loud", (), "h100", 8, 0, "root", AT)])
    (row,) = Program(identity.operator()).get(f"{BASE}/nodes?name=n1&cluster=c").json()["items"]
    assert (row["state"], row["reason"], row["reason_by"]) == ("drained", "a fan is loud", "root")
    assert datetime.fromisoformat(row["reason_at"]) == AT
    page = Client(headers={"Accept-Language": "en"})
    page.force_login(identity.operator())
    text = page.get("/compute/nodes/").content.decode()
    assert ("a fan is loud" in text, "root" in text, "2026-11-28 16:00" in text) == (True, True, True)


def test_maintenance_is_announced_changed_and_withdrawn():
    where = make.partition()
    cluster = where.cluster.code
    boss = Program(identity.operator())
    begins = now().replace(second=0, microsecond=0) + timedelta(days=1)
    asked = {"cluster": cluster, "partition": where.name, "reason": "new fans"}
    asked |= {"starts_at": begins.isoformat(), "ends_at": (begins + timedelta(hours=2)).isoformat()}
    status, made = boss.send("/maintenance", asked)
    assert (status, made["partition"], made["nodes"], made["withdrawn_at"]) == (201, where.name, [], None)
    assert datetime.fromisoformat(made["starts_at"]) == begins
    (listed,) = boss.get(f"{BASE}/maintenance").json()["items"]
    assert (listed["id"], listed["still"], listed["reason"]) == (made["id"], 0, "new fans")
    status, problem = boss.send("/maintenance", asked)
    assert (status, list(problem["errors"])) == (422, ["starts_at"])  # the same nodes twice
    later = (begins + timedelta(hours=5)).isoformat()
    status, changed = boss.send(f"/maintenance/{made['id']}", {"ends_at": later}, "patch")
    assert (status, changed["starts_at"], changed["reason"]) == (200, made["starts_at"], "new fans")
    assert datetime.fromisoformat(changed["ends_at"]) == begins + timedelta(hours=5)
    status, gone = boss.send(f"/maintenance/{made['id']}/withdraw")
    assert (status, gone["withdrawn_at"] is None) == (200, False)
    assert boss.send(f"/maintenance/{made['id']}/withdraw")[0] == 409
    assert boss.get(f"{BASE}/maintenance").json()["items"] == []
    lines = LogLine.objects.filter(kind="jobs.maintenance").order_by("id")
    assert [line.verb for line in lines] == ["announce", "change", "withdraw"]


def test_what_is_wrong_with_a_maintenance_is_said_at_its_field_and_a_time_without_a_zone_is_korean():
    cluster = make.partition().cluster.code
    boss = Program(identity.operator())
    asked = {"cluster": "nowhere", "nodes": ["n9"], "starts_at": "2020-01-01T00:00", "ends_at": "2019-01-01T00:00"}
    status, problem = boss.send("/maintenance", {**asked, "reason": ""})
    assert (status, set(problem["errors"])) == (422, {"cluster", "nodes", "starts_at", "ends_at", "reason"})
    assert boss.send("/maintenance", {"cluster": cluster})[0] == 422
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    times = {"starts_at": f"{tomorrow:%Y-%m-%d}T09:00", "ends_at": f"{tomorrow:%Y-%m-%d}T10:00"}
    status, _made = boss.send("/maintenance", {"cluster": cluster, "reason": "new fans", **times})
    assert (status, Maintenance.objects.get().starts_at.astimezone(UTC).hour) == (201, 0)


@pytest.mark.parametrize("who", ["tenant", Role.OFFICER, Role.STEWARD, Role.AUDITOR])
def test_only_operators_change_anything_and_only_keepers_see_it(who):
    where = make.partition()
    cluster = where.cluster.code
    seen("n1", engine=cluster)
    boss = Program(identity.operator())
    begins = now() + timedelta(days=1)
    asked = {"cluster": cluster, "reason": "new fans"}
    asked |= {"starts_at": begins.isoformat(), "ends_at": (begins + timedelta(hours=2)).isoformat()}
    made = boss.send("/maintenance", asked)[1]["id"]
    person = jobs.holder(make.allocation(where)) if who == "tenant" else identity.staff(who)
    program = Program(person)
    reads = 200 if who == Role.STEWARD else 403
    assert [program.get(f"{BASE}/{path}").status_code for path in ("nodes", "maintenance")] == [reads] * 2
    for path, body, method in (
        (f"/nodes/{cluster}/n1/drain", {"reason": "mine"}, "post"),
        (f"/nodes/{cluster}/n1/resume", {}, "post"),
        ("/maintenance", asked, "post"),
        (f"/maintenance/{made}", {"reason": "mine"}, "patch"),
        (f"/maintenance/{made}/withdraw", {}, "post"),
    ):
        assert (path, program.send(path, body, method)[0]) == (path, 403)
    assert (Node.objects.get().wish, Maintenance.objects.get().withdrawn_at) == ("", None)
    assert Client().get(f"{BASE}/nodes").status_code == 401


def test_an_operator_reads_which_maintenance_a_job_waits_for():
    where = make.partition()
    job = make.job(make.allocation(where))
    begins = now().replace(second=0, microsecond=0) + timedelta(minutes=2)
    times = {"starts_at": begins, "ends_at": begins + timedelta(hours=2)}
    place = {"engine": where.cluster.code, "partition": where.name, "nodes": []}
    maintenance.announce(identity.operator(), reason="new fans", **place, **times)
    Watch.objects.update(answered_at=now())
    Job.objects.filter(pk=job.pk).update(state="queued", waits="Maintenance")
    boss = Program(identity.operator())
    (listed,) = boss.get(f"{BASE}/site-jobs").json()["items"]
    assert listed == boss.get(f"{BASE}/site-jobs/{job.uuid}").json()
    said = f"reaches into the maintenance from {seoul(begins)} to {seoul(times['ends_at'])}: it starts after that."
    assert (listed["waits"], listed["waits_said"]) == ("Maintenance", f"Its time limit {said}")
