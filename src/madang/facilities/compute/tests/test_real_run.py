"""Real jobs through the local engine: real processes, real folders, the real queue; killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from django.db import connection, connections

from madang.engines.local import Caps, Dispatcher, Sandbox
from madang.facilities.compute import dispatcher as dispatchers
from madang.facilities.compute import host, queries
from madang.facilities.compute.models import Partition
from madang.facilities.compute.tests import make
from madang.jobs import actions, poller, tasks
from madang.jobs import queries as job_queries
from madang.jobs.models import Job, Run
from madang.jobs.tests import make as jobs
from madang.ledger import queries as ledger
from madang.web.tests.worker import work

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sandbox]
SANDBOX = Sandbox()
TEN_HOURS = 10 * 3600
WORK = """#!/bin/sh
echo begun
for n in 1 2 3 4 5 6 7 8; do echo step $n; sleep 0.2; done
echo result > result.txt
ln -s /etc/passwd link
echo done
"""


@pytest.fixture
def partition() -> Iterator[Partition]:
    if SANDBOX.probe:
        pytest.skip(SANDBOX.probe)
    yield make.partition(gpus=2, most_gpus=2)
    with connection.cursor() as cursor:  # the tables that Django doesn't know, and so doesn't empty
        cursor.execute("UPDATE engine_slot SET run = NULL")
        for table in ("procrastinate_events", "procrastinate_periodic_defers", "procrastinate_jobs"):
            cursor.execute(f"DELETE FROM {table}")
        for table in ("engine_slot", "engine_file", "engine_run", "engine_job", "engine_machine", "engine_budget"):
            cursor.execute(f"DELETE FROM {table}")


def dispatcher(code: str) -> Dispatcher:
    runs = host.runs_of(code)
    runs.mkdir(parents=True, exist_ok=True)
    return Dispatcher(host.connect, runs, code, sandbox=SANDBOX, caps=Caps(grace_s=0.5, beat_s=0.2))


def until(job: Job, state: str, code: str, *, mover: Dispatcher | None = None, seconds: float = 30) -> Job:
    """Look, as the poller would, until the job is in this state."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if mover:
            mover.step()
        poller.look()
        job.refresh_from_db()
        if job.state == state:
            return job
        time.sleep(0.1)
    raise AssertionError(f"still {job.state} after {seconds} s: {queries.log_tail(job).text}")


def settled(row, job: Job, *, least: int, most: int) -> None:
    (run,) = job_queries.runs_of(job)
    assert least <= run.gpu_seconds <= most
    assert jobs.balance(row) == (0, run.gpu_seconds, TEN_HOURS - run.gpu_seconds)
    assert (job.used, job.held, job.overrun) == (run.gpu_seconds, 0, 0)
    assert (job_queries.mismatches(), ledger.check()) == (([], []), [])


def test_a_job_runs_in_its_sandbox_from_the_queue_to_the_bill(partition):
    row = make.allocation(partition)
    job = make.job(row, script=WORK, gpus=2)
    code = partition.cluster.code
    work()
    job.refresh_from_db()
    assert job.state in ("submitted", "queued")  # the worker may have had its turn as the poller, too
    mover = dispatcher(code)
    until(job, "running", code, mover=mover)
    assert job.held == 1200
    until(job, "ended", code, mover=mover)
    mover.close()
    assert (job.outcome, job.exit_code) == ("completed", 0)
    text = queries.log_tail(job).text
    assert [line for line in text.split("\n") if line] == ["begun", *(f"step {n}" for n in range(1, 9)), "done"]
    assert [entry.path for entry in queries.files_of(job)] == ["result.txt"]
    with queries.open_file(job, "result.txt") as file:
        assert file.read() == b"result\n"
    settled(row, job, least=4, most=20)


def test_each_task_of_a_sweep_runs_with_its_row_in_its_own_folder(partition):
    row = make.allocation(partition)
    script = '#!/bin/sh\necho "$MADANG_TASK of $MADANG_TASKS: $lr $1"\necho "$lr" > out.txt\ntest "$lr" != "it\'s 2"\n'
    job = make.job(row, script=script, arguments=["x y"], parameters="lr\n0.1\nit's 2\n0.3\n")
    work()
    mover = dispatcher(partition.cluster.code)
    until(job, "ended", partition.cluster.code, mover=mover)
    mover.close()
    assert [queries.log_tail(job, task).text for task in range(3)] == [
        "0 of 3: 0.1 x y\n",
        "1 of 3: it's 2 x y\n",
        "2 of 3: 0.3 x y\n",
    ]
    with queries.open_file(job, "out.txt", 2) as file:
        assert file.read() == b"0.3\n"
    assert (job.outcome, job_queries.tally(job).counts) == ("failed", {"completed": 2, "failed": 1})
    assert jobs.balance(row) == (0, job.used, TEN_HOURS - job.used)
    assert (job_queries.mismatches(), ledger.check()) == (([], []), [])


