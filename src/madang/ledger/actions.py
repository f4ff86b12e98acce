"""The verbs. Each is one round trip to one function of the database; nothing else writes the ledger.

A verb joins the caller's transaction. A refusal undoes the verb alone: the caller may go on. Post last in a
transaction, and several accounts in the order of their ids: the locks are kept until it ends. (Out of order, two may
wait for each other: one of them is Busy.) The isolation level is READ COMMITTED, as Django's is.

Amounts are whole, in the smallest unit of the account's commodity. `source` and `key` name what is booked, for ever:
the same pair with the same payload gives the same answer, with another payload it is a KeyConflict. `actor` is the id
of a person, or None for the system. All raise the errors of `madang.ledger.errors`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple, TypeVar

from django.db import Error

from madang.ledger.errors import (
    Busy,
    Refused,
    lost_a_race,
    named,
    not_storable,
    refusal,
    unfit,
    unreadable,
    without_zone,
)
from madang.workflow import functions

BUSY_ATTEMPTS = 20
LOOKS_AGAIN = {"ledger_hold", "ledger_settle"}  # they look for what was booked before only when they are asked again
Answer = TypeVar("Answer")


class Settled(NamedTuple):
    """`used` was covered by the hold, `overrun` was not. `entry` is the settlement, or the overrun where the hold had
    been freed before (and the end of the hold where nothing was used either). Where a record of use that named the
    freed hold told it first, `entry` is the record's, and `used` what the account covered of it."""

    entry: int
    used: int
    overrun: int


class Hold(NamedTuple):
    """One request of a batch: set `amount` of `account` aside for `sink`, under `key`."""

    account: int
    sink: int
    amount: int
    key: str


class Settlement(NamedTuple):
    """One request of a batch: end `hold` with what was `used`, under `key`."""

    hold: int
    used: int
    key: str


def _rows(function: str, **arguments: Any) -> list[tuple[Any, ...]]:
    for value in arguments.values():
        if isinstance(value, datetime) and value.utcoffset() is None:
            raise without_zone()
        if isinstance(value, float):  # there is no such function, the database would say
            raise unreadable()
    try:
        try:
            return functions.rows(function, **arguments)
        except Error as error:
            if not lost_a_race(error):
                raise
            return functions.rows(function, **arguments, **({"again": True} if function in LOOKS_AGAIN else {}))
    except UnicodeEncodeError as error:
        raise not_storable() from error
    except Error as error:
        if answer := refusal(error):
            raise answer from error
        raise


def _call(function: str, **arguments: Any) -> Any:
    (row,) = _rows(function, **arguments)
    return row[0] if len(row) == 1 else row


def commodity(*, code: str, unit: str, resource_class: str = "") -> int:
    """The id of the commodity `code`, made if it is new. KeyConflict where it exists with another unit or class."""
    return int(_call("ledger_make_commodity", **locals()))


def open_account(*, commodity: int, owner_type: str, owner_id: int, role: str, limited: bool) -> int:
    """The id of the owner's account in this role, made if it is new."""
    return int(_call("ledger_open_account", **locals()))


def site_account(*, commodity: int, role: str) -> int:
    """The site's own account: `pool`, `consumed`, `overrun` or `exchange`. Not limited."""
    return open_account(commodity=commodity, owner_type="site", owner_id=0, role=role, limited=False)


def grant(*, pool: int, account: int, amount: int, source: str, key: str, actor: int | None, reason: str) -> int:
    """Give `account` that much. Overspent only where the pool itself is limited."""
    return int(_call("ledger_grant", **locals()))


def hold(
    *,
    account: int,
    sink: int,
    amount: int,
    source: str,
    key: str,
    until: datetime | None,
    actor: int | None,
    reason: str,
) -> int:
    """Set aside the worst case of a use, to be booked to `sink`. Overspent where less is available.

    `until` only where the clock alone may end it (a package, a booking, a voucher); a replay may say another, and
    changes nothing. Ends what is overdue first.
    """
    return int(_call("ledger_hold", **locals()))


def settle(
    *,
    hold: int,
    used: int,
    source: str,
    key: str,
    event_at: datetime | None = None,
    actor: int | None,
    reason: str,
) -> Settled:
    """End a hold with what was used; the rest is back. Use is never refused: what the hold doesn't cover is an overrun,
    all of it where the hold was freed before. A hold has one such end, whatever the key: AlreadyResolved where it was
    settled, or used late, with another amount. A record of use that names the freed hold is its late use; of one that
    names no hold nothing can be known, and both count."""
    return Settled(*_call("ledger_settle", **locals()))


def release(*, hold: int, source: str, key: str, actor: int | None, reason: str) -> int:
    """End a hold without use. The id of what freed it, also where that was an expiry. AlreadyResolved if settled."""
    return int(_call("ledger_release", **locals()))


def expire(*, hold: int, source: str, key: str, actor: int | None, reason: str) -> int:
    """As release, but NotOverdue before its `until`, by the database's clock."""
    return int(_call("ledger_expire", **locals()))


