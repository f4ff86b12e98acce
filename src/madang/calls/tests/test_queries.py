from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.contrib.auth.models import AnonymousUser

from madang.calls import actions, queries
from madang.calls.models import Call
from madang.calls.tests import make
from madang.catalog.tests import make as catalog
from madang.identity.access import access_of, forget
from madang.identity.tests import make as identity
from madang.workflow.errors import Missing
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
NOBODY = AnonymousUser()


def codes(rows):
    return [item.call.code for item in rows.items]


def test_everybody_sees_published_calls_and_where_they_stand_by_the_clock():
    days = {"gpus": catalog.resource(capacity_per_hour=16 * 3600 * 100)}
    soon = make.published(opens_at=now() + timedelta(hours=1), code="soon", **days)
    make.published(code="open", **days)
    make.deadline_passes(make.published(code="closed", **days).call)
    hidden = make.draft(code="hidden", **days)
    canceled = make.published(code="canceled", **days)
    actions.cancel(canceled.officer, call=canceled.call, reason="예산")
    stages = {item.call.code: str(item.stage) for item in queries.public_calls().items}
    assert stages == {"soon": "upcoming", "open": "open", "closed": "closed", "canceled": "canceled"}
    assert [codes(queries.public_calls(stage=stage)) for stage in ("upcoming", "open", "closed", "draft", "x")] == [
        ["soon"],
        ["open"],
        ["closed"],
        [],
        [],
    ]
    assert queries.public_call(NOBODY, "soon").call == soon.call
    with pytest.raises(Missing):
        queries.public_call(hidden.officer, "hidden")


def test_the_list_goes_on_where_it_stopped():
    gpus = catalog.resource(capacity_per_hour=16 * 3600 * 100)
    same = now() + timedelta(days=3)
    made = [make.published(gpus=gpus, closes_at=same).call.code for _ in range(5)]
    first = queries.public_calls(limit=2)
    second = queries.public_calls(limit=2, after=first.next)
    third = queries.public_calls(limit=2, after=second.next)
    assert (codes(first) + codes(second) + codes(third), third.next) == (made[::-1], None)
    assert codes(queries.public_calls(limit=2, after="nonsense~1")) == codes(first)


def test_a_draft_is_for_members_of_its_organization_only():
    made = make.published()
    draft = make.drafted(made.call)
    colleague = identity.member(draft.organization)
    assert queries.application_for_tenant(colleague, draft.pk).title == "불량 검출 모델 학습"
    assert [row.application for row in queries.applications_of(colleague).items] == [draft]
    stranger = identity.lead_of(identity.organization())
    for person in (stranger, identity.reviewer(), NOBODY):
        with pytest.raises(Missing):
            queries.application_for_tenant(person, draft.pk)
        assert queries.applications_of(person).items == []
    with pytest.raises(Missing):
        queries.application_for_officer(made.officer, draft.pk)
    assert queries.calls_applications(made.officer, made.call.code).items == []


def test_officers_see_what_was_submitted_to_their_programs_and_not_what_is_drafted_since():
    made = make.published()
    application = make.applied(made.call)
    actions.save_draft(make.lead(application), application=application, answers={"goal": "아직 비밀"}, title="비밀")
    seen = queries.application_for_officer(made.officer, application.pk)
    texts = [field.text for field in seen.fields]
    assert (seen.application.title, texts[0]) == ("불량 검출 모델 학습", "용접 불량을 찾는 모델을 학습합니다.")
    elsewhere = identity.officer("program", make.draft().call.program_id)
    for person in (elsewhere, identity.reviewer(), identity.operator(), make.lead(application), NOBODY):
        for ask in (
            lambda p=person: queries.application_for_officer(p, application.pk),
            lambda p=person: queries.calls_applications(p, made.call.code),
            lambda p=person: queries.managed_call(p, made.call.code),
            lambda p=person: queries.decision_sheet(p, made.call.code),
            lambda p=person: queries.reviewers_for(p, application.pk),
        ):
            with pytest.raises(Missing):
                ask()
    assert queries.officer_queue(identity.reviewer()).items == []


def test_receipts_are_for_members_and_officers_and_say_whether_they_are_intact():
    made = make.published()
    application = make.applied(made.call)
    submission = make.latest(application)
    receipt = queries.receipt(make.lead(application), submission.pk)
    assert (receipt.number, receipt.intact) == (f"{made.call.code.upper()}-0001", True)
    assert queries.receipt(made.officer, submission.pk).number == receipt.number
    for person in (identity.lead_of(identity.organization()), identity.reviewer(), NOBODY):
        with pytest.raises(Missing):
            queries.receipt(person, submission.pk)


