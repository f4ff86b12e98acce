"""A real Slurm for these tests, with users of its own; one for a run of pytest, where this machine may have one."""

from __future__ import annotations

import atexit
import importlib.util
import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import psycopg

from madang.engines.base import START, JobSpec, Limits, LiveRun, RunKey, UsageRow
from madang.engines.slurm import Breaker, Commands, SlurmEngine
from madang.engines.slurm.handing import place

IN_USE = 8  # what userdel ends with
SCRIPT = Path(__file__).parents[4] / "dev" / "slurm.py"


@cache
def shared() -> tuple[Any, str]:
    """The cluster of this process, brought up when first asked for and gone when it ends; or None and the reason."""
    if os.environ.get("SLURM") == "0":
        return None, "no Slurm here: SLURM=0 in the environment"
    made, reason = bring_up()
    if made is not None:
        atexit.register(made.down, purge=True)
    return made, reason


def bring_up() -> tuple[Any, str]:
    """A cluster, or None and one line of why there is none."""
    if not SCRIPT.exists():
        return None, "no dev/slurm.py: this is not a checkout"
    dev = load()
    root = Path(f"/var/lib/madang-slurm-test-{os.getpid()}")
    cluster = dev.Cluster(root, free_ports(), "test", kinds=(*dev.KINDS, dev.SMALL), impatient=True)
    try:
        cluster.up()
        cluster.budgets = []  # what is opened once and used by all tests
    except dev.NotHere as reason:
        return None, f"no Slurm here: {reason}"
    return cluster, ""


