"""The policies as plain loops: the same answers as the compiled kernel, with nothing but the standard library.

Every function takes jobs in canonical form (sorted by arrival) and gives the start of each, in seconds. One instant
goes in this order: ends, arrivals, then one pass of the policy.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Sequence
from heapq import heappop, heappush
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from madang.twin.cluster import Machine, Nodes, Placement, Pool, suffices

NEVER = 1 << 62


class Jobs(NamedTuple):
    submit: list[int]
    run: list[int]
    need: list[int]
    limit: list[int]


class TooMuch(Exception):
    """The queue is so long that a compiled kernel is worth its start."""


def _arriving(machine: Machine) -> list[tuple[int, int, Any]]:
    """Deliveries, as ends of what no job holds: sorted, so a heap."""
    return [(t, -1, gpus) for t, gpus in machine.deliveries]


def first_come(jobs: Jobs, machine: Machine) -> list[int]:
    """FCFS: from the front of the queue; the first that doesn't fit stops the pass. So starts are in order."""
    room: Any = Nodes(machine) if machine.nodes_of else Pool(machine)
    live: list[tuple[int, int, Any]] = _arriving(machine)
    starts, t = [], 0
    for job, (submit, run, need) in enumerate(zip(jobs.submit, jobs.run, jobs.need, strict=True)):
        t = max(t, submit)
        while live and live[0][0] <= t:
            room.give(heappop(live)[2])
        while (placed := room.take(need)) is None:
            t = live[0][0]
            while live and live[0][0] <= t:
                room.give(heappop(live)[2])
        starts.append(t)
        heappush(live, (t + run, job, placed))
    return starts


def by_key(jobs: Jobs, machine: Machine, key: Sequence[int]) -> list[int]:
    """The queue by `key` (then by arrival), made anew in every pass; the first that doesn't fit stops it."""
    room: Any = Nodes(machine) if machine.nodes_of else Pool(machine)
    starts = [0] * len(jobs.submit)
    live: list[tuple[int, int, Any]] = _arriving(machine)
    queue: list[tuple[int, int]] = []
    submit, following, count = jobs.submit, 0, len(jobs.submit)
    while following < count or live:
        t = min(live[0][0] if live else NEVER, submit[following] if following < count else NEVER)
        while live and live[0][0] <= t:
            room.give(heappop(live)[2])
        while following < count and submit[following] <= t:
            heappush(queue, (key[following], following))
            following += 1
        while queue:
            job = queue[0][1]
            if (placed := room.take(jobs.need[job])) is None:
                break
            heappop(queue)
            starts[job] = t
            heappush(live, (t + jobs.run[job], job, placed))
    return starts


def shortest(jobs: Jobs, machine: Machine) -> list[int]:
    """SJF: by (limit, arrival)."""
    return by_key(jobs, machine, jobs.limit)


def easy(jobs: Jobs, machine: Machine, patience: int = NEVER) -> list[int]:
    """EASY backfill. Raises TooMuch after more than `patience` looks at waiting jobs (a pool only)."""
    return easy_nodes(jobs, machine) if machine.nodes_of else easy_pool(jobs, machine, patience)


