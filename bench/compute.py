"""Jobs and clusters beside Slurm's own commands: submissions, arrays, the list of jobs, budgets, ends, records."""

from __future__ import annotations

import json
import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import psycopg

from bench import real_slurm
from bench.database import database
from bench.paper_slurm import Asked, Paper
from bench.report import Figure, finish
from madang.server.postgres import Postgres

PARTS = os.environ.get("PARTS", "list reconcile usage submit array end").split()
JOBS = int(os.environ.get("JOBS", "10000"))
LOOKS = 60  # at the page
PACE, SECONDS, TASKS = 1100, int(os.environ.get("SECONDS", "60")), 100  # runs a second; tasks of a job
ALLOCATIONS = int(os.environ.get("ALLOCATIONS", "8000"))


def job_list(server: Postgres) -> list[Figure]:
    """CPU of the web process and SQL of one page, as a member of the organization opens it."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from madang.facilities.compute.tests import make
    from madang.jobs.models import Job
    from madang.jobs.tests import make as jobs
    from madang.workflow.moment import now

    rows = [make.allocation(make.partition()) for _ in range(2)]
    holder, at = jobs.holder(rows[0]), now()
    facts = {"person": holder, "engine": "listed", "partition": "h100", "gpu_type": "h100", "memory_mb": 1}
    states = [("ended", "completed"), ("ended", "failed"), ("running", ""), ("queued", "")]
    Job.objects.bulk_create(
        (
            Job(
                uuid=uuid4(),
                allocation=rows[0],
                name=f"학습 {n}",
                script="#!/bin/sh\n" + "true\n" * 200,
                gpus=1 + n % 8,
                limit_s=600,
                state=states[n % 4][0],
                outcome=states[n % 4][1],
                waits="Resources" if n % 4 == 3 else "",
                expected_at=at if n % 4 == 3 else None,
                held=0 if n % 4 < 2 else 600 * (1 + n % 8),
                used=n * 37 % 4800 if n % 4 < 2 else 0,
                submitted_at=at - timedelta(seconds=JOBS - n),
                **facts,
            )
            for n in range(JOBS)
        ),
        batch_size=2000,
    )
    vacuum(server)
    client = Client(HTTP_ACCEPT_LANGUAGE="ko", SERVER_NAME="localhost")
    client.force_login(holder)
    address = "/compute/jobs/"
    assert client.get(address).status_code == 200
    with CaptureQueriesContext(connection) as caught:
        page = client.get(address).content.decode()
    assert page.count("학습") >= 30
    asked = [q for q in caught.captured_queries if not q["sql"].startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"))]
    spent = []
    for _ in range(LOOKS):
        begun = time.process_time()
        client.get(address)
        spent.append(1000 * (time.process_time() - begun))
    Job.objects.filter(engine="listed").delete()  # they live on no engine: whoever looks at all would look for it
    return [
        Figure(f"list of {JOBS:,} jobs, queries", len(asked), at_most=12),
        Figure("list of jobs, ms of CPU", median(spent), at_most=15),
    ]


def vacuum(server: Postgres) -> None:
    """As autovacuum does within a minute of so many new rows."""
    with psycopg.connect(server.url("madang_owner"), autocommit=True) as owner:
        owner.execute("VACUUM ANALYZE")


def on_paper(folder: str, name: str = "paper") -> tuple[Any, Paper]:
    """A cluster of that name and its only partition, whose Slurm is paper."""
    from django.conf import settings

    from madang.engines.slurm import SlurmEngine
    from madang.facilities.compute import host
    from madang.facilities.compute.tests import make
    from madang.jobs import engines

    settings.SLURM = {name: {"conf": "/nonexistent", "runs": folder}}
    paper = Paper()
    facts: dict[str, Any] = host.connection_facts() | {"cursor_factory": Asked}
    wanted = {"gpu_type": "h100", "gpus": 1000, "most_gpus": 8, "declared": False}
    made = make.partition(make.cluster(code=name, engine="slurm"), name="h100", **wanted)
    engine = SlurmEngine(lambda: psycopg.connect(**facts), Path(folder), name, paper)
    engines._built[name] = engines._host_of(name), engine
    return made, paper


def reconcile(server: Postgres) -> list[Figure]:
    """One look of the poller at a cluster with many budgets: nothing has changed, then a hundred were topped up."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from madang.facilities.compute.models import PosixAccount
    from madang.jobs import engines, poller
    from madang.jobs.models import Watch
    from madang.jobs.tests import make as jobs

    with tempfile.TemporaryDirectory() as folder:
        partition, paper = on_paper(folder)
        rows = many_allocations(partition)
        PosixAccount.objects.create(cluster=partition.cluster, person=jobs.holder(rows[0]), name="nobody")
        engines.engine_named("paper").sync(engines.budgets("paper"), apply=True)

        def look() -> tuple[int, int, float]:
            Watch.objects.update(budgets_at=None, compared_at=None)
            paper.calls = Asked.statements = 0
            begun = time.perf_counter()
            with CaptureQueriesContext(connection) as caught:
                poller.reconcile("paper")
            took = time.perf_counter() - begun
            watch = Watch.objects.get()
            assert not watch.error, watch.error
            assert watch.drift["applied"], watch.drift
            return paper.calls, Asked.statements + len(caught.captured_queries), took

        look()
        calm = look()
        assert Watch.objects.get().drift["changed"] == [], Watch.objects.get().drift
        before = dict(paper.limits)
        top_up(rows[:100])
        raised = look()
        assert sum(paper.limits[name] != limit for name, limit in before.items()) == 100
    print(f"nothing changed {calm[2]:.2f} s, a hundred raised {raised[2]:.2f} s", flush=True)
    return [
        Figure(f"reconcile {ALLOCATIONS:,} allocations, Slurm calls", calm[0], at_most=20),
        Figure("queries", calm[1], at_most=30),
        Figure("with a hundred raised, Slurm calls", raised[0], at_most=20),
        Figure("with a hundred raised, queries", raised[1], at_most=30),
    ]


