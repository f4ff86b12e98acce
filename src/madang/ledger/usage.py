"""Use that was metered elsewhere: records in, booked whole, with what they add up to by day and month.

    from madang.ledger.usage import Record, meter

    meter([Record(key="841", account=mine, user=9, resource=2, submitted_at=nine, started_at=ten, ended_at=noon,
                  amount=57_600, wall_s=7_200, wait_s=3_600, hold=held)], source="slurm:gwangju")

A parcel of records is one transaction: the records, their entries, balances and sums are all there or none of it is.
The same record again is nothing new; one that changed, or that comes with its hold only now, has its entries reversed
and is booked anew. A record that names a hold that was freed, and a late settlement of that hold, are one use: the
record counts, and whichever comes second adds nothing. That is known by the hold alone, so use that a record tells
without its hold and somebody settles besides counts twice; and so does a record whose hold was settled by the verb,
since a hold may be of several uses. `source` and `key` name a record for ever, so a source whose numbers start again
puts the submission into the key.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256
from itertools import islice
from typing import Any

from django.db import Error, connection, transaction

from madang.ledger.errors import (
    Refused,
    lost_a_race,
    named,
    not_storable,
    refusal,
    storable,
    unreadable,
    without_zone,
)
from madang.ledger.models import Entry, Kind

PARCEL = 25_000
LANES = 4  # always as many, so that the same lines again make the same parcels
AHEAD = 4  # parcels that a lane may have to book
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
        """As COPY reads it. WrongRecord where it can't be written: a time without its zone, a figure that is none."""
        if self.started_at.tzinfo is None or self.ended_at.tzinfo is None or self.submitted_at.tzinfo is None:
            raise without_zone()
        raw = "\\N"
        if self.raw is not None:  # PostgreSQL keeps no NUL in a text
            try:
                said = json.dumps(self.raw, ensure_ascii=False, sort_keys=True, allow_nan=False)
            except ValueError as error:
                raise not_storable() from error
            raw = said.replace("\\u0000", "\\ufffd").translate(ESCAPES)
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


def meter_lanes(
    lines: Iterable[str], *, source: str, actor: int | None = None, reason: str = "metered", parcel: int = PARCEL
) -> Metered:
    """As `meter_lines`, for a long history: `LANES` parcels are booked at once, those of one account in their order.
    An account that is new goes to the lane that had the fewest lines so far: a few accounts have most of the use.

    Each parcel is a transaction of its own, so this can't be part of another. What was booked before an error stays
    booked, and the same lines again book the rest.
    """
    if connection.in_atomic_block:
        raise RuntimeError("lanes commit by themselves")
    if "\0" in source or not storable(source):
        raise not_storable()
    with _alone(source):
        return _meter_lanes(lines, source, actor, reason, parcel)


@contextmanager
def _alone(source: str) -> Iterator[None]:
    """No other import of the source in lanes goes on: no key is in two lanes at once, wherever these are."""
    lock = "hashtextextended(%s, 119182731994486)"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({lock})", [source])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT pg_advisory_unlock({lock})", [source])


def _meter_lanes(lines: Iterable[str], source: str, actor: int | None, reason: str, parcel: int) -> Metered:
    waiting: list[list[str]] = [[] for _ in range(LANES)]
    keys: list[set[str]] = [set() for _ in range(LANES)]  # of the lines that wait
    lane_of: dict[str, int] = {}  # by account
    total = Metered()
    with ExitStack() as stack:
        months = _Months(stack)
        lanes = [_Lane(source, actor, reason, stack) for _ in range(LANES)]

        def send(number: int) -> None:
            months.wait()
            for other in lanes:  # no key is in two lanes at once, even where a source gave it two accounts
                if other is not lanes[number] and not all(keys[number].isdisjoint(others) for _, others in other.queue):
                    total.add(other.wait())
            total.add(lanes[number].wait(but=AHEAD - 1))
            lanes[number].send(keys[number], waiting[number])
            waiting[number], keys[number] = [], set()

        for line in lines:
            key, _, submitted, account, _ = line.split("\t", 4)
            months.need(submitted[:7])
            number = lane_of.get(account, -1)
            if number < 0:
                number = min(range(LANES), key=lambda lane: lanes[lane].sent + len(waiting[lane]))
                lane_of[account] = number
            waiting[number].append(line)
            keys[number].add(key)
            if len(waiting[number]) == parcel:
                send(number)
        for number in range(LANES):
            if waiting[number]:
                send(number)
        for lane in lanes:
            total.add(lane.wait())
    return total


