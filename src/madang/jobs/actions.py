"""Everything that changes a job. A hold, a row and a task are one transaction; a run and its charge are another.

The engine is told outside of any transaction, and always after `told_at` says that it may know the job. So whatever
dies in between, the next look finds which of the two it was, and asking again is harmless: the same uuid and attempt.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils.translation import gettext as _

from madang.engines.base import Conflict, JobSpec, Rejected, RunKey, Snapshot, State, UsageRow
from madang.engines.base import Outcome as EngineOutcome
from madang.grants import actions as grants
from madang.grants.models import Allocation, AllocationState, GrantState
from madang.identity.access import require_member
from madang.identity.models import Person
from madang.jobs import engines
from madang.jobs.checks import check, clean_name, clean_script
from madang.jobs.models import LIVE, Job, JobOutcome, JobState, Run, job_moves, worst_case
from madang.ledger import actions as ledger
from madang.ledger.errors import Overspent
from madang.ledger.usage import Booked, Record, booked, meter
from madang.web import amounts
from madang.workflow.errors import Refused, Stale
from madang.workflow.log import act
from madang.workflow.moment import now

SOURCE = "jobs"
SETTLING = timedelta(seconds=10)  # a job handed over so lately may be missing from an answer that was already under way
logger = logging.getLogger(__name__)


def submit(
    actor: Person,
    *,
    uuid: UUID,
    allocation: Allocation,
    name: str,
    script: str,
    arguments: Sequence[str] = (),
    gpus: int,
    limit_s: int,
    engine: str,
    partition: str,
    trusted: bool = False,
) -> Job:
    """Take a job: hold its worst case, keep it, have it handed over.

    The same person with the same uuid and content gets the same job again; anything else under that uuid is Stale.
    """
    name, script = clean_name(name), clean_script(script)
    check(name=name, script=script, arguments=arguments, gpus=gpus, limit_s=limit_s)
    wanted: dict[str, Any] = {
        "allocation_id": allocation.pk,
        "person_id": actor.pk,
        "name": name,
        "script": script,
        "arguments": list(arguments),
        "gpus": gpus,
        "limit_s": limit_s,
        "engine": engine,
        "partition": partition,
        "trusted": trusted,
    }
    with act(actor, "submit", gpus=gpus, limit_s=limit_s) as said:
        _alone(f"job {uuid}")
        if before := Job.objects.filter(uuid=uuid).first():
            if any(getattr(before, field) != value for field, value in wanted.items()):
                raise Stale(_("This job was submitted before with other content. Load the page again."))
            said["on"], said["again"] = before, True
            return before
        row = _usable(actor, allocation)
        wish = engines.Wish(uuid, row, engine, partition, script, gpus, limit_s, trusted)
        terms = engines.admit(wish)
        amount = worst_case(gpus, limit_s)
        hold = _hold(actor, row, uuid, amount)
        job = Job.objects.create(
            uuid=uuid,
            **wanted,
            gpu_type=terms.gpu_type,
            memory_mb=terms.memory_mb,
            cpus=terms.cpus,
            hold=hold,
            held=amount,
            state=JobState.ACCEPTED,
        )
        said["on"] = job
        from madang.jobs import tasks

        tasks.hand_over.configure(lock=str(uuid)).defer(job=job.pk)
    job.refresh_from_db()
    return job


def _usable(actor: Person, allocation: Allocation) -> Allocation:
    """The allocation as it is now, kept from being closed until the end of the transaction. Refused if not open."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM grants_allocation WHERE id = %s FOR SHARE", [allocation.pk])
    row = Allocation.objects.select_related("grant", "resource").get(pk=allocation.pk)
    require_member(actor, row.grant.organization_id)
    moment = now()
    problem = ""
    if row.grant.state != GrantState.ACTIVE:
        problem = _("This grant isn't active.")
    elif moment < row.grant.starts_at:
        problem = _("The days of use of this grant haven't begun.")
    elif moment >= row.grant.ends_at:
        problem = _("The days of use of this grant are over.")
    elif row.state != AllocationState.OPEN:
        problem = _("This allocation isn't open: it is “%(state)s”.") % {"state": AllocationState(row.state).label}
    if problem:
        raise Refused(problem, field="allocation")
    return row


