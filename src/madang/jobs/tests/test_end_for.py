"""An operator has another's job end: with a reason that its owner reads, charged as if its owner had canceled it."""

from __future__ import annotations

import pytest

from madang.engines.base import Outcome
from madang.identity.models import Role
from madang.identity.tests import make as identity
from madang.jobs import actions, poller, queries
from madang.jobs.models import Job
from madang.jobs.tests import make
from madang.ledger import queries as ledger
from madang.web.tests import letters
from madang.workflow.errors import Missing, NotAllowed, Refused, Stale
from madang.workflow.models import LogLine

pytestmark = pytest.mark.django_db
WHY = "It fills the shared disk."
TEN_HOURS = 10 * 3600


def test_a_running_job_is_ended_and_charged_for_what_it_used_and_its_owner_reads_why(paper):
    row = make.allocation()
    job = make.job(row, gpus=2)
    actions.hand_over(job)
    paper.start(job)
    poller.look()
    boss = identity.operator()
    seen = queries.operated(boss, job.uuid)
    actions.end_for(boss, job=seen, reason="  It fills \n the shared disk. ")
    poller.look()
    assert paper.canceled == [job.uuid]
    paper.end(job, seconds=30, outcome=Outcome.CANCELLED)
    poller.look()
    job.refresh_from_db()
    assert (job.outcome, job.cancel_why, job.held, job.used) == ("cancelled", WHY, 0, 60)
    assert make.balance(row) == (0, 60, TEN_HOURS - 60)
    assert ledger.check() == []
    line = LogLine.objects.get(kind="jobs.job", ref=job.pk, verb="end_for")
    assert (line.actor_id, line.reason) == (boss.pk, WHY)
    (letter,) = letters.to(job.person, "운영자")
    assert (WHY in letter["text"], job.name in letter["text"]) == (True, True)


def test_a_job_of_which_the_engine_was_not_told_has_ended_at_once_and_all_of_it_is_back(paper):
    row = make.allocation()
    job = make.job(row)
    actions.end_for(identity.operator(), job=job, reason=WHY)
    assert (job.outcome, job.cancel_why, make.balance(row)) == ("cancelled", WHY, (0, 0, TEN_HOURS))
    with pytest.raises(Stale):
        actions.end_for(identity.operator(), job=job, reason=WHY)
    assert paper.canceled == []


def test_what_was_asked_to_end_before_keeps_who_asked_and_why(paper):
    job = make.job(make.allocation())
    actions.hand_over(job)
    actions.end_for(identity.operator(), job=job, reason=WHY)
    with pytest.raises(Stale):
        actions.end_for(identity.operator(), job=job, reason="For another reason.")
    actions.cancel(make.holder(job.allocation), job=job)
    job.refresh_from_db()
    assert (job.cancel_why, LogLine.objects.filter(ref=job.pk, verb__in=["cancel", "end_for"]).count()) == (WHY, 1)


@pytest.mark.parametrize("reason", ["", "  \n ", "stop", "x y", "a" * 100, f"{'so ' * 70}"])
def test_why_is_said_in_a_few_words(paper, reason):
    job = make.job(make.allocation())
    with pytest.raises(Refused) as told:
        actions.end_for(identity.operator(), job=job, reason=reason)
    assert (list(told.value.errors), Job.objects.get().lives) == (["reason"], True)


@pytest.mark.parametrize("who", ["another tenant", "member", Role.OFFICER, Role.STEWARD, Role.AUDITOR, Role.EXECUTIVE])
def test_only_operators_end_and_see_the_jobs_of_others(paper, who):
    job = make.job(make.allocation())
    organization = job.allocation.grant.organization
    people = {
        "another tenant": lambda: identity.lead_of(identity.organization()),
        "member": lambda: identity.member(organization),
    }
    person = people[who]() if who in people else identity.staff(who)
    with pytest.raises(NotAllowed):
        actions.end_for(person, job=job, reason=WHY)
    for uuid in (job.uuid, "0d7de9c0-3f5c-4d3b-9a54-4d8f3f0f9d11"):  # there or not: the same answer
        with pytest.raises(NotAllowed):
            queries.operated(person, uuid)
    with pytest.raises(NotAllowed):
        queries.live_of_all(person)
    assert Job.objects.get().cancel_asked_at is None


def test_an_operator_sees_what_lives_of_all_organizations_in_a_fixed_number_of_statements(
    paper, django_assert_num_queries
):
    boss = identity.operator()
    here = [make.job(make.allocation()) for _ in range(3)]
    actions.cancel(make.holder(here[0].allocation), job=here[0])
    newest = (here[2].name, here[2].allocation.grant.organization.name)
    queries.live_of_all(boss)  # and who he is, is known from now on
    with django_assert_num_queries(1):
        page = queries.live_of_all(boss, limit=1)
        assert [(row.name, row.allocation.grant.organization.name) for row in page.items] == [newest]
    rest = queries.live_of_all(boss, after=page.after)
    assert ([row.uuid for row in rest.items], rest.after) == ([here[1].uuid], None)
    assert queries.live_of_all(boss, engine="other").items == []
    assert len(queries.live_of_all(boss, engine=here[1].engine, partition=here[1].partition).items) == 2
    with pytest.raises(Missing):
        queries.operated(boss, "0d7de9c0-3f5c-4d3b-9a54-4d8f3f0f9d11")


def test_a_job_that_ends_as_its_allocation_does_says_so_too(paper):
    job = make.job(make.allocation())
    actions.hand_over(job)
    assert actions.end(job, reason="the allocation is paused")
    assert Job.objects.get().cancel_why == "the allocation is paused"
