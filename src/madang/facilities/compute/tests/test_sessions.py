"""Interactive sessions: who may start, open and end one, what it holds, and how long a way in is good."""

from __future__ import annotations

import io
import json
import os
import socket
from datetime import timedelta
from uuid import uuid4

import pytest
from django.conf import settings as site
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.utils import translation

from madang.engines.base import SOCKET, RunKey
from madang.engines.base import Missing as EngineMissing
from madang.engines.local import LocalEngine
from madang.facilities.compute import actions, clusters, host, programs, sessions
from madang.facilities.compute.models import Entrance, Program, Session, SessionKind
from madang.facilities.compute.tests import make
from madang.facilities.compute.tests.test_api import BASE, program
from madang.facilities.compute.tests.test_permissions import WHO, body, somebody
from madang.identity import actions as people
from madang.identity.models import Membership
from madang.identity.tests import make as identity
from madang.jobs.models import Job
from madang.jobs.tests import make as jobs
from madang.workflow.errors import Missing, NotAllowed, Refused
from madang.workflow.models import LogLine
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
HOUR = 3600


@pytest.fixture(autouse=True)
def english():
    """Whatever is refused is said in English, also to a test that no page was asked before."""
    with translation.override("en"):
        yield


def logged_in(person) -> Client:
    client = Client(headers={"Accept-Language": "en"})
    client.force_login(person)
    return client


def ticket_of(client: Client, person, session: Session) -> str:
    way = sessions.let_in(person, session=session, login=client.session.session_key or "")
    origin, _, ticket = way.partition("/.madang/enter?ticket=")
    assert origin == sessions.origin_of(session.job.uuid)
    return ticket


# -- start and end ---------------------------------------------------------------------------------------------------


def test_a_session_is_started_in_two_clicks_and_held_as_a_job_is():
    row = make.allocation()
    kind = make.kind(code="lab")
    client = logged_in(jobs.holder(row))
    form = client.get("/compute/sessions/new/", {"allocation": row.pk})
    initial = form.context["form"]
    data = {name: initial[name].value() for name in ("uuid", "kind", "allocation", "gpus", "limit_s")}
    answer = client.post("/compute/sessions/new/", {**data, "gpus": 1, "start": "1"})
    session = Session.objects.select_related("job").get()
    assert answer.headers["Location"] == f"/compute/sessions/{session.job.uuid}/"
    assert (session.kind, session.idle_s, session.job.limit_s) == (kind, 1800, 7200)
    assert jobs.balance(row) == (7200, 0, 10 * HOUR - 7200)
    page = client.get(answer.headers["Location"]).content.decode()
    assert "It waits for its GPUs." in page
    assert "/open/" not in page


def test_the_same_session_asked_for_twice_is_one_and_another_kind_under_its_number_is_refused():
    row, kind, uuid = make.allocation(), make.kind(), uuid4()
    first = make.session(row, kind=kind, uuid=uuid)
    assert make.session(row, kind=kind, uuid=uuid) == first
    with pytest.raises(Refused, match="other content"):
        make.session(row, kind=make.kind(), uuid=uuid)
    assert (Session.objects.count(), Job.objects.count(), jobs.balance(row)[0]) == (1, 1, HOUR)


def test_a_session_is_given_the_files_that_are_chosen_of_its_own_project():
    row, kind = make.allocation(), make.kind()
    person = jobs.holder(row)
    for path in ("data/rows.csv", "train.py"):
        actions.add_file(person, grant=row.grant, path=path, content=io.BytesIO(b"x"), size=1)
    other = make.allocation()
    actions.add_file(jobs.holder(other), grant=other.grant, path="secret.csv", content=io.BytesIO(b"y"), size=1)

    client = logged_in(person)
    form = client.get("/compute/sessions/new/", {"allocation": row.pk})
    page = form.content.decode()
    assert ("2 files of the project" in page, "secret.csv" in page) == (True, False)
    data = {name: form.context["form"][name].value() for name in ("uuid", "kind", "allocation", "gpus", "limit_s")}
    assert client.post("/compute/sessions/new/", {**data, "gpus": 1, "files": ["secret.csv"]}).status_code == 422
    assert client.post("/compute/sessions/new/", {**data, "gpus": 1, "files": ["data/rows.csv"]}).status_code == 302
    assert [entry[0] for entry in Job.objects.get().inputs] == ["data/rows.csv"]

    wanted = {"kind": kind.code, "allocation": row.pk, "limit_s": 600}
    api = program(person)
    made = api.post(f"{BASE}/sessions", json.dumps({**wanted, "files": ["train.py"]}), "application/json")
    assert made.status_code == 201
    refused = api.post(f"{BASE}/sessions", json.dumps({**wanted, "files": ["secret.csv"]}), "application/json")
    assert refused.status_code == 422
    assert Session.objects.count() == 2


