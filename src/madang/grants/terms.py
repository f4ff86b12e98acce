"""What a granted line costs, in whole won: list price = reduction + own share, always."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from madang.calls.discounts import fitting
from madang.calls.models import Discount
from madang.catalog.models import Rate
from madang.identity.models import Organization


@dataclass(frozen=True)
class Price:
    """In KRW. A resource without a rate on the day has no price: all three are None, which isn't a price of zero."""

    list_krw: int | None
    reduction_krw: int | None

    @property
    def own_share_krw(self) -> int | None:
        return None if self.list_krw is None else self.list_krw - (self.reduction_krw or 0)


def best(
    discounts: Iterable[Discount], organization: Organization, confirmed: Collection[int] | None = None
) -> Discount | None:
    """The largest reduction that applies; of two equal ones the one that the call names first. They don't add up.

    `confirmed` are the ids of those that an officer confirmed. None where that was never asked: then what the
    organization says of itself counts.
    """
    rows = list(discounts)
    applying = fitting(rows, organization) if confirmed is None else [row for row in rows if row.pk in confirmed]
    return min(applying, key=lambda discount: (-discount.percent, discount.pk), default=None)


def reduction_of(list_krw: int, percent: int) -> int:
    """What `percent` takes off, rounded up: the fraction of a won is never charged (원 미만 절사)."""
    return list_krw - list_krw * (100 - percent) // 100


def price(amount: int, rate: Rate | None, discount: Discount | None) -> Price:
    """What `amount` smallest units cost at `rate`, less `discount`."""
    if rate is None:
        return Price(None, None)
    list_krw = rate.price_of(amount)
    return Price(list_krw, reduction_of(list_krw, discount.percent) if discount else 0)


def total(prices: Iterable[Price]) -> Price:
    """The sum of the lines that have a price; no price at all where none has."""
    priced = [p for p in prices if p.list_krw is not None]
    if not priced:
        return Price(None, None)
    return Price(sum(p.list_krw or 0 for p in priced), sum(p.reduction_krw or 0 for p in priced))
