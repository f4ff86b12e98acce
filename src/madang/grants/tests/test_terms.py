from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from madang.calls.discounts import fits
from madang.calls.models import Discount
from madang.catalog.models import Rate
from madang.grants.terms import Price, best, price, reduction_of, total

MONEY = st.integers(min_value=0, max_value=10**15)
PERCENT = st.integers(min_value=1, max_value=100)


def applicant(**facts: Any) -> Any:
    return SimpleNamespace(**{"region": "11", "is_youth_startup": False, "kind": "sme", **facts})


def discount(percent: int, rule: str, value: str = "", pk: int = 1) -> Discount:
    return Discount(pk=pk, percent=percent, rule=rule, value=value, name_ko=rule)


@given(MONEY, PERCENT)
def test_list_price_is_always_reduction_plus_own_share(list_krw: int, percent: int) -> None:
    priced = Price(list_krw, reduction_of(list_krw, percent))
    assert priced.own_share_krw is not None
    assert priced.reduction_krw is not None
    assert priced.reduction_krw + priced.own_share_krw == list_krw
    assert 0 <= priced.reduction_krw <= list_krw


@given(MONEY, PERCENT)
def test_the_fraction_of_a_won_is_never_charged(list_krw: int, percent: int) -> None:
    exact = list_krw * (100 - percent)  # own share in hundredths of a won
    own = list_krw - reduction_of(list_krw, percent)
    assert own * 100 <= exact < own * 100 + 100


@given(MONEY, PERCENT, PERCENT)
def test_a_larger_percentage_never_reduces_less(list_krw: int, one: int, other: int) -> None:
    small, large = sorted([one, other])
    assert reduction_of(list_krw, small) <= reduction_of(list_krw, large)


@given(st.integers(1, 10**13), st.integers(0, 10**6), st.integers(1, 10**6), PERCENT)
def test_a_price_is_whole_won_and_never_below_the_exact_one(amount: int, won: int, per: int, percent: int) -> None:
    rate = Rate(price_krw=won, per_amount=per)
    priced = price(amount, rate, discount(percent, "youth"))
    assert priced.list_krw is not None
    assert priced.own_share_krw is not None
    assert amount * won <= priced.list_krw * per < amount * won + per
    assert priced.own_share_krw <= priced.list_krw


@given(st.lists(st.tuples(st.integers(1, 10**9), st.booleans()), max_size=8), PERCENT)
def test_the_total_is_the_sum_of_its_lines_won_by_won(lines: list[tuple[int, bool]], percent: int) -> None:
    rate = Rate(price_krw=2_001, per_amount=3_600)
    prices = [price(amount, rate if priced else None, discount(percent, "youth")) for amount, priced in lines]
    whole = total(prices)
    shares = [p.own_share_krw for p in prices if p.own_share_krw is not None]
    assert whole.own_share_krw == (sum(shares) if shares else None)


def test_a_hundred_percent_leaves_nothing_to_pay() -> None:
    assert price(7, Rate(price_krw=333, per_amount=2), discount(100, "youth")) == Price(1166, 1166)


def test_a_resource_without_a_rate_has_no_price_which_is_not_a_price_of_zero() -> None:
    assert price(3600, None, discount(50, "youth")) == Price(None, None)
    assert price(3600, Rate(price_krw=0, per_amount=1), None) == Price(0, 0)


def test_half_of_an_odd_price_leaves_the_won_to_the_applicant() -> None:
    assert price(1, Rate(price_krw=1001, per_amount=1), discount(50, "youth")) == Price(1001, 501)


def test_each_rule_looks_at_its_own_fact() -> None:
    assert fits(discount(50, "region", "29"), applicant(region="29"))
    assert not fits(discount(50, "region", "29"), applicant(region="11"))
    assert fits(discount(50, "youth"), applicant(is_youth_startup=True))
    assert not fits(discount(50, "youth"), applicant())
    assert fits(discount(50, "kind", "university"), applicant(kind="university"))
    assert not fits(discount(50, "kind", "university"), applicant())


def test_the_largest_discount_that_fits_applies_and_they_do_not_add_up() -> None:
    offers = [
        discount(30, "region", "29", pk=1),
        discount(50, "youth", pk=2),
        discount(80, "kind", "university", pk=3),
    ]
    assert best(offers, applicant(region="29", is_youth_startup=True)) == offers[1]
    assert best(offers, applicant(region="29")) == offers[0]
    assert best(offers, applicant()) is None


def test_of_two_equal_discounts_the_one_named_first_applies() -> None:
    offers = [discount(50, "youth", pk=8), discount(50, "region", "29", pk=3)]
    assert best(offers, applicant(region="29", is_youth_startup=True)) == offers[1]
