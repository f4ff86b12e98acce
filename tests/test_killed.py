"""A job runs; server, worker, engine and then the database are killed; after the next start its end is right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from madang.client import Client
from madang.engines.local import Sandbox
from madang.server.tests.site import TestSite, alive, environment, kill, site, until

pytestmark = [pytest.mark.sandbox, pytest.mark.xdist_group("a site of its own")]
STEPS = 16
JOB = f"""#!/bin/sh
echo begun
for n in $(seq {STEPS}); do echo step $n; sleep 0.5; done
echo result > result.txt
echo done
"""
LOG = "\n".join(["begun", *(f"step {n}" for n in range(1, STEPS + 1)), "done"]) + "\n"
TEN_HOURS = 10 * 3600

# Beside the site, as its application: two partitions, a grant on each, and a token of who holds it.
MAKE = """
import django, json
django.setup()
from madang.facilities.compute.tests import make
from madang.identity import actions
from madang.jobs.tests import make as jobs
rows = [make.allocation(make.partition(gpus=2, most_gpus=2)) for _ in range(2)]
print(json.dumps([[row.pk, actions.make_token(jobs.holder(row), name="test", days=1)[1]] for row in rows]))
"""
LOOK = """
import django, json, sys
django.setup()
from madang.jobs import queries
from madang.jobs.models import Job, Run
from madang.jobs.tests.make import balance
from madang.ledger import queries as ledger
job = Job.objects.select_related("allocation").get(uuid=sys.argv[1])
print(json.dumps({
    "runs": list(Run.objects.filter(job=job).values_list("gpu_seconds", flat=True)),
    "balance": balance(job.allocation),
    "job": [job.used, job.held, job.overrun],
    "wrong": [len(part) for part in queries.mismatches()] + [len(ledger.check())],
}))
"""


@pytest.fixture(scope="module")
def running() -> Iterator[TestSite]:
    if reason := Sandbox().probe:
        pytest.skip(reason)
    with site() as made:
        made.start()
        yield made


@pytest.fixture(scope="module")
def granted(running: TestSite) -> list[tuple[int, str]]:
    """Allocations that no test has used yet, with their holders' tokens."""
    return [(allocation, token) for allocation, token in beside(running, MAKE)]


def beside(running: TestSite, code: str, *words: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment(**running.urls()), capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("killed", ["web, worker, engine", "web, worker, engine, postgres"])
def test_a_job_outlives_the_site_and_is_charged_once(running, granted, killed):
    allocation, token = granted.pop()
    with Client(running.url, token) as member:
        asked = {"uuid": str(uuid4()), "allocation": allocation, "name": "long", "script": JOB, "gpus": 2,
                 "limit_s": 600}  # fmt: skip
        uuid = member.post("/compute/jobs", asked)["uuid"]
        assert member.get(f"/compute/jobs/{uuid}")["held"] == 1200
        until(lambda: "step 2" in member.get(f"/compute/jobs/{uuid}/log")["text"], why="the job does not run")

        parts = [pid for name in killed.split(", ") for pid in running.part(name)]
        os.kill(running.pid, signal.SIGKILL)  # first, so that it starts nothing again
        kill(parts)
        running.process.wait()
        until(lambda: not any(alive(pid) for pid in parts), 30, "something lives on")
        assert not running.serves()
        time.sleep(1)

        # What was asked for and not answered may be asked for again: it is the same job.
        running.start()
        assert member.post("/compute/jobs", asked)["uuid"] == uuid
        until(lambda: member.get(f"/compute/jobs/{uuid}")["state"] == "ended", why="the job does not end")
        job = member.get(f"/compute/jobs/{uuid}")
        assert (job["outcome"], job["exit_code"], job["why"]) == ("completed", 0, "")
        assert member.get(f"/compute/jobs/{uuid}/log")["text"] == LOG
        assert member.bytes(f"/compute/jobs/{uuid}/files/result.txt") == b"result\n"
        (left,) = [row for row in member.get("/compute/balance")["items"] if row["allocation"] == allocation]

    # Twice the seconds that it ran, whatever happened meanwhile; a slow machine takes longer for the same steps.
    found = beside(running, LOOK, uuid)
    (used,) = found["runs"]
    assert STEPS // 2 * 2 <= used <= 120
    assert used % 2 == 0
    assert found["job"] == [used, 0, 0]
    assert found["balance"] == [0, used, TEN_HOURS - used]
    assert (left["used"], left["held"], left["left"]) == (used, 0, TEN_HOURS - used)
    assert found["wrong"] == [0, 0, 0]
