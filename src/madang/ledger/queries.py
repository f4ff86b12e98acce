"""What is read of the ledger. Each in one SQL statement."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet

from madang.ledger.models import Entry, Kind


@dataclass(frozen=True)
class Balance:
    """In the smallest unit. available = credited - debited - held; only an account without a limit may go below
    zero."""

    credited: int
    debited: int
    held: int

    @property
    def available(self) -> int:
        return self.credited - self.debited - self.held


@dataclass(frozen=True)
class Lost:
    """Use that nothing covered, of one commodity: the overruns less their reversals, in the smallest unit."""

    commodity: int
    code: str
    unit: str
    amount: int


@dataclass(frozen=True)
class Difference:
    """A figure of a balance row that its entries don't add up to."""

    account: int
    figure: str
    stored: int | None
    counted: int


def _rows(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def balances(account_ids: Iterable[int]) -> dict[int, Balance]:
    """The balances of these accounts. What is overdue counts as back already, as it does for the next hold.

    A limited account has its figures at hand; those of another are what was folded by the last seal and the entries
    since.
    """
    rows = _rows(
        """
        WITH since AS (SELECT coalesce(((SELECT max(day) FROM ledger_seal) + 1)::timestamp AT TIME ZONE 'Asia/Seoul',
                                       '-infinity') AS at)
        SELECT a.id, coalesce(b.credited, t.credited + s.credited, s.credited),
               coalesce(b.debited, t.debited + s.debited, s.debited), coalesce(b.held - o.overdue, 0)
          FROM ledger_account a LEFT JOIN ledger_balance b ON b.account_id = a.id
          LEFT JOIN ledger_total t ON t.account_id = a.id
          CROSS JOIN LATERAL (
            SELECT coalesce(sum(h.amount), 0)::bigint AS overdue FROM ledger_entry h
             WHERE b.held > 0 AND h.debit_id = a.id AND h.kind = 'hold' AND h.expires_at <= statement_timestamp()
               AND NOT EXISTS (SELECT FROM ledger_entry e WHERE e.hold_id = h.id)) o
          CROSS JOIN LATERAL (
            SELECT (SELECT coalesce(sum(amount), 0)::bigint FROM ledger_entry, since
                     WHERE NOT a.limited AND credit_id = a.id AND kind <> 'hold' AND booked_at >= since.at) AS credited,
                   (SELECT coalesce(sum(amount), 0)::bigint FROM ledger_entry, since
                     WHERE NOT a.limited AND debit_id = a.id AND kind <> 'hold' AND booked_at >= since.at) AS debited) s
         WHERE a.id = ANY (%s)
        """,
        list(account_ids),
    )
    return {account: Balance(credited, debited, held) for account, credited, debited, held in rows}


def entries(account_id: int, *, before: int | None = None, limit: int = 50) -> list[Entry]:
    """The entries of an allocation, newest first, also the overruns of its use. `before` is the last id shown."""
    base = Entry.objects.all() if before is None else Entry.objects.filter(id__lt=before)
    sides = [base.filter(**{side: account_id}).order_by("-id")[:limit] for side in ("debit_id", "concerns_id")]
    return list(sides[0].union(*sides[1:]).order_by("-id")[:limit])


def open_holds(*, source: str | None = None) -> QuerySet[Entry]:
    """The holds that nothing has ended yet, oldest first: what a reconciler compares with what really runs."""
    ended = Entry.objects.filter(hold_id=OuterRef("pk"))
    holds = Entry.objects.filter(~Exists(ended), kind=Kind.HOLD).order_by("id")
    return holds if source is None else holds.filter(source=source)


def units_lost() -> list[Lost]:
    """What was used and nothing covered, by commodity. It belongs on the officer's page from the first day."""
    rows = _rows(
        """
        SELECT c.id, c.code, c.unit, sum(CASE e.kind WHEN 'overrun' THEN e.amount ELSE -e.amount END)::bigint
          FROM ledger_entry e
          JOIN ledger_account a ON a.id = e.concerns_id JOIN ledger_commodity c ON c.id = a.commodity_id
         WHERE e.kind = 'overrun' OR e.kind = 'reverse' AND e.credit_id <> e.concerns_id
         GROUP BY c.id ORDER BY c.code
        """
    )
    return [Lost(*row) for row in rows]


def overruns(account_ids: Iterable[int]) -> dict[int, int]:
    """The overruns of the use by these accounts, less reversals; 0 where there is none."""
    wanted = list(account_ids)
    rows = _rows(
        """
        SELECT concerns_id, sum(CASE kind WHEN 'overrun' THEN amount ELSE -amount END)::bigint FROM ledger_entry
         WHERE concerns_id = ANY (%s) AND (kind = 'overrun' OR kind = 'reverse' AND credit_id <> concerns_id)
         GROUP BY concerns_id
        """,
        wanted,
    )
    return dict.fromkeys(wanted, 0) | dict(rows)


def check() -> list[Difference]:
    """Count every balance again from the entries and name what differs; empty is how it must be."""
    rows = _rows(
        """
        WITH legs AS (
          SELECT debit_id AS account_id, 0 AS credited, CASE kind WHEN 'hold' THEN 0 ELSE amount END AS debited,
                 CASE WHEN kind = 'hold' AND NOT EXISTS (SELECT FROM ledger_entry e WHERE e.hold_id = h.id)
                      THEN amount ELSE 0 END AS held
            FROM ledger_entry h
          UNION ALL
          SELECT credit_id, amount, 0, 0 FROM ledger_entry WHERE kind <> 'hold'),
        counted AS (
          SELECT a.id, coalesce(sum(l.credited), 0)::bigint AS credited, coalesce(sum(l.debited), 0)::bigint AS debited,
                 coalesce(sum(l.held), 0)::bigint AS held
            FROM ledger_account a LEFT JOIN legs l ON l.account_id = a.id WHERE a.limited GROUP BY a.id)
        SELECT c.id, f.figure, f.stored, f.counted FROM counted c LEFT JOIN ledger_balance b ON b.account_id = c.id
         CROSS JOIN LATERAL (VALUES ('credited', b.credited, c.credited), ('debited', b.debited, c.debited),
                                    ('held', b.held, c.held)) AS f(figure, stored, counted)
         WHERE f.stored IS DISTINCT FROM f.counted ORDER BY c.id, f.figure
        """
    )
    return [Difference(*row) for row in rows]
