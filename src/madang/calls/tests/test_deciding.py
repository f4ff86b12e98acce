from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from madang.calls import actions
from madang.calls.models import Application, Decision
from madang.calls.tests import make
from madang.identity.models import Membership
from madang.identity.tests import make as identity
from madang.workflow.errors import NotAllowed, Refused, Stale

pytestmark = pytest.mark.django_db


def of_call(applications, points=(50, 30), **facts):
    """A call under evaluation with reviewed applications for so many GPU-hours each."""
    made = make.published(**facts)
    rows = [make.applied(made.call, hours=hours) for hours in applications]
    make.eligible(made, *rows)
    make.reviewed(made, *rows, points=points)
    return made, rows


def decide(made, application, outcome="selected", **more):
    return actions.decide(made.officer, application=application, outcome=outcome, **{"reason": "우수합니다.", **more})


def test_all_that_was_asked_or_less_or_nothing_is_awarded_by_line():
    made, (one, two, three) = of_call([100, 100, 100])
    assert decide(made, one).lines.get().amount == 100 * make.HOUR
    partial = decide(made, two, amounts={make.line(two).pk: 40 * make.HOUR})
    assert partial.lines.get().amount == 40 * make.HOUR
    assert list(decide(made, three, "rejected").lines.all()) == []


def test_more_than_was_asked_and_foreign_lines_are_refused_at_the_line():
    made, (one, two) = of_call([100, 100])
    mine, foreign = make.line(one), make.line(two)
    with pytest.raises(Refused) as refused:
        decide(made, one, amounts={mine.pk: mine.amount + 1, foreign.pk: 1})
    assert sorted(refused.value.errors) == sorted([f"line-{mine.pk}", f"line-{foreign.pk}"])
    with pytest.raises(Refused):
        decide(made, one, amounts={mine.pk: -1})
    with pytest.raises(Refused):
        decide(made, one, amounts={mine.pk: 0})
    with pytest.raises(Refused):
        decide(made, one, "rejected", amounts={mine.pk: 1})
    assert Decision.objects.count() == 0


def test_all_awards_together_stay_within_the_budget_at_list_price():
    """₩2,000,000 at ₩2,000 an hour are 1,000 hours: of 500, 400 and 101 asked, the last hour is one too many."""
    made, (a, b, c) = of_call([500, 400, 101], budget_krw=2_000_000)
    decide(made, a)
    decide(made, b)
    with pytest.raises(Refused) as refused:
        decide(made, c)
    assert list(refused.value.errors) == ["amounts"]
    decide(made, c, amounts={make.line(c).pk: 100 * make.HOUR})
    assert Decision.objects.filter(outcome="selected").count() == 3


def test_the_total_of_a_line_bounds_all_awards_even_with_money_left():
    made, (a, b, c) = of_call([500, 450, 100], budget_krw=1_000_000_000)
    decide(made, a)
    decide(made, b)
    with pytest.raises(Refused) as refused:
        decide(made, c)
    assert list(refused.value.errors) == ["amounts"]
    decide(made, b, "reserve")  # the reserve list takes nothing
    decide(made, c)


def test_what_has_no_rate_counts_for_no_money():
    made = make.published(budget_krw=0)
    storage = made.call.lines.get(resource=made.storage)
    gpus = made.call.lines.get(resource=made.gpus)
    only = {gpus.pk: {"amount": 0}, storage.pk: {"amount": 1_000_000}}
    application, dear = make.applied(made.call, lines=only), make.applied(made.call, hours=1)
    make.eligible(made, application, dear)
    make.reviewed(made, application, dear)
    assert decide(made, application).lines.get().amount == 1_000_000
    with pytest.raises(Refused):
        decide(made, dear)


def test_there_are_no_more_awards_than_the_call_has():
    made, (a, b) = of_call([1, 1], most_awards=1)
    decide(made, a)
    with pytest.raises(Refused) as refused:
        decide(made, b)
    assert list(refused.value.errors) == ["outcome"]
    actions.undecide(made.officer, application=a)
    decide(made, b)


@pytest.mark.django_db(transaction=True)
def test_two_who_give_the_last_award_at_once_give_it_once():
    made, rows = of_call([1, 1, 1, 1], most_awards=1)

    def select(id: int) -> bool:
        try:
            application = Application.objects.select_related("call").get(pk=id)
            decide(made, application)
        except Refused:
            return False
        else:
            return True
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        given = list(pool.map(select, [row.pk for row in rows]))
    assert (sum(given), Decision.objects.filter(outcome="selected").count()) == (1, 1)


def test_nobody_is_selected_before_all_reviews_are_done():
    made = make.published()
    application = make.applied(made.call)
    make.eligible(made, application)
    for outcome in ("selected", "reserve"):
        with pytest.raises(Refused):
            decide(made, application, outcome)
    assert decide(made, application, "rejected").score is None


def test_below_the_minimum_of_a_criterion_nobody_is_selected_whatever_the_total():
    made, (application,) = of_call([10], points=(19, 40))
    with pytest.raises(Refused) as refused:
        decide(made, application)
    assert list(refused.value.errors) == ["outcome"]
    decision = decide(made, application, "rejected")
    assert (decision.score, decision.rank) == (Decimal("59.00"), None)


