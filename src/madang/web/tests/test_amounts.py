"""Amounts as people read them."""

from __future__ import annotations

import pytest
from django.template import Context, Template
from django.utils import translation

from madang.web import amounts
from madang.web.templatetags.madang import share


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


@pytest.mark.parametrize(
    ("minutes", "english", "korean"),
    [
        (4320, "3 days", "3일"),
        (4321, "3 days 1 minute", "3일 1분"),
        (1500, "1 day 1 hour", "1일 1시간"),
        (90, "1 hour 30 minutes", "1시간 30분"),
        (59, "59 minutes", "59분"),
        (0, "0 minutes", "0분"),
    ],
)
def test_a_limit_is_said_in_days_hours_and_minutes_and_none_of_it_is_left_out(minutes, english, korean):
    with translation.override("en"):
        assert amounts.lasting(minutes) == english
    with translation.override("ko"):
        assert amounts.lasting(minutes) == korean


def test_who_types_a_limit_in_minutes_is_told_how_many():
    with translation.override("en"):
        assert [amounts.lasting_as_typed(minutes) for minutes in (45, 4320)] == ["45 minutes", "3 days (4,320 minutes)"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "100%"), (1.0, "100%"), (0.9996, "100%"), (0.999, "99.9%"), (0.125, "12.5%"), (0.0, "0.0%")],
)
def test_all_of_it_is_a_hundred_percent_without_decimals(value, text):
    assert share(value) == text
