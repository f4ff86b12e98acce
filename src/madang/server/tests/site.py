"""A site of its own for tests: the real command, in a folder and at a port that nobody else has."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

from madang.server.home import Home
from madang.server.postgres import Postgres

MADANG = [sys.executable, "-c", "from madang.cli import app; app(prog_name='madang')"]
SLOW_S = 180  # for a machine that does a lot besides


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """Nothing of the test run's own site, nor of its database."""
    ours = ("MADANG_", "DATABASE_", "DJANGO_", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | more


def madang(*words: str, seconds: float = SLOW_S, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*MADANG, *words], env=environment(**more), capture_output=True, text=True, timeout=seconds, check=False
    )


def until(happened: Callable[[], object], seconds: float = SLOW_S, why: str = "it never happened") -> None:
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise AssertionError(why)
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """A process that has ended but that nobody has waited for isn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    """All of them, and theirs."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(folder.name))
    found, look = [], [pid]
    while look:
        look = [child for parent in look for child in parents.get(parent, [])]
        found += look
    return found


def words(pid: int) -> str:
    """The command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def kill(pids: list[int]) -> None:
    """At once, and without a chance to tidy up."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class TestSite:
    """`madang up` in a folder. `start` waits until it serves; what it printed is in `said`."""

    __test__ = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.log = root.with_name(root.name + ".log")

    def start(self, **more: str) -> None:
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*MADANG, "up", "--home", str(self.root), "--port", str(self.port)],
                env=environment(**more), stdout=log, stderr=log,
            )  # fmt: skip
        until(self._serves, why="it does not serve")

    def _serves(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.said
        return "Madang serves at" in self.said

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def part(self, name: str) -> list[int]:
        """The processes of one part: web, worker, engine or postgres."""
        mark = {"web": "granian", "worker": "procrastinate", "engine": "madang.server.engine", "postgres": "postgres"}
        return [pid for pid in children(self.pid) if mark[name] in words(pid)]

    def serves(self) -> bool:
        try:
            with urlopen(f"{self.url}/healthz", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def end(self) -> int:
        """As Ctrl-C does, only from outside."""
        assert self.process
        self.process.terminate()
        return self.process.wait(60)

    @property
    def database(self) -> Postgres:
        return Postgres(Home(self.root).database)

    def urls(self) -> dict[str, str]:
        """What a process needs to work on this site's data beside it, as the application."""
        return {"DATABASE_URL": self.database.url("madang"), "MADANG_HOME": str(self.root),
                "DJANGO_SETTINGS_MODULE": "madang.settings"}  # fmt: skip

    def tidy_up(self) -> None:
        if self.process and self.process.poll() is None:
            kill([*[pid for pid in children(self.pid) if "postgres" not in words(pid)], self.pid])
            self.process.wait()
        server = self.database
        server.stop()
        shutil.rmtree(server.root, ignore_errors=True)
        shutil.rmtree(self.root, ignore_errors=True)
        self.log.unlink(missing_ok=True)


@contextmanager
def site() -> Iterator[TestSite]:
    """Not started yet. Gone at the end, whatever was left running."""
    root = Path(tempfile.mkdtemp(prefix="madang-site-"))
    root.chmod(0o755)
    made = TestSite(root)
    try:
        yield made
    finally:
        made.tidy_up()
