"""Jobs and their clusters beside Slurm's own commands: submissions, arrays, the list of jobs, budgets, ends, records."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import psycopg

from bench.database import database
from bench.report import Figure, finish
from madang.server.postgres import Postgres

PARTS = os.environ.get("PARTS", "list reconcile usage submit end").split()
JOBS = int(os.environ.get("JOBS", "10000"))
LOOKS = 60


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
    facts = {"person": holder, "engine": "bench", "partition": "h100", "gpu_type": "h100", "memory_mb": 1}
    states = [("ended", "completed"), ("ended", "failed"), ("running", ""), ("queued", "")]
    made = Job.objects.bulk_create(
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
    with psycopg.connect(server.url("madang_owner"), autocommit=True) as owner:
        owner.execute("VACUUM ANALYZE")  # as autovacuum does
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
    return [
        Figure(f"list of {JOBS:,} jobs, queries", len(asked), at_most=12),
        Figure("list of jobs, ms of CPU", median(spent), at_most=15),
    ]


def main() -> None:
    figures: list[Figure] = []
    with database() as server:
        for part in PARTS:
            figures += {"list": job_list}[part](server)
    finish(figures)


if __name__ == "__main__":
    main()
