"""Side by side: the figures are those of each alone, and a difference is taken pair by pair."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from statistics import fmean

import pytest

pytest.importorskip("numba")

from madang.twin import BadInput, Machine, Trace, from_columns, measure, simulate
from madang.twin.compare import Figure, Value, plans, policies
from madang.twin.demand import like
from madang.twin.plan import Money, Plan, Power, Stage, by_year, run
from madang.twin.sure import Band, band, shaken

START = date(2027, 1, 1)
PLAN = Plan(
    gpus=64,
    stages=(Stage(91, 64, (0, 100, 400), 64_000_000),),
    programs=(like("start-ups", "helios", 900, growth=0.5),),
    quarters=4,
    seeds=3,
    cost_krw=64_000_000,
    money=Money(5, 100_000),
    power=Power(100, 700, 130, 400, 150),
)
MORE = replace(PLAN, stages=(Stage(91, 256, (0, 100, 400), 256_000_000),))


def by_name(figures: tuple[Figure, ...]) -> dict[str, Figure]:
    return {its.name: its for its in figures}


@pytest.fixture(scope="module")
def compared():
    return plans([("as is", PLAN, START), ("more", MORE, START), ("again", PLAN, START)])


def test_the_figures_of_a_plan_are_those_that_it_has_alone(compared):
    figures = by_name(compared.figures)
    for place, plan in enumerate((PLAN, MORE)):
        alone = run(plan)
        quarters = [quarter["planned"] for quarter in alone["quarters"]]
        waits = fmean(quarter["wait"]["mean"][0] for quarter in quarters)
        assert figures["mean wait"].values[place].value == pytest.approx(waits, rel=1e-4)
        assert compared.needed[place] == alone["needed"]
        (_year, there, busy) = next(by_year(alone["quarters"]))
        assert figures["utilization"].values[place].value == pytest.approx(busy / there, rel=1e-3)
        (cost,), (energy,) = alone["cost"], alone["energy"]
        assert figures["cost of a used GPU-hour"].values[place].value == pytest.approx(
            cost["krw_per_used_hour"], rel=0.01
        )
        assert figures["energy a year"].values[place].value == pytest.approx(energy["kwh"], rel=1e-3)
        assert figures["carbon dioxide a year"].values[place].value == pytest.approx(energy["t_co2"], rel=1e-2)
        slipped = fmean(quarter["slipped"]["wait"]["p95"][0] for quarter in alone["quarters"])
        assert figures["p95 wait with delays"].values[place].value == pytest.approx(slipped, rel=1e-4)


def test_a_difference_is_that_of_pairs_and_what_is_the_same_differs_in_nothing(compared):
    for its in compared.figures:
        more, again = its.differences
        assert (again.value, again.beyond_chance) == (0, False)
        assert more.value == pytest.approx(its.values[1].value - its.values[0].value)
    figures = by_name(compared.figures)
    assert figures["utilization"].differences[0].beyond_chance is True
    assert figures["cost of a used GPU-hour"].differences[0].value > 0
    (its,) = figures["mean wait"].differences[0].bands
    seeds = [run(replace(plan, seeds=3))["quarters"] for plan in (PLAN, MORE)]
    assert its.low <= fmean(
        there["planned"]["wait"]["mean"][0] - here["planned"]["wait"]["mean"][0]
        for here, there in zip(*seeds, strict=True)
    ) <= its.high  # fmt: skip
    assert its.runs == 3


def test_plans_are_the_same_on_two_processes_and_the_bands_of_differences_are_narrower(compared):
    two = plans([("as is", PLAN, START), ("more", MORE, START), ("again", PLAN, START)], processes=2)
    assert two == compared
    utilization = by_name(compared.figures)["utilization"]
    (own,), (paired,) = utilization.values[0].bands, utilization.differences[0].bands
    assert paired.high - paired.low < own.high - own.low


def test_what_is_not_known_of_a_plan_is_absent_and_never_invented():
    bare = replace(PLAN, money=None, power=None, quarters=1, seeds=2)
    priced = replace(PLAN, quarters=1, seeds=2)
    assert "cost of a used GPU-hour" not in by_name(plans([("a", bare, START), ("b", priced, START)]).figures)
    year = replace(PLAN, seeds=1, stages=())
    its = by_name(plans([("a", replace(year, power=None), START), ("b", year, START)]).figures)["energy a year"]
    assert (its.values[0], its.differences) == (None, (None,))
    assert its.values[1].bands == ()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (("b", replace(PLAN, seeds=2), START), "same days and seeds: seeds is 3 in a and 2 in b"),
        (("b", replace(PLAN, quarters=2), START), "quarters is 4 in a and 2 in b"),
        (("b", PLAN, date(2028, 1, 1)), "start is 2027-01-01 in a and 2028-01-01 in b"),
    ],
)
def test_plans_of_other_days_or_seeds_are_not_compared(other, said):
    with pytest.raises(BadInput, match=said):
        plans([("a", PLAN, START), other])


def crowd(weeks: int = 8, gpus: int = 8, seed: int = 1) -> Trace:
    draw = random.Random(seed)
    submit = sorted(draw.randrange(weeks * 7 * 86_400) for _ in range(weeks * 250))
    run = [draw.randint(60, 40_000) for _ in submit]
    limit = [its + draw.choice((0, 600, 86_400)) for its in run]
    return from_columns(submit=submit, run=run, gpus=[draw.randint(1, gpus) for _ in submit], limit=limit)


def test_policies_have_the_figures_of_each_alone_and_the_bands_of_pairs():
    trace, machine, names = crowd(), Machine(8), ("easy", "fcfs")
    figures = by_name(policies(trace, machine, names, runs=4))
    alone = [measure(trace, simulate(trace, machine, name).starts, 8) for name in names]
    for name, of in (
        ("mean wait", [its.wait.mean for its in alone]),
        ("p95 wait", [its.wait.p95 for its in alone]),
        ("bounded slowdown", [its.bounded_slowdown for its in alone]),
        ("utilization", [its.utilization for its in alone]),
    ):
        assert [its.value for its in figures[name].values] == of
        assert figures[name].differences[0].value == of[1] - of[0]
    shakes = [
        [measure(other, simulate(other, machine, name).starts, 8).wait.mean for name in names]
        for other in shaken(trace, 4)
    ]
    by_shakes, by_weeks = figures["mean wait"].differences[0].bands
    apart = [fcfs - easy for easy, fcfs in shakes]
    assert (by_shakes.low, by_shakes.high) == (min(apart), max(apart))
    assert by_weeks.low < figures["mean wait"].differences[0].value < by_weeks.high
    assert by_weeks.of == "weeks drawn anew"
    assert figures["mean wait"].differences[0].beyond_chance is True


def test_policies_that_do_the_same_differ_in_nothing_and_without_bands_nobody_knows():
    alone = from_columns(submit=[0, 5, 9], run=[10, 10, 10], gpus=[1, 1, 1])
    for its in policies(alone, Machine(1), ("fcfs", "easy"), runs=3):
        assert (its.differences[0].value, its.differences[0].beyond_chance) == (0, False)
    bare = by_name(policies(alone, Machine(1), ("fcfs", "sjf"), runs=0))
    assert bare["mean wait"].differences[0].beyond_chance is None


def test_a_difference_is_beyond_chance_only_where_every_band_says_so():
    up, across = band([1.0, 2.0], "a", 1.0), Band("b", 0.5, -1.0, 2.0, 9)
    assert [Value(1, bands).beyond_chance for bands in ((up,), (across,), (up, across), ())] == [
        True,
        False,
        False,
        None,
    ]
    assert Value(0, (band([0.0, 1.0], "a", 1.0),)).beyond_chance is False


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("easy",), "2 to 4 are compared, and not 1"),
        (("easy", "fcfs", "sjf", "conservative", "easy"), "2 to 4 are compared, and not 5"),
        (("easy", "easy"), "each policy once"),
        (("easy", "luck"), "and not 'luck'"),
        (("easy", "fairshare"), "and not 'fairshare'"),
    ],
)
def test_policies_that_can_not_be_compared_are_said(names, said):
    with pytest.raises(BadInput, match=said):
        policies(from_columns(submit=[0], run=[1], gpus=[1]), Machine(1), names)
