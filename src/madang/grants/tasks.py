"""What runs later: the lapse of offers that nobody signed."""

from __future__ import annotations

from procrastinate.contrib.django import app

from madang.grants import actions


@app.periodic(cron="*/10 * * * *")
@app.task(name="grants.lapse_overdue", queueing_lock="grants.lapse_overdue")
def lapse_overdue(timestamp: int) -> None:
    actions.lapse_overdue()
