from __future__ import annotations

from madang.workflow.errors import Refused, Stale


class Taken(Refused):
    """Somebody has (part of) this time, or there aren't that many left in it. The message names nobody."""

    status = 409


class Gone(Stale):
    """The claim was released, or its hold has run out by the database's clock."""
