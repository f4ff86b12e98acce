"""Runs that their engine starts again, and whose hold isn't covered: kept waiting on the engine until it is.

What is to be done stands in the tasks alone, so whoever dies in between leaves it to the next look.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from uuid import UUID

from madang.engines.base import HELD_BACK, EngineError, Snapshot, State, Unavailable
from madang.jobs import actions, engines
from madang.jobs.models import LIVE, Task, worst_case
from madang.ledger.queries import balances

logger = logging.getLogger(__name__)


def keep_back(engine: engines.EngineWithFiles, name: str, snapshot: Snapshot) -> None:
    """Hold back on the engine what isn't covered, and let go what is covered by now."""
    tasks = Task.objects.filter(held_back=True, outcome="", job__engine=name, job__state__in=LIVE).order_by("id")
    found = list(tasks.select_related("job__allocation__resource").defer("job__script"))
    if not found:
        return
    covered = _covered(found)
    waiting = {(run.key.job, run.key.task): run for run in snapshot.runs if run.state is State.QUEUED}
    keep: dict[UUID, list[int]] = {}
    let: dict[UUID, list[int]] = {}
    done = []
    for task in found:
        run = waiting.get((task.job.uuid, task.number))
        if run is not None and task.pk in covered:
            let.setdefault(task.job.uuid, []).append(task.number)
        elif run is not None and run.reason != HELD_BACK:
            keep.setdefault(task.job.uuid, []).append(task.number)
        # Let go once more than it was seen to be needed: nothing that was held back may stay so.
        if task.pk in covered and snapshot.complete and (run is None or run.reason != HELD_BACK):
            done.append(task.pk)
    _each(engine.hold_back, keep)
    if _each(engine.let_go, let):
        Task.objects.filter(pk__in=done).update(held_back=False)


def _covered(tasks: list[Task]) -> set[int]:
    """Those that have a hold, or for which the balance has one by now."""
    accounts = [task.job.allocation.account for task in tasks if task.job.allocation.account is not None]
    left = {account: balance.available for account, balance in balances(accounts).items()}
    found = set()
    for task in tasks:
        account, worst = task.job.allocation.account or 0, worst_case(task.job.gpus, task.job.limit_s)
        if task.held:
            found.add(task.pk)
        elif left.get(account, 0) >= worst and actions.cover_again(task):
            found.add(task.pk)
            left[account] -= worst
    return found


def _each(verb: Callable[[UUID, list[int]], None], tasks: dict[UUID, list[int]]) -> bool:
    """Do it to the tasks of each job. Whether all of it was done."""
    well = True
    for job, numbers in tasks.items():
        try:
            verb(job, numbers)
        except Unavailable:
            raise
        except EngineError:
            well = False
            logger.exception("the job %s could not be held back or let go", job)
    return well
