"""`madang up`: everything that one site needs, in one command, from an empty folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from madang.server.home import Home
from madang.server.postgres import Postgres
from madang.server.processes import Child, Site

Say = Callable[[str], None]


class CantStart(SystemExit):
    """The site can't be started here. The message says why and what to do."""


@dataclass(frozen=True)
class Address:
    host: str = "127.0.0.1"
    port: int = 8000

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"


@contextlib.contextmanager
def alone(home: Home) -> Iterator[None]:
    """One Madang per folder: a second one is refused instead of sharing what it can't share."""
    with open(home.root / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CantStart(f"Madang already runs in {home.root}. Stop it first, or choose another --home.") from None
        yield


@contextlib.contextmanager
def database(home: Home, say: Say) -> Iterator[dict[str, str]]:
    """The environment that names the database: the site's own server, started and stopped here, or a given one."""
    if os.environ.get("DATABASE_URL"):
        if not os.environ.get("DATABASE_OWNER_URL"):
            raise CantStart(
                "DATABASE_URL is set, DATABASE_OWNER_URL isn't: the tables belong to a role of their own, which "
                "the application never runs as. See docs/operator/install.md."
            )
        yield {name: os.environ[name] for name in ("DATABASE_URL", "DATABASE_OWNER_URL")}
        return
    server = Postgres(home.database)
    say(f"PostgreSQL {server.version}: starting the private database")
    application, owner = server.start()
    try:
        yield {"DATABASE_URL": application, "DATABASE_OWNER_URL": owner}
    finally:
        server.stop()


def environment(home: Home, urls: dict[str, str], **more: str) -> dict[str, str]:
    """What every process of the site is given."""
    return {
        **os.environ,
        **urls,
        "DJANGO_SETTINGS_MODULE": "madang.settings",
        "MADANG_HOME": str(home.root),
        "PYTHONUNBUFFERED": "1",
        **more,
    }


def migrate(env: dict[str, str]) -> None:
    """Bring the tables to this version, as their owner."""
    done = subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--no-input", "--verbosity=0"],
        env={**env, "MADANG_AS_OWNER": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CantStart(f"The database could not be brought to this version:\n{done.stderr.strip()[-3000:]}")


def processes(address: Address, workers: int = 2) -> list[Child]:
    """The web server, the worker, and what watches over the engine. In the order in which they are stopped."""
    bin = Path(sys.executable).parent
    return [
        Child(
            "web",
            [str(bin / "granian"), "--interface", "wsgi", "--host", address.host, "--port", str(address.port),
             "--workers", str(workers), "--blocking-threads", "4", "--no-ws", "--log-level", "warning",
             "madang.wsgi:application"],
        ),
        Child(
            "worker",
            [sys.executable, "-m", "django", "procrastinate", "worker", "--concurrency=4", "--delete-jobs=successful"],
        ),
        Child("engine", [sys.executable, "-m", "madang.server.engine"]),
    ]  # fmt: skip


def wait_for(url: str, site: Site, seconds: float = 60) -> None:
    """Until the first page answers. Raises CantStart when it doesn't."""

    def answered() -> bool:
        try:
            with urlopen(f"{url}/healthz", timeout=2) as answer:  # noqa: S310 - our own address
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    end = time.monotonic() + seconds
    site.watch(lambda: answered() or time.monotonic() > end)
    if not answered():
        raise CantStart(f"The web server did not answer at {url} within {seconds:.0f} s.")


@contextlib.contextmanager
def running(home: Home, address: Address, say: Say, **more: str) -> Iterator[tuple[Site, dict[str, str]]]:
    """A running site, stopped at the end."""
    _port_is_free(address)
    with alone(home), database(home, say) as urls:
        env = environment(home, urls, MADANG_URL=address.url, **more)
        say("bringing the tables to this version")
        migrate(env)
        site = Site(processes(address), env)
        try:
            site.start()
            wait_for(address.url, site)
            yield site, env
        finally:
            site.stop()


def up(home: Home, address: Address, say: Say) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    token = secrets.token_urlsafe(9)
    with running(home, address, say, MADANG_SETUP_TOKEN=token) as (site, _env):
        say(f"Madang serves at {address.url}")
        say(f"A site without people asks for this set-up code first: {token}")
        serve(site)


def serve(site: Site) -> None:
    def stop(*_: Any) -> None:
        site.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    site.watch()


def _port_is_free(address: Address) -> None:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError:
            raise CantStart(f"Port {address.port} is in use. Choose another with --port.") from None
