"""How far the model is from what happened: the site's own jobs, as they waited and as the twin has them wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from madang.facilities.compute.models import Backtest, Partition
from madang.facilities.compute.queries import policy_of
from madang.identity.access import access_of
from madang.identity.models import Role
from madang.planning.queries import require_reader
from madang.planning.records import MOST_RUNS, runs_of, trace_of
from madang.twin import Machine, simulate
from madang.twin.calibrate import Gap, by_month, gap
from madang.web.templatetags.madang import SEOUL


@dataclass(frozen=True)
class Calibration:
    partition: Partition
    policy: str
    months: Sequence[Gap]
    whole: Gap | None
    runs: int
    cut: bool  # there were more than are looked at

    @cached_property
    def tests(self) -> Sequence[Backtest]:
        """How the starts held that were forecast, by month, the latest first."""
        return list(self.partition.backtests.all()[:12])


def partitions(person: Any) -> list[Partition]:
    """For whoever reads plans, and for the officers of every program: they decide by what the model says."""
    if not access_of(person).somewhere(Role.OFFICER):
        require_reader(person)
    return list(Partition.objects.select_related("cluster", "resource").order_by("cluster_id", "id"))


def gaps() -> list[dict[str, Any]]:
    """Of each partition with runs: waits of the last twelve months with any, in seconds. As JSON, to stand beside a
    forecast for as long as the forecast does."""
    found = []
    for partition in Partition.objects.select_related("cluster", "resource").order_by("cluster_id", "id"):
        months = calibrate(partition).months
        if jobs := sum(month.jobs for month in months):
            said = {"partition": partition.resource.name, "jobs": jobs, "from": months[0].month, "to": months[-1].month}
            for which in ("recorded", "simulated"):
                said[which] = round(sum(getattr(month, which).mean * month.jobs for month in months) / jobs)
            found.append(said)
    return found


def calibrate(partition: Partition) -> Calibration:
    """Replay the latest runs of a partition on as many GPUs as it has now, under the order of its engine."""
    found = runs_of(partition)
    policy = policy_of(partition.cluster)
    rows = sorted(found[:MOST_RUNS])
    if not rows:
        return Calibration(partition, policy, (), None, 0, cut=False)
    trace = trace_of(rows)
    starts = simulate(trace, Machine(partition.gpus), policy).starts
    waits = [
        (max(0, round((rows[row][1] - rows[row][0]).total_seconds())), start - submit)
        for row, start, submit in zip(trace.row, starts, trace.submit, strict=True)
    ]
    months = by_month([f"{rows[row][0].astimezone(SEOUL):%Y-%m}" for row in trace.row], waits)[-12:]
    whole = gap("", waits)
    return Calibration(partition, policy, months, whole, len(rows), cut=len(found) > MOST_RUNS)
