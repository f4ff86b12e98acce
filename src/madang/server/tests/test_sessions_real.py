"""Real programs behind the real proxy: in their sandbox, without a network, reached by the socket in their folder.

MADANG_JUPYTER and MADANG_TENSORBOARD name them, for example /opt/jupyter/bin/jupyter-lab: they are not among what the
tests install.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import threading
import time
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import connection

from madang.engines.local import Caps, Dispatcher, Sandbox
from madang.facilities.compute import actions, host, queries, sessions
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
TENSORBOARD = os.environ.get("MADANG_TENSORBOARD") or shutil.which("tensorboard") or ""
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sandbox]
TEN_HOURS = 10 * 3600


@pytest.fixture
def place(settings, tmp_path, request):
    program = request.param
    if not program:
        pytest.skip("neither MADANG_JUPYTER nor MADANG_TENSORBOARD names it")
    sandbox = Sandbox(readonly=[Path(program).parent.parent])
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


@pytest.mark.parametrize("place", [JUPYTER], ids=["jupyterlab"], indirect=True)
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


def _events(folder: Path) -> bytes:
    """A file of TensorBoard's, as itself writes it."""
    made = """import sys
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
writer = EventFileWriter(sys.argv[1])
writer.add_event(Event(step=1, summary=Summary(value=[Summary.Value(tag="loss", simple_value=0.25)])))
writer.close()
"""
    subprocess.run([Path(TENSORBOARD).with_name("python3"), "-c", made, folder], check=True)
    (file,) = folder.iterdir()
    return file.read_bytes()


@pytest.mark.parametrize("place", [TENSORBOARD], ids=["tensorboard"], indirect=True)
def test_tensorboard_shows_the_files_that_the_session_was_given(place, settings, tmp_path):
    partition, mover = place
    row = make.allocation(partition)
    lead = jobs.holder(row)
    events = _events(tmp_path / "events")
    actions.add_file(
        lead, grant=row.grant, path="run/events.out.tfevents.1", content=io.BytesIO(events), size=len(events)
    )
    with Running(settings) as proxy:
        kind = sessions.add_kind(
            identity.operator(), code="tensorboard", name_ko="텐서보드", name_en="TensorBoard", program="tensorboard",
            command=TENSORBOARD, most_gpus=1, longest_s=3600, idle_s=60,
        )  # fmt: skip
        session = sessions.start(
            lead, uuid=uuid4(), kind=kind, allocation=row, gpus=1, limit_s=1800, files=["run/events.out.tfevents.1"]
        )
        work()
        until(session.job, "running", session.job.engine, mover=mover)
        proxy.until(lambda: Session.objects.get().ready_at)
        session.refresh_from_db()
        visitor = browser(proxy, lead, session)
        assert "TensorBoard" in visitor.get("/").text
        proxy.until(lambda: "run" in visitor.get("/data/runs").text)
        assert "loss" in visitor.get("/data/plugin/scalars/tags").text
        sessions.end(lead, session=session)
        work()
        until(session.job, "ended", session.job.engine, mover=mover)
        proxy.until(lambda: visitor.get("/").status == 403)
    assert jobs.balance(row)[0] == 0