def _hold(actor: Person, allocation: Allocation, uuid: UUID, amount: int) -> int:
    if allocation.account is None:  # the CHECK of an open allocation says otherwise
        raise Refused(_("This allocation has no account yet."), field="allocation")
    sink = ledger.site_account(commodity=allocation.resource.commodity, role="consumed")
    try:
        return ledger.hold(
            account=allocation.account,
            sink=sink,
            amount=amount,
            source=SOURCE,
            key=str(uuid),
            until=None,
            actor=actor.pk,
            reason="job",
        )
    except Overspent as short:
        unit = allocation.resource.unit
        raise Refused(
            _("This job could use up to %(worst)s, and %(left)s are left. Lower the time limit or the number of GPUs.")
            % {"worst": amounts.used(amount, unit), "left": amounts.left(max(0, short.left or 0), unit)},
            field="limit_s",
        ) from short


def cancel(actor: Person, *, job: Job) -> Job:
    """End it where the engine was never told, otherwise have the engine told. Asking twice is asking once."""
    require_member(actor, job.allocation.grant.organization_id)
    with act(actor, "cancel", on=job):
        _lock(job)
        if not job.lives:
            raise Stale(_("This job has already ended."))
        if job.cancel_asked_at is None:
            _ask_to_end(job)
    return job


def end_all(allocation: Allocation, *, reason: str) -> int:
    """Ask every live job of an allocation to end, because its use ends. How many were asked."""
    asked = 0
    for job in Job.objects.filter(allocation=allocation, state__in=LIVE, cancel_asked_at=None).order_by("id"):
        with act(None, "cancel", on=job, reason=reason):
            _lock(job)
            if job.lives and job.cancel_asked_at is None:
                _ask_to_end(job)
                asked += 1
    return asked


def _ask_to_end(job: Job) -> None:
    from madang.jobs import tasks

    job.cancel_asked_at = now()
    job.save(update_fields=["cancel_asked_at"])
    if job.told_at is None:
        _end(job, JobOutcome.CANCELLED, why="")
    else:
        tasks.cancel.configure(lock=str(job.uuid)).defer(job=job.pk)


def hand_over(job: Job) -> None:
    """Tell the engine. Harmless to repeat. Raises Unavailable when it doesn't answer: then nothing is known."""
    with transaction.atomic():
        _lock(job)
        if job.state not in (JobState.ACCEPTED, JobState.UNKNOWN):
            return
        if job.told_at is None:
            job.told_at = now()
            job.save(update_fields=["told_at"])
    try:
        engines.engine_named(job.engine).submit(spec_of(job), 1)
    except Rejected as refused:
        with act(None, "refuse", on=job, reason=refused.message):
            _lock(job)
            if job.state in (JobState.ACCEPTED, JobState.UNKNOWN):
                _end(job, JobOutcome.REFUSED, why=refused.message)
        return
    except Conflict:
        # It has a job of this uuid, and uuids are ours: it was asked before, in other words (by an older release, say).
        logger.warning("the engine %s knows the job %s with other content", job.engine, job.uuid)
    with _step(job, "hand_over"):
        pass


def stop(job: Job) -> None:
    """Tell the engine to end it. Raises Unavailable when it doesn't answer; the poller asks again."""
    engines.engine_named(job.engine).cancel(job.uuid)


def spec_of(job: Job) -> JobSpec:
    """What the engine is asked. Depends on nothing that changes after the submission: it must always be the same."""
    return JobSpec(
        job=job.uuid,
        script=job.script,
        gpu_type=job.gpu_type,
        limit_s=job.limit_s,
        gpus_per_node=job.gpus,
        cpus=job.cpus,
        memory_mb=job.memory_mb,
        account=account_name(job),
        budget=budget_name(job),
        posix_user=f"person-{job.person_id}",
        partition=job.partition,
        name=job.name,
        argv=tuple(job.arguments),
        trusted=job.trusted,
    )


