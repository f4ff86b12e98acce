from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.calls.assignment import TooFew, assign


def loads(pairs, reviewers):
    return sorted(sum(r == reviewer for _, r in pairs) for reviewer in reviewers)


def test_loads_are_even_even_when_some_can_read_little():
    """Reviewer 1 can read everything, 2 only application 1, 3 only application 2."""
    pairs = assign({1: 1, 2: 1, 3: 1}, {1: [1, 2], 2: [1, 3], 3: [1]}, {1: 0, 2: 0, 3: 0})
    assert pairs == [(1, 2), (2, 3), (3, 1)]


def test_what_somebody_carries_already_counts():
    assert assign({1: 1}, {1: [1, 2]}, {1: 5, 2: 0}) == [(1, 2)]


def test_too_few_possible_reviewers_are_named():
    with pytest.raises(TooFew) as few:
        assign({1: 2, 2: 2, 3: 0}, {1: [1], 2: [1, 2], 3: []}, {1: 0, 2: 0})
    assert few.value.short == {1: 1}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(2, 6))
def test_everybody_gets_what_is_needed_from_whom_is_allowed(seed, applications, reviewers):
    draw = random.Random(seed)
    allowed = {a: [r for r in range(reviewers) if draw.random() > 0.3] for a in range(applications)}
    need = {a: draw.randint(0, min(3, len(allowed[a]))) for a in allowed}
    pairs = assign(need, allowed, dict.fromkeys(range(reviewers), 0))
    assert len(set(pairs)) == len(pairs)
    assert all(r in allowed[a] for a, r in pairs)
    assert {a: sum(x == a for x, _ in pairs) for a in need} == need
    assert pairs == assign(need, allowed, dict.fromkeys(range(reviewers), 0))


def test_with_everybody_allowed_loads_differ_by_one_at_most():
    pairs = assign(dict.fromkeys(range(200), 3), dict.fromkeys(range(200), range(17)), dict.fromkeys(range(17), 0))
    spread = loads(pairs, range(17))
    assert (spread[0], spread[-1]) == (35, 36)
