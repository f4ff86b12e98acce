"""How sure an answer is. A band says which of these it holds: *weeks* drawn anew (what another season would have
given), *shaken* submits (accidents of ties), or *seeds* of made-up demand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from random import Random
from statistics import fmean, stdev
from typing import Any

from madang.twin.cluster import Machine
from madang.twin.measure import percentile, waits_of
from madang.twin.policies import RULED, SMALL, Rules, has_kernel, simulate
from madang.twin.trace import Trace

WEEK_S = 7 * 86_400


@dataclass(frozen=True)
class Band:
    """From `low` to `high` at the level, of so many runs or draws; `of` says what was varied."""

    of: str
    mean: float
    low: float
    high: float
    runs: int
    level: float = 0.95
    sd: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def band(values: Sequence[float], of: str, level: float = 0.95) -> Band:
    """The band that holds the middle of the values.

    >>> band([1.0, 2.0, 3.0], "seeds", level=0.5).low
    1.5
    """
    ordered = sorted(values)
    low, high = (percentile(ordered, share) for share in ((1 - level) / 2, (1 + level) / 2))
    return Band(of, fmean(ordered), low, high, len(ordered), level, stdev(ordered) if len(ordered) > 1 else None)


def by_weeks(
    values: Sequence[int], submit: Sequence[int], *, draws: int = 2000, seed: int = 0, level: float = 0.95
) -> Band | None:
    """The mean of `values` (one a job) with whole weeks of submission drawn anew: jobs of one week are not independent.

    None where there are fewer than four weeks, which say nothing.
    """
    sums: dict[int, int] = {}
    counts: dict[int, int] = {}
    for value, at in zip(values, submit, strict=True):
        week = at // WEEK_S
        sums[week] = sums.get(week, 0) + value
        counts[week] = counts.get(week, 0) + 1
    if len(counts) < 4:
        return None
    weeks = [(sums[week], counts[week]) for week in sorted(counts)]
    random = Random(seed)  # noqa: S311
    means = []
    for _ in range(draws):
        drawn = random.choices(weeks, k=len(weeks))
        means.append(sum(total for total, _jobs in drawn) / sum(jobs for _total, jobs in drawn))
    means.sort()
    low, high = percentile(means, (1 - level) / 2), percentile(means, (1 + level) / 2)
    return Band("weeks drawn anew", sum(values) / len(values), low, high, draws, level)


def shaken(trace: Trace, runs: int, *, seed: int = 0, seconds: int = 60) -> Iterator[Trace]:
    """The same trace `runs` times, every submit later by 0 to `seconds` - 1 (Tsafrir, Ouaknine, Feitelson 2007).

    A difference between two policies below two standard deviations of these is none.
    """
    for run in range(runs):
        random = Random(f"{seed}.{run}")  # noqa: S311
        submit = [at + int(random.random() * seconds) for at in trace.submit]
        order = sorted(range(len(submit)), key=submit.__getitem__)
        first = submit[order[0]]
        columns: dict[str, Any] = {
            name: [getattr(trace, name)[job] for job in order] for name in ("id", "run", "gpus", "limit", "row")
        }
        columns["more"] = {name: [values[job] for job in order] for name, values in trace.more.items()}
        yield Trace(submit=[submit[job] - first for job in order], offset=trace.offset + first, **columns)


def mean_waits(
    traces: Iterable[Trace], machine: Machine, policy: str, rules: Rules | None = None, *, jobs: int = 0
) -> list[float]:
    """The mean wait of each, in seconds; `jobs` are in all of them together, as far as is known."""
    waits = []
    many = jobs > SMALL and has_kernel() and policy not in RULED
    for trace in traces:
        found = simulate(trace, machine, policy, "numba" if many else "auto", rules)
        waits.append(sum(waits_of(trace, found.starts, found.stretches)) / len(trace))
    return waits
