"""Tiers with preemption, on a pool: who is in a higher tier goes first, and may stop who is in a lower one.

The queue goes by falling tier, then by arrival. When the first in it doesn't fit, jobs of lower tiers that have run for
at least `exempt_s` are stopped for it: the lowest tier first, then the latest start, until they suffice; then those of
them are spared, in this order, without whom the rest suffices; and none where all of them don't. They keep their GPUs
for `grace_s` (who ends by then is done), and then wait again with their first arrival. Later jobs fill in as under
EASY, and stop nobody.

What a stopped job has done since its last checkpoint (one every `checkpoint_s` of its work; 0: none) is done again, and
each further start takes `restart_s` more.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from madang.twin.cluster import Machine
from madang.twin.errors import BadInput
from madang.twin.plain import NEVER, Jobs, reservation


@dataclass(frozen=True)
class Tiers:
    """`of` says the tier of each value of `column` in the trace; who isn't named there is in tier 0."""

    of: Mapping[str, int] = field(default_factory=dict)
    column: str = "qos"
    exempt_s: int = 0
    grace_s: int = 0
    checkpoint_s: int = 0
    restart_s: int = 0

    def __post_init__(self) -> None:
        if not self.of:
            raise BadInput("preemption needs tiers: which are higher than 0?")
        if min(self.exempt_s, self.grace_s, self.checkpoint_s, self.restart_s) < 0:
            raise BadInput("the times of preemption are 0 s or more")


class Stretch(NamedTuple):
    """A job holds its GPUs from `start` until `end`; `stopped` where that isn't its own end."""

    job: int
    start: int
    end: int
    stopped: bool


def first_starts(count: int, stretches: Sequence[Stretch]) -> list[int]:
    """When each of `count` jobs first held its GPUs; -1 where it never did."""
    starts = [-1] * count
    for stretch in stretches:
        if starts[stretch.job] < 0 or stretch.start < starts[stretch.job]:
            starts[stretch.job] = stretch.start
    return starts


class Work:
    """Of each job, the work that no stop can undo any more, and what its next start takes beyond work."""

    def __init__(self, count: int, checkpoint_s: int, restart_s: int) -> None:
        self.checkpoint_s, self.restart_s = checkpoint_s, restart_s
        self.saved, self.extra_s = [0] * count, [0] * count

    def more(self, job: int) -> int:
        """By how many seconds it runs longer than it would from its beginning (shorter, if negative)."""
        return self.extra_s[job] - self.saved[job]

    def stop(self, job: int, held_s: int) -> None:
        """It is stopped after it held its GPUs for so long."""
        worked = self.saved[job] + max(0, held_s - self.extra_s[job])
        if self.checkpoint_s:
            self.saved[job] = max(self.saved[job], worked // self.checkpoint_s * self.checkpoint_s)
        self.extra_s[job] = self.restart_s


def preempting(jobs: Jobs, machine: Machine, tier: Sequence[int], rules: Tiers) -> list[Stretch]:
    """Every stretch of every job, in the order of their ends."""
    submit, run, need, limit = jobs
    count = len(submit)
    stretches: list[Stretch] = []
    work, begun = Work(count, rules.checkpoint_s, rules.restart_s), [0] * count
    ends: dict[int, int] = {}  # of what holds GPUs
    until: dict[int, int] = {}  # by its limit
    leaving: set[int] = set()  # who gives GPUs back for another, and of these who will wait again
    stopping: set[int] = set()
    live: list[tuple[int, int]] = []  # (end, job); out of date where `ends` says otherwise
    due: list[tuple[int, int]] = []
    ripe: list[int] = []  # when one that runs may be stopped
    queue: list[int] = []
    free, following, t = machine.gpus, 0, 0

    def order(job: int) -> tuple[int, int]:
        return -tier[job], job

    def lasts(job: int, end: int, by_limit: int) -> None:
        if job in until:
            del due[bisect_left(due, (until[job], job))]
        ends[job], until[job] = end, by_limit
        heappush(live, (end, job))
        insort(due, (by_limit, job))

    def go(job: int) -> None:
        nonlocal free
        free -= need[job]
        begun[job] = t
        more = work.more(job)
        lasts(job, t + run[job] + more, t + limit[job] + more)
        if rules.exempt_s:
            heappush(ripe, t + rules.exempt_s)

    def leave(job: int) -> None:
        nonlocal free
        free += need[job]
        stretches.append(Stretch(job, begun[job], t, job in stopping))
        del due[bisect_left(due, (until.pop(job), job))]
        del ends[job]
        leaving.discard(job)
        if job in stopping:
            stopping.remove(job)
            insort(queue, job, key=order)

    def stop(job: int) -> None:
        leaving.add(job)
        if ends[job] <= t + rules.grace_s:  # it is done by then
            return
        work.stop(job, t - begun[job])
        stopping.add(job)
        if rules.grace_s:
            lasts(job, t + rules.grace_s, t + rules.grace_s)
        else:
            leave(job)

    def room_for(job: int) -> list[int]:
        """Whom to stop."""
        lower = [
            other
            for other in ends
            if tier[other] < tier[job] and other not in leaving and t - begun[other] >= rules.exempt_s
        ]
        short, found = need[job] - free - sum(need[other] for other in leaving), []
        for other in sorted(lower, key=lambda other: (tier[other], -begun[other], -other)):
            if short <= 0:
                break
            short -= need[other]
            found.append(other)
        if short > 0:
            return []
        for other in list(found):
            if short + need[other] <= 0:
                short += need[other]
                found.remove(other)
        return found

    while following < count or ends:
        while live and ends.get(live[0][1]) != live[0][0]:
            heappop(live)
        while ripe and ripe[0] <= t:
            heappop(ripe)
        t = min(
            live[0][0] if live else NEVER,
            submit[following] if following < count else NEVER,
            ripe[0] if ripe and queue else NEVER,
        )
        for job in sorted(job for job, end in ends.items() if end <= t) if live and live[0][0] <= t else ():
            leave(job)
        while following < count and submit[following] <= t:
            insort(queue, following, key=order)
            following += 1
        while queue:
            first = queue[0]
            if need[first] > free:
                victims = room_for(first)
                for job in victims:
                    stop(job)
                if need[first] > free:
                    break
            queue.remove(first)
            go(first)
        if not queue or not free:
            continue
        shadow, extra = reservation(need[queue[0]], free, due, need)
        for job in queue[1:]:
            lasting = t + limit[job] + work.more(job) > shadow
            if need[job] <= free and (need[job] <= extra or not lasting):
                extra -= need[job] if lasting else 0
                queue.remove(job)
                go(job)
    return stretches
