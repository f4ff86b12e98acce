"""Nodes with what befalls a site: types, leaves, deliveries, maintenance, failures, grants, people who give up.

First come, first served, or EASY on nodes, as in `plain`. Beyond that, and in this order at one instant: ends; nodes
that come (back); nodes that go; grants that end; people who give up; arrivals; then one pass over each part's queue.

- A *part* has nodes of one type and a queue of its own.
- Nodes are *down* from an instant until another. What still runs there is stopped. Where it was announced (maintenance,
  a removal), no job starts that could run into it by its limit, and the head of the queue counts on their return; of
  the rest (failures, and deliveries, which are nodes that are down until they come) nobody knows beforehand.
- A stopped job waits again, with its first arrival. It does again what it did since its last checkpoint, and its next
  start takes `restart_s` more.
- Nodes may stand on *leaves*, so many on each. A job of more than a node takes the leaf with the fewest empty nodes
  that suffices; until it has waited for `switch_wait_s` it takes no other place. Then as few leaves as possible, the
  emptiest first; it runs longer there by `across_percent`, and so does its limit.
- A job of a *grant* is refused outside its days, above its sizes, and without balance for GPUs × limit, which are held
  until it ends; cancelled if it waits when the grant ends; and passed over while the grant runs on as many GPUs as it
  may: it has no reservation then, and holds nobody up.
- Who gives up leaves the queue before a first start, and may come back as a new arrival.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import ceil
from random import Random
from typing import Literal, NamedTuple

from madang.twin.cluster import Machine, Nodes, Placement, Rule, suffices
from madang.twin.errors import BadInput
from madang.twin.plain import NEVER, Jobs, Later
from madang.twin.tiers import Stretch, Work

Fate = Literal["done", "refused", "cancelled", "gave up", "waiting"]
END, COME_BACK, GO_DOWN, GRANT_ENDS, GIVE_UP, ARRIVE, LOOK = range(7)
HOUR_S = 3600


@dataclass(frozen=True)
class Part:
    """Nodes of one type. `leaf`: how many stand on one; 0 is all of them."""

    nodes: int
    nodes_of: int = 8
    place: Rule = "pack"
    leaf: int = 0
    switch_wait_s: int = 300
    across_percent: int = 0

    def __post_init__(self) -> None:
        if self.nodes < 1 or self.nodes_of < 1:
            raise BadInput("a part has at least one node, of at least one GPU")
        if min(self.leaf, self.switch_wait_s, self.across_percent) < 0:
            raise BadInput("the nodes of a leaf, the wait for one and what crossing leaves costs are 0 or more")

    @property
    def gpus(self) -> int:
        return self.nodes * self.nodes_of


class Down(NamedTuple):
    """So many `nodes` of a part, from `first` on, are down in [begin, end)."""

    part: int
    first: int
    nodes: int
    begin: int
    end: int = NEVER
    announced: bool = False


@dataclass(frozen=True)
class Grant:
    """Days [begin, end), seconds from the first submit; what it may use, and how much of it at once."""

    begin: int = 0
    end: int = NEVER
    gpu_seconds: int | None = None
    gpus_at_once: int | None = None
    longest_s: int | None = None
    largest: int | None = None

    def takes(self, t: int, need: int, limit: int, left: int) -> bool:
        return (
            self.begin <= t < self.end
            and (self.longest_s is None or limit <= self.longest_s)
            and need <= min(NEVER if most is None else most for most in (self.largest, self.gpus_at_once))
            and (self.gpu_seconds is None or need * limit <= left)
        )


@dataclass(frozen=True)
class Failures:
    """A node fails after an exponential time and is repaired after a lognormal one, in hours."""

    node_hours: float
    repair_hours: float
    repair_sigma: float = 0.0
    source: str = ""

    def __post_init__(self) -> None:
        if self.node_hours <= 0 or self.repair_hours <= 0 or self.repair_sigma < 0:
            raise BadInput("failures need the hours between those of a node and the median hours of a repair, above 0")

    def draw(self, parts: Sequence[Part], until: int, seed: int) -> list[Down]:
        """Those that begin before `until`, the same for the same seed."""
        found = []
        for number, part in enumerate(parts):
            for node in range(part.nodes):
                random = Random(f"failures {seed} {number} {node}")  # noqa: S311
                t = 0.0
                while (t := t + random.expovariate(1 / (self.node_hours * HOUR_S))) < until:
                    repair = random.lognormvariate(0, self.repair_sigma) * self.repair_hours * HOUR_S
                    found.append(Down(number, node, 1, int(t), int(t) + max(1, round(repair))))
                    t += repair
        return sorted(found, key=lambda down: (down.begin, down.part, down.first))


@dataclass(frozen=True)
class Patience:
    """Who waits longer than a lognormal time gives up; a part of them comes back after `after_hours`."""

    median_hours: float
    sigma: float = 1.0
    again: float = 0.0
    after_hours: float = 1.0
    source: str = ""

    def __post_init__(self) -> None:
        if self.median_hours <= 0 or self.sigma < 0 or not 0 <= self.again < 1 or self.after_hours < 0:
            raise BadInput("patience needs its median hours, above 0; of those who give up less than all come again")

    def drawn(self, seed: int) -> Answers:
        def answer(job: int, attempt: int) -> tuple[int, int]:
            random = Random(f"patience {seed} {job} {attempt}")  # noqa: S311
            patience = random.lognormvariate(0, self.sigma) * self.median_hours * HOUR_S
            return max(1, ceil(patience)), round(self.after_hours * HOUR_S) if random.random() < self.again else -1

        return answer


# Of a job and its attempt: how long it waits, and after how long it comes again (-1: never).
Answers = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True)
class World:
    """`by` is the column of a trace that says the part of a job, `grants_by` that of its grant; who names none that is
    known is in the first part, and has no grant.
    """

    parts: Mapping[str, Part]
    by: str = "gpu_type"
    downs: tuple[Down, ...] = ()
    grants: Mapping[str, Grant] = field(default_factory=dict)
    grants_by: str = "account"
    failures: Failures | None = None
    patience: Patience | None = None
    checkpoint_s: int = 0
    restart_s: int = 0

    def __post_init__(self) -> None:
        if not self.parts:
            raise BadInput("a site has at least one part")
        if min(self.checkpoint_s, self.restart_s) < 0:
            raise BadInput("checkpoints and restarts take 0 s or more")
        sizes = [part.nodes for part in self.parts.values()]
        for down in self.downs:
            if not (down.first >= 0 and down.nodes > 0 and down.first + down.nodes <= sizes[down.part]):
                raise BadInput(
                    f"nodes {down.first} to {down.first + down.nodes - 1} are not in a part of {sizes[down.part]}"
                )
            if not 0 <= down.begin < down.end:
                raise BadInput("nodes are down from 0 s on, and until later than that")

    @property
    def gpus(self) -> int:
        return sum(part.gpus for part in self.parts.values())

    def happens(self, last: int, seed: int) -> World:
        """With the failures until a month after the last submit, and twice as long as the trace at least."""
        if self.failures is None:
            return self
        drawn = self.failures.draw(list(self.parts.values()), max(2 * last, last + 30 * 24 * HOUR_S), seed)
        return World(**{**vars(self), "downs": (*self.downs, *drawn)})


@dataclass(frozen=True)
class Lives:
    """What became of each job, when its last attempt arrived and which that was, and all stretches on GPUs."""

    fate: list[Fate]
    arrived: list[int]
    attempt: list[int]
    stretches: list[Stretch]


def live(
    jobs: Jobs, world: World, part: Sequence[int], grant: Sequence[int], answers: Answers | None, backfill: bool
) -> Lives:
    """Run the jobs: `part[j]` is the number of job j's part, `grant[j]` that of its grant, -1 for none."""
    return _Life(jobs, world, part, grant, answers, backfill).run()


