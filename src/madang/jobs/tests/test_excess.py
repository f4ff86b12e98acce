"""A run that was charged beyond its end by its own marks: a person looks, and gives the difference back or keeps it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import IntegrityError

from madang.identity.tests import make as people
from madang.jobs import actions, parcels
from madang.jobs.models import Run, Task
from madang.jobs.tests import make
from madang.ledger.verify import verify
from madang.workflow.errors import NotAllowed, Refused, Stale
from madang.workflow.models import LogLine

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(paper):
    """Charged 200 s on 2 GPUs; by its marks it ended after 50 s."""
    row = make.allocation()
    job = make.job(row, gpus=2, limit_s=300)
    actions.hand_over(job)
    said = paper.end(job, seconds=200)
    said = replace(said, marked_at=said.started_at + timedelta(seconds=50))
    other = make.job(row, limit_s=60)
    actions.hand_over(other)
    assert parcels.record_usage("paper", [said, paper.end(other, seconds=10)]) == 2
    made = Run.objects.get(job=job)
    made.said = said
    return made


def test_what_is_given_back_is_a_second_entry_and_the_net_is_what_the_marks_say(run):
    row, boss = run.job.allocation, people.operator()
    assert (run.excess, make.balance(row)[:2]) == (300, (0, 410))
    actions.answer_excess(boss, run=run, give_back=True, reason=" looked at its folder ")
    assert make.balance(row) == (0, 410, row.amount - 110)  # two entries: what was charged, and what came back
    run.job.refresh_from_db()
    assert (run.job.used, Task.objects.get(job=run.job).used, Run.objects.get(pk=run.pk).answer) == (
        *(100, 100),
        "given_back",
    )
    line = LogLine.objects.get(verb="give_back")
    assert (line.reason, line.detail["gpu_seconds"]) == ("looked at its folder", 300)
    with pytest.raises(Stale):
        actions.answer_excess(boss, run=run, give_back=True, reason="again")
    assert parcels.record_usage("paper", [run.said]) == 0
    assert make.balance(row)[2] == row.amount - 110
    assert verify() == []


def test_what_its_engine_says_later_does_not_charge_again_what_was_given_back(run):
    row = run.job.allocation
    actions.answer_excess(people.operator(), run=run, give_back=True, reason="looked")
    parcels.record_usage("paper", [replace(run.said, gpu_seconds=360, marked_at=None)])
    assert make.balance(row)[2] == row.amount - 110
    kept = Run.objects.get(pk=run.pk)
    assert (kept.gpu_seconds, kept.answer, kept.marked_at) == (360, "given_back", run.marked_at)
    assert verify() == []


def test_what_is_kept_stays_charged_and_is_not_asked_again(run):
    actions.answer_excess(people.operator(), run=run, give_back=False, reason="it wrote until the end")
    assert make.balance(run.job.allocation)[1] == 410
    assert Run.objects.get(pk=run.pk).answer == "kept"
    with pytest.raises(Stale):
        actions.answer_excess(people.operator(), run=run, give_back=True, reason="after all")


def test_only_operators_answer_and_they_say_what_they_looked_at(run):
    for person in (people.person(), people.steward(), people.auditor(), make.holder(run.job.allocation)):
        with pytest.raises(NotAllowed):
            actions.answer_excess(person, run=run, give_back=True, reason="mine")
    with pytest.raises(Refused):
        actions.answer_excess(people.operator(), run=run, give_back=True, reason=" ")
    assert make.balance(run.job.allocation)[1] == 410


def test_there_is_no_answer_without_a_mark(run):
    with pytest.raises(IntegrityError):
        Run.objects.filter(marked_at=None).update(answer="kept")
