"""What runs later: the lapse of offers that nobody signed, and what follows an overrun."""

from __future__ import annotations

from procrastinate.contrib.django import app

from madang.grants import actions
from madang.grants.models import Allocation
from madang.web.tasks import RETRY


@app.periodic(cron="*/10 * * * *")
@app.task(name="grants.lapse_overdue", queueing_lock="grants.lapse_overdue")
def lapse_overdue(timestamp: int) -> None:
    actions.lapse_overdue()


@app.task(name="grants.follow_overrun", retry=RETRY)
def follow_overrun(allocation: int) -> None:
    actions.follow_overrun(Allocation.objects.get(pk=allocation))


@app.periodic(cron="*/10 * * * *")
@app.task(name="grants.close_free", queueing_lock="grants.close_free")
def close_free(timestamp: int) -> None:
    actions.close_free()
