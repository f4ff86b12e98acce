"""Every page and every list of the API asks the database a bounded number of times, however many rows there are.

The numbers are in `sql-budgets.json`, by page and by who opens it. `MADANG_BUDGETS=write pytest tests/test_budgets.py`
writes them anew; whoever does looks at the difference.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.addresses import api_addresses, page_addresses
from tests.asking import Visitor
from tests.conftest import Copies
from tests.world import World

BUDGETS = Path(__file__).with_name("sql-budgets.json")
MOST = 12
WRITING = os.environ.get("MADANG_BUDGETS") == "write"
WHO = ("anonymous", "lead", "officer", "reviewer", "steward", "auditor", "executive", "operator")
SELDOM = ("account_", "mfa_", "portal:components", "portal:mail")  # not lists, and not ours
pytestmark = [pytest.mark.xdist_group("budgets")]
ASK_NOTHING = {"portal:contrast", "portal:healthz", "api /clock"}
Counts = dict[str, dict[str, int]]


def person_of(world: World, who: str) -> Any:
    known = {"lead": world.a.lead, "executive": world.executive, "operator": world.operator, "anonymous": None}
    return known[who] if who in known else getattr(world.a, who)


def statements(visitor: Visitor, path: str) -> tuple[int, list[str]]:
    """(status, SQL without what begins and ends transactions)."""
    connection.queries_log.clear()  # it has an end, and then nothing would be counted any more
    with CaptureQueriesContext(connection) as caught:
        status = visitor.ask("GET", path).status
    asked = [query["sql"] for query in caught.captured_queries]
    return status, [sql for sql in asked if not sql.startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK"))]


def shape(sql: str) -> str:
    """The statement without its values, as far as it names what is asked."""
    bare = re.sub(r"'[^']*'|\b\d+\b", "?", sql)
    bare = re.sub(r"SELECT .*? FROM", "SELECT … FROM", bare, count=1)
    bare = re.sub(r"\(\?(?:, \?)+\)", "(?, …)", bare)
    return bare[:160]


def measure(world: World) -> tuple[Counts, dict[str, str]]:
    """How many statements each page takes at most, and for those that take too many which ones are repeated."""
    counts: Counts = {}
    repeated: dict[str, str] = {}
    for who in WHO:
        visitor = Visitor(person_of(world, who))
        places = [a for a in page_addresses(world.a) if not a.name.startswith(SELDOM)]
        places += [address for address, methods in api_addresses(world.a) if "get" in methods]
        for address in places:
            status, sql = statements(visitor, address.path)
            if status != 200:
                continue
            assert sql or who == "anonymous" or address.name in ASK_NOTHING, address
            known = counts.setdefault(address.name, {})
            known[who] = max(known.get(who, 0), len(sql))
            if len(sql) > MOST:
                often = [f"{n} × {s}" for s, n in Counter(map(shape, sql)).most_common(4) if n > 1]
                repeated[f"{address.name} as {who}: {len(sql)}"] = "; ".join(often) or "all different"
    return counts, repeated


@pytest.fixture(scope="module")
def few(world: World) -> tuple[Counts, dict[str, str]]:
    return measure(world)


@pytest.fixture(scope="module")
def many(
    copies: Copies, built_large: tuple[str, World], django_db_blocker: Any
) -> Iterator[tuple[Counts, dict[str, str]]]:
    with django_db_blocker.unblock(), copies.using(built_large[0]):
        yield measure(built_large[1])


@pytest.fixture(scope="module")
def budgets(request: pytest.FixtureRequest) -> Counts:
    if WRITING:
        written: Counts = {}
        for counts, _repeated in (request.getfixturevalue("many"), request.getfixturevalue("few")):
            for name, known in counts.items():
                for who, number in known.items():
                    mine = written.setdefault(name, {})
                    mine[who] = max(mine.get(who, 0), number)
        BUDGETS.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")
    return json.loads(BUDGETS.read_text())


def over(counts: Counts, budgets: Counts) -> list[str]:
    return [
        f"{name} as {who}: {number}, budget {budgets.get(name, {}).get(who, 'none')}"
        for name, known in sorted(counts.items())
        for who, number in known.items()
        if number > budgets.get(name, {}).get(who, 0)
    ]


def test_every_page_keeps_its_budget_with_few_rows(few: tuple[Counts, dict[str, str]], budgets: Counts) -> None:
    assert over(few[0], budgets) == []


def test_every_page_keeps_its_budget_with_many_rows(many: tuple[Counts, dict[str, str]], budgets: Counts) -> None:
    assert over(many[0], budgets) == []


def test_no_page_asks_more_than_twelve_times(
    few: tuple[Counts, dict[str, str]], many: tuple[Counts, dict[str, str]], budgets: Counts
) -> None:
    worst = {name: number for name, known in budgets.items() if (number := max(known.values())) > MOST}
    assert worst == {}, "\n".join(f"{name} — {what}" for name, what in (few[1] | many[1]).items())


def test_every_budget_is_of_a_page_that_is_there(many: tuple[Counts, dict[str, str]], budgets: Counts) -> None:
    assert set(budgets) - set(many[0]) == set()
