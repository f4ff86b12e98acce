"""From the scores of the reviews to the order of the applications: rule version 1, in exact numbers.

The score is the mean of the totals of the reviews, rounded half up to two decimals when it is shown and never before.
Below the minimum (과락) is whoever's mean in a criterion is less than the least that it asks for. Equal scores share a
rank and stand in the order of their receipts. What is missing is None, and is never counted as 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

VERSION = 1


@dataclass(frozen=True)
class Standing:
    """How one application stands: `score` is None without a whole review, `rank` also below a minimum."""

    score: Decimal | None
    rank: int | None
    fails: list[Any]
    done: int
    wanted: int
    by_criterion: dict[str, Decimal | None]
    exact: Fraction | None = field(default=None, repr=False)

    @property
    def complete(self) -> bool:
        return self.done >= self.wanted


def standings(
    criteria: Sequence[Any],
    wanted: int,
    receipts: Mapping[int, int],
    sheets: Iterable[tuple[int, Mapping[str, Any]]],
) -> dict[int, Standing]:
    """How each application of `receipts` (id → receipt number) stands.

    `criteria` have `code` and `least`; `sheets` are (application id, {criterion code: points}), one for each review. A
    sheet that lacks a criterion counts as no review.
    """
    codes = [criterion.code for criterion in criteria]
    whole: dict[int, list[Mapping[str, int]]] = {application: [] for application in receipts}
    for application, scores in sheets:
        if application in whole and all(isinstance(scores.get(code), int) for code in codes):
            whole[application].append(scores)
    found = {application: _standing(criteria, wanted, reviews) for application, reviews in whole.items()}
    order = sorted(
        (a for a, standing in found.items() if standing.exact is not None and not standing.fails),
        key=lambda a: (-(found[a].exact or 0), receipts[a]),
    )
    ranked: dict[int, Standing] = {}
    for place, application in enumerate(order, start=1):
        standing = found[application]
        before = ranked[order[place - 2]] if place > 1 else None
        rank = before.rank if before is not None and before.exact == standing.exact else place
        ranked[application] = Standing(**{**vars(standing), "rank": rank})
    return found | ranked


def best_first(standing: Standing, receipt: int) -> tuple[Any, ...]:
    """The key by which a list of applications is sorted: ranked, then below a minimum, then without a review."""
    exact = standing.exact
    return (standing.rank is None, exact is None, -(exact or 0), receipt)


def _standing(criteria: Sequence[Any], wanted: int, reviews: list[Mapping[str, int]]) -> Standing:
    if not reviews:
        return Standing(None, None, [], 0, wanted, {criterion.code: None for criterion in criteria})
    means = {c.code: Fraction(sum(r[c.code] for r in reviews), len(reviews)) for c in criteria}
    exact = sum(means.values(), Fraction(0))
    fails = [criterion for criterion in criteria if means[criterion.code] < criterion.least]
    by_criterion: dict[str, Decimal | None] = {code: _two(mean) for code, mean in means.items()}
    return Standing(_two(exact), None, fails, len(reviews), wanted, by_criterion, exact)


def _two(value: Fraction) -> Decimal:
    """Two decimals, half up, without a float on the way."""
    hundredths = (value.numerator * 200 + value.denominator) // (2 * value.denominator)
    return Decimal(hundredths).scaleb(-2)
