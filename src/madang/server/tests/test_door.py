"""The door before a session on another machine: the script as a node gets it, and everybody who knocks."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from madang.engines.base import DOOR, Missing, Port, RunKey
from madang.engines.local.folders import place
from madang.engines.slurm.handing import SharedRunFolders
from madang.facilities.compute import programs
from madang.facilities.compute.models import Program
from madang.server.sessions import Behind
from madang.server.tests.proxied import waited

KEY = RunKey(UUID(int=7))
LAB = """#!/usr/bin/env python3
import http.server, json, os, socketserver, sys

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = json.dumps({"path": self.path, "headers": list(self.headers.keys())}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    do_POST = do_GET
    def address_string(self):
        return ""

words = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
print("up", words["--ServerApp.root_dir"], flush=True)
socketserver.ThreadingUnixStreamServer.request_queue_size = 100
socketserver.ThreadingUnixStreamServer(words["--ServerApp.sock"], Answer).serve_forever()
"""


class Node:
    """A machine where the script of a session runs, as the engine of a cluster starts it."""

    def __init__(self, root: Path, lab: str, ports: str) -> None:
        self.folders = SharedRunFolders(root / "runs")
        self.place = place(self.folders.runs, KEY)
        (self.place / "work").mkdir(parents=True, exist_ok=True)
        (root / "bin").mkdir(exist_ok=True)
        self.lab = root / "bin" / "it's a lab"
        self.lab.write_text(lab)
        self.lab.chmod(0o755)
        script = root / "script"
        script.write_text(programs.elsewhere(Program.JUPYTERLAB))
        script.chmod(0o755)
        self.log = (root / "log").open("w+")
        self.run = subprocess.Popen(
            [script, self.lab, ports], cwd=self.place / "work", stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def way(self) -> Port:
        return Port("127.0.0.1", *self.folders.door(KEY))

    def said(self) -> str:
        return Path(self.log.name).read_text()

    def processes(self) -> list[Path]:
        return [path for path in Path("/proc").glob("[0-9]*") if _group(path) == self.run.pid]

    def own(self) -> Path:
        """The folder of this run alone, as its program was told."""
        told = [word for path in self.processes() for word in (path / "environ").read_bytes().split(b"\0")]
        (own,) = {Path(word[4:].decode()) for word in told if word.startswith(b"own=")}
        return own

    def knock(self, *headers: tuple[str, str], path: str = "/") -> tuple[int, bytes]:
        """Ask as anybody can: whatever the certificate. The status, and what was said; (0, b"") where nothing was."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        asked = http.client.HTTPSConnection("127.0.0.1", self.way().port, timeout=10, context=context)
        asked.putrequest("GET", path)
        for name, value in headers:
            asked.putheader(name, value)
        try:
            asked.endheaders()
            answer = asked.getresponse()
            return answer.status, answer.read()
        except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
            return 0, b""
        finally:
            asked.close()


def _group(process: Path) -> int:
    try:
        return os.getpgid(int(process.name))
    except ProcessLookupError:
        return 0


def until(true: Any, seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it didn't come to that"
        time.sleep(0.05)
    return found


def free_ports(count: int = 40) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        first = min(free.getsockname()[1], 65_535 - count)
    return f"{first}-{first + count - 1}"


@contextmanager
def node(root: Path, lab: str = LAB, ports: str = "") -> Iterator[Node]:
    made = Node(root, lab, ports or free_ports())
    try:
        yield made
    finally:
        if made.run.poll() is None:
            os.killpg(made.run.pid, signal.SIGKILL)
        made.run.wait()
        made.log.close()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path) as made:
        until(lambda: (made.place / DOOR).exists())
        until(lambda: made.knock(("Madang-Session", made.way().token))[0] == 200)
        yield made


def ask(way: Port, path: str = "/", **headers: str) -> tuple[int, Any]:
    """As the proxy does."""

    async def asked() -> tuple[int, Any]:
        behind = Behind(way)
        try:
            async with behind.http.get(behind.address(path), headers=headers) as answer:
                return answer.status, json.loads(await answer.read() or b"null")
        finally:
            await behind.close()

    return waited(asked())


def test_the_proxy_comes_in_by_what_the_run_says_and_the_program_sees_no_token(session):
    status, said = ask(session.way(), "/lab?a=%2F", Own="1")
    assert (status, said["path"]) == (200, "/lab?a=%2F")
    assert "Own" in said["headers"]
    assert not [name for name in said["headers"] if "madang" in name.lower()]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_a_node_has_an_address_of_either_kind_or_a_name(session, address):
    way = session.way()
    assert ask(Port(address, way.port, way.certificate, way.token))[0] == 200


def test_who_finds_the_port_gets_nothing_without_the_token(session):
    token = session.way().token
    assert session.knock() == (403, b"")
    assert session.knock(("Madang-Session", token[:-1])) == (403, b"")
    assert session.knock(("Madang-Session", token + "x")) == (403, b"")
    assert session.knock(("Madang-Session", "")) == (403, b"")
    assert session.knock(("Madang-Session", token), ("madang-session", "x")) == (403, b"")
    assert session.knock(("X-Madang-Session", token)) == (403, b"")
    assert session.knock(path=f"/?madang-session:{token}") == (403, b"")
    with socket.create_connection(("127.0.0.1", session.way().port), 10) as plain:
        plain.sendall(f"GET / HTTP/1.1\r\nMadang-Session: {token}\r\n\r\n".encode())
        plain.settimeout(10)
        assert b"200" not in plain.recv(1000)
    assert session.knock(("Big", "x" * 200_000)) == (0, b"")
    assert session.knock(("Madang-Session", token))[0] == 200


def test_what_lets_in_stands_in_the_folder_of_the_run_alone(session):
    door, way = session.place / DOOR, session.way()
    assert stat.S_IMODE(door.stat().st_mode) == 0o600
    assert way.token not in repr(way)
    assert way.token not in session.said()
    assert len(session.processes()) >= 2
    for process in session.processes():
        for name in ("cmdline", "environ"):
            assert way.token.encode() not in (process / name).read_bytes()
    assert stat.S_IMODE(session.own().stat().st_mode) == 0o700
    assert not [file for file in session.folders.files(KEY) if file.path != "script"]


def test_who_took_the_port_meanwhile_is_not_told_the_token(session, tmp_path):
    way = session.way()
    other = tmp_path / "other"
    other.mkdir()
    with node(other) as second:
        until(lambda: (second.place / DOOR).exists())
        theirs = second.way()
        assert theirs.certificate != way.certificate
        taken = Port(way.host, theirs.port, way.certificate, theirs.token)  # the token is right, the certificate isn't
        with pytest.raises(aiohttp.ServerFingerprintMismatch):
            ask(taken)


def test_what_lies_in_the_folder_of_the_run_is_not_taken_for_a_part_of_the_door(tmp_path):
    work = place(tmp_path / "runs", KEY) / "work"
    work.mkdir(parents=True)
    for name in ("asyncio", "random", "ssl", "tempfile"):  # as files of a project may be called
        (work / f"{name}.py").write_text("raise SystemExit('mine')")
    with node(tmp_path) as made:
        until(lambda: (made.place / DOOR).exists())
        assert "mine" not in made.said()


def test_the_debugger_of_a_notebook_is_off_where_others_are_on_the_machine(tmp_path):
    """It is at a port that asks nobody who they are."""
    lab = '#!/bin/sh\ncat "$JUPYTER_CONFIG_PATH/labconfig/page_config.json"\nexec python3 -c "import debugpy"\n'
    with node(tmp_path, lab) as made:
        assert made.run.wait(30) == 1
        config, _line, _rest = made.said().partition("\n")
        assert json.loads(config) == {"disabledExtensions": {"@jupyterlab/debugger-extension": True}}
        assert "ImportError: other users of this machine could come in" in made.said()


def test_without_a_certificate_it_says_why(tmp_path, monkeypatch):
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "python3").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(commands))
    with node(tmp_path) as made:
        assert made.run.wait(30) == 1
        assert made.said() == "openssl can't be started on this machine: No such file or directory\n"
    (commands / "openssl").write_text("#!/bin/sh\necho wrong curve >&2\nexit 1\n")
    (commands / "openssl").chmod(0o755)
    with node(tmp_path) as made:
        assert made.run.wait(30) == 1
        assert made.said().strip() == "openssl makes no certificate on this machine: wrong curve"


