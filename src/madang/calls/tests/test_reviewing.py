from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress
from django.db import DatabaseError, connection, transaction

from madang.calls import actions, conflicts
from madang.calls.models import Assignment, AssignmentState, ScoreSheet
from madang.calls.tests import make
from madang.identity import actions as identity_actions
from madang.identity.access import forget
from madang.identity.models import Membership
from madang.identity.tests import make as identity
from madang.workflow.errors import Missing, NotAllowed, Refused, Stale
from madang.workflow.log import LogLine

pytestmark = pytest.mark.django_db
WHOLE = {"impact": 50, "ability": 30}


@pytest.fixture
def made():
    return make.published()


@pytest.fixture
def application(made):
    application = make.applied(made.call)
    make.eligible(made, application)
    return application


def formerly_of(organization):
    """A reviewer who once belonged to the organization."""
    person = identity.member(organization)
    identity_actions.end_membership(person, membership=person.memberships.get())
    identity_actions.give_role(identity.operator(), person=person, role="reviewer", reason="위촉")
    forget(person)
    return person


def test_who_belongs_or_belonged_to_the_applicant_is_never_assigned(made, application):
    member = identity.member(application.organization)
    identity_actions.give_role(identity.operator(), person=member, role="reviewer", reason="위촉")
    forget(member)
    for person in (member, formerly_of(application.organization)):
        with pytest.raises(Refused) as refused:
            actions.assign(made.officer, application=application, reviewer=person)
        assert list(refused.value.errors) == ["reviewer"]
    with pytest.raises(Refused):  # those two are the whole pool
        actions.assign_all(made.officer, call=made.call)
    assert Assignment.objects.count() == 0


def test_another_address_of_a_member_gives_a_reviewer_away(made, application):
    reviewer = identity.reviewer()
    EmailAddress.objects.create(user=reviewer, email=make.lead(application).email.upper(), verified=False)
    with pytest.raises(Refused):
        actions.assign(made.officer, application=application, reviewer=reviewer)


def test_a_firm_cannot_keep_a_reviewer_away_by_naming_an_unconfirmed_address(made, application):
    reviewer = identity.reviewer()
    EmailAddress.objects.create(user=make.lead(application), email=reviewer.email, verified=False)
    assert conflicts.found([application.organization_id], [reviewer.pk]) == set()
    actions.assign(made.officer, application=application, reviewer=reviewer)


def test_only_reviewers_of_the_program_are_assigned(made, application):
    elsewhere = identity.staff("reviewer", "program", make.draft().call.program_id)
    here = identity.staff("reviewer", "program", made.call.program_id)
    for person in (elsewhere, identity.person(), identity.officer()):
        with pytest.raises(Refused):
            actions.assign(made.officer, application=application, reviewer=person)
    assert actions.assign(made.officer, application=application, reviewer=here).reviewer == here


def test_only_eligible_applications_are_reviewed():
    made = make.published()
    application = make.applied(made.call)
    make.deadline_passes(made.call)
    application.call = made.call
    with pytest.raises(Stale):
        actions.assign(made.officer, application=application, reviewer=identity.reviewer())


def test_everybody_gets_the_reviews_that_are_wanted_with_even_loads_and_no_conflict(made):
    applications = [make.applied(made.call) for _ in range(6)]
    make.eligible(made, *applications)
    reviewers = [identity.reviewer() for _ in range(3)] + [formerly_of(applications[0].organization)]
    pairs = {(a.application_id, a.reviewer_id) for a in actions.assign_all(made.officer, call=made.call)}
    assert len(pairs) == 12
    assert (applications[0].pk, reviewers[3].pk) not in pairs
    assert sorted(sum(r == reviewer.pk for _, r in pairs) for reviewer in reviewers) == [3, 3, 3, 3]
    assert [sum(a == application.pk for a, _ in pairs) for application in applications] == [2] * 6
    assert actions.assign_all(made.officer, call=made.call) == []  # what is assigned stays


def test_an_assignment_that_cannot_be_made_says_for_which_application(made, application):
    identity.reviewer()
    with pytest.raises(Refused) as refused:
        actions.assign_all(made.officer, call=made.call)
    assert (application.receipt_number in str(refused.value), list(refused.value.errors)) == (
        True,
        [f"application-{application.pk}"],
    )
    assert Assignment.objects.count() == 0


def test_a_reviewer_who_steps_back_is_replaced_and_never_asked_again(made, application):
    reviewers = [identity.reviewer() for _ in range(3)]
    first, _second = actions.assign_all(made.officer, call=made.call)
    replacement = actions.recuse(first.reviewer, assignment=first, reason="같은 학과 동료")
    assert replacement is not None
    assert replacement.reviewer == reviewers[2]
    assert (first.state, LogLine.objects.get(verb="recuse").reason) == (AssignmentState.RECUSED, "같은 학과 동료")
    assert actions.recuse(replacement.reviewer, assignment=replacement, reason="사정") is None
    with pytest.raises(Stale):
        actions.assign(made.officer, application=application, reviewer=first.reviewer)


