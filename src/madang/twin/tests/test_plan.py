"""What a plan buys: the same for one seed however it is run; slips only delay; no price is invented."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("numba")

from madang.twin import BadInput
from madang.twin.demand import like
from madang.twin.plan import Money, Plan, Power, Stage, Stopped, merge, point, points, run
from madang.twin.world import Failures, Patience

PLAN = Plan(
    gpus=64,
    stages=(Stage(91, 64, (0, 100, 400)), Stage(300, 128, (0, 100, 400))),
    programs=(like("start-ups", "helios", 900, growth=0.5), like("research", "seren", 300)),
    quarters=4,
    seeds=2,
)


@pytest.fixture(scope="module")
def answer():
    return run(PLAN)


def test_a_plan_is_the_same_again_and_on_two_processes(answer):
    assert run(PLAN, processes=2) == answer
    made = [point(PLAN, quarter, seed) for quarter, seed in reversed(points(PLAN))]
    assert merge(PLAN, sorted(made, key=lambda one: (one["quarter"], one["seed"]))) == answer


def test_a_stage_brings_the_wait_down_and_a_slip_keeps_it_up(answer):
    before, after = (answer["quarters"][quarter] for quarter in (0, 1))
    assert before["planned"]["gpus"][0] == 64
    assert after["planned"]["gpus"][0] == 128
    assert after["planned"]["wait"]["mean"][0] < before["planned"]["wait"]["mean"][0]
    assert after["planned"]["utilization"][0] < before["planned"]["utilization"][0]
    assert after["slipped"]["gpus"][0] <= after["planned"]["gpus"][0]
    assert before["planned"]["load"][0] == pytest.approx(1200 / (64 * 24), rel=0.001)
    assert set(before["planned"]["by_program"]) == {"start-ups", "research"}
    assert before["planned"]["by_size"]["513+"] is None


def test_the_quarter_in_which_the_promise_breaks_is_named(answer):
    kept = [quarter["planned"]["wait"]["p95"][2] <= PLAN.promise_s for quarter in answer["quarters"]]
    first = answer["needed"]["planned"]["earliest"]
    assert first == (None if all(kept) else kept.index(False))
    generous = run(replace(PLAN, promise_s=10**9, quarters=1))
    assert generous["needed"]["planned"] == {"likely": None, "earliest": None, "latest": None}


def test_slips_are_drawn_by_the_seed_and_no_stage_overtakes_an_earlier_one():
    for seed in range(200):
        days = PLAN.slips(seed)
        assert days == PLAN.slips(seed)
        assert days == sorted(days)
        assert all(
            stage.day <= day <= stage.day + 400 for stage, day in zip(PLAN.stages, days, strict=True) if day != days[0]
        )
    assert len({tuple(PLAN.slips(seed)) for seed in range(20)}) > 10


def test_without_every_price_there_is_no_cost_and_with_them_it_adds_up(answer):
    assert answer["cost"] == []
    priced = replace(
        PLAN,
        cost_krw=64_000_000,
        stages=tuple(replace(stage, cost_krw=stage.gpus * 1_000_000) for stage in PLAN.stages),
        money=Money(years_of_use=5, running_krw=100_000),
    )
    (year,) = merge(priced, [point(priced, *one) for one in points(priced)])["cost"]
    worn = 64e6 / 5 + 64e6 / 5 * (365 - 91) / 365 + 128e6 / 5 * (365 - 300) / 365
    gpu_years = (64 + 128 + 128 + 128) / 4
    assert year["krw"] == round(worn + gpu_years * 100_000)
    assert year["krw_per_used_hour"] > year["krw_per_offered_hour"] > 0


def test_a_run_can_be_stopped_and_says_how_far_it_is():
    said = []

    def told(done: int, total: int) -> bool:
        said.append((done, total))
        return done < 3

    with pytest.raises(Stopped):
        run(PLAN, told=told)
    assert said == [(1, 8), (2, 8), (3, 8)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gpus": 0}, "a plan has 1 to 100,000,000 GPUs, 1 to 60 quarters and 1 to 50 seeds"),
        ({"stages": (Stage(9, 1), Stage(9, 1))}, "stages come in the order of their days, no two on one day"),
        (
            {"stages": (Stage(9, 1, (5, 2, 9)),)},
            "a stage has at least 1 GPU, and slips by least, most likely and most days, none below 0",
        ),
        (
            {"stages": (Stage(9, 1, (-9, -5, 0)),)},
            "a stage has at least 1 GPU, and slips by least, most likely and most days, none below 0",
        ),
        ({"policy": "conservative"}, "a plan is simulated under fcfs, sjf or easy, and not 'conservative'"),
        ({"programs": PLAN.programs * 2}, "two of those who ask are called 'start-ups'"),
    ],
)
def test_a_plan_that_can_not_be_is_said(change, said):
    with pytest.raises(BadInput) as told:
        replace(PLAN, **change)
    assert str(told.value) == said


def asked_of(gpus: int, shape: str, load: float) -> dict:
    """The answer for a quarter of a machine that is asked for so much of what it has."""
    demand = (like("all", shape, gpus * 24 * load),)
    return run(Plan(gpus, (), demand, quarters=1, seeds=2))


def test_a_quarter_is_as_full_as_it_would_be_had_it_begun_long_ago():
    """Runs of up to 30 days would need a month to fill an empty machine."""
    planned = asked_of(2000, "philly", 0.8)["quarters"][0]["planned"]
    assert planned["utilization"][0] == pytest.approx(0.8, abs=0.03)


def test_where_more_is_asked_for_than_there_is_the_promise_is_broken_however_long_the_sample():
    assert asked_of(2000, "philly", 1.02)["needed"]["planned"]["likely"] == 0


def test_jobs_larger_than_the_machine_are_left_out_of_the_load_and_that_is_said():
    planned = asked_of(60, "kalos", 0.97)["quarters"][0]["planned"]
    assert planned["load"][0] == pytest.approx(0.97 * (1 - planned["left_out"][0]), rel=0.001)
    assert planned["left_out"][0] == pytest.approx(0.745, abs=0.001)
    assert planned["utilization"][0] == pytest.approx(planned["load"][0], abs=0.05)


@pytest.mark.parametrize("wrong", [(0, 5), (5, -1)])
def test_prices_that_can_not_be_are_refused(wrong):
    with pytest.raises(BadInput):
        Money(*wrong)


def test_energy_is_what_idle_and_busy_gpus_take_times_the_building(answer):
    assert answer["energy"] == []
    power = Power(idle_w=100, busy_w=700, pue_percent=130, g_per_kwh=400, krw_per_kwh=150)
    (year,) = run(replace(PLAN, power=power, stages=(), seeds=1))["energy"]
    quarters = run(replace(PLAN, stages=(), seeds=1))["quarters"]
    busy = 64 * sum(quarter["planned"]["utilization"][0] for quarter in quarters) / 4
    kwh = (64 * 100 + busy * 600) * 8760 * 1.3 / 1000
    assert year["kwh"] == pytest.approx(kwh, rel=1e-6)
    assert year["t_co2"] == pytest.approx(kwh * 0.4 / 1000, abs=0.1)
    assert year["krw"] == pytest.approx(kwh * 150, rel=1e-6)
    assert year["kwh_per_used_hour"] == pytest.approx(kwh / busy / 8760, abs=0.001)


@pytest.mark.parametrize("wrong", [(200, 100, 130, 1, 1), (1, 2, 99, 1, 1), (1, 2, 100, -1, 1)])
def test_power_that_can_not_be_is_refused(wrong):
    with pytest.raises(BadInput):
        Power(*wrong)


BEFALLEN = replace(
    PLAN,
    gpus=32,
    stages=(Stage(91, 8, (0, 100, 400)),),
    programs=(like("start-ups", "helios", 500),),
    quarters=2,
    failures=Failures(200, 4, 0.5, "test"),
    patience=Patience(6, 1, 0.3, 2, "test"),
    checkpoint_s=3600,
    restart_s=60,
)


def test_a_plan_with_slips_failures_and_people_who_give_up_is_the_same_again_and_on_two_processes():
    answer = run(BEFALLEN)
    assert run(BEFALLEN, processes=2) == answer
    first = answer["quarters"][0]["planned"]
    assert first["stops"][0] > 0
    assert 0 < first["gave_up"][0] < 0.5
    assert first["wait"]["p95"][0] < run(replace(BEFALLEN, patience=None))["quarters"][0]["planned"]["wait"]["p95"][0]


def test_where_nothing_fails_and_nobody_gives_up_nodes_are_much_like_a_pool():
    bare = replace(BEFALLEN, quarters=1, patience=None, failures=None)
    never = replace(bare, failures=Failures(1e9, 1, 0, "test"))
    one, other = (run(plan)["quarters"][0]["planned"] for plan in (never, bare))
    assert one["utilization"][0] == pytest.approx(other["utilization"][0], abs=0.05)
    assert one["stops"][0] == 0


@pytest.mark.parametrize("change", [{"policy": "sjf"}, {"gpus": 4, "stages": ()}])
def test_what_can_not_be_simulated_with_failures_is_said(change):
    with pytest.raises(BadInput, match="with failures or patience"):
        replace(BEFALLEN, **change)


def test_more_jobs_than_the_plain_loop_can_are_said_and_not_begun():
    large = replace(BEFALLEN, gpus=8000, programs=(like("all", "seren", 8000 * 20),))
    with pytest.raises(BadInput, match="with failures or patience, at most"):
        run(large)