def test_a_correction_of_a_score_moves_the_ranks_of_the_proposals():
    made = make.published()
    one, two = make.applied(made.call, hours=1), make.applied(made.call, hours=1)
    make.eligible(made, one, two)
    first = make.reviewed(made, one, points=(50, 30))
    make.reviewed(made, two, points=(45, 30))
    assert (decide(made, one).rank, decide(made, two).rank) == (1, 2)
    actions.score(
        first[0].reviewer, assignment=first[0], scores={"impact": 20, "ability": 10}, comment="다시 보니 부족"
    )
    decide(made, two)
    assert (one.decision.__class__.objects.get(application=one).rank, Decision.objects.get(application=two).rank) == (
        2,
        1,
    )


def test_only_an_officer_who_never_belonged_to_the_applicant_decides():
    made, (application,) = of_call([10])
    elsewhere = identity.officer("program", make.draft().call.program_id)
    for actor in (elsewhere, identity.operator(), identity.reviewer(), make.lead(application)):
        with pytest.raises(NotAllowed):
            actions.decide(actor, application=application, outcome="selected", reason="x")
    Membership.objects.create(person=made.officer, organization=application.organization, role="member")
    with pytest.raises(NotAllowed):
        decide(made, application)


def test_decisions_are_made_while_the_call_is_evaluated():
    made = make.published()
    application = make.applied(made.call)
    make.deadline_passes(made.call)
    application.call = made.call
    actions.find_eligible(made.officer, application=application)
    with pytest.raises(Stale):
        decide(made, application, "rejected")


def test_results_are_announced_when_everybody_is_decided():
    made, (one, two) = of_call([10, 10])
    decide(made, one)
    with pytest.raises(Refused):
        actions.announce(made.officer, call=made.call)
    decide(made, two, "rejected", reason="예산 부족")
    (final,) = actions.announce(made.officer, call=made.call)
    assert (final.application_id, final.final_at is not None) == (one.pk, True)
    assert list(Application.objects.order_by("id").values_list("state", flat=True)) == ["selected", "rejected"]
    with pytest.raises(Stale):
        decide(made, one)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE calls_decision SET outcome = 'rejected'")


def test_results_wait_for_whoever_is_not_screened():
    made = make.published()
    one, _two = make.applied(made.call), make.applied(made.call)
    make.eligible(made, one)
    make.reviewed(made, one)
    decide(made, one)
    with pytest.raises(Refused):
        actions.announce(made.officer, call=made.call)
    made.call.refresh_from_db()
    assert made.call.state == "evaluating"


def test_who_fell_below_the_minimum_after_the_proposal_is_not_announced():
    made = make.published()
    application = make.applied(made.call)
    make.eligible(made, application)
    assignments = make.reviewed(made, application, points=(20, 40))
    decide(made, application)
    actions.score(
        assignments[0].reviewer, assignment=assignments[0], scores={"impact": 19, "ability": 40}, comment="정정"
    )
    with pytest.raises(Refused):
        actions.announce(made.officer, call=made.call)
    application.refresh_from_db()
    assert (application.state, Decision.objects.get().final_at) == ("eligible", None)


def test_who_withdraws_frees_what_was_proposed():
    made, (a, b) = of_call([1, 1], most_awards=1)
    decide(made, a)
    actions.withdraw(make.lead(a), application=a, reason="사업 변경")
    decide(made, b)
    assert Decision.objects.get().application_id == b.pk


def with_storage(essential: bool, made):
    gpus, storage = made.call.lines.order_by("id")
    asked = {
        gpus.pk: {"amount": 100 * make.HOUR, "essential": True, "purpose": "학습"},
        storage.pk: {"amount": 1_000_000, "essential": essential, "purpose": "보관"},
    }
    application = make.applied(made.call, lines=asked)
    make.eligible(made, application)
    make.reviewed(made, application)
    return application, *application.lines.order_by("call_line_id")


@pytest.mark.parametrize("outcome", ["selected", "reserve"])
def test_no_essential_line_is_left_out_of_an_award(outcome):
    made = make.published()
    application, gpus, storage = with_storage(True, made)
    with pytest.raises(Refused) as refused:
        decide(made, application, outcome, amounts={gpus.pk: gpus.amount})
    assert list(refused.value.errors) == [f"line-{storage.pk}"]
    assert Decision.objects.count() == 0
    less = decide(made, application, outcome, amounts={gpus.pk: gpus.amount, storage.pk: 1})
    assert [line.amount for line in less.lines.order_by("line_id")] == [gpus.amount, 1]


def test_an_optional_line_may_be_left_out():
    made = make.published()
    application, gpus, storage = with_storage(False, made)
    decision = decide(made, application, amounts={gpus.pk: gpus.amount, storage.pk: 0})
    assert [line.amount for line in decision.lines.order_by("line_id")] == [gpus.amount, 0]
    with pytest.raises(Refused) as refused:
        decide(made, application, amounts={gpus.pk: 0, storage.pk: storage.amount})
    assert list(refused.value.errors) == [f"line-{gpus.pk}"]
