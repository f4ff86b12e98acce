"""`madang up`: everything that one site needs, in one command, from an empty folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import psycopg
from psycopg.conninfo import conninfo_to_dict

from madang.engines.local import Sandbox
from madang.server.home import Home
from madang.server.postgres import Postgres
from madang.server.processes import Child, Site

EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound to
PORT_WAIT_S = 4.0  # a site that was killed lets go of its port a moment later


class Say(Protocol):
    """Tell the person who waits. `keep`: it stays on the screen when the work is over."""

    def __call__(self, line: str, *, keep: bool = False) -> None: ...


class CantStart(SystemExit):
    """The site can't be started here. The message says why and what to do."""


@dataclass(frozen=True)
class Address:
    host: str = "127.0.0.1"
    port: int = 8000

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        return f"http://localhost:{self.port}"

    @property
    def near(self) -> str:
        """Where this process finds it."""
        host = "127.0.0.1" if self.host in EVERYWHERE else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


@contextlib.contextmanager
def alone(home: Home) -> Iterator[None]:
    """One Madang per folder: a second one is refused instead of sharing what it can't share."""
    with open(os.open(home.root / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CantStart(
                f"Madang already runs in {home.root}. Stop it first (madang stop), or choose another --home."
            ) from None
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def runs_as(home: Home) -> int | None:
    """The process that serves this folder, if one does."""
    try:
        with open(home.root / "lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read() or 0) or None
    except (FileNotFoundError, ValueError):
        return None
    return None


@dataclass
class Database:
    """The URLs of the application and of the owner, and how to look after the server, where it is our own."""

    application: str
    owner: str
    look_after: Callable[[], None] = lambda: None


@contextlib.contextmanager
def database(home: Home, say: Say) -> Iterator[Database]:
    """The site's own server, started and stopped here, or the one that the environment names."""
    if application := os.environ.get("DATABASE_URL"):
        owner = os.environ.get("DATABASE_OWNER_URL")
        if not owner:
            raise CantStart(
                "DATABASE_URL is set, DATABASE_OWNER_URL isn't: the tables belong to a role of their own, which "
                "the application never runs as. See docs/operator/install.md."
            )
        if role := same_role(application, owner):
            say(
                f"Warning: DATABASE_URL and DATABASE_OWNER_URL both name the role {role}. Whoever owns the tables can "
                "rewrite the ledger: give the application a role of its own. See docs/operator/install.md.",
                keep=True,
            )
        yield Database(application, owner)
        return
    server = Postgres(home.database)
    say(f"PostgreSQL {server.version}: starting the private database")
    try:
        application, owner = server.start()
        yield Database(application, owner, server.look_after)
    finally:
        server.stop()


def same_role(application: str, owner: str) -> str:
    """The role that both URLs name; empty when they name two."""
    try:
        roles = [str(conninfo_to_dict(url).get("user") or "") for url in (application, owner)]
    except psycopg.ProgrammingError as error:
        raise CantStart(f"DATABASE_URL or DATABASE_OWNER_URL can't be read: {str(error).strip()}") from None
    return (roles[0] or "of this user") if roles[0] == roles[1] else ""


def environment(home: Home, db: Database, **more: str) -> dict[str, str]:
    """What every process of the site is given. The owner's URL isn't: only what migrates has it."""
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_OWNER_URL"}
    return {
        **kept,
        "DATABASE_URL": db.application,
        "DJANGO_SETTINGS_MODULE": "madang.settings",
        "MADANG_HOME": str(home.root),
        "PYTHONUNBUFFERED": "1",
        **more,
    }


def migrate(env: dict[str, str], owner: str, log: Path) -> None:
    """Bring the tables to this version, as their owner."""
    done = subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--no-input", "--verbosity=0"],
        env={**env, "DATABASE_OWNER_URL": owner, "MADANG_AS_OWNER": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        file = log / "migrate.log"
        file.write_text(done.stderr)
        last = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise CantStart(f"The database could not be brought to this version ({file} has all of it):\n{last}")


def processes(address: Address, workers: int = 2, *, sessions: bool = False) -> list[Child]:
    """The web server, the worker, what watches over the engine, and the proxy before interactive sessions where there
    are any. In the order in which they are stopped."""
    bin = Path(sys.executable).parent
    return [
        Child(
            "web",
            [str(bin / "granian"), "--interface", "wsgi", "--host", address.host, "--port", str(address.port),
             "--workers", str(workers), "--blocking-threads", "4", "--no-ws", "--log-level", "warning",
             "madang.server.web:application"],
        ),
        Child(
            "worker",
            [sys.executable, "-m", "django", "procrastinate", "worker", "--concurrency=4", "--delete-jobs=successful"],
        ),
        Child("engine", [sys.executable, "-m", "madang.server.engine"]),
        *([Child("sessions", [sys.executable, "-m", "madang.server.sessions"])] if sessions else []),
    ]  # fmt: skip


def wait_for(address: Address, site: Site, seconds: float = 180) -> None:
    """Until the first page answers. Raises CantStart when it doesn't."""
    # By the name under which the site is known: it answers to no other.
    name = urlsplit(site.environment["MADANG_URL"]).netloc
    question = Request(f"{address.near}/healthz", headers={"Host": name})  # noqa: S310 - our own address

    # Asked once a look: another worker of the server may not be as far as the one that answered.
    def answered() -> bool:
        try:
            with urlopen(question, timeout=5) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    end, there = time.monotonic() + seconds, False
    while not (there or site.stopping or time.monotonic() > end):
        site.watch_once()
        there = answered()
        if not there:
            time.sleep(0.3)
    if not there and not site.stopping:
        where = f" See {site.log / 'web.log'}." if site.log else ""
        raise CantStart(f"The web server did not answer at {address.near} within {seconds:.0f} s.{where}")


@contextlib.contextmanager
def running(
    home: Home, address: Address, say: Say, *, quiet: bool = False, **more: str
) -> Iterator[tuple[Site, dict[str, str]]]:
    """A running site, stopped at the end. `quiet`: what its processes say goes to files below the home."""
    with alone(home), _ends_on_term():
        _port_is_free(address)
        with database(home, say) as db:
            env = environment(home, db, **{"MADANG_URL": os.environ.get("MADANG_URL") or address.url, **more})
            _ = home.secret_key
            say("bringing the tables to this version")
            migrate(env, db.owner, home.log)
            if reason := Sandbox().probe:
                say(
                    f"Warning: {reason}. Without a sandbox this machine runs only the job that Madang ships, and that "
                    "one without walls; other people's are refused (Debian, Ubuntu: apt install bubblewrap).",
                    keep=True,
                )
            site = Site(
                processes(address, sessions=bool(env.get("MADANG_SESSIONS_URL"))),
                env,
                also=db.look_after,
                log=home.log if quiet else None,
            )
            try:
                say("starting the web server, the worker and the engine")
                site.start()
                wait_for(address, site)
                yield site, env
            finally:
                site.stop()


def up(home: Home, address: Address, say: Say) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    token = secrets.token_urlsafe(9)
    with running(home, address, say, MADANG_SETUP_TOKEN=token) as (site, env):
        say(f"Madang serves at {env['MADANG_URL']}  (Ctrl-C stops it)", keep=True)
        if _is_empty(env["DATABASE_URL"]):
            say(f"Its first page sets the site up, and asks for this set-up token: {token}", keep=True)
        serve(site)


def serve(site: Site) -> None:
    def stop(*_: Any) -> None:
        site.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    site.watch()


def stop(root: Path, say: Say, seconds: float = 60) -> bool:
    """End the Madang that serves this folder, and a private database that a killed one left. False: nothing ran."""
    if not root.is_dir():
        return False
    home = Home(root)
    stopped = False
    if pid := runs_as(home):
        say(f"stopping Madang (process {pid})")
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + seconds
        while runs_as(home) == pid:
            if time.monotonic() > end:
                raise CantStart(f"Madang (process {pid}) did not stop within {seconds:.0f} s.")
            time.sleep(0.2)
        stopped = True
    with alone(home):
        if (home.database / "data" / "postmaster.pid").exists():
            server = Postgres(home.database)
            if server.answers():
                say("stopping the private database that was left running")
                server.stop()
                stopped = True
    return stopped


@contextlib.contextmanager
def _ends_on_term() -> Iterator[None]:
    """SIGTERM ends it in order, from the first moment on: nothing that was started is left behind."""

    def end(*_: Any) -> NoReturn:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _is_empty(url: str) -> bool:
    """Whether nobody has an account yet."""
    with psycopg.connect(url) as db:
        row = db.execute("SELECT NOT EXISTS (SELECT FROM identity_person)").fetchone()
    return bool(row and row[0])


def _port_is_free(address: Address) -> None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    end = time.monotonic() + PORT_WAIT_S
    while True:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address.host, address.port))
                return
            except OSError as error:
                if time.monotonic() > end:
                    raise CantStart(
                        f"Port {address.port} of {address.host} can't be served at ({error.strerror or error}). "
                        "Choose another with --port."
                    ) from None
        time.sleep(0.3)
