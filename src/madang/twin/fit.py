"""The model that a trace looks like, and how well it fits.

What is fitted: how much is asked for, when (by hour and weekday, and how unevenly beyond that), sizes, run lengths by
size, limits by run length; the growth, if it is asked for. Jobs of the model are independent draws: that one person
sends twenty alike in a minute is lost, and the distance between arrivals says how much that is. Needs no numpy but for
the measures of how well it fits.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import exp, log, pi, sqrt
from typing import Any, Literal, get_args

from madang.twin.demand import (
    DAY_S,
    MONDAY,
    SHARES,
    Lengths,
    Made,
    Measured,
    Program,
    fitting,
    generate,
)
from madang.twin.errors import BadInput
from madang.twin.measure import percentile
from madang.twin.trace import MAX_TIME, Trace

Shape = Literal["measured", "lognormal"]
TOPS = (1, 4, 8, 64, 1 << 31)  # GPUs up to which sizes have their run lengths together
RUNS = (60, 600, 3600, 4 * 3600, DAY_S, MAX_TIME)  # seconds up to which runs have their limits together
KEPT = 200  # limits of each
HOUR_S, WEEK_S = 3600, 7 * DAY_S
GROWING_WEEKS, FEWEST = 26, 100


@dataclass(frozen=True)
class Growth:
    """Of the jobs a year, 0.5 being half as much again; `error` is its standard error."""

    rate: float
    error: float


def fit(trace: Trace, name: str = "as recorded", shape: Shape = "measured", growth: float = 0.0) -> Program:
    """The program that a trace looks like. Run lengths are kept as they were, or become lognormal; either way it asks
    for as many GPU-hours as the trace did. `growth` is what `growing` found, or what else is known of it.

    Hours and weekdays are those of the trace's clock, read as UTC; of less than a week, or of two, they are even.
    """
    if shape not in get_args(Shape):
        raise BadInput(f"run lengths are {' or '.join(get_args(Shape))}, and not {shape!r}")
    if len(trace) < FEWEST:
        raise BadInput(f"a model is fitted to {FEWEST} jobs and more, and the trace has {len(trace)}")
    span = max(DAY_S, trace.submit[-1] + 1)
    by_size: dict[int, list[int]] = {}
    for run, gpus in zip(trace.run, trace.gpus, strict=True):
        by_size.setdefault(gpus, []).append(run)
    used = sum(size * sum(runs) for size, runs in by_size.items())
    hours, weekdays = _rates(trace, span)
    asked, limits = _limits(trace)
    return Program(
        name,
        _short(used / HOUR_S / _grown_days(span / DAY_S, growth)),
        tuple((size, _short(len(runs) / len(trace))) for size, runs in sorted(by_size.items())),
        _lengths(by_size, _measured if shape == "measured" else _lognormal),
        growth,
        asked,
        hours,
        weekdays,
        _short(_bursts(trace, span, hours, weekdays, growth)),
        f"fitted to {len(trace):,} jobs of {span / DAY_S:.0f} days",
        limits,
    )


def growing(trace: Trace) -> Growth:
    """By the number of jobs in each whole week: the likeliest exponential of independent jobs, and how sure it is given
    how much the weeks really scatter around it. Raises BadInput where the trace is shorter than half a year.

    >>> from madang.twin import from_columns
    >>> submits = [week * 604_800 + job for week in range(53) for job in range(100 + week)]
    >>> found = growing(from_columns(submit=submits, run=[1] * len(submits), gpus=[1] * len(submits)))
    >>> round(found.rate, 2), round(found.error, 2)
    (0.52, 0.07)
    """
    weeks = trace.submit[-1] // WEEK_S
    if weeks < GROWING_WEEKS:
        raise BadInput(f"growth is seen in {GROWING_WEEKS} whole weeks and more, and the trace has {weeks}")
    counts = [0] * weeks
    for submit in trace.submit:
        if submit < weeks * WEEK_S:
            counts[submit // WEEK_S] += 1
    jobs = sum(counts)
    seen = sum(week * count for week, count in enumerate(counts)) / jobs

    def middle(rate: float) -> tuple[float, float]:
        """Mean and variance of the week of a job."""
        shares = [exp(rate * (week - weeks)) for week in range(weeks)]
        mean = sum(week * share for week, share in enumerate(shares)) / sum(shares)
        return mean, sum((week - mean) ** 2 * share for week, share in enumerate(shares)) / sum(shares)

    low, high = -1.0, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        low, high = (rate, high) if middle(rate)[0] < seen else (low, rate)
    shares = [exp(rate * (week - weeks)) for week in range(weeks)]
    wanted = [jobs * share / sum(shares) for share in shares]
    scatter = sum((count - mean) ** 2 / mean for count, mean in zip(counts, wanted, strict=True)) / (weeks - 2)
    error = sqrt(max(scatter, 1.0) / (jobs * middle(rate)[1]))
    yearly = exp(rate * 365 / 7)
    return Growth(_short(yearly - 1), _short(yearly * error * 365 / 7))


def _short(value: float) -> float:
    """To six digits, as a file keeps it."""
    return float(f"{value:.6g}")


def _grown_days(days: float, growth: float) -> float:
    """Days of the first day's demand that as many days with growth ask for."""
    rate = log(1 + growth) / 365
    return (exp(rate * days) - 1) / rate if abs(rate * days) > 1e-9 else days


