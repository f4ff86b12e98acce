"""The proxy before a program that wants to harm it, and with it the sessions of all others."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import aiohttp
import pytest

from madang.engines.base import SOCKET
from madang.facilities.compute.models import Session
from madang.facilities.compute.tests import make
from madang.jobs.tests import make as jobs
from madang.server import sessions as proxies
from madang.server.tests.proxied import Browser, Running, browser, waited
from madang.server.tests.test_sessions import proxy, row, session, talked  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)
Answers = Callable[[socket.socket, bytes], object]
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def listens(session: Session, answer: Answers) -> Iterator[None]:  # noqa: F811
    """At the socket of a session: says exactly what `answer` says to the first bytes of each connection."""
    folder = os.open(make.folder(session.job) / "work", os.O_PATH)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"/proc/self/fd/{folder}/{SOCKET}")
    listener.listen(100)
    os.close(folder)

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            answer(connection, connection.recv(65536))

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=one, args=[listener.accept()[0]], daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def visited(proxy: Running, row, session):  # noqa: F811
    """A session whose program says what `say` holds, and who visits it."""

    class Visited:
        say: Answers = staticmethod(lambda connection, _asked: connection.sendall(FINE))
        visitor: Browser

    made = Visited()
    with listens(session, lambda connection, asked: made.say(connection, asked)):
        proxy.until(lambda: Session.objects.get(pk=session.pk).ready_at)
        session.refresh_from_db()
        made.visitor = browser(proxy, jobs.holder(row), session)
        yield made


def exactly(visitor: Browser, *asked: bytes, seconds: float = 15) -> bytes:
    """All that is answered to these requests on one connection, until it is closed or nothing comes for a while."""
    cookie = f"Host: {visitor.host}\r\nCookie: madang={visitor.cookies['madang']}\r\n\r\n".encode()
    said = b""
    with socket.create_connection(("127.0.0.1", visitor.port), seconds) as connection, suppress(TimeoutError):
        for path in asked:
            connection.sendall(b"GET " + path + b" HTTP/1.1\r\n" + cookie)
        while piece := connection.recv(65536):
            said += piece
            connection.settimeout(1.5)
    return said


EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", 502),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 502),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 42\r\n\r\n", 204),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\n\r\n", 304),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n2a\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 42\r\n\r\n", 502),
        (b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", 502),
        (b"HTTP/1.1 000 Odd\r\nContent-Length: 0\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nX: a\rContent-Length: 0\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", 502),
        (b"\0\xff garbage\r\n\r\n", 502),
    ],
)
def test_no_answer_goes_on_into_what_is_taken_for_the_next(visited, said, status):
    """A proxy in front may send the requests of several sessions on one connection."""
    visited.say = lambda connection, _asked: connection.sendall(said + EVIL)
    answers = exactly(visited.visitor, b"/", b"/.madang/enter")
    assert [int(head[:3]) for head in answers.split(b"HTTP/1.1 ")[1:]] == [status, 403]
    assert b"evil" not in answers


def endless(piece: bytes, head: bytes = b"HTTP/1.1 200 OK\r\n") -> Answers:
    def say(connection: socket.socket, _asked: bytes) -> None:
        connection.sendall(head)
        for number in range(1_000_000):
            connection.sendall(piece.replace(b"%", b"%d" % number))

    return say


@pytest.mark.parametrize("piece", [b"X%: y\r\n", b"x" * 60_000])
def test_a_head_without_an_end_is_given_up(visited, piece):
    visited.say = endless(piece)
    assert exactly(visited.visitor, b"/").startswith(b"HTTP/1.1 502 ")


def test_half_an_answer_is_not_taken_for_a_whole_one(visited):
    for half in (b"Content-Length: 100\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"):
        visited.say = lambda connection, _asked, half=half: connection.sendall(b"HTTP/1.1 200 OK\r\n" + half)
        began = time.monotonic()
        said = exactly(visited.visitor, b"/")
        assert said.startswith(b"HTTP/1.1 200 ")
        assert not said.endswith(b"0\r\n\r\n")
        assert time.monotonic() - began < 1.5  # the connection was closed


@pytest.mark.parametrize("said", [b"101 Switching Protocols", b"204 No Content", b"999 Odd"])
def test_a_websocket_that_is_answered_with_something_else_is_none(visited, said):
    visited.say = lambda connection, _asked: connection.sendall(b"HTTP/1.1 " + said + b"\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(aiohttp.WSServerHandshakeError, match="502"):
        waited(talked(visited.visitor, Origin=visited.visitor.origin))


def hold(visitor: Browser, count: int) -> list[socket.socket]:
    """Requests whose answers nobody has read yet."""
    held = []
    for _ in range(count):
        held.append(socket.create_connection(("127.0.0.1", visitor.port), 10))
        cookie = f"Host: {visitor.host}\r\nCookie: madang={visitor.cookies['madang']}\r\n\r\n"
        held[-1].sendall(f"GET /silent HTTP/1.1\r\n{cookie}".encode())
    return held


def test_who_goes_before_a_silent_program_answers_leaves_nothing_behind(visited, proxy):  # noqa: F811
    visited.say = lambda connection, _asked: connection.recv(1)
    held = hold(visited.visitor, 5)
    proxy.until(lambda: len(proxy.proxy.open) == 5)
    for connection in held:
        connection.close()
    proxy.until(lambda: not proxy.proxy.open)


def test_one_session_takes_no_more_than_its_share_of_the_proxy(visited, proxy, monkeypatch):  # noqa: F811
    monkeypatch.setattr(proxies, "MOST_OPEN", 5)
    visited.say = lambda connection, _asked: connection.recv(1)
    held = hold(visited.visitor, 5)
    proxy.until(lambda: len(proxy.proxy.open) == 5)
    assert visited.visitor.get("/").status == 503
    held.pop().close()
    proxy.until(lambda: len(proxy.proxy.open) == 4)
    visited.say = lambda connection, _asked: connection.sendall(FINE)
    assert visited.visitor.get("/").status == 200
    for connection in held:
        connection.close()
