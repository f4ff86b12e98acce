"""A plan as a file (TOML): what is there, what comes when, who asks for how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from madang.twin.demand import Program, like
from madang.twin.errors import BadInput
from madang.twin.given import day, known, load, number, sourced, tables, text, whole
from madang.twin.modelfile import read_model
from madang.twin.plan import QUARTER_DAYS, Money, Plan, Power, Stage
from madang.twin.worldfile import failures_of, patience_of

PLAN = {
    "start",
    "gpus",
    "quarters",
    "policy",
    "promise_minutes",
    "seeds",
    "cost_krw",
    "money",
    "stage",
    "demand",
    "power",
    "failures",
    "patience",
    "checkpoint_seconds",
    "restart_seconds",
}
STAGE = {"date", "gpus", "nodes", "slip_days", "cost_krw"}
DEMAND = {"name", "shape", "model", "gpu_hours_a_day", "growth"}
MONEY = {"years_of_use", "running_krw", "source"}
POWER = ("idle_w", "busy_w", "pue_percent", "g_per_kwh", "krw_per_kwh")
GPUS_A_NODE = 8


def read_plan(path: Path) -> tuple[Plan, date]:
    """(the plan, its first day). Raises BadInput, with the name of what is wrong."""
    given = load(path)
    known(given, PLAN, "the plan")
    start = day(given, "start", "the plan")
    money = given.get("money")
    if money is not None:
        known(money, MONEY, "money")
        sourced(money, "money")
        money = Money(whole(money, "years_of_use", "money"), whole(money, "running_krw", "money"))
    power = given.get("power")
    if power is not None:
        known(power, (*POWER, "source"), "power")
        sourced(power, "power")
        power = Power(*(whole(power, name, "power") for name in POWER))
    plan = Plan(
        gpus=whole(given, "gpus", "the plan"),
        stages=tuple(_stage(stage, start, place) for place, stage in enumerate(tables(given, "stage"), 1)),
        programs=tuple(
            _program(program, place, path.parent) for place, program in enumerate(tables(given, "demand"), 1)
        ),
        quarters=whole(given, "quarters", "the plan", 20),
        policy=text(given, "policy", "the plan", "easy"),
        promise_s=whole(given, "promise_minutes", "the plan", 60) * 60,
        seeds=whole(given, "seeds", "the plan", 5),
        cost_krw=whole(given, "cost_krw", "the plan") if "cost_krw" in given else None,
        money=money,
        power=power,
        failures=failures_of(given.get("failures")),
        patience=patience_of(given.get("patience")),
        checkpoint_s=whole(given, "checkpoint_seconds", "the plan", 0),
        restart_s=whole(given, "restart_seconds", "the plan", 0),
    )
    if not plan.programs:
        raise BadInput("nobody asks for anything: write a [[demand]]")
    return plan, start


def begins(start: date, quarter: int) -> date:
    return start + timedelta(days=quarter * QUARTER_DAYS)


def _stage(given: Mapping[str, Any], start: date, place: int) -> Stage:
    where = f"stage {place}"
    known(given, STAGE, where)
    if ("gpus" in given) == ("nodes" in given):
        raise BadInput(f"{where}: either gpus or nodes (of {GPUS_A_NODE})")
    gpus = whole(given, "gpus", where) if "gpus" in given else whole(given, "nodes", where) * GPUS_A_NODE
    slip = given.get("slip_days", [0, 0, 0])
    if not isinstance(slip, list) or [type(days) for days in slip] != [int, int, int]:
        raise BadInput(f"{where}: slip_days are three whole numbers, [least, most likely, most]")
    days = (day(given, "date", where) - start).days
    if days < 1:
        raise BadInput(f"{where}: it comes after the start of the plan, {start}")
    cost = whole(given, "cost_krw", where) if "cost_krw" in given else None
    return Stage(days, gpus, (slip[0], slip[1], slip[2]), cost)


def _program(given: Mapping[str, Any], place: int, folder: Path) -> Program:
    """By a shape, or by a model in a file (seen from the plan's folder), of which it may change what is named here."""
    where = f"demand {place}"
    known(given, DEMAND, where)
    if "model" not in given:
        hours, growth = whole(given, "gpu_hours_a_day", where), number(given, "growth", where, 0.0)
        return like(text(given, "name", where, where), text(given, "shape", where, "philly"), hours, growth)
    if "shape" in given:
        raise BadInput(f"{where}: either a shape or a model")
    model = read_model(folder / text(given, "model", where))
    return replace(
        model,
        name=text(given, "name", where, model.name),
        gpu_hours_a_day=number(given, "gpu_hours_a_day", where, model.gpu_hours_a_day),
        growth=number(given, "growth", where, model.growth),
    )
