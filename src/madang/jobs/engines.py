"""Which engines there are. This room knows none by itself: a facility registers as the host of its engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol
from uuid import UUID

from django.utils.translation import gettext as _

from madang.engines.base import Engine, FileEntry, Limits, Listing, LiveRun, Port, RunKey, Socket, UsageRow
from madang.grants.models import Allocation
from madang.identity.models import Person
from madang.workflow.errors import Missing

if TYPE_CHECKING:
    from madang.jobs.models import Job


class EngineWithFiles(Engine, Protocol):
    """An engine that also shows what its runs wrote. These three, and `log`, may be called inside a web request."""

    def files(self, run: RunKey) -> Listing[FileEntry]: ...

    def open_file(self, run: RunKey, path: str) -> BinaryIO:
        """For reading; no link is followed. Raises the engines' `Missing`."""

    def log_size(self, run: RunKey) -> int: ...

    def way_in(self, run: RunKey) -> Socket | Port:
        """Where a program of the run is reached that people use while it runs. Raises the engines' `Missing` while it
        listens nowhere. Asks the engine: not for a web request."""


class Input(NamedTuple):
    """A file that each task of a job finds in its work folder, by its content (SHA-256 in hexadecimal, bytes)."""

    path: str
    sha256: str
    size: int


def inputs_of(job: Job) -> list[Input]:
    return [Input(*entry) for entry in job.inputs]


@dataclass(frozen=True)
class Wish:
    """What somebody wants to run, before it is a job."""

    actor: Person
    uuid: UUID
    allocation: Allocation
    engine: str
    partition: str
    script: str
    gpus: int
    limit_s: int
    trusted: bool
    tasks: int = 1
    inputs: tuple[Input, ...] = ()
    requeue: bool = False


@dataclass(frozen=True)
class Terms:
    """How the host lets it run, and as which user of the engine. Memory in MiB for the whole job."""

    gpu_type: str
    memory_mb: int
    cpus: int
    posix_user: str


@dataclass(frozen=True)
class Whose:
    """Who a run belongs to that was submitted past us."""

    allocation: Allocation
    person: Person
    partition: str


class Host(Protocol):
    """Who runs engines: knows their names, builds them, and says what may run on them."""

    def names(self) -> Sequence[str]: ...

    def build(self, name: str) -> EngineWithFiles:
        """Raises KeyError for a name that isn't its own."""

    def partitions(self, name: str) -> Sequence[str]:
        """The names of the partitions of an engine."""

    def admit(self, wish: Wish) -> Terms:
        """Raises Refused, with the field that is wrong. Called inside the transaction of the submission."""

    def source(self, allocation: Allocation, sha256: str) -> Path:
        """Where the file of this content lies on this machine, for the jobs of an allocation: always the same path."""

    def budgets(self, name: str) -> Sequence[Limits]:
        """What the engine should have of budgets, accounts and members now, in the same order each time."""

    def whose(self, name: str, row: UsageRow | LiveRun) -> Whose | None:
        """Of a run that was submitted past us; None where it can't be told."""


_hosts: list[Host] = []
_built: dict[str, tuple[Host, EngineWithFiles]] = {}


def register(host: Host) -> None:
    _hosts.append(host)
    _built.clear()


def unregister(host: Host) -> None:
    _hosts.remove(host)
    _built.clear()


def names() -> list[str]:
    """Every engine of every host."""
    return [name for host in _hosts for name in host.names()]


def engine_named(name: str) -> EngineWithFiles:
    """The engine, built when first asked for and kept for the life of the process."""
    if name not in _built:
        host = _host_of(name)
        _built[name] = host, host.build(name)
    return _built[name][1]


def partitions(name: str) -> Sequence[str]:
    return _host_of(name).partitions(name)


def admit(wish: Wish) -> Terms:
    return _host_of(wish.engine).admit(wish)


def source(name: str, allocation: Allocation, sha256: str) -> Path:
    return _host_of(name).source(allocation, sha256)


def budgets(name: str) -> Sequence[Limits]:
    return _host_of(name).budgets(name)


def whose(name: str, row: UsageRow | LiveRun) -> Whose | None:
    return _host_of(name).whose(name, row)


def _host_of(name: str) -> Host:
    if name in _built:
        return _built[name][0]
    for host in _hosts:
        if name in host.names():
            return host
    raise Missing(_("There is no such engine."))