def test_it_ends_as_its_program_ends_and_leaves_nothing(tmp_path):
    with node(tmp_path, '#!/bin/sh\necho "$own"\nsleep 1\nexit 7\n') as made:
        assert made.run.wait(30) == 7
        own = Path(made.said().split()[0])
        assert own.parent == Path("/tmp")
        assert not own.exists()


def test_told_to_end_the_program_ends_first_and_leaves_nothing(session):
    own = session.own()
    assert own.exists()
    os.killpg(session.run.pid, signal.SIGTERM)
    assert session.run.wait(30) == 128 + signal.SIGTERM
    assert not own.exists()


def test_without_a_free_port_it_says_so(tmp_path):
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as taken:
        port = taken.getsockname()[1]
        with node(tmp_path, ports=f"{port}-{port}") as made:
            assert made.run.wait(30) == 1
            assert f"no port from {port} to {port} is free" in made.said()
        assert not (made.place / DOOR).exists()


def test_it_goes_on_to_the_next_port_where_one_is_taken(tmp_path):
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as taken:
        port = taken.getsockname()[1]
        with node(tmp_path, ports=f"{port}-{port + 1}") as made:
            until(lambda: (made.place / DOOR).exists())
            assert made.way().port == port + 1


GOOD = {"port": 41000, "certificate": "ab" * 32, "token": "t" * 43}


