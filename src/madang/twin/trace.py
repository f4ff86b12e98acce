"""A trace: jobs as they came, in one canonical form that every policy reads.

Times are whole seconds, sizes whole GPUs, both int64. Jobs are in the order of arrival (submit, then the order of the
input); the first arrives at 0, and `offset` is where that stands on the trace's own clock.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from madang.twin.errors import BadInput

UNKNOWN = -1
MAX_TIME = 1 << 40  # seconds: 34,000 years; what is larger is in milliseconds, or no time
MAX_SIZE = 1 << 31

CHANGES = {
    "no size": "dropped, it says no number of GPUs",
    "no run": "dropped, it never ran or its run time is not known",
    "negative submit": "dropped, it was submitted before the clock began",
    "too large": "dropped, it asks for more GPUs than the machine ever has",
    "run raised": "a run of 0 s counts as 1 s",
    "run cut": "it ran past its limit, where a scheduler would have stopped it",
    "limit unknown": "no limit is known, so the scheduler is told the true run time: that flatters backfill",
    "later eligible": "it arrives when it became eligible, not when it was submitted",
    "reordered": "it stood after a job that was submitted later",
    "same id": "another job has the same id",
    "step": "left out, it is a step of a job and not a job",
}


@dataclass(frozen=True)
class Refusal:
    """A line that can't be read: which, the field, what stands there, and what to do. Lines count from 1."""

    line: int
    field: str
    value: str
    remedy: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.field} {self.value!r}: {self.remedy}"


@dataclass
class Raw:
    """The columns as a reader found them; -1 is unknown. `more` holds what only names a job: user, partition…"""

    id: list[str] = field(default_factory=list)
    submit: list[int] = field(default_factory=list)
    run: list[int] = field(default_factory=list)
    gpus: list[int] = field(default_factory=list)
    limit: list[int] = field(default_factory=list)
    wait: list[int] = field(default_factory=list)
    more: dict[str, list[str]] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    changes: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    machine_gpus: int | None = None
    clock: int = 0

    def count(self, change: str, times: int = 1) -> None:
        if times:
            self.changes[change] = self.changes.get(change, 0) + times


@dataclass(frozen=True)
class Trace:
    """Jobs in canonical form. Each column has one value a job; `row` is its place in the input, from 0."""

    id: Sequence[str]
    submit: Sequence[int]
    run: Sequence[int]
    gpus: Sequence[int]
    limit: Sequence[int]
    row: Sequence[int]
    wait: Sequence[int] = ()  # recorded, seconds, -1 where unknown; empty where nothing is
    more: Mapping[str, Sequence[str]] = field(default_factory=dict)
    offset: int = 0
    refused: Sequence[Refusal] = ()
    changes: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    machine_gpus: int | None = None  # what the trace itself says that the machine had
    clock: int = 0  # where its own clock begins, in seconds since 1970: SWF counts from the beginning of the log

    def __len__(self) -> int:
        return len(self.submit)

    @property
    def begins(self) -> int:
        """The first submit, in seconds since 1970, as far as is known."""
        return self.clock + self.offset

    def only(self, column: str, value: str) -> Trace:
        """Its jobs with this value alone, on the same clock. Raises BadInput where there are none."""
        jobs = [job for job, said in enumerate(self.more.get(column, ())) if said == value]
        if not jobs:
            raise BadInput(f"no job of the trace has the {column} {value!r}")
        return self.part(jobs)

    def part(self, jobs: Sequence[int]) -> Trace:
        """These of its jobs, in their order, on the same clock."""
        first = self.submit[jobs[0]]
        columns = {name: [getattr(self, name)[job] for job in jobs] for name in ("id", "run", "gpus", "limit", "row")}
        return Trace(
            **{
                **vars(self),
                **columns,
                "submit": [self.submit[job] - first for job in jobs],
                "wait": [self.wait[job] for job in jobs] if self.wait else (),
                "more": {name: [said[job] for job in jobs] for name, said in self.more.items()},
                "offset": self.offset + first,
            }
        )

    def perfect(self) -> Trace:
        """The same jobs, each with its true run time as its limit."""
        return Trace(**{**vars(self), "limit": self.run})


