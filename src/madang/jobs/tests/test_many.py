"""Several scripts in one request: a job for each, or none of them."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from procrastinate.contrib.django.models import ProcrastinateJob

from madang.engines.base import Unavailable
from madang.grants.models import Allocation
from madang.identity.models import Person
from madang.identity.tests import make as identity
from madang.jobs import many, queries, tasks
from madang.jobs.models import Job
from madang.jobs.tests import make
from madang.ledger import queries as ledger
from madang.workflow.errors import Missing, Refused, Stale
from madang.workflow.models import LogLine

pytestmark = pytest.mark.django_db
PLACE = {"engine": "paper", "partition": "h100"}


def scripts(count: int, text: str = make.SCRIPT) -> list[many.Script]:
    return [many.Script(uuid4(), f"{n}.sh", text) for n in range(count)]


def submit(row: Allocation, asked: list[many.Script], actor: Person | None = None, **facts) -> list[Job]:
    wanted = {"gpus": 1, "limit_s": 600, **PLACE, **facts}
    return many.submit_each(actor or make.holder(row), allocation=row, scripts=asked, **wanted)


def told(count: int) -> None:
    """The worker had its turn."""
    waiting = list(ProcrastinateJob.objects.filter(task_name=tasks.hand_over_each.name).values_list("args", flat=True))
    assert len(waiting) == count
    for args in waiting:
        tasks.hand_over_each(**args)


def test_each_script_is_a_job_with_its_own_hold_and_they_come_to_the_engine_in_their_order(paper):
    row = make.allocation()
    asked = scripts(many.TOGETHER + 1)
    jobs = submit(row, asked, arguments=["--fast"], gpus=1, limit_s=60)
    assert [(job.uuid, job.name, job.held, job.state) for job in jobs] == [
        (one.uuid, one.name, 60, "accepted") for one in asked
    ]
    assert make.balance(row)[0] == 60 * len(asked)
    assert LogLine.objects.filter(verb="submit", ref__in=[job.pk for job in jobs]).count() == len(asked)
    told(2)
    assert list(paper.specs) == [one.uuid for one in asked]
    assert {spec.argv for spec in paper.specs.values()} == {("--fast",)}
    assert set(Job.objects.values_list("state", flat=True)) == {"submitted"}
    assert (queries.mismatches(), ledger.check()) == (([], []), [])


def test_the_number_of_statements_does_not_grow_with_the_scripts(paper):
    row = make.allocation()
    counts = []
    for count in (2, 2, 50):
        with CaptureQueriesContext(connection) as caught:
            submit(row, scripts(count))
        counts.append(len(caught.captured_queries))
    assert counts[1] == counts[2]


def test_asked_again_they_are_the_same_jobs_and_one_more_is_one_more(paper):
    row = make.allocation()
    asked = scripts(3)
    first = submit(row, asked)
    again = submit(row, [*asked, *scripts(1)])
    assert again[:3] == first
    assert (Job.objects.count(), make.balance(row)[0]) == (4, 4 * 600)


@pytest.mark.parametrize("other", [{"gpus": 2}, {"limit_s": 60}, {"arguments": ["x"]}, {"text": "#!/bin/sh\nfalse\n"}])
def test_other_content_under_a_uuid_that_was_taken_is_stale_and_nothing_is_taken(paper, other):
    row = make.allocation()
    taken = submit(row, scripts(1, other.pop("text", make.SCRIPT)))[0].uuid
    with pytest.raises(Stale):
        submit(row, [*scripts(2), many.Script(taken, "0.sh", make.SCRIPT)], **(other or {}))
    assert (Job.objects.count(), make.balance(row)[0]) == (1, 600)


@pytest.mark.parametrize(
    ("asked", "facts", "errors"),
    [
        ([], {}, {"scripts": "From 1 to 1,000"}),
        (scripts(many.MOST + 1), {}, {"scripts": "From 1 to 1,000"}),
        ([many.Script(UUID(int=1), "a", make.SCRIPT)] * 2, {}, {"scripts": "same uuid"}),
        ([*scripts(1), many.Script(uuid4(), "bad.sh", "echo\n")], {}, {"scripts": "bad.sh: The first line"}),
        ([*scripts(1), many.Script(uuid4(), "x" * 81, make.SCRIPT)], {}, {"scripts": "at most 80"}),
        (scripts(2), {"gpus": 9}, {"gpus": "at most 8"}),
        (scripts(2), {"gpus": 0, "limit_s": 0}, {"gpus": "From 1", "limit_s": "A time limit"}),
        (scripts(61), {}, {"limit_s": "could use up to"}),
    ],
)
@pytest.mark.usefixtures("paper")
def test_where_one_can_not_be_taken_none_is_and_the_field_says_why(asked, facts, errors):
    row = make.allocation()
    with translation.override("en"), pytest.raises(Refused) as caught:
        submit(row, asked, **facts)
    assert caught.value.errors.keys() == errors.keys()
    assert all(what in str(caught.value.errors[field]) for field, what in errors.items()), caught.value.errors
    assert (Job.objects.count(), make.balance(row)[0], ProcrastinateJob.objects.count()) == (0, 0, 0)


def test_strangers_take_nothing_on_it_and_no_uuid_of_its_jobs(paper):
    row = make.allocation()
    theirs = submit(row, scripts(1))[0]
    stranger = make.allocation()
    with pytest.raises(Missing):
        submit(row, scripts(2), make.holder(stranger))
    with pytest.raises(Missing):
        submit(row, scripts(2), identity.operator())
    with pytest.raises(Stale):
        submit(stranger, [*scripts(1), many.Script(theirs.uuid, theirs.name, theirs.script)])
    assert (Job.objects.count(), make.balance(stranger)[0]) == (1, 0)


def test_an_engine_that_does_not_answer_is_told_later_and_each_job_once(paper):
    row = make.allocation()
    submit(row, scripts(3))
    paper.fail.add("after submit")
    with pytest.raises(Unavailable):
        told(1)
    told(1)
    assert paper.submissions == 4  # the first was asked for twice under one uuid
    assert len(paper.specs) == 3
    assert set(Job.objects.values_list("state", flat=True)) == {"submitted"}
