"""Which reviewer reads which application: everyone gets as many as is wanted, nobody with a conflict, loads even.

A transportation problem whose only cost is the evenness of the loads. Every step takes the cheapest augmenting path, so
the result has the least possible sum of squared loads, and the same input always gives the same result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping


class TooFew(Exception):
    """Some applications have fewer possible reviewers than they need: {application: how many are possible}."""

    def __init__(self, short: dict[int, int]) -> None:
        super().__init__(short)
        self.short = short


def assign(
    need: Mapping[int, int], allowed: Mapping[int, Collection[int]], load: Mapping[int, int]
) -> list[tuple[int, int]]:
    """New (application, reviewer) pairs.

    `need` is how many more an application gets, `allowed` whom it may get (a conflict, or somebody who has it already,
    is absent), `load` what every reviewer carries already. Raises TooFew.
    """
    short = {a: len(set(allowed[a])) for a in need if len(set(allowed[a])) < need[a]}
    if short:
        raise TooFew(short)
    carries = dict(load)
    given: dict[int, set[int]] = {a: set() for a in need}
    holders: dict[int, set[int]] = {r: set() for r in carries}
    options = {a: sorted(set(allowed[a])) for a in need}
    for application in sorted(need, key=lambda a: (len(options[a]) - need[a], a)):
        for _one in range(need[application]):
            _augment(application, options, given, holders, carries)
    return sorted((a, r) for a, reviewers in given.items() for r in reviewers)


def _augment(
    start: int,
    options: dict[int, list[int]],
    given: dict[int, set[int]],
    holders: dict[int, set[int]],
    carries: dict[int, int],
) -> None:
    """One more reviewer for `start`: straight, or by handing what a reviewer holds on to somebody who carries less."""
    came: dict[int, tuple[int, int | None]] = {}  # reviewer → (application that reaches it, reviewer before)
    queue: deque[tuple[int, int | None]] = deque([(start, None)])
    seen = {start}
    least = min(carries.values())
    while queue:
        application, before = queue.popleft()
        for reviewer in options[application]:
            if reviewer in came or reviewer in given[application]:
                continue
            came[reviewer] = (application, before)
            if carries[reviewer] == least:
                queue.clear()
                break
            for other in sorted(holders[reviewer] - seen):
                seen.add(other)
                queue.append((other, reviewer))
    end = min(came, key=lambda r: (carries[r], r))
    carries[end] += 1
    while True:
        application, before = came[end]
        given[application].add(end)
        holders[end].add(application)
        if before is None:
            return
        given[application].discard(before)
        holders[before].discard(application)
        end = before
