"""The letters that wait to be sent, as the verbs deferred them."""

from __future__ import annotations

from typing import Any

from procrastinate.contrib.django.models import ProcrastinateJob


def waiting() -> list[dict[str, Any]]:
    """{person, subject, text} of each, the oldest first."""
    rows = ProcrastinateJob.objects.filter(task_name="web.send_letter").order_by("id")
    return [dict(args) for args in rows.values_list("args", flat=True)]


def to(person: Any, subject: str = "") -> list[dict[str, Any]]:
    """Those to this person whose subject holds that."""
    return [letter for letter in waiting() if letter["person"] == person.pk and subject in letter["subject"]]
