"""Whether the starts that the submit form forecasts hold: each month, from the records of the month before."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from madang.facilities.compute.models import Backtest, Partition
from madang.facilities.compute.queries import policy_of
from madang.jobs.queries import stints
from madang.twin.backtest import backtest
from madang.web.templatetags.madang import SEOUL
from madang.workflow.moment import now

BEFORE = timedelta(days=31)  # also read: what ran as the month began, and what jobs had taken of their limits


def last_month(moment: datetime) -> date:
    """The first day, in Seoul, of the month before."""
    return (moment.astimezone(SEOUL).date().replace(day=1) - timedelta(days=1)).replace(day=1)


def test_last_month() -> list[Backtest]:
    """Of each partition, once a month; again it does nothing."""
    month = last_month(now())
    todo = Partition.objects.select_related("cluster").exclude(backtests__month=month)
    return [test(partition, month) for partition in todo]


def test(partition: Partition, month: date) -> Backtest:
    """Count one month of a partition and keep it. What has not ended by now isn't known here."""
    since = datetime.combine(month, time(), SEOUL)
    until = datetime.combine((month + timedelta(days=31)).replace(day=1), time(), SEOUL)
    runs = stints(partition.cluster.code, partition.name, since - BEFORE, until)
    asked = (round(since.timestamp()), round(until.timestamp()))
    held = backtest(runs, partition.gpus, *asked, policy=policy_of(partition.cluster))
    facts = {"within": held.within, "before": held.before, "after": held.after}
    return Backtest.objects.get_or_create(partition=partition, month=month, defaults=facts)[0]
