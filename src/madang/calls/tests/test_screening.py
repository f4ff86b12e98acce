from __future__ import annotations

from datetime import date

import pytest
from django.db import DatabaseError, connection, transaction

from madang.calls import actions, eligibility
from madang.calls.models import EligibilityAnswer
from madang.calls.tests import make
from madang.identity import actions as identity_actions
from madang.identity.access import forget
from madang.identity.tests import make as identity
from madang.web.tests import letters
from madang.workflow.errors import Missing, NotAllowed, Refused, Stale
from madang.workflow.models import LogLine

pytestmark = pytest.mark.django_db

RULES = [
    {"kind": "organization_kind", "value": ["sme", "institute"], "citation_ko": "2. 신청자격: 중소기업, 연구소"},
    {"kind": "region", "value": ["29"], "citation_ko": "2. 신청자격: 광주 소재"},
    {"kind": "founded_within", "value": [7], "citation_ko": "2. 신청자격: 창업 7년 이내"},
    {"kind": "document", "value": ["plan"], "citation_ko": "5. 제출서류: 사업계획서"},
    {"kind": "no_double_funding", "value": [], "citation_ko": "7. 중복지원 제한"},
]


@pytest.fixture
def made():
    draft = make.draft()
    actions.set_rules(draft.officer, call=draft.call, rules=RULES)
    actions.publish(draft.officer, call=draft.call)
    return draft


def answers(application) -> dict[str, str]:
    rows = application.eligibility.select_related("rule").order_by("id")
    return {row.rule.kind: row.answer for row in rows}


def test_the_machine_answers_every_rule_at_submission(made):
    application = make.applied(made.call, identity.organization(founded_on=date(2020, 1, 1)))
    assert answers(application) == {
        "organization_kind": "pass",
        "region": "pass",
        "founded_within": "pass",
        "document": "fail",
        "no_double_funding": "pass",
    }


def test_what_is_not_known_is_neither_met_nor_failed(made):
    application = make.applied(made.call, identity.organization(founded_on=None, region="11", kind="university"))
    assert answers(application) == {
        "organization_kind": "fail",
        "region": "fail",
        "founded_within": "unknown",
        "document": "fail",
        "no_double_funding": "pass",
    }


@pytest.mark.parametrize(("founded", "answer"), [(date(2023, 8, 14), "pass"), (date(2023, 8, 13), "fail")])
def test_years_since_the_founding_are_counted_to_the_day_of_the_deadline(made, founded, answer):
    facts = eligibility.Facts(identity.organization(founded_on=founded), date(2030, 8, 14), frozenset(), ())
    assert eligibility.answer(made.call.rules.get(kind="founded_within"), facts)[0] == answer


def test_nobody_is_found_eligible_while_a_rule_is_not_met(made):
    application = make.applied(made.call)  # without a plan, and founded nobody knows when
    make.deadline_passes(made.call)
    application.call = made.call
    with pytest.raises(Refused) as refused:
        actions.find_eligible(made.officer, application=application)
    assert len(refused.value.errors) == 2
    for kind in ("document", "founded_within"):
        rule = made.call.rules.get(kind=kind)
        actions.answer_rule(made.officer, application=application, rule=rule, answer="pass", reason="메일로 받음")
    assert actions.find_eligible(made.officer, application=application).state == "eligible"
    assert application.eligibility.filter(person=made.officer).count() == 2


def test_a_person_overrules_only_with_a_reason(made):
    application = make.applied(made.call)
    make.deadline_passes(made.call)
    application.call = made.call
    rule = made.call.rules.get(kind="document")
    for wrong in ({"answer": "pass", "reason": " "}, {"answer": "unknown", "reason": "글쎄"}):
        with pytest.raises(Refused):
            actions.answer_rule(made.officer, application=application, rule=rule, **wrong)
    foreign = make.draft()
    (other,) = actions.set_rules(foreign.officer, call=foreign.call, rules=RULES[:1])
    with pytest.raises(Missing):
        actions.answer_rule(made.officer, application=application, rule=other, answer="pass", reason="x")
    assert EligibilityAnswer.objects.exclude(person=None).count() == 0


def test_a_persons_answer_stands_until_the_facts_change(made):
    organization = identity.organization(founded_on=None)
    application = make.applied(made.call, organization)
    make.deadline_passes(made.call)
    application.call = made.call
    rule = made.call.rules.get(kind="founded_within")
    actions.answer_rule(made.officer, application=application, rule=rule, answer="pass", reason="등기부등본 확인")
    assert actions.check_eligibility(made.officer, application=application) == []
    assert answers(application)["founded_within"] == "pass"
    type(organization).objects.filter(pk=organization.pk).update(founded_on=date(1990, 1, 1))
    (new,) = actions.check_eligibility(made.officer, application=application)
    assert (new.rule, answers(application)["founded_within"]) == (rule, "fail")


def test_answers_are_never_rewritten(made):
    make.applied(made.call)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE calls_eligibilityanswer SET answer = 'pass'")


def test_nothing_is_screened_while_the_applicant_may_still_change_it(made):
    application = make.applied(made.call)
    for verb in (
        lambda: actions.find_ineligible(made.officer, application=application, reason="x"),
        lambda: actions.find_eligible(made.officer, application=application),
        lambda: actions.request_supplement(made.officer, application=application, codes=["plan"], reason="x"),
    ):
        with pytest.raises(Refused):
            verb()
    application.refresh_from_db()
    assert application.state == "submitted"


