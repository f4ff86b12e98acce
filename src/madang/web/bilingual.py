"""Data that is said in Korean and in English: `name_ko` and `name_en` are read as `name`."""

from __future__ import annotations

from typing import Any

from django.utils.translation import get_language


def said(row: Any, field: str) -> str:
    """The field in the language of the reader, or in the other one where that is all there is."""
    first, second = ("ko", "en") if (get_language() or "ko").startswith("ko") else ("en", "ko")
    return getattr(row, f"{field}_{first}") or getattr(row, f"{field}_{second}")
