"""A plan as a file, and what is wrong with one."""

from __future__ import annotations

from datetime import date

import pytest

from madang.twin import BadInput
from madang.twin.plan import Money, Stage
from madang.twin.planfile import begins, read_plan

PLAN = """
start = 2027-01-01
gpus = 64
quarters = 3
seeds = 2
cost_krw = 1

[[stage]]
date = 2027-07-01
nodes = 8
slip_days = [0, 60, 365]
cost_krw = 2

[[demand]]
name = "start-ups"
shape = "helios"
gpu_hours_a_day = 900
growth = 0.5

[money]
years_of_use = 5
running_krw = 3
source = "a tender, 2026-11"

[power]
idle_w = 100
busy_w = 800
pue_percent = 130
g_per_kwh = 417
krw_per_kwh = 150
source = "a data sheet, 2026-11"
"""


def write(tmp_path, text):
    path = tmp_path / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_plan_is_read(tmp_path):
    plan, start = read_plan(write(tmp_path, PLAN))
    assert (start, begins(start, 1)) == (date(2027, 1, 1), date(2027, 4, 2))
    assert plan.stages == (Stage(181, 64, (0, 60, 365), 2),)
    assert (plan.gpus, plan.quarters, plan.seeds, plan.promise_s, plan.policy) == (64, 3, 2, 3600, "easy")
    assert (plan.programs[0].name, plan.programs[0].gpu_hours_a_day, plan.programs[0].growth) == ("start-ups", 900, 0.5)
    assert plan.money == Money(5, 3)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("gpus = 64", "gpus = 6.5", "the plan: gpus is a whole number of at least 0"),
        ("gpus = 64", "gpus = 0", "a plan has 1 to 100,000,000 GPUs, 1 to 60 quarters and 1 to 50 seeds"),
        ("gpus = 64", "gpu = 64", "the plan: 'gpu' is none of checkpoint_seconds, cost_krw, demand, failures, gpus,"
         " money, patience, policy, power, promise_minutes, quarters, restart_seconds, seeds, stage, start"),
        ("start = 2027-01-01", 'start = "2027"', "the plan: start is a day like 2027-07-01"),
        ("date = 2027-07-01", "date = 2026-07-01", "stage 1: it comes after the start of the plan, 2027-01-01"),
        ("nodes = 8", "nodes = 8\ngpus = 1", "stage 1: either gpus or nodes (of 8)"),
        ("[0, 60, 365]", "[0, 60]", "stage 1: slip_days are three whole numbers, [least, most likely, most]"),
        ("[0, 60, 365]", "[0, 60, 5]", "a stage has at least 1 GPU, and slips by least, most likely and most days, "
         "none below 0"),
        ('shape = "helios"', 'shape = "venus"', "no shape is called 'venus': philly, helios, seren, kalos"),
        ("growth = 0.5", 'growth = "half"', "demand 1: growth is a number"),
        ('source = "a tender, 2026-11"', "", 'money: say where the figures come from, source = "…, 2026-11"'),
        ("[[demand]]", "[[stage]]", "stage 2: 'gpu_hours_a_day' is none of cost_krw, date, gpus, nodes, slip_days"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_plan_is_said_by_name(tmp_path, old, new, said):
    with pytest.raises(BadInput) as told:
        read_plan(write(tmp_path, PLAN.replace(old, new, 1)))
    assert str(told.value) == said


def test_a_file_that_is_no_plan_is_said(tmp_path):
    with pytest.raises(BadInput, match="there is no such file"):
        read_plan(tmp_path / "none.toml")
    with pytest.raises(BadInput, match=r"plan\.toml: "):
        read_plan(write(tmp_path, "start = "))
    with pytest.raises(BadInput, match="nobody asks for anything"):
        read_plan(write(tmp_path, PLAN[: PLAN.index("[[demand]]")]))
