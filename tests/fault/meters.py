"""Writers of metered use: new records, changed ones, and such as end a hold; many of them in months that are closed."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import uuid4

from django.db import connection

from madang.ledger import actions as ledger
from madang.ledger import usage
from madang.ledger.errors import Overspent
from madang.ledger.usage import Metered, Record
from tests.fault.books import MOST_AT_ONCE, ROWS, SOURCE, Books, Row
from tests.fault.nights import FIRST_MONTH
from tests.fault.writers import Asked, patiently

DAYS = 1_500  # after the first month, in which use was made


class MeterWriter(Asked):
    """A parcel of records at each turn; what each was booked as is read when it is acknowledged."""

    def __init__(self, books: Books) -> None:
        super().__init__()
        self.books = books
        self.records: dict[str, tuple[Record, int]] = {}  # by key, with the revision

    def turn(self) -> None:
        parcel = [self.fresh() for _ in range(random.randint(1, MOST_AT_ONCE))]
        changed = [self.changed(key) for key in random.sample(sorted(self.records), min(2, len(self.records)))]
        records = random.sample([*parcel, *changed], len(parcel) + len(changed))
        asked_again: list[int] = []

        def call() -> Metered:
            return usage.meter(records, source=SOURCE)

        def again() -> Metered:
            asked_again.append(sum(bool(self.booked(record.key, self.revision(record))) for record in records))
            return call()

        said = self.ask(call, again)
        wanted = (len(parcel), len(changed))
        # All of a parcel is booked, or none: after that was answered nowhere, the same parcel is nothing new.
        if asked_again and asked_again[-1] not in (0, len(records)):
            self.books.wrong_answers.append((records, asked_again))
        if said.refused or (said.fresh, said.changed) != ((0, 0) if asked_again and asked_again[-1] else wanted):
            self.books.wrong_answers.append((records, said, wanted))
        self.learn(records, said if said.fresh or said.changed else None)

    def fresh(self) -> Record:
        began = FIRST_MONTH + timedelta(days=random.uniform(0, DAYS))
        wall = random.choice([0, 60, 7_200, 200_000])
        b = self.books
        account, amount = random.choice(b.accounts), random.randint(0, 40)
        return Record(
            key=str(uuid4()), account=account, user=random.randrange(3), resource=random.randrange(2),
            submitted_at=began, started_at=began, ended_at=began + timedelta(seconds=wall), amount=amount, wall_s=wall,
            hold=self.hold(account) if random.random() < 0.3 else None,
        )  # fmt: skip

    def hold(self, account: int) -> int | None:
        """One of this writer's own, which nobody else ends."""
        key, amount, b = str(uuid4()), random.randint(1, 40), self.books

        def call() -> int | None:
            try:
                return ledger.hold(
                    account=account, sink=b.used, amount=amount, until=None,
                    source=SOURCE, key=key, actor=None, reason="hold",
                )  # fmt: skip
            except Overspent:
                return None

        if entry := self.ask(call, call):
            b.known[Row("hold", key, account, b.used, amount)] = entry
        return entry

    def changed(self, key: str) -> Record:
        record, _revision = self.records[key]
        amount, account = record.amount + random.randint(1, 9), random.choice(self.books.accounts)
        return replace(record, amount=amount, account=account, hold=None)  # the hold was the other account's

    def revision(self, record: Record) -> int:
        return self.records[record.key][1] + 1 if record.key in self.records else 0

    def booked(self, key: str, revision: int) -> dict[Row, int]:
        with connection.cursor() as cursor:
            cursor.execute(f"{ROWS} AND source = %s AND ext_key = %s AND rev = %s", [SOURCE, key, revision])
            return {Row(*row[:-1]): row[-1] for row in cursor.fetchall() if row[0] != "hold"}

    def learn(self, records: list[Record], said: Metered | None) -> None:
        """Keep what was acknowledged. `said` is None where the answer came only when it was asked again."""
        b, over = self.books, 0
        for record in records:
            revision = self.revision(record)
            if revision:
                for row, entry in patiently(partial(self.booked, record.key, revision - 1)).items():
                    b.known[Row("reverse", f"entry {entry}", row.credit, row.debit, row.amount)] = None
            rows = patiently(partial(self.booked, record.key, revision))
            uncovered = sum(row.amount for row in rows if row.debit == b.over)
            over += uncovered
            covered = [row for row in rows if (row.debit, row.credit) == (record.account, b.used)]
            if sum(row.amount for row in covered) + uncovered != record.amount or not rows:
                b.wrong_answers.append((record, rows))
            b.known |= rows
            self.records[record.key] = record, revision
        if said and said.overrun != over:
            b.wrong_answers.append((records, said, over))
