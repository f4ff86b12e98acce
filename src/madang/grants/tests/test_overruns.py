"""What follows when more was used than an allocation covers."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.html import strip_tags
from procrastinate.contrib.django.models import ProcrastinateJob

from madang.calls import actions as calls
from madang.grants import actions, queries
from madang.grants.models import Allocation
from madang.grants.tests import make
from madang.grants.tests.test_pages import browser
from madang.identity.tests import make as identity
from madang.ledger import actions as ledger
from madang.ledger import queries as ledger_queries
from madang.web.tests import letters
from madang.workflow.errors import NotAllowed, Refused
from madang.workflow.models import LogLine
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
_key = count(1)


def used_beyond(allocation: Allocation, amount: int = 3 * make.HOUR) -> None:
    """As a facility books it: the use and what follows, in one transaction; then the worker has its turn."""
    ledger.overrun(
        account=allocation.account,
        sink=ledger.site_account(commodity=allocation.resource.commodity, role="consumed"),
        amount=amount,
        source="test",
        key=f"over {next(_key)}",
        actor=None,
        reason="a run",
    )
    actions.overran(allocation)
    worked()


def worked() -> None:
    waiting = ProcrastinateJob.objects.filter(task_name="grants.follow_overrun", status="todo")
    for args in list(waiting.values_list("args", flat=True)):
        actions.follow_overrun(Allocation.objects.get(pk=args["allocation"]))


def held(allocation: Allocation, amount: int = make.HOUR) -> int:
    sink = ledger.site_account(commodity=allocation.resource.commodity, role="consumed")
    return ledger.hold(
        account=allocation.account, sink=sink, amount=amount, source="test", key=f"hold {next(_key)}", until=None,
        actor=None, reason="a run",
    )  # fmt: skip


def done(allocation: Allocation) -> list[str]:
    rows = LogLine.objects.filter(kind="grants.allocation", ref=allocation.pk).order_by("id")
    return list(rows.values_list("verb", flat=True))


def told(person: Any) -> int:
    return len(letters.to(person, "초과 사용"))


def test_by_default_the_lead_and_the_officers_are_told_and_nothing_is_paused() -> None:
    story, elsewhere = make.granted(), identity.officer("program", make.granted().call.program_id)
    near = identity.officer("program", story.call.program_id)
    used_beyond(story.compute)
    assert story.compute.state == "open"
    assert [told(person) for person in (story.lead, story.officer, near, elsewhere)] == [1, 1, 1, 0]
    (letter,) = letters.to(story.lead, "초과 사용")
    assert "3 GPU-시간" in letter["text"]
    assert "3 GPU-hours" in letter["text"]
    assert letter["text"].count(reverse("grants:statement", args=[story.grant.number, story.compute.pk])) == 2
    assert done(story.compute) == ["overrun"]


def test_a_thousand_jobs_that_overrun_are_one_letter_a_day() -> None:
    story = make.granted()
    yesterday = now() - timedelta(days=1)
    LogLine.objects.create(kind="grants.allocation", ref=story.compute.pk, verb="overrun", at=yesterday)
    for _job in range(5):
        used_beyond(story.compute)
    assert (told(story.lead), done(story.compute)) == (1, ["overrun", "overrun"])
    (row,) = queries.with_meters([story.compute])
    assert row.meter.overrun == 15 * make.HOUR


@pytest.mark.parametrize(
    ("told_at", "asked_at", "today"),
    [
        ("2026-11-27T00:00:00+09:00", "2026-11-27T04:00:00+09:00", True),
        ("2026-11-27T00:30:00+09:00", "2026-11-27T23:59:59+09:00", True),
        ("2026-11-26T23:59:59+09:00", "2026-11-27T00:00:00+09:00", False),
        ("2026-11-26T08:00:00+09:00", "2026-11-27T08:00:00+09:00", False),
    ],
)
def test_the_day_of_a_letter_begins_at_midnight_in_seoul(monkeypatch, told_at, asked_at, today) -> None:
    story = make.granted()
    LogLine.objects.create(
        kind="grants.allocation", ref=story.compute.pk, verb="overrun", at=datetime.fromisoformat(told_at)
    )
    monkeypatch.setattr(queries, "now", lambda: datetime.fromisoformat(asked_at))
    assert queries.told_of_overrun_today(story.compute) is today


def test_a_call_that_pauses_pauses_at_once_and_again_after_it_was_resumed() -> None:
    story = make.granted(overrun="pause")
    used_beyond(story.compute)
    assert (story.compute.state, story.storage.state) == ("paused", "open")
    actions.resume_allocation(story.officer, allocation=story.compute, reason="한 번 더 지켜봅니다.")
    assert story.compute.state == "open"
    used_beyond(story.compute)
    assert story.compute.state == "paused"
    assert done(story.compute) == ["overrun", "pause_overrun", "resume", "pause_overrun"]
    assert actions.close_free() == []


def test_a_call_that_closes_pauses_first_and_closes_once_nothing_is_held() -> None:
    story = make.granted(overrun="close")
    hold = held(story.compute)
    used_beyond(story.compute)
    assert (story.compute.state, story.compute.closes_when_free) == ("paused", True)
    assert actions.close_free() == []
    ledger.release(hold=hold, source="test", key="free", actor=None, reason="ended")
    assert [row.pk for row in actions.close_free()] == [story.compute.pk]
    assert (story.compute.state, story.compute.closes_when_free) == ("closed", False)
    assert ledger_queries.balances([story.compute.account])[story.compute.account].available == 0
    assert done(story.compute) == ["overrun", "pause_overrun", "close_overrun"]
    assert story.again().state == "active"
    actions.close(story.officer, grant=story.again(), reason="협약 기간이 끝났습니다.")
    assert (story.again().state, story.storage.state) == ("closed", "closed")


def test_an_officer_who_resumes_it_takes_back_that_it_closes() -> None:
    story = make.granted(overrun="close")
    hold = held(story.compute)
    used_beyond(story.compute)
    actions.resume_allocation(story.officer, allocation=story.compute, reason="합의했습니다.")
    ledger.release(hold=hold, source="test", key="free again", actor=None, reason="ended")
    assert actions.close_free() == []
    assert (story.compute.state, story.compute.closes_when_free) == ("open", False)


def test_an_overrun_that_was_reversed_before_it_was_looked_at_changes_nothing() -> None:
    story = make.granted(overrun="pause")
    sink = ledger.site_account(commodity=story.compute.resource.commodity, role="consumed")
    entry = ledger.overrun(
        account=story.compute.account, sink=sink, amount=5, source="test", key="wrong", actor=None, reason="a run"
    )
    ledger.reverse(entry=entry, source="test", key="wrong", actor=None, reason="a mistake")
    actions.follow_overrun(story.compute)
    assert (story.compute.state, told(story.lead), done(story.compute)) == ("open", 0, [])
    assert queries.overruns_for(story.officer) == []


def test_what_follows_is_a_term_of_the_call_and_of_the_agreement() -> None:
    texts = {policy: queries.agreement_of(make.offered(overrun=policy).grant) for policy in ("warn", "pause", "close")}
    assert {policy: text.terms["overrun"] for policy, text in texts.items()} == {p: p for p in texts}
    assert "그 항목의 할당을 정지합니다." in texts["pause"].text_ko
    assert "종료합니다." in texts["close"].text_ko
    assert "The allocation is then paused" not in texts["warn"].text_en
    officer = identity.officer()
    with pytest.raises(Refused) as refused:
        make.call(officer=officer, overrun="ignore")
    assert "overrun" in refused.value.errors
    with pytest.raises(Refused):
        calls.edit_call(officer, call=make.call(officer=officer), overrun="pause")  # it is published


def test_officers_see_the_overruns_of_their_programs_the_oldest_first() -> None:
    first, second = make.granted(identity.organization(name_en="First")), make.granted()
    used_beyond(first.compute)
    used_beyond(second.storage, 24_000_000)
    used_beyond(first.compute)
    everywhere = queries.overruns_for(identity.auditor())
    assert [(row.allocation.pk, row.amount) for row in everywhere] == [
        (first.compute.pk, 6 * make.HOUR),
        (second.storage.pk, 24_000_000),
    ]
    assert everywhere[0].since <= everywhere[1].since
    near = identity.officer("program", second.call.program_id)
    assert [row.allocation.pk for row in queries.overruns_for(near)] == [second.storage.pk]
    page = browser(near, "en").get(reverse("grants:ledger")).content.decode()
    assert second.organization.name_en in page
    assert "First" not in page
    assert reverse("grants:statement", args=[first.grant.number, first.compute.pk]) not in page
    answer = browser(near).get("/api/v1/grants/ledger").json()
    assert [row["allocation"] for row in answer["overruns"]] == [second.storage.pk]
    actions.close(second.officer, grant=second.again(), reason="끝났습니다.")
    assert queries.overruns_for(near) == []


def test_tenants_read_their_own_overrun_on_its_card_and_nobody_elses() -> None:
    story, other = make.granted(overrun="close"), make.granted()
    hold = held(story.compute)
    used_beyond(story.compute)
    page = reverse("grants:grant", args=[story.grant.number])
    card = strip_tags(browser(story.lead, "en").get(page).content.decode())
    assert "3 GPU-hours were used beyond" in card
    assert "closes once nothing is held" in card
    own = browser(other.lead, "en").get(reverse("grants:grant", args=[other.grant.number])).content.decode()
    assert "were used beyond" not in own
    for person in (story.lead, other.lead):
        with pytest.raises(NotAllowed):
            queries.overruns_for(person)
        assert browser(person).get(reverse("grants:ledger")).status_code == 403
    assert Client().get("/api/v1/grants/ledger").status_code == 401
    assert told(other.lead) == 0
    ledger.release(hold=hold, source="test", key="free once more", actor=None, reason="ended")
