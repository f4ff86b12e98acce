"""How far the model is from what happened: the site's own jobs, as they waited and as the twin has them wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from madang.facilities.compute.models import Partition
from madang.facilities.compute.queries import policy_of
from madang.identity.access import access_of
from madang.identity.models import Role
from madang.jobs.models import Run
from madang.planning.queries import require_reader
from madang.twin import Machine, from_columns, simulate
from madang.twin.measure import Spread
from madang.web.templatetags.madang import SEOUL

MOST_RUNS = 20_000  # the latest; simulated while the page is made


@dataclass(frozen=True)
class Month:
    """Runs submitted in a month: waits in seconds."""

    month: str
    jobs: int
    recorded: Spread
    simulated: Spread

    @property
    def ratio(self) -> float | None:
        """Recorded ÷ simulated mean wait."""
        return self.recorded.mean / self.simulated.mean if self.simulated.mean else None


@dataclass(frozen=True)
class Calibration:
    partition: Partition
    policy: str
    months: Sequence[Month]
    whole: Month | None
    runs: int
    cut: bool  # there were more than are looked at


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
    """Replay the latest runs of a partition on as many GPUs as it has now, under the order of its engine.

    First attempts only: when a later one became eligible isn't known.
    """
    found = list(
        Run.objects.filter(
            job__engine=partition.cluster.code,
            job__partition=partition.name,
            attempt=1,
            started_at__isnull=False,
            job__gpus__lte=partition.gpus,
        )
        .order_by("-id")
        .values_list("job__submitted_at", "started_at", "ended_at", "job__gpus", "job__limit_s")[: MOST_RUNS + 1]
    )
    policy = policy_of(partition.cluster)
    rows = sorted(found[:MOST_RUNS])
    if not rows:
        return Calibration(partition, policy, (), None, 0, cut=False)
    zero = rows[0][0]
    seconds = [[max(0, round(((at or zero) - zero).total_seconds())) for at in row[:3]] for row in rows]
    trace = from_columns(
        submit=[submit for submit, _start, _end in seconds],
        run=[max(0, end - start) for _submit, start, end in seconds],
        gpus=[row[3] for row in rows],
        limit=[row[4] for row in rows],
        machine=partition.gpus,
    )
    starts = simulate(trace, Machine(partition.gpus), policy).starts
    waits: dict[str, list[tuple[int, int]]] = {}
    for row, start, submit in zip(trace.row, starts, trace.submit, strict=True):
        recorded = max(0, seconds[row][1] - seconds[row][0])
        waits.setdefault(_month(rows[row][0]), []).append((recorded, start - submit))
    months = [_of(month, its) for month, its in list(waits.items())[-12:]]
    whole = _of("", [pair for its in waits.values() for pair in its])
    return Calibration(partition, policy, months, whole, len(rows), cut=len(found) > MOST_RUNS)


def _month(at: datetime) -> str:
    return at.astimezone(SEOUL).strftime("%Y-%m")


def _of(month: str, waits: Sequence[tuple[int, int]]) -> Month:
    recorded, simulated = zip(*waits, strict=True)
    return Month(month, len(waits), Spread.of(recorded), Spread.of(simulated))
