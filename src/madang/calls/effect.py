"""What the awards of a call would do to everybody: how full each GPU type gets and how long jobs wait, as simulated.

Grants and partitions are known to rooms above this one: they say here how to ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from madang.calls.models import Call, CallLine
from madang.calls.when import SEOUL, clock_of
from madang.catalog.models import Kind, Resource
from madang.twin import effect as twin

SHAPE = "helios"
HOUR = 3600  # GPU-seconds in a GPU-hour


@dataclass(frozen=True)
class Promise:
    """What a grant may still use of a resource, in GPU-seconds, from `first` to the day before `end`."""

    resource: int
    amount: int
    first: date
    end: date


Promises = Callable[[Call, Sequence[int]], list[Promise]]
Queues = Callable[[Sequence[int]], dict[int, twin.Queue]]
_promises: list[Promises] = [lambda call, resources: []]
_queues: list[Queues] = [lambda resources: {}]


def ask_about_promises(of: Promises) -> None:
    """`of(call, resource ids)` gives what is promised on the call's days of use, but for the grants of the call itself:
    a fixed number of SQL statements."""
    _promises[0] = of


def ask_about_queues(of: Queues) -> None:
    """`of(resource ids)` gives what jobs run on, by resource, in one SQL statement. Without it a resource is what the
    catalog says: so many GPUs, with EASY backfill."""
    _queues[0] = of


@dataclass(frozen=True)
class OnResource:
    """The effect on one GPU type; `effect` is None where nobody knows how many GPUs there are."""

    resource: Resource
    gpus: int
    begins: date
    ends: date
    effect: twin.Effect | None

    @property
    def week_of_filling(self) -> tuple[int, int, date] | None:
        """(week of the days of use from now on, of so many, its first day) in which more is asked for than there is."""
        if self.effect is None or self.effect.full_on is None:
            return None
        week, days = self.effect.full_on // 7, (self.ends - self.begins).days
        return week + 1, -(-days // 7), self.begins + timedelta(days=7 * week)

    @property
    def sampled_from(self) -> date:
        return self.begins + timedelta(days=self.effect.first if self.effect else 0)


def effects(call: Call, lines: Sequence[CallLine], awarded: Mapping[int, int]) -> list[OnResource] | None:
    """What `awarded` (GPU-seconds by call line) does on each GPU type of the call. `call` comes with its clock.

    Three SQL statements. None where the days of use are over.
    """
    today = clock_of(call).astimezone(SEOUL).date()
    begins, ends = max(call.use.lower, today), call.use.upper
    days = (ends - begins).days
    if days < 1:
        return None
    lines = [line for line in lines if line.resource.kind == Kind.COMPUTE]
    ids = [line.resource_id for line in lines]
    queues = _queues[0](ids) if ids else {}
    granted = {id: [0.0] * days for id in ids}
    for promise in _promises[0](call, ids) if ids else []:
        first = max(promise.first, today)
        for day in range(max(0, (first - begins).days), min(days, (promise.end - begins).days)):
            granted[promise.resource][day] += promise.amount / HOUR / (promise.end - first).days
    found = []
    for line in lines:
        queue, made = _queue(line.resource, queues.get(line.resource_id)), None
        if queue:
            more = awarded.get(line.pk, 0) / HOUR / days
            jobs = twin.JOBS // len(lines)
            made = twin.effect(queue, SHAPE, granted[line.resource_id], more, weekday=begins.weekday(), jobs=jobs)
        found.append(OnResource(line.resource, queue.gpus if queue else 0, begins, ends, made))
    return found


def _queue(resource: Resource, told: twin.Queue | None) -> twin.Queue | None:
    """What the catalog offers in an hour counts, as it does for the call; a partition says how its jobs are run."""
    gpus = (resource.capacity_per_hour or 0) // HOUR or (told.gpus if told else 0)
    if not gpus:
        return None
    return twin.Queue(gpus, told.policy, told.most_gpus, told.longest_s) if told else twin.Queue(gpus)