def test_a_draft_says_what_it_lacks():
    made = make.published()
    line = made.call.lines.order_by("id")[0]
    draft = make.drafted(made.call, answers={"partner": True}, lines={line.pk: {"amount": 0}})
    seen = queries.application_for_tenant(make.lead(draft), draft.pk)
    assert sorted(seen.missing) == ["goal", "lines", "partner-name"]
    assert (seen.can_submit, seen.changed_since_submission) == (True, False)


def test_a_proposal_is_nobodys_to_see_before_the_results():
    made = make.published()
    application = make.applied(made.call)
    make.selected(made, application)
    lead = make.lead(application)
    before = queries.application_for_tenant(lead, application.pk)
    assert (before.decision, before.lines[0].awarded) == (None, None)
    assert queries.applications_of(lead).items[0].decision is None
    actions.announce(made.officer, call=made.call)
    after = queries.application_for_tenant(lead, application.pk)
    assert after.decision is not None
    assert (after.decision.outcome, after.lines[0].awarded) == ("selected", 100 * make.HOUR)


def test_the_decision_sheet_adds_up():
    made = make.published(most_awards=3, budget_krw=2_000_000)
    one, two = make.applied(made.call, hours=500), make.applied(made.call, hours=400)
    late = make.applied(made.call, hours=7)
    make.eligible(made, one, two)
    make.reviewed(made, one, points=(40, 30))
    make.reviewed(made, two, points=(50, 30))
    actions.decide(
        made.officer,
        application=one,
        outcome="selected",
        amounts={make.line(one).pk: 300 * make.HOUR},
        reason="일부 선정",
    )
    sheet = queries.decision_sheet(made.officer, made.call.code)
    assert [(row.application, row.standing.rank) for row in sheet.rows] == [(two, 1), (one, 2)]
    assert [row.lines[0].awarded for row in sheet.rows] == [None, 300 * make.HOUR]
    assert [row.value_krw for row in sheet.rows] == [800_000, 600_000]
    gpus = sheet.lines[0]
    assert (gpus.asked, gpus.awarded, gpus.left) == (900 * make.HOUR, 300 * make.HOUR, 700 * make.HOUR)
    hours = 181 * 24 * 16
    assert (gpus.capacity, gpus.capacity_left) == (hours * make.HOUR, (hours - 300) * make.HOUR)
    assert (sheet.used_krw, sheet.left_krw, sheet.awards, sheet.awards_left) == (600_000, 1_400_000, 1, 2)
    assert (sheet.undecided, sheet.waiting, sheet.can_announce, sheet.unpriced) == (1, 1, False, [made.storage])
    assert late.pk not in [row.application.pk for row in sheet.rows]


def test_the_list_of_applications_is_found_by_receipt_name_and_state():
    made = make.published()
    rows = [make.applied(made.call, identity.organization(name_ko=f"기업 {name}")) for name in ("가", "나", "다")]
    make.deadline_passes(made.call)
    rows[1].call = made.call
    actions.find_ineligible(made.officer, application=rows[1], reason="서류 미비")

    def listed(**how):
        return [
            row.application.receipt for row in queries.calls_applications(made.officer, made.call.code, **how).items
        ]

    assert listed() == [1, 2, 3]
    assert listed(state="ineligible") == [2]
    assert listed(search="기업 다") == [3]
    assert listed(search=rows[0].receipt_number) == [1]
    assert listed(search="0002") == [2]
    assert listed(search="x" * 300 + "-9999999999999") == []
    page = queries.calls_applications(made.officer, made.call.code, limit=2)
    assert (page.next, listed(after=page.next)) == ("2", [3])


def test_an_officers_queue_holds_what_waits_at_each_step():
    made = make.draft()
    officer, call = made.officer, made.call

    def kinds():
        return [(item.kind, item.count) for item in queries.officer_queue(officer).items]

    assert kinds() == [("publish", 1)]
    actions.publish(officer, call=call)
    assert kinds() == []
    one, two = make.applied(call), make.applied(call)
    assert kinds() == []
    make.deadline_passes(call)
    one.call = two.call = call
    assert sorted(kinds()) == [("screen", 2), ("start_evaluation", 2)]
    actions.find_eligible(officer, application=one)
    actions.find_ineligible(officer, application=two, reason="서류 미비")
    actions.start_evaluation(officer, call=call)
    assert kinds() == [("assign", 2)]
    reviewers = [identity.reviewer(), identity.reviewer()]
    assignments = [actions.assign(officer, application=one, reviewer=reviewer) for reviewer in reviewers]
    assert kinds() == [("reviews", 2)]
    for assignment in assignments:
        actions.score(assignment.reviewer, assignment=assignment, scores={"impact": 50, "ability": 30}, comment="좋음")
    assert kinds() == [("decide", 1)]
    actions.decide(officer, application=one, outcome="selected", reason="우수")
    assert kinds() == [("announce", 1)]
    actions.announce(officer, call=call)
    assert kinds() == []


