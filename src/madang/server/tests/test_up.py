"""`madang up` as it is typed: what it refuses, what it leaves behind when it is killed, what the next one finds."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from madang.server.home import Home
from madang.server.tests.site import MADANG, TestSite, alive, children, free_port, madang, site, until
from madang.server.up import Address, CantStart, Database, database, environment, same_role, wait_for

pytestmark = pytest.mark.xdist_group("a site of its own")


@pytest.fixture(scope="module")
def running() -> Iterator[TestSite]:
    with site() as made:
        made.start()
        yield made


def test_a_new_site_is_served_and_asks_for_the_code_that_was_printed(running):
    assert running.serves()
    assert f"Madang serves at http://localhost:{running.port}" in running.said
    assert re.search(r"asks for this set-up token: \S{10,}", running.said)
    assert all(running.part(name) for name in ("web", "worker", "engine", "postgres"))


def test_the_processes_of_the_site_are_not_given_the_owners_address(running):
    for name in ("web", "worker", "engine"):
        for pid in running.part(name):
            with open(f"/proc/{pid}/environ", "rb") as file:
                names = {entry.partition(b"=")[0] for entry in file.read().split(b"\0")}
            assert b"DATABASE_URL" in names
            assert b"DATABASE_OWNER_URL" not in names


def test_its_ledger_is_counted_again_while_it_runs(running):
    counted = madang("ledger", "verify", "--home", str(running.root))
    assert (counted.returncode, "the ledger adds up" in counted.stderr) == (0, True), counted.stderr
    assert counted.stdout == "no day is sealed yet\n"
    assert running.serves()
    with psycopg.connect(running.database.url("madang_owner"), autocommit=True) as db:
        db.execute("INSERT INTO ledger_seal VALUES ('2026-01-01', 3, 'made up', '', now())")
    counted = madang("ledger", "verify", "--json", "--home", str(running.root))
    assert (counted.returncode, json.loads(counted.stdout)[0]["where"]) == (1, "2026-01-01")
    assert "last seal: 2026-01-01:made up" in counted.stderr
    kept = f"2026-01-01:{'0f' * 32}"
    compared = madang("ledger", "verify", "--json", "--kept", kept, "--home", str(running.root))
    assert {"check": "kept digests", "where": "2026-01-01", "stored": "made up", "counted": "0f" * 32} in json.loads(
        compared.stdout
    )
    assert madang("ledger", "verify", "--kept", "2026-01-01", "--home", str(running.root)).returncode == 2


def test_where_there_is_no_site_there_is_no_ledger(place):
    assert madang("ledger", "verify", "--home", str(place / "nothing")).returncode == 4
    assert not (place / "nothing").exists()


def test_a_second_one_in_the_same_folder_is_refused(running):
    refused = madang("up", "--home", str(running.root), "--port", str(free_port()))
    assert refused.returncode == 1
    assert f"Madang already runs in {running.root}" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert running.serves()


def test_another_folder_at_the_same_port_is_refused(running, place):
    refused = madang("up", "--home", str(place), "--port", str(running.port))
    assert refused.returncode == 1
    assert f"Port {running.port} of 127.0.0.1 can't be served at" in refused.stderr
    assert "--port" in refused.stderr
    assert not (place / "postgres").exists()


def test_what_is_killed_is_started_again_alone(running):
    before = {name: running.part(name) for name in ("web", "worker", "engine", "postgres")}
    os.kill(min(before["postgres"]), signal.SIGKILL)
    os.kill(before["engine"][0], signal.SIGKILL)
    until(lambda: running.part("engine") and running.part("engine") != before["engine"], why="no engine")
    until(lambda: running.part("postgres") and running.serves(), why="no database")
    assert running.part("web") == before["web"]
    # A worker that was asking for a task at that moment ends, and is started again too.
    until(lambda: running.part("worker"), why="no worker")


def test_once_the_database_is_back_nobody_is_turned_away(running):
    with ThreadPoolExecutor(8) as people:  # the web server keeps several sessions then, and all of them die
        assert all(people.map(lambda _: running.serves(), range(32)))
    with psycopg.connect(running.database.url("madang")) as one_of_them:
        os.kill(one_of_them.info.backend_pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            one_of_them.execute("SELECT pg_sleep(10)")
    time.sleep(0.5)  # the others are ended at once
    until(running.database.answers, why="no database")
    assert [running.serves() for _ in range(20)] == [True] * 20


def test_killed_it_takes_all_with_it_but_the_data(running):
    with psycopg.connect(running.database.url("madang")) as db:
        db.execute("INSERT INTO django_session VALUES ('kept', 'x', now())")
    # The web server itself, too: its workers must not go on holding the port.
    gone = [pid for name in ("web", "worker", "engine") for pid in running.part(name)]
    postgres = running.part("postgres")
    os.kill(running.part("web")[0], signal.SIGKILL)
    os.kill(running.pid, signal.SIGKILL)
    running.process.wait()
    until(lambda: not any(alive(pid) for pid in gone), 60, "something lives on")
    assert all(alive(pid) for pid in postgres[:1])
    running.start()
    assert running.serves()
    with psycopg.connect(running.database.url("madang")) as db:
        assert db.execute("SELECT count(*) FROM django_session WHERE session_key = 'kept'").fetchone() == (1,)


def test_stop_ends_it_from_another_terminal_and_then_what_a_killed_one_left(running):
    parts = children(running.pid)
    stopped = madang("stop", "--home", str(running.root))
    assert (stopped.returncode, running.process.wait(60)) == (0, 0), stopped.stderr
    until(lambda: not any(alive(pid) for pid in parts), 30, "something lives on")
    again = madang("stop", "--home", str(running.root))
    assert again.returncode == 4
    assert "nothing runs" in again.stderr
    server = running.database
    server.start()
    left = madang("stop", "--home", str(running.root))
    assert (left.returncode, server.child.wait(10)) == (0, 0)
    assert "left running" in left.stderr


def test_stop_makes_no_folder(place):
    assert madang("stop", "--home", str(place / "none")).returncode == 4
    assert not (place / "none").exists()


def test_a_given_database_needs_an_owner_of_its_own(place):
    refused = madang("up", "--home", str(place), "--port", str(free_port()), DATABASE_URL="postgresql://madang@/x")
    assert refused.returncode == 1
    assert "DATABASE_OWNER_URL isn't" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_missing_binaries_end_it_with_one_message(place):
    empty = place / "empty"
    empty.mkdir()
    refused = madang("up", "--home", str(place / "site"), "--port", str(free_port()), MADANG_PG_BIN=str(empty))
    assert refused.returncode == 1
    assert "apt install postgresql" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("application", "owner", "role"),
    [
        ("postgresql://madang@h/x", "postgresql://madang_owner@h/x", ""),
        ("postgresql://madang:a@h/x", "postgresql://madang:b@h/x", "madang"),
        ("postgresql://h/x", "postgresql://h/x", "of this user"),
        ("dbname=x user=madang", "postgresql://madang@h/x", "madang"),
    ],
)
def test_the_application_must_not_be_the_owner(place, monkeypatch, application, owner, role):
    assert same_role(application, owner) == role
    monkeypatch.setenv("DATABASE_URL", application)
    monkeypatch.setenv("DATABASE_OWNER_URL", owner)
    kept = []
    with database(Home(place), lambda line, *, keep=False: kept.append(line) if keep else None):
        assert [line for line in kept if f"the role {role}" in line] == kept
        assert len(kept) == bool(role)


def test_an_address_that_cannot_be_read_is_said():
    with pytest.raises(CantStart, match="can't be read"):
        same_role("postgresql://[", "postgresql://x")


def test_a_server_that_never_answers_is_given_up(place):
    from madang.server.processes import Child, Site

    env = environment(Home(place), Database("postgresql://x", "postgresql://y"), MADANG_URL="http://localhost:1")
    silent = Site([Child("web", ["/bin/sleep", "60"])], env)
    silent.start()
    try:
        with pytest.raises(CantStart, match="did not answer"):
            wait_for(Address(port=free_port()), silent, 1)
    finally:
        silent.stop(1)


def test_the_server_is_asked_once_by_the_name_under_which_the_site_is_known(place):
    from madang.server.processes import Site

    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(10_000).decode())
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        # The one that answered may be the only one so far: it is not asked a second time.
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        wait_for(Address(port=listener.getsockname()[1]), Site([], {"MADANG_URL": "https://madang.example"}), 20)
    assert [line for line in heard[0].split("\r\n") if line.startswith("Host")] == ["Host: madang.example"]


def test_nothing_is_left_when_it_is_ended_before_it_serves(place):
    import subprocess

    process = subprocess.Popen(
        [*MADANG, "up", "--home", str(place / "site"), "--port", str(free_port())],
        env=environment(Home(place / "site"), Database("", "")) | {"DATABASE_URL": ""},
        stderr=subprocess.PIPE,
    )
    until(lambda: (place / "site/postgres/data/postmaster.pid").exists(), why="no database")
    parts = children(process.pid)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert not any(alive(pid) for pid in parts)
    assert not (place / "site/postgres/data/postmaster.pid").exists()
