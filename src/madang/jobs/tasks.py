"""What runs later. Every task may run twice, late or never: the poller finds what was left undone."""

from __future__ import annotations

from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

from madang.engines.base import Unavailable
from madang.jobs import actions, poller
from madang.jobs.models import Job

again = RetryStrategy(max_attempts=20, linear_wait=3, wait=1, retry_exceptions=[Unavailable])


@app.task(name="jobs.hand_over", retry=again)
def hand_over(job: int) -> None:
    actions.hand_over(Job.objects.select_related("allocation").get(pk=job))


@app.task(name="jobs.hand_over_each", retry=again)
def hand_over_each(jobs: list[int]) -> None:
    for job in Job.objects.select_related("allocation").filter(pk__in=jobs).order_by("id"):
        actions.hand_over(job)


@app.task(name="jobs.cancel", retry=again)
def cancel(job: int) -> None:
    actions.stop(Job.objects.get(pk=job))


@app.periodic(cron="* * * * *")
@app.task(name="jobs.poll_engines", queueing_lock="jobs.poll_engines", pass_context=False)
def poll_engines(timestamp: int) -> None:
    """The second line behind the poller's own loop: a site whose poller died still sees its jobs end."""
    poller.look()
