"""What runs later: a simulation, on other processor cores than the pages'."""

from __future__ import annotations

import os

from procrastinate.contrib.django import app

from madang.planning import actions
from madang.planning.models import PlanRun
from madang.planning.spec import again
from madang.twin import BadInput
from madang.twin.plan import Stopped
from madang.twin.plan import run as run_plan

PROCESSES = max(1, min(4, (os.cpu_count() or 1) - 1))


@app.task(name="planning.simulate")
def simulate(run: int) -> None:
    row = PlanRun.objects.get(pk=run)
    if not actions.begin(row):
        return
    try:
        # Never in this process: compiled code holds the lock that the worker's other tasks need.
        result = run_plan(
            again(row.asked), processes=PROCESSES, apart=True, told=lambda done, _total: actions.progress(row, done)
        )
    except Stopped:
        return
    except (BadInput, ImportError, MemoryError, OSError) as error:
        actions.fail(row, str(error) or type(error).__name__)
        return
    actions.finish(row, result)


@app.periodic(cron="* * * * *")
@app.task(name="planning.sweep", queueing_lock="planning.sweep")
def sweep(timestamp: int) -> None:
    actions.sweep()
