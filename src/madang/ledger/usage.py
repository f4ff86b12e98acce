"""Use that was metered elsewhere: records in, booked whole, with what they add up to by day and month.

    from madang.ledger.usage import Record, meter

    meter([Record(key="841", account=mine, user=9, resource=2, submitted_at=nine, started_at=ten, ended_at=noon,
                  amount=57_600, wall_s=7_200, wait_s=3_600, hold=held)], source="slurm:gwangju")

A parcel of records is one transaction: the records, their entries, balances and sums are all there or none of it is.
The same record again is nothing new; one that changed has its entries reversed and is booked anew. `source` and `key`
name a record for ever, so a source whose numbers start again puts the submission into the key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from itertools import islice
from typing import Any

from django.db import Error, connection, transaction

from madang.ledger.errors import Refused, lost_a_race, named, refusal
from madang.ledger.models import Entry, Kind

PARCEL = 50_000
COLUMNS = (
    "key, hold_id, submitted_at, account_id, user_ref, resource_ref, started_at, ended_at, amount, wall_s, wait_s, raw"
)
COPY = f"COPY pg_temp.ledger_stage ({COLUMNS}) FROM STDIN"
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True, slots=True)
class Record:
    """One use. `amount` in the smallest unit of the account's commodity; times with a time zone, the end not included;
    `wall_s` and `wait_s` in seconds. `hold`: the entry that set it aside. `raw`: what the source says besides."""

    key: str
    account: int
    submitted_at: datetime
    started_at: datetime
    ended_at: datetime
    amount: int
    wall_s: int
    wait_s: int = 0
    user: int = 0
    resource: int = 0
    hold: int | None = None
    raw: Any = None

    def line(self) -> str:
        """As COPY reads it."""
        raw = "\\N"
        if self.raw is not None:  # PostgreSQL keeps no NUL in a text
            said = json.dumps(self.raw, ensure_ascii=False, sort_keys=True).replace("\\u0000", "\\ufffd")
            raw = said.translate(ESCAPES)
        hold = "\\N" if self.hold is None else self.hold
        return (
            f"{self.key.translate(ESCAPES)}\t{hold}\t{self.submitted_at.isoformat()}\t{self.account}\t{self.user}"
            f"\t{self.resource}\t{self.started_at.isoformat()}\t{self.ended_at.isoformat()}\t{self.amount}"
            f"\t{self.wall_s}\t{self.wait_s}\t{raw}\n"
        )


@dataclass
class Metered:
    """What came of records: how many were new, how many changed what was known, the units that nothing covered, and
    the key and reason of each that can't be booked."""

    fresh: int = 0
    changed: int = 0
    overrun: int = 0
    refused: list[tuple[str, Refused]] = field(default_factory=list)

    def add(self, other: Metered) -> None:
        self.fresh += other.fresh
        self.changed += other.changed
        self.overrun += other.overrun
        self.refused += other.refused


def meter(records: Iterable[Record], *, source: str, actor: int | None = None, reason: str = "metered") -> Metered:
    """Book all of these, `PARCEL` at a time. What can't be booked is named in the answer and the rest is booked."""
    return meter_lines((record.line() for record in records), source=source, actor=actor, reason=reason)


def meter_lines(
    lines: Iterable[str], *, source: str, actor: int | None = None, reason: str = "metered", parcel: int = PARCEL
) -> Metered:
    """As `meter`, for records that are already lines of COPY with the columns of `COLUMNS`."""
    total = Metered()
    for text in _parcels(lines, parcel):
        total.add(_meter(text, source, actor, reason))
    return total


def _parcels(lines: Iterable[str], size: int) -> Iterator[bytes]:
    source = iter(lines)
    while text := "".join(islice(source, size)):
        yield text.encode()


def _meter(text: bytes, source: str, actor: int | None, reason: str) -> Metered:
    digest = sha256(text).digest()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM ledger_import WHERE source = %s AND digest = %s", [source, digest])
        if cursor.fetchone():
            return Metered()
    for attempt in (1, 2):
        try:
            return _book(text, source, digest, actor, reason)
        except Error as error:
            if lost_a_race(error) and attempt == 1:
                continue
            if answer := refusal(error):
                raise answer from error
            raise
    raise AssertionError("unreachable")


@transaction.atomic
def _book(text: bytes, source: str, digest: bytes, actor: int | None, reason: str) -> Metered:
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_stage()")
        with connection.wrap_database_errors, cursor.copy(COPY) as copy:
            copy.write(text)
        cursor.execute("SELECT * FROM ledger_meter(%s, %s, %s::bigint, %s)", [source, digest, actor, reason])
        fresh, changed, overrun, refused = cursor.fetchone()
    return Metered(fresh, changed, int(overrun), [(row["key"], _why(row["why"])) for row in _read(refused)])


def _read(refused: Any) -> list[dict[str, str]]:
    return json.loads(refused) if isinstance(refused, str) else refused  # Django leaves jsonb as text


def _why(name: str) -> Refused:
    return named(name) or Refused(name)


@dataclass(frozen=True)
class Booked:
    """What a use was booked as: its first entry (None where nothing was used), what was covered, and what wasn't."""

    entry: int | None
    used: int
    overrun: int


def booked(source: str, key: str) -> Booked:
    """What the newest revision of a record was booked as; an empty answer where there is none."""
    kinds = [Kind.CHARGE, Kind.OVERRUN, Kind.SETTLE]
    rows = list(Entry.objects.filter(source=source, ext_key=key, kind__in=kinds).order_by("-rev", "id"))
    if not rows:
        return Booked(None, 0, 0)
    rows = [row for row in rows if row.rev == rows[0].rev]
    over = sum(row.amount for row in rows if row.kind == Kind.OVERRUN)
    return Booked(rows[0].pk, sum(row.amount for row in rows) - over, over)