def charge(
    *,
    account: int,
    sink: int,
    amount: int,
    source: str,
    key: str,
    event_at: datetime | None = None,
    actor: int | None,
    reason: str,
) -> int:
    """Book a use at once, without a hold (a voucher, a fixed price). Overspent where less is available."""
    return int(_call("ledger_charge", **locals()))


def overrun(
    *,
    account: int,
    sink: int,
    amount: int,
    source: str,
    key: str,
    event_at: datetime | None = None,
    actor: int | None,
    reason: str,
) -> int:
    """Book a use by `account` that nothing covers, against the overrun account of its commodity. Never refused."""
    return int(_call("ledger_overrun", **locals()))


def refund(*, entry: int, amount: int, source: str, key: str, actor: int | None, reason: str) -> int:
    """Give back part or all of a settlement or charge. NotRefundable beyond what it took."""
    return int(_call("ledger_refund", **locals()))


def transfer(*, giver: int, taker: int, amount: int, source: str, key: str, actor: int | None, reason: str) -> int:
    """From one allocation to another of the same commodity. Overspent where the giver has less available."""
    return int(_call("ledger_transfer", **locals()))


def reclaim(*, account: int, pool: int, amount: int, source: str, key: str, actor: int | None, reason: str) -> int:
    """Take unused amounts back into the pool. What is held can't be reclaimed: Overspent."""
    return int(_call("ledger_reclaim", **locals()))


def reverse(*, entry: int, source: str, key: str, actor: int | None, reason: str) -> int:
    """Undo an entry by its mirror image. Not a hold (release it) nor a reversal: NotReversible. Once: AlreadyReversed.
    Overspent where what a grant, transfer or refund gave is no longer there."""
    return int(_call("ledger_reverse", **locals()))


def hold_batch(
    asked: Sequence[Hold], *, source: str, until: datetime | None = None, actor: int | None, reason: str
) -> list[int | Refused]:
    """Many holds in one statement: for each its entry, or the error that `hold` would have raised, in their order."""
    return _batch("ledger_hold_batch", asked, source=source, until=until, actor=actor, reason=reason)


def charge_batch(
    asked: Sequence[Hold], *, source: str, event_at: datetime | None = None, actor: int | None, reason: str
) -> list[int | Refused]:
    """Many charges in one statement: for each its entry, or the error that `charge` would have raised."""
    return _batch("ledger_charge_batch", asked, source=source, event_at=event_at, actor=actor, reason=reason)


def _batch(function: str, asked: Sequence[Hold], **shared: Any) -> list[int | Refused]:
    unread = [unfit(request.amount, request.key, request.account, request.sink) for request in asked]
    columns = _columns(asked, unread) or [[], [], [], []]
    rows = _rows(function, **dict(zip(("accounts", "sinks", "amounts", "keys"), columns, strict=True)), **shared)
    rows.sort(key=lambda row: row[0])
    answers = iter([_answer(entry, entry, why, detail) for _n, entry, why, detail in rows])
    return [why or next(answers) for why in unread]


def _columns(asked: Sequence[Any], unread: Sequence[Refused | None]) -> list[list[Any]]:
    return [
        list(column)
        for column in zip(*(one for one, why in zip(asked, unread, strict=True) if why is None), strict=True)
    ]


def settle_batch(
    asked: Sequence[Settlement], *, source: str, event_at: datetime | None = None, actor: int | None, reason: str
) -> list[Settled | Refused]:
    """Many settlements in one statement: for each what came of it, or the error that `settle` would have raised."""
    unread = [unfit(request.used, request.key, request.hold) for request in asked]
    holds, used, keys = _columns(asked, unread) or [[], [], []]
    rows = _rows(
        "ledger_settle_batch",
        holds=holds,
        used=used,
        keys=keys,
        source=source,
        event_at=event_at,
        actor=actor,
        reason=reason,
    )
    answers = iter([_answer(entry, Settled(entry, used, over), why, None) for _n, entry, used, over, why in rows])
    return [why or next(answers) for why in unread]


def _answer(entry: int | None, answer: Answer, why: str | None, detail: str | None) -> Answer | Refused:
    if entry is not None:
        return answer
    return named(why or "", detail) or Refused(why or "")


def seal() -> int:
    """Seal every day that is over: how many were. Busy under load."""
    return int(_patiently(lambda: _call("ledger_seal")))


def _patiently(verb: Callable[[], Answer]) -> Answer:
    """What needs a moment without postings waits shortly and often: while it waits, every posting waits behind it."""
    for _attempt in range(BUSY_ATTEMPTS - 1):
        try:
            return verb()
        except Busy:
            time.sleep(0.05)
    return verb()


def close_month(*, month: date, actor: int | None) -> None:
    """Close the month of that day, in Seoul, and every one before it. Late use then books into the open month and names
    the one it adjusts. There is no way back; closing it again changes nothing. MonthNotOver, or Busy under load."""
    _patiently(lambda: _call("ledger_close_month", month=month, actor=actor))
