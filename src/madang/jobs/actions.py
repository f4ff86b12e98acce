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
from django.db.models import Max
from django.utils.translation import gettext as _

from madang.engines.base import (
    ENDED,
    Conflict,
    InputFile,
    JobSpec,
    LiveRun,
    Rejected,
    RunKey,
    Snapshot,
    State,
    Unavailable,
    UsageRow,
)
from madang.engines.base import Outcome as EngineOutcome
from madang.grants import actions as grants
from madang.grants.models import Allocation, AllocationState, GrantState
from madang.identity.access import require, require_member
from madang.identity.models import Person, Role
from madang.jobs import engines, letters, sweeps
from madang.jobs.checks import check, check_inputs, clean_name, clean_script
from madang.jobs.engines import Input, inputs_of
from madang.jobs.models import (
    LIVE,
    Excess,
    Job,
    JobOutcome,
    JobState,
    Node,
    NodeWish,
    Run,
    Stray,
    Task,
    Watch,
    job_moves,
    worst_case,
)
from madang.ledger import actions as ledger
from madang.ledger.actions import Hold, Settlement
from madang.ledger.errors import Overspent
from madang.ledger.queries import balances
from madang.ledger.usage import Booked, Record, booked, meter
from madang.web import amounts
from madang.workflow.alone import alone
from madang.workflow.errors import Refused, Stale
from madang.workflow.log import act
from madang.workflow.moment import now

SOURCE = "jobs"
FEWEST_SIGNS, FEWEST_WORDS, MOST_REASON = 5, 2, 200  # of why an operator has another's job end
TOLD = ("account", "budget", "posix_user")  # what an engine is told of before it takes jobs of it
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
    tasks: int = 1,
    parallel: int = 0,
    parameters: str = "",
    inputs: Sequence[Input] = (),
    requeue: bool = False,
    trusted: bool = False,
) -> Job:
    """Take a job: hold the worst case of each of its tasks, keep it, have it handed over.

    `parameters` is a table as CSV, one row per task (see `sweeps`); with it, `tasks` is 1 or the number of its rows.
    Each task finds a copy of every file of `inputs` in its work folder. With `requeue` its engine starts a run again
    that is preempted, or whose node fails.

    The same person with the same uuid and content gets the same job again; anything else under that uuid is Stale.
    """
    name, script = clean_name(name), clean_script(script)
    check(name=name, script=script, arguments=arguments, gpus=gpus, limit_s=limit_s, tasks=tasks, parallel=parallel)
    check_inputs(inputs)
    sweep = sweeps.read(parameters, tasks=tasks)
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
        "tasks": sweep.tasks,
        "parallel": parallel,
        "variables": sweep.variables,
        "inputs": [list(entry) for entry in inputs],
        "requeue": requeue,
        "trusted": trusted,
    }
    with act(actor, "submit", gpus=gpus, limit_s=limit_s) as said:
        alone(f"job {uuid}")
        if before := Job.objects.filter(uuid=uuid).first():
            if any(getattr(before, field) != value for field, value in wanted.items()) or sweep != sweeps.of(before):
                raise Stale(_("This job was submitted before with other content."))
            said["on"], said["again"] = before, True
            return before
        row = usable_by(actor, allocation)
        shape = (script, gpus, limit_s, trusted, sweep.tasks, tuple(inputs), requeue)
        wish = engines.Wish(actor, uuid, row, engine, partition, *shape)
        terms = engines.admit(wish)
        amount = worst_case(gpus, limit_s)
        holds = hold_all(actor, row, amount, [hold_key(uuid, number) for number in range(sweep.tasks)])
        job = Job.objects.create(
            uuid=uuid,
            **wanted,
            posix_user=terms.posix_user,
            gpu_type=terms.gpu_type,
            memory_mb=terms.memory_mb,
            cpus=terms.cpus,
            held=amount * sweep.tasks,
            state=JobState.ACCEPTED,
        )
        Task.objects.bulk_create(
            Task(job=job, number=number, parameters=values, hold=hold, held=amount)
            for number, (hold, values) in enumerate(zip(holds, sweep.rows, strict=True))
        )
        said["on"] = job
        from madang.jobs.tasks import hand_over as later

        later.configure(lock=str(uuid)).defer(job=job.pk)
    job.refresh_from_db()
    return job