def test_the_loops_that_a_site_starts_run_a_job_and_stop_when_told(partition):
    row = make.allocation(partition)
    job = make.job(row, script="#!/bin/sh\necho hello\n")
    actions.hand_over(job)
    stop = threading.Event()
    loops = [
        threading.Thread(target=dispatchers.run, args=(stop, 0.2)),
        threading.Thread(target=poller.run, args=(stop, 0.2)),
    ]
    for loop in loops:
        loop.start()
    try:
        end = time.monotonic() + 30
        while job.lives and time.monotonic() < end:
            time.sleep(0.2)
            job.refresh_from_db()
    finally:
        stop.set()
        for loop in loops:
            loop.join(timeout=30)
    assert (job.outcome, [loop.is_alive() for loop in loops]) == ("completed", [False, False])
    settled(row, job, least=1, most=15)


def test_canceling_ends_a_running_job_and_charges_what_it_used(partition):
    row = make.allocation(partition)
    job = make.job(row, script="#!/bin/sh\nsleep 600\n")
    code = partition.cluster.code
    actions.hand_over(job)
    mover = dispatcher(code)
    until(job, "running", code, mover=mover)
    actions.cancel(jobs.holder(row), job=job)
    tasks.cancel(job=job.pk)
    until(job, "ended", code, mover=mover)
    mover.close()
    assert job.outcome == "cancelled"
    settled(row, job, least=1, most=30)


def test_dispatcher_and_poller_die_while_a_job_runs_and_its_end_log_and_charge_are_right(partition):
    row = make.allocation(partition)
    job = make.job(row, script=WORK)
    code = partition.cluster.code
    actions.hand_over(job)
    first = subprocess.Popen([sys.executable, "-c", CHILD, code, str(host.runs_of(code))], env=child_environment())
    try:
        until(job, "running", code)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    job_state_before = job.state
    time.sleep(2.5)  # it goes on and ends while nobody looks
    job.refresh_from_db()
    assert (job_state_before, job.state) == ("running", "running")
    mover = dispatcher(code)
    until(job, "ended", code, mover=mover)
    mover.close()
    assert (job.outcome, job.exit_code, Run.objects.count()) == ("completed", 0, 1)
    assert queries.log_tail(job).text.endswith("step 8\ndone\n")
    settled(row, job, least=1, most=15)


def test_a_poller_killed_between_two_looks_forgets_nothing(partition):
    row = make.allocation(partition)
    made = [make.job(row, script="#!/bin/sh\necho short\n", limit_s=60) for _ in range(4)]
    code = partition.cluster.code
    mover = dispatcher(code)
    for job in made:
        actions.hand_over(job)
    for _round in range(3):
        child = subprocess.Popen([sys.executable, "-c", POLLER], env=child_environment())
        for _ in range(6):
            mover.step()
            time.sleep(0.1)
        child.send_signal(signal.SIGKILL)
        child.wait()
    for job in made:
        until(job, "ended", code, mover=mover)
    mover.close()
    assert (Run.objects.count(), {job.outcome for job in made}) == (4, {"completed"})
    used = sum(job.used for job in made)
    assert jobs.balance(row) == (0, used, TEN_HOURS - used)
    assert (job_queries.mismatches(), ledger.check()) == (([], []), [])


def test_many_submit_at_once_and_the_balance_is_never_overspent(partition):
    row = make.allocation(partition, amount=5 * 600)
    person = jobs.holder(row)
    results: list[str] = []

    def submit() -> None:
        try:
            make.job(row, person)
            results.append("taken")
        except actions.Refused:
            results.append("refused")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=submit) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (results.count("taken"), results.count("refused"), Job.objects.count()) == (5, 7, 5)
    assert jobs.balance(row) == (3000, 0, 0)


def test_one_uuid_from_eight_windows_at_once_is_one_job(partition):
    row = make.allocation(partition)
    person, uuid = jobs.holder(row), uuid4()
    made: list[int] = []

    def submit() -> None:
        try:
            made.append(make.job(row, person, uuid=uuid).pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(set(made)), jobs.balance(row)[0]) == (8, 1, 600)


def test_the_shipped_job_trains_on_real_data_and_reports_its_accuracy(partition, settings):
    pytest.importorskip("sklearn")
    settings.DEMO = True
    row = make.allocation(partition)
    job = make.job(row, script=host.SHIPPED.read_text(), arguments=["--rounds", "6"])
    code = partition.cluster.code
    actions.hand_over(job)
    mover = dispatcher(code)
    until(job, "ended", code, mover=mover, seconds=120)
    mover.close()
    text = queries.log_tail(job).text
    assert (job.outcome, job.trusted) == ("completed", True), text
    accuracy = float(text.strip().rsplit("accuracy ", 1)[1])
    assert accuracy > 0.95
    assert [entry.path for entry in queries.files_of(job)] == ["metrics.json", "model.pkl", "report.md"]


def child_environment() -> dict[str, str]:
    """A process of its own, on the database of this test."""
    known = connection.settings_dict
    address = f"postgresql://{known['USER']}@/{known['NAME']}?host={known['HOST'] or known['OPTIONS'].get('host', '')}"
    return {**os.environ, "DATABASE_URL": address, "DATABASE_OWNER_URL": address}


CHILD = """
import sys, threading
import django
django.setup()
from pathlib import Path
from madang.engines.local import Dispatcher
from madang.facilities.compute import host
Dispatcher(host.connect, Path(sys.argv[2]), sys.argv[1]).run(threading.Event(), 0.1)
"""
POLLER = """
import threading
import django
django.setup()
from madang.jobs import poller
poller.run(threading.Event(), 0.05)
"""
