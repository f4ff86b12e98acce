import unicodedata

import pydantic
import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings
from django.utils import translation

from madang.web.api import Line
from madang.web.forms import Day, Form, Instant, TextField, Upload, WholeNumber, unusable
from madang.workflow.errors import Missing, NotAllowed, Refused, Stale


class Plan(Form):
    name = TextField(max_length=10)
    count = WholeNumber(max_value=5, required=False)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("  마당  ", "마당"),
        ("마당", "마당"),  # composed and decomposed letters are one name
        ("مرحبا", "مرحبا"),
        ("🚀 로켓", "🚀 로켓"),
    ],
)
def test_a_line_is_kept_as_people_read_it(written: str, kept: str) -> None:
    assert TextField().clean(written) == kept


@pytest.mark.parametrize("sign", ["\x00", "\x07", "\u202e", "\u200f", "\n", "\ud800"])
def test_a_line_with_a_sign_that_hides_or_breaks_is_refused(sign: str) -> None:
    with pytest.raises(ValidationError):
        TextField().clean(f"a{sign}b")


def test_several_lines_keep_their_breaks_in_one_form() -> None:
    assert TextField(lines=True).clean("a\r\nb\tc") == "a\nb\tc"


def test_the_sign_that_can_not_be_used_is_named() -> None:
    assert unusable("a\u202eb") == "U+202E"
    assert unusable("a\nb") == "U+000A"
    assert unusable("a\nb", lines=True) is None


def test_breaks_that_are_no_line_feed_stand_only_where_lines_may() -> None:
    for sign in "\u2028\u2029":
        assert unusable(f"a{sign}b") == f"U+{ord(sign):04X}"
        assert unusable(f"a{sign}b", lines=True) is None
        with pytest.raises(ValidationError):
            TextField().clean(f"a{sign}b")


@pytest.mark.parametrize(
    "name", ["\u200b", "\u3164", "\u115f\u1160", "\uffa0\u3164", "\u2800", "\u200d\u0301", "\u2060 \u00ad"]
)
def test_a_name_that_nobody_can_see_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        TextField().clean(name)
    with pytest.raises(ValidationError):
        TextField(required=False).clean(name)
    with translation.override("en"), pytest.raises(pydantic.ValidationError, match="no visible sign"):
        pydantic.TypeAdapter(Line).validate_python(name)


@pytest.mark.parametrize("name", ["", "a", "마\u3164당", "👩\u200d🔬", "e\u0301", "."])
def test_what_joins_signs_that_can_be_seen_stays(name: str) -> None:
    assert TextField(required=False).clean(name) == unicodedata.normalize("NFC", name)
    assert pydantic.TypeAdapter(Line).validate_python(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("value", ["-1", "1.5", "9007199254740993", "9" * 40, "١x", "NaN", ""])
def test_a_number_that_the_database_can_not_hold_is_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        WholeNumber().clean(value)


@pytest.mark.parametrize("value", ["2025-02-30", "25-01-01", "today", "0000-01-01"])
def test_a_day_that_does_not_exist_is_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        Day().clean(value)


def test_an_instant_is_read_on_the_clocks_of_seoul() -> None:
    assert Instant().clean("2025-06-20T18:00").isoformat() == "2025-06-20T18:00:00+09:00"


@override_settings(UPLOAD_LIMIT_BYTES=10)
def test_a_file_that_is_too_large_is_refused_with_the_limit() -> None:
    with pytest.raises(ValidationError, match="MB"):
        Upload().clean(SimpleUploadedFile("a.txt", b"12345678901"))
    assert Upload().clean(SimpleUploadedFile("a.txt", b"1234567890"))


def test_a_file_whose_name_turns_the_direction_of_writing_is_refused() -> None:
    with pytest.raises(ValidationError):
        Upload().clean(SimpleUploadedFile("a\u202etxt.exe", b"x"))


def test_a_refusal_stands_at_the_field_it_is_about() -> None:
    form = Plan({"name": "a"})
    assert form.is_valid()
    with form.refusals():
        raise Refused("already taken", field="name")
    assert form.errors == {"name": ["already taken"]}


def test_a_refusal_about_no_field_stands_above_the_form() -> None:
    form = Plan({"name": "a"})
    assert form.is_valid()
    with form.refusals():
        raise Stale("somebody was faster")
    assert form.non_field_errors() == ["somebody was faster"]


def test_several_refusals_stand_at_their_fields_and_unknown_ones_above() -> None:
    form = Plan({"name": "a"})
    assert form.is_valid()
    with form.refusals():
        raise Refused("no", errors={"name": "too short", "elsewhere": "wrong too"})
    assert form.errors == {"name": ["too short"], "__all__": ["wrong too"]}


@pytest.mark.parametrize("refusal", [NotAllowed("not yours"), Missing("not there")])
def test_what_somebody_may_not_see_is_never_shown_in_a_form(refusal: Refused) -> None:
    form = Plan({"name": "a"})
    assert form.is_valid()
    with pytest.raises(type(refusal)), form.refusals():
        raise refusal
