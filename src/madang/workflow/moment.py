from __future__ import annotations

from datetime import datetime

from django.db import connection


def now() -> datetime:
    """The database's clock, at this moment (not at the start of the transaction)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (moment,) = cursor.fetchone()
    return moment
