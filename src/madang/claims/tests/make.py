"""Leaves, pools and times of day, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from madang.claims import actions as claims
from madang.claims import pools

_numbers = count(1)
DAY = datetime(2031, 5, 1, tzinfo=UTC)


def at(hour: float) -> datetime:
    return DAY + timedelta(hours=hour)


def hours(start: float, end: float | None) -> tuple[datetime, datetime | None]:
    return at(start), None if end is None else at(end)


def leaf(parent: int | None = None) -> int:
    return claims.leaf(owner_type="test", owner_id=next(_numbers), parent=parent)


def pool(capacity: int) -> int:
    return pools.pool(owner_type="test", owner_id=next(_numbers), capacity=capacity)


def book(*leaves: int, start: float = 10, end: float | None = 12, **other: Any) -> list[int]:
    return claims.take(**source(), leaves=leaves, during=hours(start, end), **other)


def seat(of: int, *, start: float = 10, end: float | None = 12, amount: int = 1, **other: Any) -> int:
    return pools.take(**source(), pool=of, amount=amount, during=hours(start, end), **other)


def source() -> dict[str, Any]:
    return {"source_type": "test", "source_id": next(_numbers)}
