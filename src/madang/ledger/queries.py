"""What is read of the ledger. Each in one SQL statement."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
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
    """`parameters` in their order, or one mapping by their names."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters[0] if parameters and isinstance(parameters[0], dict) else parameters)
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


@dataclass(frozen=True)
class SiteTotal:
    """One commodity over the whole site, in its smallest unit: what went out of the pools less what came back, what is
    held, what was used up and what of it nothing covered (`overrun`, not in `used`)."""

    commodity: int
    code: str
    unit: str
    granted: int
    held: int
    used: int
    overrun: int


def site_totals() -> list[SiteTotal]:
    """Each commodity in which something was booked, by its code.

    From the accounts of the site: their totals at the last seal, and only the entries since.
    """
    rows = _rows(
        """
        WITH flows AS (
          SELECT account_id, credited - debited AS net FROM ledger_total
          UNION ALL SELECT credit_id, amount FROM ledger_entry
           WHERE kind <> 'hold' AND booked_at >= (SELECT coalesce((max(day) + 1)::timestamp AT TIME ZONE 'Asia/Seoul',
                                                                  '-infinity') FROM ledger_seal)
          UNION ALL SELECT debit_id, -amount FROM ledger_entry
           WHERE kind <> 'hold' AND booked_at >= (SELECT coalesce((max(day) + 1)::timestamp AT TIME ZONE 'Asia/Seoul',
                                                                  '-infinity') FROM ledger_seal)),
        nets AS (SELECT account_id, sum(net) AS net FROM flows GROUP BY account_id),
        roles AS (
          SELECT a.commodity_id, a.role, CASE WHEN a.limited THEN b.credited - b.debited ELSE n.net END AS net, b.held
            FROM ledger_account a LEFT JOIN nets n ON n.account_id = a.id
            LEFT JOIN ledger_balance b ON b.account_id = a.id),
        sums AS (
          SELECT commodity_id, coalesce(-sum(net) FILTER (WHERE role = 'pool'), 0)::bigint AS granted,
                 coalesce(sum(held), 0)::bigint AS held,
                 coalesce(sum(net) FILTER (WHERE role IN ('consumed', 'exchange', 'overrun')), 0)::bigint AS used,
                 coalesce(-sum(net) FILTER (WHERE role = 'overrun'), 0)::bigint AS overrun
            FROM roles GROUP BY commodity_id)
        SELECT c.id, c.code, c.unit, s.granted, s.held, s.used, s.overrun
          FROM ledger_commodity c JOIN sums s ON s.commodity_id = c.id ORDER BY c.code
        """
    )
    return [SiteTotal(*row) for row in rows]


@dataclass(frozen=True)
class Booked:
    """What was booked in one month about the allocation of one account, of one kind, on one day (in Seoul) of use.

    `amount` in the smallest unit is what was used (`settle`, `charge`, `overrun`) less what was given back (`refund`),
    or what was added to the account (`grant`, `reclaim`, `transfer`); reversals are taken off. `adjusts` is the closed
    month that it belongs to, if it was booked late.
    """

    account: int
    kind: str
    day: date
    adjusts: date | None
    amount: int


def booked_in(month: date, account_ids: Iterable[int]) -> list[Booked]:
    """Everything that counts in the month that begins on this day, for these accounts. A closed month never changes."""
    rows = _rows(
        """
        WITH entries AS (
          SELECT e.*, coalesce(o.kind, e.kind) AS what, CASE WHEN o.id IS NULL THEN 1 ELSE -1 END AS sign
            FROM ledger_entry e LEFT JOIN ledger_entry o ON o.id = e.reverses_id
           WHERE e.period = %(month)s AND e.kind NOT IN ('hold', 'release', 'expire') AND e.amount > 0
             AND e.booked_at >= %(month)s::timestamp AT TIME ZONE 'Asia/Seoul' - interval '1 day'),
        legs AS (
          SELECT debit_id AS account_id, what, event_at, adjusts_period,
                 CASE WHEN what IN ('settle', 'charge', 'refund') THEN amount ELSE -amount END AS amount FROM entries
          UNION ALL
          SELECT credit_id, what, event_at, adjusts_period,
                 CASE WHEN what IN ('settle', 'charge', 'refund') THEN -amount ELSE amount END FROM entries
          UNION ALL
          SELECT concerns_id, what, event_at, adjusts_period, sign * amount FROM entries WHERE what = 'overrun')
        SELECT account_id, what, (event_at AT TIME ZONE 'Asia/Seoul')::date, adjusts_period, sum(amount)::bigint
          FROM legs WHERE account_id = ANY (%(accounts)s)
         GROUP BY 1, 2, 3, 4 HAVING sum(amount) <> 0 ORDER BY 1, 3, 2, 4 NULLS FIRST
        """,
        {"month": month, "accounts": list(account_ids)},
    )
    return [Booked(*row) for row in rows]


@dataclass(frozen=True)
class Over:
    """What was used and nothing covered, of one account, and when the first of it happened."""

    amount: int
    since: datetime


def overrun_accounts() -> dict[int, Over]:
    """account → its overruns that weren't reversed, in the order in which they began."""
    rows = _rows(
        """
        SELECT e.concerns_id, sum(e.amount)::bigint, min(e.event_at) FROM ledger_entry e
          LEFT JOIN ledger_entry r ON r.reverses_id = e.id
         WHERE e.concerns_id IS NOT NULL AND e.kind = 'overrun' AND r.id IS NULL AND e.amount > 0
         GROUP BY e.concerns_id ORDER BY min(e.event_at), e.concerns_id
        """
    )
    return {account: Over(amount, since) for account, amount, since in rows}


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
