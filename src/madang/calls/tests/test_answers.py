from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.calls import answers, blind
from madang.calls.documents import clean_name
from madang.calls.queries.files import neutral_name
from madang.calls.tests.make import FORM
from madang.workflow.errors import Refused

FIELDS = answers.check_spec(
    [
        *FORM,
        {"code": "since", "type": "day", "label_ko": "시작일"},
        {
            "code": "size",
            "type": "choice",
            "label_ko": "규모",
            "choices": [{"value": "small", "label_ko": "작음"}, {"value": "large", "label_ko": "큼"}],
        },
        {
            "code": "why-large",
            "type": "line",
            "label_ko": "이유",
            "required": True,
            "shown_if": {"field": "size", "in": ["large"]},
        },
    ]
)


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ({"goal": "  목표\r\n둘째 줄 "}, {"goal": "목표\n둘째 줄"}),
        ({"staff": "1"}, {"staff": 1}),
        ({"staff": "  999"}, {"staff": 999}),
        ({"partner": "on"}, {"partner": True}),
        ({"partner": False}, {"partner": False}),
        ({"since": "2026-03-01"}, {"since": "2026-03-01"}),
        ({"size": "small"}, {"size": "small"}),
        ({"goal": "", "staff": None, "since": " "}, {}),
        ({"goal": "한글과 עברית 😀"}, {"goal": "한글과 עברית 😀"}),
    ],
)
def test_what_fits_is_kept_tidily(raw, kept):
    assert answers.clean(FIELDS, raw) == (kept, {})


@pytest.mark.parametrize(
    "raw",
    [
        {"goal": "x" * 501},
        {"goal": "NUL\x00"},
        {"goal": "겹친 \u202e방향"},
        {"goal": ["list"]},
        {"goal": 5},
        {"staff": "0"},
        {"staff": "1000"},
        {"staff": 1.5},
        {"staff": True},
        {"staff": "9" * 60},
        {"staff": "١٢"},
        {"partner": "maybe"},
        {"since": "2026-02-30"},
        {"since": "01.03.2026"},
        {"size": "medium"},
        {"size": {}},
        {"nonsense": 1},
        {"plan": "plan.pdf"},
    ],
)
def test_what_does_not_fit_is_named_and_not_kept(raw):
    kept, errors = answers.clean(FIELDS, raw)
    assert (kept, list(errors)) == ({}, list(raw))


def test_a_draft_may_lack_what_a_submission_needs():
    assert answers.clean(FIELDS, {}) == ({}, {})
    assert list(answers.clean(FIELDS, {}, whole=True)[1]) == ["goal"]


def test_a_question_that_is_not_asked_is_not_needed_and_its_answer_not_submitted():
    told = {"goal": "목표", "size": "small", "why-large": "전에 쓴 이유"}
    assert answers.clean(FIELDS, told)[0] == told
    assert answers.clean(FIELDS, told, whole=True) == ({"goal": "목표", "size": "small"}, {})
    assert list(answers.clean(FIELDS, {"goal": "목표", "size": "large"}, whole=True)[1]) == ["why-large"]
    assert list(answers.clean(FIELDS, {"goal": "목표", "partner": True}, whole=True)[1]) == ["partner-name"]


def test_what_depends_on_a_question_that_is_not_asked_is_not_asked_either():
    fields = answers.check_spec(
        [
            {"code": "a", "type": "yes", "label_ko": "가"},
            {"code": "b", "type": "yes", "label_ko": "나", "shown_if": {"field": "a", "in": [True]}},
            {"code": "c", "type": "line", "label_ko": "다", "shown_if": {"field": "b", "in": [True]}},
            {"code": "d", "type": "line", "label_ko": "라", "shown_if": {"field": "a", "in": [False]}},
        ]
    )
    assert answers.shown(fields, {"a": False, "b": True}) == {"a", "d"}
    assert answers.shown(fields, {"a": True, "b": True}) == {"a", "b", "c"}
    assert answers.shown(fields, {}) == {"a", "d"}


