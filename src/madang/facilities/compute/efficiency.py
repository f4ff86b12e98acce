"""What an ended run used of what it had asked for, judged by rules that are named with the verdict.

The figures come from the run (wall time, peak memory) and from the engine's samples of its GPUs. Where nobody looked at
the GPUs, nothing is said about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from madang.engines.base import Sample
from madang.jobs.models import Job, JobOutcome, Run
from madang.web.amounts import lasting

RULES = "2026-2"
LEAST_S = 60  # of a shorter run, or one that failed, nothing can be learned for the next
SHORT = 5  # a limit is generous where less than a fifth of it was used …
SHORTEST_S = 600  # … and it was long enough to matter
ROOMY = 4  # memory is generous where less than a quarter was used
IDLE_PERCENT = 5.0  # a GPU is idle in a sample below this
LOW_PERCENT = 30.0
LEAST_SAMPLES = 4  # of one GPU, for a verdict about it
BUCKETS = 120  # points of the chart
ROWS = 12  # of its table
WIDE, HIGH = 640, 160  # of the chart, in its own units


@dataclass(frozen=True)
class Point:
    """All GPUs of a run in one stretch of time that ends at `at`: their mean use and the part of their memory that was
    taken, both in percent; `utilization` is None where the driver doesn't say."""

    at: datetime
    utilization: float | None
    memory: float


class Drawn:
    """Points as the lines of a chart and the rows of its table."""

    points: list[Point]

    @property
    def utilization_line(self) -> str:
        """The points of the chart's first line, as SVG writes them."""
        return _line([(n, point.utilization) for n, point in enumerate(self.points)], len(self.points))

    @property
    def memory_line(self) -> str:
        return _line([(n, point.memory) for n, point in enumerate(self.points)], len(self.points))

    @property
    def rows(self) -> list[Point]:
        """A few of the points, evenly spaced, for the table beside the chart."""
        step = -(-len(self.points) // ROWS) or 1
        return self.points[step - 1 :: step]


@dataclass(frozen=True)
class Metrics(Drawn):
    """What the GPUs of a run do: the newest sample of each, by slot, and all of them over time."""

    gpus: list[Sample]
    points: list[Point]


def metrics(samples: Sequence[Sample]) -> Metrics:
    newest = {sample.gpu: sample for sample in sorted(samples, key=lambda s: s.at)}
    return Metrics([newest[gpu] for gpu in sorted(newest)], _points(samples))


@dataclass(frozen=True)
class Report(Drawn):
    """`wall_s` of `limit_s` seconds, `peak_memory_mb` of `memory_mb` MiB; `utilization` is the mean of all GPUs in
    percent, `idle` the slots that did nothing all the time, both None where there are too few samples to say.
    `advice` are sentences for the holder, by the rules of version `rules`.
    """

    wall_s: int
    limit_s: int
    peak_memory_mb: int | None
    memory_mb: int
    utilization: float | None
    idle: list[int] | None
    samples: int
    points: list[Point]
    advice: list[str]
    rules: str = RULES

    @property
    def limit_percent(self) -> int:
        return round(100 * self.wall_s / self.limit_s)


def _line(points: Sequence[tuple[int, float | None]], count: int) -> str:
    wide = WIDE / max(1, count - 1)
    return " ".join(f"{n * wide:.1f},{HIGH - value * HIGH / 100:.1f}" for n, value in points if value is not None)


def report(job: Job, run: Run, samples: Sequence[Sample]) -> Report | None:
    """None for a run that never ran."""
    if run.started_at is None:
        return None
    wall_s = max(0, round((run.ended_at - run.started_at).total_seconds()))
    by_gpu: dict[int, list[float]] = {}
    for sample in samples:
        if sample.utilization is not None:
            by_gpu.setdefault(sample.gpu, []).append(sample.utilization)
    judged = {gpu: used for gpu, used in by_gpu.items() if len(used) >= LEAST_SAMPLES}
    every = [used for gpu in judged.values() for used in gpu]
    utilization = sum(every) / len(every) if every else None
    idle = sorted(gpu for gpu, used in judged.items() if max(used) < IDLE_PERCENT) if judged else None
    return Report(
        wall_s=wall_s,
        limit_s=job.limit_s,
        peak_memory_mb=run.peak_memory_mb,
        memory_mb=job.memory_mb,
        utilization=utilization,
        idle=idle,
        samples=len(samples),
        points=_points(samples),
        advice=_advice(job, run, wall_s, utilization, idle, len(judged)),
    )


def _points(samples: Sequence[Sample]) -> list[Point]:
    """The samples in at most `BUCKETS` stretches of equally many looks."""
    looks = [list(group) for _at, group in groupby(sorted(samples, key=lambda s: s.at), key=lambda s: s.at)]
    size = -(-len(looks) // BUCKETS) or 1
    points = []
    for begin in range(0, len(looks), size):
        part = [sample for look in looks[begin : begin + size] for sample in look]
        used = [sample.utilization for sample in part if sample.utilization is not None]
        total = sum(sample.memory_total_mb for sample in part)
        points.append(
            Point(
                at=part[-1].at,
                utilization=sum(used) / len(used) if used else None,
                memory=min(100.0, 100 * sum(sample.memory_mb for sample in part) / total) if total else 0.0,
            )
        )
    return points


def _advice(
    job: Job, run: Run, wall_s: int, utilization: float | None, idle: list[int] | None, judged: int
) -> list[str]:
    if wall_s < LEAST_S or run.outcome not in (JobOutcome.COMPLETED, JobOutcome.TIMED_OUT):
        return []
    said = []
    if run.outcome == JobOutcome.COMPLETED and job.limit_s >= SHORTEST_S and wall_s * SHORT < job.limit_s:
        times = {"asked": job.limit_minutes, "used": -(-wall_s // 60), "enough": -(-wall_s * 2 // 60)}
        said.append(
            _("It asked for %(asked)s and needed %(used)s: a limit of %(enough)s would do.")
            % {name: lasting(minutes) for name, minutes in times.items()}
        )
    if run.outcome == JobOutcome.TIMED_OUT:
        said.append(_("It was ended at its limit: save its state on the signal USR1, or ask for more time."))
    if run.peak_memory_mb and run.peak_memory_mb * ROOMY < job.memory_mb:
        said.append(
            _("It never used more than %(used)s of its %(asked)s MiB of memory: larger batches would fit.")
            % {"used": f"{run.peak_memory_mb:,}", "asked": f"{job.memory_mb:,}"}
        )
    if idle and len(idle) == judged:
        said.append(_("Its GPUs did nothing: does the script use them at all?"))
    elif idle:
        said.append(
            ngettext(
                "%(count)s of its %(all)s GPUs did nothing: ask for fewer.",
                "%(count)s of its %(all)s GPUs did nothing: ask for fewer.",
                len(idle),
            )
            % {"count": len(idle), "all": judged}
        )
    elif utilization is not None and utilization < LOW_PERCENT:
        said.append(
            _("Its GPUs were used %(percent)s%% on average: perhaps they wait for data.")
            % {"percent": round(utilization)}
        )
    return said
