"""A site whose cluster is a real Slurm: from the opened allocation to the charge."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from madang.engines.base import Unavailable
from madang.engines.slurm import Commands, handing, records
from madang.engines.tests import clusters
from madang.facilities.compute import queries
from madang.facilities.compute.models import EngineKind, Partition, PosixAccount
from madang.facilities.compute.storage import folder_of
from madang.facilities.compute.tests import make
from madang.grants.models import Allocation
from madang.identity.tests import make as identity
from madang.jobs import actions, maintenance, poller
from madang.jobs import queries as job_queries
from madang.jobs.models import Bare, Job, Maintenance, Run, Stray, Watch
from madang.jobs.tests import make as jobs
from madang.ledger import actions as ledger
from madang.ledger.models import Entry
from madang.ledger.verify import verify
from madang.web.templatetags.madang import seoul
from madang.web.tests import letters
from madang.workflow.moment import now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("slurm")]
BARE = "#!/bin/sh\nsleep 2\n"


@pytest.fixture
def slurm(settings: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The cluster of these tests; where a test says so, one whose clock is so many seconds ahead."""
    ahead = getattr(request, "param", 0)
    made, reason = clusters.wrong_clock() if ahead else clusters.shared()
    if made is None:
        pytest.skip(reason)
    if ahead:
        made.tell(ahead)
    prefix = f"mdt{os.getpid()}x{time.monotonic_ns() % 10**6}-"
    settings.SLURM = {
        made.name: {"conf": str(made.conf), "runs": str(made.root / "runs"), "makes_users": prefix},
    }
    yield made
    for name in PosixAccount.objects.values_list("name", flat=True):
        subprocess.run(["scancel", f"--user={name}"], env=Commands(made.conf).environment(), check=False)
        clusters.remove_user(name)
    with connection.cursor() as cursor:  # its partitions are no models, so that no test empties them by itself
        cursor.execute("TRUNCATE ledger_usage")


@pytest.fixture
def place(slurm: Any) -> Partition:
    cluster = make.cluster(code=slurm.name, engine=EngineKind.SLURM)
    return make.partition(cluster, name="small", gpu_type="small", gpus=3, most_gpus=3, memory_mb=100, declared=False)


def until(happened: Callable[[], Any], seconds: float = 40) -> Any:
    """Look at the engines until `happened` says something true."""
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end, (
            list(Watch.objects.values_list("error", "drift", "health")),
            list(Job.objects.exclude(state="ended").values_list("state", "waits", "why", "told_at")),
        )
        poller.look()
        time.sleep(0.1)
    return found


def told(row: Allocation) -> None:
    """Until the engine was told of an allocation."""
    Watch.objects.update(budgets_at=None)
    until(lambda: Watch.objects.filter(budgets_at__isnull=False).exists())


def over(job: Job) -> Job:
    return until(lambda: Job.objects.filter(pk=job.pk, state="ended").first())


def commands(slurm: Any) -> Commands:
    return Commands(slurm.conf)


def sbatch(slurm: Any, row: Allocation, *more: str) -> None:
    user = PosixAccount.objects.get(person=jobs.holder(row)).name
    words = [f"--account=grant-{row.grant_id}", f"--qos=allocation-{row.pk}", "--partition=small", "--nodes=1"]
    words += ["--time=1", "--gpus-per-node=small:1", "--mem=100M", "--output=/dev/null"]
    commands(slurm).as_user(user, ["sbatch", *words, *more], stdin=BARE)


def test_a_job_runs_as_its_person_and_is_charged_what_slurm_counted(slurm, place):
    row = make.allocation(place)
    told(row)
    job = make.job(row, script="#!/bin/sh\nid -un\nsleep 2\n", gpus=2, limit_s=60)
    actions.hand_over(job)
    job = over(job)
    assert (job.outcome, job.exit_code) == ("completed", 0)
    (run,) = job_queries.runs_of(job)
    assert run.gpu_seconds >= 4
    assert jobs.balance(row) == (0, run.gpu_seconds, row.amount - run.gpu_seconds)
    name = PosixAccount.objects.get(person=job.person).name
    assert queries.log_tail(job).text.split() == [name]
    assert job.posix_user == name
    assert verify() == []


