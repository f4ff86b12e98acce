"""What is submitted past us, while it runs or waits: seen by whose it is and by operators, and counted in forecasts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from madang.engines.base import LiveRun, RunKey, State
from madang.grants.models import Allocation
from madang.identity.tests import make as identity
from madang.jobs import actions, bare, engines, poller, queries
from madang.jobs.engines import Whose
from madang.jobs.models import Bare, Job
from madang.jobs.tests import make
from madang.workflow.errors import NotAllowed
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db


def sbatch(paper: Any, number: int, *, budget: str = "b", started: bool = False, tasks: int = 1, **facts: Any) -> UUID:
    """Somebody's own submission of so many tasks, as the engine tells of it."""
    uuid = uuid4()
    at = now() - timedelta(minutes=number)
    for task in range(tasks):
        paper.live[RunKey(uuid, task)] = LiveRun(
            RunKey(uuid),
            State.RUNNING if started else State.QUEUED,
            budget,
            "h100",
            facts.pop("gpus", 2),
            facts.pop("limit_s", 3600),
            at,
            started_at=at if started else None,
            reason="" if started else "Priority",
            posix_user="p",
            partition="h100",
            engine_id=str(number),
            bare=True,
            **facts,
        )
    return uuid


def owned(row: Allocation, budget: str = "b") -> Any:
    """The host, which knows from now on whose that budget is."""
    host: Any = engines._hosts[-1]
    host.owners[budget, "p"] = Whose(row, make.holder(row), "h100")
    return host


def test_what_waits_and_runs_is_shown_as_it_was_last_seen_and_is_gone_once_it_has_ended(paper):
    row = make.allocation()
    host = owned(row)
    array, plain = sbatch(paper, 7, tasks=3), sbatch(paper, 9, started=True)
    poller.look()
    first, second = bare.of_members(make.holder(row)).rows
    assert (first.uuid, first.name, first.state, first.runs, first.gpus, first.waits) == (
        *(array, "slurm-7", "queued", 3, 2, "Priority"),
    )
    assert (second.uuid, second.state, second.runs, second.allocation, second.person) == (
        *(plain, "running", 1, row, make.holder(row)),
    )
    assert host.asked == 2
    del paper.live[RunKey(array, 2)]
    paper.live[RunKey(array)] = replace(paper.live[RunKey(array)], reason="Resources")
    del paper.live[RunKey(plain)]
    poller.look()
    (left,) = bare.of_members(make.holder(row)).rows
    assert (left.pk, left.runs, left.waits, host.asked) == (first.pk, 2, "Resources", 2)
    paper.live.clear()
    poller.look()
    assert (Bare.objects.count(), Job.objects.count()) == (0, 0)


def test_it_holds_nothing_and_what_we_submitted_is_not_among_it(paper):
    row = make.allocation()
    owned(row)
    job = make.job(row)
    actions.hand_over(job)
    sbatch(paper, 1)
    before = make.balance(row)
    poller.look()
    assert make.balance(row) == before
    assert [one.name for one in bare.of_members(make.holder(row)).rows] == ["slurm-1"]


def test_nobody_but_its_organization_and_operators_sees_it_and_nobodys_only_operators_do(paper):
    mine, other = make.allocation(), make.allocation()
    owned(mine)
    sbatch(paper, 1)
    sbatch(paper, 2, budget="none")
    poller.look()
    assert [one.name for one in bare.of_members(make.holder(mine)).rows] == ["slurm-1"]
    assert bare.of_members(make.holder(mine), mine=True, allocation=mine.pk).rows
    assert not bare.of_members(make.holder(mine), allocation=other.pk).rows
    assert not bare.of_members(make.holder(other)).rows
    assert not bare.of_members(identity.person()).rows
    with pytest.raises(NotAllowed):
        bare.of_all(make.holder(mine))
    everybody = bare.of_all(identity.operator())
    assert [(one.name, one.allocation) for one in everybody.rows] == [("slurm-1", mine), ("slurm-2", None)]
    assert not bare.of_all(identity.operator(), engine="x").rows
    assert not bare.of_all(identity.operator(), partition="x").rows


def test_an_answer_that_is_not_complete_changes_nothing(paper):
    owned(make.allocation())
    sbatch(paper, 1)
    poller.look()
    paper.live.clear()
    paper.complete = False
    poller.look()
    assert Bare.objects.count() == 1


def test_a_forecast_counts_what_was_submitted_past_us_in_the_order_of_the_queue(paper):
    row = make.allocation()
    owned(row)
    sbatch(paper, 30, started=True, limit_s=0)
    sbatch(paper, 20, tasks=2)
    job = make.job(row)
    Job.objects.filter(pk=job.pk).update(submitted_at=now() - timedelta(minutes=25))
    poller.look()
    live, _past = queries.crowd("paper", job.partition)
    assert [(one.gpus, one.limit_s, one.elapsed_s is not None) for one in live] == [
        *((2, 90 * 86_400, True), (1, 600, False), (2, 3600, False), (2, 3600, False)),
    ]


def test_of_an_array_of_millions_a_forecast_sees_no_more_than_of_jobs(paper):
    make.bare(make.allocation(), runs=2 * 10**9)
    live, _past = queries.crowd("paper", "h100")
    assert len(live) == queries.LIVE_SEEN


def test_of_very_many_those_are_kept_that_came_first(paper, monkeypatch):
    monkeypatch.setattr(bare, "FRESH", 2)
    monkeypatch.setattr(bare, "MOST", 3)
    monkeypatch.setattr(bare, "SHOWN", 1)
    row = make.allocation()
    owned(row)
    for number in (4, 3, 2, 1):
        sbatch(paper, number)
    for expected in (["slurm-3", "slurm-4"], ["slurm-2", "slurm-3", "slurm-4"], ["slurm-2", "slurm-3", "slurm-4"]):
        poller.look()
        assert [one.name for one in Bare.objects.all()] == expected
    shown = bare.of_members(make.holder(row))
    assert ([one.name for one in shown.rows], shown.more) == (["slurm-2"], True)


def test_where_nobody_does_that_a_look_asks_one_question_more(paper):
    with CaptureQueriesContext(connection) as caught:
        bare.keep("paper", [])
    assert len(caught) == 1
    owned(make.allocation())
    sbatch(paper, 1)
    poller.look()
    with CaptureQueriesContext(connection) as caught:
        bare.keep("paper", list(paper.live.values()))
    assert len(caught) == 2
