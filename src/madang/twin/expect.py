"""When a job would start: what runs and waits now, played into many futures.

Nobody knows how long a job runs, only its limit; so every future draws run ÷ limit from what past jobs took, given how
long each has run already. Jobs that arrive later are left out: they queue behind.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from madang.twin import plain
from madang.twin.cluster import Machine
from madang.twin.measure import percentile

FUTURES = 200
# What one answer may cost, over all futures: jobs, and under EASY looks at a queue, which grow with its square.
WORK, LOOKS = 200_000, 4_000_000
LONG = 1_500  # jobs in a queue from which on EASY is taken for first come, first served: somebody waits for the answer
HOUR = 3600


@dataclass(frozen=True)
class Live:
    """A job that runs (`elapsed_s` is how long) or waits (None, in the order of the queue)."""

    gpus: int
    limit_s: int
    elapsed_s: int | None = None


@dataclass(frozen=True)
class Expected:
    """Seconds from now: in eight of ten futures the job starts between `p10_s` and `p90_s`. `within_an_hour` is the
    share of futures in which it does. `known` says whether there was a past to draw from; if not, every job is taken to
    run to its limit, and the figures are the latest, not the likely.
    """

    p10_s: int
    p50_s: int
    p90_s: int
    within_an_hour: float
    futures: int
    known: bool


def expect(
    live: Sequence[Live],
    gpus: int,
    limit_s: int,
    free: int,
    past: Sequence[float],
    *,
    policy: str = "fcfs",
    seed: int = 0,
) -> Expected | None:
    """When a job of `gpus` for at most `limit_s` would start, submitted now.

    `free` GPUs are free; `past` holds run ÷ limit of jobs that ended.

    None where it is larger than all that is free or running.

    >>> expect([Live(4, 3600, elapsed_s=1800)], gpus=4, limit_s=60, free=0, past=[]).p50_s
    1800
    """
    running = [job for job in live if job.elapsed_s is not None]
    waiting = [job for job in live if job.elapsed_s is None]
    capacity = free + sum(job.gpus for job in running)
    if gpus > capacity:
        return None
    waiting = [job for job in waiting if job.gpus <= capacity]  # what can never run holds nobody up here
    jobs = [*running, *waiting, Live(gpus, limit_s)]
    shares = sorted(min(max(share, 0.0), 1.0) for share in past)
    easy = policy == "easy" and len(jobs) < LONG
    most = LOOKS // len(jobs) ** 2 if easy else WORK // len(jobs)
    futures = max(20, min(FUTURES, most)) if shares else 1
    random = Random(seed)  # noqa: S311
    starts = []
    for _ in range(futures):
        run, limit = [], []
        for job in jobs:
            left = max(1, job.limit_s - (job.elapsed_s or 0))
            run.append(min(left, _drawn(job, shares, random)))
            limit.append(left)
        # Those that run are first in the queue of an empty machine, so they start at 0.
        plan = plain.Jobs([0] * len(jobs), run, [job.gpus for job in jobs], limit)
        made = plain.easy(plan, Machine(capacity)) if easy else plain.first_come(plan, Machine(capacity))
        starts.append(made[-1])
    starts.sort()
    p10, p50, p90 = (round(percentile(starts, share)) for share in (0.1, 0.5, 0.9))
    return Expected(p10, p50, p90, bisect_right(starts, HOUR) / futures, futures, bool(shares))


def _drawn(job: Live, shares: Sequence[float], random: Random) -> int:
    """Seconds that the job goes on for."""
    elapsed = job.elapsed_s or 0
    first = bisect_right(shares, elapsed / job.limit_s) if elapsed else 0
    if first >= len(shares):
        return max(1, job.limit_s - elapsed)
    return max(1, round(shares[random.randrange(first, len(shares))] * job.limit_s) - elapsed)
