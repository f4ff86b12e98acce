from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.utils.translation import gettext as _

from madang.workflow.errors import Stale


@dataclass(frozen=True)
class Move:
    """One row of a table of moves: from any of `start`, by `verb`, to `end`."""

    start: tuple[str, ...]
    verb: str
    end: str


class Machine:
    """The table of moves of one kind of thing.

    >>> from django.db import models
    >>> Door = models.TextChoices("Door", "OPEN CLOSED")
    >>> door = Machine(Door, (Door.OPEN, "close", Door.CLOSED), (Door.CLOSED, "open", Door.OPEN))
    >>> door.verbs("OPEN")
    ['close']
    """

    def __init__(
        self, states: type[models.TextChoices], *moves: tuple[str | Sequence[str], str, str], field: str = "state"
    ) -> None:
        self.states = states
        self.field = field
        self.moves = [
            Move((start,) if isinstance(start, str) else tuple(start), verb, end) for start, verb, end in moves
        ]

    def verbs(self, state: str) -> list[str]:
        """The verbs that may be done from `state`, in the order of the table."""
        return [move.verb for move in self.moves if state in move.start]

    def move(self, row: Any, verb: str) -> None:
        """Lock `row`, check that `verb` leads away from the state it is in *now*, and write the new one.

        `row` is refreshed under the lock first. Raises Stale where the table has no such move: a second click, a page
        that is out of date, or somebody who was faster. Call it inside a transaction.
        """
        row.refresh_from_db(from_queryset=type(row)._base_manager.select_for_update(of=("self",)))
        setattr(row, self.field, self.require(row, verb).end)
        row.save(update_fields=[self.field])

    def require(self, row: Any, verb: str) -> Move:
        """The move that `verb` makes from the state of `row`, as it was read. Raises Stale where there is none."""
        state = getattr(row, self.field)
        for move in self.moves:
            if move.verb == verb and state in move.start:
                return move
        raise Stale(
            _("This was already dealt with, or can't be done now. It is “%(state)s”.")
            % {"state": self.states(state).label}
        )


def state_check(states: type[models.TextChoices], name: str, field: str = "state") -> models.CheckConstraint:
    """The CHECK that keeps a state column to the states there are."""
    return models.CheckConstraint(name=name, condition=models.Q(**{f"{field}__in": list(states.values)}))
