"""What every engine is: a job goes in once, and every run of it comes out with one true end.

A *job* is what a person asked for (a UUID). A *run* is what is billed: one task of one attempt. Not answering is not
ending: an engine that can't be asked raises `Unavailable` and decides nothing.

Units: memory in MiB, limits in whole seconds, instants as aware datetimes (UTC), use in GPU-seconds (whole, rounded
up; slot-seconds where the slots are declared ones).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Generic, NewType, Protocol, TypeVar
from uuid import UUID

MAX_NAME = 100  # characters of a job's name and of a file's path
MAX_PART = 255  # bytes that a disk takes as the name of a file or folder: 85 Korean letters
MAX_SCRIPT = 1 << 20  # bytes
MAX_INLINE = 64 << 20  # bytes of all files that are given by content
MAX_FILES = 1000
MAX_TASKS = 10_000
MAX_LIMIT_S = 90 * 86_400
ENDED = "Accounting"  # the reason of a run that is over, and of which the accounting hasn't said yet how
HELD_BACK = "JobHeldAdmin"  # why a run waits that `hold_back` keeps, in Slurm's word
APART_S = 5.0  # clocks that differ more are worth a warning: NTP keeps them within a second
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # accounts, budgets, users, partitions, GPU types
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

Cursor = NewType("Cursor", str)
START = Cursor("")  # of `usage`: from the first run on
SOCKET = ".session"  # in the work folder: where a run listens that is reached on this machine
DOOR = "door"  # beside the work folder: what a run says of how it is reached on another one
Row = TypeVar("Row")


class EngineError(Exception):
    """`code` is for programs (and translations), `message` for people, `field` names the field of JobSpec, if one."""

    def __init__(self, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.field = code, message, field


class Rejected(EngineError):
    """The engine will never take this job as it is."""


class Conflict(EngineError):
    """The same job and attempt was given before with other content, or an earlier attempt still lives."""


class Unavailable(EngineError):
    """No answer: nothing is known, so nothing may be decided."""


class Missing(EngineError):
    """No such run or file here."""


class State(StrEnum):
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"


class Outcome(StrEnum):
    COMPLETED = "completed"
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"  # stopped for somebody else's sake
    NODE_FAILED = "node_failed"  # its machine died under it
    LOST = "lost"  # known not to run any more, and its end was not reported


@dataclass(frozen=True)
class InputFile:
    """A file put into the work folder before the start: `content`, or a copy of what `source` names on this machine."""

    path: str
    content: bytes | None = None
    source: Path | None = None


@dataclass(frozen=True)
class JobSpec:
    """One job. `script` is an executable text with a `#!` line, called with `argv` in the work folder."""

    job: UUID
    script: str
    gpu_type: str  # "cpu" for work without GPUs: its slots count as one each
    limit_s: int
    gpus_per_node: int = 1
    nodes: int = 1
    cpus: int = 1
    memory_mb: int = 1024
    account: str = "none"
    budget: str = "none"
    posix_user: str = "none"
    partition: str = "none"
    name: str = ""
    argv: tuple[str, ...] = ()
    files: tuple[InputFile, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    tasks: int = 1
    parallel: int = 0  # tasks running at once; 0 = as many as fit
    priority: int = 0  # higher starts first
    warn_s: int = 60  # USR1 so many seconds before the limit, to processes that catch it; at most half of the limit
    requeue: bool = False  # started again by the engine where its node failed or it was preempted (slurm only)
    trusted: bool = False  # the operator's own code: may run where there is no sandbox

    def check(self) -> None:
        """Raise `Rejected` for the first thing that no engine may be given."""
        for key in ("gpu_type", "account", "budget", "posix_user", "partition"):
            _need(WORD.fullmatch(getattr(self, key)), "bad_word", "only letters, digits, '.', '_' and '-'", key)
        _need(len(self.name) <= MAX_NAME and not _CONTROL.search(self.name), "bad_name", "not a usable name", "name")
        for key, low, high in (
            ("limit_s", 1, MAX_LIMIT_S),
            ("gpus_per_node", 1, 1024),
            ("nodes", 1, 10_000),
            ("cpus", 1, 4096),
            ("memory_mb", 16, 1 << 26),
            ("tasks", 1, MAX_TASKS),
            ("parallel", 0, MAX_TASKS),
            ("priority", -1_000_000, 1_000_000),
            ("warn_s", 0, MAX_LIMIT_S),
        ):
            _need(low <= getattr(self, key) <= high, "out_of_range", f"from {low} to {high}", key)
        _need(
            self.script.startswith("#!"), "no_interpreter", "the script's first line must be #! and a program", "script"
        )
        _need(
            "\0" not in self.script and _encodable(self.script),
            "bad_script",
            "holds a NUL or a broken character",
            "script",
        )
        _need("\r" not in self.script.split("\n", 1)[0], "bad_script", "has Windows line ends", "script")
        _need(len(self.script.encode()) <= MAX_SCRIPT, "too_large", f"more than {MAX_SCRIPT} bytes", "script")
        _need(
            len(self.argv) <= 1000 and all("\0" not in a and _encodable(a) and len(a) <= 10_000 for a in self.argv),
            "bad_argument",
            "at most 1,000 arguments of 10,000 characters, without NUL",
            "argv",
        )
        for name, value in self.environment.items():
            fine = VARIABLE.fullmatch(name) and not name.startswith("MADANG_")
            fine = fine and "\0" not in value and _encodable(value) and len(value) <= 32_768
            _need(fine, "bad_variable", f"not a usable variable: {name[:100]!r}", "environment")
        self._check_files()

    def _check_files(self) -> None:
        _need(len(self.files) <= MAX_FILES, "too_many", f"more than {MAX_FILES} files", "files")
        _need(sum(len(f.content or b"") for f in self.files) <= MAX_INLINE, "too_large", "files too large", "files")
        taken: set[str] = set()
        folders: set[str] = set()
        for file in self.files:
            _need(usable_path(file.path), "bad_path", f"not a usable file name: {file.path[:100]!r}", "files")
            _need(
                (file.content is None) != (file.source is None), "bad_file", "content or source, one of them", "files"
            )
            _need(file.source is None or file.source.is_absolute(), "bad_file", "the source must be absolute", "files")
            parents = {file.path[:i] for i, c in enumerate(file.path) if c == "/"}
            clash = file.path in taken or file.path in folders or parents & taken
            _need(not clash, "bad_path", f"given twice: {file.path!r}", "files")
            taken.add(file.path)
            folders |= parents


def usable_path(path: str) -> bool:
    """Whether this is a relative path that stays below its folder and is safe to show."""
    parts = path.split("/")
    fits = 0 < len(path) <= MAX_NAME and not _CONTROL.search(path)
    return fits and all(part not in ("", ".", "..") and len(part.encode()) <= MAX_PART for part in parts)


def _encodable(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _need(fine: object, code: str, message: str, key: str) -> None:
    if not fine:
        raise Rejected(code, f"{key}: {message}", key)


@dataclass(frozen=True, order=True)
class RunKey:
    """Names one run for ever. `restart` counts what the engine itself started again (local: never)."""

    job: UUID
    task: int = 0
    attempt: int = 1
    restart: int = 0


@dataclass(frozen=True)
class Receipt:
    job: UUID
    attempt: int
    engine_id: str
    tasks: int
    submitted_at: datetime


@dataclass(frozen=True)
class LiveRun:
    """A run that has not ended, or whose end isn't accounted for yet (ENDED). `reason` says why it waits: Resources,
    Priority, ArrayLimit, BudgetClosed, DiskFull, Maintenance, NodesDrained, NodesDown, NodesOut (some of them this,
    some that), or the word of the cluster. `place` counts from 1 within its partition, and `starts_at` is the engine's
    forecast; None where it makes none. A `bare` run was submitted past us, by `posix_user` to `partition`: `key.job` is
    made from the engine's id, and `engine_id` is what people know it by there.
    """

    key: RunKey
    state: State
    budget: str
    gpu_type: str
    gpus: int
    limit_s: int
    submitted_at: datetime
    started_at: datetime | None = None
    machine: str = ""
    slots: tuple[int, ...] = ()
    declared: bool = False
    reason: str = ""
    cancelling: bool = False
    place: int | None = None
    starts_at: datetime | None = None
    posix_user: str = ""
    partition: str = ""
    engine_id: str = ""
    bare: bool = False


@dataclass(frozen=True)
class Snapshot:
    """Everything alive at `at`. Where not `complete`, absence means nothing. `lag_s`: since the engine last looked."""

    at: datetime
    complete: bool
    runs: tuple[LiveRun, ...]
    lag_s: float | None


@dataclass(frozen=True)
class UsageRow:
    """One ended run. `gpu_seconds` never exceeds gpus × limit: the grace after the limit is the engine's own doing.

    `goes_on`: the engine starts the job again by itself, so its job hasn't ended. `engine_run` is the engine's own name
    of the run. A `bare` run was submitted past us, by `posix_user`: it has no job, `key.job` is made from `engine_run`,
    and account and budget say who pays. `marked_at`: it was charged until `ended_at`, and by its own marks it had ended
    so much earlier that a person should look.
    """

    key: RunKey
    outcome: Outcome
    account: str
    budget: str
    machine: str
    gpu_type: str
    gpus: int
    declared: bool
    submitted_at: datetime
    started_at: datetime | None  # None: it never ran
    ended_at: datetime
    gpu_seconds: int
    exit_code: int | None  # 128 + n for signal n
    reason: str = ""
    peak_memory_mb: int | None = None
    log_truncated: bool = False
    goes_on: bool = False
    engine_run: str = ""
    engine_id: str = ""  # what people know it by on the cluster; given out again, so it names nothing for ever
    posix_user: str = ""
    bare: bool = False
    marked_at: datetime | None = None


@dataclass(frozen=True)
class Sample:
    """What one GPU of a run did in the time up to `at`: the mean of its use in percent and of its power in watts (None
    where the driver doesn't say), the most of its memory that was taken. Of the whole GPU, whoever caused it."""

    at: datetime
    gpu: int  # the number of the slot
    utilization: float | None
    memory_mb: int
    memory_total_mb: int
    power_w: float | None = None


@dataclass(frozen=True)
class Page(Generic[Row]):
    """`next` continues after the last row; keep it even when `more` is False."""

    rows: tuple[Row, ...]
    next: Cursor
    more: bool


@dataclass(frozen=True)
class Limits:
    """What a budget may do: while not `open`, its waiting runs don't start. `gpu_seconds` may still be used (what holds
    have set aside included); None = no limit here. `members` are posix users, and may use these partitions (none named:
    any). `share` is the account's part in the order of the queue."""

    account: str
    budget: str
    open: bool = True
    gpu_seconds: int | None = None
    members: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    share: int = 1


@dataclass(frozen=True)
class Diff:
    """What `sync` (by budget) or `maintain` (by key) found different from what was wanted; `applied` says whether it
    was also changed. `held` says why it was not although it was asked for."""

    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    applied: bool = False
    held: str = ""


@dataclass(frozen=True)
class Maintenance:
    """A stretch of time in which nodes are out of service: those of `nodes`, or of `partition`, or all. No run starts
    there whose limit reaches into it; what runs goes on. `key` names it for ever."""

    key: str
    starts_at: datetime
    ends_at: datetime
    reason: str = ""
    partition: str = ""
    nodes: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise `Rejected` for what no engine may be given."""
        for word in (self.key, *([self.partition] if self.partition else ()), *self.nodes):
            fine = WORD.fullmatch(word) and word.upper() != "ALL"  # which Slurm takes for all nodes
            _need(fine, "bad_word", f"only letters, digits, '.', '_' and '-': {word[:80]!r}", "nodes")
        _need(not (self.partition and self.nodes), "bad_place", "a partition or nodes, not both", "nodes")
        _need(self.starts_at < self.ends_at, "out_of_range", "it ends before it begins", "ends_at")


@dataclass(frozen=True)
class Warn:
    code: str
    text: str


@dataclass(frozen=True)
class SlotCount:
    """Of one type of GPU, or, where it says which, of one partition's. `closed`: so many of the slots are where nothing
    is started now, whether busy or not."""

    gpu_type: str
    slots: int
    busy: int
    declared: bool
    queued: int
    closed: int = 0
    partition: str = ""


NODE_STATES = ("idle", "mixed", "full", "draining", "drained", "maintenance", "down", "unknown")


@dataclass(frozen=True)
class NodeState:
    """A machine of a cluster; `state` is one of NODE_STATES. `used` of its GPUs are somebody's; `reason` says why it
    takes no jobs, by whom (a user of the cluster) and since when where the engine says that. Where it has no GPUs, its
    processors may be counted."""

    name: str
    state: str
    reason: str
    partitions: tuple[str, ...]
    gpu_type: str
    gpus: int
    used: int
    reason_by: str = ""
    reason_at: datetime | None = None
    cpus: int = 0
    cpus_used: int = 0

    @property
    def takes_jobs(self) -> bool:
        return self.state in ("idle", "mixed", "full")


@dataclass(frozen=True)
class Health:
    """`lag_s` is None when the engine has never looked. `kept_apart`: each run belongs to a user of its own, so that
    several organizations may use the engine. `partitions` counts `slots` by partition, where a type may be in several:
    what two of them share is counted in both."""

    reachable: bool
    lag_s: float | None
    slots: tuple[SlotCount, ...]
    sandbox: bool
    warnings: tuple[Warn, ...]
    kept_apart: bool = False
    nodes: tuple[NodeState, ...] = ()
    partitions: tuple[SlotCount, ...] | None = None


@dataclass(frozen=True)
class Socket:
    """A Unix socket of this machine that a run listens at, as an open descriptor: /proc/self/fd/<it> is its address."""

    fd: int


@dataclass(frozen=True)
class Port:
    """A port of another machine that a run listens at, over TLS. Who shows another certificate than that of this
    SHA-256 isn't the run, and it lets in who says the token."""

    host: str
    port: int
    certificate: bytes
    token: str = field(repr=False)


@dataclass(frozen=True)
class FileEntry:
    path: str
    size: int
    modified_at: datetime


Entry = TypeVar("Entry", bound=FileEntry)


class Listing(list[Entry]):
    """Files by path. `truncated`: there are more than a listing takes, so that no sum or copy of these is of all."""

    def __init__(self, entries: Iterable[Entry] = (), *, truncated: bool = False) -> None:
        super().__init__(entries)
        self.truncated = truncated


class Engine(Protocol):
    """Every method may raise `Unavailable`. Only `log` and `samples` are called inside a web request.

    `sync_every_s`: asking `sync` more often than this costs more than it is worth.
    """

    sync_every_s: float

    def submit(self, spec: JobSpec, attempt: int) -> Receipt:
        """The same job, attempt and content give the same receipt; other content raises `Conflict`."""

    def poll(self) -> Snapshot: ...

    def cancel(self, job: UUID, task: int | None = None) -> None:
        """Ended or unknown is no error."""

    def hold_back(self, job: UUID, tasks: Sequence[int]) -> None:
        """Keep runs waiting that the engine is to start again; what runs goes on. Done when `poll` says HELD_BACK."""

    def let_go(self, job: UUID, tasks: Sequence[int]) -> None:
        """Let runs start that were held back. One that wasn't is no error."""

    def log(self, run: RunKey, offset: int, size: int) -> bytes: ...

    def samples(self, run: RunKey) -> Sequence[Sample]:
        """What its GPUs did, by time and slot; empty where nobody looked, or there was no GPU to look at."""

    def usage(self, since: Cursor) -> Page[UsageRow]:
        """Every ended run, as often as asked, always under the same key."""

    def sync(self, wanted: Sequence[Limits], apply: bool) -> Diff: ...

    def health(self) -> Health: ...

    def maintain(self, wanted: Sequence[Maintenance]) -> Diff:
        """Have exactly these windows, as far as they are ours: what people made themselves stays."""

    def drain(self, node: str, reason: str) -> None:
        """Start nothing more on a node; what runs there goes on. Whether it was done, `health` says."""

    def resume(self, node: str) -> None:
        """Let a node take jobs again."""
