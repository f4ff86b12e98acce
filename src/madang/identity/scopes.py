"""What a role can be given over. Rooms above say what they have; this room knows ids and nothing else of them."""

from __future__ import annotations

from collections.abc import Callable

from madang.identity.models import Scope

Names = Callable[[], dict[int, str]]
_known: dict[str, Names] = {}


def offer(scope: str, names: Names) -> None:
    """`names()` gives id → name of everything in this scope, in one SQL statement."""
    _known[scope] = names


def names() -> dict[tuple[str, int], str]:
    """(scope, id) → name of everything that a role can be given over, but for the whole site."""
    return {(scope, id): name for scope, listed in _known.items() for id, name in listed().items()}


def there_is(scope: str, scope_id: int) -> bool:
    if scope == Scope.SITE:
        return scope_id == 0
    return scope in _known and scope_id in _known[scope]()
