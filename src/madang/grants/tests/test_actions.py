from __future__ import annotations

from datetime import timedelta

import pytest

from madang.calls.models import Application
from madang.grants import actions, queries
from madang.grants.agreement import digest_of
from madang.grants.models import Agreement, Grant, Meter
from madang.grants.tests import make
from madang.identity.tests import make as identity
from madang.ledger import actions as ledger
from madang.ledger import queries as ledger_queries
from madang.programs.tests import make as programs
from madang.workflow.errors import Missing, NotAllowed, Refused, Stale
from madang.workflow.models import LogLine
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db


def meters(grant: Grant) -> dict[str, Meter]:
    rows = queries.with_meters(grant.allocations.select_related("resource"))
    return {row.resource.kind: row.meter for row in rows}


def sign(story: make.Story, **changes: object) -> Grant:
    agreement = queries.agreement_of(story.grant)
    facts = {"version": agreement.version, "digest": agreement.digest, "signed_as": "이대표"} | changes
    return actions.accept(story.lead, grant=story.again(), **facts)  # type: ignore[arg-type]


def test_an_announced_call_offers_an_agreement_with_the_price_of_every_line() -> None:
    story = make.offered()
    grant = story.grant
    assert grant.state == "offered"
    assert grant.number == f"{story.call.code.upper()}-G001"
    assert (story.compute.list_krw, story.compute.reduction_krw, story.compute.own_share_krw) == (
        200_000,
        100_000,
        100_000,
    )
    assert story.compute.discount_ko == "광주 소재 50%"
    assert (story.storage.list_krw, story.storage.reduction_krw, story.storage.own_share_krw) == (None, None, None)
    assert story.compute.account is None
    assert story.compute.state == "promised"


def test_the_agreement_holds_what_was_decided_in_both_languages_under_one_digest() -> None:
    story = make.offered()
    agreement = queries.agreement_of(story.grant)
    assert agreement.terms["total"] == {"list_krw": 200_000, "reduction_krw": 100_000, "own_share_krw": 100_000}
    assert [line["amount"] for line in agreement.terms["lines"]] == [100 * make.HOUR, 2 * make.TB_DAY]
    assert "100 GPU-시간" in agreement.text_ko
    assert "100 GPU-hours" in agreement.text_en
    assert "₩100,000" in agreement.text_ko
    assert "₩100,000" in agreement.text_en
    assert "<" not in agreement.text_ko + agreement.text_en
    assert "(이)" not in agreement.text_ko
    assert "이(가)" not in agreement.text_ko
    assert agreement.digest == digest_of(agreement.text_ko, agreement.text_en, agreement.terms)


def test_an_applicant_from_elsewhere_pays_the_list_price() -> None:
    story = make.offered(identity.organization(region="11"))
    assert (story.compute.list_krw, story.compute.reduction_krw) == (200_000, 0)
    assert story.compute.discount_ko == ""


def test_results_are_announced_once() -> None:
    story = make.offered()
    with pytest.raises(Stale):
        actions.announce(story.officer, call=story.call)
    assert Grant.objects.count() == 1


def test_accepting_opens_every_allocation_and_the_ledger_adds_up() -> None:
    story = make.offered()
    sign(story)
    grant = story.again()
    assert grant.state == "active"
    assert grant.accepted_at is not None
    assert {row.state for row in grant.allocations.all()} == {"open"}
    assert meters(grant) == {
        "compute": Meter(left=100 * make.HOUR),
        "storage": Meter(left=2 * make.TB_DAY),
    }
    assert ledger_queries.check() == []
    agreement = queries.agreement_of(grant)
    assert (agreement.signed_by, agreement.signed_as) == (story.lead, "이대표")


def test_a_double_click_on_accept_opens_the_package_once() -> None:
    story = make.offered()
    first, second = sign(story), sign(story)
    assert first == second
    assert meters(story.grant)["compute"].left == 100 * make.HOUR
    assert LogLine.objects.filter(kind="grants.grant", verb="accept").count() == 1


def test_a_second_lead_who_accepts_later_is_told_that_it_is_done() -> None:
    story = make.offered()
    other = identity.member(story.organization, role="lead")
    sign(story)
    story.lead = other
    with pytest.raises(Stale):
        sign(story)