@pytest.mark.parametrize(
    ("facts", "field"),
    [({"gpus": 3}, "gpus"), ({"limit_s": 7260}, "limit_s"), ({"gpus": 2, "limit_s": 7200}, "limit_s")],
)
def test_more_than_the_kind_or_the_balance_allows_is_refused_and_nothing_is_left(facts, field):
    row = make.allocation(amount=3 * HOUR)
    with pytest.raises(Refused) as refused:
        make.session(row, **facts)
    assert field in (refused.value.errors or {refused.value.field: ""})
    assert (Session.objects.count(), Job.objects.count(), jobs.balance(row)) == (0, 0, (0, 0, 3 * HOUR))


def test_what_is_no_longer_offered_isnt_started_and_no_site_without_an_address_has_sessions(settings):
    row, kind = make.allocation(), make.kind()
    sessions.offer_kind(identity.operator(), kind=kind, offered=False)
    with pytest.raises(Refused, match="offers no such session"):
        make.session(row, kind=kind)
    settings.SESSIONS_URL = ""
    with pytest.raises(Refused, match="offers no interactive sessions"):
        make.session(row)
    client = logged_in(jobs.holder(row))
    assert "offers no interactive sessions" in client.get("/compute/sessions/new/").content.decode()
    assert "/compute/sessions/" not in client.get("/compute/jobs/").content.decode()


@pytest.fixture
def elsewhere(settings):
    """An allocation on a Slurm cluster, and what the settings say of that cluster."""
    said = {"conf": "/etc/slurm.conf", "runs": "/shared", "makes_users": "p"}
    settings.SLURM = {"gj": said}
    return make.allocation(make.partition(make.cluster(code="gj", engine="slurm"))), said


def test_a_session_on_a_cluster_whose_nodes_nobody_reaches_is_refused(elsewhere):
    row, said = elsewhere
    with pytest.raises(Refused, match="No sessions run on the cluster") as refused:
        make.session(row)
    assert set(refused.value.errors) == {"allocation"}
    assert sessions.places(jobs.holder(row)) == []
    client = logged_in(jobs.holder(row))
    assert "on a cluster that has sessions" in client.get("/compute/sessions/new/").content.decode()
    said["session_ports"] = "41000-41999"
    assert [place.allocation for place in sessions.places(jobs.holder(row))] == [row]


def test_a_session_on_a_cluster_is_told_its_program_and_the_ports(elsewhere):
    row, said = elsewhere
    said["session_ports"] = "41000-41999"
    job = make.session(row).job
    assert job.arguments == ["/opt/jupyter/bin/jupyter-lab", "41000-41999"]
    assert job.script == programs.elsewhere(Program.JUPYTERLAB)
    assert make.session(make.allocation()).job.arguments == ["/opt/jupyter/bin/jupyter-lab"]


@pytest.mark.parametrize(
    "ports", ["41000", "41000-", "1-2", "41999-41000", "41000-70000", "a-b", "41000-41999 ", 41000]
)
def test_ports_that_are_none_are_named_with_their_cluster(elsewhere, ports):
    _row, said = elsewhere
    said["session_ports"] = ports
    with pytest.raises(ImproperlyConfigured, match="session_ports of gj"):
        clusters.slurms()


