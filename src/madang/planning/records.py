"""The site's own jobs, as the twin reads them: what a plan can be made from, and what a model is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, QuerySet, Sum
from django.utils.translation import gettext as _

from madang.facilities.compute.models import Partition
from madang.jobs.models import Run
from madang.programs.models import Program
from madang.twin import BadInput, Trace, from_columns
from madang.twin.fit import fit
from madang.web.templatetags.madang import SEOUL
from madang.workflow.moment import now

MOST_RUNS = 20_000  # the latest: they are read while somebody waits
MOST_COUNTED = 100_000  # counted only
FEWEST_RUNS = 100  # of fewer, a shape says more of chance than of those who asked
LOOKED_BACK = timedelta(days=365)
OWN = "own"  # the shape of a plan's program: all jobs here, or "own:7", those of the program 7
COLUMNS = ("job__submitted_at", "started_at", "ended_at", "job__gpus", "job__limit_s")
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - by the clock on the wall: people come to work by it


@dataclass(frozen=True)
class Recorded:
    """Jobs that a plan can be made from: `shape` names them, `hours` is GPU-hours a day."""

    shape: str
    name: str
    runs: int
    hours: int


def recorded() -> list[Recorded]:
    """What was run here in the last year, or the latest of it: all, and by program, the busiest first; nothing where it
    is too little to tell a shape."""
    program = "job__allocation__grant__program"
    facts = {"runs": Count("id"), "used": Sum("gpu_seconds"), "first": Min("job__submitted_at")}
    moment = now()
    latest = _runs(moment).order_by("-id").values("id")[:MOST_COUNTED]
    rows = list(Run.objects.filter(id__in=latest).values(program).annotate(**facts).order_by("-used"))
    if not rows:
        return []
    days = max(1.0, (moment - min(row["first"] for row in rows)) / timedelta(days=1))
    names = Program.objects.in_bulk([row[program] for row in rows])
    whole = {"runs": sum(row["runs"] for row in rows), "used": sum(row["used"] for row in rows)}
    found = [(OWN, _("all jobs of this site"), whole)]
    found += [(f"{OWN}:{row[program]}", names[row[program]].name, row) for row in rows]
    return [
        Recorded(shape, name, row["runs"], max(1, round(row["used"] / 3600 / days)))
        for shape, name, row in found
        if row["runs"] >= FEWEST_RUNS
    ]


def gpus_here() -> int:
    """Of all partitions with GPUs, as they are declared."""
    return Partition.objects.exclude(gpu_type="cpu").aggregate(gpus=Sum("gpus"))["gpus"] or 0


def fitted(shape: str) -> dict[str, Any]:
    """What the latest of these jobs look like, as a plan's program keeps it: {"fitted": the twin's program, "runs",
    "of": their last day}. Raises BadInput where there are too few."""
    runs = _runs(now())
    if program := shape.partition(":")[2]:
        runs = runs.filter(job__allocation__grant__program=int(program))
    rows = sorted(runs.order_by("-id").values_list(*COLUMNS)[:MOST_RUNS])
    if len(rows) < FEWEST_RUNS:
        raise BadInput(
            _("Only %(runs)s jobs have run here in the last year: too few. Choose a published shape.")
            % {"runs": len(rows)}
        )
    of = rows[-1][0].astimezone(SEOUL).date().isoformat()
    return {"fitted": asdict(fit(trace_of(rows))), "runs": len(rows), "of": of}


def trace_of(rows: Iterable[Sequence[Any]], machine: int = 0) -> Trace:
    """Rows of COLUMNS, by submission, as a trace on Seoul's clock; jobs of more GPUs than the machine has are left out.
    A run that never started took no time."""
    columns: list[list[int]] = [[], [], [], []]
    for submitted, started, ended, gpus, limit in rows:
        submit = round((submitted.astimezone(SEOUL).replace(tzinfo=None) - EPOCH).total_seconds())
        run = max(0, round((ended - (started or ended)).total_seconds()))
        for column, value in zip(columns, (submit, run, gpus, limit), strict=True):
            column.append(value)
    submit_s, run_s, gpus_of, limit_s = columns
    return from_columns(submit=submit_s, run=run_s, gpus=gpus_of, limit=limit_s, machine=machine)


def runs_of(partition: Partition) -> list[tuple[Any, ...]]:
    """The latest first attempts on a partition that fit it as it is now, one more than are looked at, by submission:
    when a later attempt became eligible isn't known."""
    found = (
        Run.objects.filter(
            job__engine=partition.cluster.code,
            job__partition=partition.name,
            attempt=1,
            started_at__isnull=False,
            job__gpus__lte=partition.gpus,
        )
        .order_by("-id")
        .values_list(*COLUMNS)
    )
    return list(found[: MOST_RUNS + 1])


def _runs(moment: datetime) -> QuerySet[Run]:
    """First attempts on GPUs of the year before."""
    return (
        Run.objects.filter(attempt=1, started_at__isnull=False, job__submitted_at__gte=moment - LOOKED_BACK)
        .exclude(job__gpu_type="cpu")
        .order_by()
    )