def test_a_required_file_and_a_required_yes_are_really_needed():
    fields = answers.check_spec(
        [
            {"code": "consent", "type": "yes", "label_ko": "동의", "required": True},
            {"code": "paper", "type": "file", "label_ko": "서류", "required": True},
        ]
    )
    assert sorted(answers.clean(fields, {"consent": False}, whole=True)[1]) == ["consent", "paper"]
    assert answers.clean(fields, {"consent": True}, whole=True, documents={"paper"}) == ({"consent": True}, {})


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ({"code": "Big", "type": "line", "label_ko": "가"}, "code"),
        ({"code": "title", "type": "line", "label_ko": "가"}, "code"),
        ({"code": "line-1", "type": "line", "label_ko": "가"}, "code"),
        ({"code": "a", "type": "color", "label_ko": "가"}, "type"),
        ({"code": "a", "type": "line"}, "label_ko"),
        ({"code": "a", "type": "line", "label_ko": "가\n나"}, "label_ko"),
        ({"code": "a", "type": "line", "label_ko": "가", "required": "yes"}, "required"),
        ({"code": "a", "type": "line", "label_ko": "가", "most": 10**9}, "most"),
        ({"code": "a", "type": "number", "label_ko": "가", "least": 5, "most": 4}, "most"),
        ({"code": "a", "type": "choice", "label_ko": "가"}, "choices"),
        ({"code": "a", "type": "choice", "label_ko": "가", "choices": [{"value": "x"}]}, "choices"),
        ({"code": "a", "type": "line", "label_ko": "가", "shown_if": {"field": "a", "in": [True]}}, "shown_if"),
        ({"code": "a", "type": "line", "label_ko": "가", "shown_if": {"field": "later", "in": [True]}}, "shown_if"),
        ({"code": "a", "type": "line", "label_ko": "가", "shown_if": "always"}, "shown_if"),
        ("not a spec", "code"),
    ],
)
def test_a_wrong_question_is_named_by_its_place_and_part(spec, key):
    with pytest.raises(Refused) as refused:
        answers.check_spec([{"code": "first", "type": "line", "label_ko": "첫째"}, spec])
    assert f"1.{key}" in refused.value.errors


def test_a_question_depends_only_on_answers_that_exist():
    yes = {"code": "a", "type": "yes", "label_ko": "가"}
    for value in ("true", 1, "small", None):
        with pytest.raises(Refused):
            answers.check_spec(
                [yes, {"code": "b", "type": "line", "label_ko": "나", "shown_if": {"field": "a", "in": [value]}}]
            )


SIMPLE = st.none() | st.booleans() | st.integers() | st.text()
KEYS = st.sampled_from(["code", "type", "label_ko", "most", "choices", "shown_if", "field", "in"])


@settings(max_examples=60)
@given(st.lists(st.recursive(SIMPLE, lambda x: st.lists(x) | st.dictionaries(KEYS, x), max_leaves=8), max_size=4))
def test_no_form_whatever_makes_the_check_fall_over(anything):
    with suppress(Refused):
        answers.check_spec(anything)


@given(st.dictionaries(st.sampled_from([spec["code"] for spec in FIELDS]), SIMPLE))
def test_no_answer_whatever_makes_the_check_fall_over(anything):
    kept, errors = answers.clean(FIELDS, anything, whole=True)
    assert not kept.keys() & errors.keys()
    assert answers.clean(FIELDS, kept)[0] == kept


def test_file_names_are_made_harmless():
    assert [
        clean_name(n) for n in ("../../etc/passwd", "C:\\tmp\\plan.pdf", "a\x00b.txt", "  ", "가" * 300 + ".hwp")
    ] == [
        "passwd",
        "plan.pdf",
        "ab.txt",
        "document",
        "가" * 116 + ".hwp",
    ]
    assert [neutral_name("plan", n) for n in ("빛고을 계획.PDF", "no-ending", "x.tar.gz", "x.<b>")] == [
        "plan.pdf",
        "plan",
        "plan.gz",
        "plan",
    ]


def test_an_applicants_name_is_covered_however_it_is_written():
    names = blind.names_of(
        {
            "name_ko": "(주)빛고을 AI",
            "name_en": "Bitgoeul AI Co., Ltd.",
            "business_number": "2208162517",
            "representative": "남궁민수",
        }
    )
    text = "(주)빛고을AI는 빛고을 AI의 기술로 … bitgoeul ai, BITGOEUL AI CO., LTD. 220-81-62517 남궁 민수 대표"
    covered = blind.covered(text, names)
    assert covered == "●●●는 ●●●의 기술로 … ●●●, ●●● ●●● ●●● 대표"
    assert blind.covered("we train and maintain AI", names) == "we train and maintain AI"
