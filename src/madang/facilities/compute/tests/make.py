"""A cluster with a partition, an allocation on it, and what runs leave on the disk."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.utils.timezone import now
from procrastinate.contrib.django.models import ProcrastinateJob

from madang.catalog.tests import make as catalog
from madang.engines.base import Outcome, RunKey, UsageRow
from madang.engines.local.folders import place
from madang.facilities.compute import actions, host, sessions, tasks
from madang.facilities.compute.models import Cluster, Partition, Session, SessionKind
from madang.grants.models import Allocation, Grant
from madang.identity.models import Person
from madang.identity.tests import make as identity
from madang.jobs.models import Job, Run
from madang.jobs.tests import make as jobs

SCRIPT = jobs.SCRIPT
_number = count(1)


def cluster(**facts: Any) -> Cluster:
    code = facts.pop("code", f"here-{next(_number)}-{uuid4().hex[:8]}")
    return actions.add_cluster(
        identity.operator(), **{"code": code, "name_ko": "이 기계", "name_en": "This machine", **facts}
    )


def partition(on: Cluster | None = None, **facts: Any) -> Partition:
    """Eight declared slots, four of them for one job at most, for six hours at most."""
    number = next(_number)
    wanted: dict[str, Any] = {
        "name": f"p{number}",
        "gpu_type": f"h100-{number}",
        "gpus": 8,
        "most_gpus": 4,
        "longest_s": 6 * 3600,
        "declared": True,
        **facts,
    }
    resource = wanted.pop("resource", None) or catalog.resource()
    actor = wanted.pop("actor", None) or identity.operator()
    return actions.add_partition(actor, resource=resource, cluster=on or cluster(), **wanted)


def allocation(on: Partition | None = None, grant: Grant | None = None, **facts: Any) -> Allocation:
    """Ten GPU-hours on a partition, open."""
    return jobs.allocation(grant, resource=(on or partition()).resource, **facts)


def job(row: Allocation, actor: Person | None = None, **facts: Any) -> Job:
    wanted: dict[str, Any] = {"uuid": uuid4(), "name": "학습", "script": SCRIPT, "gpus": 1, "limit_s": 600, **facts}
    return actions.submit(actor or jobs.holder(row), allocation=row, **wanted)


def kind(**facts: Any) -> SessionKind:
    """JupyterLab with up to two GPUs, for two hours at most, ended when idle for half an hour."""
    number = next(_number)
    wanted: dict[str, Any] = {
        "code": f"lab-{number}",
        "name_ko": f"실습 {number}",
        "name_en": f"Lab {number}",
        "program": "jupyterlab",
        "command": "/opt/jupyter/bin/jupyter-lab",
        "most_gpus": 2,
        "longest_s": 7200,
        "idle_s": 1800,
        **facts,
    }
    return sessions.add_kind(wanted.pop("actor", None) or identity.operator(), **wanted)


def session(row: Allocation, actor: Person | None = None, **facts: Any) -> Session:
    wanted: dict[str, Any] = {"uuid": uuid4(), "gpus": 1, "limit_s": 3600, **facts}
    wanted["kind"] = wanted.get("kind") or kind()
    return sessions.start(actor or jobs.holder(row), allocation=row, **wanted)


def runs(session: Session, *, ready: bool = True) -> Session:
    """As if its engine had started it, and its program answered."""
    facts = {"state": "running", "told_at": now(), "started_at": now()}
    Job.objects.filter(pk=session.job_id).update(**facts)
    if ready:
        sessions.answered(session.pk)
    return Session.objects.select_related("job", "kind").get(pk=session.pk)


def folder(job: Job, task: int = 0) -> Path:
    """The folder of its run, as the dispatcher makes it."""
    path = place(host.runs_of(job.engine), jobs.actions.RunKey(job.uuid, task))
    (path / "work").mkdir(parents=True, exist_ok=True)
    return path


def worked() -> int:
    """The worker had its turn: the files that were asked to go are removed. How many jobs it did it for."""
    waiting = ProcrastinateJob.objects.filter(task_name=tasks.remove_files.name, status="todo")
    found = list(waiting.values_list("args", flat=True))
    for args in found:
        tasks.remove_files(**args)
    return len(found)


def ended(job: Job, outcomes: list[str], seconds: int = 60) -> Job:
    """As if every task had run so long on all its GPUs and come to this, and its engine had said so."""
    jobs.actions.record_usage(
        job.engine,
        [
            UsageRow(
                key=RunKey(job.uuid, task),
                outcome=Outcome(outcome),
                account="none",
                budget="none",
                machine=job.engine,
                gpu_type=job.gpu_type,
                gpus=job.gpus,
                declared=True,
                submitted_at=job.submitted_at,
                started_at=now() - timedelta(seconds=seconds),
                ended_at=now(),
                gpu_seconds=seconds * job.gpus,
                exit_code=0 if outcome == "completed" else 1,
            )
            for task, outcome in enumerate(outcomes)
        ],
    )
    job.refresh_from_db()
    return job


def wrote(job: Job, log: bytes = b"", task: int = 0, **files: bytes) -> None:
    """As if the run of a task had written this log and these files."""
    path = folder(job, task)
    (path / "out.log").write_bytes(log)
    for name, content in files.items():
        (path / "work" / name.replace("_", ".")).write_bytes(content)
    Job.objects.filter(pk=job.pk, told_at=None).update(told_at=job.submitted_at)


def recorded(row: Allocation, rows: Iterable[tuple[datetime, datetime, datetime, int, int]], **facts: Any) -> None:
    """Jobs that have ended, each with one run, as a history has them: submitted, started, ended, GPUs, limit in s."""
    rows = list(rows)
    where = row.resource.partition
    known = {
        "allocation": row, "person": identity.lead_of(row.grant.organization), "engine": where.cluster.code,
        "name": "past", "partition": where.name, "gpu_type": where.gpu_type, "memory_mb": 1, "script": "#!/bin/sh\n",
        "state": "ended", "outcome": "completed", **facts,
    }  # fmt: skip
    made = Job.objects.bulk_create(
        Job(uuid=uuid4(), submitted_at=submitted, gpus=gpus, limit_s=limit_s, **known)
        for submitted, _started, _ended, gpus, limit_s in rows
    )
    Run.objects.bulk_create(
        Run(
            job=job, key=str(job.uuid), attempt=1, outcome="completed", started_at=started, ended_at=ended,
            gpu_seconds=gpus * int((ended - started).total_seconds()),
        )
        for job, (_submitted, started, ended, gpus, _limit) in zip(made, rows, strict=True)
    )  # fmt: skip
