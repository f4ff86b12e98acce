"""Keep a plan, have it simulated, stop that."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from madang.identity.access import access_of
from madang.identity.models import Person, Role
from madang.planning.calibration import gaps
from madang.planning.models import LIVE, POWER, Plan, PlanRun, RunState, run_moves
from madang.planning.records import OWN, fitted
from madang.planning.spec import kept, wanted, wanted_by
from madang.twin import BadInput
from madang.twin.plan import points
from madang.workflow.errors import NotAllowed, Refused, Stale
from madang.workflow.log import act
from madang.workflow.moment import now

PLANNERS = (Role.EXECUTIVE, Role.OPERATOR)
SILENT = timedelta(minutes=5)  # a run that says nothing for so long has lost its worker


def may_plan(person: Any) -> bool:
    access = access_of(person)
    return any(access.holds(role) for role in PLANNERS)


def _require(actor: Person) -> None:
    if not may_plan(actor):
        raise NotAllowed(_("Plans are made by executives and operators of the site."))


def save(actor: Person, *, plan: Plan | None = None, **facts: Any) -> Plan:
    """Make a plan, or change one; runs that were made keep what they were asked. All that is wrong is said at once."""
    _require(actor)
    errors: dict[str, Any] = {}
    if not facts["programs"]:
        errors["name_1"] = _("Say at least one program that asks for GPUs.")
    prices = [facts["cost_krw"], facts["years_of_use"], facts["running_krw"]]
    priced = [price is not None for price in prices]
    if any(priced) and not all(priced):
        errors["cost_krw"] = _("Give all prices or none: nothing is invented for a missing one.")
    if any(priced) and not facts["source"].strip():
        errors["source"] = _("Say where the prices come from, with a date.")
    figures: dict[str, Any] = {name: facts.get(name) for name in POWER}
    if any(figure is not None for figure in figures.values()):
        missing = _("Give all of these figures or none: nothing is invented for a missing one.")
        errors |= {name: missing for name, figure in figures.items() if figure is None}
        if not facts["power_source"].strip():
            errors["power_source"] = _("Say where the figures come from, with a date.")
        if None not in figures.values() and figures["busy_w"] < figures["idle_w"]:
            errors["busy_w"] = _("Not less than an idle one.")
    called = [program["name"] for program in facts["programs"]]
    if double := [row for row, name in enumerate(called, 1) if name in called[: row - 1]]:
        errors[f"name_{double[0]}"] = _("Another program has this name.")
    for row, program in enumerate(facts["programs"], 1):
        if program["shape"].startswith(OWN):
            try:
                program |= fitted(program["shape"])
            except BadInput as error:
                errors[f"shape_{row}"] = str(error)
    days = [stage["on"] for stage in facts["stages"]]
    if len(days) != len(set(days)):
        errors["on_1"] = _("Two stages on one day are one stage.")
    try:
        if not errors:
            wanted(facts)
    except BadInput as error:
        errors.setdefault("on_1", str(error))
    if errors:
        raise Refused(_("This plan can't be simulated yet."), errors=errors)
    with act(actor, "change" if plan else "make", on=plan) as said:
        if plan is None:
            plan = said["on"] = Plan.objects.create(made_by=actor, **facts)
        else:
            plan = said["on"] = Plan.objects.select_for_update().get(pk=plan.pk)
            for name, value in facts.items():
                setattr(plan, name, value)
            plan.save()
    return plan


def simulate(actor: Person, *, plan: Plan) -> PlanRun:
    """Have the plan simulated as it stands. One that is being simulated already is that one."""
    from madang.planning import tasks

    _require(actor)
    asked = wanted_by(plan)
    try:
        with act(actor, "simulate", on=plan):
            run = PlanRun.objects.create(plan=plan, asked=kept(asked), total=len(points(asked)), asked_by=actor)
            transaction.on_commit(lambda: tasks.simulate.defer(run=run.pk))
    except IntegrityError:
        live = PlanRun.objects.filter(plan=plan, state__in=LIVE).first()
        if live is None:
            raise
        return live
    return run


def stop(actor: Person, *, run: PlanRun) -> PlanRun:
    """Stop a simulation: what was computed of it is thrown away."""
    _require(actor)
    with act(actor, "stop", on=run.plan):
        run_moves.move(run, "stop")
        _ended(run)
    return run


def begin(run: PlanRun) -> bool:
    """False where there is nothing to do any more."""
    try:
        with transaction.atomic():
            run_moves.move(run, "begin")
            PlanRun.objects.filter(pk=run.pk).update(told_at=Now())
    except Stale:
        return False
    return True


def progress(run: PlanRun, done: int) -> bool:
    """Note how far it is. False where it was stopped."""
    return bool(PlanRun.objects.filter(pk=run.pk, state=RunState.RUNNING).update(done=done, told_at=Now()))


def finish(run: PlanRun, result: dict[str, Any]) -> None:
    """Keep the answer, with how far the model is from what jobs have waited here until now."""
    result = result | {"gaps": gaps()}
    with transaction.atomic():
        row = PlanRun.objects.select_for_update().get(pk=run.pk)
        run_moves.require(row, "finish")
        row.state, row.result, row.done = RunState.DONE, result, row.total
        row.save(update_fields=["state", "result", "done"])
        _ended(row)


def fail(run: PlanRun, problem: str) -> None:
    with transaction.atomic():
        run_moves.move(run, "fail")
        PlanRun.objects.filter(pk=run.pk).update(problem=problem[:400])
        _ended(run)


def sweep() -> None:
    """Runs whose worker died with them: they can be asked for again."""
    for run in PlanRun.objects.filter(state=RunState.RUNNING, told_at__lt=now() - SILENT):
        try:
            fail(run, _("It stopped answering. Simulate it again."))
        except Stale:
            continue


def _ended(run: PlanRun) -> None:
    PlanRun.objects.filter(pk=run.pk).update(ended_at=Now())