def easy_pool(jobs: Jobs, machine: Machine, patience: int = NEVER) -> list[int]:
    """EASY on a pool: the head of the queue has a reservation, made anew in every pass; a later job starts now if it
    ends by its limit at the reservation's time at the latest, or needs no more GPUs than the head leaves over then.

    Where only arrivals happen the reservation still holds, and only the newcomers are looked at. A head that is larger
    than the machine is so far has no reservation, and holds nobody up.
    """
    submit, run, need, limit = jobs
    starts = [0] * len(submit)
    deliveries = list(reversed(machine.deliveries))
    live: list[tuple[int, int]] = []  # (end, job)
    due: list[tuple[int, int]] = []  # (start + limit, job), sorted
    queue: list[int] = []
    free, following, count = machine.gpus, 0, len(submit)
    head, shadow, extra = -1, 0, 0
    while following < count or live or queue:
        t, ended = submit[following] if following < count else NEVER, False
        if live and live[0][0] <= t:
            t = live[0][0]
        if deliveries and deliveries[-1][0] <= t:
            t = deliveries[-1][0]
            while deliveries and deliveries[-1][0] <= t:
                free, ended = free + deliveries.pop()[1], True
        while live and live[0][0] <= t:
            job = heappop(live)[1]
            free, ended = free + need[job], True
            del due[bisect_left(due, (starts[job] + limit[job], job))]
        while following < count and submit[following] <= t:
            if queue or need[following] > free:
                break
            starts[following], free = t, free - need[following]
            heappush(live, (t + run[following], following))
            insort(due, (t + limit[following], following))
            following += 1
        known = len(queue)
        while following < count and submit[following] <= t:
            queue.append(following)
            following += 1

        first = 0
        while first < len(queue) and need[queue[first]] <= free:
            job = queue[first]
            starts[job], free, first = t, free - need[job], first + 1
            heappush(live, (t + run[job], job))
            insort(due, (t + limit[job], job))
        if first:
            del queue[:first]
            known = 0
        if not queue or not free:
            head = -1
            continue
        if ended or first or queue[0] != head:
            head, known = queue[0], 1
            shadow, extra = reservation(need[head], free, due, need)
        known = max(known, 1)
        patience -= len(queue) - known
        if patience < 0:
            raise TooMuch
        stay = queue[:known]
        for job in queue[known:]:
            size = need[job]
            if size <= free and (size <= extra or t + limit[job] <= shadow):
                if t + limit[job] > shadow:
                    extra -= size
                starts[job], free = t, free - size
                heappush(live, (t + run[job], job))
                insort(due, (t + limit[job], job))
            else:
                stay.append(job)
        queue = stay
    return starts


def reservation(wanted: int, free: int, due: list[tuple[int, int]], need: list[int]) -> tuple[int, int]:
    """(when the head can start by the limits of what runs, GPUs left over then). What ends together counts together."""
    last = NEVER
    for at, job in due:
        if free >= wanted and at > last:
            break
        free += need[job]
        last = at
    return (last, free - wanted) if free >= wanted else (NEVER, NEVER)


def easy_nodes(jobs: Jobs, machine: Machine) -> list[int]:
    """EASY on nodes: the head's time is when it can be placed if what runs goes away in the order of the limits; a job
    that lasts past it may start if the head could then still be placed.
    """
    submit, run, need, limit = jobs
    room = Nodes(machine)
    starts = [0] * len(submit)
    live: list[tuple[int, int, Placement]] = []
    due: list[tuple[int, int, Placement]] = []
    queue: list[int] = []
    following, count = 0, len(submit)

    def go(job: int, placed: Placement, t: int) -> None:
        starts[job] = t
        room.occupy(placed)
        heappush(live, (t + run[job], job, placed))
        insort(due, (t + limit[job], job, placed))

    while following < count or live:
        t = min(live[0][0] if live else NEVER, submit[following] if following < count else NEVER)
        while live and live[0][0] <= t:
            _end, job, placed = heappop(live)
            room.give(placed)
            del due[bisect_left(due, (starts[job] + limit[job], job))]
        while following < count and submit[following] <= t:
            queue.append(following)
            following += 1
        first = 0
        while first < len(queue) and (found := room.find(need[queue[first]])):
            go(queue[first], found, t)
            first += 1
        del queue[:first]
        if len(queue) < 2:
            continue
        later = Later(room, due, need[queue[0]])
        stay = queue[:1]
        for job in queue[1:]:
            found = room.find(need[job])
            if found and later.admits(found, in_time=t + limit[job] <= later.at):
                go(job, found, t)
            else:
                stay.append(job)
        queue = stay
    return starts


