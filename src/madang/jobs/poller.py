"""The loop that looks at the engines: what is alive, what has ended, what was left undone.

It keeps nothing in memory. Killed anywhere and started again, or run twice at once, it does the same.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Count, Q, Value

from madang.engines.base import START, Conflict, Cursor, Diff, EngineError, Limits, Rejected, Unavailable
from madang.grants.models import Allocation, AllocationState, GrantState
from madang.jobs import actions, again, bare, engines, maintenance, nodes, parcels
from madang.jobs.models import LIVE, Job, JobState, Run, Stray, Watch
from madang.workflow.moment import now

EVERY_S = 1.5
SILENT = timedelta(seconds=30)  # without a complete answer for so long, nothing is known of an engine's jobs
LEFT_UNDONE = timedelta(seconds=15)  # an accepted job should have been handed over by now
READING_S = 5.0  # so long a look reads of what has ended, before it does all else; then it looks again at once
COMPARED = timedelta(minutes=5)  # budgets that nobody changed are compared again after so long
logger = logging.getLogger(__name__)


def run(stop: threading.Event, every_s: float = EVERY_S) -> None:
    """Look at every engine until `stop` is set. For a thread or a process of its own; survives a lost database."""
    while not stop.is_set():
        more = False
        try:
            more = look()
        except Exception:
            logger.exception("looking at the engines failed; the next look is in %s s", every_s)
            connection.close()
        if not more:
            stop.wait(every_s)
    connection.close()


def look() -> bool:
    """One look at every engine, by one poller at a time. An engine that fails doesn't keep the others from it. Whether
    one of them has more to tell."""
    more = False
    with _alone() as mine:
        if not mine:
            return False
        for name in sorted({*engines.names(), *Job.objects.filter(state__in=LIVE).values_list("engine", flat=True)}):
            try:
                more |= reconcile(name)
            except Exception:
                logger.exception("looking at the engine %s failed", name)
                if not connection.is_usable():  # and not closed otherwise: the lock is this connection's
                    raise
    return more


def reconcile(name: str) -> bool:
    """Snapshot first, then usage, then what the two say together, then what was left undone. Whether more has ended
    than was read.

    Where only the accounting doesn't answer, or has much to tell, what lives is seen all the same, and nobody is taken
    for forgotten.
    """
    more = False
    watch, _made = Watch.objects.get_or_create(engine=name)
    watch.asked_at = now()
    try:
        engine = engines.engine_named(name)
        snapshot = engine.poll()
        maintenance.tell(watch, engine)  # also while the accounting is away: it may be what is mended
        heard, more = _usage(watch, engine)
        seen = replace(snapshot, complete=snapshot.complete and not more)
        forgotten = actions.observe(name, seen, asked_at=watch.asked_at)
        if snapshot.complete:
            bare.keep(name, snapshot.runs)
        again.keep_back(engine, name, snapshot)
        if _due(watch, engine.sync_every_s):
            health = engine.health()
            watch.health = {name: value for name, value in asdict(health).items() if name != "nodes"}
            if health.reachable:
                nodes.keep(name, health.nodes)
                nodes.fulfil(engine, name)
            watch.health["warnings"] += _for_people(name)
        watch.lag_s, watch.error = snapshot.lag_s, ""
        if snapshot.complete:
            watch.answered_at = watch.asked_at
        if heard:
            _budgets(watch, engine)
        _left_undone(engine, name, watch.asked_at, forgotten if heard else [])
    except Unavailable as error:
        watch.error = error.message[:400]
        if silent(watch, watch.asked_at):
            actions.lose_sight(name)
    finally:
        if connection.is_usable():
            watch.save(
                update_fields=[
                    *("asked_at", "answered_at", "lag_s", "error", "health"),
                    *("budgets_at", "compared_at", "budgets", "drift"),
                    *("windows_at", "windows", "windows_held"),
                ]
            )
    return more


def silent(watch: Watch | None, moment: datetime) -> bool:
    """Whether an engine gave no complete answer for too long, or never: what was heard of it before is old."""
    return watch is None or watch.answered_at is None or watch.answered_at + SILENT < moment


def _for_people(name: str) -> tuple[dict[str, str], ...]:
    """What waits for an operator's answer."""
    strays = Stray.objects.filter(engine=name, answer="").values(code=Value("strays"))
    charged = Run.objects.filter(job__engine=name, marked_at__isnull=False, answer="").values(code=Value("excess"))
    said = {"strays": "runs that belong to nobody", "excess": "runs charged beyond their end"}
    counted = (rows.order_by().annotate(many=Count("id")) for rows in (strays, charged))
    found = next(counted).union(next(counted), all=True)
    # Counting without a GROUP BY, as Django leaves out one of a constant, answers where there is nothing, too.
    return tuple({"code": row["code"], "text": f"{said[row['code']]}: {row['many']}"} for row in found if row["many"])


