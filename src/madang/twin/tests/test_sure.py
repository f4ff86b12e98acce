"""Bands that hold what they say, and demand that is what its model says."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from madang.twin import BadInput, Machine, from_columns
from madang.twin.sure import WEEK_S, band, by_weeks, mean_waits, shaken


def test_the_band_by_weeks_holds_a_known_mean_in_nine_cases_of_ten():
    draw = random.Random(7)
    held = 0
    for trial in range(200):
        submit, wait = [], []
        for week in range(40):
            level = draw.expovariate(1 / 100)  # jobs of one week share it: they aren't independent
            for _ in range(5):
                submit.append(week * WEEK_S)
                wait.append(round(level + draw.expovariate(1 / 10)))
        made = by_weeks(wait, submit, draws=400, seed=trial)
        assert made is not None
        held += made.low <= 110 <= made.high
    assert 180 <= held <= 198


def test_three_weeks_say_nothing_and_the_same_seed_says_the_same():
    assert by_weeks([1, 2, 3], [0, WEEK_S, 2 * WEEK_S]) is None
    values = [1, 5, 9, 2], [0, WEEK_S, 2 * WEEK_S, 3 * WEEK_S]
    assert by_weeks(*values, seed=3) == by_weeks(*values, seed=3)


def test_shaken_submits_are_the_same_jobs_a_little_later_and_their_waits_spread():
    trace = from_columns(submit=[0, 0, 50, 600], run=[90, 40, 40, 5], gpus=[2, 1, 2, 1])
    made = list(shaken(trace, 30))
    assert all(sorted(one.row) == [0, 1, 2, 3] for one in made)
    assert all(earlier <= later for one in made for earlier, later in pairwise(one.submit))
    moved = {one.offset + at - trace.submit[row] for one in made for at, row in zip(one.submit, one.row, strict=True)}
    assert min(moved) >= 0
    assert max(moved) < 60
    waits = mean_waits(made, Machine(2), "easy")
    spread = band(waits, "shaken submits")
    assert spread.low < spread.mean < spread.high
    assert waits == mean_waits(shaken(trace, 30), Machine(2), "easy")


def test_made_up_demand_offers_what_its_model_says_and_grows():
    pytest.importorskip("numpy")
    from madang.twin.demand import SHAPES, generate, like

    for shape in SHAPES:
        program = like("a", shape, gpu_hours_a_day=60_000)
        made = generate([program], days=28, seed=4)
        offered = int((made.run * made.gpus).sum()) / 3600 / 28
        assert offered == pytest.approx(60_000, rel=0.15), shape
        assert (made.limit >= made.run).all()
        assert (made.submit[1:] >= made.submit[:-1]).all()
    growing = like("a", "seren", 5_000, growth=1.0)
    first, later = (len(generate([growing], days=28, seed=4, first_day=day)) for day in (0, 364))
    assert later / first == pytest.approx(2, rel=0.05)


def test_made_up_demand_is_the_same_for_the_same_seed_and_another_for_another():
    pytest.importorskip("numpy")
    from madang.twin.demand import generate, like

    programs = [like("a", "philly", 2_000), like("b", "kalos", 2_000)]
    one, two, other = (generate(programs, days=7, seed=seed) for seed in (1, 1, 2))
    assert (one.submit == two.submit).all()
    assert (one.limit == two.limit).all()
    assert len(one) != len(other) or (one.submit != other.submit).any()
    assert set(one.trace().more["program"]) == {"a", "b"}
    assert generate(programs, days=7, seed=1, largest=8).gpus.max() == 8


def test_demand_that_can_not_be_is_said():
    pytest.importorskip("numpy")
    from madang.twin.demand import generate, like

    with pytest.raises(BadInput, match="no shape is called 'venus': philly, helios, seren, kalos"):
        like("a", "venus", 1)
    with pytest.raises(BadInput, match="a: GPU-hours a day are at least 0"):
        like("a", "seren", -1)
    with pytest.raises(BadInput, match="nobody asks for anything"):
        generate([like("a", "seren", 0)], days=7, seed=1)
    with pytest.raises(BadInput, match=r"GB are free: take a sample"):
        generate([like("a", "seren", 1e12)], days=365, seed=1)
