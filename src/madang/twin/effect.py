"""What more grants do to everybody: how full a machine is and how long its jobs wait, as granted and with more.

What is granted is asked for evenly over its days, by jobs of a named shape. A run is a sample of the busiest days. It
begins with jobs in the middle of their runs, and its first week (or quarter, if it is short) isn't measured. No job is
in a run of little demand that isn't in one of more under the same seed: what differs is what is asked for, not chance.
Needs numpy and numba (the extra `twin`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from math import ceil
from typing import Any

from madang.twin.cluster import Machine
from madang.twin.demand import DAY_S, NoJobs, Program, generate, jobs_a_day, like, under_way
from madang.twin.errors import BadInput
from madang.twin.sure import Band, band

LEVEL = 0.9
JOBS = 500_000  # of all runs of one state of a full machine together: somebody waits for the answer
MOST_JOBS = 2_000_000  # a day: about half a million GPUs
DAYS, SEEDS, FEWEST = 28, 20, 3
WEEKS = 14  # days from which on a sample has whole weeks; a shorter one knows no hours and no weekdays
MOST_LOAD = 1.5  # what is asked for beyond it isn't simulated: the waits are a lower bound anyway
LAYER = 0.25  # of the load: jobs are drawn for so much at a time


@dataclass(frozen=True)
class Queue:
    """A pool of GPUs, the order of its jobs, and what one of them may have at most."""

    gpus: int
    policy: str = "easy"
    most_gpus: int | None = None
    longest_s: int = 7 * DAY_S

    def __post_init__(self) -> None:
        if self.gpus < 1 or self.longest_s < 60 or (self.most_gpus is not None and self.most_gpus < 1):
            raise BadInput("a queue has at least 1 GPU, and jobs of at least 1 GPU and 60 s")
        if self.policy not in ("fcfs", "sjf", "easy"):
            raise BadInput("an effect is simulated under fcfs, sjf or easy")

    @property
    def gpu_hours_a_day(self) -> int:
        return self.gpus * 24


@dataclass(frozen=True)
class State:
    """`load` is asked ÷ offered on the days of the sample. Utilization is a share; waits are in seconds, None where no
    job came. Where the load is above 1, the queue grows for as long as that lasts, and the waits are a lower bound; the
    utilization of a machine that is full anyway may then differ by some thousandths, as other jobs hold it up.
    """

    load: float
    utilization: Band
    p50: Band | None
    p90: Band | None


@dataclass(frozen=True)
class Effect:
    """`days` from day `first` were simulated, `seeds` times. `full_on` is the first day on which more is asked for than
    there is, with what is added; None where there is none.
    """

    now: State
    then: State
    first: int
    days: int
    seeds: int
    full_on: int | None


def effect(
    queue: Queue, shape: str, granted: Sequence[float], more: float, *, weekday: int = 0, jobs: int = JOBS
) -> Effect:
    """What `more` GPU-hours a day do beside `granted`, the GPU-hours asked for on each day. The first is a `weekday` (0
    is Monday); `jobs` bounds the work. Raises BadInput.
    """
    if not granted or min(granted) < 0 or more < 0:
        raise BadInput("an effect is of at least 1 day, and of at least 0 GPU-hours on each")
    per_day = jobs_a_day(_program(queue, shape)) / LAYER
    if per_day > MOST_JOBS:
        raise BadInput(f"{queue.gpus:,} GPUs are too many to simulate while somebody waits: make a plan of them")
    days = max(1, min(DAYS, len(granted), int(jobs / (5 * per_day))))
    days -= days % 7 if days >= WEEKS else 0
    seeds = max(FEWEST, min(SEEDS, int(jobs / (per_day * days))))
    first = _busiest(granted, days)
    sample = granted[first : first + days]

    def state(added: float) -> State:
        loads = [(asked + added) / queue.gpu_hours_a_day for asked in sample]
        capped = tuple(min(load, MOST_LOAD) for load in loads)
        runs = [_run(queue, shape, capped, (weekday + first) % 7, seed) for seed in range(seeds)]
        waits = [run for _used, run in runs if run]
        middle, long = (band([run[part] for run in waits], "seeds", LEVEL) if waits else None for part in range(2))
        return State(sum(loads) / days, band([used for used, _waits in runs], "seeds", LEVEL), middle, long)

    full = (day for day, asked in enumerate(granted) if asked + more > queue.gpu_hours_a_day)
    return Effect(state(0), state(more), first, days, seeds, next(full, None))


def _busiest(asked: Sequence[float], days: int) -> int:
    """The first of so many days in a row on which most is asked for; the earliest of equals."""
    sums = [0.0, *accumulate(asked)]
    return max(range(len(asked) - days + 1), key=lambda day: (round(sums[day + days] - sums[day], 6), -day))


@lru_cache(maxsize=64)
def _program(queue: Queue, shape: str) -> Program:
    """A layer of what the machine has, in jobs that it takes."""
    whole = like(shape, shape, queue.gpu_hours_a_day * LAYER)
    most = min(queue.gpus, queue.most_gpus or queue.gpus)
    sizes = tuple((size, share) for size, share in whole.sizes if size <= most)
    lengths = tuple((top, its.cut(queue.longest_s)) for top, its in whole.lengths)
    return replace(whole, sizes=sizes, lengths=lengths)


@lru_cache(maxsize=2_048)
def _run(
    queue: Queue, shape: str, loads: tuple[float, ...], weekday: int, seed: int
) -> tuple[float, tuple[float, float] | None]:
    """(utilization, (median, p90) of the waits) of one sample. Jobs are drawn layer by layer; one is there if the load
    of its day is above its level.
    """
    import numpy as np

    from madang.twin import kernel

    if not any(loads):
        return 0.0, None
    days, layers, program = len(loads), ceil(max(loads) / LAYER), _program(queue, shape)
    if days < WEEKS:
        program = replace(program, hours=(1.0,) * 24, weekdays=(1.0,) * 7)
    try:
        made = generate([program] * layers, days=days, seed=seed, first_day=weekday)
    except NoJobs:
        return 0.0, None
    columns: list[list[Any]] = [[], [], [], []]
    for layer in range(layers):
        random = np.random.default_rng([seed, weekday, layer, 1])
        submit, run, gpus, limit = (
            column[made.program == layer] for column in (made.submit, made.run, made.gpus, made.limit)
        )
        limit = np.minimum(limit, queue.longest_s)
        stays = (layer + random.random(len(submit))) * LAYER < np.array(loads)[submit // DAY_S]
        met, gone = under_way(run, days, random)
        there = (layer + random.random(len(met))) * LAYER < loads[0]
        met, gone = met[there], gone[there]
        for column, before, later in zip(
            columns,
            (np.zeros(len(met), np.int64), run[met] - gone, gpus[met], limit[met] - gone),
            (submit, run, gpus, limit),
            strict=True,
        ):
            column += [before, later[stays]]
    submit, run, gpus, limit = (np.concatenate(column) for column in columns)
    if not len(submit):
        return 0.0, None
    order = np.argsort(submit, kind="stable")
    submit, run, gpus, limit = (np.ascontiguousarray(column[order]) for column in (submit, run, gpus, limit))
    begin, end = 7 * DAY_S if days >= WEEKS else days * DAY_S // 4, days * DAY_S
    start = kernel.simulate(submit, run, gpus, limit, Machine(queue.gpus), queue.policy)
    inside = np.clip(np.minimum(start + run, end) - np.maximum(start, begin), 0, None)
    used = float((inside * gpus).sum() / (queue.gpus * (end - begin)))
    wait = (start - submit)[submit >= begin]
    return used, tuple(np.quantile(wait, (0.5, 0.9)).tolist()) if len(wait) else None