def test_an_agreement_that_was_read_before_it_changed_is_not_accepted() -> None:
    story = make.offered()
    old = queries.agreement_of(story.grant)
    Agreement.objects.create(
        grant=story.grant,
        version=2,
        text_ko="새 판",
        text_en="newer",
        terms=old.terms,
        digest=digest_of("새 판", "newer", old.terms),
    )
    with pytest.raises(Stale):
        sign(story, version=1, digest=old.digest)
    with pytest.raises(Stale):
        sign(story, version=2, digest=old.digest)
    assert story.again().state == "offered"
    assert meters(story.grant)["compute"] == Meter(left=100 * make.HOUR)
    assert sign(story).state == "active"


def test_after_the_last_second_the_agreement_cannot_be_accepted_by_the_clock_of_the_database() -> None:
    story = make.offered()
    Grant.objects.filter(pk=story.grant.pk).update(accept_by=now() - timedelta(seconds=1))
    with pytest.raises(Refused) as refused:
        sign(story)
    assert refused.value.status == 422
    assert story.again().state == "offered"
    assert story.compute.account is None


def test_the_last_day_to_accept_ends_at_midnight_in_seoul() -> None:
    story = make.offered(days_to_accept=14)
    there = story.grant.accept_by.astimezone(actions.rules.SEOUL)
    assert (there.hour, there.minute, there.second) == (23, 59, 59)
    assert (there.date() - now().astimezone(actions.rules.SEOUL).date()).days == 14


def test_overdue_offers_lapse_and_others_stay() -> None:
    late, fresh = make.offered(), make.offered()
    Grant.objects.filter(pk=late.grant.pk).update(accept_by=now() - timedelta(seconds=1))
    assert actions.lapse_overdue() == [late.grant]
    assert actions.lapse_overdue() == []
    assert (late.again().state, fresh.again().state) == ("lapsed", "offered")
    assert late.compute.state == "closed"
    with pytest.raises(Stale):
        sign(late)


def test_declining_releases_everything_and_cannot_be_taken_back() -> None:
    story = make.offered()
    actions.decline(story.lead, grant=story.again(), reason="다른 곳에서 지원받게 되었습니다.")
    assert story.again().state == "declined"
    assert {row.state for row in story.grant.allocations.all()} == {"closed"}
    assert {row.account for row in story.grant.allocations.all()} == {None}
    with pytest.raises(Stale):
        sign(story)


def test_declining_needs_a_reason() -> None:
    story = make.offered()
    with pytest.raises(Refused) as refused:
        actions.decline(story.lead, grant=story.again(), reason="  ")
    assert refused.value.field == "reason"


def test_only_a_lead_of_the_organization_accepts_or_declines() -> None:
    story = make.offered()
    member = identity.member(story.organization)
    stranger = identity.lead_of(identity.organization())
    for person, answer in ((member, NotAllowed), (stranger, Missing), (story.officer, Missing)):
        story.lead = person
        with pytest.raises(answer):
            sign(story)
        with pytest.raises(answer):
            actions.decline(person, grant=story.again(), reason="no")
    assert story.again().state == "offered"


def test_only_an_officer_of_the_program_announces() -> None:
    story = make.offered()
    elsewhere = identity.officer("program", programs.program().pk)
    for person in (elsewhere, story.lead, identity.auditor(), identity.executive(), identity.operator()):
        with pytest.raises(NotAllowed):
            actions.announce(person, call=story.call)


def three_decided() -> tuple[make.Story, list[Application]]:
    """One award for three: the first is selected, the second and the third are on the reserve list."""
    officer = identity.officer()
    notice = make.call(officer=officer, most_awards=1)
    applications = [make.applied(notice) for _ in range(3)]
    outcomes = dict(zip(applications, ["selected", "reserve", "reserve"], strict=True))
    notice = make.decided(officer, notice, outcomes)
    (grant,) = actions.announce(officer, call=notice)
    lead = identity.lead_of(grant.organization)
    return make.Story(notice, officer, grant.organization, lead, applications[0], grant), applications


def test_what_is_declined_goes_to_the_next_on_the_reserve_list_in_turn() -> None:
    story, (_first, second, third) = three_decided()
    with pytest.raises(Refused):  # the only award is still out
        actions.promote(story.officer, application=second)
    actions.decline(story.lead, grant=story.again(), reason="사정이 바뀌었습니다.")
    with pytest.raises(Refused):  # out of turn
        actions.promote(story.officer, application=third)
    grant = actions.promote(story.officer, application=second)
    assert (grant.number, grant.state) == (f"{story.call.code.upper()}-G002", "offered")
    assert Application.objects.get(pk=second.pk).state == "selected"
    assert Application.objects.get(pk=third.pk).state == "reserve"
    with pytest.raises(Stale):  # a double click
        actions.promote(story.officer, application=second)
    assert Grant.objects.count() == 2