def test_only_an_operator_offers_programs_and_each_field_is_checked():
    with pytest.raises(NotAllowed):
        make.kind(actor=identity.person())
    with pytest.raises(Refused) as refused:
        make.kind(code="a b", program="x", command="x\ny", most_gpus=0, longest_s=1, idle_s=1)
    assert set(refused.value.errors or {}) == {"code", "program", "command", "most_gpus", "longest_s", "idle_s"}
    operator = logged_in(identity.operator())
    data = {"program": "jupyterlab", "code": "lab", "name_ko": "실습", "name_en": "Lab", "command": "/opt/j/bin/lab"}
    answer = operator.post("/compute/sessions/kinds/", {**data, "most_gpus": 1, "longest_s": 60, "idle_s": 30})
    assert answer.status_code == 302
    kind = SessionKind.objects.get()
    assert (kind.longest_s, kind.idle_s, kind.offered) == (HOUR, 1800, True)
    assert operator.post("/compute/sessions/kinds/lab/withdraw/").status_code == 302
    kind.refresh_from_db()
    assert kind.offered is False
    assert logged_in(identity.person()).post("/compute/sessions/kinds/lab/offer/").status_code == 403


def test_a_session_is_ended_by_its_people_and_its_page_says_what_it_cost():
    row = make.allocation()
    session = make.session(row)
    client = logged_in(jobs.holder(row))
    assert client.post(f"/compute/sessions/{session.job.uuid}/end/").status_code == 302
    session.job.refresh_from_db()
    assert (session.job.state, jobs.balance(row)) == ("ended", (0, 0, 10 * HOUR))
    other = make.runs(make.session(row, kind=session.kind, gpus=2))
    Job.objects.filter(pk=other.job_id).update(started_at=other.job.started_at - timedelta(minutes=30))
    other.job.refresh_from_db()
    assert sessions.so_far(other, other.job.started_at + timedelta(minutes=30)) == HOUR
    assert sessions.so_far(other, other.job.started_at + timedelta(hours=3)) == 2 * HOUR
    page = client.get(f"/compute/sessions/{other.job.uuid}/")
    assert HOUR <= page.context["used"] <= HOUR + 120


# -- another tenant ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", WHO)
def test_nobody_else_sees_opens_or_ends_a_tenants_session(who):
    row = make.allocation()
    session = make.runs(make.session(row))
    uuid, stranger = session.job.uuid, somebody(who)
    client = logged_in(stranger)
    page = f"/compute/sessions/{uuid}/"
    for method, address in [("get", page), ("get", f"{page}state/"), ("post", f"{page}open/"), ("post", f"{page}end/")]:
        assert (address, getattr(client, method)(address).status_code) == (address, 404)
    assert str(uuid) not in body(client.get("/compute/sessions/"))
    _token, secret = people.make_token(stranger, name="test", days=1)
    api = Client(headers={"Authorization": f"Bearer {secret}"})
    assert api.get(f"{BASE}/sessions/{uuid}").status_code == 404
    assert api.post(f"{BASE}/sessions/{uuid}/end").status_code == 404
    assert str(uuid) not in body(api.get(f"{BASE}/sessions"))
    data = {"kind": session.kind.code, "allocation": row.pk, "limit_s": 600}
    assert api.post(f"{BASE}/sessions", json.dumps(data), "application/json").status_code == 404
    with pytest.raises(Missing):
        sessions.let_in(stranger, session=session, login=client.session.session_key or "")
    with pytest.raises(Missing):
        sessions.start(stranger, uuid=uuid4(), kind=session.kind, allocation=row, gpus=99, limit_s=600)
    session.job.refresh_from_db()
    assert (session.job.cancel_asked_at, Entrance.objects.count(), Session.objects.count()) == (None, 0, 1)


# -- the way in --------------------------------------------------------------------------------------------------------


def test_the_portal_sends_a_member_to_the_sessions_own_host_with_a_ticket_that_nothing_keeps():
    row = make.allocation()
    session = make.runs(make.session(row))
    person = jobs.holder(row)
    client = logged_in(person)
    page = client.get(f"/compute/sessions/{session.job.uuid}/")
    origin = sessions.origin_of(session.job.uuid)
    assert f"form-action 'self' {origin}" in page.headers["Content-Security-Policy"]
    answer = client.post(f"/compute/sessions/{session.job.uuid}/open/")
    way, _, ticket = answer.headers["Location"].partition("?ticket=")
    assert (answer.status_code, way, answer.headers["Referrer-Policy"]) == (
        303,
        f"{origin}/.madang/enter",
        "no-referrer",
    )
    assert len(ticket) == 43
    kept = Entrance.objects.get()
    assert (kept.ticket, kept.person, kept.cookie) == (sessions.digest(ticket), person, None)
    said = json.dumps(list(LogLine.objects.values("verb", "reason", "detail")), default=str)
    assert '"open"' in said
    assert ticket not in said
    assert answer.content == b""