@pytest.mark.parametrize(
    "said",
    [
        "",
        "null",
        "[]",
        "[" * 900,
        "{}",
        json.dumps(GOOD | {"port": "41000"}),
        json.dumps(GOOD | {"port": True}),
        json.dumps(GOOD | {"certificate": "ab"}),
        json.dumps(GOOD | {"certificate": 7}),
        json.dumps(GOOD | {"certificate": "zz" * 32}),
        json.dumps(GOOD | {"token": ""}),
        json.dumps(GOOD | {"token": "t" * 30 + "\r\nHost: x"}),
        json.dumps(GOOD | {"token": None}),
        json.dumps(GOOD | {"more": "x" * 2000}),
    ],
)
def test_a_run_that_says_nonsense_leads_nowhere(tmp_path, said):
    folders = SharedRunFolders(tmp_path)
    folder = place(tmp_path, KEY)
    folder.mkdir(parents=True)
    (folder / DOOR).write_text(said)
    with pytest.raises(Missing):
        folders.door(KEY)
    (folder / DOOR).write_text(json.dumps(GOOD))
    assert folders.door(KEY) == (41000, b"\xab" * 32, "t" * 43)


def test_what_somebody_else_wrote_is_not_believed(tmp_path):
    folders = SharedRunFolders(tmp_path)
    folder, other = place(tmp_path, KEY), tmp_path / "other"
    with pytest.raises(Missing):
        folders.door(KEY)
    folder.mkdir(parents=True)
    other.write_text(json.dumps(GOOD))
    (folder / DOOR).symlink_to(other)
    with pytest.raises(Missing):
        folders.door(KEY)
    (folder / DOOR).unlink()
    os.mkfifo(folder / DOOR)
    with pytest.raises(Missing):
        folders.door(KEY)
    (folder / DOOR).unlink()
    if os.geteuid() == 0:
        os.link(other, folder / DOOR)  # a file that root could read and the owner of the run may not
        os.chown(folder, 12345, 12345)
        with pytest.raises(Missing):
            folders.door(KEY)


def test_the_digest_is_that_of_the_certificate_that_is_shown(session):
    shown = ssl.get_server_certificate(("127.0.0.1", session.way().port))
    assert hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown)).digest() == session.way().certificate


def test_many_ask_at_once_and_each_is_answered(session):
    async def all_of_them() -> list[int]:
        behind = Behind(session.way())

        async def one(number: int) -> int:
            async with behind.http.post(behind.address(f"/{number}"), data=b"x" * 100_000) as answer:
                assert (await answer.json(content_type=None))["path"] == f"/{number}"
                return answer.status

        try:
            return await asyncio.gather(*(one(number) for number in range(50)))
        finally:
            await behind.close()

    assert waited(all_of_them()) == [200] * 50
