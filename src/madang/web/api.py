"""The shapes that every operation of the API shares: text, pages, problems."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, TypeVar

from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from ninja import Field, Schema
from ninja.pagination import LimitOffsetPagination
from pydantic import AfterValidator, ConfigDict, ModelWrapValidatorHandler, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from madang.web.days import FIRST, LAST, LONG_AGO, usable
from madang.web.forms import unusable, visible

Moment = TypeVar("Moment", date, datetime)
BIG = 2**53  # whole numbers stay exact in every JSON reader


class Problem(Schema):
    """Why something was not done: what was wrong (`title`), which inputs it is about (`where`), what is wrong with each
    of them (`errors`).
    """

    title: str
    where: list[str] = []
    errors: dict[str, str] = {}


PROBLEMS: dict[int, Any] = {code: Problem for code in (400, 401, 403, 404, 405, 409, 411, 413, 422, 500)}


def wrong(error: Mapping[str, Any]) -> str:
    """What is wrong with an input, as pydantic found it (its `type`, `ctx` and `msg`), in the language of the request.

    A kind of error that is not known here keeps pydantic's own words.
    """
    kind, facts = str(error["type"]), error.get("ctx") or {}
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    if kind in ("too_short", "too_long", "string_too_short", "string_too_long"):
        return _size(kind, facts)
    said = _bound(kind, facts) or _form(kind, facts) or _type(kind)
    return said or str(error["msg"])


def _size(kind: str, facts: Mapping[str, Any]) -> str:
    """Texts of which a validator had been asked before are "Value" to pydantic, which counts their items."""
    text = kind.startswith("string") or facts.get("field_type") == "Value"
    if kind.endswith("short"):
        least = facts["min_length"]
        if text:
            return ngettext("At least %(n)s character is needed.", "At least %(n)s characters are needed.", least) % {
                "n": f"{least:,}"
            }
        return ngettext("At least %(n)s entry is needed.", "At least %(n)s entries are needed.", least) % {
            "n": f"{least:,}"
        }
    most = facts["max_length"]
    if text:
        return ngettext("At most %(n)s character is allowed.", "At most %(n)s characters are allowed.", most) % {
            "n": f"{most:,}"
        }
    return ngettext("At most %(n)s entry is allowed.", "At most %(n)s entries are allowed.", most) % {"n": f"{most:,}"}


def _bound(kind: str, facts: Mapping[str, Any]) -> str:
    if kind == "greater_than_equal":
        return _("It must be at least %(bound)s.") % {"bound": facts["ge"]}
    if kind == "less_than_equal":
        return _("It must be at most %(bound)s.") % {"bound": facts["le"]}
    if kind == "greater_than":
        return _("It must be more than %(bound)s.") % {"bound": facts["gt"]}
    return _("It must be less than %(bound)s.") % {"bound": facts["lt"]} if kind == "less_than" else ""


def _form(kind: str, facts: Mapping[str, Any]) -> str:
    if kind == "missing":
        return _("It is required.")
    if kind == "extra_forbidden":
        return _("There is no input of this name.")
    if kind in ("literal_error", "enum"):
        return _("It must be one of these: %(values)s.") % {"values": facts["expected"].replace(" or ", ", ")}
    if kind == "string_pattern_mismatch":
        return _("It doesn't have the form that is needed: %(pattern)s") % {"pattern": facts["pattern"]}
    if kind in ("int_parsing_size", "int_from_float", "finite_number"):
        return _("This number can't be used: too large, or not whole.")
    return ""


def _type(kind: str) -> str:
    if kind in ("dict_type", "mapping_type", "model_type", "model_attributes_type", "object_type"):
        return _("It must be an object in JSON.")
    return {
        "int": _("It must be a whole number."),
        "float": _("It must be a number."),
        "decimal": _("It must be a number."),
        "bool": _("It must be true or false."),
        "string": _("It must be a text."),
        "list": _("It must be a list."),
        "uuid": _("It must be a UUID."),
        "date": _("It must be a day, such as 2026-03-01."),
        "datetime": _("It must be a moment, such as 2026-03-01T09:00:00+09:00."),
        "timezone": _("It must be a moment, such as 2026-03-01T09:00:00+09:00."),
    }.get(kind.partition("_")[0], "")


class In(Schema):
    """The base of everything that is sent: an object with the names of the description and no others.

    Ninja's Schema reads any Python object by attribute. For what is sent that would make a text, or a list, an object
    in which nothing is named, and a name with a slip of the pen one that was left out.
    """

    model_config = ConfigDict(extra="forbid", from_attributes=False)

    @model_validator(mode="wrap")
    @classmethod
    def _run_root_validator(cls, values: Any, handler: ModelWrapValidatorHandler[Any], info: ValidationInfo) -> Any:
        """In place of the validator of this name in ninja's Schema."""
        if not isinstance(values, (Mapping, cls)):
            raise PydanticCustomError("object_type", "Input should be an object")
        return handler(values)


class Page(LimitOffsetPagination):
    class Input(Schema):
        limit: int = Field(50, ge=1, le=200)
        offset: int = Field(0, ge=0, le=1_000_000)


def _line(value: str) -> str:
    text = unicodedata.normalize("NFC", value).strip()
    if sign := unusable(text):
        raise ValueError(_("holds a sign that can't be used here (%(sign)s)") % {"sign": sign})
    if text and not visible(text):
        raise ValueError(_("holds no visible sign"))
    return text


def _text(value: str) -> str:
    text = unicodedata.normalize("NFC", value).replace("\r\n", "\n").strip()
    if sign := unusable(text, lines=True):
        raise ValueError(_("holds a sign that can't be used here (%(sign)s)") % {"sign": sign})
    return text


def _usable(value: Moment) -> Moment:
    if not usable(value):
        raise ValueError(_("It must be between %(first)s and %(last)s.") % {"first": FIRST, "last": LAST})
    return value


def _past(value: date) -> date:
    if not usable(value, since=LONG_AGO):
        raise ValueError(_("It must be between %(first)s and %(last)s.") % {"first": LONG_AGO, "last": LAST})
    return value


Line = Annotated[str, Field(max_length=200), AfterValidator(_line)]
Text = Annotated[str, Field(max_length=20_000), AfterValidator(_text)]
Slug = Annotated[str, Field(max_length=60, pattern=r"^[-a-zA-Z0-9_]+$")]
Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
# In bodies: there 1 is a number, and neither true nor "1" is. Addresses hold nothing but text, so they take `int`.
Whole = Annotated[int, Field(strict=True)]
Ref = Annotated[Whole, Field(ge=1, le=2**63 - 1)]
Amount = Annotated[Whole, Field(ge=0, le=BIG)]
Day = Annotated[date, AfterValidator(_usable)]
PastDay = Annotated[date, AfterValidator(_past)]
Instant = Annotated[datetime, AfterValidator(_usable)]


def bytes_of(*kinds: str) -> dict[str, Any]:
    """For `openapi_extra` of an operation that answers with a file: what a 200 holds."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
    return {"responses": {200: {"description": "The file", "content": content}}}