def many_allocations(partition: Any) -> list[Any]:
    """Grants of one organization, each with one open allocation on this partition."""
    from madang.calls.models import Application, ApplicationLine
    from madang.grants.models import Allocation, Grant
    from madang.jobs.tests import make as jobs
    from madang.ledger import actions as ledger
    from madang.workflow.moment import now

    first = jobs.allocation(resource=partition.resource)
    given, at = first.grant.application, now()
    many = range(1, ALLOCATIONS)
    common = {"organization": given.organization, "program": first.grant.program, "state": "active"}
    common |= {name: getattr(first.grant, name) for name in ("starts_at", "ends_at", "accept_by")}
    asked = Application.objects.bulk_create(
        Application(
            **{name: getattr(given, name) for name in ("call", "organization", "form", "started_by")}, state="withdrawn"
        )
        for _ in many
    )
    grants = Grant.objects.bulk_create(
        Grant(application=one, number=f"B-{n}", title=f"과제 {n}", **common) for n, one in zip(many, asked, strict=True)
    )
    lines = ApplicationLine.objects.bulk_create(
        ApplicationLine(application=one, call_line=first.line.call_line, amount=36_000) for one in asked
    )
    commodity, role = partition.resource.commodity, "allocation"
    rows = [
        Allocation(grant=grant, line=line, resource=partition.resource, amount=36_000, state="open", opened_at=at)
        for grant, line in zip(grants, lines, strict=True)
    ]
    for n, row in enumerate(rows):
        row.account = ledger.open_account(commodity=commodity, owner_type="bench", owner_id=n, role=role, limited=True)
    rows = [first, *Allocation.objects.bulk_create(rows)]
    top_up(rows[1:])
    return rows


def top_up(rows: list[Any]) -> None:
    from madang.ledger import actions as ledger

    for row in rows:
        pool = ledger.site_account(commodity=row.resource.commodity, role="pool")
        ledger.grant(
            pool=pool, account=row.account, amount=36_000, source="bench", key=str(uuid4()), actor=None, reason=""
        )