class _Room(Nodes):
    """The free GPUs of a part's nodes. A node that is down has all of them free, and is on no level."""

    def __init__(self, part: Part, planned: Mapping[int, list[tuple[int, int]]]) -> None:
        super().__init__(Machine(part.gpus, part.nodes_of, part.place))
        self.leaf, self.planned = part.leaf, planned
        self.threats = sorted({begin for spans in planned.values() for begin, _end in spans})
        self.down = [0] * part.nodes
        self.lost = [0] * part.nodes  # of these, unannounced

    def usable(self, node: int, begin: int, end: int) -> bool:
        """Whether a node will be there in [begin, end), as far as anybody knows."""
        return not self.lost[node] and all(upto <= begin or since >= end for since, upto in self.planned.get(node, ()))

    def find_until(self, gpus: int, t: int, end: int, one_leaf: bool) -> Placement | None:
        """Where a job that may last until `end` would go now."""
        level, place = self.level, bisect_left(self.threats, t)
        if place < len(self.threats) and self.threats[place] < end:
            level = [[node for node in nodes if self.usable(node, t, end)] for nodes in level]
        if not self.leaf or gpus <= self.each:
            return self.find_in(level, gpus)
        return self._on_leaves(level, gpus, one_leaf)

    def _on_leaves(self, level: list[list[int]], gpus: int, one: bool) -> Placement | None:
        whole, rest = divmod(gpus, self.each)
        empty: dict[int, list[int]] = {}
        for node in level[self.each]:
            empty.setdefault(node // self.leaf, []).append(node)
        if one:
            for leaf in sorted(empty, key=lambda leaf: (len(empty[leaf]), leaf)):
                if len(empty[leaf]) >= whole and (placed := self._with_rest(level, empty[leaf][:whole], rest, {leaf})):
                    return placed
            return None
        nodes: list[int] = []
        for leaf in sorted(empty, key=lambda leaf: (-len(empty[leaf]), leaf)):
            nodes += empty[leaf][: whole - len(nodes)]
        if len(nodes) < whole:
            return None
        own = {node // self.leaf for node in nodes}
        return self._with_rest(level, nodes, rest, own) or self._with_rest(level, nodes, rest, None)

    def _with_rest(
        self, level: list[list[int]], nodes: list[int], rest: int, leaves: set[int] | None
    ) -> Placement | None:
        placed = tuple((node, self.each) for node in nodes)
        if not rest:
            return placed
        for free in range(rest, self.each + 1):
            for node in level[free]:
                if node not in nodes and (leaves is None or node // self.leaf in leaves):
                    return (*placed, (node, rest))
        return None

    def crosses(self, placed: Placement) -> bool:
        return bool(self.leaf) and len({node // self.leaf for node, _gpus in placed}) > 1

    def goes(self, node: int, announced: bool) -> None:
        self.lost[node] += not announced
        self.down[node] += 1
        if self.down[node] == 1:
            level = self.level[self.each]
            del level[bisect_left(level, node)]

    def comes(self, node: int, announced: bool) -> None:
        self.lost[node] -= not announced
        self.down[node] -= 1
        if not self.down[node]:
            insort(self.level[self.each], node)

    def expects(self, t: int) -> bool:
        """Whether any node is announced to go or to come back."""
        return any(end > t for spans in self.planned.values() for _begin, end in spans)


class _Announced(Later):
    """As Later, with nodes that will go and come back: the head needs them for as long as its limit."""

    def __init__(self, room: _Room, due: list[tuple[int, int, Placement]], wanted: int, t: int, limit: int) -> None:
        self.t, self.limit = t, limit
        super().__init__(room, due, wanted)

    def look(self, due: list[tuple[int, int, Placement]]) -> None:
        room = self.room
        assert isinstance(room, _Room)
        back = {end for spans in room.planned.values() for _begin, end in spans if self.t < end < NEVER}
        gone = 0
        for at in sorted(back.union(at for at, _job, _placed in due)):
            while gone < len(due) and due[gone][0] <= at:
                for node, gpus in due[gone][2]:
                    self.free[node] = self.free.get(node, room.free[node]) + gpus
                gone += 1
            self.out = {node for node in range(len(room.free)) if not room.usable(node, at, at + self.limit)}
            self.count = [0] * (room.each + 1)
            for node, free in enumerate(room.free):
                if node not in self.out:
                    self.count[self.free.get(node, free)] += 1
            if suffices(self.count, self.wanted):
                self.at = at
                return


class _Life:
    def __init__(
        self,
        jobs: Jobs,
        world: World,
        part: Sequence[int],
        grant: Sequence[int],
        answers: Answers | None,
        backfill: bool,
    ) -> None:
        count = len(jobs.submit)
        self.jobs, self.world, self.part, self.grant, self.answers = jobs, world, part, grant, answers
        self.backfill = backfill
        self.parts, self.grants = list(world.parts.values()), list(world.grants.values())
        self.rooms = []
        for number, its in enumerate(self.parts):
            planned: dict[int, list[tuple[int, int]]] = {}
            for down in world.downs:
                if down.part == number and down.announced:
                    for node in range(down.first, down.first + down.nodes):
                        planned.setdefault(node, []).append((down.begin, down.end))
            self.rooms.append(_Room(its, planned))
        self.queues: list[list[int]] = [[] for _ in self.parts]
        self.due: list[list[tuple[int, int, Placement]]] = [[] for _ in self.parts]
        self.on: list[dict[int, Placement]] = [{} for _ in self.parts]  # what runs, and where
        self.work = Work(count, world.checkpoint_s, world.restart_s)
        self.fate: list[Fate] = ["waiting"] * count
        self.arrived, self.attempt = list(jobs.submit), [0] * count
        self.begun, self.ends, self.percent = [-1] * count, [0] * count, [0] * count
        self.left = [its.gpu_seconds or 0 for its in self.grants]
        self.at_once = [0] * len(self.grants)
        self.stretches: list[Stretch] = []
        self.t = 0
        self.events: list[tuple[int, int, int, int]] = [(at, ARRIVE, job, 0) for job, at in enumerate(jobs.submit)]
        for number, down in enumerate(world.downs):
            self.events.append((down.begin, GO_DOWN, number, 0))
            if down.end < NEVER:
                self.events.append((down.end, COME_BACK, number, 0))
        self.events += [(its.end, GRANT_ENDS, number, 0) for number, its in enumerate(self.grants) if its.end < NEVER]
        heapify(self.events)

    def run(self) -> Lives:
        happens = (
            self.end,
            self.come_back,
            self.go_down,
            self.grant_ends,
            self.give_up,
            self.arrive,
            lambda _number, _token: None,
        )
        events = self.events
        while events:
            self.t = events[0][0]
            while events and events[0][0] == self.t:
                _t, kind, number, token = heappop(events)
                happens[kind](number, token)
            for number in range(len(self.parts)):
                if self.queues[number]:
                    self.passes(number)
        return Lives(self.fate, self.arrived, self.attempt, self.stretches)

    # what happens

    def end(self, job: int, begun: int) -> None:
        if self.begun[job] == begun:  # else it was stopped meanwhile
            self.leave(job, stopped=False)
            self.over(job, "done", self.jobs.need[job] * self.jobs.run[job])

    def come_back(self, number: int, _token: int) -> None:
        down = self.world.downs[number]
        for node in range(down.first, down.first + down.nodes):
            self.rooms[down.part].comes(node, down.announced)

    def go_down(self, number: int, _token: int) -> None:
        down = self.world.downs[number]
        nodes = range(down.first, down.first + down.nodes)
        there = [job for job, placed in self.on[down.part].items() if any(node in nodes for node, _gpus in placed)]
        for job in sorted(there):
            self.leave(job, stopped=True)
            extra = self.work.extra_s[job]
            worked = max(0, self.t - self.begun[job] - extra) * 100 // (100 + self.percent[job])
            self.work.stop(job, extra + worked)
            self.begun[job] = -2
            if self.grant[job] >= 0 and self.t >= self.grants[self.grant[job]].end:
                self.over(job, "cancelled")
            else:
                insort(self.queues[down.part], job, key=self.order)
        for node in nodes:
            self.rooms[down.part].goes(node, down.announced)

    def grant_ends(self, number: int, _token: int) -> None:
        for queue in self.queues:
            for job in [job for job in queue if self.grant[job] == number]:
                queue.remove(job)
                self.over(job, "cancelled")

    def give_up(self, job: int, _token: int) -> None:
        queue = self.queues[self.part[job]]
        if self.begun[job] != -1 or job not in queue:
            return
        queue.remove(job)
        assert self.answers
        _patience, after = self.answers(job, self.attempt[job])
        self.over(job, "gave up")
        if after >= 0:
            self.attempt[job] += 1
            heappush(self.events, (self.t + after, ARRIVE, job, 0))

    def arrive(self, job: int, _token: int) -> None:
        need, limit, number = self.jobs.need[job], self.jobs.limit[job], self.grant[job]
        self.arrived[job], self.fate[job] = self.t, "waiting"
        if need > self.parts[self.part[job]].gpus:
            self.fate[job] = "refused"
            return
        if number >= 0:
            if not self.grants[number].takes(self.t, need, limit, self.left[number]):
                self.fate[job] = "refused"
                return
            self.left[number] -= need * limit
        insort(self.queues[self.part[job]], job, key=self.order)
        its = self.parts[self.part[job]]
        if its.leaf and need > its.nodes_of:
            heappush(self.events, (self.t + its.switch_wait_s, LOOK, job, 0))
        if self.answers:
            heappush(self.events, (self.t + self.answers(job, self.attempt[job])[0], GIVE_UP, job, 0))

    def order(self, job: int) -> tuple[int, int]:
        return self.arrived[job], job

    def over(self, job: int, fate: Fate, used: int = 0) -> None:
        self.fate[job] = fate
        if (number := self.grant[job]) >= 0:
            self.left[number] += self.jobs.need[job] * self.jobs.limit[job] - used

    # what a pass does

    def passes(self, number: int) -> None:
        room, stay, later = self.rooms[number], [], None
        queue = self.queues[number]
        for place, job in enumerate(queue):
            if self.passed_over(job):
                stay.append(job)
                continue
            found = self.find(job)
            if later is None and found is None:
                stay.append(job)
                if not self.backfill:
                    stay += queue[place + 1 :]
                    break
                need, due = self.jobs.need[job], self.due[number]
                limit = self.longer(job, 0)[1]
                later = _Announced(room, due, need, self.t, limit) if room.expects(self.t) else Later(room, due, need)
            elif found and (later is None or later.admits(found, in_time=self.t + self.takes(job, found) <= later.at)):
                self.go(job, found)
            else:
                stay.append(job)
        self.queues[number] = stay

    def passed_over(self, job: int) -> bool:
        if (number := self.grant[job]) < 0 or (most := self.grants[number].gpus_at_once) is None:
            return False
        return self.at_once[number] + self.jobs.need[job] > most

    def find(self, job: int) -> Placement | None:
        number, need = self.part[job], self.jobs.need[job]
        room, its = self.rooms[number], self.parts[number]
        placed = room.find_until(need, self.t, self.t + self.longer(job, 0)[1], one_leaf=True)
        if placed or not its.leaf or need <= its.nodes_of or self.t < self.arrived[job] + its.switch_wait_s:
            return placed
        return room.find_until(need, self.t, self.t + self.longer(job, its.across_percent)[1], one_leaf=False)

    def longer(self, job: int, percent: int) -> tuple[int, int]:
        """(what it runs, its limit), where work takes so much longer."""
        more, saved = self.work.extra_s[job], self.work.saved[job]
        run, limit = self.jobs.run[job] - saved, self.jobs.limit[job] - saved
        return -(-run * (100 + percent) // 100) + more, -(-limit * (100 + percent) // 100) + more

    def slower(self, job: int, placed: Placement) -> int:
        number = self.part[job]
        return self.parts[number].across_percent if self.rooms[number].crosses(placed) else 0

    def takes(self, job: int, placed: Placement) -> int:
        return self.longer(job, self.slower(job, placed))[1]

    def go(self, job: int, placed: Placement) -> None:
        number = self.part[job]
        self.percent[job] = self.slower(job, placed)
        run, limit = self.longer(job, self.percent[job])
        self.rooms[number].occupy(placed)
        self.on[number][job] = placed
        self.begun[job], self.ends[job] = self.t, self.t + limit
        insort(self.due[number], (self.t + limit, job, placed))
        heappush(self.events, (self.t + run, END, job, self.t))
        if self.grant[job] >= 0:
            self.at_once[self.grant[job]] += self.jobs.need[job]

    def leave(self, job: int, stopped: bool) -> None:
        number = self.part[job]
        placed, due = self.on[number].pop(job), self.due[number]
        del due[bisect_left(due, (self.ends[job], job))]
        self.rooms[number].give(placed)
        self.stretches.append(Stretch(job, self.begun[job], self.t, stopped))
        if self.grant[job] >= 0:
            self.at_once[self.grant[job]] -= self.jobs.need[job]
