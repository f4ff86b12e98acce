"""A real JupyterLab behind the real proxy: in its sandbox, without a network, reached by the socket in its folder.

MADANG_JUPYTER names the program, for example /opt/jupyter/bin/jupyter-lab: it is not among what the tests install.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import connection

from madang.engines.local import Caps, Dispatcher, Sandbox
from madang.facilities.compute import host, queries, sessions
from madang.facilities.compute.models import Session
from madang.facilities.compute.tests import make
from madang.facilities.compute.tests.test_real_run import until
from madang.identity.tests import make as identity
from madang.jobs import engines
from madang.jobs import queries as job_queries
from madang.jobs.models import Job
from madang.jobs.tests import make as jobs
from madang.ledger import queries as ledger
from madang.server.tests.proxied import Running, browser
from madang.web.tests.worker import work
from madang.workflow.moment import now

JUPYTER = os.environ.get("MADANG_JUPYTER") or shutil.which("jupyter-lab") or ""
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sandbox]
TEN_HOURS = 10 * 3600


@pytest.fixture
def place(settings, tmp_path):
    if not JUPYTER:
        pytest.skip("no JupyterLab: MADANG_JUPYTER doesn't name one")
    sandbox = Sandbox(readonly=[Path(JUPYTER).parent.parent])
    if sandbox.probe:
        pytest.skip(sandbox.probe)
    settings.RUNS_ROOT = tmp_path / "runs"
    engines._built.clear()
    partition = make.partition(gpus=2, most_gpus=2)
    runs = host.runs_of(partition.cluster.code)
    runs.mkdir(parents=True)
    mover = Dispatcher(host.connect, runs, partition.cluster.code, sandbox=sandbox, caps=Caps(grace_s=2, beat_s=0.2))
    yield partition, mover
    mover.close()
    engines._built.clear()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE engine_slot SET run = NULL")
        for table in ("procrastinate_events", "procrastinate_periodic_defers", "procrastinate_jobs"):
            cursor.execute(f"DELETE FROM {table}")
        for table in ("engine_slot", "engine_file", "engine_run", "engine_job", "engine_machine", "engine_budget"):
            cursor.execute(f"DELETE FROM {table}")


def test_a_notebook_starts_is_opened_computes_ends_when_idle_and_is_charged(place, settings):
    partition, mover = place
    row = make.allocation(partition)
    lead = jobs.holder(row)
    with Running(settings) as proxy:
        kind = sessions.add_kind(
            identity.operator(),
            code="jupyterlab",
            name_ko="주피터랩",
            name_en="JupyterLab",
            program="jupyterlab",
            command=JUPYTER,
            most_gpus=1,
            longest_s=3600,
            idle_s=60,
        )
        session = sessions.start(lead, uuid=uuid4(), kind=kind, allocation=row, gpus=1, limit_s=1800)
        work()
        until(session.job, "running", session.job.engine, mover=mover)
        assert jobs.balance(row) == (1800, 0, TEN_HOURS - 1800)
        proxy.until(lambda: Session.objects.get().ready_at)
        session.refresh_from_db()
        visitor = browser(proxy, lead, session)
        assert "JupyterLab" in visitor.get("/lab").text
        assert visitor.run("import os; print(6 * 7, os.getcwd(), os.getuid())") == "42 /work 1000\n"
        assert "Network is unreachable" in visitor.run("import socket; socket.create_connection(('192.0.2.1', 80), 3)")
        assert "FileNotFoundError" in visitor.run(f"open({str(settings.MEDIA_ROOT)!r})")

        computing = threading.Thread(target=visitor.run, args=("import time; time.sleep(8)",))
        computing.start()
        time.sleep(2)  # it has begun
        idle_for(61)
        proxy.until(lambda: now() - Session.objects.get().active_at < timedelta(seconds=30), 6)
        computing.join()
        time.sleep(1)
        proxy.look()
        assert Job.objects.get().cancel_asked_at is None

        idle_for(61)
        proxy.until(lambda: Job.objects.get().cancel_asked_at)
        work()
        until(session.job, "ended", session.job.engine, mover=mover)
        assert visitor.get("/lab").status == 403
    assert (session.job.outcome, Session.objects.get().idle_at is None) == ("cancelled", False)
    log = queries.log_tail(session.job).text
    assert ".session" in log
    assert not [secret for secret in visitor.cookies.values() if secret in log]
    (run,) = job_queries.runs_of(session.job)
    assert 8 <= run.gpu_seconds <= 120
    assert jobs.balance(row) == (0, run.gpu_seconds, TEN_HOURS - run.gpu_seconds)
    assert (job_queries.mismatches(), ledger.check()) == (([], []), [])


def idle_for(seconds: int) -> None:
    Session.objects.update(active_at=now() - timedelta(seconds=seconds))