def _slots(trace: Trace, span: int) -> list[tuple[int, int]]:
    """(hour since 1970, jobs) for each whole hour of the span."""
    first, last = -(-trace.begins // HOUR_S), (trace.begins + span) // HOUR_S
    counts = [0] * max(0, last - first)
    for submit in trace.submit:
        hour = (trace.begins + submit) // HOUR_S - first
        if 0 <= hour < len(counts):
            counts[hour] += 1
    return list(enumerate(counts, first))


def _weekday(hour: int) -> int:
    return (hour // 24 - MONDAY) % 7


def _rates(trace: Trace, span: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Jobs an hour by hour of the day and by weekday, 1 on average."""

    def even(count: int, of: Callable[[int], int], enough: bool) -> tuple[float, ...]:
        jobs, times = [0] * count, [0] * count
        for hour, its in _slots(trace, span) if enough else ():
            jobs[of(hour)] += its
            times[of(hour)] += 1
        if not sum(jobs):
            return (1.0,) * count
        rates = [its / of for its, of in zip(jobs, times, strict=True)]
        return tuple(_short(rate * count / sum(rates)) for rate in rates)

    return even(24, lambda hour: hour % 24, span >= WEEK_S), even(7, _weekday, span >= 2 * WEEK_S)


def _bursts(trace: Trace, span: int, hours: Sequence[float], weekdays: Sequence[float], growth: float) -> float:
    """How much an hour's rate varies beyond the hour, the weekday and Poisson's chance: by the second moment."""
    slots = _slots(trace, span)
    first = slots[0][0] if slots else 0
    rates = [
        hours[hour % 24] * weekdays[_weekday(hour)] * (1 + growth) ** ((hour - first) / (24 * 365))
        for hour, _count in slots
    ]
    jobs = sum(count for _hour, count in slots)
    if not jobs:
        return 0.0
    wanted = [jobs * rate / sum(rates) for rate in rates]
    beyond = sum((count - mean) ** 2 for (_hour, count), mean in zip(slots, wanted, strict=True)) - jobs
    return max(0.0, beyond / sum(mean**2 for mean in wanted))


def _lengths(
    by_size: dict[int, list[int]], made: Callable[[list[int]], Lengths | Measured]
) -> tuple[tuple[int, Lengths | Measured], ...]:
    lengths: list[tuple[int, Lengths | Measured]] = []
    low = 0
    for top in TOPS:
        runs = [run for size, its in by_size.items() if low < size <= top for run in its]
        if runs:
            lengths.append((top, made(runs)))
            low = top
    lengths[-1] = (TOPS[-1], lengths[-1][1])
    return tuple(lengths)


def _measured(runs: list[int]) -> Measured:
    ordered = sorted(runs)
    return Measured(tuple(max(1, round(percentile(ordered, share))) for share in SHARES))


def _lognormal(runs: list[int]) -> Lengths:
    logs = [log(max(run, 1)) for run in runs]
    centre = sum(logs) / len(logs)
    spread = sqrt(sum((value - centre) ** 2 for value in logs) / len(logs))
    return Lengths(_short(exp(centre + spread**2 / 2)), _short(exp(centre)), max(runs))


def _limits(trace: Trace) -> tuple[tuple[float, ...], tuple[tuple[int, tuple[int, ...]], ...]]:
    """(limit ÷ run, limits by run): neither, where every limit is the run, as where none is known."""
    if all(limit == run for limit, run in zip(trace.limit, trace.run, strict=True)):
        return (), ()
    limits: list[tuple[int, tuple[int, ...]]] = []
    low = 0
    for top in RUNS:
        its = sorted(limit for limit, run in zip(trace.limit, trace.run, strict=True) if low < run <= top)
        if its:
            count = min(len(its), KEPT)
            limits.append((top, tuple(its[len(its) * (2 * place + 1) // (2 * count)] for place in range(count))))
            low = top
    limits[-1] = (RUNS[-1], limits[-1][1])
    return (), tuple(limits)


@dataclass(frozen=True)
class Distance:
    """How far two lots of jobs are apart in one thing, from 0 (alike) to 1; `chance` is what two lots of jobs
    that come independently by one law are apart (more once in 20 times; of the hours, on average).
    """

    of: str
    distance: float
    chance: float


@dataclass(frozen=True)
class Goodness:
    """A trace beside as many days of the model's jobs: `left_out` are those for which the machine is too small."""

    distances: tuple[Distance, ...]
    figures: dict[str, tuple[float, float]]  # (of the trace, of the model)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def parted(trace: Trace, days: int) -> tuple[Trace, Trace]:
    """(its jobs before the last so many days, those of the last). Raises BadInput where there aren't enough of both."""
    since = trace.submit[-1] + 1 - days * DAY_S
    earlier = bisect_left(trace.submit, since)
    if min(earlier, len(trace) - earlier) < FEWEST:
        raise BadInput(
            f"the last {days:,} days have {len(trace) - earlier:,} jobs, and those before {earlier:,}:"
            f" it takes {FEWEST} of both"
        )
    return trace.part(range(earlier)), trace.part(range(earlier, len(trace)))


def goodness(trace: Trace, program: Program, seed: int = 0, day: int = 0) -> Goodness:
    """How far the model's jobs are from those of the trace: the largest difference of the cumulative shares (the
    Kolmogorov-Smirnov distance) of sizes, run lengths, limits and times between arrivals; and the share of jobs that
    would have to be moved to other hours of the week. The trace begins on that day of the model, or on the next that is
    the same weekday. Needs numpy. Raises BadInput.
    """
    days = max(1, -(-(trace.submit[-1] + 1) // DAY_S))
    first_day = day + (trace.begins // DAY_S - MONDAY - day) % 7
    made = _made(program, days, seed, first_day=first_day)
    import numpy as np

    own, other = _columns(trace), _columns(made.trace(first_day))
    many = len(trace) * len(made) / (len(trace) + len(made))
    chance = sqrt(-log(0.05 / 2) / 2 / many)
    distances = [
        Distance(name, _short(_apart(own[name], other[name])), _short(chance)) for name in own if name != "hour of week"
    ]
    shares = [np.bincount(its["hour of week"], minlength=168) / len(its["hour of week"]) for its in (own, other)]
    by_chance = float(np.sqrt((shares[0] + shares[1]) / 2 / many).sum()) * sqrt(2 / pi) / 2
    moved = float(np.abs(shares[0] - shares[1]).sum()) / 2
    figures = {
        "jobs a day": (len(trace) / days, len(made) / days),
        "GPU-hours a day": tuple(float((its["run"] * its["size"]).sum()) / HOUR_S / days for its in (own, other)),
        "mean run in s": tuple(float(its["run"].mean()) for its in (own, other)),
        "mean size in GPUs": tuple(float(its["size"].mean()) for its in (own, other)),
    }
    return Goodness(
        (*distances, Distance("hour of week", _short(moved), _short(by_chance))),
        {name: (_short(of), _short(its)) for name, (of, its) in figures.items()},
    )


def _columns(trace: Trace) -> dict[str, Any]:
    import numpy as np

    submit, run, gpus, limit = (
        np.array(column, np.int64) for column in (trace.submit, trace.run, trace.gpus, trace.limit)
    )
    return {
        "size": gpus,
        "run": run,
        "limit": limit,
        "time between arrivals": np.diff(submit),
        "hour of week": ((submit + trace.begins) // HOUR_S - MONDAY * 24) % 168,
    }


def _apart(one: Any, other: Any) -> float:
    """The Kolmogorov-Smirnov distance."""
    import numpy as np

    if not len(one) or not len(other):
        return 0.0
    one, other = np.sort(one), np.sort(other)
    at = np.concatenate((one, other))
    shares = [np.searchsorted(its, at, side="right") / len(its) for its in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def jobs_of(program: Program, *, days: int, seed: int, gpus: int) -> Trace:
    """Jobs of so many days for a machine of so many GPUs, as a trace; what is larger is left out, and said.

    Needs numpy. Raises BadInput.
    """
    made = _made(program, days, seed, gpus)
    jobs, work = fitting(program, gpus)
    notes = [f"{len(made):,} jobs of {days:,} days were made up from the model, with the seed {seed}"]
    if jobs < 1:
        notes.append(
            f"{1 - jobs:.1%} of its jobs, with {1 - work:.1%} of its GPU-hours, ask for more than {gpus:,} GPUs:"
            " they are left out"
        )
    return Trace(**{**vars(made.trace()), "notes": tuple(notes)})


def _made(program: Program, days: int, seed: int, largest: int = TOPS[-1], first_day: int = 0) -> Made:
    try:
        return generate([program], days=days, seed=seed, first_day=first_day, largest=largest)
    except ImportError:
        raise BadInput("making jobs from a model needs the extra “twin”: pip install 'madang[twin]'") from None
