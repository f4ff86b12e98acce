"""Count everything again, and name what differs. What an auditor runs, and the nightly task.

    madang ledger verify

Each check names its first differences: the day whose seal an entry or record no longer fits, or that has none; the
account, figure or cell that isn't what the entries and records add up to; the entry that names a row that isn't there.

What nobody here can see is that everything was rewritten together: the newest seals with what they sealed, the totals
and the log of the nightly task. A copy of a digest that is kept elsewhere shows it: `verify(kept={day: digest})`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from importlib.resources import files
from typing import Any

from django.db import connection

from madang.ledger import queries
from madang.ledger.models import Seal

FIRST = 20  # of the differences of a check that are named
# Each a query in sql/verify/ that answers where, what stands there, and what is counted; one explains the next.
CHECKS = {
    "missing seals": "missing",
    "seals": "seals",
    "named rows": "rows",
    "totals": "totals",
    "sums of days": "days",
    "sums of months": "months",
}


@dataclass(frozen=True)
class Problem:
    """`check` names what was looked at, `where` the row, `stored` what stands there and `counted` what should."""

    check: str
    where: str
    stored: str
    counted: str

    def __str__(self) -> str:
        return f"{self.check}: {self.where}: {self.stored} stands there, {self.counted} is counted"


def verify(say: Callable[[str], object] = lambda check: None, kept: Mapping[date, str] | None = None) -> list[Problem]:
    """All checks; empty is how it must be. `say` is told the name of each as it begins. `kept`: digests of the seals of
    days, as somebody wrote them down elsewhere; since each continues the one before, the newest stands for all."""
    say("balances")
    found = [
        Problem("balances", f"account {row.account}, {row.figure}", str(row.stored), str(row.counted))
        for row in queries.check()[:FIRST]
    ]
    for check, name in CHECKS.items():
        say(check)
        found += [Problem(check, *(str(value) for value in row)) for row in _look(name)]
    stands = dict(Seal.objects.filter(day__in=kept or ()).values_list("day", "digest"))
    return found + [
        Problem("kept digests", str(day), stands.get(day, "no seal"), digest)
        for day, digest in (kept or {}).items()
        if stands.get(day) != digest
    ]


def last_seal() -> Seal | None:
    """What to keep elsewhere: the newest day that is sealed, and its digest."""
    return Seal.objects.order_by("-day").first()


def missing(at: datetime) -> list[Problem]:
    """The days that had to be sealed by that instant and have no seal. Those of a site that lives are made in the night
    after each, so another is missing where its worker was down or somebody took it away."""
    return [Problem("missing seals", *row) for row in _look("missing", at)]


def _look(name: str, at: datetime | None = None) -> list[tuple[Any, ...]]:
    """`at`: when, where that isn't just when something was booked last."""
    query = (files("madang.ledger") / "sql" / "verify" / f"{name}.sql").read_text("utf-8")
    with connection.cursor() as cursor:
        cursor.execute(f"{query} LIMIT {FIRST}", {"at": at})
        return list(cursor.fetchall())
