"""Korean pages speak Korean, English pages English, and the same thing is always called the same."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polib
import pytest
from django.db import connection

from tests.addresses import page_addresses
from tests.asking import Visitor, tables
from tests.world import World

ROOT = Path(__file__).resolve().parent.parent
HANGUL = re.compile(r"[가-힣][가-힣 ]*")
ENGLISH = re.compile(r"[a-z]{2,}(?: [a-z'’-]{2,}){2,}")
BRAND = {"마당", "한국어", "Madang"}
WHO = ("anonymous", "lead", "officer", "reviewer", "operator")
pytestmark = [pytest.mark.xdist_group("words")]


def catalogs() -> list[Path]:
    return sorted((ROOT / "src" / "madang").glob("**/locale/ko/LC_MESSAGES/django.po"))


def test_every_message_has_korean_and_is_compiled() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "messages.py", "--check"], capture_output=True, text=True, check=False
    )
    wrong = [line for line in done.stdout.splitlines() if "all in Korean" not in line]
    assert (wrong, done.returncode) == ([], 0), done.stderr


def test_the_same_english_is_the_same_korean_in_every_room() -> None:
    seen: dict[tuple[str | None, str], tuple[str, str]] = {}
    differ = []
    for path in catalogs():
        room = path.parents[3].name
        for entry in polib.pofile(str(path)):
            korean = entry.msgstr or entry.msgstr_plural.get(0, "")
            other = seen.setdefault((entry.msgctxt, entry.msgid), (korean, room))
            if korean and other[0] and korean != other[0]:
                differ.append(f"{entry.msgid!r}: {other[0]!r} in {other[1]}, {korean!r} in {room}")
    assert differ == []


class Words(HTMLParser):
    """The texts of a page that people read or hear, without those that are code."""

    SILENT = {"script", "style", "pre", "code", "textarea", "option-data"}
    HEARD = {"title", "aria-label", "placeholder", "alt"}

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.inside: list[str] = []
        self.other = 0  # depth of what says that it is in another language

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        given = dict(pairs)
        if tag in self.SILENT:
            self.inside.append(tag)
        self.texts += [given[name] or "" for name in self.HEARD if given.get(name)]

    def handle_endtag(self, tag: str) -> None:
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if text and not self.inside:
            self.texts.append(text)


def texts_of(page: str) -> list[str]:
    reader = Words()
    reader.feed(page)
    return reader.texts


@cache
def english() -> dict[str, str]:
    """Messages that are said differently in Korean."""
    found = {}
    for path in catalogs():
        for entry in polib.pofile(str(path)):
            korean = entry.msgstr or entry.msgstr_plural.get(0, "")
            if korean and korean != entry.msgid and re.search("[a-z]", entry.msgid):
                found[" ".join(entry.msgid.split())] = korean
    return found


def everything_stored() -> str:
    """All that people wrote, and all that was logged: it is shown in the language in which it was written."""
    parts = []
    with connection.cursor() as cursor:
        for table in [model._meta.db_table for model in tables()] + ["workflow_logline"]:
            cursor.execute(f"SELECT coalesce(string_agg(t::text, ' '), '') FROM \"{table}\" t")
            parts.append(cursor.fetchone()[0])
    return " ".join(parts)


def people(world: World) -> dict[str, Any]:
    return {
        "anonymous": None,
        "lead": world.a.lead,
        "officer": world.a.officer,
        "reviewer": world.a.reviewer,
        "operator": world.operator,
    }


def pages(world: World, who: str, language: str) -> Any:
    """(address, texts) of every page that opens for somebody."""
    visitor = Visitor(people(world)[who])
    visitor.client.cookies["django_language"] = language
    for address in page_addresses(world.a):
        if address.name in UNCHECKED:
            continue
        answer = visitor.ask("GET", address.path)
        if answer.response.headers.get("Content-Type", "").startswith("text/html"):
            yield address, answer.status, texts_of(answer.body)


UNCHECKED = {"portal:components", "portal:mail", "account_logout"}


@pytest.mark.parametrize("who", WHO)
def test_no_english_is_left_on_a_korean_page(world: World, who: str) -> None:
    stored, known, found = everything_stored(), english(), set()
    for address, _status, texts in pages(world, who, "ko"):
        for text in texts:
            if text in known and text not in BRAND and text not in stored:
                found.add(f"{address.name}: {text!r} is {known[text]!r}")
            for phrase in ENGLISH.findall(text):
                if phrase not in stored and phrase not in ALLOWED:
                    found.add(f"{address.name}: {text[:100]!r}")
    assert not found, "\n".join(sorted(found))


ALLOWED: set[str] = set()


@pytest.mark.parametrize("who", WHO)
def test_no_korean_is_left_on_an_english_page(world: World, who: str) -> None:
    stored, found = everything_stored(), set()
    for address, _status, texts in pages(world, who, "en"):
        for text in texts:
            for run in HANGUL.findall(text):
                if run.strip() not in BRAND and run.strip() not in stored:
                    found.add(f"{address.name}: {text[:100]!r}")
    assert not found, "\n".join(sorted(found))
