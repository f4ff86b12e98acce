"""The shapes that every operation of the API shares: text, pages, problems."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from ninja import Field, Schema
from ninja.pagination import LimitOffsetPagination
from pydantic import AfterValidator

from madang.web.forms import unusable

BIG = 2**53  # whole numbers stay exact in every JSON reader


class Problem(Schema):
    """Why something was not done: what was wrong (`title`), and which inputs it is about (`where`)."""

    title: str
    where: list[str] = []


PROBLEMS: dict[int, Any] = {code: Problem for code in (400, 401, 403, 404, 409, 422)}


class Page(LimitOffsetPagination):
    class Input(Schema):
        limit: int = Field(50, ge=1, le=200)
        offset: int = Field(0, ge=0, le=1_000_000)


def _line(value: str) -> str:
    text = unicodedata.normalize("NFC", value).strip()
    if sign := unusable(text):
        raise ValueError(f"holds a sign that can't be used here ({sign})")
    return text


def _text(value: str) -> str:
    text = unicodedata.normalize("NFC", value).replace("\r\n", "\n").strip()
    if sign := unusable(text, lines=True):
        raise ValueError(f"holds a sign that can't be used here ({sign})")
    return text


Line = Annotated[str, Field(max_length=200), AfterValidator(_line)]
Text = Annotated[str, Field(max_length=20_000), AfterValidator(_text)]
Slug = Annotated[str, Field(max_length=60, pattern=r"^[-a-zA-Z0-9_]+$")]
Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
Amount = Annotated[int, Field(ge=0, le=BIG)]


def bytes_of(kind: str) -> dict[str, Any]:
    """For `openapi_extra` of an operation that answers with a file: what a 200 holds."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}}}
    return {"responses": {200: {"description": "The file", "content": content}}}