def account_name(job: Job) -> str:
    return f"grant-{job.allocation.grant_id}"


def budget_name(job: Job) -> str:
    return f"allocation-{job.allocation_id}"


def key_of(engine: str, key: RunKey) -> str:
    """The name of a run for ever, in our rows and in the ledger."""
    return f"{engine}:{key.job}#{key.task}#{key.attempt}.{key.restart}"


def run_key(run: Run) -> RunKey:
    return RunKey(run.job.uuid, 0, run.attempt)


def observe(engine: str, snapshot: Snapshot, *, asked_at: datetime) -> list[Job]:
    """Write down what was seen. `asked_at`: our clock, before the engine was asked.

    Call it after the usage that the engine had at `asked_at` or later is recorded: then a job that is neither alive nor
    recorded is one that the engine doesn't know. Such jobs are `unknown` from then on and keep their hold; they are
    returned if they were so before. An incomplete answer says nothing about what is missing from it.
    """
    alive = {run.key.job: run for run in snapshot.runs}
    forgotten = []
    for job in _watched(engine):
        run = alive.get(job.uuid)
        if run is not None:
            _seen(job, started_at=run.started_at if run.state is not State.QUEUED else None, waits=run.reason)
        elif snapshot.complete and job.told_at and job.told_at + SETTLING < asked_at and job.state != JobState.ACCEPTED:
            if job.state == JobState.UNKNOWN:
                forgotten.append(job)
            else:
                with _step(job, "lose_sight"):
                    pass
    return forgotten


def _seen(job: Job, *, started_at: datetime | None, waits: str) -> None:
    if job.state == JobState.ACCEPTED:  # it was told, and the one who told it died before saying so
        with _step(job, "hand_over"):
            pass
    if started_at is not None:
        if job.state != JobState.RUNNING:
            with _step(job, "start") as fields:
                fields.update(started_at=started_at, waits="")
    elif job.state in (JobState.SUBMITTED, JobState.UNKNOWN):
        with _step(job, "queue") as fields:
            fields.update(waits=waits)
    elif job.state == JobState.QUEUED and job.waits != waits:
        Job.objects.filter(pk=job.pk, state=JobState.QUEUED).update(waits=waits)


def lose_sight(engine: str) -> None:
    """The engine hasn't answered for too long: nothing is known of its jobs, so nothing is decided about them."""
    for job in _watched(engine):
        if job.state in (JobState.SUBMITTED, JobState.QUEUED, JobState.RUNNING):
            with _step(job, "lose_sight"):
                pass


def _watched(engine: str) -> list[Job]:
    return list(Job.objects.filter(engine=engine, state__in=LIVE).defer("script").order_by("id"))


def record_usage(engine: str, rows: Sequence[UsageRow]) -> int:
    """Each ended run once: its row, its charge and the end of its job in one transaction. How many were new.

    A row that fails is logged and raised after the others are recorded, so that whoever asked asks again.
    """
    fresh, failure = 0, None
    keys = [key_of(engine, row.key) for row in rows]
    known = set(Run.objects.filter(key__in=keys).values_list("key", flat=True))
    jobs = {job.uuid: job for job in Job.objects.filter(engine=engine, uuid__in=[row.key.job for row in rows])}
    for row, key in zip(rows, keys, strict=True):
        if key in known:
            continue
        if row.bare:  # submitted past us: nobody here holds anything for it
            logger.warning("%s reports a run that was submitted past us: %s of %s", engine, key, row.budget)
            continue
        if row.key.job not in jobs:
            logger.warning("%s reports a run that nobody submitted here: %s", engine, key)
            continue
        try:
            fresh += _record(jobs[row.key.job], key, row)
        except Exception as error:
            logger.exception("the run %s could not be recorded", key)
            failure = error
    if failure:
        raise failure
    return fresh


