"""The history of rows, kept by database triggers: `update()` and hand-written SQL are caught too."""

import pghistory


def tracked(*, exclude: tuple[str, ...] = ()):  # type: ignore[no-untyped-def]  # the decorator of a library without types
    """Keep every version of every row of this model, except the named columns."""
    return pghistory.track(
        pghistory.InsertEvent(), pghistory.UpdateEvent(), pghistory.DeleteEvent(), exclude=list(exclude)
    )