def usable_by(actor: Person, allocation: Allocation) -> Allocation:
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


def hold_all(actor: Person, allocation: Allocation, amount: int, keys: Sequence[str]) -> list[int]:
    """The entries that set aside `amount` under each of these keys: all of them, or Refused."""
    if allocation.account is None:  # the CHECK of an open allocation says otherwise
        raise Refused(_("This allocation has no account yet."), field="allocation")
    # Looked at first, as a batch that isn't covered refuses its holds one by one. What decides is the batch.
    left = balances([allocation.account])[allocation.account].available
    if left < amount * len(keys):
        raise _short(allocation, amount * len(keys), left)
    sink = ledger.site_account(commodity=allocation.resource.commodity, role="consumed")
    asked = [Hold(allocation.account, sink, amount, key) for key in keys]
    holds = []
    for number, answer in enumerate(ledger.hold_batch(asked, source=SOURCE, actor=actor.pk, reason="job")):
        if isinstance(answer, Overspent):
            raise _short(allocation, amount * len(keys), number * amount + (answer.left or 0)) from answer
        if not isinstance(answer, int):
            raise answer
        holds.append(answer)
    return holds


def _short(allocation: Allocation, worst: int, left: int) -> Refused:
    unit = allocation.resource.unit
    return Refused(
        _("This job could use up to %(worst)s, and %(left)s are left. Lower the time limit or the number of GPUs.")
        % {"worst": amounts.used(worst, unit), "left": amounts.left(max(0, left), unit)},
        field="limit_s",
    )


def hold_key(uuid: UUID, task: int) -> str:
    """The name of a task's hold in the ledger, for ever: that of its first run."""
    return f"{uuid}#{task}#1.0"


def cancel(actor: Person, *, job: Job) -> Job:
    """End it where the engine was never told, otherwise have the engine told. Asking twice is asking once."""
    require_member(actor, job.allocation.grant.organization_id)
    with act(actor, "cancel", on=job) as said:
        _lock(job)
        if not job.lives:
            raise Stale(_("This job has already ended."))
        if job.cancel_asked_at is None:
            _ask_to_end(job)
        else:
            said["again"] = True
    return job


def end_for(actor: Person, *, job: Job, reason: str) -> Job:
    """An operator has another's job end. It is charged as one that its owner canceled; who submitted it is written to,
    and reads the reason wherever the job is shown."""
    require(actor, Role.OPERATOR)
    reason = " ".join(reason.split())
    if len(reason) < FEWEST_SIGNS or len(reason.split()) < FEWEST_WORDS:
        raise Refused(_("Say why in a few words: the job's owner reads it."), field="reason")
    if len(reason) > MOST_REASON:
        raise Refused(_("At most %(most)s signs.") % {"most": MOST_REASON}, field="reason")
    with act(actor, "end_for", on=job, reason=reason):
        _lock(job)
        if not job.lives:
            raise Stale(_("This job has already ended."))
        if job.cancel_asked_at is not None:
            raise Stale(_("This job was asked to end before."))
        _ask_to_end(job, why=reason)
        letters.ended_for(job)
    return job


def end_all(allocation: Allocation, *, reason: str) -> int:
    """Ask every live job of an allocation to end, because its use ends. How many were asked."""
    live = Job.objects.filter(allocation=allocation, state__in=LIVE, cancel_asked_at=None).order_by("id")
    return sum(end(job, reason=reason) for job in live)


def end(job: Job, *, reason: str) -> bool:
    """Ask a live job to end, because the site says so; False where it has ended, or was asked before."""
    with act(None, "cancel", on=job, reason=reason) as said:
        _lock(job)
        if not job.lives or job.cancel_asked_at is not None:
            said["again"] = True
            return False
        _ask_to_end(job, why=reason)
        return True


def _ask_to_end(job: Job, *, why: str = "") -> None:
    from madang.jobs import tasks

    job.cancel_asked_at, job.cancel_why = now(), why[:MOST_REASON]
    job.save(update_fields=["cancel_asked_at", "cancel_why"])
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
        if refused.field in TOLD and not _budgets_told(job):
            raise Unavailable("no_budget", f"the engine doesn't know it yet: {refused.message}") from refused
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


