from __future__ import annotations

import random
from decimal import Decimal
from types import SimpleNamespace

from madang.calls.ranking import best_first, standings

IMPACT = SimpleNamespace(code="impact", least=20)
ABILITY = SimpleNamespace(code="ability", least=0)
CRITERIA = [IMPACT, ABILITY]


def points(impact: object, ability: object) -> dict[str, object]:
    return {"impact": impact, "ability": ability}


def test_the_score_is_the_mean_of_the_totals():
    found = standings(CRITERIA, 2, {1: 1}, [(1, points(50, 30)), (1, points(45, 30))])[1]
    assert (found.score, found.rank, found.by_criterion) == (
        Decimal("77.50"),
        1,
        {"impact": Decimal("47.50"), "ability": Decimal("30.00")},
    )


def test_what_is_missing_is_not_zero():
    found = standings(CRITERIA, 2, {1: 1, 2: 2}, [(2, points(50, None)), (2, points(40, 20))])
    assert (found[1].score, found[1].rank, found[1].done) == (None, None, 0)
    assert (found[2].score, found[2].done, found[2].complete) == (Decimal("60.00"), 1, False)


def test_a_mean_below_the_minimum_fails_whatever_the_total():
    found = standings(CRITERIA, 1, {1: 1, 2: 2}, [(1, points(19, 40)), (2, points(20, 5))])
    assert (found[1].score, found[1].rank, found[1].fails) == (Decimal("59.00"), None, [IMPACT])
    assert (found[2].rank, found[2].fails) == (1, [])


def test_equal_scores_share_a_rank_and_the_next_one_is_skipped():
    receipts = {10: 3, 20: 1, 30: 2, 40: 4}
    sheets = [(10, points(50, 10)), (20, points(40, 20)), (30, points(60, 10)), (40, points(30, 0))]
    found = standings(CRITERIA, 1, receipts, sheets)
    assert {a: found[a].rank for a in found} == {30: 1, 20: 2, 10: 2, 40: 4}
    assert sorted(found, key=lambda a: best_first(found[a], receipts[a])) == [30, 20, 10, 40]


def test_thirds_are_compared_exactly_and_shown_with_two_decimals():
    thirds = [(1, points(20, x)) for x in (0, 0, 1)]
    found = standings(CRITERIA, 3, {1: 1, 2: 2}, [*thirds, *[(2, points(20, x)) for x in (0, 1, 1)]])
    assert (found[1].score, found[2].score) == (Decimal("20.33"), Decimal("20.67"))
    assert (found[1].rank, found[2].rank) == (2, 1)


def test_the_order_in_which_reviews_come_in_changes_nothing():
    draw = random.Random(7)
    receipts = {n: n for n in range(1, 40)}
    sheets = [(n, points(draw.randint(0, 60), draw.randint(0, 40))) for n in receipts for _ in range(3)]
    first = standings(CRITERIA, 3, receipts, sheets)
    for _ in range(5):
        draw.shuffle(sheets)
        assert standings(CRITERIA, 3, receipts, sheets) == first