def test_only_an_officer_promotes() -> None:
    story, (_first, second, _third) = three_decided()
    actions.decline(story.lead, grant=story.again(), reason="사정이 바뀌었습니다.")
    with pytest.raises(NotAllowed):
        actions.promote(identity.lead_of(second.organization), application=second)


def test_a_promotion_never_gives_more_than_was_asked_and_something_of_every_essential_line() -> None:
    story, (_first, second, _third) = three_decided()
    actions.decline(story.lead, grant=story.again(), reason="사정이 바뀌었습니다.")
    line = second.lines.get(call_line__resource__kind="compute")
    with pytest.raises(Refused) as refused:
        actions.promote(story.officer, application=second, amounts={line.pk: line.amount + 1})
    assert list(refused.value.errors) == [f"line-{line.pk}"]
    storage = second.lines.get(call_line__resource__kind="storage")
    with pytest.raises(Refused) as refused:
        actions.promote(story.officer, application=second, amounts={line.pk: 3600})
    assert list(refused.value.errors) == [f"line-{storage.pk}"]
    grant = actions.promote(story.officer, application=second, amounts={line.pk: 3600, storage.pk: make.TB_DAY})
    assert sorted(row.amount for row in grant.allocations.all()) == [3600, make.TB_DAY]


def test_closing_takes_back_what_is_left_and_the_used_stays_used() -> None:
    story = make.granted()
    commodity = story.compute.resource.commodity
    account = story.compute.account
    assert account is not None
    sink = ledger.site_account(commodity=commodity, role="consumed")
    ledger.charge(account=account, sink=sink, amount=3600, source="test", key="1", actor=None, reason="a job")
    actions.close(story.officer, grant=story.again(), reason="기간이 끝났습니다.")
    assert story.again().state == "closed"
    assert meters(story.grant) == {"compute": Meter(used=3600), "storage": Meter()}
    assert ledger_queries.check() == []


def test_a_grant_is_not_closed_while_something_is_held() -> None:
    story = make.granted()
    account = story.compute.account
    assert account is not None
    sink = ledger.site_account(commodity=story.compute.resource.commodity, role="consumed")
    ledger.hold(account=account, sink=sink, amount=60, source="test", key="1", until=None, actor=None, reason="a job")
    with pytest.raises(Refused):
        actions.close(story.officer, grant=story.again(), reason="기간이 끝났습니다.")
    assert story.again().state == "active"
    assert meters(story.grant)["compute"] == Meter(held=60, left=100 * make.HOUR - 60)


def test_an_allocation_is_paused_and_resumed_by_its_officer_or_steward_only() -> None:
    story = make.granted()
    steward = identity.steward("resource", story.compute.resource_id)
    other = identity.steward("resource", story.storage.resource_id)
    actions.pause_allocation(steward, allocation=story.compute, reason="목적 외 사용 확인 중")
    assert story.compute.state == "paused"
    with pytest.raises(Missing):
        actions.resume_allocation(other, allocation=story.compute, reason="r")
    with pytest.raises(NotAllowed):
        actions.resume_allocation(story.lead, allocation=story.compute, reason="r")
    with pytest.raises(Stale):
        actions.pause_allocation(story.officer, allocation=story.compute, reason="다시")
    actions.resume_allocation(story.officer, allocation=story.compute, reason="확인 완료")
    assert story.compute.state == "open"


def test_a_signed_agreement_never_changes() -> None:
    from django.db import DatabaseError, transaction

    story = make.granted()
    agreement = queries.agreement_of(story.grant)
    with pytest.raises(DatabaseError), transaction.atomic():
        Agreement.objects.filter(pk=agreement.pk).update(signed_as="다른 사람")


def test_jobs_can_only_be_run_on_open_allocations_of_ones_own_active_grant() -> None:
    story, other = make.granted(), make.granted()
    member = identity.member(story.organization)
    assert queries.allocations_for_jobs(member) == [story.compute]
    assert queries.allocations_for_jobs(other.lead) == [other.compute]
    assert queries.allocations_for_jobs(story.officer) == []
    actions.pause_allocation(story.officer, allocation=story.compute, reason="점검")
    assert queries.allocations_for_jobs(member) == []