class Later:
    """The nodes at the time `at` when the head of the queue can be placed."""

    out: Collection[int] = ()  # nodes that are no use to the head, and aren't counted

    def __init__(self, room: Nodes, due: list[tuple[int, int, Placement]], wanted: int) -> None:
        self.room, self.wanted, self.at = room, wanted, NEVER
        self.count = [len(nodes) for nodes in room.level]
        self.free: dict[int, int] = {}  # of the nodes where it differs from what is free now
        self.look(due)

    def look(self, due: list[tuple[int, int, Placement]]) -> None:
        """Find `at`; it stays NEVER where what runs isn't all that is in the way: then the head holds nobody up."""
        for at, group in groupby(due, itemgetter(0)):
            for _at, _job, placed in group:
                self._change(placed, self.free, self.count, 1)
            if suffices(self.count, self.wanted):
                self.at = at
                return

    def admits(self, placed: Placement, *, in_time: bool) -> bool:
        """Whether a job may start there. If so, what it leaves at `at` is remembered: the caller starts it."""
        if in_time:
            for node, _gpus in placed:
                self.free.setdefault(node, self.room.free[node])
            return True
        free, count = dict(self.free), list(self.count)
        self._change(placed, free, count, -1)
        if not suffices(count, self.wanted):
            return False
        self.free, self.count = free, count
        return True

    def _change(self, placed: Placement, free: dict[int, int], count: list[int], sign: int) -> None:
        for node, gpus in placed:
            before = free.get(node, self.room.free[node])
            free[node] = before + sign * gpus
            if node not in self.out:
                count[before] -= 1
                count[free[node]] += 1


class Profile:
    """Free GPUs over time: `free[i]` from `at[i]` until `at[i + 1]`, the last for ever."""

    def __init__(self, capacity: int) -> None:
        self.at, self.free = [0], [capacity]

    def add(self, begin: int, end: int, gpus: int) -> None:
        """`gpus` more (fewer, if negative) in [begin, end)."""
        first, last = self._cut(begin), self._cut(end)
        for place in range(first, last):
            self.free[place] += gpus

    def earliest(self, now: int, gpus: int, duration: int) -> int:
        """The first time from `now` on from which `gpus` are free for `duration`."""
        place = bisect_right(self.at, now) - 1
        begin = now
        while True:
            if self.free[place] < gpus:
                place += 1
                begin = self.at[place]
            elif place + 1 == len(self.at) or self.at[place + 1] >= begin + duration:
                return begin
            else:
                place += 1

    def forget(self, now: int) -> None:
        """Drop what lies before `now`."""
        place = bisect_right(self.at, now) - 1
        del self.at[:place], self.free[:place]

    def _cut(self, t: int) -> int:
        place = bisect_left(self.at, t)
        if place == len(self.at) or self.at[place] != t:
            self.at.insert(place, t)
            self.free.insert(place, self.free[place - 1])
        return place


def conservative(jobs: Jobs, machine: Machine) -> list[int]:
    """Conservative backfill on a pool: every waiting job has a reservation, and none ever moves later.

    At each instant, in the order of the queue: a job's own reservation is taken away, it gets the earliest slot that
    the others leave, and starts if that slot is now. A reservation that falls due is an instant, too.
    """
    submit, run, need, limit = jobs
    starts = [0] * len(submit)
    live: list[tuple[int, int]] = []
    queue: list[int] = []
    slot: dict[int, int] = {}
    profile = Profile(machine.gpus)
    following, count, settled = 0, len(submit), True
    while following < count or live:
        t = min(
            live[0][0] if live else NEVER,
            submit[following] if following < count else NEVER,
            min(slot.values(), default=NEVER),
        )
        profile.forget(t)
        while live and live[0][0] <= t:
            job = heappop(live)[1]
            if (due := starts[job] + limit[job]) > t:
                profile.add(t, due, need[job])
                settled = False
        old: Iterable[int] = () if settled and min(slot.values(), default=NEVER) > t else queue
        arrived = following
        while following < count and submit[following] <= t:
            following += 1
        settled = True
        for job in [*old, *range(arrived, following)]:
            if job in slot:
                profile.add(slot[job], slot[job] + limit[job], need[job])
            begin = profile.earliest(t, need[job], limit[job])
            settled = settled and slot.get(job, begin) == begin
            profile.add(begin, begin + limit[job], -need[job])
            slot[job] = begin
        started = [job for job in [*queue, *range(arrived, following)] if slot[job] == t]
        queue = [job for job in [*queue, *range(arrived, following)] if slot[job] > t]
        for job in started:
            del slot[job]
            starts[job] = t
            heappush(live, (t + run[job], job))
    return starts