def test_only_the_reviewer_or_an_officer_of_the_program_ends_an_assignment(made, application):
    identity.reviewer(), identity.reviewer()
    assignment, other = actions.assign_all(made.officer, call=made.call)
    for actor in (other.reviewer, make.lead(application), identity.operator()):
        with pytest.raises(Missing):
            actions.recuse(actor, assignment=assignment, reason="x")
    actions.recuse(made.officer, assignment=assignment, reason="연락 두절")
    assert assignment.state == AssignmentState.RECUSED


def test_a_review_is_whole_or_refused_at_the_criterion(made, application):
    reviewer = identity.reviewer()
    assignment = actions.assign(made.officer, application=application, reviewer=reviewer)
    for scores, comment, wrong in (
        ({"impact": 50}, "좋음", ["ability"]),
        ({"impact": 50, "ability": None}, "좋음", ["ability"]),
        ({"impact": 61, "ability": -1}, "좋음", ["ability", "impact"]),
        ({"impact": True, "ability": 1.5}, "좋음", ["ability", "impact"]),
        ({**WHOLE, "looks": 1}, "좋음", ["looks"]),
        (WHOLE, " ", ["comment"]),
        (WHOLE, "x" * 4001, ["comment"]),
    ):
        with pytest.raises(Refused) as refused:
            actions.score(reviewer, assignment=assignment, scores=scores, comment=comment)
        assert sorted(refused.value.errors) == wrong
    assert ScoreSheet.objects.count() == 0
    sheet = actions.score(reviewer, assignment=assignment, scores={"impact": 0, "ability": 0}, comment="부족함")
    assert sheet.total == 0


def test_a_correction_is_a_newer_sheet_and_a_second_click_is_none(made, application):
    reviewer = identity.reviewer()
    assignment = actions.assign(made.officer, application=application, reviewer=reviewer)
    one = actions.score(reviewer, assignment=assignment, scores=WHOLE, comment="좋음")
    assert actions.score(reviewer, assignment=assignment, scores=WHOLE, comment="좋음") == one
    actions.score(reviewer, assignment=assignment, scores={**WHOLE, "impact": 40}, comment="다시 봄")
    assert list(assignment.sheets.values_list("total", flat=True)) == [80, 70]
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE calls_scoresheet SET total = 100")


def test_an_unfinished_review_counts_for_nothing(made, application):
    reviewer = identity.reviewer()
    assignment = actions.assign(made.officer, application=application, reviewer=reviewer)
    actions.save_scores(reviewer, assignment=assignment, scores={"impact": 10, "ability": None}, comment="메모")
    assignment.refresh_from_db()
    assert assignment.draft == {"scores": {"impact": 10}, "comment": "메모"}
    assert (ScoreSheet.objects.count(), assignment.state) == (0, AssignmentState.ASSIGNED)


def test_nobody_scores_for_another_or_what_was_taken_away(made, application):
    reviewer, other = identity.reviewer(), identity.reviewer()
    assignment = actions.assign(made.officer, application=application, reviewer=reviewer)
    for actor in (other, made.officer, make.lead(application)):
        with pytest.raises(Missing):
            actions.score(actor, assignment=assignment, scores=WHOLE, comment="좋음")
    actions.recuse(reviewer, assignment=assignment, reason="사정")
    with pytest.raises(Stale):
        actions.score(reviewer, assignment=assignment, scores=WHOLE, comment="좋음")


def test_who_joined_the_applicant_meanwhile_scores_no_more(made, application):
    reviewer = identity.reviewer()
    assignment = actions.assign(made.officer, application=application, reviewer=reviewer)
    Membership.objects.create(person=reviewer, organization=application.organization, role="member")
    with pytest.raises(NotAllowed):
        actions.score(reviewer, assignment=assignment, scores=WHOLE, comment="좋음")


def test_nothing_is_scored_before_the_evaluation_or_after_the_results():
    made = make.published()
    application = make.applied(made.call)
    make.deadline_passes(made.call)
    application.call = made.call
    actions.find_eligible(made.officer, application=application)
    reviewer = identity.reviewer()
    assignment = actions.assign(made.officer, application=application, reviewer=reviewer)
    with pytest.raises(Stale):
        actions.score(reviewer, assignment=assignment, scores=WHOLE, comment="좋음")
    actions.start_evaluation(made.officer, call=made.call)
    actions.score(reviewer, assignment=assignment, scores=WHOLE, comment="좋음")
    actions.decide(made.officer, application=application, outcome="rejected", reason="예산 부족")
    actions.announce(made.officer, call=made.call)
    with pytest.raises(Stale):
        actions.score(reviewer, assignment=assignment, scores={**WHOLE, "impact": 1}, comment="늦음")
