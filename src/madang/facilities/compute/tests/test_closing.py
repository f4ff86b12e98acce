"""How an officer ends the use of computing: pause, wait until the jobs have ended, close."""

from __future__ import annotations

import pytest
from django.utils import translation

from madang.engines.base import Outcome
from madang.grants import actions as grants
from madang.identity.tests import make as identity
from madang.jobs import actions as jobs
from madang.jobs import poller
from madang.jobs.models import Job
from madang.jobs.tests import make
from madang.ledger import queries as ledger
from madang.workflow.errors import Refused

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def in_korean():
    with translation.override("ko"):
        yield


paper = pytest.fixture(make.paper_host)


def again(job: Job) -> Job:
    job.refresh_from_db()
    return job


def test_closing_is_refused_while_jobs_live_and_pausing_first_lets_it_through(paper):
    row, officer = make.allocation(), identity.officer()
    running, queued, waiting = make.job(row), make.job(row), make.job(row)
    for job in (running, queued):
        jobs.hand_over(job)
    paper.start(running)
    poller.look()
    with pytest.raises(Refused, match="먼저 할당을 정지"):
        grants.close(officer, grant=row.grant, reason="과제 종료")
    assert [again(job).cancel_asked_at for job in (running, queued, waiting)] == [None] * 3
    assert again(running).state == "running"

    grants.pause_allocation(officer, allocation=row, reason="과제 종료")
    assert again(waiting).outcome == "cancelled"
    with pytest.raises(Refused, match="먼저 할당을 정지"):
        grants.close(officer, grant=row.grant, reason="과제 종료")
    poller.look()
    assert {running.uuid, queued.uuid} <= set(paper.canceled)
    paper.end(running, seconds=60, outcome=Outcome.CANCELLED)
    paper.end(queued, seconds=0, outcome=Outcome.CANCELLED)
    poller.look()
    assert make.balance(row) == (0, 60, 10 * make.HOUR - 60)

    row.grant.refresh_from_db()
    grants.close(officer, grant=row.grant, reason="과제 종료")
    row.refresh_from_db()
    assert (row.state, row.grant.state, make.balance(row)) == ("closed", "closed", (0, 10 * make.HOUR, 0))
    assert ledger.check() == []


def test_what_no_engine_was_told_of_ends_with_the_closing(paper):
    row = make.allocation()
    job = make.job(row)
    grants.close(identity.officer(), grant=row.grant, reason="과제 종료")
    assert (again(job).outcome, make.balance(row)[0]) == ("cancelled", 0)
