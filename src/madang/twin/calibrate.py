"""How far the model is from what happened: waits as they were recorded beside those that it gives, by month.

What a site doesn't say of itself (partitions, outages, reserved nights) is in the gap. No factor makes up for it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, tzinfo
from typing import Any

from madang.twin.errors import BadInput
from madang.twin.measure import Spread
from madang.twin.trace import Trace


@dataclass(frozen=True)
class Gap:
    """Jobs submitted in a month (or in all, where it has no name): waits in seconds."""

    month: str
    jobs: int
    recorded: Spread
    simulated: Spread

    @property
    def ratio(self) -> float | None:
        """Recorded ÷ simulated mean wait."""
        return self.recorded.mean / self.simulated.mean if self.simulated.mean else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio}


def gap(month: str, waits: Sequence[tuple[int, int]]) -> Gap:
    """Of (recorded, simulated) waits."""
    recorded, simulated = zip(*waits, strict=True)
    return Gap(month, len(waits), Spread.of(recorded), Spread.of(simulated))


def by_month(labels: Sequence[str], waits: Sequence[tuple[int, int]]) -> list[Gap]:
    """One for each label, in the order of their first jobs.

    >>> [(found.month, found.jobs, found.ratio) for found in by_month(["a", "b", "a"], [(9, 3), (5, 0), (3, 1)])]
    [('a', 2, 3.0), ('b', 1, None)]
    """
    months: dict[str, list[tuple[int, int]]] = {}
    for label, pair in zip(labels, waits, strict=True):
        months.setdefault(label, []).append(pair)
    return [gap(label, its) for label, its in months.items()]


def gaps(trace: Trace, starts: Sequence[int], zone: tzinfo) -> tuple[list[Gap], Gap]:
    """(by month of the trace's clock in that zone, of all) the jobs whose wait was recorded. Raises BadInput."""
    known = [job for job in range(len(trace)) if trace.wait and trace.wait[job] >= 0]
    if not known:
        raise BadInput("the trace doesn't say how long its jobs waited: there is nothing to compare with")
    waits = [(trace.wait[job], starts[job] - trace.submit[job]) for job in known]
    try:
        months = [f"{datetime.fromtimestamp(trace.begins + trace.submit[job], zone):%Y-%m}" for job in known]
    except (OverflowError, ValueError):
        raise BadInput("the clock of the trace is beyond the year 9999: in seconds, not in milliseconds?") from None
    return by_month(months, waits), gap("", waits)
