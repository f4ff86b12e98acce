"""The history of rows, kept by database triggers: `update()` and hand-written SQL are caught too."""

from collections.abc import Callable
from typing import TypeVar

import pghistory
from django.db import models

Row = TypeVar("Row", bound=models.Model)


def tracked(*, exclude: tuple[str, ...] = ()) -> Callable[[type[Row]], type[Row]]:
    """Keep every version of every row of this model, except the named columns."""
    return pghistory.track(
        pghistory.InsertEvent(), pghistory.UpdateEvent(), pghistory.DeleteEvent(), exclude=list(exclude)
    )
