"""A plan as a file (TOML): what is there, what comes when, who asks for how much."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from madang.twin.demand import Program, like
from madang.twin.errors import BadInput
from madang.twin.plan import QUARTER_DAYS, Money, Plan, Stage

PLAN = {"start", "gpus", "quarters", "policy", "promise_minutes", "seeds", "cost_krw", "money", "stage", "demand"}
STAGE = {"date", "gpus", "nodes", "slip_days", "cost_krw"}
DEMAND = {"name", "shape", "gpu_hours_a_day", "growth"}
MONEY = {"years_of_use", "running_krw", "source"}
GPUS_A_NODE = 8


def read_plan(path: Path) -> tuple[Plan, date]:
    """(the plan, its first day). Raises BadInput, with the name of what is wrong."""
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path}: {error}") from None
    _known(given, PLAN, "the plan")
    start = _day(given, "start", "the plan")
    money = given.get("money")
    if money is not None:
        _known(money, MONEY, "money")
        if not money.get("source"):
            raise BadInput('money: say where the prices come from, source = "…, 2026-11"')
        money = Money(_number(money, "years_of_use", "money"), _number(money, "running_krw", "money"))
    plan = Plan(
        gpus=_number(given, "gpus", "the plan"),
        stages=tuple(_stage(stage, start, place) for place, stage in enumerate(given.get("stage", ()), 1)),
        programs=tuple(_program(program, place) for place, program in enumerate(given.get("demand", ()), 1)),
        quarters=_number(given, "quarters", "the plan", 20),
        policy=given.get("policy", "easy"),
        promise_s=_number(given, "promise_minutes", "the plan", 60) * 60,
        seeds=_number(given, "seeds", "the plan", 5),
        cost_krw=given.get("cost_krw"),
        money=money,
    )
    if not plan.programs:
        raise BadInput("nobody asks for anything: write a [[demand]]")
    return plan, start


def begins(start: date, quarter: int) -> date:
    return start + timedelta(days=quarter * QUARTER_DAYS)


def _stage(given: Mapping[str, Any], start: date, place: int) -> Stage:
    where = f"stage {place}"
    _known(given, STAGE, where)
    if ("gpus" in given) == ("nodes" in given):
        raise BadInput(f"{where}: either gpus or nodes (of {GPUS_A_NODE})")
    gpus = _number(given, "gpus", where) if "gpus" in given else _number(given, "nodes", where) * GPUS_A_NODE
    slip = given.get("slip_days", [0, 0, 0])
    if not isinstance(slip, list) or [type(days) for days in slip] != [int, int, int]:
        raise BadInput(f"{where}: slip_days are three whole numbers, [least, most likely, most]")
    days = (_day(given, "date", where) - start).days
    if days < 1:
        raise BadInput(f"{where}: it comes after the start of the plan, {start}")
    return Stage(days, gpus, (slip[0], slip[1], slip[2]), given.get("cost_krw"))


def _program(given: Mapping[str, Any], place: int) -> Program:
    where = f"demand {place}"
    _known(given, DEMAND, where)
    growth = given.get("growth", 0.0)
    if not isinstance(growth, int | float) or isinstance(growth, bool):
        raise BadInput(f"{where}: growth is a share a year, 0.5 for half as much again")
    hours = _number(given, "gpu_hours_a_day", where)
    return like(str(given.get("name", where)), str(given.get("shape", "philly")), hours, float(growth))


def _known(given: Mapping[str, Any], names: set[str], where: str) -> None:
    if unknown := sorted(set(given) - names):
        raise BadInput(f"{where}: {unknown[0]!r} is none of {', '.join(sorted(names))}")


def _number(given: Mapping[str, Any], name: str, where: str, default: int | None = None) -> int:
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadInput(f"{where}: {name} is a whole number of at least 0")
    return value


def _day(given: Mapping[str, Any], name: str, where: str) -> date:
    value = given.get(name)
    if type(value) is not date:
        raise BadInput(f"{where}: {name} is a day like 2027-07-01")
    return value
