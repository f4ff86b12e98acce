"""Plans for tests: small enough to be simulated in the blink of an eye."""

from __future__ import annotations

from datetime import date
from typing import Any

from madang.identity.models import Person
from madang.planning import actions
from madang.planning.models import Plan, PlanRun
from madang.planning.spec import again
from madang.twin import plan as twin


def facts(**changed: Any) -> dict[str, Any]:
    stage = {"on": "2027-04-15", "gpus": 32, "slip_days": [0, 30, 200], "cost_krw": None}
    program = {"name": "기업 지원", "shape": "helios", "gpu_hours_a_day": 400, "growth_percent": 50}
    return {
        "name": "두 배",
        "about": "",
        "starts_on": date(2027, 1, 1),
        "gpus": 32,
        "stages": [stage],
        "programs": [program],
        "policy": "easy",
        "promise_minutes": 60,
        "quarters": 2,
        "seeds": 1,
        "cost_krw": None,
        "years_of_use": None,
        "running_krw": None,
        "source": "",
        "power_source": "",
        **changed,
    }


def plan(actor: Person, **changed: Any) -> Plan:
    return actions.save(actor, **facts(**changed))


def answer(run: PlanRun) -> None:
    """What the task does, in this process."""
    assert actions.begin(run)
    actions.finish(run, twin.run(again(run.asked)))


def simulated(actor: Person, **changed: Any) -> Plan:
    made = plan(actor, **changed)
    answer(actions.simulate(actor, plan=made))
    return made