def canonical(raw: Raw, gpus: int | None = None) -> Trace:
    """Jobs that a machine of `gpus` can run, in the order of arrival, every change counted.

    Where `gpus` is None, the machine is the one that the trace names; where it names none, every job stays.

    Raises BadInput where no job is left.

    >>> raw = Raw(id=["a", "b"], submit=[70, 10], run=[0, 30], gpus=[1, 2], limit=[-1, 20], wait=[-1, -1])
    >>> trace = canonical(raw, gpus=4)
    >>> list(trace.id), list(trace.submit), list(trace.run), list(trace.limit), trace.offset
    (['b', 'a'], [0, 60], [20, 1], [20, 1], 10)
    """
    if len({len(raw.submit), len(raw.run), len(raw.gpus), len(raw.limit)}) > 1:
        raise BadInput("submit, run, gpus and limit have one value a job each")
    gone = {"no size": 0, "no run": 0, "negative submit": 0, "too large": 0}
    most = gpus or raw.machine_gpus or MAX_SIZE
    rows = []
    for row, (size, run, submit) in enumerate(zip(raw.gpus, raw.run, raw.submit, strict=True)):
        if size <= 0:
            gone["no size"] += 1
        elif run < 0:
            gone["no run"] += 1
        elif submit < 0:
            gone["negative submit"] += 1
        elif size > most:
            gone["too large"] += 1
        else:
            rows.append(row)
    for change, times in gone.items():
        raw.count(change, times)
    if not rows:
        raise BadInput(_nothing_left(raw))
    submits = [raw.submit[row] for row in rows]
    raw.count("reordered", sum(later < earlier for earlier, later in pairwise(submits)))
    rows.sort(key=raw.submit.__getitem__)

    runs, limits, raised, cut, unknown = array("q"), array("q"), 0, 0, 0
    for row in rows:
        run, limit = raw.run[row], raw.limit[row]
        if run == 0:
            run, raised = 1, raised + 1
        if limit < 0:
            limit, unknown = run, unknown + 1
        limit = max(limit, 1)
        if run > limit:
            run, cut = limit, cut + 1
        runs.append(run)
        limits.append(limit)
    raw.count("run raised", raised)
    raw.count("run cut", cut)
    raw.count("limit unknown", unknown)
    ids = [raw.id[row] for row in rows] if raw.id else [str(row + 1) for row in rows]
    raw.count("same id", len(ids) - len(set(ids)))
    first = raw.submit[rows[0]]
    waits = array("q", (raw.wait[row] for row in rows)) if raw.wait else array("q")
    return Trace(
        id=ids,
        submit=array("q", (raw.submit[row] - first for row in rows)),
        run=runs,
        gpus=array("q", (raw.gpus[row] for row in rows)),
        limit=limits,
        row=array("q", rows),
        wait=waits if any(wait >= 0 for wait in waits) else (),
        more={name: [column[row] for row in rows] for name, column in raw.more.items() if any(column)},
        offset=first,
        refused=tuple(raw.refused),
        changes=dict(raw.changes),
        notes=tuple(raw.notes),
        machine_gpus=raw.machine_gpus,
        clock=raw.clock,
    )


def from_columns(
    *, submit: Iterable[int], run: Iterable[int], gpus: Iterable[int], limit: Iterable[int] = (), machine: int = 0
) -> Trace:
    """A trace of jobs that a program made up. `limit` is the run time where it isn't given; sizes above `machine` go.

    >>> len(from_columns(submit=[0, 5], run=[10, 10], gpus=[1, 9], machine=8))
    1
    """
    raw = Raw(submit=list(submit), run=list(run), gpus=list(gpus))
    raw.limit = list(limit) or [UNKNOWN] * len(raw.submit)
    return canonical(raw, machine or None)


def _nothing_left(raw: Raw) -> str:
    if raw.refused:
        return f"no job can be read; {raw.refused[0]}" + (
            f" (and {len(raw.refused) - 1} more)" * (len(raw.refused) > 1)
        )
    if not raw.gpus:
        return "the trace holds no job"
    why = ", ".join(f"{times:,} {CHANGES[change]}" for change, times in raw.changes.items() if times)
    return f"no job is left to simulate: {why}"
