"""A plan as its page keeps it, and as the twin wants it."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import date
from typing import Any

from django.utils.translation import gettext as _

from madang.planning.models import POWER, Plan
from madang.twin import BadInput
from madang.twin.demand import Lengths, Measured, Program, like
from madang.twin.plan import Money, Power, Stage
from madang.twin.plan import Plan as TwinPlan


def wanted(facts: dict[str, Any]) -> TwinPlan:
    """The twin's plan of a plan's columns. Raises BadInput."""
    stages = []
    for stage in facts["stages"]:
        day = (date.fromisoformat(stage["on"]) - facts["starts_on"]).days
        if day < 1:
            raise BadInput(_("A stage comes after the first day of the plan."))
        low, likely, high = stage["slip_days"]
        stages.append(Stage(day, stage["gpus"], (low, likely, high), stage["cost_krw"]))
    programs = tuple(_asked(program) for program in facts["programs"])
    money = None
    if facts["years_of_use"] is not None and facts["running_krw"] is not None:
        money = Money(facts["years_of_use"], facts["running_krw"])
    figures: list[Any] = [facts.get(name) for name in POWER]
    power = None if None in figures else Power(*figures)
    return TwinPlan(
        gpus=facts["gpus"],
        stages=tuple(stages),
        programs=programs,
        quarters=facts["quarters"],
        policy=facts["policy"],
        promise_s=facts["promise_minutes"] * 60,
        seeds=facts["seeds"],
        cost_krw=facts["cost_krw"],
        money=money,
        power=power,
    )


def wanted_by(plan: Plan) -> TwinPlan:
    """The twin's plan of a plan as it stands. Raises BadInput."""
    return wanted({field.name: getattr(plan, field.name) for field in Plan._meta.concrete_fields})


def kept(plan: TwinPlan) -> dict[str, Any]:
    """As JSON."""
    return asdict(plan)


def again(kept: dict[str, Any]) -> TwinPlan:
    """The plan that `kept` kept."""
    programs = map(_program, kept["programs"])
    stages = [Stage(**{**stage, "slip_days": tuple(stage["slip_days"])}) for stage in kept["stages"]]
    money = Money(**kept["money"]) if kept["money"] else None
    power = Power(**kept["power"]) if kept.get("power") else None
    return TwinPlan(**{**kept, "programs": tuple(programs), "stages": tuple(stages), "money": money, "power": power})


def _asked(program: dict[str, Any]) -> Program:
    """Of a published shape, or as this site's own jobs were when the plan was saved."""
    name, hours, growth = program["name"], program["gpu_hours_a_day"], program["growth_percent"] / 100
    if "fitted" in program:
        return replace(_program(program["fitted"]), name=name, gpu_hours_a_day=hours, growth=growth)
    return like(name, program["shape"], hours, growth)


def _program(kept: dict[str, Any]) -> Program:
    nested = {
        "sizes": tuple((size, share) for size, share in kept["sizes"]),
        "lengths": tuple((top, _lengths(of)) for top, of in kept["lengths"]),
        "limits": tuple((longest, tuple(limits)) for longest, limits in kept.get("limits", ())),
    }
    flat = {name: tuple(kept[name]) for name in ("asked", "hours", "weekdays")}
    return Program(**{**kept, **flat, **nested})


def _lengths(kept: dict[str, Any]) -> Lengths | Measured:
    return Measured(tuple(kept["runs"])) if "runs" in kept else Lengths(**kept)
