"""What runs later: letters are sent, and what a worker left undone when it was killed is done again."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import send_mail
from procrastinate import JobContext, RetryStrategy
from procrastinate.contrib.django import app
from procrastinate.jobs import Status

RETRY = RetryStrategy(max_attempts=6, exponential_wait=10)


@app.task(name="web.send_letter", retry=RETRY)
def send_letter(person: int, subject: str, text: str) -> None:
    """To the address that the person has now; to nobody where the account was closed meanwhile."""
    address = get_user_model().objects.filter(pk=person, is_active=True).values_list("email", flat=True).first()
    if address:
        send_mail(settings.ACCOUNT_EMAIL_SUBJECT_PREFIX + " ".join(subject.split()), text, None, [address])


@app.periodic(cron="* * * * *")
@app.task(name="web.do_again", queueing_lock="web.do_again", pass_context=True)
async def do_again(context: JobContext, timestamp: int) -> None:
    """Tasks whose worker hasn't been heard of for 30 s: nobody else would ever begin them again.

    Those with a queueing lock come again by themselves; here they would be in the way of the next.
    """
    manager = context.app.job_manager
    for job in await manager.get_stalled_jobs():
        if job.queueing_lock:
            await manager.finish_job(job, status=Status.FAILED, delete_job=True)
        else:
            await manager.retry_job(job)
