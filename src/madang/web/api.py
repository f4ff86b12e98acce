"""The shapes that every operation of the API shares: text, pages, problems."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, TypeVar

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


PROBLEMS: dict[int, Any] = {code: Problem for code in (400, 401, 403, 404, 405, 409, 413, 422, 500)}


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
        raise ValueError(f"holds a sign that can't be used here ({sign})")
    if text and not visible(text):
        raise ValueError("holds no visible sign")
    return text


def _text(value: str) -> str:
    text = unicodedata.normalize("NFC", value).replace("\r\n", "\n").strip()
    if sign := unusable(text, lines=True):
        raise ValueError(f"holds a sign that can't be used here ({sign})")
    return text


def _usable(value: Moment) -> Moment:
    if not usable(value):
        raise ValueError(f"between {FIRST} and {LAST}")
    return value


def _past(value: date) -> date:
    if not usable(value, since=LONG_AGO):
        raise ValueError(f"between {LONG_AGO} and {LAST}")
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
