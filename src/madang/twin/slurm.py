"""Backfill as Slurm does it by default, on a pool (slurm.schedmd.com: sched_config.html, slurm.conf.html; its code:
src/plugins/sched/backfill/backfill.c, read in 2026-11).

The queue goes by falling priority, then by arrival. The priority is the multifactor one where weights are given, and
the same for all where none are, as in Slurm; it is calculated as under `fairshare`.

The main pass comes whenever a job arrives or ends: it starts jobs from the front, and the first that doesn't fit stops
it. A cycle of backfill comes as soon as something has happened since the last one (an arrival, an end, a start, new
priorities) and `interval_s` have passed since then; at one instant it comes after the main pass. It looks at the first
`max_job_test` that wait, in order. Each gets the first time from which on there is room for it until its limit, beside
what runs, by its limits, and what was set aside in this cycle. If that is now, the job starts. If it is at most
`window_s` from now, its GPUs are set aside from then, rounded down to whole `resolution_s` of the clock, to its end,
rounded up. If it is later, nothing is set aside for it. The next cycle knows nothing of what was set aside.

What Slurm does besides is left out: that it sets aside whole nodes, so that jobs smaller than a node fill in less often
than here; the depth of the main pass (100 jobs) and its repetition every 60 s; the time that a cycle takes, and that
the first one of all comes when its controller starts; job arrays; and that two slots which overlap by their rounding
alone are moved apart.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from madang.twin.cluster import Machine
from madang.twin.errors import BadInput
from madang.twin.plain import NEVER, Jobs, Profile
from madang.twin.priority import DAY_S, Multifactor, Person, Priorities


@dataclass(frozen=True)
class Slurm:
    """Slurm's own names and defaults: bf_interval, bf_max_job_test, bf_resolution, bf_window; all times in seconds."""

    interval_s: int = 30
    max_job_test: int = 500
    resolution_s: int = 60
    window_s: int = DAY_S
    priority: Multifactor | None = None

    def __post_init__(self) -> None:
        if min(self.interval_s, self.max_job_test, self.resolution_s, self.window_s) < 1:
            raise BadInput("bf_interval, bf_max_job_test, bf_resolution and bf_window are at least 1")


def backfilled(jobs: Jobs, machine: Machine, people: Sequence[Person], rules: Slurm) -> list[int]:
    """The start of each job; `people` says whose each is, where the rules have priorities."""
    submit, run, need, limit = jobs
    starts = [0] * len(submit)
    priorities = Priorities(jobs, machine.gpus, people, rules.priority) if rules.priority else None
    live: list[tuple[int, int]] = []
    due: list[tuple[int, int]] = []
    queue: list[int] = []
    free, following, count, t = machine.gpus, 0, len(submit), 0
    last, happened = -rules.interval_s, False

    def go(job: int) -> None:
        nonlocal free
        starts[job], free = t, free - need[job]
        if priorities:
            priorities.hold(job, t, need[job])
        heappush(live, (t + run[job], job))
        insort(due, (t + limit[job], job))

    def cycle() -> list[int]:
        """Who started."""
        tested = queue[: rules.max_job_test]
        least = [NEVER]  # GPUs that one of those still to come needs
        for job in reversed(tested):
            least.append(min(least[-1], need[job]))
        if least[-1] > free:
            return []
        profile, started = _known(t, free, due, need), []
        for job in tested:
            if least.pop() > free:
                break
            begin = profile.earliest(t, need[job], limit[job])
            end = begin + limit[job]
            if begin == t:
                profile.add(t, end, -need[job])
                started.append(job)
                go(job)
            elif begin <= t + rules.window_s:
                begin, end = begin - begin % rules.resolution_s, end + -end % rules.resolution_s
                profile.add(max(begin, t), end, -need[job])
        return started

    while following < count or queue:
        t = min(
            live[0][0] if live else NEVER,
            submit[following] if following < count else NEVER,
            last + rules.interval_s if happened else NEVER,
            priorities.next(t) if priorities and queue else NEVER,
        )
        ended = bool(live) and live[0][0] <= t
        while live and live[0][0] <= t:
            job = heappop(live)[1]
            free += need[job]
            if priorities:
                priorities.hold(job, t, -need[job])
            del due[bisect_left(due, (starts[job] + limit[job], job))]
        arrived = []
        while following < count and submit[following] <= t:
            arrived.append(following)
            following += 1
        happened = happened or ended or bool(arrived)
        if priorities and (queue or sum(need[job] for job in arrived) > free):
            happened = priorities.renew(t, queue) or happened
            for job in arrived:
                priorities.weigh(job, t)
            queue = sorted([*queue, *arrived], key=priorities.order)
        else:
            queue += arrived
        if ended or arrived:
            first = 0
            while first < len(queue) and need[queue[first]] <= free:
                go(queue[first])
                first += 1
            del queue[:first]
        if happened and t >= last + rules.interval_s:
            started = set(cycle())
            last, happened = t, bool(started)
            if started:
                queue = [job for job in queue if job not in started]
    return starts


def _known(t: int, free: int, due: Sequence[tuple[int, int]], need: Sequence[int]) -> Profile:
    """What is free from t on, by the limits of what runs."""
    profile = Profile(free)
    profile.at[0] = t
    for at, job in due:
        free += need[job]
        if profile.at[-1] == at:
            profile.free[-1] = free
        else:
            profile.at.append(at)
            profile.free.append(free)
    return profile
