"""The days and instants that people and programs may give: one range for pages, the API and the database.

Within it every sum that is done with a day works, in Python as in PostgreSQL, and in every zone.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Q

FIRST, LAST = date(2000, 1, 1), date(2100, 1, 1)
LONG_AGO = date(1800, 1, 1)  # for what has a past: when a company was founded, when somebody was born
_SEOUL = ZoneInfo("Asia/Seoul")
_AFTER = LAST + timedelta(days=1)
_FROM, _BEFORE = (datetime.combine(day, time(), _SEOUL) for day in (FIRST, _AFTER))


def usable(value: date | datetime, *, since: date = FIRST) -> bool:
    """Whether it lies between `since` and LAST, both included. An instant without a zone is one in Korea."""
    if isinstance(value, datetime):
        return _FROM <= (value if value.tzinfo else value.replace(tzinfo=_SEOUL)) < _BEFORE
    return since <= value <= LAST


def days(*names: str, since: date = FIRST) -> Q:
    """The condition of a CHECK: these date columns are usable, or empty."""
    return _between(names, since, LAST)


def instants(*names: str) -> Q:
    """The same for columns with instants. Midnight after the last day is where that day ends."""
    return _between(names, _FROM, _BEFORE)


def periods(*names: str) -> Q:
    """The same for columns with a range of days, which may have no end."""
    starts, ends = (f"{name}__startswith__gte" for name in names), (f"{name}__endswith__lte" for name in names)
    return Q(**dict.fromkeys(starts, FIRST), **dict.fromkeys(ends, _AFTER))


def _between(names: tuple[str, ...], first: date, last: date) -> Q:
    return Q(**{f"{name}__gte": first for name in names}, **{f"{name}__lte": last for name in names})
