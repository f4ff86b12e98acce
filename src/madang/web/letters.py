"""Letters by e-mail. A verb defers one in its own transaction, so that a verb that fails has told nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.utils import translation
from procrastinate.contrib.django import app

RULE = "\n\n" + "-" * 40 + "\n\n"


def both(write: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    """Subject and text in Korean, the text in English below. `write` gives them in the language that is active."""
    with translation.override("ko"):
        subject, korean = write()
    with translation.override("en"):
        _subject, english = write()
    return subject, korean.strip() + RULE + english.strip() + "\n"


def later(people: Iterable[int], write: Callable[[], tuple[str, str]]) -> None:
    """Write to these people (ids) once the open transaction is committed: one task each, so that one can be retried.

    The task keeps ids, not addresses. Nothing secret may be in the text, since the task keeps that too.
    """
    to = list(dict.fromkeys(people))
    if not to:
        return
    subject, text = both(write)
    letters: list[dict[str, Any]] = [{"person": person, "subject": subject, "text": text} for person in to]
    app.configure_task("web.send_letter").batch_defer(*letters)


def link(path: str) -> str:
    """The whole address of a page of this site."""
    return f"{settings.PUBLIC_URL}{path}"
