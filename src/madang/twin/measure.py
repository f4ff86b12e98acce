"""What a schedule did for whom: waits, bounded slowdown, utilization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import fsum
from typing import Any

from madang.twin.tiers import Stretch
from madang.twin.trace import Trace

# A bounded slowdown counts shorter runs as this long: a second's wait of a one-second job is no catastrophe.
BOUND_S = 10
SIZES = ((1, 1, "1"), (2, 4, "2-4"), (5, 8, "5-8"), (9, 64, "9-64"), (65, 512, "65-512"), (513, 1 << 62, "513+"))


@dataclass(frozen=True)
class Spread:
    """Of seconds, unless it says otherwise; percentiles by linear interpolation."""

    jobs: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: int

    @classmethod
    def of(cls, values: Sequence[int]) -> Spread:
        ordered = sorted(values)
        p50, p90, p95, p99 = (percentile(ordered, share) for share in (0.5, 0.9, 0.95, 0.99))
        return cls(len(ordered), sum(ordered) / len(ordered), p50, p90, p95, p99, ordered[-1])


def percentile(ordered: Sequence[float], share: float) -> float:
    """
    >>> percentile([0, 10], 0.95)
    9.5
    """
    place = (len(ordered) - 1) * share
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True)
class Measures:
    """`utilization` is the classical one: GPU-seconds run ÷ (GPUs × (last end − first submit))."""

    jobs: int
    wait: Spread
    bounded_slowdown: float
    utilization: float
    makespan_s: int
    gpu_seconds: int
    wait_by_size: dict[str, Spread]
    recorded_wait: Spread | None
    stops: int = 0  # how often a job was stopped for another
    lost_gpu_seconds: int = 0  # work done again, restarts, and the time to leave

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(trace: Trace, starts: Sequence[int], gpus: float, stretches: Sequence[Stretch] = ()) -> Measures:
    """The measures of a schedule: `starts[i]` is when job i of the trace starts, on the trace's canonical clock. Where
    jobs were stopped, `stretches` are all in which one held its GPUs: its waits add up."""
    ends, held = _held(trace, starts, stretches)
    waits = waits_of(trace, starts, stretches)
    slowdowns = (
        max(1.0, (end - submit) / max(run, BOUND_S))
        for end, submit, run in zip(ends, trace.submit, trace.run, strict=True)
    )
    used = sum(run * size for run, size in zip(trace.run, trace.gpus, strict=True))
    makespan = max(ends) - trace.submit[0]
    by_size: dict[str, list[int]] = {}
    label = {size: name for size in set(trace.gpus) for low, high, name in SIZES if low <= size <= high}
    for wait, size in zip(waits, trace.gpus, strict=True):
        by_size.setdefault(label[size], []).append(wait)
    known = [wait for wait in trace.wait if wait >= 0]
    return Measures(
        jobs=len(trace),
        wait=Spread.of(waits),
        bounded_slowdown=fsum(slowdowns) / len(trace),
        utilization=used / (gpus * makespan),
        makespan_s=makespan,
        gpu_seconds=used,
        wait_by_size={name: Spread.of(by_size[name]) for _low, _high, name in SIZES if name in by_size},
        recorded_wait=Spread.of(known) if known else None,
        stops=sum(stretch.stopped for stretch in stretches),
        lost_gpu_seconds=sum(own * size for own, size in zip(held, trace.gpus, strict=True)) - used,
    )


def waits_of(trace: Trace, starts: Sequence[int], stretches: Sequence[Stretch] = ()) -> list[int]:
    """How long each job waited, its restarts included."""
    ends, held = _held(trace, starts, stretches)
    return [end - submit - own for end, submit, own in zip(ends, trace.submit, held, strict=True)]


def _held(trace: Trace, starts: Sequence[int], stretches: Sequence[Stretch]) -> tuple[list[int], list[int]]:
    """(when each job was done, how long it held its GPUs)."""
    ends = [start + run for start, run in zip(starts, trace.run, strict=True)]
    if not stretches:
        return ends, list(trace.run)
    held = [0] * len(trace)
    for job, start, end, stopped in stretches:
        held[job] += end - start
        ends[job] = ends[job] if stopped else end
    return ends, held
