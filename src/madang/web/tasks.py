"""What runs later: letters are sent."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import send_mail
from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

RETRY = RetryStrategy(max_attempts=6, exponential_wait=10)


@app.task(name="web.send_letter", retry=RETRY)
def send_letter(person: int, subject: str, text: str) -> None:
    """To the address that the person has now; to nobody where the account was closed meanwhile."""
    address = get_user_model().objects.filter(pk=person, is_active=True).values_list("email", flat=True).first()
    if address:
        send_mail(settings.ACCOUNT_EMAIL_SUBJECT_PREFIX + " ".join(subject.split()), text, None, [address])