def test_a_managed_call_says_how_far_it_is_and_what_can_be_done():
    made = make.draft()
    actions.set_criteria(made.officer, call=made.call, criteria=[])
    seen = queries.managed_call(made.officer, made.call.code)
    assert (seen.verbs, list(seen.problems)) == (["publish", "cancel"], ["criteria"])
    actions.set_criteria(made.officer, call=made.call, criteria=make.CRITERIA)
    actions.publish(made.officer, call=made.call)
    one, _two = make.applied(made.call), make.applied(made.call)
    make.drafted(made.call)
    make.eligible(made, one)
    make.reviewed(made, one)
    seen = queries.managed_call(made.officer, made.call.code)
    assert seen.counts == {"draft": 1, "submitted": 1, "eligible": 1}
    assert (seen.submitted, seen.reviews_wanted, seen.reviews_assigned, seen.reviews_done, seen.decided) == (
        2,
        2,
        2,
        2,
        0,
    )
    assert [item.counts for item in queries.managed_calls(made.officer).items] == [seen.counts]


def test_candidates_are_shown_with_their_load_and_conflicts():
    made = make.published()
    one, two = make.applied(made.call), make.applied(made.call)
    make.eligible(made, one, two)
    free, busy, own = identity.reviewer(), identity.reviewer(), identity.reviewer()
    actions.assign(made.officer, application=two, reviewer=busy)
    one.organization.memberships.create(person=own, role="member", until=now())
    rows = {
        row.person: (row.load, bool(row.conflict), row.assigned) for row in queries.reviewers_for(made.officer, one.pk)
    }
    assert rows == {free: (0, False, False), busy: (1, False, False), own: (0, True, False)}


def filled(applications: int):
    """A call under evaluation with so many applications, everything in it more than once."""
    made = make.draft(most_awards=100, gpus=catalog.resource(capacity_per_hour=16 * 3600 * 100))
    rule = {"kind": "organization_kind", "value": ["sme"], "citation_ko": "자격"}
    actions.set_rules(made.officer, call=made.call, rules=[rule, rule])
    region = {"name_ko": "광주", "percent": 50, "rule": "region", "value": "29"}
    actions.set_discounts(made.officer, call=made.call, discounts=[region])
    actions.publish(made.officer, call=made.call)
    rows = []
    for n in range(applications):
        organization = identity.organization(name_ko=f"기업 {n}", founded_on=date(2024, 1, 1))
        rows.append(make.applied(made.call, organization, hours=1))
        lead = make.lead(rows[-1])
        actions.add_document(lead, application=rows[-1], code="plan", file=make.file())
        actions.submit(lead, application=rows[-1])
    make.eligible(made, *rows)
    make.reviewed(made, *rows)
    for row in rows:
        actions.decide(made.officer, application=row, outcome="selected", reason="우수")
    return made, rows


def test_no_question_needs_more_statements_when_there_is_more(django_assert_max_num_queries):
    """Four more are the shell's: session, person, roles, memberships. Together no page needs more than twelve."""
    made, rows = filled(3)
    reviewer = rows[0].assignments.order_by("id")[0].reviewer
    lead = make.lead(rows[0])
    assignment = rows[0].assignments.order_by("id")[0].pk
    receipt = make.latest(rows[0]).pk
    published = make.published(program=made.call.program)
    for person, ask in (
        (NOBODY, lambda p: queries.public_calls()),
        (lead, lambda p: queries.public_call(p, published.call.code)),
        (lead, lambda p: queries.applications_of(p)),
        (lead, lambda p: queries.application_for_tenant(p, rows[0].pk)),
        (lead, lambda p: queries.receipt(p, receipt)),
        (made.officer, lambda p: queries.managed_calls(p)),
        (made.officer, lambda p: queries.managed_call(p, made.call.code)),
        (made.officer, lambda p: queries.calls_applications(p, made.call.code)),
        (made.officer, lambda p: queries.application_for_officer(p, rows[0].pk)),
        (made.officer, lambda p: queries.reviewers_for(p, rows[0].pk)),
        (made.officer, lambda p: queries.officer_queue(p)),
        (made.officer, lambda p: queries.decision_sheet(p, made.call.code)),
        (reviewer, lambda p: queries.review_queue(p)),
        (reviewer, lambda p: queries.review(p, assignment)),
    ):
        if person is not NOBODY:
            forget(person)
            access_of(person)
        with django_assert_max_num_queries(8):
            ask(person)
    assert Call.objects.count() == 2