def _record(job: Job, key: str, row: UsageRow) -> int:
    with act(None, "record_usage", on=job, gpu_seconds=row.gpu_seconds, outcome=row.outcome) as said:
        _lock(job)
        if Run.objects.filter(key=key).exists():
            said["again"] = True
            return 0
        # A run whose end nobody reported is charged to nobody until the site decides: its figure stays on the run.
        counted = 0 if row.outcome is EngineOutcome.LOST else row.gpu_seconds
        charged = _charge(job, key, counted, row)
        if charged.overrun:
            grants.overran(job.allocation)
        Run.objects.create(
            job=job,
            key=key,
            attempt=row.key.attempt,
            outcome=JobOutcome(row.outcome.value),
            exit_code=row.exit_code,
            started_at=row.started_at,
            ended_at=row.ended_at,
            gpu_seconds=row.gpu_seconds,
            declared=row.declared,
            peak_memory_mb=row.peak_memory_mb,
            log_truncated=row.log_truncated,
            entry=charged.entry,
        )
        job.used += charged.used
        job.overrun += charged.overrun
        job.held = 0
        if not row.goes_on:  # else the engine starts it again, and its end is still to come
            job.started_at, job.ended_at, job.exit_code = row.started_at, row.ended_at, row.exit_code
            job.outcome, job.why, job.waits = JobOutcome(row.outcome.value), row.reason[:400], ""
            if job.lives:
                job.state = _after(job, "end")
        job.save()
    return 1


def _charge(job: Job, key: str, used: int, row: UsageRow) -> Booked:
    """Book a run. The first one ends the hold; one that comes after it is charged by itself."""
    assert job.hold is not None
    if not used or row.started_at is None:
        if job.held:
            ledger.release(hold=job.hold, source=SOURCE, key=key, actor=None, reason="nothing was used")
        return Booked(None, 0, 0)
    account, resource = Allocation.objects.values_list("account", "resource_id").get(pk=job.allocation_id)
    assert account is not None
    record = Record(
        key=key,
        account=account,
        user=job.person_id,
        resource=resource,
        hold=job.hold,
        submitted_at=row.submitted_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        amount=used,
        wall_s=int((row.ended_at - row.started_at).total_seconds()),
        wait_s=max(0, int((row.started_at - row.submitted_at).total_seconds())),
        raw={"job": str(job.uuid), "gpus": row.gpus, "gpu_type": row.gpu_type, "outcome": row.outcome.value},
    )
    for _key, refused in meter([record], source=SOURCE, reason="run").refused:
        raise refused
    return booked(SOURCE, key)


def _end(job: Job, outcome: JobOutcome, *, why: str) -> None:
    """End a locked job that never ran, and give its hold back."""
    assert job.hold is not None
    job.state = _after(job, "end")
    job.outcome, job.why, job.held, job.waits, job.ended_at = outcome, why[:400], 0, "", now()
    job.save(update_fields=["state", "outcome", "why", "held", "waits", "ended_at"])
    ledger.release(hold=job.hold, source=SOURCE, key=str(job.uuid), actor=None, reason=outcome)


def _after(job: Job, verb: str) -> JobState:
    """The state that `verb` leads to from the one that the locked job is in; Stale where there is none."""
    for move in job_moves.moves:
        if move.verb == verb and job.state in move.start:
            return JobState(move.end)
    raise Stale(_("This was already dealt with, or can't be done now."))


@contextmanager
def _step(job: Job, verb: str) -> Iterator[dict[str, Any]]:
    """One move of the system with the fields that go with it; nothing at all if somebody was faster."""
    fields: dict[str, Any] = {}
    yield fields
    try:
        with act(None, verb, on=job):
            _lock(job)
            fields["state"] = _after(job, verb)
            for name, value in fields.items():
                setattr(job, name, value)
            job.save(update_fields=list(fields))
    except Stale:
        pass


def _lock(job: Job) -> None:
    """Take the row, as it is now."""
    job.refresh_from_db(from_queryset=Job.objects.select_for_update(of=("self",)))


def _alone(name: str) -> None:
    """Wait until nobody else is inside with this name, until the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('madang ' || %s, 0))", [name])