def test_a_ticket_is_good_once_for_its_own_session_and_for_a_minute():
    row = make.allocation()
    person = jobs.holder(row)
    client, kind = logged_in(person), make.kind()
    one, other = (make.runs(make.session(row, kind=kind)) for _ in range(2))
    ticket = ticket_of(client, person, one)
    with pytest.raises(Missing):
        sessions.enter(other.job.uuid, ticket)
    cookie = sessions.enter(one.job.uuid, ticket)
    assert sessions.admitted(one.job.uuid, cookie)
    assert not sessions.admitted(other.job.uuid, cookie)
    assert not sessions.admitted(one.job.uuid, ticket)
    with pytest.raises(Missing):
        sessions.enter(one.job.uuid, ticket)
    assert sessions.admitted(one.job.uuid, cookie)
    late = ticket_of(client, person, one)
    Entrance.objects.filter(cookie=None).update(until=now())
    with pytest.raises(Missing):
        sessions.enter(one.job.uuid, late)


def test_whoever_leaves_logs_out_or_is_locked_out_is_out_of_the_session():
    row = make.allocation()
    lead = jobs.holder(row)
    session = make.runs(make.session(row))
    uuid = session.job.uuid

    def inside():
        person = identity.member(row.grant.organization)
        client = logged_in(person)
        return person, client, sessions.enter(uuid, ticket_of(client, person, session))

    person, _client, cookie = inside()
    people.end_membership(lead, membership=Membership.objects.get(person=person))
    assert not sessions.admitted(uuid, cookie)
    person, client, cookie = inside()
    client.logout()
    assert not sessions.admitted(uuid, cookie)
    person, _client, cookie = inside()
    type(person).objects.filter(pk=person.pk).update(is_active=False)
    assert not sessions.admitted(uuid, cookie)
    _person, _client, cookie = inside()
    assert sessions.admitted(uuid, cookie)


def test_a_session_that_was_asked_to_end_lets_nobody_in():
    row = make.allocation()
    person = jobs.holder(row)
    client = logged_in(person)
    session = make.runs(make.session(row))
    cookie = sessions.enter(session.job.uuid, ticket_of(client, person, session))
    ticket = ticket_of(client, person, session)
    sessions.end(person, session=session)
    assert not sessions.admitted(session.job.uuid, cookie)
    with pytest.raises(Missing):
        sessions.enter(session.job.uuid, ticket)
    with pytest.raises(Refused):
        sessions.let_in(person, session=session, login=client.session.session_key or "")
    assert sessions.running() == []


@pytest.mark.parametrize(
    "host", ["", "s-", "portal", "s-{0}.evil.kr", "x-{0}.{1}", "s-{0}", "a.s-{0}.{1}", "s-{0}.{1}.evil.kr", "S-{2}.{1}"]
)
def test_only_its_own_name_leads_to_a_session(host):
    uuid, netloc = uuid4(), site.SESSIONS_URL.removeprefix("http://")
    assert sessions.uuid_of(f"s-{uuid}.{netloc}") == uuid
    assert sessions.uuid_of(host.format(uuid, netloc, uuid.hex)) is None


# -- idle --------------------------------------------------------------------------------------------------------------


def test_an_idle_session_is_ended_once_and_one_that_was_used_isnt():
    row = make.allocation()
    kind = make.kind()
    one, other = (make.runs(make.session(row, kind=kind)) for _ in range(2))
    Session.objects.update(active_at=now() - timedelta(seconds=1801))
    assert {live.idle_s >= live.most_idle_s for live in sessions.running()} == {True}
    sessions.was_used([other.pk])
    assert [sessions.end_idle(row.pk) for row in (one, one, other)] == [True, False, False]
    one.job.refresh_from_db()
    other.job.refresh_from_db()
    assert (one.job.cancel_asked_at is None, other.job.cancel_asked_at) == (False, None)
    page = logged_in(jobs.holder(row)).get(f"/compute/sessions/{one.job.uuid}/").content.decode()
    assert "nothing had been done in it for 30 minutes" in page