def _thread(stack: ExitStack) -> ThreadPoolExecutor:
    """One thread with a connection of its own, which it closes at the end."""
    made = stack.enter_context(ThreadPoolExecutor(1))
    stack.callback(lambda: made.submit(lambda: connection.close()).result())
    return made


class _Months:
    """Has the partitions made that the records go to, beside the lanes and a month ahead of them: to make one takes as
    long as to book ten thousand records."""

    def __init__(self, stack: ExitStack) -> None:
        self._thread = _thread(stack)
        self._made: dict[tuple[int, int], Future[None]] = {}
        self._named: set[str] = set()
        self._due: list[Future[None]] = []

    def need(self, text: str) -> None:
        """The month that an instant's text names, and its neighbors, as its clock may be anywhere on the earth."""
        if text in self._named:
            return
        self._named.add(text)
        try:
            middle = date.fromisoformat(f"{text}-15")
            days = [middle + timedelta(30 * number) for number in (-1, 0, 1, 2)]
        except (ValueError, OverflowError):
            return  # the database says what is wrong with it
        for day in days:
            if (month := (day.year, day.month)) not in self._made:
                self._made[month] = self._thread.submit(_open_month, day)
        self._due += [self._made[day.year, day.month] for day in days[:3]]

    def wait(self) -> None:
        """Until those are there that were needed so far."""
        while self._due:
            self._due.pop().result()


def _open_month(day: date) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_open_months(%s)", [[day]])


class _Lane:
    """One thread with a connection of its own, and the parcels that it has to book, each with its keys."""

    def __init__(self, source: str, actor: int | None, reason: str, stack: ExitStack) -> None:
        self.sent = 0
        self.queue: deque[tuple[Future[Metered], set[str]]] = deque()
        self._words = source, actor, reason
        self._thread = _thread(stack)

    def send(self, keys: set[str], lines: list[str]) -> None:
        self.sent += len(lines)
        job = self._thread.submit(lambda: _meter(_encoded("".join(lines)), *self._words, beside=True))
        self.queue.append((job, keys))

    def wait(self, but: int = 0) -> Metered:
        """Until no more than so many parcels are left. What came of the others."""
        total = Metered()
        while len(self.queue) > but:
            total.add(self.queue.popleft()[0].result())
        return total


def _parcels(lines: Iterable[str], size: int) -> Iterator[bytes]:
    source = iter(lines)
    while text := "".join(islice(source, size)):
        yield _encoded(text)


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # half of a sign
        raise not_storable() from error


def _meter(text: bytes, source: str, actor: int | None, reason: str, beside: bool = False) -> Metered:
    if "\0" in source or not storable(source) or not storable(reason):
        raise not_storable()
    if b"\n\\." in b"\n" + text:  # to COPY that is the end, and what comes after it would be lost without a word
        raise unreadable()
    digest = sha256(text).digest()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM ledger_import WHERE source = %s AND digest = %s", [source, digest])
        if cursor.fetchone():
            return Metered()
    for attempt in (1, 2):
        try:
            return _book(text, source, digest, actor, reason, beside)
        except Error as error:
            if lost_a_race(error) and attempt == 1:
                continue
            if answer := refusal(error):
                raise answer from error
            raise
    raise AssertionError("unreachable")


@transaction.atomic
def _book(text: bytes, source: str, digest: bytes, actor: int | None, reason: str, beside: bool) -> Metered:
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_stage()")
        with connection.wrap_database_errors, cursor.copy(COPY) as copy:
            copy.write(text)
        words = [source, digest, actor, reason, beside]
        cursor.execute("SELECT * FROM ledger_meter(%s, %s, %s::bigint, %s, %s)", words)
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
    return booked_each(source, [key])[key]


def booked_each(source: str, keys: Sequence[str]) -> dict[str, Booked]:
    """As `booked`, for each of these keys, in one statement."""
    kinds = [Kind.CHARGE, Kind.OVERRUN, Kind.SETTLE]
    entries: dict[str, list[Entry]] = {key: [] for key in keys}
    found = Entry.objects.filter(source=source, ext_key__in=keys, kind__in=kinds).order_by("-rev", "id")
    for row in found.only("ext_key", "rev", "kind", "amount"):
        if not entries[row.ext_key] or entries[row.ext_key][0].rev == row.rev:
            entries[row.ext_key].append(row)
    return {key: _sum(rows) for key, rows in entries.items()}


def _sum(rows: Sequence[Entry]) -> Booked:
    over = sum(row.amount for row in rows if row.kind == Kind.OVERRUN)
    return Booked(rows[0].pk if rows else None, sum(row.amount for row in rows) - over, over)
