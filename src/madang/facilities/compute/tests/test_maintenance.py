"""Maintenance as operators announce it on their pages, and as everybody reads it whose jobs it concerns."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.urls import reverse

from madang.engines.base import NodeState
from madang.facilities.compute import words
from madang.facilities.compute.models import Partition
from madang.facilities.compute.tests import make
from madang.identity.tests import make as identity
from madang.jobs import maintenance, nodes
from madang.jobs import queries as jobs_queries
from madang.jobs.models import Job, Maintenance, Watch
from madang.jobs.tests import make as jobs
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
ADD, NODES, NEW = "/compute/maintenance/add/", "/compute/nodes/", "/compute/jobs/new/"
HOUR = timedelta(hours=1)
SEOUL = ZoneInfo("Asia/Seoul")


def browser(person: Any, language: str = "en") -> Client:
    client = Client(HTTP_ACCEPT_LANGUAGE=language)
    client.force_login(person)
    return client


def typed(at: datetime) -> str:
    """As a field for an instant sends it."""
    return at.astimezone(SEOUL).strftime("%Y-%m-%dT%H:%M")


def shown(at: datetime) -> str:
    return typed(at).replace("T", " ")


def filled(where: str, begins: timedelta = HOUR, length: timedelta = HOUR, **more: Any) -> dict[str, Any]:
    start = now() + begins
    given = {"where": where, "nodes": "", "starts_at": typed(start), "ends_at": typed(start + length)}
    return {**given, "reason": "<b>new</b> fans", **more}


def window(where: Partition, begins: timedelta = HOUR, length: timedelta = 2 * HOUR, **more: Any) -> Maintenance:
    start = now() + begins
    given = {"engine": where.cluster.code, "starts_at": start, "ends_at": start + length, "reason": "new fans"}
    return maintenance.announce(identity.operator(), **{**given, **more})


def answers(where: Partition) -> None:
    """Its poller has looked."""
    Watch.objects.update_or_create(engine=where.cluster.code, defaults={"answered_at": now()})


def test_an_operator_announces_changes_and_withdraws_from_the_page_of_the_nodes():
    where = make.partition()
    boss = browser(identity.operator())
    assert f'href="{ADD}"' in boss.get(NODES).content.decode()
    page = boss.get(ADD, {"where": f"{where.cluster.code}/{where.name}", "nodes": "n1, n2"}).content.decode()
    assert f'value="{where.cluster.code}/{where.name}" selected' in page
    answer = boss.post(ADD, filled(where.cluster.code))
    assert (answer.status_code, answer["Location"]) == (302, NODES)
    row = Maintenance.objects.get()
    assert (row.engine, row.partition, row.nodes, row.reason) == (where.cluster.code, "", [], "<b>new</b> fans")
    page = boss.get(NODES).content.decode()
    assert ("&lt;b&gt;new" in page, "<b>new" in page, shown(row.starts_at) in page) == (True, False, True)
    assert ("All nodes" in page, "to come" in page, "the cluster is being told" in page) == (True, True, True)

    change = reverse("compute:maintenance", args=[row.pk])
    assert typed(row.starts_at) in boss.get(change).content.decode()
    wrong = boss.post(change, {"starts_at": typed(row.ends_at), "ends_at": typed(row.starts_at), "reason": "later"})
    assert (wrong.status_code, list(wrong.context["form"].errors)) == (422, ["ends_at"])
    later = {"starts_at": typed(row.starts_at + HOUR), "ends_at": typed(row.ends_at + HOUR), "reason": "later"}
    assert boss.post(change, later).status_code == 302
    assert (Maintenance.objects.get().starts_at, Maintenance.objects.get().reason) == (row.starts_at + HOUR, "later")

    withdraw = reverse("compute:withdraw_maintenance", args=[row.pk])
    assert boss.get(withdraw).status_code == 405
    assert boss.post(withdraw).status_code == 302
    assert Maintenance.objects.get().withdrawn_at
    assert "later" not in boss.get(NODES).content.decode()
    page = boss.get(change).content.decode()
    assert ("It was withdrawn" in page, "<textarea" in page, 'name="ends_at"' in page) == (True, False, False)
    assert "was withdrawn" in boss.post(withdraw, follow=True).content.decode()
    assert boss.post(change, later).status_code == 422


def test_one_that_goes_on_is_shortened_by_its_form():
    where = make.partition()
    row = window(where)
    Maintenance.objects.update(starts_at=now() - HOUR)
    row.refresh_from_db()
    boss, address = browser(identity.operator()), reverse("compute:maintenance", args=[row.pk])
    assert "goes on" in boss.get(NODES).content.decode()
    end = now() + timedelta(minutes=9)
    data = {"starts_at": typed(row.starts_at), "ends_at": typed(end), "reason": "sooner"}
    assert boss.post(address, data).status_code == 302
    changed = Maintenance.objects.get()
    assert (shown(changed.ends_at), changed.reason) == (shown(end), "sooner")
    moved = boss.post(address, {**data, "starts_at": typed(now() + timedelta(minutes=2))})
    assert list(moved.context["form"].errors) == ["starts_at"]


def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_stays():
    where = make.partition()
    code = where.cluster.code
    nodes.keep(code, [NodeState(name, "idle", "", (where.name,), "h100", 8, 0) for name in ("n1", "n2", "n3")])
    boss = browser(identity.operator())
    for facts, field in [
        ({"begins": -HOUR, "length": 2 * HOUR}, "starts_at"),
        ({"length": -HOUR}, "ends_at"),
        ({"length": timedelta(days=61)}, "ends_at"),
        ({"nodes": "n1 n9"}, "nodes"),
        ({"reason": ""}, "reason"),
        ({"where": "nowhere"}, "where"),
        ({"starts_at": "soon"}, "starts_at"),
    ]:
        page = boss.post(ADD, filled(**{"where": code, **facts}))
        assert (page.status_code, list(page.context["form"].errors)) == (422, [field])
        assert "&lt;b&gt;new" in page.content.decode() or field == "reason"
    assert Maintenance.objects.count() == 0
    assert boss.post(ADD, filled(f"{code}/{where.name}", nodes="n1, n2,")).status_code == 302
    assert Maintenance.objects.get().nodes == ["n1", "n2"]
    again = boss.post(ADD, filled(code))
    assert list(again.context["form"].errors) == ["starts_at"]


def test_only_operators_have_these_pages():
    where = make.partition()
    row = window(where)
    member = jobs.holder(make.allocation(where))
    change, withdraw = (
        reverse("compute:maintenance", args=[row.pk]),
        reverse("compute:withdraw_maintenance", args=[row.pk]),
    )
    for person in (member, identity.steward(), identity.officer(), identity.auditor()):
        client = browser(person)
        assert [client.get(address).status_code for address in (ADD, change)] == [403, 403]
        sent = [client.post(ADD, filled(where.cluster.code, begins=9 * HOUR)), client.post(withdraw)]
        sent.append(client.post(change, {"starts_at": "", "ends_at": "", "reason": ""}))
        assert [answer.status_code for answer in sent] == [403, 403, 403]
    assert [Client().get(address).status_code for address in (ADD, change)] == [302, 302]
    keeper = browser(identity.steward()).get(NODES).content.decode()
    assert ("new fans" in keeper, "Withdraw" in keeper, ADD in keeper) == (True, False, False)
    assert browser(identity.operator()).get(reverse("compute:maintenance", args=[row.pk + 1])).status_code == 404
    assert (Maintenance.objects.count(), Maintenance.objects.get().withdrawn_at) == (1, None)


def test_what_a_cluster_refuses_is_shown_to_its_operator():
    where = make.partition()
    window(where)
    Watch.objects.filter(engine=where.cluster.code).update(windows_held="Invalid node name", answered_at=now())
    assert "Invalid node name" in browser(identity.operator()).get(NODES).content.decode()


def test_tenants_read_it_where_their_jobs_are_and_other_partitions_dont_say_it():
    where, other = make.partition(), make.partition()
    row = make.allocation(where)
    coming = window(where, reason="<i>new</i> fans")
    text = f"Maintenance from {shown(coming.starts_at)} to {shown(coming.ends_at)}"
    job = make.job(row)
    client, code = browser(jobs.holder(row)), where.resource.code
    for address in (f"/compute/partitions/{code}/", NEW, reverse("compute:job", args=[job.uuid])):
        page = client.get(address).content.decode()
        assert (text in page, "&lt;i&gt;new" in page, "<i>new" in page) == (True, True, False)
        assert "Jobs that would run into it wait." in page
    assert text in Client(HTTP_ACCEPT_LANGUAGE="en").get(f"/compute/partitions/{code}/").content.decode()
    listed = client.get("/compute/").content.decode()
    assert listed.count(f"maintenance {shown(coming.starts_at)}") == 2  # in its column, and on a phone below the name
    assert "Maintenance" not in client.get(f"/compute/partitions/{other.resource.code}/").content.decode()
    (said,) = [item for item in client.get("/api/v1/compute/partitions").json()["items"] if item["maintenance"]]
    assert said["resource"] == code
    assert said["maintenance"][0]["reason"] == "<i>new</i> fans"
    maintenance.withdraw(identity.operator(), window=coming)
    assert text not in client.get(f"/compute/partitions/{code}/").content.decode()


def test_of_named_nodes_a_tenant_reads_how_many_they_are():
    where = make.partition()
    nodes.keep(
        where.cluster.code,
        [NodeState(f"n{n}", "idle", "", (where.name,), "h100", 8, 0) for n in range(4)],
    )
    window(where, nodes=["n1", "n2"], begins=timedelta(minutes=-1))
    answers(where)
    row = make.allocation(where)
    client = browser(jobs.holder(row))
    assert (
        "2 of 4 nodes are out of service" in client.get(f"/compute/partitions/{where.resource.code}/").content.decode()
    )
    page = client.get(NEW)
    assert (page.context["forecast"].reach, page.context["forecast"].start) == (None, "now")


def test_what_is_free_is_free_for_a_job_that_runs_into_no_maintenance_there_and_too_few_gpus_wait_for_its_end(
    django_assert_num_queries,
):
    where = make.partition(gpus=24, most_gpus=20)
    make.partition(where.cluster, name="other")
    cluster = where.cluster.code
    shared = (where.name, "other")

    def seen(n3: str, slots: int) -> None:
        nodes.keep(
            cluster,
            [
                NodeState("n1", "idle", "", shared, where.gpu_type, 8, 0),
                NodeState("n2", "mixed", "", shared, where.gpu_type, 8, 2),
                NodeState("n3", n3, "", (where.name,), where.gpu_type, 8, 0),
                NodeState("n4", "idle", "", ("other",), where.gpu_type, 8, 0),
            ],
        )
        health = {"slots": [{"gpu_type": where.gpu_type, "slots": slots, "busy": 2, "queued": 0}]}
        Watch.objects.update_or_create(engine=cluster, defaults={"answered_at": now(), "health": health})

    seen("idle", 24)
    row = make.allocation(where, amount=100 * 3600)
    client = browser(jobs.holder(row))

    def said(gpus: int, minutes: int) -> tuple[Any, ...]:
        asked = {"allocation": row.pk, "gpus": gpus, "limit_s": minutes * 60}
        found = client.get("/api/v1/compute/forecast", asked).json()
        return found["start"], found["free"], found["earliest_at"] is not None

    assert said(16, 90) == ("now", 22, False)
    named = window(where, nodes=["n1"])  # from an hour on, for two hours
    assert [said(16, 30), said(14, 90)] == [("now", 22, False), ("now", 14, False)]
    assert said(16, 90) == ("waits", 14, False)  # n2 may be rid of its job
    assert said(17, 90) == ("waits", 14, True)  # not before the maintenance is over
    second = window(where, partition="other", begins=4 * HOUR)  # which has two nodes of this partition
    assert said(8, 5 * 60) == ("now", 8, False)  # each node counts once, also where it is in both
    assert said(9, 5 * 60) == ("waits", 8, True)
    seen("drained", 16)
    assert said(1, 90) == ("now", 6, False)
    assert said(1, 5 * 60) == ("waits", 0, True)  # n3 starts nothing, and the others are in a maintenance by then
    text = client.get(NEW, {"allocation": row.pk, "gpus": 1, "limit_s": 5 * 60}).content.decode()
    assert f"from {shown(second.ends_at)} at the earliest" in text
    begins = now()
    reaches = maintenance.reaching(jobs_queries.watches()[cluster], where.name)
    with django_assert_num_queries(0):
        asked = (cluster, where.name, where.gpu_type, reaches, begins, timedelta(minutes=30))
        assert maintenance.kept_from(*asked) == (0, 0)
    with django_assert_num_queries(1):
        assert maintenance.kept_from(*asked[:-1], HOUR * 2) == (8, 0)
    for gone in (named, second):
        maintenance.withdraw(identity.operator(), window=gone)
    assert said(1, 5 * 60) == ("now", 14, False)


@pytest.mark.parametrize(("minutes", "into"), [(50, False), (61, True)])
def test_the_form_says_when_a_job_could_start_that_would_run_into_it(minutes, into):
    where = make.partition()
    coming = window(where)
    answers(where)
    row = make.allocation(where)
    client = browser(jobs.holder(row))
    page = client.get(NEW, {"allocation": row.pk, "gpus": 1, "limit_s": minutes})
    said, text = page.context["forecast"], page.content.decode()
    assert (said.start, said.earliest_at) == (("waits", coming.ends_at) if into else ("now", None))
    assert ("With a limit of at most 5" in text, f"from {shown(coming.ends_at)} at the earliest" in text) == (
        into,
        into,
    )
    told = client.get("/api/v1/compute/forecast", {"allocation": row.pk, "gpus": 1, "limit_s": minutes * 60}).json()
    assert (told["start"], bool(told["maintenance"]), bool(told["earliest_at"])) == (said.start, into, into)


def test_a_job_that_waits_says_until_when_and_one_that_runs_may_still_run_then():
    where = make.partition()
    coming = window(where)
    row = make.allocation(where)
    job = make.job(row, limit_s=3 * 3600)
    client, address = browser(jobs.holder(row)), reverse("compute:job", args=[job.uuid])
    Job.objects.update(state="queued", waits="Maintenance")
    text = client.get(address).content.decode()
    assert (
        f"Its time limit reaches into the maintenance from {shown(coming.starts_at)} to {shown(coming.ends_at)}" in text
    )
    assert "may still run then" not in text
    Job.objects.update(state="running", waits="", started_at=now())
    assert "may still run then" in client.get(address).content.decode()
    Job.objects.update(limit_s=60)
    assert "may still run then" not in client.get(address).content.decode()
    korean = browser(jobs.holder(row), "ko").get(address).content.decode()
    assert "점검" in korean


def test_the_words_name_the_date_where_it_is_known():
    begins = datetime(2026, 12, 1, 9, 0, tzinfo=SEOUL)
    reach = maintenance.Reach(maintenance.Window(1, begins, begins + HOUR, "", "", (), None), 0, 0)
    for reason in ("Maintenance", "ReqNodeNotAvail"):
        assert "2026-12-01 09:00" in words.waits(reason, [reach], begins - HOUR)
        assert "2026-12-01 10:00" in words.waits(reason, [reach], begins)
        assert words.waits(reason) not in (reason, "")
    assert "2026-12-01 10:00" in words.waits("NodesOut", [reach], begins)
    for reason in ("NodesOut", "NodesDown", "NodesDrained"):
        assert "2026" not in words.waits(reason, [reach], begins - HOUR)
    # What is drained or down is so whatever else was announced for its partition.
    assert "maintenance" not in words.waits("NodesDown", [reach], begins) + words.waits("NodesDrained", [reach], begins)
    assert "2026" not in words.waits("Priority", [reach], begins)


def test_the_operator_reads_how_many_jobs_may_still_run_then_and_goes_to_the_form_from_a_node():
    where, other = make.partition(), make.partition()
    of_one = make.partition(where.cluster)
    nodes.keep(where.cluster.code, [NodeState("n 1&", "idle", "", (), "h100", 8, 0)])
    row = make.allocation(where)
    for place, seconds, state in [
        (where, 7200, "running"),
        (where, 60, "running"),
        (where, 7200, "queued"),
        (of_one, 7200, "running"),
        (other, 7200, "running"),
    ]:
        job = make.job(row, limit_s=seconds)
        facts = {"engine": place.cluster.code, "partition": place.name, "started_at": now()}
        Job.objects.filter(pk=job.pk).update(state=state, **facts)
    boss = browser(identity.operator())
    coming = window(where)
    page = boss.get(NODES).content.decode()
    assert "2 jobs may still run then" in page
    assert f"{ADD}?where={where.cluster.code}&amp;nodes=n%201%26" in page
    maintenance.withdraw(identity.operator(), window=coming)
    window(where, partition=where.name)
    assert "1 job may still run then" in boss.get(NODES).content.decode()
