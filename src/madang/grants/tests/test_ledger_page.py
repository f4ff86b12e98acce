"""The ledger of the site as officers and auditors see it: totals, closed months, seals."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.db import connection
from django.urls import reverse

from madang.grants import actions, queries
from madang.grants.tests import make
from madang.grants.tests.test_pages import browser
from madang.identity.access import forget
from madang.identity.tests import make as identity
from madang.ledger import actions as ledger
from madang.ledger import queries as ledger_queries
from madang.ledger.models import Entry, Kind, Seal
from madang.ledger.tests.make import Books, books
from madang.workflow.errors import NotAllowed, Refused, Stale
from madang.workflow.models import LogLine
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
_key = count(1)


def month_before(day: date | None = None) -> date:
    day = day or now().astimezone(queries.SEOUL).date()
    return (day.replace(day=1) - timedelta(days=1)).replace(day=1)


def named() -> dict[str, Any]:
    return {"source": "test", "key": f"page {next(_key)}", "actor": None, "reason": "test"}


def every_verb(b: Books) -> None:
    """One entry of each kind, and reversals of those that can be."""
    other = b.account(granted=50)
    ledger.settle(hold=b.hold(30), used=40, **named())
    ledger.release(hold=b.hold(5), **named())
    b.hold(7)
    charged = b.charge(10)
    ledger.refund(entry=charged, amount=4, **named())
    ledger.reverse(entry=b.charge(3), **named())
    ledger.reverse(entry=b.grant(9), **named())
    ledger.transfer(giver=b.mine, taker=other, amount=6, **named())
    ledger.reclaim(account=other, pool=b.pool, amount=11, **named())
    over = {"account": other, "sink": b.used}
    ledger.overrun(amount=8, **over, **named())
    ledger.reverse(entry=ledger.overrun(amount=2, **over, **named()), **named())


def by_entries(b: Books) -> tuple[int, int, int, int]:
    """Granted, held, used and overrun, each entry looked at by itself."""
    granted = held = used = overrun = 0
    rows = Entry.objects.filter(debit__commodity=b.commodity).select_related("debit", "credit")
    ended = set(Entry.objects.exclude(hold=None).values_list("hold_id", flat=True))
    for row in rows:
        if row.kind == Kind.HOLD:
            held += row.amount if row.pk not in ended else 0
            continue
        match row.debit.role, row.credit.role:
            case "pool", "allocation":
                granted += row.amount
            case "allocation", "pool":
                granted -= row.amount
            case "allocation", "consumed":
                used += row.amount
            case "consumed", "allocation":
                used -= row.amount
            case "overrun", _:
                overrun += row.amount
            case _, "overrun":
                overrun -= row.amount
    return granted, held, used, overrun


def totals(b: Books) -> tuple[int, int, int, int]:
    (row,) = (row for row in ledger_queries.site_totals() if row.commodity == b.commodity)
    return row.granted, row.held, row.used, row.overrun


def test_the_totals_of_the_site_are_those_of_its_entries_whatever_was_booked() -> None:
    b = books()
    every_verb(b)
    assert totals(b) == by_entries(b) == (139, 7, 36, 18)
    (lost,) = (row for row in ledger_queries.units_lost() if row.commodity == b.commodity)
    assert lost.amount == 18


def test_a_seal_changes_no_total_and_what_came_after_it_is_added() -> None:
    b = books()
    every_verb(b)
    before = totals(b)
    with connection.cursor() as cursor:  # as if all of it had been booked and sealed on the days before
        cursor.execute("ALTER TABLE ledger_entry DISABLE TRIGGER USER")
        cursor.execute("UPDATE ledger_entry SET booked_at = booked_at - interval '1 day'")
        cursor.execute("ALTER TABLE ledger_entry ENABLE TRIGGER USER")
    assert ledger.seal() == 1
    assert totals(b) == before
    b.charge(2)
    assert totals(b) == by_entries(b) == (before[0], before[1], before[2] + 2, before[3])


def closing(client: Any, month: date | str, **fields: str) -> Any:
    said = month if isinstance(month, str) else f"{month:%Y-%m}"
    asked = {"month": said, "reason": "보고를 마쳤습니다.", "final": "on", **fields}
    return client.post(reverse("grants:close-month"), asked)


def test_an_officer_of_the_site_closes_a_month_and_everybody_sees_who_did() -> None:
    story, month = make.granted(), month_before()
    client = browser(story.officer, "en")
    assert "no way back" in client.get(reverse("grants:ledger")).content.decode()
    assert closing(client, month, final="").status_code == 422
    assert closing(client, month, reason=" ").status_code == 422
    assert queries.closed_months(story.officer) == []
    assert closing(client, month).status_code == 302
    (row,) = queries.closed_months(story.officer)
    assert (row.month, row.closed_by) == (month, story.officer.name)
    page = browser(identity.auditor(), "en").get(reverse("grants:ledger")).content.decode()
    assert f"{month:%Y-%m}" in page
    assert story.officer.name in page
    assert "Close this month" not in page
    line = LogLine.objects.get(verb="close_month")
    assert (line.reason, line.detail["month"]) == ("보고를 마쳤습니다.", month.isoformat())


def test_a_month_that_runs_or_is_closed_is_refused_at_its_field() -> None:
    officer = identity.officer()
    client, running = browser(officer), now().astimezone(queries.SEOUL).date()
    for month, words in ((running, "끝난 뒤"), ("2026-13", "2026-11"), ("0001-01", "2026-11")):
        answer = closing(client, month)
        assert answer.status_code == 422
        assert words in str(answer.context["form"].errors["month"])
    actions.close_month(officer, month=month_before(), reason="보고를 마쳤습니다.")
    for earlier in (month_before(), month_before(month_before())):
        with pytest.raises(Stale) as stale:
            actions.close_month(officer, month=earlier, reason="한 번 더")
        assert "month" in stale.value.errors
    assert LogLine.objects.filter(verb="close_month").count() == 1
    with pytest.raises(Refused):
        actions.close_month(officer, month=month_before(), reason="")


def test_nobody_but_an_officer_of_the_site_closes_a_month() -> None:
    story = make.granted()
    near = identity.officer("program", story.call.program_id)
    for person in (near, identity.auditor(), story.lead, identity.operator()):
        forget(person)
        assert closing(browser(person), month_before()).status_code in (403, 422)
        with pytest.raises(NotAllowed):
            actions.close_month(person, month=month_before(), reason="r")
        body = {"month": month_before().isoformat(), "reason": "r"}
        answer = browser(person).post("/api/v1/grants/ledger/close", body, content_type="application/json")
        assert answer.status_code == 403
    assert queries.closed_months(story.officer) == []


def test_the_api_closes_months_and_shows_seals() -> None:
    officer = identity.officer()
    client, address = browser(officer), "/api/v1/grants/ledger/close"
    running = now().astimezone(queries.SEOUL).date()
    refused = client.post(address, {"month": running.isoformat(), "reason": "r"}, content_type="application/json")
    assert (refused.status_code, refused.json()["where"]) == (422, ["month"])
    body = {"month": month_before().isoformat(), "reason": "보고를 마쳤습니다."}
    assert client.post(address, body, content_type="application/json").json()["closed_by"] == officer.name
    assert [row["month"] for row in client.get(address).json()] == [month_before().isoformat()]
    assert client.get("/api/v1/grants/ledger/seals").json() == []


def test_the_page_shows_the_last_seals_or_that_there_is_none() -> None:
    story = make.granted()
    client = browser(story.officer, "en")
    assert "No day is sealed yet" in client.get(reverse("grants:ledger")).content.decode()
    with connection.cursor() as cursor:
        for day, digest, previous in ((3, "a" * 64, ""), (2, "b" * 64, "a" * 64)):
            cursor.execute(
                "INSERT INTO ledger_seal VALUES (%s, 5, %s, %s, now())",
                [datetime.now(queries.SEOUL).date() - timedelta(days=day), digest, previous],
            )
    page = client.get(reverse("grants:ledger")).content.decode()
    assert f'<code title="{"b" * 64}">{"b" * 16}</code>' in page
    assert "the first" in page
    rows = client.get("/api/v1/grants/ledger/seals").json()
    assert [row["digest"][:1] for row in rows] == ["b", "a"]
    assert Seal.objects.count() == 2
    assert browser(story.lead).get("/api/v1/grants/ledger/seals").status_code == 403
    assert browser(story.lead).get(reverse("grants:ledger")).status_code == 403


def test_the_ledger_page_asks_twelve_times_at_most(django_assert_max_num_queries: Any) -> None:
    story = make.granted()
    actions.close_month(story.officer, month=month_before(), reason="보고를 마쳤습니다.")
    client = browser(story.officer)
    forget(story.officer)
    with django_assert_max_num_queries(12):
        assert client.get(reverse("grants:ledger")).status_code == 200
