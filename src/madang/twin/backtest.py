"""Whether expected starts could be trusted: what would have been said of jobs that waited, beside when they started.

At the submission of each, what ran and waited then is taken from the records, and nothing that came later is looked at.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from madang.twin.expect import Live, expect

PAST = 1000  # of the latest ends before a submission, what share of its limit each took
CLOSE_S = 60  # a start is looked at by the minute, as people read it
SHARE = (0.7, 0.9)  # of the starts that a band of eight in ten should hold


@dataclass(frozen=True, order=True)
class Stint:
    """One run as it was recorded, in seconds on one clock."""

    submit: int
    start: int
    end: int
    gpus: int
    limit: int


@dataclass(frozen=True)
class Held:
    """Of jobs that had to wait: how many started within the band, before it, and after it."""

    within: int = 0
    before: int = 0
    after: int = 0

    @property
    def asked(self) -> int:
        return self.within + self.before + self.after

    @property
    def fair(self) -> bool:
        """Whether the band holds about as many as it says: eight of ten."""
        return SHARE[0] * self.asked <= self.within <= SHARE[1] * self.asked


def backtest(
    runs: Sequence[Stint], gpus: int, since: int, until: int, *, policy: str = "fcfs", most: int = 200
) -> Held:
    """Ask for the start of jobs submitted from `since` until before `until` on a machine of `gpus`: of those that had
    others before them or found too few GPUs free, `most`, spread evenly over the time.

    >>> ended = [Stint(0, 0, 30, 4, 60), Stint(0, 30, 60, 4, 60)]
    >>> backtest([*ended, Stint(100, 100, 130, 4, 60), Stint(110, 130, 160, 4, 60)], 4, 90, 200)
    Held(within=1, before=0, after=0)
    """
    runs = sorted(run for run in runs if run.submit <= run.start <= run.end)
    ends = sorted((run.end, (run.end - run.start) / max(1, run.limit)) for run in runs)
    crowded = _crowded(runs, gpus)
    asked = [place for place in crowded if since <= runs[place].submit < until and runs[place].gpus <= gpus]
    held = {"within": 0, "before": 0, "after": 0}
    for number in range(min(most, len(asked))):
        place = asked[number * len(asked) // min(most, len(asked))]
        run, live = runs[place], _live(runs, place)
        free = max(0, gpus - sum(job.gpus for job in live if job.elapsed_s is not None))
        known = bisect_left(ends, (run.submit, -1.0))
        past = [share for _end, share in ends[max(0, known - PAST) : known]]
        said = expect(live, run.gpus, run.limit, free, past, policy=policy, seed=number)
        if said is None or not said.known:
            continue
        wait = run.start - run.submit
        held["before" if wait < said.p10_s - CLOSE_S else "after" if wait > said.p90_s + CLOSE_S else "within"] += 1
    return Held(**held)


def _crowded(runs: Sequence[Stint], gpus: int) -> Iterator[int]:
    """The places of those that found others waiting, or fewer GPUs free than they wanted. In one pass over the time."""
    started: list[tuple[int, int]] = []  # of those before: when they start, with their GPUs
    ended: list[tuple[int, int]] = []
    used = waiting = 0
    for place, run in enumerate(runs):
        while started and started[0][0] <= run.submit:
            used += heappop(started)[1]
            waiting -= 1
        while ended and ended[0][0] <= run.submit:
            used -= heappop(ended)[1]
        if waiting or gpus - used < run.gpus:
            yield place
        heappush(started, (run.start, run.gpus))
        heappush(ended, (run.end, run.gpus))
        waiting += 1


def _live(runs: Sequence[Stint], place: int) -> list[Live]:
    """What ran or waited as `runs[place]` was submitted, in the order of the queue."""
    at = runs[place].submit
    return [
        Live(run.gpus, run.limit, at - run.start if run.start <= at else None) for run in runs[:place] if run.end > at
    ]