def test_what_a_kernel_computes_is_told_from_whatever_else_a_program_may_answer():
    assert programs.busy([{"execution_state": "idle"}, {"execution_state": "busy"}])
    for answer in ([{"execution_state": "idle"}], [], {}, None, "busy", [["busy"], 3], [{"execution_state": ["busy"]}]):
        assert not programs.busy(answer)


# -- the API, and the socket -------------------------------------------------------------------------------------------


def test_a_session_by_the_api_from_its_kind_to_its_end():
    row = make.allocation()
    kind = make.kind(code="lab")
    client = program(jobs.holder(row))
    assert Client().get(f"{BASE}/session-kinds").json()["items"] == [
        {
            "code": "lab",
            "name": kind.name_ko,
            "program": "jupyterlab",
            "most_gpus": 2,
            "longest_s": 7200,
            "idle_s": 1800,
        }
    ]
    data = {"kind": "lab", "allocation": row.pk, "gpus": 2, "limit_s": 600, "uuid": str(uuid4())}
    made = client.post(f"{BASE}/sessions", json.dumps(data), "application/json")
    assert made.status_code == 201
    first = made.json()
    assert (first["state"], first["held"], first["used"], first["idle"]) == ("waits", 1200, 0, False)
    assert first["url"].endswith(f"/compute/sessions/{data['uuid']}/")
    make.runs(Session.objects.get())
    assert client.get(f"{BASE}/sessions/{data['uuid']}").json()["state"] == "ready"
    assert [item["uuid"] for item in client.get(f"{BASE}/sessions").json()["items"]] == [data["uuid"]]
    assert client.post(f"{BASE}/sessions/{data['uuid']}/end").status_code == 200
    unknown = client.post(f"{BASE}/sessions", json.dumps({**data, "kind": "x", "uuid": None}), "application/json")
    assert (unknown.status_code, unknown.json()["where"]) == (422, ["kind"])


def test_only_a_socket_that_the_run_itself_made_in_its_folder_is_opened(tmp_path):
    row = make.allocation()
    session = make.runs(make.session(row))
    work = make.folder(session.job) / "work"
    engine = LocalEngine(host.connect, host.runs_of(session.job.engine), session.job.engine)
    key = RunKey(session.job.uuid)

    def opens() -> bool:
        try:
            os.close(engine.way_in(key).fd)
        except EngineMissing:
            return False
        return True

    other = tmp_path / "theirs"
    with socket.socket(socket.AF_UNIX) as theirs, socket.socket(socket.AF_UNIX) as own:
        theirs.bind(str(other))
        assert not opens()
        (work / SOCKET).symlink_to(other)
        assert not opens()
        (work / SOCKET).unlink()
        (work / SOCKET).write_text("no socket")
        assert not opens()
        (work / SOCKET).unlink()
        here = os.open(work, os.O_PATH)
        own.bind(f"/proc/self/fd/{here}/{SOCKET}")
        os.close(here)
        assert opens()


@pytest.mark.parametrize("ends", [False, True])
def test_the_job_of_a_session_leads_to_it_in_no_more_than_twelve_questions(ends, django_assert_max_num_queries):
    row = make.allocation()
    session = make.runs(make.session(row))
    make.wrote(session.job, b"log\n")
    if ends:
        make.ended(session.job, ["completed"])
    client = logged_in(jobs.holder(row))
    with django_assert_max_num_queries(12):
        page = client.get(f"/compute/jobs/{session.job.uuid}/").content.decode()
    assert f"/compute/sessions/{session.job.uuid}/" in page


def test_what_the_state_says_already_is_not_said_again_with_an_empty_reason():
    """As Slurm says of every job that was ended that it is CANCELLED."""
    session = make.runs(make.session(make.allocation()))
    make.ended(session.job, ["cancelled"])
    client = logged_in(jobs.holder(session.job.allocation))
    for said, shown in (("CANCELLED", False), ("REVOKED", True)):
        Job.objects.filter(pk=session.job_id).update(why=said)
        for page in ("sessions", "jobs"):
            content = client.get(f"/compute/{page}/{session.job.uuid}/").content.decode()
            assert ("<dt>Why</dt>" in content) is shown, (page, said)
