"""Outcomes for tests, reported by the verb that the page calls."""

from __future__ import annotations

from itertools import count
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile

from madang.grants.tests.make import Story
from madang.outcomes import actions
from madang.outcomes.models import Outcome
from madang.workflow.moment import now

_number = count(1)


def file(content: bytes = b"", name: str = "재직증명.pdf") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content or b"%%PDF-1.7 %d" % next(_number))


def facts(**changes: Any) -> dict[str, Any]:
    """One new hire, today, with a certificate of employment."""
    return {
        "kind": "hire",
        "amount": 1,
        "occurred_on": now().astimezone(actions.SEOUL).date(),
        "title": "연구원 1명 채용",
        "text": "광주 근무",
        "share_percent": 100,
        "evidence": [file()],
        **changes,
    }


def reported(story: Story, **changes: Any) -> Outcome:
    return actions.report(story.lead, grant=story.again(), **facts(**changes))
