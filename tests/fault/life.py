"""The life of a job, with whoever moves it killed between any two steps, and then started again plainly.

Time is counted in looks of the poller: a job is made older at each, by as long as a site waits between two.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, connections
from django.db.models import F
from procrastinate.contrib.django import procrastinate_app

from madang.engines.base import START, Outcome, Unavailable
from madang.engines.local import Caps, Dispatcher, Sandbox
from madang.facilities.compute import host
from madang.facilities.compute import queries as compute
from madang.facilities.compute.tests import make
from madang.jobs import actions, engines, poller, queries, tasks
from madang.jobs.models import Job, JobState, Run, Watch
from madang.jobs.tests import make as jobs
from madang.ledger.models import Entry
from madang.ledger.queries import check
from tests.fault.counts import Counts
from tests.fault.dying import dies_before

WITHIN_S = 60
LOOKS = int(WITHIN_S / poller.EVERY_S)
PATIENCE_S = 60  # for the engine itself, which is not what is measured here
MOST_STEPS = 80
SHORT, LONG = "#!/bin/sh\necho begun\n", "#!/bin/sh\necho begun\nsleep 600\n"


class Site:
    """One partition on this machine, an allocation on it, and who may use it."""

    def __init__(self) -> None:
        if reason := Sandbox().probe:
            raise SystemExit(f"other people's jobs run in a sandbox only: {reason}")
        self.sandbox = Sandbox()
        partition = make.partition(gpus=4, most_gpus=4)
        self.row = make.allocation(partition, amount=10**6)
        self.person, self.code = jobs.holder(self.row), partition.cluster.code
        self.runs = host.runs_of(self.code)
        self.runs.mkdir(parents=True)
        assert not engines.engine_named(self.code).sandbox.probe  # looked for once, for all processes that are forked

    def submit(self, uuid: UUID | None = None, script: str = SHORT) -> Job:
        return make.job(self.row, self.person, uuid=uuid or uuid4(), script=script, limit_s=60)

    def dispatcher(self) -> Dispatcher:
        return Dispatcher(host.connect, self.runs, self.code, sandbox=self.sandbox, caps=Caps(grace_s=0.5, beat_s=0.2))

    def move(self, *, seconds: float = PATIENCE_S, until: Callable[[dict[UUID, str]], bool]) -> None:
        """Let the engine work until what it says of its live jobs is so, or it has had its time."""
        mover, end = self.dispatcher(), time.monotonic() + seconds
        try:
            while not until({run.key.job: str(run.state) for run in engines.engine_named(self.code).poll().runs}):
                assert time.monotonic() < end, "the engine doesn't get on"
                with suppress(Unavailable):  # the session of a dispatcher that died goes a moment later
                    mover.step()
                time.sleep(0.02)
        finally:
            mover.close()

    def over(self) -> None:
        self.move(until=lambda live: not live)

    def work(self) -> None:
        """The worker that a site starts, until nothing is left to do."""
        with procrastinate_app.current_app.replace_connector(
            procrastinate_app.current_app.connector.get_worker_connector()
        ) as app:
            app.run_worker(wait=False, install_signal_handlers=False, listen_notify=False)


@dataclass
class Path:
    """`begin` brings a job to where `die` is killed; who asked for `again` asks once more afterwards."""

    name: str
    begin: Callable[[Site, UUID], Any]
    die: Callable[[Site, UUID], Any]
    again: Callable[[Site, UUID], Any] = lambda site, uuid: None
    ends: tuple[str, ...] = ("completed",)


def job_of(uuid: UUID) -> Job:
    return Job.objects.select_related("allocation__grant").get(uuid=uuid)


def handed_over(site: Site, uuid: UUID, script: str = SHORT) -> None:
    actions.hand_over(site.submit(uuid, script))


def ran(site: Site, uuid: UUID) -> None:
    handed_over(site, uuid)
    site.over()


def running(site: Site, uuid: UUID) -> None:
    handed_over(site, uuid, LONG)
    site.move(until=lambda live: live.get(uuid) == "running")


def left_undone(site: Site, uuid: UUID) -> None:
    """Its task is lost."""
    site.submit(uuid)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_events")
        cursor.execute("DELETE FROM procrastinate_jobs")
    older(uuid, seconds=20)


def forgotten(site: Site, uuid: UUID) -> None:
    """The engine lost what it had accepted."""
    handed_over(site, uuid)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM engine_run WHERE job = %s", [uuid])
        cursor.execute("DELETE FROM engine_job WHERE job = %s", [uuid])
    older(uuid, seconds=20)
    poller.look()  # it is unknown from now on


def hand_over(site: Site, uuid: UUID) -> None:
    tasks.hand_over(job=job_of(uuid).pk)


def cancel(site: Site, uuid: UUID) -> None:
    actions.cancel(site.person, job=job_of(uuid))


def cancel_and_tell(site: Site, uuid: UUID) -> None:
    cancel(site, uuid)
    tasks.cancel(job=job_of(uuid).pk)


def cancel_again(site: Site, uuid: UUID) -> None:
    with suppress(actions.Stale):
        cancel(site, uuid)


def dispatch(site: Site, uuid: UUID) -> None:
    mover, end, changed = site.dispatcher(), time.monotonic() + 1, 0
    while changed < 3 and time.monotonic() < end:
        changed += mover.step()
        time.sleep(0.02)


PATHS = (
    Path("submit", lambda site, uuid: None, Site.submit, Site.submit),
    Path("submit, and nobody asks again", lambda site, uuid: None, Site.submit),
    Path("hand over", Site.submit, hand_over),
    Path("hand over what is canceled then", Site.submit, hand_over, cancel_again, ("cancelled",)),
    Path("work", Site.submit, lambda site, uuid: site.work()),
    Path("dispatch", handed_over, dispatch),
    Path("look at the end", ran, lambda site, uuid: poller.look()),
    Path("look at what was left undone", left_undone, lambda site, uuid: poller.look()),
    Path("look at what the engine forgot", forgotten, lambda site, uuid: poller.look()),
    Path("cancel what waits", Site.submit, cancel, cancel_again, ("cancelled",)),
    Path("cancel what runs", running, cancel_and_tell, cancel_again, ("cancelled",)),
)


def older(uuid: UUID, *, seconds: float) -> None:
    by = timedelta(seconds=seconds)
    Job.objects.filter(uuid=uuid).update(submitted_at=F("submitted_at") - by, told_at=F("told_at") - by)


def settle(site: Site, uuid: UUID, *, worker: bool) -> int:
    """Start again what was killed. After how many looks nothing lives any more; one more than there may be if never."""
    if worker:
        site.work()
    for look in range(1, LOOKS + 1):
        poller.look()
        if not Job.objects.filter(uuid=uuid).exclude(state=JobState.ENDED).exists():
            site.over()  # whatever the engine may still have of it comes out
            poller.look()
            return look
        site.over()  # what runs takes the time that it takes
        older(uuid, seconds=poller.EVERY_S)
    return LOOKS + 1


def judge(site: Site, path: Path, uuid: UUID, counts: Counts) -> None:
    job = Job.objects.filter(uuid=uuid).first()
    if job is None:
        orphans = Entry.objects.filter(source=actions.SOURCE, ext_key=str(uuid))
        counts.wrong("forgotten_holds", list(orphans), f"{path.name}: a hold without a job")
        counts.wrong("lost", [] if "nobody" in path.name else [uuid], f"{path.name}: no job")
        return
    counts.acknowledged += 1
    counts.wrong("lost", [] if job.outcome in path.ends else [(job.state, job.outcome, job.why)], path.name)
    ended = [row for row in engines.engine_named(site.code).usage(START, 10**6).rows if row.key.job == uuid]
    runs = list(Run.objects.filter(job=job))
    used = sum(row.gpu_seconds for row in ended if row.outcome is not Outcome.LOST)
    entries = Entry.objects.filter(source=actions.SOURCE, ext_key__contains=str(uuid))
    charged = sum(entry.amount for entry in entries if entry.kind in ("settle", "charge", "overrun"))
    begun = compute.log_tail(job).text.count("begun") if runs else 0
    if job.outcome == "completed":
        counts.wrong("lost", [] if begun else [uuid], f"{path.name}: completed and never begun")
    counts.wrong("lost", ended[len(runs) :], f"{path.name}: runs that were not recorded")
    counts.wrong("lost", [(used, charged)] if charged < used else [], f"{path.name}: used and not charged")
    counts.wrong("double_charged", [(used, charged)] if charged > used else [], f"{path.name}: charged and not used")
    counts.wrong("double_charged", runs[1:], f"{path.name}: recorded twice")
    counts.wrong("double_charged", [begun] if begun > 1 else [], f"{path.name}: it began more than once")
    counts.wrong("drift", [] if (job.used + job.overrun, job.held) == (charged, 0) else [job.used], path.name)


def judge_all(site: Site, path: Path, counts: Counts) -> None:
    holds, without = queries.mismatches()
    counts.wrong("forgotten_holds", [*holds, *without], f"{path.name}: holds without a job, jobs without a hold")
    counts.wrong("drift", check(), f"{path.name}: balances and entries")
    assert site.row.account
    held, used, left = jobs.balance(site.row)
    counts.wrong("overspent", [left] if left < 0 else [], path.name)
    total = sum(Job.objects.filter(allocation=site.row).values_list("used", flat=True))
    counts.wrong("drift", [] if (held, used) == (0, total) else [(held, used, total)], f"{path.name}: the balance")


def run(rounds: int, *, some: bool) -> Counts:
    """Each path at least `rounds` times, before the first step, the second and so on to the last, and over again; with
    `some`, so many times before steps that are drawn."""
    site, counts = Site(), Counts()
    for path in PATHS:
        killed, looks, step, most, began = 0, 0, 0, MOST_STEPS, time.monotonic()
        there = True
        while killed < rounds or (there and not some):
            step = random.randint(1, most) if some else step + 1
            there, needed = once(site, path, step, counts)
            killed, looks = killed + there, max(looks, needed)
            if not there:  # it has fewer steps
                step, most = 0, max(1, step - 1)
        # The engine tells it all once more: nothing is recorded a second time.
        before = Run.objects.count()
        Watch.objects.update(cursor="")
        poller.look()
        counts.wrong("double_charged", range(before, Run.objects.count()), f"{path.name}: told twice")
        judge_all(site, path, counts)
        took = time.monotonic() - began
        print(f"life: {path.name}: killed {killed} times, {looks} looks at most, {took:.0f} s", flush=True)
    connections.close_all()
    return counts


def once(site: Site, path: Path, step: int, counts: Counts) -> tuple[bool, int]:
    """Whether it was killed before that step, and how many looks it took until nothing lived any more."""
    uuid = uuid4()
    path.begin(site, uuid)
    killed = dies_before(step, lambda: path.die(site, uuid))
    counts.rounds += killed
    path.again(site, uuid)
    looks = settle(site, uuid, worker=bool(step % 2))
    counts.wrong("forgotten_holds", [uuid] if looks > LOOKS else [], f"{path.name} before step {step}: it lives on")
    judge(site, path, uuid, counts)
    judge_all(site, path, counts)
    return killed, looks
