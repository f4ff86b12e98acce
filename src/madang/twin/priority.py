"""Multifactor priority with fair-share, after Slurm (slurm.schedmd.com: priority_multifactor, fair_tree).

The priority of a waiting job is age·A + fairshare·F + size·S, cut to an integer and at least 1: A grows with the time
it has waited, from 0 to 1 at `max_age_s`; F is the place of its user in the fair tree, from 1 for whoever has used
least of their share downwards; S is its part of the machine's GPUs (Slurm: the mean of its parts of nodes and CPUs).
It is calculated when the job arrives, and for all that wait every `every_s` seconds of the clock. The queue goes by
falling priority, then by arrival; EASY backfill on that order unless `backfill` is off.

What was used counts half as much after each half-life. Here it decays at every moment, in Slurm at each calculation by
a factor that leaves 0.50007.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import exp, expm1, inf, log
from operator import itemgetter
from typing import TypeVar

from madang.twin.cluster import Machine
from madang.twin.errors import BadInput
from madang.twin.plain import NEVER, Jobs, reservation

Person = tuple[str, str]  # (account, user)
K = TypeVar("K", bound=Hashable)
TIED = 1e-9  # levels that differ by less than this part of the larger are one
DAY_S = 86_400


@dataclass(frozen=True)
class Multifactor:
    """The weights, and how usage and age are counted; `shares` by account, or by "account/user", 1 where unsaid."""

    age: int = 0
    fairshare: int = 0
    size: int = 0
    max_age_s: int = 7 * DAY_S
    half_life_s: int = 7 * DAY_S
    every_s: int = 300
    favor_small: bool = False
    backfill: bool = True
    shares: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if min(self.age, self.fairshare, self.size) < 0 or not self.age + self.fairshare + self.size:
            raise BadInput("fair-share needs weights, none below 0 and one above: age, fairshare, size")
        if min(self.max_age_s, self.half_life_s, self.every_s) < 1:
            raise BadInput("the greatest age, the half-life and the time between calculations are at least 1 s")
        if any(share < 0 for share in self.shares.values()):
            raise BadInput("a share is 0 or more")


def fair_tree(usage: Mapping[Person, float], shares: Mapping[str, int]) -> dict[Person, float]:
    """The fair-share factor of each user, of what each has used.

    The level of an account is its share of all shares ÷ its part of all use, that of a user the same within the
    account: infinite for who has used nothing, 0 for who has no share. Accounts go by falling level, and in each its
    users; those of accounts that tie are ranked together. Of n users the first gets 1, the next (n - 1)/n; who ties
    shares the rank.

    >>> fair_tree({("a", "kim"): 30, ("a", "lee"): 10, ("b", "park"): 60, ("b", "choi"): 0}, {"a": 1, "b": 1})
    {('a', 'lee'): 1.0, ('a', 'kim'): 0.75, ('b', 'choi'): 0.5, ('b', 'park'): 0.25}
    """
    users: dict[str, list[Person]] = {}
    for person in usage:
        users.setdefault(person[0], []).append(person)
    used = {account: sum(usage[person] for person in people) for account, people in users.items()}
    factors: dict[Person, float] = {}
    for accounts in _falling(_levels(used, {account: shares.get(account, 1) for account in users})):
        levels: dict[Person, float] = {}
        for account in accounts:
            own = {person: shares.get("/".join(person), 1) if shares else 1 for person in users[account]}
            levels |= _levels({person: usage[person] for person in own}, own)
        for people in _falling(levels):
            rank = (len(usage) - len(factors)) / len(usage)
            for person in people:
                factors[person] = rank
    return factors


def _levels(used: Mapping[K, float], shares: Mapping[K, int]) -> dict[K, float]:
    all_used, all_shares = sum(used.values()), sum(shares.values())
    return {
        who: 0.0 if not shares[who] else inf if not used[who] else shares[who] / all_shares * (all_used / used[who])
        for who in used
    }


def _falling(levels: Mapping[K, float]) -> Iterator[list[K]]:
    """Those with the highest level, then the next: each time all that tie with the first of them."""
    group: list[K] = []
    top = 0.0
    for who, level in sorted(levels.items(), key=itemgetter(1), reverse=True):
        if not group:
            top, group = level, [who]
        elif level < top * (1 - TIED):
            yield group
            top, group = level, [who]
        else:
            group.append(who)
    if group:
        yield group


class _Usage:
    """GPU-seconds by user, decayed; asked for as of the last calculation."""

    def __init__(self, users: int, rules: Multifactor) -> None:
        self.scale, self.every = rules.half_life_s / log(2), rules.every_s
        self.value, self.at, self.gpus = [0.0] * users, [0] * users, [0] * users
        self.kept = [0.0] * users  # as of the calculation before `at`

    def change(self, user: int, t: int, gpus: int) -> None:
        """From t on the user runs on so many GPUs more."""
        if self.at[user] <= (mark := t - t % self.every):
            self.kept[user] = self._until(user, mark)
        self.value[user], self.at[user] = self._until(user, t), t
        self.gpus[user] += gpus

    def asof(self, user: int, mark: int) -> float:
        return self._until(user, mark) if self.at[user] <= mark else self.kept[user]

    def _until(self, user: int, t: int) -> float:
        x = (self.at[user] - t) / self.scale
        before = self.value[user] * exp(x)
        # expm1: a long half-life is nearly 1 - 1
        return before - self.gpus[user] * expm1(x) * self.scale if self.gpus[user] else before


class Priorities:
    """Of jobs that wait, as of their last calculation."""

    def __init__(self, jobs: Jobs, gpus: int, people: Sequence[Person], rules: Multifactor) -> None:
        self.jobs, self.gpus, self.people, self.rules = jobs, gpus, people, rules
        self.known = sorted(set(people))
        number = {person: place for place, person in enumerate(self.known)}
        self.owner = [number[person] for person in people]
        self.usage = _Usage(len(self.known), rules)
        self.factors: dict[Person, float] = {}
        self.priority = [0] * len(people)
        self.calculated = -1

    def hold(self, job: int, t: int, gpus: int) -> None:
        """From t on whose job it is runs on so many GPUs more."""
        self.usage.change(self.owner[job], t, gpus)

    def next(self, t: int) -> int:
        """When all that wait are calculated next."""
        return t - t % self.rules.every_s + self.rules.every_s

    def renew(self, t: int, queue: Sequence[int]) -> bool:
        """All that wait, if that is due; whether it was."""
        if (mark := t - t % self.rules.every_s) <= self.calculated:
            return False
        self.calculated = mark
        if self.rules.fairshare:
            usage = {who: self.usage.asof(place, mark) for place, who in enumerate(self.known)}
            self.factors = fair_tree(usage, self.rules.shares)
        for job in queue:
            self.weigh(job, t)
        return True

    def weigh(self, job: int, t: int) -> None:
        rules = self.rules
        age = min(1.0, (t - self.jobs.submit[job]) / rules.max_age_s)
        size = self.jobs.need[job] / self.gpus
        size = 1 - size if rules.favor_small else size
        share = self.factors[self.people[job]] if rules.fairshare else 0
        worth = rules.age * age + rules.fairshare * share + rules.size * size
        self.priority[job] = max(1, int(worth))

    def order(self, job: int) -> tuple[int, int]:
        return -self.priority[job], job


def fairshare(jobs: Jobs, machine: Machine, people: Sequence[Person], rules: Multifactor) -> list[int]:
    """The start of each job, on a pool; `people` says whose each is."""
    submit, run, need, limit = jobs
    starts = [0] * len(submit)
    priorities = Priorities(jobs, machine.gpus, people, rules)
    live: list[tuple[int, int]] = []
    due: list[tuple[int, int]] = []
    queue: list[int] = []
    free, following, count, t = machine.gpus, 0, len(submit), 0

    def go(job: int) -> None:
        nonlocal free
        starts[job], free = t, free - need[job]
        priorities.hold(job, t, need[job])
        heappush(live, (t + run[job], job))
        insort(due, (t + limit[job], job))

    while following < count or queue:
        t = min(
            live[0][0] if live else NEVER,
            submit[following] if following < count else NEVER,
            priorities.next(t) if queue else NEVER,
        )
        before = list(queue)
        ended = bool(live) and live[0][0] <= t
        while live and live[0][0] <= t:
            job = heappop(live)[1]
            free += need[job]
            priorities.hold(job, t, -need[job])
            del due[bisect_left(due, (starts[job] + limit[job], job))]
        arrived = []
        while following < count and submit[following] <= t:
            arrived.append(following)
            following += 1
        if not queue and sum(need[job] for job in arrived) <= free:
            for job in arrived:
                go(job)
            continue
        priorities.renew(t, queue)
        for job in arrived:
            priorities.weigh(job, t)
        queue = sorted([*queue, *arrived], key=priorities.order)
        if not ended and queue == before:
            continue
        first = 0
        while first < len(queue) and need[queue[first]] <= free:
            go(queue[first])
            first += 1
        del queue[:first]
        if not (queue and free and rules.backfill):
            continue
        shadow, extra = reservation(need[queue[0]], free, due, need)
        stay = queue[:1]
        for job in queue[1:]:
            if need[job] <= free and (need[job] <= extra or t + limit[job] <= shadow):
                extra -= need[job] if t + limit[job] > shadow else 0
                go(job)
            else:
                stay.append(job)
        queue = stay
    return starts
