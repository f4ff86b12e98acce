"""One scratch database per test process; one machine name per test, so that tests don't see each other's queue."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import conninfo, sql

from madang.engines import slurm
from madang.engines.base import START, JobSpec, LiveRun, RunKey, UsageRow
from madang.engines.local import Caps, Dispatcher, LocalEngine, Sandbox, declare_slots, schema
from madang.engines.tests import clusters
from madang.engines.tests.clusters import SlurmRig

SHARED_SANDBOX = Sandbox()


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    """The address of a database with the engine's tables and nothing else."""
    owner = os.environ["DATABASE_OWNER_URL"]
    name = f"test_engines_{os.getpid()}"
    with psycopg.connect(owner, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    address = conninfo.make_conninfo(owner, dbname=name)
    try:
        with psycopg.connect(address) as conn:
            conn.execute(schema().encode())
            conn.execute(slurm.schema().encode())
        yield address
    finally:
        with psycopg.connect(owner, autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass
class Rig:
    """An engine with everything a test needs around it."""

    database: str
    runs: Path
    sandbox: Sandbox
    slots: int
    kind: str = "local"
    gpu_type: str = "cpu"
    declared: bool = True
    machine: str = field(default_factory=lambda: f"m-{uuid4().hex[:12]}")
    caps: Caps = field(default_factory=lambda: Caps(grace_s=0.4, beat_s=0.2, log_bytes=200_000, file_bytes=4 << 20))

    def __post_init__(self) -> None:
        self.engine = LocalEngine(self.connect, self.runs, self.machine, sandbox=self.sandbox)
        self.dispatcher = self.new_dispatcher()
        declare_slots(self.connect, self.machine, "cpu", self.slots)

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.database)

    def new_dispatcher(self) -> Dispatcher:
        return Dispatcher(self.connect, self.runs, self.machine, sandbox=self.sandbox, caps=self.caps)

    def spec(self, script: str = "exit 0", **more: Any) -> JobSpec:
        script = script if script.startswith("#!") else f"#!/bin/sh\n{script}\n"
        given = {"gpu_type": "cpu", "limit_s": 30, "trusted": bool(self.sandbox.probe), "memory_mb": 256}
        return JobSpec(job=more.pop("job", None) or uuid4(), script=script, **{**given, **more})

    def submit(self, script: str = "exit 0", **more: Any) -> UUID:
        spec = self.spec(script, **more)
        self.engine.submit(spec, 1)
        return spec.job

    def until(self, happened: Callable[[], Any], seconds: float = 15) -> Any:
        """Let the dispatcher work until `happened` says something true; that is the answer."""
        deadline = time.monotonic() + seconds
        while not (found := happened()):
            assert time.monotonic() < deadline, f"not within {seconds} s: {self.engine.poll()} {self.usage()}"
            self.dispatcher.step()
            time.sleep(0.01)
        return found

    def step(self) -> None:
        self.dispatcher.step()

    def slots_of(self, job: UUID) -> tuple[int, ...]:
        return self.running(job).slots

    def usage(self) -> list[UsageRow]:
        return list(self.engine.usage(START).rows)

    def ended(self, job: UUID, task: int = 0, seconds: float = 15) -> UsageRow:
        """The end of a run, waited for."""
        return self.until(
            lambda: next((r for r in self.usage() if (r.key.job, r.key.task) == (job, task)), None), seconds
        )

    def live(self, job: UUID) -> LiveRun | None:
        return next((run for run in self.engine.poll().runs if run.key.job == job), None)

    def running(self, job: UUID, word: bytes = b"up") -> LiveRun:
        """The run, once it has written `word`."""
        self.until(lambda: word in self.log(job))
        return self.until(lambda: (run := self.live(job)) and run.state == "running" and run)

    def log(self, job: UUID, task: int = 0) -> bytes:
        return self.engine.log(RunKey(job, task), 0, 1 << 20)

    def folder(self, job: UUID) -> Path:
        return self.runs / str(job) / "0" / "1"

    def clear(self) -> None:
        for job in {run.key.job for run in self.engine.poll().runs}:
            self.engine.cancel(job)
        self.until(lambda: not self.engine.poll().runs)
        self.dispatcher.close()


@pytest.fixture
def make_rig(database: str, tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(slots: int = 3, sandbox: Sandbox = SHARED_SANDBOX) -> Rig:
        made.append(Rig(database, tmp_path / f"runs{len(made)}", sandbox, slots))
        return made[-1]

    yield make
    for rig in made:
        rig.clear()


ON_SLURM = pytest.mark.xdist_group("slurm")  # one cluster, so one process


@pytest.fixture(scope="session")
def cluster() -> Any:
    """A Slurm of our own, or a skip with the reason."""
    made, reason = clusters.shared()
    if made is None:
        pytest.skip(reason)
    return made


@pytest.fixture(scope="session")
def users(cluster: Any) -> Iterator[tuple[str, str]]:
    """Two posix users who last as long as the cluster."""
    names = (f"mdg{os.getpid()}a", f"mdg{os.getpid()}b")
    try:
        for name in names:
            clusters.add_user(name)
        yield names
    finally:
        for name in names:
            clusters.remove_user(name)


@pytest.fixture
def slurm_rig(database: str, cluster: Any, users: tuple[str, str]) -> Iterator[SlurmRig]:
    rig = SlurmRig(database, cluster, users)
    yield rig
    rig.clear()


@pytest.fixture
def local_rig(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig()


@pytest.fixture(params=["local", pytest.param("slurm", marks=ON_SLURM)])
def rig(request: pytest.FixtureRequest) -> Any:
    """The engines that keep the contract."""
    return request.getfixturevalue(f"{request.param}_rig")
