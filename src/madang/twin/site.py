"""A trace on a site with all that befalls it: one run for each seed, and what came of it for whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, get_args

from madang.twin.errors import BadInput
from madang.twin.measure import Measures, measure
from madang.twin.plain import Jobs
from madang.twin.tiers import Stretch, first_starts
from madang.twin.trace import Trace
from madang.twin.world import Fate, Lives, World, live

POLICIES = ("fcfs", "easy")
FATES: tuple[Fate, ...] = get_args(Fate)


@dataclass(frozen=True)
class Replay:
    """`starts[i]` is when job i of the trace first held GPUs, -1 where it never did. `measures` are of the jobs that
    were done, None where none was; their waits count from their last arrival. `fates`, and `by` grant, are of all.
    """

    starts: list[int]
    lives: Lives
    measures: Measures | None
    fates: dict[str, int]
    by: dict[str, dict[str, Any]]


def replay(trace: Trace, world: World, policy: str = "easy", seed: int = 0) -> Replay:
    """Run the trace on the site, with failures and patience as the seed draws them. Raises BadInput.

    >>> from madang.twin import from_columns
    >>> from madang.twin.world import Down, Part
    >>> jobs = from_columns(submit=[0, 1], run=[10, 10], gpus=[8, 8], limit=[30, 30])
    >>> found = replay(jobs, World({"h100": Part(nodes=1)}, downs=(Down(0, 0, 1, 5, 20),)))
    >>> found.fates, found.starts, found.measures.stops
    ({'done': 2}, [0, 30], 1)
    """
    if policy not in POLICIES:
        raise BadInput(f"on a site jobs start by fcfs or easy, and not by {policy!r}")
    parts, grants = list(world.parts), list(world.grants)
    nobody = [""] * len(trace)
    kinds, holders = trace.more.get(world.by, nobody), trace.more.get(world.grants_by, nobody)
    for there, column, wanted in ((kinds, world.by, parts[1:]), (holders, world.grants_by, grants)):
        if missing := [name for name in wanted if name not in there]:
            raise BadInput(f"no job of the trace has the {column} {missing[0]!r}")
    happening = world.happens(trace.submit[-1], seed)
    part = [parts.index(name) if name in world.parts else 0 for name in kinds]
    grant = [grants.index(name) if name in world.grants else -1 for name in holders]
    answers = world.patience.drawn(seed) if world.patience else None
    jobs = Jobs(list(trace.submit), list(trace.run), list(trace.gpus), list(trace.limit))
    lives = live(jobs, happening, part, grant, answers, backfill=policy == "easy")
    starts = first_starts(len(trace), lives.stretches)
    return Replay(
        starts,
        lives,
        _measures(trace, happening, lives, starts),
        {fate: count for fate in FATES if (count := lives.fate.count(fate))},
        _by(trace, world, lives, holders) if grants else {},
    )


def _measures(trace: Trace, world: World, lives: Lives, starts: Sequence[int]) -> Measures | None:
    done = [job for job, fate in enumerate(lives.fate) if fate == "done"]
    if not done:
        return None
    done.sort(key=lives.arrived.__getitem__)
    place = {job: number for number, job in enumerate(done)}
    columns: dict[str, Any] = {
        name: [getattr(trace, name)[job] for job in done] for name in ("id", "run", "gpus", "limit", "row")
    }
    wait = [trace.wait[job] for job in done] if trace.wait else ()
    some = Trace(submit=[lives.arrived[job] for job in done], wait=wait, **columns)
    stretches = [
        Stretch(place[stretch.job], *stretch[1:]) for stretch in lives.stretches if lives.fate[stretch.job] == "done"
    ]
    end = max(stretch.end for stretch in stretches)
    gpus = offered(world, some.submit[0], end) / (end - some.submit[0])
    return measure(some, [starts[job] for job in done], gpus, stretches)


def offered(world: World, begin: int, end: int) -> int:
    """GPU-seconds of the nodes that are there, in [begin, end)."""
    total = world.gpus * (end - begin)
    for number, part in enumerate(world.parts.values()):
        spans: dict[int, list[tuple[int, int]]] = {}
        for down in world.downs:
            if down.part == number and down.begin < end and down.end > begin:
                for node in range(down.first, down.first + down.nodes):
                    spans.setdefault(node, []).append((max(down.begin, begin), min(down.end, end)))
        for of in spans.values():
            until = -inf
            for since, upto in sorted(of):
                total -= part.nodes_of * int(max(0, upto - max(since, until)))
                until = max(until, upto)
    return total


def _by(trace: Trace, world: World, lives: Lives, holders: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By grant: what became of its jobs, and what it used of what it has."""
    found = {}
    for name, grant in world.grants.items():
        its = [job for job, holder in enumerate(holders) if holder == name]
        used = sum(trace.run[job] * trace.gpus[job] for job in its if lives.fate[job] == "done")
        fates = Counter(lives.fate[job] for job in its)
        found[name] = {
            "jobs": len(its),
            "fates": {fate: fates[fate] for fate in FATES if fates[fate]},
            "gpu_seconds": used,
            "granted": grant.gpu_seconds,
        }
    return found
