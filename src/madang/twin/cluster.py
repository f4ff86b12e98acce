"""What jobs run on: a pool of identical GPUs, or nodes of some GPUs each with a rule that places a job on them."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import Literal, get_args

from madang.twin.errors import BadInput

Rule = Literal["pack", "spread"]
Rest = Literal["pack", "most free"]
MOST_GPUS, MOST_NODES, MOST_A_NODE = 1 << 31, 10_000_000, 1024
Placement = tuple[tuple[int, int], ...]  # (node, GPUs on it)


@dataclass(frozen=True)
class Machine:
    """`gpus` in all: one pool where `nodes_of` is 0, else nodes of `nodes_of` GPUs, numbered from 0.

    A pool may grow: `deliveries` are (seconds from the first submit, GPUs), in order. Nobody counts on one before it is
    there.

    `place` says which node a job of at most one node gets: *pack* the one with the fewest free GPUs that suffices,
    *spread* the most; then the lowest number. A larger job gets empty nodes, lowest first, and what is left of it goes
    on one more by *pack* (`rest`; other simulators take the one with the *most free*). All or nothing.
    """

    gpus: int
    nodes_of: int = 0
    place: Rule = "pack"
    rest: Rest = "pack"
    deliveries: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.gpus < 1:
            raise BadInput(f"a machine of {self.gpus} GPUs can run nothing")
        if self.gpus > MOST_GPUS or self.nodes_of > MOST_A_NODE or self.nodes > MOST_NODES:
            raise BadInput(
                f"a machine has at most {MOST_GPUS:,} GPUs, on {MOST_NODES:,} nodes of {MOST_A_NODE:,}:"
                f" {self.gpus:,} are too many" + f" on nodes of {self.nodes_of:,}" * bool(self.nodes_of)
            )
        if self.place not in get_args(Rule) or self.rest not in get_args(Rest):
            raise BadInput(f"a job is placed by {' or '.join(get_args(Rule))}, and not by {self.place!r}")
        if self.nodes_of < 0:
            raise BadInput(f"nodes of {self.nodes_of} GPUs: at least 1")
        if self.deliveries and self.nodes_of:
            raise BadInput("a machine that grows is a pool: leave the nodes out")
        if any(gpus < 1 for _t, gpus in self.deliveries) or list(self.deliveries) != sorted(self.deliveries):
            raise BadInput("deliveries come in the order of their times, each of at least 1 GPU")
        if self.nodes_of and self.gpus % self.nodes_of:
            below = self.gpus - self.gpus % self.nodes_of
            raise BadInput(
                f"{self.gpus:,} GPUs are no whole number of nodes of {self.nodes_of}:"
                + f" {below:,} or" * bool(below)
                + f" {below + self.nodes_of:,} are"
            )

    @property
    def nodes(self) -> int:
        return self.gpus // self.nodes_of if self.nodes_of else 0

    @property
    def most(self) -> int:
        """GPUs after the last delivery."""
        return self.gpus + sum(gpus for _t, gpus in self.deliveries)

    def __str__(self) -> str:
        if not self.nodes_of:
            return f"a pool of {self.gpus:,} GPU{'s' * (self.gpus > 1)}" + f", {self.most:,} in the end" * bool(
                self.deliveries
            )
        return f"{self.nodes:,} node{'s' * (self.nodes > 1)} of {self.nodes_of} GPUs, {self.place}"


class Pool:
    """The free GPUs of a pool."""

    def __init__(self, machine: Machine) -> None:
        self.free = machine.gpus

    def take(self, gpus: int) -> int | None:
        """What `give` needs to take it back, or None where there is no room."""
        if gpus > self.free:
            return None
        self.free -= gpus
        return gpus

    def give(self, placement: int) -> None:
        self.free += placement


class Nodes:
    """The free GPUs of each node; `level[f]` lists the nodes with exactly f free, lowest first."""

    def __init__(self, machine: Machine) -> None:
        self.each, self.spread, self.most_free = (
            machine.nodes_of,
            machine.place == "spread",
            machine.rest == "most free",
        )
        self.free = [self.each] * machine.nodes
        self.level: list[list[int]] = [[] for _ in range(self.each + 1)]
        self.level[self.each] = list(range(machine.nodes))

    def find(self, gpus: int) -> Placement | None:
        """Where a job of `gpus` would go now, or None."""
        return self.find_in(self.level, gpus)

    def find_in(self, level: list[list[int]], gpus: int) -> Placement | None:
        """Where a job would go if the nodes of `level` were all."""
        each = self.each
        if gpus <= each:
            for free in range(each, gpus - 1, -1) if self.spread else range(gpus, each + 1):
                if level[free]:
                    return ((level[free][0], gpus),)
            return None
        whole, rest = divmod(gpus, each)
        empty = level[each]
        if len(empty) < whole:
            return None
        found = tuple((node, each) for node in empty[:whole])
        if not rest:
            return found
        if len(empty) > whole and self.most_free:
            return (*found, (empty[whole], rest))
        for free in range(each - 1, rest - 1, -1) if self.most_free else range(rest, each):
            if level[free]:
                return (*found, (level[free][0], rest))
        return (*found, (empty[whole], rest)) if len(empty) > whole else None

    def take(self, gpus: int) -> Placement | None:
        found = self.find(gpus)
        if found:
            self.occupy(found)
        return found

    def occupy(self, placement: Placement) -> None:
        for node, gpus in placement:
            self._move(node, self.free[node] - gpus)

    def give(self, placement: Placement) -> None:
        for node, gpus in placement:
            self._move(node, self.free[node] + gpus)

    def _move(self, node: int, free: int) -> None:
        old = self.level[self.free[node]]
        del old[bisect_left(old, node)]
        insort(self.level[free], node)
        self.free[node] = free


def suffices(count: list[int], gpus: int) -> bool:
    """Whether a job of `gpus` can be placed where `count[f]` nodes have f GPUs free (the last entry: empty nodes)."""
    each = len(count) - 1
    if gpus <= each:
        return any(count[gpus:])
    whole, rest = divmod(gpus, each)
    return count[each] > whole or (count[each] == whole and (not rest or any(count[rest:each])))
