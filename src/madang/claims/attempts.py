"""One attempt to take time, and what its failures mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from django.db import Error, OperationalError, connection, transaction
from django.utils.translation import gettext as _

from madang.claims.errors import Gone, Taken
from madang.workflow.errors import Missing, Refused

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")
During = tuple[datetime, datetime | None]

EXCLUSION_VIOLATION = "23P01"
AGAIN = {"40P01", "40001"}  # a deadlock, a serialization failure
ATTEMPTS = 3


def _sqlstate(error: Error) -> str | None:
    return getattr(error.__cause__, "sqlstate", None)


def whole(verb: Callable[Asked, Answer]) -> Callable[Asked, Answer]:
    """All of the verb or nothing, in a transaction of its own or a savepoint of the caller's.

    What the exclusion constraint refuses is Taken. A deadlock or serialization failure is tried again, twice, and then
    answered as Taken too: somebody else is busy with the same time.
    """

    def attempt(*args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        for left in reversed(range(ATTEMPTS)):
            try:
                with transaction.atomic():
                    return verb(*args, **kwargs)
            except Error as error:
                state = _sqlstate(error)
                if state == EXCLUSION_VIOLATION or (state in AGAIN and not left):
                    raise taken() from error
                if state not in AGAIN:
                    raise
        raise OperationalError("unreachable")

    attempt.__doc__, attempt.__name__ = verb.__doc__, verb.__name__
    return attempt


def taken() -> Taken:
    return Taken(_("This time is already taken."), field="during")


def gone() -> Gone:
    return Gone(_("This is no longer held for you. Choose a time again."))


def missing() -> Missing:
    return Missing(_("There is no such place or claim."))


def interval(during: During) -> tuple[datetime, datetime | None]:
    """(start, end) with an end after the start, or with none: until further notice."""
    start, end = during
    if end is not None and end <= start:
        raise Refused(_("The end must be after the start."), field="during")
    return start, end


def rows(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall()) if cursor.description else []


def ids(numbers: Iterable[int]) -> list[int]:
    return sorted(set(numbers))
