"""In which order rows are locked: the call, then the application, then what hangs on it."""

from __future__ import annotations

from django.db import models


def lock(row: models.Model) -> None:
    """Read the row again and keep others from changing it until the end of the transaction.

    NO KEY: rows that only refer to this one may still be added meanwhile.
    """
    row.refresh_from_db(from_queryset=type(row)._base_manager.select_for_update(of=("self",), no_key=True))