def usage(server: Postgres) -> list[Figure]:
    """Runs end at a steady pace and the poller looks as often as it does on a site: how far it falls behind."""
    from madang.jobs import poller
    from madang.jobs.models import Run
    from madang.ledger.verify import verify

    with tempfile.TemporaryDirectory() as folder:
        partition, paper = on_paper(folder, "paced")
        count = PACE * SECONDS
        ids = jobs_of_tasks(partition, count // TASKS)
        vacuum(server)
        begun = int(time.time()) + 2
        rows = [ended_row(n, *ids[n // TASKS], begun + n // PACE) for n in range(count)]

        def done() -> int:
            return max(0, int((time.time() - begun) * PACE))

        paper.ended = lambda since: rows[max(0, since - begun) * PACE : done()]
        paper.live = lambda: [waiting_row(*ids[n], begun) for n in range(done() // TASKS, len(ids))]
        behind, looks, booked = [0.0], [0.0], 0
        more = False
        while booked < count and time.time() < begun + 3 * SECONDS:
            if not more:
                time.sleep(poller.EVERY_S)
            before = time.perf_counter()
            more = poller.reconcile("paced")
            looks.append(time.perf_counter() - before)
            booked = Run.objects.filter(job__engine="paced").count()
            behind.append(min(count, (time.time() - begun) * PACE) - booked)
        late = time.time() - begun - SECONDS
        assert booked == count, f"{booked:,} of {count:,} were booked"
        assert not verify()
    print(f"a look takes {median(looks):.2f} s, {max(looks):.2f} s at most; {max(behind):,.0f} runs behind at most")
    return [
        Figure(f"records/s from sacct over {SECONDS} s", count / (SECONDS + max(late, 0)), at_least=1000),
        Figure("seconds from the last end to the last charge", late, at_most=5),
    ]


def jobs_of_tasks(partition: Any, count: int) -> list[tuple[int, str, str]]:
    """Jobs of a hundred tasks, handed over as the engine does: Slurm's id of each, its comment, its payers."""
    from madang.engines.stored import described
    from madang.facilities.compute import host
    from madang.facilities.compute.models import PosixAccount
    from madang.facilities.compute.tests import make
    from madang.jobs import actions
    from madang.jobs.models import Job
    from madang.jobs.tests import make as jobs
    from madang.workflow.moment import now

    row = make.allocation(partition, amount=10**9)
    PosixAccount.objects.create(cluster=partition.cluster, person=jobs.holder(row), name="nobody")
    made = [make.job(row, tasks=TASKS, gpus=1, limit_s=60) for _ in range(count)]
    Job.objects.filter(engine=partition.cluster.code).update(state="submitted", told_at=now())
    with host.connect() as conn:
        for number, job in enumerate(made, 1):
            spec = json.dumps(described(actions.spec_of(job)))
            words = [job.uuid, job.engine, spec]
            conn.execute(
                "INSERT INTO slurm_job (job, attempt, cluster, digest, spec) VALUES (%s, 1, %s, '', %s)", words
            )
            sent = [job.uuid, number * 10_000, int(time.time())]
            conn.execute("INSERT INTO slurm_send VALUES (%s, 1, 1, %s, %s, now())", sent)
    payer = f"grant-{row.grant_id}|allocation-{row.pk}|nobody|h100"
    return [(number * 10_000, f"madang:{job.uuid}.1.1", payer) for number, job in enumerate(made, 1)]


def ended_row(n: int, array: int, comment: str, payer: str, end: int) -> list[str]:
    """What sacct says of the nth run: ten seconds on one GPU."""
    task = n % TASKS
    times = [str(end - 60), str(end - 10), str(end), "10", "COMPLETED", "0:0", "cpu=1,gres/gpu:h100=1,gres/gpu=1"]
    return [str(n), f"{array}_{task}", str(array + task), *times, "n-1", "1", *payer.split("|"), comment]


def waiting_row(array: int, comment: str, payer: str, submit: int) -> list[str]:
    """What squeue says of an array whose tasks wait."""
    account, budget, user, partition = payer.split("|")
    states = [str(array), str(array), f"0-{TASKS - 1}", "PENDING", "Priority", str(submit - 60), "N/A", "N/A", "1:00"]
    return [*states, "1", "gres/gpu:h100:1", "", user, account, budget, partition, comment]


ON_PAPER = {"list": job_list, "reconcile": reconcile, "usage": usage}
ON_SLURM = {"submit": real_slurm.submissions, "array": real_slurm.makespan, "end": real_slurm.ends}


def main() -> None:
    figures: list[Figure] = []
    with database() as server:
        for part in (part for part in ON_PAPER if part in PARTS):
            figures += ON_PAPER[part](server)
        if wanted := [part for part in ON_SLURM if part in PARTS]:
            with real_slurm.place() as place:
                for part in wanted if place else ():
                    figures += ON_SLURM[part](place)
    finish(figures)


if __name__ == "__main__":
    main()
