"""From handed over to settled; and whatever dies on the way, at any step."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils.timezone import now

from madang.engines.base import ENDED, HELD_BACK, Conflict, Outcome, RunKey, State, Unavailable
from madang.jobs import actions, poller, queries
from madang.jobs.models import Job, JobState, Run, Stray, Task, Watch
from madang.jobs.tests import make
from madang.ledger import actions as ledger_actions
from madang.ledger import queries as ledger
from madang.ledger.models import Entry
from madang.ledger.verify import verify
from madang.web.tests import letters
from madang.workflow.models import LogLine

pytestmark = pytest.mark.django_db
TEN_HOURS = 10 * 3600


class Killed(Exception):
    """What a failpoint raises."""


def again(job: Job) -> Job:
    job.refresh_from_db()
    return job


def long_ago(job: Job) -> None:
    """As if it had been submitted and handed over an hour ago."""
    then = now() - timedelta(hours=1)
    Job.objects.filter(pk=job.pk).update(submitted_at=then)
    Job.objects.filter(pk=job.pk, told_at__isnull=False).update(told_at=then)


def nothing_is_wrong() -> None:
    assert (queries.mismatches(), ledger.check()) == (([], []), [])


def test_a_job_is_handed_over_queued_started_ended_and_settled(paper):
    row = make.allocation()
    job = make.job(row, gpus=2)
    seen = [job.state]
    actions.hand_over(job)
    seen.append(again(job).state)
    poller.look()
    seen.append(again(job).state)
    paper.start(job)
    poller.look()
    seen.append(again(job).state)
    paper.end(job, seconds=100)
    poller.look()
    assert [*seen, again(job).state] == ["accepted", "submitted", "queued", "running", "ended"]
    assert (job.outcome, job.exit_code, job.used, job.held, job.overrun) == ("completed", 0, 200, 0, 0)
    assert job.started_at < job.ended_at
    assert make.balance(row) == (0, 200, TEN_HOURS - 200)
    (run,) = queries.runs_of(job)
    assert (run.gpu_seconds, run.attempt, run.entry is not None) == (200, 1, True)
    nothing_is_wrong()


def test_the_engine_is_asked_for_what_was_submitted(paper):
    row = make.allocation()
    job = make.job(row, arguments=["--epochs", "3"], limit_s=90)
    actions.hand_over(job)
    spec = paper.specs[job.uuid]
    assert (spec.script, spec.argv, spec.limit_s, spec.gpus_per_node, spec.trusted) == (
        make.SCRIPT,
        ("--epochs", "3"),
        90,
        1,
        False,
    )
    assert (spec.account, spec.budget) == (f"grant-{row.grant_id}", f"allocation-{row.pk}")


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY, Outcome.CANCELLED])
def test_what_was_used_is_charged_however_it_ended(paper, outcome):
    row = make.allocation()
    job = make.job(row)
    actions.hand_over(job)
    paper.end(job, seconds=40, outcome=outcome)
    poller.look()
    assert (again(job).outcome, job.used) == (outcome.value, 40)
    assert make.balance(row) == (0, 40, TEN_HOURS - 40)


def test_a_run_whose_end_nobody_reported_is_charged_to_nobody(paper):
    row = make.allocation()
    job = make.job(row)
    actions.hand_over(job)
    paper.end(job, seconds=40, outcome=Outcome.LOST)
    poller.look()
    assert (again(job).outcome, job.used) == ("lost", 0)
    assert make.balance(row) == (0, 0, TEN_HOURS)
    (run,) = queries.runs_of(job)
    assert (run.gpu_seconds, run.entry) == (40, None)


def test_more_than_was_held_is_an_overrun_not_a_refusal(paper):
    row = make.allocation()
    job = make.job(row, limit_s=60)
    actions.hand_over(job)
    paper.end(job, seconds=75)
    poller.look()
    assert (again(job).used, job.overrun) == (60, 15)
    assert make.balance(row) == (0, 60, TEN_HOURS - 60)
    assert ledger.overruns([row.account]) == {row.account: 15}


def test_usage_reported_three_times_in_any_order_counts_once(paper):
    row = make.allocation()
    jobs = [make.job(row) for _ in range(3)]
    for job in jobs:
        actions.hand_over(job)
    rows = [paper.end(job, seconds=10 * n) for n, job in enumerate(jobs, 1)]
    assert actions.record_usage("paper", rows[1:]) == 2
    assert actions.record_usage("paper", rows) == 1
    assert actions.record_usage("paper", list(reversed(rows))) == 0
    poller.look()
    assert (Run.objects.count(), make.balance(row)) == (3, (0, 60, TEN_HOURS - 60))
    assert LogLine.objects.filter(verb="record_usage").count() == 3


def test_a_second_run_of_a_job_is_charged_by_itself(paper):
    row = make.allocation()
    job = make.job(row)
    actions.hand_over(job)
    first = paper.end(job, seconds=30)
    second = paper.end(job, seconds=50, attempt=2)
    actions.record_usage("paper", [first])
    actions.record_usage("paper", [second])
    actions.record_usage("paper", [second, first])
    assert again(job).used == 80
    assert make.balance(row) == (0, 80, TEN_HOURS - 80)


def test_what_no_balance_covers_of_a_second_run_is_an_overrun(paper):
    row = make.allocation(amount=600)
    job = make.job(row)
    actions.hand_over(job)
    actions.record_usage("paper", [paper.end(job, seconds=590)])
    actions.record_usage("paper", [paper.end(job, seconds=50, attempt=2)])
    assert (again(job).used, job.overrun, make.balance(row)) == (600, 40, (0, 600, 0))


def test_a_run_that_nobody_submitted_here_is_left_alone(paper):
    row = make.allocation()
    job = make.job(row)
    actions.hand_over(job)
    stranger = paper.end(job, seconds=5)
    object.__setattr__(stranger, "key", RunKey(uuid4()))
    poller.look()
    assert (Run.objects.count(), again(job).lives) == (0, True)


def test_a_refusal_by_the_engine_ends_the_job_and_says_why(paper):
    row = make.allocation()
    job = make.job(row)
    paper.reject = "this machine has 2 slots"
    actions.hand_over(job)
    assert (again(job).state, job.outcome, job.why) == ("ended", "refused", "this machine has 2 slots")
    assert make.balance(row) == (0, 0, TEN_HOURS)
    nothing_is_wrong()


def test_an_engine_that_does_not_answer_is_asked_again_and_nothing_is_decided(paper):
    row = make.allocation()
    job = make.job(row)
    paper.fail = {"submit"}
    with pytest.raises(Unavailable):
        actions.hand_over(job)
    assert (again(job).state, make.balance(row)[0]) == ("accepted", 600)
    actions.hand_over(job)
    assert again(job).state == "submitted"


def test_unknown_is_not_ended_and_comes_right_again(paper):
    row = make.allocation()
    job = make.job(row)
    actions.hand_over(job)
    paper.start(job)
    poller.look()
    Watch.objects.update(answered_at=now() - timedelta(minutes=2))
    paper.fail = {"poll"}
    poller.look()
    assert (again(job).state, job.outcome, make.balance(row)[0]) == ("unknown", "", 600)
    poller.look()
    assert again(job).state == "running"
    paper.end(job, seconds=20)
    poller.look()
    assert (again(job).outcome, make.balance(row)) == ("completed", (0, 20, TEN_HOURS - 20))


def test_budgets_that_are_refused_are_said_and_keep_nobody_from_the_rest(paper, monkeypatch):
    job = make.job(make.allocation())
    long_ago(job)

    def refuse(wanted, apply):
        raise Conflict("foreign_name", "made by somebody else: allocation-1")

    with monkeypatch.context() as refused:
        refused.setattr(paper, "sync", refuse)
        poller.look()
    watch = Watch.objects.get()
    assert (watch.drift["held"], watch.budgets_at) == ("made by somebody else: allocation-1", None)
    assert (again(job).state, paper.submissions) == ("submitted", 1)
    poller.look()
    watch.refresh_from_db()
    assert (watch.drift["held"], watch.budgets_at) == ("", watch.asked_at)


def test_where_nothing_waits_for_an_operator_there_is_no_warning_of_it(paper):
    poller.look()
    assert Watch.objects.get().health["warnings"] == []
    Stray.objects.create(key="paper:1", engine="paper", budget="x", gpu_seconds=1, ended_at=now())
    poller.look()
    assert Watch.objects.get().health["warnings"] == [{"code": "strays", "text": "runs that belong to nobody: 1"}]


def test_one_missed_answer_changes_nothing(paper):
    row = make.allocation()
    job = make.job(row)
    actions.hand_over(job)
    poller.look()
    paper.fail = {"poll"}
    poller.look()
    assert again(job).state == "queued"
    assert Watch.objects.get().error == "no answer"


def test_a_look_that_can_not_read_all_that_ended_forgets_nobody_and_another_follows_at_once(paper, monkeypatch):
    row = make.allocation()
    done = [make.job(row) for _ in range(5)]
    lives = make.job(row)
    for each in [*done, lives]:
        actions.hand_over(each)
        paper.start(each)
    poller.look()
    for each in [*done, lives]:
        long_ago(each)
    for each in done:
        paper.end(each, seconds=20)
    monkeypatch.setattr(poller, "READING_S", -1)  # a page of two a look
    assert [poller.look() for _ in range(3)] == [True, True, False]
    assert [again(each).state for each in done] == ["ended"] * 5
    assert (again(lives).state, paper.submissions) == ("running", 6)
    assert not LogLine.objects.filter(verb="lose_sight").exists()


def test_while_the_accounting_is_away_what_lives_is_seen_and_what_ended_stays_until_it_says_how(paper):
    row = make.allocation()
    job, over, gone = make.job(row), make.job(row), make.job(row)
    for each in (job, over, gone):
        actions.hand_over(each)
        paper.start(each)
    poller.look()
    long_ago(gone)
    Watch.objects.update(answered_at=now() - timedelta(minutes=2), budgets_at=None)
    ended = paper.live[RunKey(over.uuid)] = replace(paper.live[RunKey(over.uuid)], reason=ENDED)
    kept, paper.limits = paper.live.pop(RunKey(gone.uuid)), []
    for _look in range(3):
        paper.fail = {"usage"}
        poller.look()
    assert [(again(each).state, each.waits) for each in (job, over, gone)] == [
        *(("running", ""), ("running", "Accounting"), ("unknown", "")),
    ]
    watch = Watch.objects.get()
    assert (watch.answered_at, watch.error, paper.limits, paper.submissions) == (watch.asked_at, "", [], 3)
    paper.live |= {ended.key: replace(ended, reason=""), kept.key: kept}
    poller.look()
    assert [(again(each).state, each.waits) for each in (over, gone)] == [("running", ""), ("running", "")]
    paper.end(over, seconds=20)
    poller.look()
    assert (again(over).outcome, over.waits, make.balance(row)[1]) == ("completed", "", 20)
    nothing_is_wrong()


def test_what_is_missing_from_an_incomplete_answer_means_nothing(paper):
    job = make.job(make.allocation())
    actions.hand_over(job)
    poller.look()
    long_ago(job)
    paper.complete = False
    kept, paper.live = paper.live, {}
    poller.look()
    assert again(job).state == "queued"
    paper.live = kept


def test_a_job_that_the_engine_forgot_is_unknown_and_then_handed_over_again(paper):
    row = make.allocation()
    job = make.job(row)
    actions.hand_over(job)
    poller.look()
    long_ago(job)
    paper.forget(job)
    poller.look()
    assert (again(job).state, make.balance(row)[0]) == ("unknown", 600)
    poller.look()
    poller.look()
    assert (again(job).state, len(paper.live)) == ("queued", 1)


def test_a_job_handed_over_a_moment_ago_is_not_missed(paper):
    job = make.job(make.allocation())
    actions.hand_over(job)
    kept, paper.live = paper.live, {}
    poller.look()
    assert again(job).state == "submitted"
    paper.live = kept


def test_a_task_that_was_lost_is_done_by_the_poller(paper):
    job = make.job(make.allocation())
    poller.look()
    assert again(job).state == "accepted"
    long_ago(job)
    poller.look()
    poller.look()
    assert (again(job).state, paper.submissions) == ("queued", 1)


def test_canceling_a_running_job_is_told_until_it_has_ended(paper):
    row = make.allocation()
    job = make.job(row)
    actions.hand_over(job)
    paper.start(job)
    poller.look()
    actions.cancel(make.holder(row), job=again(job))
    actions.cancel(make.holder(row), job=job)
    assert again(job).state == "running"
    assert LogLine.objects.filter(kind="jobs.job", ref=job.pk, verb="cancel").count() == 1
    paper.fail = {"cancel"}
    with pytest.raises(Unavailable):
        actions.stop(job)
    poller.look()
    assert paper.canceled == [job.uuid]
    paper.end(job, seconds=7, outcome=Outcome.CANCELLED)
    poller.look()
    assert (again(job).outcome, make.balance(row)) == ("cancelled", (0, 7, TEN_HOURS - 7))


def test_a_job_canceled_while_the_engine_may_know_it_is_not_ended_by_us(paper):
    row = make.allocation()
    job = make.job(row)
    paper.fail = {"after submit"}
    with pytest.raises(Unavailable):
        actions.hand_over(job)
    actions.cancel(make.holder(row), job=again(job))
    assert (again(job).lives, make.balance(row)[0]) == (True, 600)
    poller.look()
    assert paper.canceled == [job.uuid]


def test_what_waits_on_a_paused_allocation_does_not_start(paper):
    row = make.allocation()
    job = make.job(row)
    actions.hand_over(job)
    poller.look()
    assert [limit.open for limit in paper.limits] == [True]
    row.state = "paused"
    row.save()
    poller.look()
    assert [(limit.budget, limit.open) for limit in paper.limits] == [(f"allocation-{row.pk}", False)]


def test_closing_an_allocation_asks_its_live_jobs_to_end(paper):
    row = make.allocation()
    waiting, told = make.job(row), make.job(row)
    actions.hand_over(told)
    assert actions.end_all(row, reason="closed") == 2
    assert [actions.end(told, reason="closed"), actions.end(waiting, reason="closed")] == [False, False]
    assert LogLine.objects.filter(kind="jobs.job", verb="cancel").count() == 2
    assert (again(waiting).outcome, again(told).cancel_asked_at is not None) == ("cancelled", True)
    assert make.balance(row)[0] == 600


STEPS = [
    "submit",
    "after submit",
    "lock",
    "told",
    "poll",
    "usage",
    "settle",
    "after settle",
    "run row",
    "end",
    "cursor",
]


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_no_job_is_forgotten_and_none_is_charged_twice(paper, step, monkeypatch):
    """Each step dies once, at the place that its name says; then everything is simply done again."""
    row = make.allocation()
    job = make.job(row)
    alive = {"dies": True}

    def once(function, *, after):
        def stand_in(*args, **kwargs):
            if not alive["dies"]:
                return function(*args, **kwargs)
            alive["dies"] = False
            if after:
                function(*args, **kwargs)
            raise Killed

        return stand_in

    paper.error = Killed
    if step in ("submit", "after submit", "poll", "usage"):
        paper.fail = {step}
    place = {
        "lock": (actions, "_lock", False),
        "told": (actions, "spec_of", False),
        "settle": (actions, "meter", False),
        "after settle": (actions, "meter", True),
        "run row": (Run.objects, "create", True),
        "end": (actions, "_after", False),
        "cursor": (actions, "record_usage", True),
    }.get(step)
    if place:
        owner, name, after = place
        monkeypatch.setattr(owner, name, once(getattr(owner, name), after=after))
    for _ in range(3):
        try:
            actions.hand_over(again(job))
        except Killed:
            continue
        poller.look()
    paper.end(job, seconds=33)
    for _ in range(3):
        poller.look()
    assert (paper.fail, alive["dies"] if place else False) == (set(), False)
    assert (again(job).state, job.outcome, job.used) == (JobState.ENDED, "completed", 33)
    assert make.balance(row) == (0, 33, TEN_HOURS - 33)
    assert (Run.objects.count(), len(paper.specs)) == (1, 1)
    nothing_is_wrong()


def test_a_row_that_cannot_be_recorded_keeps_no_other_from_it(paper, monkeypatch):
    row = make.allocation()
    jobs = [make.job(row) for _ in range(3)]
    for job in jobs:
        actions.hand_over(job)
        paper.end(job, seconds=10)
    record_of = actions.record_of

    def sick(job, *rest, **more):
        if job.pk == jobs[0].pk:
            raise Killed
        return record_of(job, *rest, **more)

    monkeypatch.setattr(actions, "record_of", sick)
    poller.look()
    assert (Run.objects.count(), Watch.objects.get().cursor) == (1, "")
    monkeypatch.undo()
    poller.look()
    assert (Run.objects.count(), make.balance(row)) == (3, (0, 30, TEN_HOURS - 30))


def test_a_hold_without_a_live_job_is_reported(paper):
    row = make.allocation()
    sink = ledger_actions.site_account(commodity=row.resource.commodity, role="consumed")
    hold = ledger_actions.hold(
        account=row.account, sink=sink, amount=60, source="jobs", key="nobody", until=None, actor=None, reason="test"
    )
    (holds, jobs) = queries.mismatches()
    assert ([entry.pk for entry in holds], jobs) == ([hold], [])


def test_what_an_engine_says_otherwise_later_is_reversed_and_booked_anew(paper):
    row = make.allocation()
    job = make.job(row)
    actions.hand_over(job)
    told = paper.end(job, seconds=60)
    actions.record_usage("paper", [told])
    less = replace(told, gpu_seconds=40, outcome=Outcome.FAILED, exit_code=5)
    for _twice in range(2):
        actions.record_usage("paper", [less])
    job.refresh_from_db()
    (run,) = queries.runs_of(job)
    assert (job.used, job.outcome, run.gpu_seconds, run.outcome) == (40, "failed", 40, "failed")
    assert make.balance(row)[2] == row.amount - 40
    booked = Entry.objects.filter(kind__in=["settle", "reverse", "charge"]).values_list("kind", "amount")
    assert sorted(booked) == [("charge", 40), ("reverse", 60), ("settle", 60)]
    assert verify() == []


def test_a_run_that_its_engine_starts_again_is_charged_and_the_next_one_has_a_hold_where_it_is_covered(paper):
    row = make.allocation(amount=700)
    job = make.job(row, limit_s=600)
    actions.hand_over(job)
    first = replace(paper.end(job, seconds=60, outcome=Outcome.PREEMPTED), goes_on=True)
    actions.record_usage("paper", [first])
    job.refresh_from_db()
    assert (job.lives, job.used, job.held, make.balance(row)) == (True, 60, 600, (600, 60, 40))
    nothing_is_wrong()
    second = replace(first, key=replace(first.key, restart=1))
    actions.record_usage("paper", [second])
    job.refresh_from_db()
    assert (job.lives, job.used, job.held, make.balance(row)) == (True, 120, 0, (0, 120, 580))
    nothing_is_wrong()  # it isn't covered any more, and has no hold
    last = replace(first, key=replace(first.key, restart=2), goes_on=False, outcome=Outcome.COMPLETED)
    actions.record_usage("paper", [last])
    job.refresh_from_db()
    assert (job.outcome, job.used, make.balance(row)) == ("completed", 180, (0, 180, 520))
    nothing_is_wrong()


def test_a_job_that_is_started_again_waits_in_the_queue_again_and_runs_again(paper):
    job = make.job(make.allocation(), requeue=True)
    actions.hand_over(job)
    assert paper.specs[job.uuid].requeue
    paper.start(job)
    poller.look()
    paper.again(job)
    for _look in range(2):
        poller.look()
    assert (again(job).state, job.waits, job.started_at, job.held) == ("queued", "BeginTime", None, 600)
    assert [line.verb for line in queries.history(job)].count("record_restart") == 1
    paper.live[RunKey(job.uuid, 0, 1, 1)] = replace(
        paper.live[RunKey(job.uuid, 0, 1, 1)], state=State.RUNNING, started_at=now()
    )
    poller.look()
    assert (again(job).state, job.started_at is not None) == ("running", True)
    nothing_is_wrong()


def test_a_run_that_starts_again_and_is_not_covered_is_held_back_until_it_is_and_its_holder_is_told(paper):
    row = make.allocation(amount=630)
    job = make.job(row, limit_s=600, requeue=True)
    actions.hand_over(job)
    paper.start(job)
    poller.look()
    paper.again(job, seconds=60)
    for _look in range(3):
        poller.look()
    assert (again(job).lives, job.held, paper.held_back) == (True, 0, {job.uuid})
    assert queries.held_back(job)
    (letter,) = letters.to(job.person, "잔여량")
    assert job.name in letter["text"]
    assert letters.to(make.holder(make.allocation())) == []
    pool = ledger_actions.site_account(commodity=row.resource.commodity, role="pool")
    ledger_actions.grant(
        pool=pool, account=row.account, amount=30, source="test", key="more", actor=None, reason="test"
    )
    for _look in range(3):
        poller.look()
    assert (again(job).held, paper.held_back, queries.held_back(job)) == (600, set(), False)
    assert make.balance(row) == (600, 60, 0)
    assert not Task.objects.filter(held_back=True).exists()
    paper.ended.append(
        replace(paper.ended[-1], key=RunKey(job.uuid, 0, 1, 1), goes_on=False, outcome=Outcome.COMPLETED)
    )
    paper.live.clear()
    poller.look()
    assert (again(job).outcome, job.used, make.balance(row)) == ("completed", 120, (0, 120, 540))
    nothing_is_wrong()


def test_of_a_job_of_many_tasks_those_are_held_back_that_are_not_covered_and_one_letter_tells_of_them(paper):
    row = make.allocation(amount=1830)
    job = make.job(row, tasks=3, requeue=True)
    actions.hand_over(job)
    for task in range(3):
        paper.again(job, seconds=60, task=task)
    for _look in range(2):
        poller.look()
    held = list(Task.objects.filter(job=job).order_by("number").values_list("held", "held_back"))
    assert (sum(amount for amount, _back in held), again(job).held) == (1200, 1200)
    assert sorted(held) == [(0, True), (600, False), (600, False)]
    waiting = {run.key.task for run in paper.live.values() if run.reason == HELD_BACK}
    assert waiting == {number for number, (_amount, back) in enumerate(held) if back}
    assert len(letters.to(job.person, "잔여량")) == 1
    assert [line.verb for line in queries.history(job)].count("cover") == 0  # nothing is said of what wasn't done
    nothing_is_wrong()


def test_what_was_held_back_is_let_go_also_where_a_poller_died_between_the_two(paper, monkeypatch):
    row = make.allocation(amount=630)
    job = make.job(row, limit_s=600, requeue=True)
    actions.hand_over(job)
    paper.again(job, seconds=60)
    for _look in range(2):
        poller.look()
    assert paper.held_back == {job.uuid}
    pool = ledger_actions.site_account(commodity=row.resource.commodity, role="pool")
    ledger_actions.grant(
        pool=pool, account=row.account, amount=30, source="test", key="more", actor=None, reason="test"
    )
    with monkeypatch.context() as died:
        died.setattr(paper, "let_go", lambda job, tasks: (_ for _ in ()).throw(Unavailable("test", "no answer")))
        poller.look()
    assert (again(job).held, paper.held_back) == (600, {job.uuid})
    for _look in range(2):
        poller.look()
    assert paper.held_back == set()


def test_a_job_that_is_canceled_while_it_is_held_back_ends_and_holds_nothing(paper):
    row = make.allocation(amount=630)
    job = make.job(row, limit_s=600, requeue=True)
    actions.hand_over(job)
    paper.again(job, seconds=60)
    for _look in range(2):
        poller.look()
    actions.cancel(make.holder(row), job=job)
    paper.ended.append(
        replace(
            paper.ended[-1],
            key=RunKey(job.uuid, 0, 1, 1),
            goes_on=False,
            outcome=Outcome.CANCELLED,
            started_at=None,
            gpu_seconds=0,
        )
    )
    paper.live.clear()
    for _look in range(2):
        poller.look()
    assert (again(job).outcome, job.used, make.balance(row)) == ("cancelled", 60, (0, 60, 570))
    assert not queries.held_back(job)
    nothing_is_wrong()


def test_what_a_node_lost_is_charged_and_given_back(paper):
    row = make.allocation()
    job = make.job(row)
    actions.hand_over(job)
    actions.record_usage("paper", [paper.end(job, seconds=60, outcome=Outcome.NODE_FAILED)])
    job.refresh_from_db()
    (run,) = queries.runs_of(job)
    assert (job.outcome, job.used, run.gpu_seconds, make.balance(row)[2]) == ("node_failed", 0, 60, row.amount)
    kinds = Entry.objects.filter(ext_key=run.key).order_by("id").values_list("kind", "amount")
    assert list(kinds) == [("settle", 60), ("refund", 60)]
    nothing_is_wrong()


@pytest.mark.parametrize("field", ["account", "budget", "posix_user"])
def test_an_engine_that_was_not_told_of_a_budget_yet_refuses_nothing(paper, field):
    job = make.job(make.allocation())
    paper.reject, paper.reject_field = "Invalid account", field
    with pytest.raises(Unavailable, match="doesn't know it yet"):
        actions.hand_over(job)
    assert again(job).state == JobState.ACCEPTED
    poller.look()  # it was told
    actions.hand_over(job)
    assert (again(job).outcome, job.why) == ("refused", "Invalid account")
    nothing_is_wrong()
