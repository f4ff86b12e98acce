"""How a room calls its functions in the database."""

from __future__ import annotations

from typing import Any

from django.db import Error, connection


def call(function: str, **arguments: Any) -> Any:
    """What a function of one row answers: a value, or the row where it has several."""
    (row,) = rows(function, **arguments)
    return row[0] if len(row) == 1 else row


def rows(function: str, **arguments: Any) -> list[tuple[Any, ...]]:
    """What the function answers, in one round trip. `arguments` without their p_.

    It is done whole or not at all, and joins the caller's transaction: there a savepoint, the call and its release
    travel together, so that the caller may go on after an error. Raises what the database raises.
    """
    named = ", ".join(f"p_{name} => %s{_cast(value)}" for name, value in arguments.items())
    # In brackets: a plain SELECT would not be told who does it and why.
    call = f"(SELECT * FROM {function}({named}))"  # noqa: S608  both are names from a room's own code
    with connection.cursor() as cursor:
        inside = connection.in_atomic_block
        try:
            if inside:
                cursor.execute(f"SAVEPOINT verb; {call}; RELEASE SAVEPOINT verb", list(arguments.values()))
            else:
                cursor.execute(call, list(arguments.values()))
            # From the end: whoever keeps the history of rows puts a statement before ours.
            cursor.set_result(-2 if inside else -1)
            return list(cursor.fetchall())
        except Error as error:
            # What can't even be sent (a NUL in a text) has no state, and made no savepoint.
            if inside and not connection.connection.closed and getattr(error.__cause__, "sqlstate", None):
                cursor.execute("ROLLBACK TO SAVEPOINT verb; RELEASE SAVEPOINT verb")
            raise


def _cast(value: Any) -> str:
    """Without it a number too large for the function would look for one that takes larger ones."""
    if isinstance(value, list):
        return f"{_cast(value[0])}[]" if value else ""
    return "::bigint" if type(value) is int else "::text" if type(value) is str else ""
