"""Whoever seals days and closes months while others write."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import psycopg

from madang.ledger import actions as ledger
from madang.ledger.errors import Busy
from madang.ledger.models import Period, Seal
from madang.server.postgres import Postgres
from tests.fault.counts import Counts
from tests.fault.writers import Asked

FIRST_MONTH = datetime(2019, 1, 1, tzinfo=UTC)
LAST_MONTH = date(2022, 12, 1)
A_DAY_LATER = """
    ALTER TABLE ledger_entry DISABLE TRIGGER USER;
    ALTER TABLE ledger_seal DISABLE TRIGGER USER;
    DELETE FROM ledger_total;
    DELETE FROM ledger_seal;
    UPDATE ledger_entry SET booked_at = booked_at - interval '1 day' WHERE booked_at > now() - interval '1 day';
    ALTER TABLE ledger_entry ENABLE TRIGGER USER;
    ALTER TABLE ledger_seal ENABLE TRIGGER USER;
"""


@dataclass
class Nights:
    """The seals and closed months that were acknowledged."""

    server: Postgres
    sealed: int = 0
    closed: date | None = None

    def pass_by(self) -> None:
        """As if everything so far had been booked a day earlier, and nothing of it been sealed. For when nobody writes:
        the clock of the database can't be moved."""
        with psycopg.connect(self.server.url("madang_owner")) as owner:
            owner.execute(A_DAY_LATER)
        self.sealed = 0

    def differences(self, counts: Counts) -> None:
        """Count what was acknowledged and isn't there. Whether seals fit is counted with the books."""
        counts.wrong("lost", range(Seal.objects.count(), self.sealed), "seals that were acknowledged")
        missing = self.closed and not Period.objects.filter(month=self.closed).exists()
        counts.wrong("lost", [self.closed] if missing else [], "a month that was acknowledged as closed")


class NightWriter(Asked):
    def __init__(self, nights: Nights) -> None:
        super().__init__()
        self.nights = nights

    def turn(self) -> None:
        time.sleep(random.uniform(0, 0.1))
        random.choice([self.seal, self.close])()

    def seal(self) -> None:
        def call() -> int:
            try:
                return ledger.seal()
            except Busy:
                return 0

        self.nights.sealed = max(self.nights.sealed, self.ask(call, call))

    def close(self) -> None:
        last = self.nights.closed
        month = FIRST_MONTH.date() if last is None else date(last.year + last.month // 12, last.month % 12 + 1, 1)
        month = min(month, LAST_MONTH)  # closed once more, it stays as it is

        def call() -> Any:
            try:
                ledger.close_month(month=month, actor=None)
            except Busy:
                return None
            return month

        self.nights.closed = self.ask(call, call) or last
