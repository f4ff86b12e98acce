"""What lists read from their address: a search, a place to go on from. Anything that can't be one is left out."""

from __future__ import annotations

from django.http import HttpRequest

from madang.web.forms import unusable


def asked(request: HttpRequest, name: str, most: int = 100) -> str:
    """A word from the address, bounded; empty where it can't be searched for."""
    word = request.GET.get(name, "").strip()[:most]
    return "" if unusable(word) else word


def after_of(request: HttpRequest, name: str = "after") -> int | None:
    """The id that a page goes on from."""
    word = request.GET.get(name, "")
    return int(word) if word.isascii() and word.isdecimal() and len(word) <= 18 else None