def test_a_job_that_comes_before_its_budget_waits_for_it_and_is_not_refused(slurm, place):
    row = make.allocation(place)
    job = make.job(row, script="#!/bin/sh\necho hello\n", limit_s=60)
    with pytest.raises(Unavailable, match="doesn't know it yet"):
        actions.hand_over(job)
    told(row)
    actions.hand_over(job)
    assert over(job).outcome == "completed"


def test_a_budget_that_was_told_of_and_is_refused_ends_the_job(slurm, place):
    row = make.allocation(place)
    told(row)
    job = make.job(row, limit_s=60)
    name = f"allocation-{row.pk}"
    commands(slurm).write("sacctmgr", "-iQ", "modify", "qos", "where", f"name={name}", "set", "GrpTRESMins=gres/gpu=0")
    until(lambda: f"{name}(" in (said := limits(slurm)) and "gres/gpu=0(" in said.split(f"QOS={name}(")[1][:2000])
    Watch.objects.update(budgets_at=job.submitted_at + (job.submitted_at - row.grant.starts_at))
    actions.hand_over(job)
    job.refresh_from_db()
    assert (job.state, job.outcome) == ("ended", "refused")
    assert jobs.balance(row)[0] == 0


def limits(slurm: Any) -> str:
    return commands(slurm).read("scontrol", "-o", "show", "assoc_mgr", "flags=qos")


def test_what_a_member_submits_with_sbatch_is_charged_to_the_allocation_and_shown(slurm, place):
    row = make.allocation(place)
    told(row)
    sbatch(slurm, row)
    job = until(lambda: Job.objects.filter(bare=True).first())
    assert (job.allocation, job.person, job.state, job.gpus) == (row, jobs.holder(row), "ended", 1)
    assert job.used == Run.objects.get(job=job).gpu_seconds >= 2
    assert jobs.balance(row) == (0, job.used, row.amount - job.used)
    assert job in job_queries.jobs_of(jobs.holder(row)).items
    assert job_queries.jobs_of(jobs.holder(make.allocation(place))).items == []
    assert job_queries.mismatches() == ([], [])


def test_what_a_member_submits_with_sbatch_is_seen_while_it_waits_and_runs(slurm, place):
    row = make.allocation(place)
    told(row)
    sbatch(slurm, row, "--array=0-3", "--begin=now+300")
    waits = until(lambda: Bare.objects.filter(started_at=None, runs=4).first())
    sbatch(slurm, row)
    until(lambda: Bare.objects.filter(started_at__isnull=False, runs=1).first())
    assert (waits.allocation, waits.person, waits.partition, waits.gpus) == (row, jobs.holder(row), place.name, 1)
    assert waits.name.removeprefix("slurm-").isdigit()
    ended = until(lambda: Job.objects.filter(bare=True).first())
    assert ended.name.removeprefix("slurm-").isdigit()
    commands(slurm).write("scancel", waits.name.removeprefix("slurm-"))
    until(lambda: not Bare.objects.exists())


def test_what_ran_under_no_budget_of_ours_is_asked_about_and_charged_to_nobody(slurm, place):
    row = make.allocation(place)
    told(row)
    sbatch(slurm, row)
    PosixAccount.objects.update(name="somebody-else")
    stray = until(lambda: Stray.objects.filter(budget=f"allocation-{row.pk}").first())
    clusters.remove_user(stray.posix_user)
    assert stray.gpu_seconds >= 2
    assert jobs.balance(row) == (0, 0, row.amount)


def running(slurm: Any, row: Allocation, script: str, **facts: Any) -> tuple[Job, str]:
    """A job that has said “up”, and its number."""
    job = make.job(row, script=f"#!/bin/sh\necho up\n{script}\n", **{"limit_s": 60, "requeue": True, **facts})
    actions.hand_over(job)
    until(lambda: "up" in queries.log_tail(job).text)
    until(lambda: Job.objects.get(pk=job.pk).state == "running")
    return job, number_of(slurm, job)


