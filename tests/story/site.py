"""A running site for browsers: a database of its own, a server, and whatever works behind the pages."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.db import connection

from tests.story.desk import Desk
from tests.story.looks import Looks

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"


@dataclass
class Site:
    """`told` is the last step of the story that went well."""

    url: str
    browser: Any
    looks: Looks
    desks: dict[str, Desk] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    told: int = 0

    def desk(self, who: str, **more: Any) -> Desk:
        """The browser of somebody, who sits down at it when first asked for."""
        if who not in self.desks:
            self.desks[who] = Desk(self.browser, self.url, self.looks, **more)
        return self.desks[who]

    def close(self) -> None:
        for desk in self.desks.values():
            desk.close()

    @contextmanager
    def step(self, number: int, *, after: int | None = None) -> Iterator[None]:
        """A step of the story; skipped when the one before it failed, failed when a page that it saw has a fault."""
        before = number - 1 if after is None else after
        if self.told < before:
            pytest.skip(f"the story stopped after step {self.told}")
        yield
        assert not self.looks.faults, "\n".join(self.looks.faults)
        self.told = number


def pictures() -> Path | None:
    """Where pictures are kept, if they are wanted."""
    if not os.environ.get("MADANG_PICTURES"):
        return None
    PICTURES.mkdir(parents=True, exist_ok=True)
    return PICTURES


def letter(to: str) -> str:
    """The text of the last letter to this address. Raises AssertionError when there is none."""
    found = [message for message in mail.outbox if to in message.to]
    assert found, f"no letter to {to}, only to {[message.to for message in mail.outbox]}"
    return str(found[-1].body)


def code_in(text: str) -> str:
    """The code that stands alone on its line, once in each language."""
    found = re.findall(r"^\s*([A-Z0-9]{3,8}-?[A-Z0-9]{0,8})\s*$", text, re.MULTILINE)
    assert len(set(found)) == 1, text
    return str(found[0])


def address_in(text: str) -> str:
    """The path of the link in a letter."""
    found = re.search(r"https?://[^/\s]+(/\S+)", text)
    assert found, text
    return found[1]


@contextmanager
def engine_at_work() -> Iterator[None]:
    """What `python -m madang.server.engine` runs: the dispatchers of the clusters, and the poller."""
    from madang.facilities.compute import dispatcher
    from madang.jobs import poller

    stop = threading.Event()
    loops = [
        threading.Thread(target=dispatcher.run, args=(stop, 0.5), name="dispatcher"),
        threading.Thread(target=poller.run, args=(stop, 0.5), name="poller"),
    ]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        stop.set()
        for loop in loops:
            loop.join(30)


def sql(statement: str, *values: Any) -> Any:
    """One value, asked of the site's own database."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()[0] if cursor.description else None
