from __future__ import annotations

from django.db import connection


def alone(name: str) -> None:
    """Wait until nobody else is inside with this name, until the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('madang ' || %s, 0))", [name])