def test_a_requeued_run_is_charged_and_the_next_one_has_a_hold_again(slurm, place):
    row = make.allocation(place)
    told(row)
    job, number = running(slurm, row, "sleep 4")
    commands(slurm).write("scontrol", "requeue", number)
    until(lambda: Job.objects.get(pk=job.pk).state == "queued")
    job.refresh_from_db()
    assert (job.held, jobs.balance(row)[0]) == (60, 60)
    job = over(job)
    runs = list(Run.objects.filter(job=job).order_by("id"))
    assert [run.outcome for run in runs] == ["preempted", "completed"]
    assert queries.log_tail(job).text == "up\nup\n"
    assert jobs.balance(row)[:2] == (0, sum(run.gpu_seconds for run in runs)) == (0, job.used)
    assert Entry.objects.filter(kind="hold", ext_key__startswith=str(job.uuid)).count() == 2
    assert [Entry.objects.filter(kind="settle", ext_key=run.key).count() for run in runs] == [1, 1]
    assert verify() == []


def test_a_job_that_may_not_start_again_does_not(slurm, place):
    row = make.allocation(place)
    told(row)
    _job, number = running(slurm, row, "sleep 6", requeue=False)
    commands(slurm).write("scontrol", "requeue", number)
    job = over(_job)
    assert [run.outcome for run in Run.objects.filter(job=job)] == ["completed"]
    assert queries.log_tail(job).text == "up\n"


def test_what_starts_again_and_is_not_covered_is_held_by_slurm_until_it_is(slurm, place):
    row = make.allocation(place, amount=60)
    told(row)
    job, number = running(slurm, row, "sleep 4")
    time.sleep(2)  # so that it has used some of it
    commands(slurm).write("scontrol", "requeue", number)
    until(lambda: "JobHeldAdmin" in commands(slurm).read("squeue", "-h", "-o", "%r", "-j", number))
    assert job_queries.held_back(Job.objects.get(pk=job.pk))
    assert jobs.balance(row)[0] == 0
    assert len(letters.to(job.person, "잔여량")) == 1
    pool = ledger.site_account(commodity=row.resource.commodity, role="pool")
    ledger.grant(pool=pool, account=row.account, amount=600, source="test", key="more", actor=None, reason="test")
    job = over(job)
    runs = list(Run.objects.filter(job=job).order_by("id"))
    assert [run.outcome for run in runs] == ["preempted", "completed"]
    assert jobs.balance(row) == (0, job.used, 660 - job.used)
    assert (job.used, job.overrun) == (sum(run.gpu_seconds for run in runs), 0)
    assert verify() == []


def killed(slurm: Any, name: str, by: signal.Signals = signal.SIGKILL) -> None:
    """A daemon with all that it started, as if the machine had lost power."""
    pid = int((slurm.run / "slurm" / f"{name}.pid").read_text())
    os.kill(pid, by)
    until_gone(pid)


def until_gone(pid: int) -> None:
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.05)


def test_a_maintenance_is_a_reservation_and_a_job_that_would_run_into_it_says_until_when(slurm, place):
    row, boss = make.allocation(place), identity.operator()
    told(row)
    start = now() + timedelta(minutes=3)
    window = maintenance.announce(
        boss, engine=slurm.name, partition="small", starts_at=start, ends_at=start + timedelta(hours=1), reason="fans"
    )
    until(lambda: Maintenance.objects.filter(taken_at__isnull=False).exists())
    reservations = ("scontrol", "-o", "show", "reservation")
    assert f"ReservationName=madang_{window.pk} " in commands(slurm).read(*reservations)
    job = make.job(row, script="#!/bin/sh\ntrue\n", limit_s=600)
    actions.hand_over(job)
    until(lambda: Job.objects.filter(pk=job.pk, waits="Maintenance", expected_at=window.ends_at).exists())
    client = Client(HTTP_ACCEPT_LANGUAGE="en")
    client.force_login(job.person)
    page = client.get(f"/compute/jobs/{job.uuid}/").content.decode()
    assert f"reaches into the maintenance from {seoul(window.starts_at)} to {seoul(window.ends_at)}" in page
    maintenance.withdraw(boss, window=window)
    assert over(job).outcome == "completed"
    assert "madang_" not in commands(slurm).read(*reservations)


