"""The FOCUS table: what is in it, that it adds up to the ledger, and who may have which rows of it."""

from __future__ import annotations

import csv
import sys
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.db.backends.postgresql.psycopg_any import DateRange
from django.db.models import Sum
from django.test import Client
from django.urls import reverse

from madang.catalog.models import Rate
from madang.grants import queries as grants
from madang.grants.models import Allocation, Grant
from madang.grants.tests import make
from madang.identity.models import Organization
from madang.identity.tests import make as identity
from madang.insight import focus
from madang.insight.tests.focus_spec import problems
from madang.ledger import actions as ledger
from madang.ledger.models import UsageMonth
from madang.ledger.usage import Record, meter
from madang.workflow.errors import NotAllowed, Refused
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
HOUR = make.HOUR
_key = count(1)


def this_month() -> date:
    return now().astimezone(focus.SEOUL).date().replace(day=1)


def last_month() -> date:
    return (this_month() - timedelta(days=1)).replace(day=1)


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=focus.SEOUL)


def used(allocation: Allocation, amount: int, on: date, **other: Any) -> None:
    """A metered use that ended at noon of that day."""
    assert allocation.account is not None
    facts: dict[str, Any] = {"submitted_at": noon(on) - timedelta(hours=2), "wall_s": 3600, "resource": 1, "user": 1}
    record = Record(
        key=str(next(_key)), account=allocation.account, amount=amount, started_at=noon(on) - timedelta(hours=1),
        ended_at=noon(on), **(facts | other),
    )  # fmt: skip
    assert meter([record], source="test:focus").fresh == 1


def named() -> dict[str, Any]:
    return {"source": "test", "key": f"focus {next(_key)}", "actor": None, "reason": "test"}


def table(person: Any, month: date) -> list[dict[str, str]]:
    """As whoever downloads it reads it."""
    return list(csv.DictReader(focus.csv_lines(focus.rows(person, month))))


def whole(person: Any, month: date, **wanted: str) -> list[dict[str, str]]:
    return [row for row in table(person, month) if all(row[name] == value for name, value in wanted.items())]


def total(rows: list[dict[str, str]], column: str) -> int:
    return int(sum(Decimal(row[column] or 0) for row in rows))


def busy(story: make.Story) -> None:
    """Everything that the ledger can book about an allocation, in two months."""
    compute, storage = story.compute, story.storage
    assert compute.account is not None
    assert storage.account is not None
    sink = ledger.site_account(commodity=compute.resource.commodity, role="consumed")
    pool = ledger.site_account(commodity=compute.resource.commodity, role="pool")
    used(compute, 2 * HOUR, last_month() + timedelta(days=3))
    used(compute, 2 * HOUR + 1, last_month() + timedelta(days=3))
    used(storage, 5_000_000, last_month() + timedelta(days=4))
    used(compute, 7 * HOUR, this_month())
    used(compute, 200 * HOUR, this_month())
    used(storage, 24_000_000, this_month())
    charged = ledger.charge(account=storage.account, sink=ledger.site_account(
        commodity=storage.resource.commodity, role="consumed"), amount=1000, **named())  # fmt: skip
    ledger.refund(entry=charged, amount=400, **named())
    ledger.grant(pool=pool, account=compute.account, amount=10 * HOUR, **named())
    ledger.reverse(entry=ledger.charge(account=compute.account, sink=sink, amount=HOUR, **named()), **named())
    ledger.reclaim(account=compute.account, pool=pool, amount=HOUR, **named())
    other = make.granted().compute
    if other.resource_id == compute.resource_id and other.account is not None:
        ledger.transfer(giver=compute.account, taker=other.account, amount=HOUR, **named())


def test_the_table_is_as_the_specification_says() -> None:
    story = make.granted()
    busy(story)
    auditor = identity.auditor()
    for month in (last_month(), this_month()):
        rows = table(auditor, month)
        assert len(rows) >= 2
        assert problems(rows, list(rows[0])) == []
    kinds = {row["ChargeCategory"] for row in table(auditor, this_month())}
    assert kinds == {"Usage", "Purchase", "Adjustment"}
    assert table(auditor, date(2020, 1, 1)) == []


