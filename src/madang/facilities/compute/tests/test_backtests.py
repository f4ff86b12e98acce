"""Once a month the starts that would have been forecast are held against those that came."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from madang.facilities.compute import backtests, tasks
from madang.facilities.compute.models import Backtest, Partition
from madang.facilities.compute.queries import forecast, offers
from madang.facilities.compute.tests import make
from madang.grants.models import Allocation
from madang.jobs.models import Watch
from madang.jobs.tests import make as jobs
from madang.twin.tests.test_backtest import history
from madang.web.templatetags.madang import SEOUL
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db


def past(row: Allocation, began: datetime, *, count: int = 400, late: timedelta = timedelta()) -> None:
    """A history of the twin's own, from `began` on; what is submitted after half of it starts so much later."""
    rows = []
    for number, stint in enumerate(history(count, seed=3)):
        submit, start, end = (began + timedelta(seconds=at) for at in (stint.submit, stint.start, stint.end))
        slip = late if number >= count // 2 else timedelta()
        rows.append((submit, start + slip, end + slip, stint.gpus, stint.limit))
    make.recorded(row, rows)


def busy(where: Partition) -> None:
    slots = [{"gpu_type": where.gpu_type, "slots": 16, "busy": 16, "queued": 1}]
    health = {"slots": slots, "lag_s": 1, "sandbox": True, "kept_apart": True}
    Watch.objects.update_or_create(engine=where.cluster.code, defaults={"answered_at": now(), "health": health})


def first_of_last_month() -> datetime:
    return datetime.combine(backtests.last_month(now()), datetime.min.time(), SEOUL)


@pytest.mark.parametrize(
    ("moment", "month"),
    [
        (datetime(2026, 12, 31, 15, 30, tzinfo=UTC), "2026-12-01"),  # half past midnight of January in Seoul
        (datetime(2026, 12, 31, 14, 30, tzinfo=UTC), "2026-11-01"),
        (datetime(2028, 3, 1, tzinfo=UTC), "2028-02-01"),
    ],
)
def test_the_month_before_is_that_of_seoul(moment, month):
    assert backtests.last_month(moment).isoformat() == month


def test_each_partition_is_counted_once_a_month_from_its_own_jobs():
    where = make.partition(gpus=16, most_gpus=16)
    other = make.partition(gpus=16, most_gpus=16)
    past(make.allocation(where), first_of_last_month() - timedelta(days=1))
    tasks.backtest(0)
    tasks.backtest(0)
    mine, theirs = (Backtest.objects.get(partition=one) for one in (where, other))
    assert mine.month == backtests.last_month(now())
    assert mine.held.asked > 100
    assert mine.held.fair
    assert theirs.held.asked == 0
    with pytest.raises(IntegrityError), transaction.atomic():
        Backtest.objects.create(partition=where, month=mine.month, within=1, before=0, after=0)


def test_where_forecasts_did_not_hold_the_form_says_so_and_else_nothing():
    where = make.partition(gpus=16, most_gpus=16)
    row = make.allocation(where)
    theirs = make.allocation(where)
    past(theirs, first_of_last_month() - timedelta(days=1), late=timedelta(hours=9))
    make.job(theirs, gpus=8, limit_s=3600).task_rows.update(started_at=now())
    busy(where)
    (offer,) = offers(jobs.holder(row))
    assert forecast(offer, 4, 600).tested is None
    backtests.test_last_month()
    client = Client(HTTP_ACCEPT_LANGUAGE="en")
    client.force_login(jobs.holder(row))
    asked = {"allocation": row.pk, "gpus": 4, "limit_s": 600}
    form = {"allocation": row.pk, "gpus": 4, "minutes": 10}
    said = client.get("/api/v1/compute/forecast", asked).json()
    held = Backtest.objects.get().held
    assert said["tested"] == {"within": held.within, "before": held.before, "after": held.after}
    assert not held.fair
    page = client.get("/compute/jobs/new/", form).content.decode()
    assert f"{held.within} of {held.asked} starts" in page
    Backtest.objects.update(within=80, before=10, after=10)
    assert "starts fell" not in client.get("/compute/jobs/new/", form).content.decode()
    Backtest.objects.update(within=1, before=9, after=9)  # too few to say anything
    assert client.get("/api/v1/compute/forecast", asked).json()["tested"] is None
