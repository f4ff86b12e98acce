"""Where the thing that a line of the log is about can be looked at. Each room says so for its own kinds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Any

# The ids of a kind → the addresses of those that this person may open, in one SQL statement at most.
Where = Callable[[Any, Collection[int]], dict[int, str]]

_told: dict[str, Where] = {}


def tell(kind: str, where: Where) -> None:
    _told[kind] = where


def of(person: Any, things: Iterable[tuple[str, int | None]]) -> dict[tuple[str, int | None], str]:
    """(kind, id) → the address of its page, where there is one that this person may open."""
    wanted: dict[str, set[int]] = defaultdict(set)
    for kind, id in things:
        if kind in _told and id is not None:
            wanted[kind].add(id)
    return {(kind, id): href for kind, ids in wanted.items() for id, href in _told[kind](person, ids).items()}
