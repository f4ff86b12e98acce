"""A plan is made by those who plan, simulated as it stood, and read by the site's own people only."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client

from madang.facilities.compute.tests import make as compute_make
from madang.identity.tests import make as people
from madang.jobs.models import Job, Run
from madang.planning import actions, calibration, tasks
from madang.planning.models import Plan, PlanRun
from madang.planning.spec import again, kept, wanted
from madang.planning.tests import make
from madang.programs.tests import make as programs
from madang.workflow.errors import NotAllowed, Refused, Stale
from madang.workflow.models import LogLine
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db


def form(**changed):
    return {
        "name": "두 배",
        "starts_on": "2027-01-01",
        "gpus": "32",
        "quarters": "2",
        "promise_minutes": "60",
        "policy": "easy",
        "seeds": "1",
        "on_1": "2027-04-15",
        "gpus_1": "32",
        "likely_1": "30",
        "latest_1": "200",
        "name_1": "기업 지원",
        "shape_1": "helios",
        "hours_1": "400",
        "growth_1": "50",
        **changed,
    }


def client_of(person) -> Client:
    client = Client()
    client.force_login(person)
    return client


def test_an_executive_makes_a_plan_and_sees_its_answer():
    client = client_of(people.executive())
    saved = client.post("/plans/new/", form())
    plan = Plan.objects.get()
    assert (saved.status_code, saved["Location"]) == (302, f"/plans/{plan.pk}/")
    assert (plan.stages, plan.programs) == (make.facts()["stages"], make.facts()["programs"])
    waiting = client.get(saved["Location"]).content.decode()
    assert "<progress" in waiting
    run = plan.runs.get()
    assert client.get(f"/plans/{plan.pk}/state/").headers.get("HX-Refresh") is None
    make.answer(run)
    assert client.get(f"/plans/{plan.pk}/state/")["HX-Refresh"] == "true"
    page = client.get(saved["Location"]).content.decode()
    assert "<progress" not in page
    assert 'data-chart="waits-chart"' in page
    assert "기업 지원" in page
    rows = list(csv.DictReader(client.get(f"/plans/{plan.pk}/download.csv").content.decode("utf-8-sig").splitlines()))
    assert [(row["quarter"], row["stages"]) for row in rows] == [
        ("2027-01-01", "planned"),
        ("2027-01-01", "slipped"),
        ("2027-04-02", "planned"),
        ("2027-04-02", "slipped"),
    ]
    assert rows[0]["gpus"] == "32.0"
    assert float(rows[0]["utilization"]) > 0.3


def test_a_changed_stage_changes_the_answer_and_the_old_one_says_that_it_is_old():
    boss = people.executive()
    plan = make.simulated(boss, stages=[])
    client = client_of(boss)
    assert "바뀌기 전" not in client.get(f"/plans/{plan.pk}/").content.decode()
    client.post(f"/plans/{plan.pk}/edit/", form(on_1="2027-02-01", gpus_1="64"))
    assert "바뀌기 전" in client.get(f"/plans/{plan.pk}/").content.decode()
    first, second = plan.runs.order_by("id")
    make.answer(second)
    waits = [
        run.result["quarters"][1]["planned"]["wait"]["mean"][0] for run in (first, PlanRun.objects.get(pk=second.pk))
    ]
    assert waits[1] < waits[0]
    assert "바뀌기 전" not in client.get(f"/plans/{plan.pk}/").content.decode()


def test_plans_are_compared_side_by_side_with_three_at_most():
    boss = people.executive()
    plans = [make.simulated(boss, name=f"계획 {number}", gpus=32 + number) for number in range(5)]
    chosen = "&".join(f"with={plan.pk}" for plan in plans)
    page = client_of(boss).get(f"/plans/{plans[0].pk}/?{chosen}&with=999999&with=x").content.decode()
    table = page[page.index("계획 비교") :]
    assert [f">{plan.name}</a>" in table for plan in plans] == [False, True, True, True, False]


@pytest.mark.parametrize("role", ["person", "reviewer", "steward"])
def test_who_does_not_work_for_the_whole_site_sees_no_plan(role):
    plan = make.simulated(people.executive(), name="비밀 계획")
    client = client_of(getattr(people, role)())
    for path in ("", f"{plan.pk}/", f"{plan.pk}/download.csv", f"{plan.pk}/state/"):
        answer = client.get(f"/plans/{path}")
        assert answer.status_code == 404
        assert "비밀 계획" not in answer.content.decode()
    assert client.get(f"/plans/{plan.pk}/edit/").status_code == 404
    assert client.get("/plans/new/").status_code == 403


def test_auditors_read_plans_and_change_none():
    plan = make.simulated(people.executive())
    client = client_of(people.auditor())
    page = client.get(f"/plans/{plan.pk}/")
    assert page.status_code == 200
    assert f"/plans/{plan.pk}/simulate/" not in page.content.decode()
    for path in ("edit", "simulate", "stop"):
        assert client.post(f"/plans/{plan.pk}/{path}/", form(name="neu")).status_code in (302, 403)
    assert Plan.objects.get().name == "두 배"
    assert plan.runs.count() == 1
    with pytest.raises(NotAllowed):
        actions.save(people.auditor(), **make.facts())


POWERED = {
    "idle_w": "100", "busy_w": "800", "pue_percent": "130", "g_per_kwh": "417", "krw_per_kwh": "150",
    "power_source": "x",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "at"),
    [
        ({"on_1": ""}, "on_1"),
        ({"gpus_1": ""}, "gpus_1"),
        ({"gpus_1": "0"}, "gpus_1"),
        ({"on_1": "2026-12-31"}, "on_1"),
        ({"on_2": "2027-04-15", "gpus_2": "1"}, "on_1"),
        ({"latest_1": "10"}, "latest_1"),
        ({"name_1": "", "hours_1": ""}, "name_1"),
        ({"hours_1": ""}, "hours_1"),
        ({"name_1": ""}, "name_1"),
        ({"shape_1": "venus"}, "shape_1"),
        ({"cost_krw": "1"}, "cost_krw"),
        ({"cost_krw": "1", "years_of_use": "5", "running_krw": "1"}, "source"),
        ({"idle_w": "100"}, "busy_w"),
        ({**POWERED, "power_source": ""}, "power_source"),
        ({**POWERED, "busy_w": "99"}, "busy_w"),
        ({**POWERED, "pue_percent": "99"}, "pue_percent"),
        ({"name_2": "기업 지원", "hours_2": "5"}, "name_2"),
        ({"quarters": "61"}, "quarters"),
        ({"gpus": "1,5"}, "gpus"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said_at_its_field_and_nothing_is_kept(changed, at):
    answer = client_of(people.executive()).post("/plans/new/", form(**changed))
    assert answer.status_code == 422
    assert at in answer.context["form"].errors
    assert not Plan.objects.exists()
    assert not PlanRun.objects.exists()


def test_a_plan_with_all_prices_says_what_a_used_hour_costs_and_from_where():
    boss = people.executive()
    stage = {**make.facts()["stages"][0], "cost_krw": 10**9}
    prices = {"cost_krw": 10**9, "years_of_use": 5, "running_krw": 10**6, "source": "입찰 결과, 2026-11"}
    plan = make.simulated(boss, quarters=4, stages=[stage], **prices)
    page = client_of(boss).get(f"/plans/{plan.pk}/").content.decode()
    assert "입찰 결과, 2026-11" in page
    (year,) = plan.runs.get().result["cost"]
    assert f"{year['krw_per_used_hour']:,}" in page
    for missing in ({"source": ""}, {"cost_krw": None}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Plan.objects.filter(pk=plan.pk).update(**missing)


def test_a_plan_with_figures_of_power_says_its_energy_and_carbon_and_from_where():
    boss = people.executive()
    figures = {name: int(value) for name, value in POWERED.items() if name != "power_source"}
    plan = make.simulated(boss, quarters=4, power_source="설비 명세서, 2026-11", **figures)
    page = client_of(boss).get(f"/plans/{plan.pk}/").content.decode()
    assert "설비 명세서, 2026-11" in page
    (year,) = plan.runs.get().result["energy"]
    assert f"{year['t_co2']:,.0f}" in page
    with pytest.raises(IntegrityError), transaction.atomic():
        Plan.objects.filter(pk=plan.pk).update(power_source="")
    with pytest.raises(IntegrityError):
        Plan.objects.filter(pk=plan.pk).update(idle_w=None)


def test_a_run_that_waits_for_its_turn_is_not_taken_for_dead():
    boss = people.executive()
    run = actions.simulate(boss, plan=make.plan(boss))
    PlanRun.objects.update(told_at=now() - timedelta(hours=6))
    actions.sweep()
    assert actions.begin(run)


def test_asking_twice_simulates_once_and_stopping_frees_the_plan():
    boss = people.executive()
    plan = make.plan(boss)
    run = actions.simulate(boss, plan=plan)
    assert actions.simulate(boss, plan=plan) == run
    assert actions.begin(run)
    assert not actions.begin(run)
    assert actions.progress(run, 1)
    actions.stop(boss, run=run)
    assert not actions.progress(run, 2)
    with pytest.raises(Stale):
        actions.finish(run, {})
    assert actions.simulate(boss, plan=plan) != run
    assert [line.verb for line in LogLine.objects.filter(kind="planning.plan").order_by("id")] == [
        "make",
        "simulate",
        "stop",
        "simulate",
    ]


def test_a_run_whose_worker_died_fails_and_can_be_asked_for_again():
    boss = people.executive()
    plan = make.plan(boss)
    run = actions.simulate(boss, plan=plan)
    actions.begin(run)
    actions.sweep()
    assert PlanRun.objects.get().state == "running"
    PlanRun.objects.update(told_at=now() - timedelta(minutes=6))
    actions.sweep()
    failed = PlanRun.objects.get()
    assert (failed.state, bool(failed.problem), bool(failed.ended_at)) == ("failed", True, True)
    assert "다시 모의해" in client_of(boss).get(f"/plans/{plan.pk}/").content.decode()
    assert actions.simulate(boss, plan=plan) != run


@pytest.mark.django_db(transaction=True)
def test_the_task_computes_in_other_processes_and_keeps_the_same_answer():
    boss = people.executive()
    run = actions.simulate(boss, plan=make.plan(boss))
    tasks.simulate(run.pk)
    done = PlanRun.objects.get(pk=run.pk)
    assert (done.state, done.done, done.total) == ("done", 2, 2)
    again_run = actions.simulate(boss, plan=done.plan)
    make.answer(again_run)
    assert PlanRun.objects.get(pk=again_run.pk).result == done.result
    tasks.simulate(run.pk)  # a second time, as a queue may: nothing happens
    assert connection.in_atomic_block is False


def test_what_a_run_was_asked_survives_the_database():
    plan = make.plan(people.executive(), cost_krw=1, years_of_use=3, running_krw=2, source="x")
    facts = {field.name: getattr(plan, field.name) for field in Plan._meta.concrete_fields}
    run = actions.simulate(plan.made_by, plan=plan)
    assert again(PlanRun.objects.get(pk=run.pk).asked) == wanted(facts)
    assert kept(wanted(facts))["gpus"] == 32


def test_a_stage_before_the_plan_is_refused_by_the_verb_too():
    with pytest.raises(Refused) as told:
        make.plan(people.executive(), stages=[{**make.facts()["stages"][0], "on": "2026-01-01"}])
    assert "on_1" in told.value.errors


def test_what_jobs_waited_stands_beside_what_the_twin_has_them_wait():
    where = compute_make.partition(gpus=4, most_gpus=4)
    row = compute_make.allocation(where)
    begin = datetime(2026, 10, 5, 3, tzinfo=UTC)
    for number, waited in enumerate((0, 500, 900)):
        job = compute_make.job(row, gpus=4, limit_s=600, name=f"비밀 작업 {number}")
        submitted = begin + timedelta(seconds=number * 100)
        Job.objects.filter(pk=job.pk).update(submitted_at=submitted)
        start = submitted + timedelta(seconds=waited)
        Run.objects.create(
            job=job, key=f"calibrated-{number}", attempt=1, outcome="completed", started_at=start,
            ended_at=start + timedelta(seconds=300), gpu_seconds=1200,
        )  # fmt: skip
    boss = people.executive()
    found = calibration.calibrate(where)
    (october,) = found.months
    assert (october.month, october.jobs, found.policy) == ("2026-10", 3, "fcfs")
    assert (october.recorded.mean, october.simulated.mean) == ((0 + 500 + 900) / 3, (0 + 200 + 400) / 3)
    assert october.ratio == pytest.approx(1400 / 600)
    page = client_of(boss).get(f"/plans/calibration/?partition={where.pk}").content.decode()
    assert "2026-10" in page
    assert "비밀 작업" not in page
    assert client_of(people.person()).get("/plans/calibration/").status_code == 404
    decider = client_of(people.officer("program", programs.program().pk))
    assert decider.get("/plans/calibration/").status_code == 200  # the decision of a call points there
    assert decider.get("/plans/").status_code == 404
    assert client_of(boss).get("/plans/calibration/?partition=nonsense").status_code == 200


def test_a_site_without_runs_says_that_there_is_nothing_to_compare():
    assert "아직 비교할" in client_of(people.executive()).get("/plans/calibration/").content.decode()
