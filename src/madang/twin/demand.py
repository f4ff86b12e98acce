"""Demand that isn't there yet: jobs made up from a model with a name, or from one that was fitted to a trace.

A program sends jobs at a rate that goes with the hour and the day of the week and grows by the year; each has a size,
a run length that goes with the size, and a limit as people ask for it. The same seed makes the same jobs. Needs numpy
(the extra `twin`).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import exp, log, sqrt
from typing import Any

from madang.twin.errors import BadInput
from madang.twin.trace import Trace

DAY_S, YEAR_S = 86_400, 365 * 86_400
MONDAY = 4  # the first one, in days from 1970 on: the day 0 of jobs that are made up
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

    @property
    def drawn_mean(self) -> float:
        """The mean of what is really drawn: cut at the longest and raised to a second."""
        if not self.sigma:
            return min(max(self.median, 1.0), float(self.longest))
        from statistics import NormalDist

        normal, sigma, centre = NormalDist(), self.sigma, log(self.median)
        cut = (log(self.longest) - centre) / sigma
        below = exp(centre + sigma**2 / 2) * normal.cdf(cut - sigma)
        return below + self.longest * (1 - normal.cdf(cut))

    def draw(self, random: Any, count: int) -> Any:
        """So many, before they are cut."""
        import numpy as np

        return self.median * np.exp(self.sigma * random.standard_normal(count))

    def cut(self, longest: int) -> Lengths:
        return replace(self, longest=min(self.longest, longest))


# Finer at the end, where few jobs are most of the work.
SHARES = (*(part / 50 for part in range(50)), 0.99, 0.995, 0.998, 0.999, 1.0)


@dataclass(frozen=True)
class Measured:
    """Run lengths in seconds as they were: those that the `SHARES` of jobs don't exceed, evenly by their logarithm
    between two of them.
    """

    runs: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.runs) != len(SHARES) or list(self.runs) != sorted(self.runs) or self.runs[0] < 1:
            raise BadInput(f"measured run lengths are {len(SHARES)} whole numbers, ascending, of at least 1 s")

    @property
    def longest(self) -> int:
        return self.runs[-1]

    @property
    def drawn_mean(self) -> float:
        parts = zip(pairwise(SHARES), pairwise(self.runs), strict=True)
        return sum((until - since) * _log_mean(low, high) for (since, until), (low, high) in parts)

    def draw(self, random: Any, count: int) -> Any:
        import numpy as np

        return np.rint(np.exp(np.interp(random.random(count), SHARES, np.log(self.runs))))

    def cut(self, longest: int) -> Measured:
        return Measured(tuple(min(run, longest) for run in self.runs))


def _log_mean(low: int, high: int) -> float:
    """The mean of what lies evenly between two by its logarithm."""
    return (high - low) / log(high / low) if high > low else float(low)


@dataclass(frozen=True)
class Program:
    """What one program asks for. `gpu_hours_a_day` is at the start; `growth` a year (0.5: half as much again).

    `sizes` are shares of jobs by GPUs; `lengths` by the largest size that they hold for, ascending; `source` says where
    the shape comes from. `asked` is the limit ÷ run before it is rounded up to what people ask for; where it is empty,
    the limit is the run. `limits`, where there are any, are instead of it: limits in seconds, ascending, by the longest
    run that they hold for; one of those that the run keeps is drawn, and where it keeps none the limit is the run.
    """

    name: str
    gpu_hours_a_day: float
    sizes: tuple[tuple[int, float], ...]
    lengths: tuple[tuple[int, Lengths | Measured], ...]
    growth: float = 0.0
    asked: tuple[float, ...] = (1.0, 1.5, 2.0, 4.0, 10.0)
    hours: tuple[float, ...] = OFFICE
    weekdays: tuple[float, ...] = WEEK
    bursts: float = 0.0  # variance of an hour's rate ÷ its square: 0 is Poisson
    source: str = ""
    limits: tuple[tuple[int, tuple[int, ...]], ...] = ()

    def __post_init__(self) -> None:
        if self.gpu_hours_a_day < 0 or self.growth <= -1:
            raise BadInput(f"{self.name}: GPU-hours a day are at least 0, and growth is above -1")
        if not self.sizes or any(size < 1 or share < 0 for size, share in self.sizes):
            raise BadInput(f"{self.name}: sizes are of at least 1 GPU with shares of at least 0")
        if not self.lengths or self.lengths[-1][0] < max(size for size, _share in self.sizes):
            raise BadInput(
                f"{self.name}: run lengths for jobs of up to {max(size for size, _share in self.sizes)} GPUs"
            )
        if sum(share for _size, share in self.sizes) <= 0:
            raise BadInput(f"{self.name}: one of the shares of its sizes is above 0")
        for of, count in ((self.hours, 24), (self.weekdays, 7)):
            if len(of) != count or min(of) < 0 or not max(of):
                raise BadInput(f"{self.name}: {count} rates of at least 0, one above, for its hours and weekdays")
        if self.bursts < 0 or any(times < 1 for times in self.asked):
            raise BadInput(f"{self.name}: bursts are at least 0, and what is asked for is at least the run")
        for tops in ([top for top, _of in self.lengths], [top for top, _of in self.limits]):
            if tops != sorted(set(tops)):
                raise BadInput(f"{self.name}: run lengths and limits come in ascending order")
        if any(not kept or list(kept) != sorted(kept) or kept[0] < 1 for _top, kept in self.limits):
            raise BadInput(f"{self.name}: limits are ascending, of at least 1 s")


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

    def trace(self, first_day: int = 0) -> Trace:
        """In canonical form; the day 0 is the first Monday on the clock."""
        names = [self.names[number] for number in self.program.tolist()]
        first = int(self.submit[0])
        submit, run, gpus, limit = (
            array("q", column.tolist()) for column in (self.submit - first, self.run, self.gpus, self.limit)
        )
        return Trace(
            id=[str(job + 1) for job in range(len(self))],
            submit=submit, run=run, gpus=gpus, limit=limit, row=range(len(self)),
            more={"program": names}, offset=(MONDAY + first_day) * DAY_S + first,
        )  # fmt: skip


def expected_gpu_seconds(program: Program) -> float:
    """Of one job, on average."""
    weight = sum(share for _size, share in program.sizes)
    return sum(size * share * _lengths(program, size).drawn_mean for size, share in program.sizes) / weight


def jobs_a_day(program: Program) -> float:
    return program.gpu_hours_a_day * 3600 / expected_gpu_seconds(program)


def fitting(program: Program, largest: int) -> tuple[float, float]:
    """Of what a program asks for, the share of jobs and of GPU-seconds in jobs of at most so many GPUs."""
    total, fits, work = 0.0, 0.0, 0.0
    for size, share in program.sizes:
        total += share
        if size <= largest:
            fits += share
            work += size * share * _lengths(program, size).drawn_mean
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
            drawn = lengths.draw(random, int(where.sum()))
            run[where] = np.clip(drawn, 1, lengths.longest).astype(np.int64)
        limit = _limits(program, run, random)
        for column, values in zip(columns, (submit, run, gpus, limit, np.full(jobs, number)), strict=True):
            column.append(values.astype(np.int64))
    if not columns[0] or not sum(map(len, columns[0])):
        raise NoJobs("nobody asks for anything: no job to simulate")
    joined = [np.concatenate(column) for column in columns]
    order = np.argsort(joined[0], kind="stable")
    submit, run, gpus, limit, number_of = (column[order] for column in joined)
    return Made(submit, run, gpus, limit, number_of, tuple(program.name for program in programs))


def _limits(program: Program, run: Any, random: Any) -> Any:
    import numpy as np

    if program.limits:
        limit, least = run.copy(), 0
        for longest, kept in program.limits:
            where, values = (run > least) & (run <= longest), np.array(kept)
            first = np.searchsorted(values, run[where])
            drawn = first + (random.random(len(first)) * (len(values) - first)).astype(np.int64)
            keeps = first < len(values)
            limit[where] = np.where(keeps, values[np.where(keeps, drawn, 0)], run[where])
            least = longest
        return limit
    if not program.asked:
        return run
    wish = run * random.choice(np.array(program.asked), len(run))
    lumps = np.array(LUMPS_H) * 3600
    place = np.searchsorted(lumps, wish)
    return np.where(place < len(lumps), lumps[np.minimum(place, len(lumps) - 1)], np.ceil(wish / DAY_S) * DAY_S)


def _lengths(program: Program, size: int) -> Lengths | Measured:
    return next(lengths for top, lengths in program.lengths if size <= top)


def _fits_memory(name: str, jobs: float) -> None:
    import os

    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    if jobs * JOB_BYTES > there:
        raise BadInput(
            f"{name}: about {jobs:,.0f} jobs need {jobs * JOB_BYTES / 1e9:,.1f} GB, and {there / 1e9:,.1f} GB are free:"
            " take a sample"
        )