def test_the_check_of_the_specification_finds_what_is_wrong() -> None:
    story = make.granted()
    busy(story)
    rows = table(identity.auditor(), this_month())
    good = next(row for row in rows if row["ChargeCategory"] == "Usage")
    for column, value in (
        ("BilledCost", ""),
        ("ChargeCategory", "usage"),
        ("ConsumedQuantity", ""),
        ("ListCost", "₩5"),
        ("ChargePeriodStart", "2026-11-01"),
        ("ServiceCategory", "GPU"),
        ("ListUnitPrice", "7"),
    ):
        assert problems([good | {column: value}], list(good)) != [], column
    assert problems([], [name for name in focus.COLUMNS if name != "ListCost"]) == ["ListCost is missing"]
    assert problems([], sorted(focus.COLUMNS, reverse=True)) != []


def test_its_quantities_add_up_to_what_the_ledger_booked() -> None:
    story = make.granted()
    busy(story)
    for allocation in (story.compute, story.storage):
        for month in (last_month(), this_month()):
            rows = whole(story.officer, month, x_AllocationId=str(allocation.pk), ChargeCategory="Usage")
            metered = UsageMonth.objects.filter(account=allocation.account, month=month)
            by_hand = 600 if allocation == story.storage and month == this_month() else 0  # charged less refunded
            assert total(rows, "ConsumedQuantity") == metered.aggregate(sum=Sum("booked"))["sum"] + by_hand
        (row,) = grants.with_meters([allocation])
        every = [r for m in (last_month(), this_month()) for r in whole(story.officer, m, x_AllocationId=str(row.pk))]
        assert total(every, "ConsumedQuantity") == row.meter.used + row.meter.overrun
        given = [r for r in every if r["ChargeCategory"] in ("Purchase", "Adjustment")]
        assert total(given, "PricingQuantity") == row.meter.granted


def test_list_price_is_reduction_and_own_share_in_every_row_and_in_whole_won() -> None:
    story = make.granted()
    busy(story)
    for month in (last_month(), this_month()):
        for row in table(identity.auditor(), month):
            costs = [Decimal(row[name]) for name in ("ListCost", "x_Reduction", "BilledCost")]
            assert costs[0] == costs[1] + costs[2]
            assert all(cost == int(cost) for cost in costs)
            assert row["BilledCost"] == row["ContractedCost"] == row["EffectiveCost"]
    (row,) = whole(story.officer, last_month(), x_AllocationId=str(story.compute.pk))
    assert (row["ConsumedQuantity"], row["ConsumedUnit"], row["PricingUnit"]) == ("14401", "GPU-Seconds", "GPU-Hours")
    assert (row["ListCost"], row["x_Reduction"], row["BilledCost"]) == ("8001", "4001", "4000")
    assert (row["ListUnitPrice"], row["ContractedUnitPrice"]) == ("2000", "1000")
    assert row["x_ReductionReason"] == "광주 소재 50%"
    (free,) = whole(story.officer, last_month(), x_AllocationId=str(story.storage.pk))
    assert (free["ListCost"], free["BilledCost"], free["x_ReductionReason"]) == ("0", "0", "")
    (over,) = whole(story.officer, this_month(), x_ReductionReason="할당량을 넘는 사용")
    assert (over["BilledCost"], over["x_Reduction"] == over["ListCost"], over["PricingCategory"]) == (
        "0",
        True,
        "Other",
    )


