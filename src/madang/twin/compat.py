"""Other simulators' rules, exactly: to check ours against what they published, never to forecast.

Batsim 4.1.0 with batsched 1.4.0 (`easy_bf_fast`); HeliosArtifact (SC'21: FIFO and SJF, "consolidate"); RLScheduler
(SC'20). Where they differ from the textbook, their way is taken.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from math import fsum, log10

from madang.twin import plain
from madang.twin.cluster import Machine
from madang.twin.errors import BadInput
from madang.twin.measure import BOUND_S
from madang.twin.trace import Trace

WINDOW = 1024  # jobs of one of RLScheduler's windows
WINDOWS = (1981, 2756, 4299, 8850, 3316, 2714, 5228, 7762, 4022, 7085)  # where they begin, counted from 0
RULES = {
    "batsim-easy-bf-fast": "Batsim's easy_bf_fast: the head's time is computed once and then frozen, on a pool",
    "helios-fifo": "Helios's FIFO with consolidated placement on nodes",
    "helios-sjf": "Helios's SJF by true run time, likewise",
    "rlscheduler": "RLScheduler's loop over windows of 1,024 jobs, on a pool: --score, --backfill, --windows",
}


def run(trace: Trace, machine: Machine, rule: str) -> list[int]:
    """The start of each job by a rule of `RULES`, but for the last: it has windows. Raises BadInput."""
    if rule == "batsim-easy-bf-fast":
        if machine.nodes_of:
            raise BadInput("batsim-easy-bf-fast is a rule for a pool: leave --nodes-of out")
        return easy_bf_fast(_jobs(trace), machine.gpus)
    if rule in ("helios-fifo", "helios-sjf"):
        machine = replace(machine, nodes_of=machine.nodes_of or 8, place="pack", rest="most free")
        jobs = _jobs(trace)
        return plain.first_come(jobs, machine) if rule == "helios-fifo" else plain.by_key(jobs, machine, jobs.run)
    raise BadInput(f"no rule is called {rule!r}: {', '.join(RULES)}")


def _jobs(trace: Trace) -> plain.Jobs:
    return plain.Jobs(list(trace.submit), list(trace.run), list(trace.gpus), list(trace.limit))


def easy_bf_fast(jobs: plain.Jobs, capacity: int) -> list[int]:
    """Batsim's: no rule of what the head leaves over, and a shadow time that is frozen when a job becomes the head."""
    submit, run, need, limit = jobs
    starts = [0] * len(submit)
    live: list[tuple[int, int]] = []
    due: list[tuple[int, int]] = []
    waiting: list[int] = []
    free, following, count = capacity, 0, len(submit)
    head, shadow = -1, 0

    def go(job: int) -> None:
        nonlocal free
        starts[job], free = t, free - need[job]
        heappush(live, (t + run[job], job))
        insort(due, (t + limit[job], job))

    def becomes_head(job: int) -> None:
        nonlocal head, shadow
        head, known = job, free
        for at, other in due:
            known += need[other]
            if known >= need[job]:
                shadow = at
                return

    while following < count or live:
        t = min(live[0][0] if live else plain.NEVER, submit[following] if following < count else plain.NEVER)
        ended = bool(live) and live[0][0] <= t
        while live and live[0][0] <= t:
            job = heappop(live)[1]
            free += need[job]
            del due[bisect_left(due, (starts[job] + limit[job], job))]
        if ended and head >= 0:
            if need[head] <= free:
                go(head)
                head = -1
                while waiting:
                    job = waiting.pop(0)
                    if need[job] > free:
                        becomes_head(job)
                        break
                    go(job)
            rest, waiting = waiting, []
            for job in rest:
                if need[job] <= free and t + limit[job] <= shadow:
                    go(job)
                else:
                    waiting.append(job)
        while following < count and submit[following] <= t:
            job, following = following, following + 1
            if need[job] <= free and (head < 0 or t + limit[job] <= shadow):
                go(job)
            elif head < 0:
                becomes_head(job)
            else:
                waiting.append(job)
    return starts


# --- RLScheduler --------------------------------------------------------------------------------------------------

SCORES: dict[str, Callable[[int, int, int], float]] = {  # of (submit, limit, size): the smallest is next
    "fcfs": lambda submit, limit, size: submit,
    "sjf": lambda submit, limit, size: limit,
    "f1": lambda submit, limit, size: log10(limit or 0.1) * size + 870 * log10(submit or 0.1),
}


@dataclass(frozen=True)
class Windows:
    """`starts[i]` is of job `jobs[i]` of the trace; `cell` the mean over windows of the mean bounded slowdown."""

    jobs: Sequence[int]
    starts: Sequence[int]
    cell: float


def rlscheduler(
    trace: Trace, capacity: int, score: str, *, backfill: bool, windows: Sequence[int] = WINDOWS
) -> Windows:
    """A cell of RLScheduler's table. Raises BadInput where a window isn't in the trace."""
    if score not in SCORES:
        raise BadInput(f"no score is called {score!r}: {', '.join(SCORES)}")
    if wrong := [begin for begin in windows if not 0 <= begin <= len(trace) - WINDOW]:
        raise BadInput(f"window {wrong[0]}: a window is {WINDOW:,} jobs, and the trace has {len(trace):,}")
    jobs = _jobs(trace)
    every: list[int] = []
    starts: list[int] = []
    cells: list[float] = []
    for begin in windows:
        found = _window(jobs, begin, capacity, SCORES[score], backfill)
        chosen = range(begin, begin + WINDOW)
        slow = (
            max(1.0, (found[job] - jobs.submit[job] + jobs.run[job]) / max(jobs.run[job], BOUND_S)) for job in chosen
        )
        cells.append(fsum(slow) / WINDOW)
        every += chosen
        starts += [found[job] for job in chosen]
    return Windows(every, starts, fsum(cells) / len(cells))


def _window(
    jobs: plain.Jobs, begin: int, capacity: int, score: Callable[[int, int, int], float], backfill: bool
) -> dict[int, int]:
    """Its loop: choose, then advance one event at a time until the chosen one fits; what arrived meanwhile waits."""
    submit, run, need, limit = jobs
    free, t, following, last = capacity, submit[begin], begin + 1, begin + WINDOW
    queue = [begin]
    live: list[tuple[int, int, int]] = []  # (end, in the order of starts, job)
    starts: dict[int, int] = {}

    def go(job: int) -> None:
        nonlocal free
        queue.remove(job)
        free -= need[job]
        heappush(live, (t + run[job], len(starts), job))
        starts[job] = t

    def advance() -> None:
        nonlocal free, t, following
        if following < last and (not live or submit[following] <= live[0][0]):
            t = max(t, submit[following])
            queue.append(following)
            following += 1
        else:
            end, _order, job = heappop(live)
            t = max(t, end)
            free += need[job]

    while len(starts) < WINDOW:
        while not queue:
            advance()
        chosen = min(queue, key=lambda job: (score(submit[job], limit[job], need[job]), job))
        if need[chosen] > free and backfill:
            known, shadow = free, 0
            for at, order in sorted((starts[job] + limit[job], order) for _end, order, job in live):
                known += need[next(job for _end, its, job in live if its == order)]
                if known >= need[chosen]:
                    shadow = at
                    break
            while need[chosen] > free:
                for job in sorted(queue):
                    if job != chosen and need[job] <= free and t + limit[job] < shadow:
                        go(job)
                advance()
        while need[chosen] > free:
            advance()
        go(chosen)
    return starts