def test_f1_a_controller_killed_after_twenty_submissions_forgets_nothing_that_we_know(slurm, place, monkeypatch):
    """Those of the last seconds are unknown to it afterwards, and their ids are given out again."""
    monkeypatch.setattr(handing, "DEAD_S", 25.0)
    row = make.allocation(place)
    told(row)
    all_of_them = [make.job(row, script="#!/bin/sh\necho ran\nsleep 1\n", limit_s=60) for _ in range(20)]
    for job in all_of_them:
        actions.hand_over(job)
    time.sleep(2)
    killed(slurm, "slurmctld")
    poller.look()
    assert not Job.objects.filter(outcome="completed", ended_at__isnull=True).exists()
    assert jobs.balance(row)[0] == Job.objects.exclude(state="ended").count() * 60
    slurm.start_controller()

    def all_ended() -> bool:
        resume(slurm)
        return not Job.objects.exclude(state="ended").exists()

    # Of one whose end the accounting missed, the controller tells for as long as it remembers it: a minute here.
    until(all_ended, 200)
    runs = list(Run.objects.filter(job__in=all_of_them, started_at__isnull=False))
    # One that the controller itself killed as an orphan, halfway, isn't run again: nobody said that it may be.
    halfway = [job for job in Job.objects.all() if job.outcome == "lost"]
    odd = [job for job in Job.objects.all() if job.outcome not in ("completed", "lost")]
    assert odd == [], [
        (job.outcome, job.exit_code, job.why, sorted(p.name for p in folder_of(job).glob("0/1/*"))) for job in odd
    ]
    assert [queries.log_tail(job).text for job in all_of_them] == ["ran\n"] * 20
    ends = [path.read_text() for job in halfway for path in folder_of(job).glob("0/1/ended.*")]
    assert all(end.startswith(("143 ", "137 ")) for end in ends)
    paid = sum(run.gpu_seconds for run in runs if run.outcome != "lost")
    held, _debited, left = jobs.balance(row)  # what the accounting said otherwise later was reversed and booked anew
    assert (held, left) == (0, row.amount - paid)
    assert len({run.job_id for run in runs}) == len(runs) == 20
    assert not Job.objects.filter(bare=True).exists()
    assert not Stray.objects.filter(budget=f"allocation-{row.pk}").exists()
    watch = Watch.objects.get()
    assert "leaked_gpus" not in {warning["code"] for warning in watch.health["warnings"]}
    assert verify() == []


def test_f3_what_was_billed_while_the_controller_was_away_is_given_back(slurm, place, monkeypatch):
    monkeypatch.setattr(records, "SLACK_S", 8)
    row = make.allocation(place)
    told(row)
    job = make.job(row, script="#!/bin/sh\necho up\nsleep 11\n", limit_s=120)
    actions.hand_over(job)
    until(lambda: "up" in queries.log_tail(job).text)
    killed(slurm, "slurmctld", signal.SIGTERM)  # it saves that the job runs
    time.sleep(28)
    slurm.start_controller()
    job = until(lambda: resume(slurm) or Job.objects.filter(pk=job.pk, state="ended").first(), 200)
    (run,) = job_queries.runs_of(job)
    assert (job.outcome, run.entry is None) == ("completed", False)
    assert run.gpu_seconds > 20
    assert 10 <= (run.marked_at - run.started_at).total_seconds() <= 15
    actions.answer_excess(identity.operator(), run=run, give_back=True, reason="the marks are right")
    held, _debited, left = jobs.balance(row)
    assert (held, row.amount - left) == (0, int((run.marked_at - run.started_at).total_seconds()))
    assert verify() == []


def resume(slurm: Any) -> None:
    """What an operator does with a node that was drained as it still ran a forgotten job of a number that was given out
    again."""
    said = commands(slurm).read("scontrol", "-o", "show", "node", "small-1")
    if "DRAIN" in said:
        assert "Duplicate jobid" in said
        if "IDLE" in said:
            commands(slurm).write("scontrol", "update", "NodeName=small-1", "State=RESUME")


