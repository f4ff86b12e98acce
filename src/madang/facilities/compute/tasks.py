"""What runs later: removing files, looking at the disk, charging for what it holds, and counting how forecasts held."""

from __future__ import annotations

from procrastinate.contrib.django import app

from madang.facilities.compute import backtests, shelf, storage
from madang.jobs.models import Job


@app.task(name="compute.remove_files")
def remove_files(job: int) -> None:
    """Without another attempt: what could not be removed is tried again by every measuring."""
    storage.free(Job.objects.get(pk=job))


@app.periodic(cron="*/5 * * * *")
@app.task(name="compute.sample_storage", queueing_lock="compute.sample_storage")
def sample_storage(timestamp: int) -> None:
    shelf.tidy_all()
    storage.measure()
    storage.sample()


@app.periodic(cron="23 19 * * *")  # at night, by the clock of Seoul
@app.task(name="compute.backtest", queueing_lock="compute.backtest")
def backtest(timestamp: int) -> None:
    backtests.test_last_month()