@cache
def wrong_clock() -> tuple[Any, str]:
    """A cluster whose daemons are told another time than this machine has, by `tell(seconds)` that they are ahead; for
    as long as this process lives. Or None and the reason."""
    if os.environ.get("SLURM") == "0":
        return None, "no Slurm here: SLURM=0 in the environment"
    if not SCRIPT.exists():
        return None, "no dev/slurm.py: this is not a checkout"
    dev = load()

    class WrongClock(dev.Cluster):  # type: ignore[misc, name-defined]
        ahead, starts = 0, ""

        @property
        def environment(self) -> dict[str, str]:
            plain: dict[str, str] = super().environment
            if not self.starts.startswith("slurm"):
                return plain
            (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
            return plain | {"LD_PRELOAD": str(library), "FAKETIME": f"{self.ahead:+d}", "DONT_FAKE_MONOTONIC": "1"}

        def _start(self, command: Sequence[str]) -> None:
            self.starts = command[len(self.prefix)]
            try:
                super()._start(command)
            finally:
                self.starts = ""

        def tell(self, ahead: int) -> None:
            if self.ahead != ahead:
                for pid in [*self.run.glob("slurm/slurmd.*.pid"), *self.run.glob("slurm/slurm[cd]*d.pid")]:
                    self.stop(str(pid.relative_to(self.run)))
            self.ahead = ahead
            self.up()

    root = Path(f"/var/lib/madang-slurm-clock-{os.getpid()}")
    cluster = WrongClock(root, free_ports(100), "clock", kinds=(dev.SMALL,), impatient=True)
    try:
        dev.require_machine()
        dev.install((*dev.PACKAGES, "libfaketime"))
    except dev.NotHere as reason:
        return None, f"no Slurm of another time here: {reason}"
    cluster.budgets = []
    atexit.register(cluster.down, purge=True)
    return cluster, ""


def load() -> ModuleType:
    """The script as a module: it isn't part of the package."""
    found = importlib.util.spec_from_file_location("madang_dev_slurm", SCRIPT)
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module  # its dataclasses look themselves up there
    found.loader.exec_module(module)
    return module


def free_ports(beyond: int = 0) -> int:
    """The first of a hundred ports of loopback of which the most used are free, at least `beyond` those of the other
    cluster of this process."""
    for first in range(20_000 + os.getpid() % 100 * 100 + beyond, 32_000, 100):
        try:
            for port in (first + 1, first + 2, first + 3, first + 10):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise OSError("no free ports")


def add_user(name: str) -> None:
    """A posix user for as long as the tests run, who may not log in."""
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    uid = next(uid for uid in range(30_000, 60_000) if uid not in taken)
    subprocess.run(
        ["useradd", "--uid", str(uid), "--no-create-home", "--home-dir", "/nonexistent", "-s", "/bin/sh", name],
        check=True,
        capture_output=True,
    )


def remove_user(name: str) -> None:
    """Gone once the last process of an ended job is."""
    deadline = time.monotonic() + 5
    while subprocess.run(["userdel", name], check=False, capture_output=True).returncode == IN_USE:
        if time.monotonic() > deadline:
            return
        time.sleep(0.1)


@dataclass
class SlurmRig:
    """Slurm with what Rig has around the local engine: each test begins where the runs of the last one ended."""

    database: str
    cluster: Any
    users: tuple[str, str]
    kind: str = "slurm"
    gpu_type: str = "small"
    declared: bool = False
    budget: str = "b-1"
    account: str = "a-1"

    def __post_init__(self) -> None:
        self.runs = self.cluster.root / "runs"
        self.commands = Commands(self.cluster.conf, breaker=Breaker(0.2))
        self.engine = self.new_engine()
        self.cursor = START
        if not self.cluster.budgets:
            assert self.engine.sync([self.limits()], apply=True).applied
            self.cluster.budgets.append(self.budget)
        while (page := self.engine.usage(self.cursor)).rows:
            self.cursor = page.next

    def limits(self, **more: Any) -> Limits:
        given = {"members": self.users[:1], "partitions": ("small",), "gpu_seconds": 1_000_000}
        return Limits(self.account, self.budget, **{**given, **more})

    def new_engine(self) -> SlurmEngine:
        return SlurmEngine(self.connect, self.runs, self.cluster.name, self.commands)

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.database)

    def spec(self, script: str = "exit 0", **more: Any) -> JobSpec:
        script = script if script.startswith("#!") else f"#!/bin/sh\n{script}\n"
        given = {"gpu_type": "small", "partition": "small", "limit_s": 60, "memory_mb": 256}
        given |= {"account": self.account, "budget": self.budget, "posix_user": self.users[0]}
        return JobSpec(job=more.pop("job", None) or uuid4(), script=script, **{**given, **more})

    def submit(self, script: str = "exit 0", **more: Any) -> UUID:
        spec = self.spec(script, **more)
        self.engine.submit(spec, 1)
        return spec.job

    def until(self, happened: Callable[[], Any], seconds: float = 30) -> Any:
        """Ask until `happened` says something true; that is the answer."""
        deadline = time.monotonic() + seconds
        while not (found := happened()):
            assert time.monotonic() < deadline, f"not within {seconds} s: {self.engine.poll()} {self.usage()}"
            self.step()
        return found

    def step(self) -> None:
        time.sleep(0.15)

    def usage(self) -> list[UsageRow]:
        """The rows of this test's budget."""
        rows, cursor, more = [], self.cursor, True
        while more:
            page = self.engine.usage(cursor)
            rows += [row for row in page.rows if row.budget == self.budget]
            cursor, more = page.next, page.more
        return rows

    def ended(self, job: UUID, task: int = 0, seconds: float = 30) -> UsageRow:
        """The last end of a run, waited for."""
        wanted = (job, task, False)
        return self.until(
            lambda: next((r for r in self.usage() if (r.key.job, r.key.task, r.goes_on) == wanted), None), seconds
        )

    def live(self, job: UUID) -> LiveRun | None:
        return next((run for run in self.engine.poll().runs if run.key.job == job), None)

    def running(self, job: UUID, word: bytes = b"up") -> LiveRun:
        """The run, once it has written `word`."""
        self.until(lambda: word in self.log(job))
        return self.until(lambda: (run := self.live(job)) and run.state == "running" and run)

    def slots_of(self, job: UUID) -> tuple[int, ...]:
        """What the job itself was told of its GPUs: it has written them after `up`."""
        self.running(job)
        return tuple(int(word) for word in self.log(job).split()[1].split(b","))

    def log(self, job: UUID, task: int = 0) -> bytes:
        return self.engine.log(RunKey(job, task), 0, 1 << 20)

    def folder(self, job: UUID) -> Path:
        return place(self.runs, RunKey(job))

    def as_user(self, *command: str, user: int = 0, stdin: str = "") -> str:
        """What somebody does on a login node, past us."""
        return self.commands.as_user(self.users[user], command, stdin=stdin)

    def clear(self) -> None:
        for user in self.users:
            self.commands.as_user(user, ["scancel", f"--user={user}"])
        self.until(self.quiet)

    def quiet(self) -> bool:
        """Whether nothing lives: what has ended does until its end is known."""
        self.usage()
        return not self.engine.poll().runs
