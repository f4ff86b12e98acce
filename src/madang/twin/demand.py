"""Demand that isn't there yet: jobs made up from a model with a name, or fitted to a trace.

A program sends jobs at a rate that goes with the hour and the day of the week and grows by the year; each has a size,
a run length that goes with the size, and a limit as people ask for it. The same seed makes the same jobs. Needs numpy
(the extra `twin`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, log, sqrt
from typing import Any

from madang.twin.errors import BadInput
from madang.twin.trace import Trace

DAY_S, YEAR_S = 86_400, 365 * 86_400
JOB_BYTES = 130  # a job in memory, generating and simulating it
# What people ask for, in hours: limits are lumpy.
LUMPS_H = (1, 2, 4, 8, 12, 24, 48, 72, 168, 336)
OFFICE = tuple(0.5 if hour < 7 else 0.8 if hour < 9 or hour > 21 else 1.4 for hour in range(24))
WEEK = (1.15, 1.15, 1.15, 1.15, 1.1, 0.65, 0.65)


class NoJobs(BadInput):
    """So little is asked for that no job was drawn."""


@dataclass(frozen=True)
class Lengths:
    """Run lengths in seconds: lognormal by mean and median, cut at the longest."""

    mean: float
    median: float
    longest: int = 7 * DAY_S

    @property
    def sigma(self) -> float:
        return sqrt(2 * log(self.mean / self.median)) if self.mean > self.median else 0.0


@dataclass(frozen=True)
class Program:
    """What one program asks for. `gpu_hours_a_day` is at the start; `growth` a year (0.5: half as much again).

    `sizes` are shares of jobs by GPUs; `lengths` by the largest size that they hold for, ascending; `source` says where
    the shape comes from. `asked` is the limit ÷ run before it is rounded up to what people ask for.
    """

    name: str
    gpu_hours_a_day: float
    sizes: tuple[tuple[int, float], ...]
    lengths: tuple[tuple[int, Lengths], ...]
    growth: float = 0.0
    asked: tuple[float, ...] = (1.0, 1.5, 2.0, 4.0, 10.0)
    hours: tuple[float, ...] = OFFICE
    weekdays: tuple[float, ...] = WEEK
    bursts: float = 0.0  # variance of an hour's rate ÷ its square: 0 is Poisson
    source: str = ""

    def __post_init__(self) -> None:
        if self.gpu_hours_a_day < 0 or self.growth <= -1:
            raise BadInput(f"{self.name}: GPU-hours a day are at least 0, and growth is above -1")
        if not self.sizes or any(size < 1 or share < 0 for size, share in self.sizes):
            raise BadInput(f"{self.name}: sizes are of at least 1 GPU with shares of at least 0")
        if not self.lengths or self.lengths[-1][0] < max(size for size, _share in self.sizes):
            raise BadInput(
                f"{self.name}: run lengths for jobs of up to {max(size for size, _share in self.sizes)} GPUs"
            )


def like(name: str, shape: str, gpu_hours_a_day: float, growth: float = 0.0) -> Program:
    """A program whose jobs are like those of a published cluster: one of `SHAPES`."""
    if shape not in SHAPES:
        raise BadInput(f"no shape is called {shape!r}: {', '.join(SHAPES)}")
    sizes, lengths, source = SHAPES[shape]
    return Program(name, gpu_hours_a_day, sizes, ((1 << 31, lengths),), growth, source=source)


_ACME = "mean and median run and mean GPUs of a job as published by Hu et al., NSDI'24 (AcmeTrace, CC BY 4.0); sizes in"
SHAPES: dict[str, tuple[tuple[tuple[int, float], ...], Lengths, str]] = {
    "philly": (
        ((1, 0.83), (2, 0.06), (4, 0.05), (8, 0.04), (16, 0.02)),
        Lengths(18_006, 874, 30 * DAY_S),
        f"{_ACME} powers of two so that the mean is 1.8",
    ),
    "helios": (
        ((1, 0.62), (2, 0.1), (4, 0.09), (8, 0.14), (16, 0.03), (32, 0.02)),
        Lengths(6_652, 206, 30 * DAY_S),
        f"{_ACME} powers of two so that the mean is 3.4",
    ),
    "seren": (
        ((1, 0.58), (2, 0.08), (4, 0.08), (8, 0.2), (16, 0.03), (32, 0.02), (64, 0.01)),
        Lengths(1_414, 122, 14 * DAY_S),
        f"{_ACME} powers of two so that the mean is 4.5",
    ),
    "kalos": (
        ((1, 0.56), (8, 0.28), (16, 0.04), (32, 0.05), (64, 0.03), (128, 0.02), (512, 0.02)),
        Lengths(1_260, 124, 14 * DAY_S),
        f"{_ACME} powers of two so that the mean is 20",
    ),
}


@dataclass(frozen=True)
class Made:
    """Jobs that were made up, as int64 arrays of shape (jobs,), by arrival; `program[i]` counts in `names`."""

    submit: Any
    run: Any
    gpus: Any
    limit: Any
    program: Any
    names: Sequence[str] = field(default=())

    def __len__(self) -> int:
        return len(self.submit)

    def trace(self) -> Trace:
        names = [self.names[number] for number in self.program.tolist()]
        return Trace(
            id=[str(job + 1) for job in range(len(self))],
            submit=self.submit, run=self.run, gpus=self.gpus, limit=self.limit, row=range(len(self)),
            more={"program": names},
        )  # fmt: skip


def expected_gpu_seconds(program: Program) -> float:
    """Of one job, on average."""
    weight = sum(share for _size, share in program.sizes)
    return sum(size * share * _mean_run(_lengths(program, size)) for size, share in program.sizes) / weight


def jobs_a_day(program: Program) -> float:
    return program.gpu_hours_a_day * 3600 / expected_gpu_seconds(program)


def fitting(program: Program, largest: int) -> tuple[float, float]:
    """Of what a program asks for, the share of jobs and of GPU-seconds in jobs of at most so many GPUs."""
    total, fits, work = 0.0, 0.0, 0.0
    for size, share in program.sizes:
        total += share
        if size <= largest:
            fits += share
            work += size * share * _mean_run(_lengths(program, size))
    return fits / total, work / total / expected_gpu_seconds(program)


def under_way(run: Any, days: int, random: Any) -> tuple[Any, Any]:
    """Jobs that run already when a sample of `days` begins: (which of these they are like, for how long they have run).

    Long jobs are met more often, somewhere in the middle. As many as would run if nobody had waited before.
    """
    import numpy as np

    met = random.choice(len(run), random.poisson(run.sum() / (days * DAY_S)), p=run / run.sum()) if len(run) else []
    met = np.asarray(met, np.int64)
    return met, (random.random(len(met)) * run[met]).astype(np.int64)


def generate(programs: Sequence[Program], *, days: int, seed: int, first_day: int = 0, largest: int = 1 << 31) -> Made:
    """Jobs of `days` days from day `first_day` on; growth counts from day 0, a Monday. Those larger than `largest` are
    left out, and nobody asks for others in their place.

    Raises NoJobs where there are none, and BadInput where they would not fit into memory.
    """
    import numpy as np

    columns: list[list[Any]] = [[], [], [], [], []]
    for number, program in enumerate(programs):
        random = np.random.default_rng([seed, first_day, number])
        sizes = [(size, share) for size, share in program.sizes if size <= largest]
        rate = jobs_a_day(program) * fitting(program, largest)[0] / 24
        if not sizes or not rate:
            continue
        hour = np.arange(days * 24) + first_day * 24
        shape = np.array(program.hours) / np.mean(program.hours)
        week = np.array(program.weekdays) / np.mean(program.weekdays)
        rates = rate * shape[hour % 24] * week[hour // 24 % 7] * (1 + program.growth) ** (hour / (24 * 365))
        _fits_memory(program.name, float(rates.sum()))
        if program.bursts:
            rates = rates * random.gamma(1 / program.bursts, program.bursts, len(rates))
        counts = random.poisson(rates)
        jobs = int(counts.sum())
        submit = np.repeat(np.arange(days * 24) * 3600, counts) + random.integers(0, 3600, jobs)
        shares = np.array([share for _size, share in sizes])
        gpus = random.choice(np.array([size for size, _share in sizes]), jobs, p=shares / shares.sum())
        run = np.empty(jobs, np.int64)
        for size, _share in sizes:
            where = gpus == size
            lengths = _lengths(program, size)
            drawn = lengths.median * np.exp(lengths.sigma * random.standard_normal(int(where.sum())))
            run[where] = np.clip(drawn, 1, lengths.longest).astype(np.int64)
        wish = run * random.choice(np.array(program.asked), jobs)
        lumps = np.array(LUMPS_H) * 3600
        place = np.searchsorted(lumps, wish)
        limit = np.where(place < len(lumps), lumps[np.minimum(place, len(lumps) - 1)], np.ceil(wish / DAY_S) * DAY_S)
        for column, values in zip(columns, (submit, run, gpus, limit, np.full(jobs, number)), strict=True):
            column.append(values.astype(np.int64))
    if not columns[0] or not sum(map(len, columns[0])):
        raise NoJobs("nobody asks for anything: no job to simulate")
    joined = [np.concatenate(column) for column in columns]
    order = np.argsort(joined[0], kind="stable")
    submit, run, gpus, limit, number_of = (column[order] for column in joined)
    return Made(submit, run, gpus, limit, number_of, tuple(program.name for program in programs))


def fit(trace: Trace, name: str = "as recorded") -> Program:
    """The program that a trace looks like: how much it asks for and when, its sizes, its run lengths by size.

    Hours and weekdays are those of the trace's clock, read as UTC.
    """
    days = max(1.0, (trace.submit[-1] + 1) / DAY_S)
    by_size: dict[int, list[int]] = {}
    hours, weekdays = [0.0] * 24, [0.0] * 7
    for submit, run, gpus in zip(trace.submit, trace.run, trace.gpus, strict=True):
        by_size.setdefault(gpus, []).append(run)
        at = trace.offset + submit
        hours[at // 3600 % 24] += 1
        weekdays[(at // DAY_S + 3) % 7] += 1  # 1970 began on a Thursday
    lengths: list[tuple[int, Lengths]] = []
    for top in (1, 4, 8, 64, 1 << 31):
        low = lengths[-1][0] if lengths else 0
        runs = [run for size, its in by_size.items() if low < size <= top for run in its]
        if runs:
            logs = [log(max(run, 1)) for run in runs]
            centre = sum(logs) / len(logs)
            spread = sqrt(sum((value - centre) ** 2 for value in logs) / len(logs))
            lengths.append((top, Lengths(exp(centre + spread**2 / 2), exp(centre), max(runs))))
    lengths[-1] = (1 << 31, lengths[-1][1])
    asked = sorted(limit / run for limit, run in zip(trace.limit, trace.run, strict=True))
    used = sum(run * gpus for run, gpus in zip(trace.run, trace.gpus, strict=True))
    even = [1.0] * 7 if min(weekdays) == 0 else weekdays
    return Program(
        name,
        used / 3600 / days,
        tuple((size, float(len(its))) for size, its in sorted(by_size.items())),
        tuple(lengths),
        asked=tuple(asked[min(len(asked) - 1, len(asked) * place // 20)] for place in range(20)),
        hours=tuple(hours) if min(hours) > 0 else (1.0,) * 24,
        weekdays=tuple(even),
        source=f"fitted to {len(trace):,} jobs of {days:.0f} days",
    )


def _lengths(program: Program, size: int) -> Lengths:
    return next(lengths for top, lengths in program.lengths if size <= top)


def _mean_run(lengths: Lengths) -> float:
    """The mean of what is really drawn: a lognormal cut at the longest and raised to a second."""
    if not lengths.sigma:
        return min(max(lengths.median, 1.0), float(lengths.longest))
    from statistics import NormalDist

    normal, sigma, centre = NormalDist(), lengths.sigma, log(lengths.median)
    cut = (log(lengths.longest) - centre) / sigma
    below = exp(centre + sigma**2 / 2) * normal.cdf(cut - sigma)
    return below + lengths.longest * (1 - normal.cdf(cut))


def _fits_memory(name: str, jobs: float) -> None:
    import os

    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    if jobs * JOB_BYTES > there:
        raise BadInput(
            f"{name}: about {jobs:,.0f} jobs need {jobs * JOB_BYTES / 1e9:,.1f} GB, and {there / 1e9:,.1f} GB are free:"
            " take a sample"
        )