def test_the_own_share_of_the_agreement_is_of_all_that_was_granted_and_what_is_billed_is_of_what_was_used() -> None:
    story = make.granted()
    compute = story.compute
    agreed = compute.own_share_krw or 0

    def figures() -> tuple[int, int]:
        rows = [
            row for m in (last_month(), this_month()) for row in whole(story.officer, m, x_AllocationId=str(compute.pk))
        ]
        return total(rows, "x_AllocatedOwnShare"), total(rows, "BilledCost")

    assert (agreed > 0, figures()) == (True, (agreed, 0))
    used(compute, compute.amount // 4, last_month())
    assert figures() == (agreed, agreed // 4)
    used(compute, compute.amount - compute.amount // 4, last_month() + timedelta(days=1))
    used(compute, HOUR, last_month() + timedelta(days=2))  # nothing covers it
    assert figures()[0] == agreed
    assert agreed - 2 <= figures()[1] <= agreed


def test_the_pages_say_which_of_the_two_own_shares_they_show() -> None:
    story = make.granted()
    client = Client()
    client.force_login(story.lead)
    client.cookies["django_language"] = "en"
    agreed = client.get(reverse("grants:grant", args=[story.grant.number])).text
    assert "Of all that was granted, whether it is used or not" in agreed
    assert "the part that what was used stands for" in client.get(reverse("insight:focus")).text


def test_the_list_price_is_the_one_of_the_day() -> None:
    story = make.granted()
    first = last_month()
    rate = Rate.objects.get(resource=story.compute.resource)
    rate.days = DateRange(rate.days.lower, first + timedelta(days=10))
    rate.save()
    facts = {"resource": rate.resource, "price_krw": 3000, "per_amount": 3600, "basis_ko": "의결"}
    Rate.objects.create(days=DateRange(first + timedelta(days=10), None), **facts)
    for day in (9, 10):
        used(story.compute, HOUR, first + timedelta(days=day))
    rows = whole(story.officer, first, x_AllocationId=str(story.compute.pk))
    assert [row["ListCost"] for row in rows] == ["2000", "3000"]
    assert [row["BilledCost"] for row in rows] == ["1000", "1000"]  # as it was agreed
    assert len({row["SkuPriceId"] for row in rows}) == 2


def test_the_file_of_a_closed_month_stays_and_late_use_is_a_correction_in_the_open_one() -> None:
    story = make.granted()
    day = last_month() + timedelta(days=5)
    used(story.compute, HOUR, day)
    before = table(story.officer, last_month())
    ledger.close_month(month=last_month(), actor=None)
    used(story.compute, 3 * HOUR, day)
    assert table(story.officer, last_month()) == before
    (late,) = whole(story.officer, this_month(), ChargeClass="Correction")
    assert (late["ConsumedQuantity"], late["BillingPeriodStart"] > late["ChargePeriodStart"]) == (str(3 * HOUR), True)
    assert {row["ChargeClass"] for row in before} == {""}


def test_periods_begin_at_midnight_in_seoul_and_are_written_in_utc() -> None:
    story = make.granted()
    used(story.compute, HOUR, last_month())
    (row,) = whole(story.officer, last_month(), ChargeCategory="Usage")
    eve = last_month() - timedelta(days=1)
    assert row["BillingPeriodStart"] == row["ChargePeriodStart"] == f"{eve}T15:00:00Z"
    assert row["ChargePeriodEnd"] == f"{last_month()}T15:00:00Z"
    assert row["BillingPeriodEnd"] == f"{this_month() - timedelta(days=1)}T15:00:00Z"


def test_everybody_has_the_rows_that_are_theirs_and_no_others() -> None:
    one, two = make.granted(), make.granted()
    for story in (one, two):
        used(story.compute, HOUR, this_month())

    def numbers(person: Any) -> set[str]:
        return {row["SubAccountId"] for row in table(person, this_month())}

    both = {one.grant.number, two.grant.number}
    assert numbers(one.lead) == numbers(identity.member(one.organization)) == {one.grant.number}
    assert numbers(two.lead) == {two.grant.number}
    assert numbers(identity.officer("program", one.call.program_id)) == {one.grant.number}
    assert numbers(identity.officer()) == numbers(identity.auditor()) == numbers(identity.executive()) == both
    newcomer = identity.lead_of(identity.organization())
    assert table(newcomer, this_month()) == []
    for person in (identity.reviewer(), identity.steward()):
        with pytest.raises(NotAllowed):
            focus.rows(person, this_month())


def test_the_api_gives_the_same_and_nothing_of_anybody_else(client: Client) -> None:
    one, two = make.granted(), make.granted()
    for story in (one, two):
        used(story.compute, HOUR, this_month())
    address, month = "/api/v1/insight/focus", f"{this_month():%Y-%m}"
    assert client.get(address, {"month": month}).status_code == 401
    client.force_login(one.lead)
    answer = client.get(address, {"month": month})
    text = b"".join(answer.streaming_content).decode()
    assert answer["Content-Disposition"] == f'attachment; filename="focus-{month}.csv"'
    assert one.grant.number in text
    assert two.grant.number not in text
    assert two.organization.business_number not in text
    for wrong in ({"month": "2026-13"}, {"month": "11"}, {}, {"month": month, "format": "xlsx"}):
        assert client.get(address, wrong).status_code == 422
    client.force_login(identity.reviewer())
    assert client.get(address, {"month": month}).status_code == 403


def test_a_spreadsheet_takes_no_text_of_the_table_for_a_formula() -> None:
    story = make.granted()
    used(story.compute, HOUR, this_month())
    for sign in "=+-@":
        Grant.objects.filter(pk=story.grant.pk).update(title=f'{sign}HYPERLINK("x")')
        assert {row["SubAccountName"][:2] for row in table(story.officer, this_month())} == {f"'{sign}"}


def test_parquet_holds_the_same_as_csv_with_types(tmp_path: Path) -> None:
    import duckdb

    story = make.granted()
    busy(story)
    Organization.objects.filter(pk=story.organization.pk).update(name_ko='=빛고을, "로보틱스"')
    path = focus.parquet(focus.rows(story.officer, this_month()), tmp_path)
    with duckdb.connect() as connection:
        read = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
        names = [(column[0], str(column[1])) for column in read.description]
        found = [dict(zip(focus.COLUMNS, row, strict=True)) for row in read.fetchall()]
    wanted = list(focus.rows(story.officer, this_month()))
    assert [name for name, _type in names] == list(focus.COLUMNS)
    assert len(found) == len(wanted) > 5
    for there, here in zip(found, wanted, strict=True):
        here = {k: v.replace(tzinfo=None) if isinstance(v, datetime) else v for k, v in here.items()}
        assert there == here


def test_a_site_without_the_extra_says_what_is_missing_and_still_gives_csv(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = make.granted()
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(Refused, match="data"):
        focus.parquet_bytes(focus.rows(story.officer, this_month()))
    client.force_login(story.officer)
    asked = {"month": f"{this_month():%Y-%m}", "format": "parquet"}
    page = client.get(reverse("insight:focus"), asked)
    assert page.status_code == 422
    assert "data" in str(page.context["form"].errors["format"])
    assert client.get("/api/v1/insight/focus", asked).json()["where"] == ["format"]
    assert client.get(reverse("insight:focus"), {**asked, "format": "csv"}).status_code == 200


def test_the_page_asks_for_a_month_and_answers_with_the_file(client: Client) -> None:
    story = make.granted()
    page = reverse("insight:focus")
    assert client.get(page).status_code == 302
    client.force_login(story.lead)
    assert page in client.get(reverse("insight:board")).content.decode()
    shown = client.get(page)
    assert f'value="{last_month():%Y-%m}"' in shown.content.decode()
    answer = client.get(page, {"month": f"{this_month():%Y-%m}", "format": "csv"})
    assert answer["Content-Type"].startswith("text/csv")
    assert story.grant.number in b"".join(answer.streaming_content).decode()
    parquet = client.get(page, {"month": f"{this_month():%Y-%m}", "format": "parquet"})
    assert parquet.content[:4] == parquet.content[-4:] == b"PAR1"
    assert client.get(page, {"month": "gestern", "format": "csv"}).status_code == 422
    client.force_login(identity.reviewer())
    assert client.get(page).status_code == 403
    assert page not in client.get(reverse("insight:board")).content.decode()


def test_the_table_takes_few_questions_however_many_rows(django_assert_max_num_queries: Any) -> None:
    story = make.granted()
    for day in range(20):
        used(story.compute, 60, last_month() + timedelta(days=day))
    auditor, month = identity.auditor(), last_month()
    list(focus.rows(auditor, month))  # who reads is remembered
    with django_assert_max_num_queries(3):
        assert len(list(focus.rows(auditor, month))) == 20
