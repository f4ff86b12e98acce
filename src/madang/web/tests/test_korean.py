from __future__ import annotations

import pytest

from madang.web.korean import particle


@pytest.mark.parametrize(
    ("word", "pair", "fits"),
    [
        ("인공지능산업융합사업단", "이/가", "이"),
        ("무등비전 주식회사", "이/가", "가"),
        ("무등비전 주식회사", "으로/로", "로"),
        ("사업단", "으로/로", "으로"),
        ("빛고을", "으로/로", "로"),
        ("「빛고을」", "을/를", "을"),
        ("H100", "은/는", "은"),
        ("GPT-4", "이/가", "가"),
        ("", "이/가", "가"),
    ],
)
def test_a_particle_fits_the_last_sound_of_its_word(word, pair, fits):
    assert particle(word, pair) == fits
