"""The proxy before sessions, asked in every way that isn't right. Behind it a program that says what it sees."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web

from madang.engines.base import SOCKET
from madang.facilities.compute import sessions
from madang.facilities.compute.models import Entrance, Session
from madang.facilities.compute.tests import make
from madang.identity import actions as people
from madang.identity.models import Membership
from madang.identity.tests import make as identity
from madang.jobs import engines
from madang.jobs.models import Job
from madang.jobs.tests import make as jobs
from madang.server import sessions as proxies
from madang.server.tests.proxied import Browser, Running, browser, waited
from madang.workflow.errors import Missing
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db(transaction=True)
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
KEY = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


class Program:
    """Listens where a session does. Answers with what it was asked, talks back, and says that a kernel is as told."""

    def __init__(self, session: Session) -> None:
        self.kernels: list[dict[str, str]] = []
        self.seen: list[str] = []
        folder = os.open(make.folder(session.job) / "work", os.O_PATH)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(f"/proc/self/fd/{folder}/{SOCKET}")
        self.socket.listen()
        os.close(folder)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request.raw_path)
        if request.path == "/api/kernels":
            return web.json_response(self.kernels)
        if request.headers.get("Upgrade") == "websocket":
            back = web.WebSocketResponse(protocols=["v1"])
            await back.prepare(request)
            async for message in back:
                await back.send_str(f"{message.data} {back.ws_protocol}")
            return back
        said = {
            "path": request.raw_path,
            "headers": [[name, value] for name, value in request.headers.items()],
            "body": (await request.read()).decode(),
        }
        answer = web.json_response(said, headers={"Alt-Svc": 'h3="evil:1"', "X-Own": "kept"})
        for cookie in ("mine=1", "wide=1; Domain=sessions.localhost", "madang=forged", "m2=1;  domain = x"):
            answer.headers.add("Set-Cookie", cookie)
        return answer

    def __enter__(self) -> Program:
        started = threading.Event()

        async def serve() -> None:
            self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
            runner = web.ServerRunner(web.Server(self.answer, access_log=None))
            await runner.setup()
            await web.SockSite(runner, self.socket).start()
            started.set()
            await self.stop.wait()
            await runner.cleanup()

        self.thread = threading.Thread(target=lambda: asyncio.run(serve()))
        self.thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(10)


@pytest.fixture
def proxy(request, settings, tmp_path, monkeypatch):
    settings.RUNS_ROOT = tmp_path / "runs"
    engines._built.clear()
    monkeypatch.setattr(proxies, "LOOK_S", 0.2)
    monkeypatch.setattr(proxies, "TRUST_S", 0.2)
    with Running(settings, getattr(request, "param", "")) as running:
        yield running
    engines._built.clear()


@pytest.fixture
def row(proxy):
    return make.allocation(amount=100 * 3600)


@pytest.fixture
def session(row):
    return make.runs(make.session(row), ready=False)


@pytest.fixture
def program(session, proxy):
    with Program(session) as program:
        proxy.until(lambda: Session.objects.get(pk=session.pk).ready_at)
        session.refresh_from_db()
        yield program


@pytest.fixture
def visitor(proxy, row, session, program) -> Browser:
    return browser(proxy, jobs.holder(row), session)


def raw(visitor: Browser, *lines: str) -> int:
    """The status of what is answered to exactly this; 0 where nothing is."""
    with socket.create_connection(("127.0.0.1", visitor.port), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        head = connection.recv(4096).split(b" ")
        return int(head[1]) if len(head) > 1 else 0


def cookie(visitor: Browser) -> str:
    return f"Cookie: madang={visitor.cookies['madang']}"


# -- what passes -----------------------------------------------------------------------------------------------------


def test_a_session_is_ready_once_its_program_answers_and_what_is_asked_of_it_passes_both_ways(visitor, program):
    answer = visitor.ask("PUT", "/a%2Fb/%EC%9D%B4?x=1&y=%20", data=b"content", Origin=visitor.origin)
    said = json.loads(answer.text)
    assert (answer.status, said["path"], said["body"]) == (200, "/a%2Fb/%EC%9D%B4?x=1&y=%20", "content")
    assert answer.headers["X-Own"] == "kept"


def test_the_program_sees_no_secret_and_no_word_that_only_a_proxy_may_say(visitor):
    visitor.cookies["_xsrf"] = "own"
    forged = {
        "Madang-Session": "1",
        "X-Forwarded-For": "1.2.3.4",
        "X-Forwarded-Host": "evil",
        "Forwarded": "for=1.2.3.4",
        "X-Real-IP": "1",
    }
    said = json.loads(visitor.ask("GET", "/", None, **forged, Connection="close, X-Hidden", X_Hidden="1").text)
    headers = {name.lower(): value for name, value in said["headers"]}
    assert headers["cookie"] == "_xsrf=own"
    assert headers["host"] == visitor.host
    assert visitor.cookies["madang"] not in json.dumps(said)
    assert not headers.keys() & {
        "madang-session",
        "x-forwarded-for",
        "x-forwarded-host",
        "forwarded",
        "x-real-ip",
        "x-hidden",
    }


def test_the_program_sets_cookies_of_its_own_host_alone_and_sends_nobody_elsewhere(visitor):
    before = visitor.cookies["madang"]
    answer = visitor.get("/")
    assert answer.headers.getall("Set-Cookie") == ["mine=1"]
    assert visitor.cookies == {"madang": before, "mine": "1"}
    assert "Alt-Svc" not in answer.headers
    assert "frame-ancestors 'self'" in answer.headers.getall("Content-Security-Policy")
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


async def talked(visitor: Browser, **headers: str) -> str:
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
        http.ws_connect(
            f"http://127.0.0.1:{visitor.port}/talk", protocols=["v1"], headers=visitor._headers(headers)
        ) as ws,
    ):
        await ws.send_str("hello")
        return str((await ws.receive(timeout=10)).data)


def test_websockets_pass_with_their_protocol_from_the_sessions_own_pages_alone(visitor):
    assert waited(talked(visitor, Origin=visitor.origin)) == "hello v1"
    for origin in ("", "http://evil.kr", "null", visitor.origin.replace("s-", "s-0", 1)):
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            waited(talked(visitor, Origin=origin))


# -- who may not -----------------------------------------------------------------------------------------------------


def test_the_ticket_opens_once_and_its_cookie_is_for_scripts_and_other_hosts_out_of_reach(proxy, row, session, program):
    person = jobs.holder(row)
    client = browser(proxy, person, session).portal
    way = sessions.let_in(person, session=session, login=client.session.session_key)
    fresh = Browser(proxy.port, sessions.host_of(session.job.uuid))
    path = way.removeprefix(fresh.origin)
    assert fresh.ask("POST", path).status == 403
    answer = fresh.get(path)
    line = answer.headers["Set-Cookie"]
    assert (answer.status, answer.headers["Location"], answer.headers["Referrer-Policy"]) == (303, "/", "no-referrer")
    assert "HttpOnly" in line
    assert "SameSite=Lax" in line
    assert "domain" not in line.lower()
    ticket = path.partition("=")[2]
    assert fresh.get("/").status == 200
    again = Browser(proxy.port, fresh.host)
    assert (again.get(path).status, again.cookies) == (403, {})
    for wrong in ("", "x" * 43, ticket[:-1], f"{ticket}0", "%00"):
        assert again.get(f"/.madang/enter?ticket={wrong}").status == 403
    assert ticket not in "".join(program.seen)


@pytest.mark.parametrize("proxy", ["https://sessions.example"], indirect=True)
def test_behind_https_every_cookie_is_for_https_and_its_own_host_alone(proxy, row, session, program):
    person = jobs.holder(row)
    client = browser(proxy, person, session).portal
    way = sessions.let_in(person, session=session, login=client.session.session_key)
    visitor = Browser(proxy.port, sessions.host_of(session.job.uuid), scheme="https")
    answer = visitor.get(way.removeprefix(visitor.origin), X_Forwarded_Proto="https")
    name, *said = answer.headers["Set-Cookie"].split("; ")
    assert (name.partition("=")[0], sorted(said)) == ("__Host-madang", ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"])
    assert visitor.get("/").headers.getall("Set-Cookie") == ["mine=1; Secure", "madang=forged; Secure"]
    assert waited(talked(visitor, Origin=visitor.origin)) == "hello v1"
    for origin in (visitor.origin.replace("https", "http", 1), "https://sessions.example"):
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            waited(talked(visitor, Origin=origin))
    bare = Browser(proxy.port, visitor.host, {"madang": visitor.cookies["__Host-madang"]}, "https")
    assert bare.get("/").status == 403


def test_without_the_cookie_of_this_session_nothing_passes(proxy, row, session, program, visitor):
    other = make.runs(make.session(row, kind=session.kind), ready=False)
    with Program(other) as theirs:
        proxy.until(lambda: Session.objects.get(pk=other.pk).ready_at)
        mine = visitor.cookies["madang"]
        seen = len(theirs.seen)
        elsewhere = Browser(proxy.port, sessions.host_of(other.job.uuid), {"madang": mine})
        assert elsewhere.get("/").status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            waited(talked(elsewhere, Origin=elsewhere.origin))
        for cookies in ({}, {"madang": ""}, {"madang": "x" * 43}, {"Madang": mine}, {"__Host-madang": mine}):
            assert Browser(proxy.port, visitor.host, cookies).get("/").status == 403
        assert len(theirs.seen) == seen
        assert visitor.get("/").status == 200


def test_a_member_of_another_project_gets_no_ticket_and_a_guessed_host_is_nobodys(proxy, visitor, session):
    stranger = identity.lead_of(identity.organization())
    with pytest.raises(Missing):
        browser(proxy, stranger, session)
    assert Entrance.objects.filter(person=stranger).count() == 0
    for host in ("portal", f"sessions.localhost:{proxy.port}", visitor.host + ".evil.kr", visitor.host.split(":")[0]):
        assert Browser(proxy.port, host, visitor.cookies).get("/").status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.kr"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
def test_a_page_of_another_session_or_site_gets_nothing_although_the_browser_sends_the_cookie(
    visitor, program, headers
):
    seen = len(program.seen)
    assert visitor.get("/", **headers).status == 403
    assert visitor.ask("POST", "/", b"x", **headers).status == 403
    arrives = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert visitor.ask("POST", "/", b"x", **arrives).status == 403
    assert len(program.seen) == seen
    assert visitor.get("/", **arrives).status == 200


def test_what_is_smuggled_in_a_request_is_refused_before_anything_is_asked(visitor, program):
    host, own = f"Host: {visitor.host}", cookie(visitor)
    seen = len(program.seen)
    assert raw(visitor, "GET / HTTP/1.1", host, "Host: other", own) in (400, 404)
    assert raw(visitor, "GET / HTTP/1.1", own) in (400, 404)
    assert raw(visitor, "GET http://evil.kr/ HTTP/1.1", host, own) == 400
    assert raw(visitor, "CONNECT evil.kr:80 HTTP/1.1", host, own) in (400, 404)
    assert raw(visitor, "TRACE / HTTP/1.1", host, own) == 400
    assert raw(visitor, "GET / HTTP/1.1", host, own, own.replace("madang=", "madang=x")) in (400, 403)
    assert raw(visitor, "GET / HTTP/1.1", host, f"{own}; madang=x") == 403
    both = ("Content-Length: 3", "Transfer-Encoding: chunked")
    assert raw(visitor, "POST / HTTP/1.1", host, own, *both) == 400
    assert raw(visitor, "POST / HTTP/1.1", host, own, "Content-Length: 3", "Content-Length: 4") == 400
    assert raw(visitor, "POST / HTTP/1.1", host, own, "Transfer-Encoding : chunked") == 400
    assert raw(visitor, "GET / HTTP/1.1", host, own, "X: a\rb") == 400
    assert len(program.seen) == seen
    assert raw(visitor, "GET / HTTP/1.1", host, own) == 200


async def cut_off(visitor: Browser, what: Callable[[], object]) -> float:
    """Seconds that an open connection lives on after `what` was done."""
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
        http.ws_connect(
            f"http://127.0.0.1:{visitor.port}/talk", headers=visitor._headers({"Origin": visitor.origin})
        ) as ws,
    ):
        await ws.send_str("hello")
        await ws.receive(timeout=10)
        await asyncio.to_thread(what)
        began = time.monotonic()
        assert (await ws.receive(timeout=10)).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE)
        return time.monotonic() - began


def test_whoever_leaves_the_project_is_cut_off_in_the_middle(proxy, row, session, program):
    person = identity.member(row.grant.organization)
    visitor = browser(proxy, person, session)

    def leave() -> None:
        people.end_membership(jobs.holder(row), membership=Membership.objects.get(person=person))

    assert waited(cut_off(visitor, leave)) < 5
    assert visitor.get("/").status == 403


def test_an_ended_session_is_closed_to_those_who_were_in_it(proxy, row, session, visitor, program):
    assert visitor.get("/").status == 200
    sessions.end(jobs.holder(row), session=session)
    proxy.until(lambda: visitor.get("/").status == 403)
    assert f"http://portal/compute/sessions/{session.job.uuid}/" in visitor.get("/").text


def test_a_link_to_another_sessions_socket_leads_nowhere(proxy, row, session, program):
    other = make.runs(make.session(row, kind=session.kind), ready=False)
    link = make.folder(other.job) / "work" / SOCKET
    link.symlink_to(make.folder(session.job) / "work" / SOCKET)
    before = len(program.seen)
    for _ in range(3):
        proxy.look()
    assert Session.objects.get(pk=other.pk).ready_at is None
    sessions.answered(other.pk)  # even were it open
    other.refresh_from_db()
    assert browser(proxy, jobs.holder(row), other).get("/").status == 503
    assert len(program.seen) == before


# -- idle ------------------------------------------------------------------------------------------------------------


def test_what_people_do_counts_as_use_and_what_their_pages_ask_by_themselves_doesnt(proxy, session, visitor):
    def old(seconds: int = 600) -> None:
        Session.objects.update(active_at=now() - timedelta(seconds=seconds))

    def used() -> bool:
        for _ in range(2):
            proxy.look()
        return now() - Session.objects.get(pk=session.pk).active_at < timedelta(seconds=300)

    proxy.look()
    old()
    visitor.get("/api/status")
    visitor.ask("PUT", "/lab/api/workspaces/default?1", b"{}", Origin=visitor.origin)
    assert not used()
    visitor.ask("POST", "/api/contents", b"x", Origin=visitor.origin)
    assert used()
    old()
    waited(talked(visitor, Origin=visitor.origin))
    assert used()
    old()
    arrives = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    visitor.get("/lab", **arrives)
    assert used()


def test_an_idle_session_is_asked_to_end_and_one_whose_kernel_computes_isnt(proxy, session, program):
    program.kernels = [{"execution_state": "busy"}]
    Session.objects.update(active_at=now() - timedelta(seconds=1801))
    proxy.until(lambda: now() - Session.objects.get(pk=session.pk).active_at < timedelta(seconds=60))
    assert Job.objects.get(pk=session.job_id).cancel_asked_at is None
    program.kernels = [{"execution_state": "idle"}]
    Session.objects.update(active_at=now() - timedelta(seconds=1801))
    proxy.until(lambda: Job.objects.get(pk=session.job_id).cancel_asked_at)
    assert Session.objects.get(pk=session.pk).idle_at is not None


def test_while_nobody_could_come_in_nobody_was_idle(settings, tmp_path, monkeypatch):
    """The proxy was away for an hour, or the cluster was: those who have a page open come back within seconds."""
    settings.RUNS_ROOT = tmp_path / "runs"
    engines._built.clear()
    monkeypatch.setattr(proxies, "LOOK_S", 0.2)
    session = make.runs(make.session(make.allocation(amount=100 * 3600)))
    with Program(session):
        for _ in range(2):
            Session.objects.update(active_at=now() - timedelta(hours=1))
            with Running(settings) as proxy:
                for _ in range(3):
                    proxy.look()
                assert Job.objects.get(pk=session.job_id).cancel_asked_at is None
                assert now() - Session.objects.get(pk=session.pk).active_at < timedelta(seconds=60)
    engines._built.clear()


# -- where a session is ----------------------------------------------------------------------------------------------


def asked(monkeypatch: pytest.MonkeyPatch, seconds: float = 0) -> list[str]:
    """The engines that are asked where a session is; the one that is called silent answers after `seconds`."""
    real, said = proxies._way_in, list[str]()

    def way_in(uuid, engine):
        said.append(engine)
        if engine == "silent":
            time.sleep(seconds)
            return None
        return real(uuid, engine)

    monkeypatch.setattr(proxies, "_way_in", way_in)
    return said


def test_a_cluster_that_is_silent_keeps_nobody_of_another_in_or_out(proxy, row, session, visitor, monkeypatch):
    asked(monkeypatch, seconds=8)
    for _ in range(8):
        theirs = make.runs(make.session(row, kind=session.kind), ready=False)
        Job.objects.filter(pk=theirs.job_id).update(engine="silent")
    time.sleep(1)  # all of them are being asked for

    fresh = make.runs(make.session(row, kind=session.kind), ready=False)
    with Program(fresh):
        proxy.until(lambda: Session.objects.get(pk=fresh.pk).ready_at, 4)

    assert waited(cut_off(visitor, lambda: sessions.end(jobs.holder(row), session=session))) < 4


def test_however_often_people_ask_an_engine_is_asked_where_a_session_is_no_more_than_we_look(
    proxy, row, session, visitor, monkeypatch
):
    """A job may say that it is where nobody listens: its cluster shall not pay for every request."""
    monkeypatch.setattr(proxies, "LOOK_S", 1.0)
    said = asked(monkeypatch)
    Job.objects.filter(pk=session.job_id).update(engine="silent")
    proxy.look()
    asyncio.run_coroutine_threadsafe(proxy.proxy._forget(session.job.uuid), proxy.loop).result(10)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert visitor.get("/").status == 503
    assert 1 <= len(said) <= 3


def test_one_session_that_can_not_be_looked_after_is_no_reason_to_forget_the_others(
    proxy, row, session, program, monkeypatch
):
    def way_in(uuid, engine):
        if uuid == broken.job.uuid:
            raise RuntimeError("unforeseen")
        return real(uuid, engine)

    real = proxies._way_in
    monkeypatch.setattr(proxies, "_way_in", way_in)
    broken = make.runs(make.session(row, kind=session.kind), ready=False)
    proxy.look()
    fresh = make.runs(make.session(row, kind=session.kind), ready=False)
    with Program(fresh):
        proxy.until(lambda: Session.objects.get(pk=fresh.pk).ready_at, 5)