def test_f5_what_a_dead_node_took_is_charged_and_given_back(slurm, place):
    row = make.allocation(place)
    told(row)
    job = make.job(row, script="#!/bin/sh\necho up\nexec sleep 300\n", limit_s=600)
    actions.hand_over(job)
    until(lambda: "up" in queries.log_tail(job).text)
    until(lambda: Job.objects.get(pk=job.pk).state == "running")
    lose_node(slurm, job)
    job = over(job)
    assert job.outcome == "node_failed"
    run = Run.objects.get(job=job)
    assert run.gpu_seconds > 0
    assert (job.used, job.held, jobs.balance(row)) == (0, 0, (0, run.gpu_seconds, row.amount))
    kinds = Entry.objects.filter(ext_key=run.key).order_by("id").values_list("kind", "amount")
    assert list(kinds) == [("settle", run.gpu_seconds), ("refund", run.gpu_seconds)]


def test_f5_a_job_whose_node_died_starts_again_where_it_may(slurm, place):
    row = make.allocation(place)
    told(row)
    script = "[ -e mark ] && exit 0; touch mark; exec sleep 300"
    job, _number = running(slurm, row, script, limit_s=600)
    lose_node(slurm, job)
    job = over(job)
    runs = list(Run.objects.filter(job=job).order_by("id"))
    assert [run.outcome for run in runs] == ["node_failed", "completed"]
    assert (job.outcome, queries.log_tail(job).text) == ("completed", "up\nup\n")
    assert job.used == runs[1].gpu_seconds
    assert jobs.balance(row)[::2] == (0, row.amount - job.used)
    kinds = Entry.objects.filter(ext_key=runs[0].key).order_by("id").values_list("kind", "amount")
    assert list(kinds) == [("settle", runs[0].gpu_seconds), ("refund", runs[0].gpu_seconds)]
    assert verify() == []


def lose_node(slurm: Any, job: Job) -> None:
    """The node of a running job loses power, and comes back once the controller has missed it."""
    number = number_of(slurm, job)
    killed(slurm, "slurmd.small-1")
    for pid in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"small-1.{number}" in (pid / "cmdline").read_text().replace("\0", " "):
                os.kill(int(pid.name), signal.SIGKILL)
    try:
        until(lambda: Run.objects.filter(job=job).exists())
    finally:
        slurm.start_node("small-1")
        slurm._until(30, "the node", slurm._all_answer)


def number_of(slurm: Any, job: Job) -> str:
    return commands(slurm).read("squeue", "-h", "-o", "%A", f"--user={job.posix_user}").strip()


@pytest.mark.parametrize("slurm", [-7500, 900], ids=["behind", "ahead"], indirect=True)
def test_the_runs_of_a_cluster_whose_clock_is_wrong_are_charged_once_and_none_is_lost(slurm, place):
    row = make.allocation(place)
    told(row)
    mine = [make.job(row, script=f"#!/bin/sh\nsleep 2\nexit {n}\n", gpus=n + 1, limit_s=60) for n in range(2)]
    for job in mine:
        actions.hand_over(job)
    sbatch(slurm, row)
    until(lambda: Job.objects.filter(state="ended").count() == 3)
    for _again in range(3):
        poller.look()
    runs = {run.job_id: run for run in Run.objects.all()}
    bare = Job.objects.get(bare=True)
    assert len(runs) == Run.objects.count() == 3
    assert [(Job.objects.get(pk=job.pk).outcome, runs[job.pk].exit_code) for job in mine] == [
        ("completed", 0),
        ("failed", 1),
    ]
    for job in (*mine, bare):
        run = runs[job.pk]
        assert run.gpu_seconds == job.gpus * (run.ended_at - run.started_at).total_seconds() >= 2 * job.gpus
        assert Entry.objects.filter(ext_key=run.key).count() == 1
    paid = sum(run.gpu_seconds for run in runs.values())
    assert jobs.balance(row) == (0, paid, row.amount - paid)
    assert not Job.objects.filter(state="unknown").exists()
    assert "clocks" in {warning["code"] for warning in Watch.objects.get().health["warnings"]}
    assert verify() == []
