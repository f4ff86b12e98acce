"""What is promised already weighs on the decision of another call: what is left of it, on its own days."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import localdate

from madang.calls.models import Call
from madang.catalog.models import Kind
from madang.grants import actions, queries
from madang.grants.tests import make
from madang.identity.tests import make as identity
from madang.ledger import actions as ledger
from madang.programs.tests import make as programs

pytestmark = pytest.mark.django_db


def other_call(officer=None) -> Call:
    """Of the same resources, on days that overlap."""
    today = localdate()
    return make.call(officer=officer, use_from=today, use_until=today + timedelta(days=99))


def promised(call: Call) -> list[tuple[int, int, int]]:
    """(hours, days from today to the first day, and to the day after the last) of computing."""
    ids = [line.resource_id for line in call.lines.filter(resource__kind=Kind.COMPUTE)]
    today = localdate()
    return [
        (row.amount // make.HOUR, (row.first - today).days, (row.end - today).days)
        for row in queries.promises(call, ids)
    ]


def test_what_is_left_of_an_open_grant_counts_with_what_its_jobs_hold_and_without_what_they_used():
    story = make.granted()
    allocation = story.compute
    sink = ledger.site_account(commodity=allocation.resource.commodity, role="consumed")
    of = {"account": allocation.account, "sink": sink, "source": "test", "actor": None, "reason": "a job"}
    ledger.hold(amount=10 * make.HOUR, key="held", until=None, **of)
    ledger.charge(amount=30 * make.HOUR, key="used", **of)
    assert promised(other_call()) == [(70, -1, 61)]


def test_an_agreement_that_waits_counts_whole_and_one_that_ended_not_at_all():
    story = make.offered()
    call = other_call()
    assert promised(call) == [(100, -1, 61)]
    actions.decline(story.lead, grant=story.grant, reason="취소합니다.")
    assert promised(call) == []


def test_the_grants_of_the_call_itself_are_its_awards_and_others_on_other_days_no_matter():
    story = make.granted()
    assert promised(story.call) == []
    today = localdate()
    later = make.call(use_from=today + timedelta(days=61), use_until=today + timedelta(days=90))
    assert promised(later) == []
    sooner = make.call(use_from=today + timedelta(days=60), use_until=today + timedelta(days=90))
    assert promised(sooner) == [(100, -1, 61)]


def test_another_program_s_grants_weigh_and_are_not_named(client: Client):
    pytest.importorskip("numba")
    theirs = make.granted(program=programs.program())
    mine = programs.program()
    call = other_call(identity.officer())
    Call.objects.filter(pk=call.pk).update(program=mine)
    officer = identity.officer("program", mine.pk)
    client.force_login(officer)
    page = client.get(reverse("calls:effect", args=[call.code]))
    assert page.status_code == 200
    assert '<td class="number">0.0%</td>' in page.text  # 100 hours of 1,000 GPUs
    for secret in (theirs.organization.name, theirs.grant.number, theirs.grant.title):
        assert secret not in page.text
    assert client.get(reverse("calls:effect", args=[theirs.call.code])).status_code == 404