def test_only_an_officer_of_the_program_screens(made):
    application = make.applied(made.call)
    make.deadline_passes(made.call)
    application.call = made.call
    elsewhere = identity.officer("program", make.draft().call.program_id)
    for actor in (elsewhere, identity.reviewer(), make.lead(application), identity.operator()):
        with pytest.raises(NotAllowed):
            actions.find_ineligible(actor, application=application, reason="x")


def test_an_officer_does_not_decide_on_an_applicant_that_was_once_their_own(made):
    organization = identity.organization()
    identity.member(organization, "lead")
    once = identity.lead_of(organization)
    identity_actions.end_membership(once, membership=once.memberships.get())
    identity_actions.give_role(identity.operator(), person=once, role="officer", reason="채용")
    forget(once)
    application = _applied_by_another(made, organization, once)
    make.deadline_passes(made.call)
    application.call = made.call
    with pytest.raises(NotAllowed):
        actions.find_ineligible(once, application=application, reason="x")
    actions.find_ineligible(made.officer, application=application, reason="서류 미비")


def _applied_by_another(made, organization, once):
    lead = organization.memberships.filter(until=None).exclude(person=once).get().person
    forget(lead)
    application = actions.start_application(lead, call=made.call, organization=organization)
    line = made.call.lines.order_by("id")[0]
    actions.save_draft(
        lead, application=application, title="제목", answers={"goal": "목표"}, lines={line.pk: {"amount": 1}}
    )
    actions.submit(lead, application=application)
    return application


def test_a_supplement_is_due_and_its_answers_are_checked_again(made):
    application = make.applied(made.call, identity.organization(founded_on=date(2024, 1, 1)))
    make.deadline_passes(made.call)
    application.call = made.call
    actions.request_supplement(made.officer, application=application, codes=["plan"], reason="사업계획서 누락")
    assert application.supplement["codes"] == ["plan"]
    lead = make.lead(application)
    actions.add_document(lead, application=application, code="plan", file=make.file())
    actions.submit(lead, application=application)
    assert (answers(application)["document"], application.supplement) == ("pass", {})
    assert actions.find_eligible(made.officer, application=application).state == "eligible"


def test_a_supplement_that_is_overdue_is_refused(made):
    application = make.applied(made.call)
    make.deadline_passes(made.call)
    application.call = made.call
    actions.request_supplement(made.officer, application=application, codes=["plan"], reason="누락")
    type(application).objects.filter(pk=application.pk).update(
        supplement={**application.supplement, "until": "2020-01-01T00:00:00+00:00"}
    )
    with pytest.raises(Refused):
        actions.add_document(make.lead(application), application=application, code="plan", file=make.file())
    with pytest.raises(Refused):
        actions.submit(make.lead(application), application=application)
    assert actions.find_ineligible(made.officer, application=application, reason="기한 경과").state == "ineligible"


def test_what_was_found_ineligible_says_why_and_can_be_found_eligible_after_all(made):
    application = make.applied(made.call, identity.organization(founded_on=date(2024, 1, 1)))
    make.deadline_passes(made.call)
    application.call = made.call
    actions.find_ineligible(made.officer, application=application, reason="사업계획서 미제출")
    assert LogLine.objects.get(verb="find_ineligible").reason == "사업계획서 미제출"
    with pytest.raises(Stale):
        actions.find_ineligible(made.officer, application=application, reason="다시")
    rule = made.call.rules.get(kind="document")
    actions.answer_rule(made.officer, application=application, rule=rule, answer="pass", reason="우편 접수 확인")
    assert actions.find_eligible(made.officer, application=application, reason="재검토").state == "eligible"


DISCOUNTS = [
    {"name_ko": "광주 소재", "percent": 30, "rule": "region", "value": "29"},
    {"name_ko": "청년 창업기업", "percent": 50, "rule": "youth", "value": ""},
]


def with_discounts(**facts):
    made = make.draft()
    actions.set_discounts(made.officer, call=made.call, discounts=DISCOUNTS)
    actions.publish(made.officer, call=made.call)
    application = make.applied(made.call, identity.organization(**facts))
    make.deadline_passes(made.call)
    application.call = made.call
    return made, application


def test_the_discounts_whose_facts_were_confirmed_are_kept_and_logged():
    made, application = with_discounts(region="29")
    actions.find_eligible(made.officer, application=application)
    application.refresh_from_db()
    assert application.confirmed_discounts == [made.call.discounts.get(rule="region").pk]
    assert LogLine.objects.get(verb="find_eligible").detail == {"discounts": ["광주 소재"], "discounts_confirmed": True}


def test_without_the_facts_it_is_eligible_without_a_discount():
    made, application = with_discounts(region="29")
    actions.find_eligible(made.officer, application=application, discounts_confirmed=False)
    application.refresh_from_db()
    assert (application.state, application.confirmed_discounts) == ("eligible", [])
    assert LogLine.objects.get(verb="find_eligible").detail == {
        "discounts": ["광주 소재"],
        "discounts_confirmed": False,
    }


def test_a_screening_that_is_refused_writes_no_letter():
    made, application = with_discounts()
    lead = make.lead(application)
    with pytest.raises(Refused):
        actions.find_ineligible(made.officer, application=application, reason=" ")
    assert [letter["subject"].split(":")[0] for letter in letters.to(lead)] == ["접수 완료"]
    actions.find_ineligible(made.officer, application=application, reason="대상이 아닙니다.")
    assert "대상이 아닙니다." in letters.to(lead, "자격검토 결과")[0]["text"]
