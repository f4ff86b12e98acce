"""The one seam between what was promised and how it is used: a facility per kind of resource.

A facility's room registers it when the application starts; this room calls it when an allocation opens, pauses, resumes
and closes, always inside the transaction of the verb. What takes longer than a moment, the facility defers to a task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from madang.catalog.models import Kind

if TYPE_CHECKING:
    from madang.calls.models import ApplicationLine
    from madang.grants.models import Allocation, Grant


@dataclass(frozen=True)
class Finding:
    """What the machine can say about a line before it is promised. One that is `blocking` stops the offer."""

    text: str
    blocking: bool = False


@dataclass(frozen=True)
class Action:
    """Somewhere that the holder of an allocation can go now. `main` is the one that most come for."""

    label: str
    url: str
    main: bool = False


@dataclass(frozen=True)
class Card:
    """What the holder of an allocation sees and can do: a sentence, facts as (label, value), places to go."""

    title: str = ""
    text: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)


class Facility(Protocol):
    """How one kind is used. `card` asks the database nothing: grant, resource and balance come with the allocation."""

    kind: Kind

    def feasibility(self, line: ApplicationLine) -> list[Finding]: ...

    def hold(self, line: ApplicationLine, until: datetime) -> None:
        """Set the awarded line aside while its agreement waits for a signature."""

    def release(self, line: ApplicationLine) -> None:
        """The agreement wasn't signed: what `hold` set aside is free again."""

    def open(self, allocation: Allocation) -> None:
        """Make it usable. Its account in the ledger exists and holds the amount."""

    def pause(self, allocation: Allocation, reason: str) -> None: ...

    def resume(self, allocation: Allocation) -> None: ...

    def close(self, allocation: Allocation) -> None:
        """Stop its use. What runs on it is asked to end; an allocation that still holds something isn't closed."""

    def card(self, allocation: Allocation) -> Card: ...


Panel = Callable[["Grant", Any], Card]  # a room above says something on the page of a grant, to the person who reads it


class Promised:
    """A kind whose use isn't recorded by a facility: the allocation has its account in the ledger, and nothing else."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def feasibility(self, line: ApplicationLine) -> list[Finding]:
        return []

    def hold(self, line: ApplicationLine, until: datetime) -> None:
        pass

    def release(self, line: ApplicationLine) -> None:
        pass

    def open(self, allocation: Allocation) -> None:
        pass

    def pause(self, allocation: Allocation, reason: str) -> None:
        pass

    def resume(self, allocation: Allocation) -> None:
        pass

    def close(self, allocation: Allocation) -> None:
        pass

    def card(self, allocation: Allocation) -> Card:
        return Card()


_registered: dict[Kind, Facility] = {}
_panels: list[Panel] = []


def register(facility: Facility) -> None:
    """One facility a kind: a second registration of another class is a mistake of the programmer."""
    known = _registered.setdefault(facility.kind, facility)
    if type(known) is not type(facility):
        raise ValueError(f"{facility.kind} has a facility already: {type(known).__name__}")


def facility_of(kind: str) -> Facility:
    return _registered.get(Kind(kind)) or Promised(Kind(kind))


def register_panel(panel: Panel) -> None:
    if panel not in _panels:
        _panels.append(panel)


def panels(grant: Grant, person: Any) -> list[Card]:
    """What the rooms above say on this grant's page, one SQL statement each at most."""
    return [panel(grant, person) for panel in _panels]