def _due(watch: Watch, every_s: float) -> bool:
    """Whether it is time to ask how the engine is: once in each stretch of the clock where asking costs, so that what
    ended doesn't wait for it."""
    if not watch.health or not every_s or watch.error or watch.answered_at is None or watch.asked_at is None:
        return True
    return watch.asked_at.timestamp() // every_s != watch.answered_at.timestamp() // every_s


def _usage(watch: Watch, engine: engines.EngineWithFiles) -> tuple[bool, bool]:
    """Record what ended: (whether the accounting answers, whether it has more to tell). Where it doesn't, the engine's
    health says so. The cursor moves only over what is recorded; a row that fails is asked for again next time."""
    begun = time.monotonic()
    while True:
        try:
            page = engine.usage(Cursor(watch.cursor) if watch.cursor else START)
        except Unavailable as error:
            logger.info("the accounting of %s: %s", watch.engine, error.message)
            return False, False
        parcels.record_usage(watch.engine, page.rows)
        if page.next != watch.cursor:
            watch.cursor = page.next
            watch.save(update_fields=["cursor"])
        if not page.more or time.monotonic() - begun > READING_S:
            return True, page.more


def _budgets(watch: Watch, engine: engines.EngineWithFiles) -> None:
    """Tell the engine what its budgets are: at once where that costs nothing, else every few seconds; and where nothing
    has changed, only now and then."""
    moment = watch.asked_at or now()
    last = watch.compared_at if watch.drift.get("held") else watch.budgets_at
    if last and moment - last < timedelta(seconds=engine.sync_every_s):
        return
    wanted = engines.budgets(watch.engine)
    digest = hashlib.sha256(repr(wanted).encode()).hexdigest()
    if watch.compared_at is None or digest != watch.budgets or moment - watch.compared_at >= COMPARED:
        try:
            drift = engine.sync(wanted, apply=True)
        except (Conflict, Rejected) as refused:  # what else is to be done at this look is done
            drift = Diff(held=refused.message)
        watch.drift = asdict(drift)
        watch.compared_at = moment
        if drift.held or not drift.applied:
            return  # seen on the operator's page, and tried again soon
        watch.budgets = digest
    watch.budgets_at = moment


def live_budgets(name: str) -> list[Limits]:
    """Of the allocations with live jobs on an engine: what waits on one that is paused or over doesn't start."""
    live = (
        Job.objects.filter(engine=name, state__in=LIVE)
        .select_related("allocation__grant")
        .only("allocation__state", "allocation__grant__state", "allocation__grant__ends_at")
        .order_by("allocation_id")
        .distinct("allocation_id")
    )
    return [
        Limits(actions.account_name(job), actions.budget_name(job), open=usable(job.allocation, now())) for job in live
    ]


def usable(allocation: Allocation, moment: datetime) -> bool:
    """Whether work may start on it now."""
    grant = allocation.grant
    return allocation.state == AllocationState.OPEN and grant.state == GrantState.ACTIVE and moment < grant.ends_at


def _left_undone(engine: engines.EngineWithFiles, name: str, moment: datetime, forgotten: list[Job]) -> None:
    """Jobs whose task was lost are handed over, jobs that the engine doesn't know too; what should end is ended."""
    late = Q(state=JobState.ACCEPTED, submitted_at__lt=moment - LEFT_UNDONE)
    to_cancel = Q(cancel_asked_at__isnull=False, told_at__isnull=False)
    found = Job.objects.filter(late | to_cancel, engine=name, state__in=LIVE).select_related("allocation")
    undone = list(found.annotate(late=late, to_cancel=to_cancel))
    for job in [*(job for job in undone if job.late), *forgotten]:
        actions.hand_over(job)
    for job in (job for job in undone if job.to_cancel):
        try:
            engine.cancel(job.uuid)
        except Unavailable:
            raise
        except EngineError:
            logger.exception("the job %s could not be canceled", job.uuid)


@contextmanager
def _alone() -> Iterator[bool]:
    """Whether no other poller of this database is at work. Two would do no harm, only the same work twice."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended('madang poller', 0))")
        (mine,) = cursor.fetchone()
    try:
        yield mine
    finally:
        if mine and connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended('madang poller', 0))")
