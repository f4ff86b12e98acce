"""What a verb answers when it doesn't do what was asked. Pages show it at the field, the API as a Problem."""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """The request was understood and can't be done. `field` names the input it belongs to, if one does."""

    status = 422

    def __init__(self, message: Any, *, field: str | None = None, errors: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.errors: dict[str, Any] = dict(errors or {})
        if field:
            self.errors.setdefault(field, message)

    def __str__(self) -> str:
        return str(self.message)


class Stale(Refused):
    """Somebody, or an earlier click, was faster: the thing is no longer in the state that the page showed."""

    status = 409


class NotAllowed(Refused):
    """Known, but not theirs to do."""

    status = 403


class Missing(Refused):
    """Not there, or not theirs to see: the two answers are the same on purpose."""

    status = 404
