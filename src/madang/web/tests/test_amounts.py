"""Amounts as people read them."""

from __future__ import annotations

import pytest
from django.template import Context, Template
from django.utils import translation

from madang.web import amounts


@pytest.fixture(autouse=True)
def _in_korean():
    with translation.override("ko"):
        yield


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (7200, "gpu_second", "2 GPU-시간"),
        (36_000_000, "gpu_second", "10,000 GPU-시간"),
        (14, "gpu_second", "14 GPU-초"),
        (400, "gpu_second", "0.111 GPU-시간"),
        (1104, "mb_hour", "1,104 MB-시간"),
        (-4, "mb_hour", "-4 MB-시간"),
        (24_000, "mb_hour", "0.001 TB-일"),
        (0, "mb_hour", "0 TB-일"),
    ],
)
def test_an_amount_is_written_without_an_exponent(value, unit, text):
    assert amounts.written(value, unit) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(1, "gpu_second", "1 GPU-second"), (2, "gpu_second", "2 GPU-seconds"), (-1, "mb_hour", "-1 MB-hour")],
)
def test_one_is_one(value, unit, text):
    with translation.override("en"):
        assert amounts.written(value, unit) == text


def test_what_is_left_is_never_more_than_there_is_and_what_was_used_never_less():
    whole = 360_000
    assert amounts.left(whole - 14, "gpu_second") == "99.99 GPU-시간"
    assert amounts.left(whole, "gpu_second") == "100 GPU-시간"
    assert amounts.used(3601, "gpu_second") == "1.01 GPU-시간"
    assert amounts.left(3599, "gpu_second") == "0.999 GPU-시간"


def test_days_sums_and_amounts_in_a_text_stay_on_one_line():
    page = Template("{% load madang %}{{ text|unbroken|linebreaks }}")
    text = page.render(Context({"text": "<b> 2027-03-25까지 2 GPU-시간, ₩9,599,000."}))
    span = '<span class="nowrap">'
    assert text == f"<p>&lt;b&gt; {span}2027-03-25</span>까지 {span}2 GPU-시간</span>, {span}₩9,599,000</span>.</p>"


def test_an_amount_and_a_price_stay_on_one_line():
    page = Template("{% load madang %}{{ 7200|amount:'gpu_second' }} {{ 9599000|krw }}")
    with translation.override("en"):
        text = page.render(Context())
    assert text == '<span class="nowrap">2 GPU-hours</span> <span class="nowrap">₩9,599,000</span>'
