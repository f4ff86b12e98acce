"""The figures of the clusters for Prometheus: from our own tables alone, with no name of a tenant, person or job.

Asked for by a token in the server's settings; without one there is no such page.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from madang.jobs import queries as jobs
from madang.jobs.models import Stray, Watch
from madang.jobs.poller import silent
from madang.workflow.moment import now

__all__ = ["CONTENT_TYPE", "text"]


class Clusters(Collector):
    """What the poller last heard, and what lives."""

    def collect(self) -> Iterator[Metric]:
        watches, moment = jobs.watches(), now()
        healths = {name: watch.health for name, watch in watches.items()}
        yield _family(
            "madang_engine_answered",
            "Whether the engine answered when it was last asked",
            ["engine"],
            [([name], int(not watch.error and watch.answered_at is not None)) for name, watch in watches.items()],
        )
        yield _family(
            "madang_engine_answer_age_seconds",
            "Seconds since the last complete answer of the engine",
            ["engine"],
            [
                ([name], (moment - watch.answered_at).total_seconds())
                for name, watch in watches.items()
                if watch.answered_at
            ],
        )
        yield _family(
            "madang_engine_warnings",
            "Warnings of the engine, by code: 1 while it stands",
            ["engine", "code"],
            [([name, code], 1) for name, watch in watches.items() for code in _codes(watch, moment)],
        )
        for what, text in (("slots", "GPUs there are"), ("busy", "GPUs in use"), ("queued", "tasks in the queue")):
            rows = [
                ([name, slot["gpu_type"]], slot[what])
                for name, health in healths.items()
                for slot in health.get("slots", [])
            ]
            yield _family(f"madang_gpu_{what}", f"Of a type: {text}", ["engine", "gpu_type"], rows)
        lines = [(line.engine, line.partition, line.state, line.jobs, line.gpus) for line in jobs.lines()]
        labels = ["engine", "partition", "state"]
        yield _family("madang_jobs", "Live jobs", labels, [([*row[:3]], row[3]) for row in lines])
        yield _family(
            "madang_jobs_gpus", "GPUs that a task of each asks for", labels, [([*row[:3]], row[4]) for row in lines]
        )
        nodes = jobs.nodes_by_state()
        yield _family("madang_nodes", "Nodes", ["engine", "state"], [([*row[:2]], row[2]) for row in nodes])
        holds, unheld = jobs.mismatches()
        yield GaugeMetricFamily("madang_holds_without_job", "Holds without a live job: always 0", len(holds))
        yield GaugeMetricFamily("madang_jobs_without_hold", "Live jobs without a hold: always 0", len(unheld))
        strays = Stray.objects.filter(answer="").count()
        yield GaugeMetricFamily("madang_runs_of_nobody", "Runs that belong to nobody yet", strays)


def _family(name: str, text: str, labels: list[str], rows: list[tuple[list[str], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, figure in rows:
        family.add_metric(values, figure)
    return family


def _codes(watch: Watch, moment: datetime) -> list[str]:
    """None of a silent one: what it warned of before may be over, and the age of its answer says the rest."""
    return [] if silent(watch, moment) else sorted({alarm["code"] for alarm in watch.alarms})


def text() -> bytes:
    """The page, in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(Clusters())
    return generate_latest(registry)
