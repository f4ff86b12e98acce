"""Which reductions of a call an applicant would get, by what it says of itself. An officer confirms that it is so."""

from __future__ import annotations

from collections.abc import Iterable

from madang.calls.models import Discount, DiscountRule
from madang.identity.models import Organization


def fits(discount: Discount, organization: Organization) -> bool:
    match discount.rule:
        case DiscountRule.REGION:
            return organization.region == discount.value
        case DiscountRule.YOUTH:
            return organization.is_youth_startup
        case DiscountRule.KIND:
            return organization.kind == discount.value
    return False


def fitting(discounts: Iterable[Discount], organization: Organization) -> list[Discount]:
    """Those that fit what is declared, in the order of the call."""
    return [discount for discount in discounts if fits(discount, organization)]


def declared(discount: Discount, organization: Organization) -> str:
    """The declared fact that a discount rests on, in words."""
    match discount.rule:
        case DiscountRule.REGION:
            return organization.get_region_display()
        case DiscountRule.KIND:
            return organization.get_kind_display()
    return str(DiscountRule(discount.rule).label)
