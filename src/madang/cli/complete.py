"""What a shell offers for a half-written word: asked of the site, in a moment or not at all.

Somebody is in the middle of a line: where the site doesn't answer, or not with what was asked, nothing is offered and
nothing is said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from threading import Thread
from typing import Any

from rich.markup import escape

from madang.cli.settings import kept
from madang.cli.show import plain
from madang.client import Client

PATIENCE_S = 1.5  # for all of it, finding the site's address included
NEWEST = 100  # as many as `madang job` looks through for the start of a uuid
SHORT = 8  # signs of a uuid that the command prints
WORD = re.compile(r"[\w.:-]+")  # no shell reads more into it
Offered = Iterable[tuple[str, str]]


def jobs(incomplete: str) -> list[tuple[str, str]]:
    """Of the newest jobs."""
    return _asked(lambda site: _ids(_jobs(site), incomplete), incomplete)


def live_jobs(incomplete: str) -> list[tuple[str, str]]:
    """Of those that haven't ended."""
    return _asked(lambda site: _ids(_jobs(site, state="live"), incomplete), incomplete)


def folders(incomplete: str) -> list[tuple[str, str]]:
    """JOB: for the files of one of the newest jobs."""
    return _asked(lambda site: ((f"{id}:", said) for id, said in _ids(_jobs(site), incomplete)), incomplete)


def sessions(incomplete: str) -> list[tuple[str, str]]:
    def rows(site: Client) -> Iterator[tuple[str, str]]:
        for row in islice(site.sessions(limit=NEWEST), NEWEST):
            yield row["uuid"], f"{row['kind']}, {row['state']}"

    return _asked(lambda site: _ids(rows(site), incomplete), incomplete)


def kinds(incomplete: str) -> list[tuple[str, str]]:
    """Of interactive sessions."""
    return _asked(lambda site: ((row["code"], row["name"]) for row in site.session_kinds()), incomplete)


def grants(incomplete: str) -> list[tuple[str, str]]:
    """That one can run jobs on now, as everything of the balance."""
    return _asked(lambda site: ((row["grant"], row["title"]) for row in site.balance()), incomplete)


def partitions(incomplete: str) -> list[tuple[str, str]]:
    return _asked(lambda site: ((row["partition"], row["name"]) for row in site.balance()), incomplete)


def allocations(incomplete: str) -> list[tuple[str, str]]:
    def rows(site: Client) -> Iterator[tuple[str, str]]:
        for row in site.balance():
            yield str(row["allocation"]), f"{row['name']}, {row['grant']}"

    return _asked(rows, incomplete)


def open_partitions(incomplete: str) -> list[tuple[str, str]]:
    """All that the site shows, whether one may use it or not."""
    return _asked(lambda site: ((row["partition"], row["name"]) for row in site.partitions()), incomplete)


def clusters(incomplete: str) -> list[tuple[str, str]]:
    return _asked(lambda site: ((row["cluster"], "") for row in site.partitions()), incomplete)


def nodes(incomplete: str) -> list[tuple[str, str]]:
    """For operators."""
    return _asked(lambda site: ((row["name"], f"{row['cluster']}, {row['state']}") for row in site.nodes()), incomplete)


def templates(incomplete: str) -> list[tuple[str, str]]:
    return _asked(lambda site: ((row["code"], row["name"]) for row in site.templates()), incomplete)


def _jobs(site: Client, **which: Any) -> Iterator[tuple[str, str]]:
    for job in site.get("/compute/jobs", limit=NEWEST, **which)["items"]:
        yield job["uuid"], f"{job['name']}, {job['outcome'] or job['state']}"


def _ids(rows: Offered, incomplete: str) -> Iterator[tuple[str, str]]:
    """As short as the command prints them, where that is enough to tell them apart."""
    found = list(rows)
    same = Counter(uuid[:SHORT] for uuid, _said in found)
    for uuid, said in found:
        yield (uuid[:SHORT] if len(incomplete) <= SHORT and same[uuid[:SHORT]] == 1 else uuid), said


def _asked(question: Callable[[Client], Offered], incomplete: str) -> list[tuple[str, str]]:
    """The words that begin so, each once, with what is known of it."""
    login = kept()
    offered: dict[str, str] = {}

    def ask() -> None:
        try:
            with Client(login.url, login.token, timeout=PATIENCE_S) as site:
                found = dict(question(site))
        except Exception:  # noqa: S110 - whatever it was: see above
            pass
        else:
            offered.update(found)

    if login.token:
        # A thread that nobody waits for: to look up a name that no server answers for takes longer than any patience.
        asks = Thread(target=ask, daemon=True)
        asks.start()
        asks.join(PATIENCE_S)
    return [
        (word, escape(plain(said).plain))  # the shell's own script reads markup in it
        for word, said in list(offered.items())
        if word.startswith(incomplete) and WORD.fullmatch(word)
    ]