def _budgets_told(job: Job) -> bool:
    """Whether the engine was told of the budgets as they are since this job was submitted: only then it may say no."""
    return Watch.objects.filter(engine=job.engine, budgets_at__gt=job.submitted_at).exists()


def stop(job: Job) -> None:
    """Tell the engine to end it. Raises Unavailable when it doesn't answer; the poller asks again."""
    engines.engine_named(job.engine).cancel(job.uuid)


def spec_of(job: Job) -> JobSpec:
    """What the engine is asked. Depends on nothing that changes after the submission: it must always be the same."""
    given = tuple(
        InputFile(entry.path, source=engines.source(job.engine, job.allocation, entry.sha256))
        for entry in inputs_of(job)
    )
    return JobSpec(
        job=job.uuid,
        script=job.script if not job.variables else sweeps.WRAPPER,
        files=(sweeps.files(job.script, sweeps.of(job)) if job.variables else ()) + given,
        tasks=job.tasks,
        parallel=job.parallel,
        gpu_type=job.gpu_type,
        limit_s=job.limit_s,
        gpus_per_node=job.gpus,
        cpus=job.cpus,
        memory_mb=job.memory_mb,
        account=account_name(job),
        budget=budget_name(job),
        posix_user=job.posix_user or f"person-{job.person_id}",
        partition=job.partition,
        name=job.name,
        argv=tuple(job.arguments),
        requeue=job.requeue,
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
    return RunKey(run.job.uuid, run.task, run.attempt, int(run.key.rpartition(".")[2]))


def observe(engine: str, snapshot: Snapshot, *, asked_at: datetime) -> list[Job]:
    """Write down what was seen. `asked_at`: our clock, before the engine was asked.

    Call it after the usage that the engine had at `asked_at` or later is recorded: then a job that is neither alive nor
    recorded is one that the engine doesn't know. Such jobs are `unknown` from then on and keep their hold; they are
    returned if they were so before. An incomplete answer says nothing about what is missing from it.
    """
    alive: dict[UUID, list[LiveRun]] = {}
    for run in snapshot.runs:
        alive.setdefault(run.key.job, []).append(run)
    forgotten = []
    for job in _watched(engine):
        if runs := alive.get(job.uuid):
            began = [run.started_at for run in runs if run.state is not State.QUEUED and run.started_at]
            waits = next((run.reason for run in runs if run.state is State.QUEUED), "")[:40]
            if all(run.reason == ENDED for run in runs):
                waits = ENDED
            _seen(job, started_at=min(began, default=None), waits=waits, again=any(run.key.restart for run in runs))
        elif snapshot.complete and job.told_at and job.told_at + SETTLING < asked_at and job.state != JobState.ACCEPTED:
            if job.state == JobState.UNKNOWN:
                forgotten.append(job)
            else:
                with _step(job, "lose_sight"):
                    pass
    _tasks_started(snapshot.runs)
    _expected(snapshot.runs)
    return forgotten


def _tasks_started(runs: Sequence[LiveRun]) -> None:
    """Which tasks were seen running: one statement, however many there are."""
    began = [(run.key.job, run.key.task, run.started_at) for run in runs if run.started_at]
    if not began:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE jobs_task t SET started_at = s.at
               FROM unnest(%s::uuid[], %s::int[], %s::timestamptz[]) AS s(uuid, number, at) JOIN jobs_job j USING (uuid)
               WHERE t.job_id = j.id AND t.number = s.number AND t.started_at IS NULL AND t.outcome = ''""",
            [list(column) for column in zip(*began, strict=True)],
        )


def _expected(runs: Sequence[LiveRun]) -> None:
    """Where waiting jobs stand in the queue, and when the engine thinks that they start: those of their first task."""
    first: dict[UUID, LiveRun] = {}
    for run in runs:
        if run.state is State.QUEUED and (run.place or run.starts_at):
            known = first.setdefault(run.key.job, run)
            if (run.place or 0) < (known.place or 0):
                first[run.key.job] = run
    if first:
        with connection.cursor() as cursor:
            cursor.execute(
                """UPDATE jobs_job j SET place = s.place, expected_at = s.at
                   FROM unnest(%s::uuid[], %s::int[], %s::timestamptz[]) AS s(uuid, place, at)
                   WHERE j.uuid = s.uuid AND j.state <> 'ended'
                     AND (j.place, j.expected_at) IS DISTINCT FROM (s.place, s.at)""",
                [list(first), [run.place for run in first.values()], [run.starts_at for run in first.values()]],
            )


def _seen(job: Job, *, started_at: datetime | None, waits: str, again: bool) -> None:
    if job.state == JobState.ACCEPTED:  # it was told, and the one who told it died before saying so
        with _step(job, "hand_over"):
            pass
    if started_at is not None:
        if job.state != JobState.RUNNING:
            with _step(job, "start") as fields:
                fields.update(started_at=started_at, waits="", place=None, expected_at=None)
        elif (waits == ENDED) != (job.waits == ENDED):
            Job.objects.filter(pk=job.pk, state=JobState.RUNNING).update(waits=ENDED if waits == ENDED else "")
    elif job.state in (JobState.SUBMITTED, JobState.UNKNOWN):
        with _step(job, "queue") as fields:
            fields.update(waits=waits)
    elif job.state == JobState.RUNNING and job.tasks == 1 and again:
        with _step(job, "start_again") as fields:
            fields.update(started_at=None, waits=waits)
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
    known = {run.key: run for run in Run.objects.filter(key__in=keys)}
    jobs = {job.uuid: job for job in Job.objects.filter(engine=engine, uuid__in=[row.key.job for row in rows])}
    for row, key in zip(rows, keys, strict=True):
        try:
            if key in known:
                if not _says(known[key], row):
                    _correct(known[key], row)
            elif row.key.job in jobs:
                fresh += _record(jobs[row.key.job], key, row)
            else:
                fresh += _adopt(engine, key, row)
        except Exception as error:
            logger.exception("the run %s could not be recorded", key)
            failure = error
    if failure:
        raise failure
    return fresh


def _record(job: Job, key: str, row: UsageRow) -> int:
    verb = "record_usage" if not row.goes_on else "record_restart"
    with act(None, verb, on=job, gpu_seconds=row.gpu_seconds, outcome=row.outcome) as said:
        _lock(job)
        if Run.objects.filter(key=key).exists():
            said["again"] = True
            return 0
        task = Task.objects.filter(job=job, number=row.key.task).first()
        if task is None:
            logger.warning("%s reports a task that the job doesn't have", key)
            said["again"] = True  # there is nothing to do, and nothing was done
            return 0
        _book_run(job, task, key, row)
    return 1


def _book_run(job: Job, task: Task, key: str, row: UsageRow) -> None:
    """Charge a run, keep it, and end what has ended with it."""
    charged = _charge(job, task, key, row)
    if charged.overrun:
        grants.overran(job.allocation)
    Run.objects.create(
        job=job, key=key, task=row.key.task, attempt=row.key.attempt, entry=charged.entry, **facts_of(row)
    )
    job.held -= task.held
    task.held = 0
    job.used += charged.used
    job.overrun += charged.overrun
    task.used += charged.used
    task.overrun += charged.overrun
    if row.goes_on:  # the engine starts it again, and its end is still to come
        task.started_at = None
        if not _hold_again(job, task, row.key):
            if not Task.objects.filter(job=job, held_back=True, outcome="").exists():  # one letter, not one a task
                letters.held_back(job)
            task.held_back = True
    else:
        task.started_at, task.ended_at, task.exit_code = row.started_at, row.ended_at, own_exit_code(row)
        task.outcome, task.why = JobOutcome(row.outcome.value), row.reason[:400]
    task.save()
    if not row.goes_on:
        sum_up(job, task)
    job.save()


def own_exit_code(row: UsageRow) -> int | None:
    """The exit code of a run that came to an end of its own. Of one that was stopped engines tell that of the signal,
    or of a script that caught it, or 0: none of them says how the script would have ended, and 0 looks like success."""
    return row.exit_code if row.outcome in (EngineOutcome.COMPLETED, EngineOutcome.FAILED) else None


def facts_of(row: UsageRow) -> dict[str, Any]:
    """What a run says of itself, and may say otherwise later."""
    return {
        "outcome": JobOutcome(row.outcome.value),
        "exit_code": row.exit_code,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "gpu_seconds": row.gpu_seconds,
        "declared": row.declared,
        "peak_memory_mb": row.peak_memory_mb,
        "log_truncated": row.log_truncated,
        "marked_at": row.marked_at,
    }


def _says(run: Run, row: UsageRow) -> bool:
    """Whether a recorded run is as its engine reports it now."""
    return all(getattr(run, name) == value for name, value in facts_of(row).items())


def _correct(run: Run, row: UsageRow) -> None:
    """An engine says otherwise of a run than before: the ledger reverses the old entry and books a new one."""
    job = run.job
    with act(None, "correct_usage", on=job, was=run.gpu_seconds, gpu_seconds=row.gpu_seconds) as said:
        _lock(job)
        run.refresh_from_db()
        if _says(run, row):
            said["again"] = True
            return
        before, task = booked(SOURCE, run.key), Task.objects.get(job=job, number=run.task)
        was_marked = run.marked_at
        if before.used and (run.outcome == JobOutcome.NODE_FAILED or run.answer == Excess.GIVEN_BACK):
            logger.warning("the run %s was given back: what its engine says now stays on the page alone", run.key)
            after = before
        else:
            after = _meter(job, run.key, None, row, known=before.entry is not None)
        for name, value in facts_of(row).items():
            setattr(run, name, value)
        if run.marked_at is None and run.answer:
            run.marked_at = was_marked  # what was answered stays
        run.entry = after.entry
        run.save()
        for counted in (job, task):
            counted.used += after.used - before.used
            counted.overrun += after.overrun - before.overrun
        if not row.goes_on and task.outcome:
            task.started_at, task.ended_at, task.exit_code = row.started_at, row.ended_at, own_exit_code(row)
            task.outcome = JobOutcome(row.outcome.value)
        task.save()
        if task.outcome:
            sum_up(job, task)
        job.save()
        if after.overrun > before.overrun:
            grants.overran(job.allocation)


def answer_excess(actor: Person, *, run: Run, give_back: bool, reason: str) -> Run:
    """Say what becomes of the charge of a run that had ended before, by its own marks. They are written by its owner:
    so a person decides, and not the mark."""
    require(actor, Role.OPERATOR)
    if not (reason := reason.strip()):
        raise Refused(_("Say what you looked at."), field="reason")
    verb = "give_back" if give_back else "keep_charge"
    with act(actor, verb, on=run.job, reason=reason) as said:
        job = run.job
        _lock(job)
        run.refresh_from_db(fields=["answer", "marked_at", "gpu_seconds", "started_at", "entry"])
        if run.answer or run.marked_at is None:
            raise Stale(_("This was answered meanwhile."))
        amount = min(run.excess, booked(SOURCE, run.key).used) if give_back else 0
        if amount and run.entry is not None:
            ledger.refund(
                entry=run.entry, amount=amount, source=SOURCE, key=run.key, actor=actor.pk, reason="it had ended before"
            )
            task = Task.objects.get(job=job, number=run.task)
            for counted in (job, task):
                counted.used -= amount
                counted.save(update_fields=["used"])
        run.answer = Excess.GIVEN_BACK if give_back else Excess.KEPT
        run.save(update_fields=["answer"])
        said["gpu_seconds"] = amount
    return run


def _adopt(engine: str, key: str, row: UsageRow) -> int:
    """A run of which we have no job, as somebody submitted it past us: charged to the allocation whose budget it used,
    as a job of its own. Where nobody can say whose it is, it is kept to be asked about."""
    whose = engines.whose(engine, row)
    if whose is None:
        _stray, fresh = Stray.objects.get_or_create(
            key=key,
            defaults={
                **{name: getattr(row, name) for name in ("account", "budget", "posix_user")},
                **{name: getattr(row, name) for name in ("gpu_seconds", "started_at", "ended_at")},
                "engine": engine,
            },
        )
        return int(fresh)
    with act(None, "adopt", gpu_seconds=row.gpu_seconds, outcome=row.outcome) as said:
        alone(f"job {row.key.job}")
        if Run.objects.filter(key=key).exists():
            said["again"] = True
            return 0
        job = said["on"] = Job.objects.create(
            uuid=row.key.job,
            allocation=whose.allocation,
            person=whose.person,
            name=f"slurm-{row.engine_id}" if row.engine_id else "sbatch",  # as Slurm calls its output
            engine=engine,
            partition=whose.partition,
            posix_user=row.posix_user,
            gpu_type=row.gpu_type,
            memory_mb=0,
            gpus=row.gpus,
            limit_s=0,
            bare=True,
            state=JobState.RUNNING,
            submitted_at=row.submitted_at,
            told_at=row.submitted_at,
        )
        _book_run(job, Task.objects.create(job=job, number=0, hold=None, held=0), key, row)
    return 1


# What a job is said to have come to when its tasks came to different things: the first of these that one of them did.
WORST_FIRST = (
    *(JobOutcome.LOST, JobOutcome.NODE_FAILED, JobOutcome.OUT_OF_MEMORY, JobOutcome.FAILED, JobOutcome.TIMED_OUT),
    *(JobOutcome.REFUSED, JobOutcome.PREEMPTED, JobOutcome.CANCELLED, JobOutcome.COMPLETED),
)


def sum_up(job: Job, task: Task) -> None:
    """What a locked job is after this task of it has ended: over, once the last one has."""
    if job.tasks == 1:
        job.started_at, job.ended_at, job.exit_code = task.started_at, task.ended_at, task.exit_code
        job.outcome, job.why, job.waits = task.outcome, task.why, ""
    else:
        if task.started_at is not None:
            job.started_at = min(job.started_at or task.started_at, task.started_at)
        if Task.objects.filter(job=job, outcome="").exists():
            return
        came = set(Task.objects.filter(job=job).order_by().values_list("outcome", flat=True).distinct())
        job.outcome = next(outcome for outcome in WORST_FIRST if outcome in came)
        job.ended_at, job.waits = Task.objects.filter(job=job).aggregate(Max("ended_at"))["ended_at__max"], ""
    if job.lives:
        job.state = _after(job, "end")


def _charge(job: Job, task: Task, key: str, row: UsageRow) -> Booked:
    """Book a run. It ends the hold of its task; one that has none is charged by itself. What a node lost is given back:
    two entries."""
    charged = _meter(job, key, task.hold if task.held else None, row)
    if charged.entry is None and task.held:
        ledger.release(hold=task.hold or 0, source=SOURCE, key=key, actor=None, reason="nothing was used")
    if row.outcome is EngineOutcome.NODE_FAILED and charged.entry is not None and charged.used:
        ledger.refund(
            entry=charged.entry, amount=charged.used, source=SOURCE, key=key, actor=None, reason="its node failed"
        )
        return Booked(charged.entry, 0, charged.overrun)
    return charged


def _meter(job: Job, key: str, hold: int | None, row: UsageRow, *, known: bool = False) -> Booked:
    """Book what a run used, or, of a `known` one, what it is said to have used now.

    A run whose end nobody reported is charged to nobody until the site decides: its figure stays on the run.
    """
    if not (_used(row) or known) or (row.started_at is None and not known):
        return Booked(None, 0, 0)
    account, resource = Allocation.objects.values_list("account", "resource_id").get(pk=job.allocation_id)
    assert account is not None
    record = record_of(job, key, hold, row, account=account, resource=resource)
    for _key, refused in meter([record], source=SOURCE, reason="run").refused:
        raise refused
    return booked(SOURCE, key)


def _used(row: UsageRow) -> int:
    return 0 if row.outcome is EngineOutcome.LOST else row.gpu_seconds


def record_of(job: Job, key: str, hold: int | None, row: UsageRow, *, account: int, resource: int) -> Record:
    """A run as the ledger books it."""
    began = row.started_at or row.ended_at
    return Record(
        key=key,
        account=account,
        user=job.person_id,
        resource=resource,
        hold=hold,
        submitted_at=row.submitted_at,
        started_at=began,
        ended_at=row.ended_at,
        amount=_used(row),
        wall_s=int((row.ended_at - began).total_seconds()),
        wait_s=max(0, int((began - row.submitted_at).total_seconds())),
        raw={"job": str(job.uuid), "gpus": row.gpus, "gpu_type": row.gpu_type, "outcome": row.outcome.value},
    )


def _hold_again(job: Job, task: Task, key: RunKey) -> bool:
    """The worst case of the run that the engine starts next. False where it isn't covered: then the run is held back
    (see `again`), and what it uses all the same is an overrun."""
    amount = worst_case(job.gpus, job.limit_s)
    account, resource = job.allocation.account, job.allocation.resource
    assert account is not None
    try:
        task.hold = ledger.hold(
            account=account,
            sink=ledger.site_account(commodity=resource.commodity, role="consumed"),
            amount=amount,
            source=SOURCE,
            key=f"{job.uuid}#{key.task}#{key.attempt}.{key.restart + 1}",
            until=None,
            actor=None,
            reason="started again",
        )
    except Overspent:
        return False
    task.held = amount
    job.held += amount
    return True


def cover_again(task: Task) -> bool:
    """Set the worst case aside of a run that was held back, if the balance covers it now. Whether it has a hold."""
    job = task.job
    try:
        with act(None, "cover", on=job):
            _lock(job)
            task.refresh_from_db(fields=["held", "hold", "outcome"])
            last = Run.objects.filter(job=job, task=task.number).select_related("job").order_by("-id").first()
            if task.held or task.outcome or last is None or not _hold_again(job, task, run_key(last)):
                raise Stale(_("This was already dealt with, or can't be done now."))
            task.save(update_fields=["hold", "held"])
            job.save(update_fields=["held"])
    except Stale:
        task.refresh_from_db(fields=["held"])
    return bool(task.held)


def _end(job: Job, outcome: JobOutcome, *, why: str) -> None:
    """End a locked job that never ran, and give every hold of it back."""
    moment = now()
    job.state = _after(job, "end")
    job.outcome, job.why, job.held, job.waits, job.ended_at = outcome, why[:400], 0, "", moment
    job.save(update_fields=["state", "outcome", "why", "held", "waits", "ended_at"])
    tasks = Task.objects.filter(job=job, outcome="")
    held = tasks.filter(held__gt=0).values_list("hold", "number")
    unused = [Settlement(hold, 0, hold_key(job.uuid, number)) for hold, number in held if hold is not None]
    for answer in ledger.settle_batch(unused, source=SOURCE, actor=None, reason=outcome):
        if isinstance(answer, Exception):
            raise answer
    tasks.update(outcome=outcome, why=why[:400], held=0, ended_at=moment)


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


def drain_node(actor: Person, *, node: Node, reason: str) -> Node:
    """Have a node start nothing more; what runs on it goes on. The engine is told at the poller's next look."""
    require(actor, Role.OPERATOR)
    if not (reason := " ".join(reason.split())):
        raise Refused(_("Say why, in a line: everybody who asks Slurm reads it."), field="reason")
    with act(actor, "drain", on=node, reason=reason):
        node.wish, node.wish_why = NodeWish.DRAIN, reason[:200]
        node.save(update_fields=["wish", "wish_why"])
    return node


def resume_node(actor: Person, *, node: Node) -> Node:
    """Have a node take jobs again."""
    require(actor, Role.OPERATOR)
    with act(actor, "resume", on=node):
        node.wish, node.wish_why = NodeWish.RESUME, ""
        node.save(update_fields=["wish", "wish_why"])
    return node


def answer_stray(actor: Person, *, stray: Stray, answer: str) -> None:
    """Say whose a run was that belongs to nobody here: it is charged to nobody, and not asked about any more."""
    require(actor, Role.OPERATOR)
    if not (answer := answer.strip()):
        raise Refused(_("Say whose it was."), field="answer")
    with act(actor, "answer_stray", on=stray, reason=answer):
        stray.answer = answer[:400]
        stray.save(update_fields=["answer"])
