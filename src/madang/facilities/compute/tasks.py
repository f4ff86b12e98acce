"""What runs later: looking at the disk, and charging for what it holds."""

from __future__ import annotations

from procrastinate.contrib.django import app

from madang.facilities.compute import storage


@app.periodic(cron="*/5 * * * *")
@app.task(name="compute.sample_storage", queueing_lock="compute.sample_storage")
def sample_storage(timestamp: int) -> None:
    storage.measure()
    storage.sample()
