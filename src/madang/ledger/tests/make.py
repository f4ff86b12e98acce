"""A commodity with its accounts, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

from madang.ledger import actions as ledger
from madang.ledger import queries
from madang.ledger.models import Entry

_numbers = count(1)


@dataclass
class Books:
    """One commodity: the site's pool and used account, and `mine`, an allocation with 100 granted."""

    commodity: int
    pool: int
    used: int
    mine: int

    def account(self, *, granted: int = 0) -> int:
        owner = next(_numbers)
        account = ledger.open_account(
            commodity=self.commodity, owner_type="test", owner_id=owner, role="allocation", limited=True
        )
        if granted:
            self.grant(granted, account=account)
        return account

    def grant(self, amount: int, **other: Any) -> int:
        return ledger.grant(**{"pool": self.pool, "account": self.mine, **named("grant"), **other, "amount": amount})

    def hold(self, amount: int, **other: Any) -> int:
        return ledger.hold(
            **{"account": self.mine, "sink": self.used, "until": None, **named("hold"), **other, "amount": amount}
        )

    def charge(self, amount: int, **other: Any) -> int:
        return ledger.charge(**{"account": self.mine, "sink": self.used, **named("charge"), **other, "amount": amount})

    def balance(self, account: int | None = None) -> queries.Balance:
        return queries.balances([account or self.mine])[account or self.mine]


def named(why: str = "test") -> dict[str, Any]:
    """A key of its own, and who and why."""
    return {"source": "test", "key": str(next(_numbers)), "actor": None, "reason": why}


def books(*, granted: int = 100, unit: str = "krw") -> Books:
    commodity = ledger.commodity(code=f"test-{next(_numbers)}", unit=unit)
    made = Books(
        commodity=commodity,
        pool=ledger.site_account(commodity=commodity, role="pool"),
        used=ledger.site_account(commodity=commodity, role="consumed"),
        mine=0,
    )
    made.mine = made.account(granted=granted)
    return made


def entry(entry_id: int) -> Entry:
    return Entry.objects.get(pk=entry_id)
