from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import OuterRef, Subquery
from django.utils.translation import gettext as _

from madang.identity.access import access_of
from madang.identity.models import Role
from madang.planning.models import Plan, PlanRun, RunState
from madang.planning.spec import again, wanted_by
from madang.workflow.errors import Missing

READERS = (Role.EXECUTIVE, Role.OPERATOR, Role.OFFICER, Role.AUDITOR)
ROWS = 50
MOST_COMPARED = 3


def may_read(person: Any) -> bool:
    access = access_of(person)
    return any(access.holds(role) for role in READERS)


def require_reader(person: Any) -> None:
    if not may_read(person):
        raise Missing(_("There is nothing here, or it isn't yours to see."))


def plans(person: Any) -> Sequence[Plan]:
    """The latest first, each with the state of its latest run as `latest`."""
    require_reader(person)
    latest = PlanRun.objects.filter(plan=OuterRef("pk")).order_by("-id").values("state")[:1]
    return list(Plan.objects.select_related("made_by").annotate(latest=Subquery(latest))[:ROWS])


def plan_for(person: Any, id: int) -> Plan:
    require_reader(person)
    found = Plan.objects.select_related("made_by").filter(pk=id).first()
    if found is None:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    return found


@dataclass(frozen=True)
class Seen:
    """A plan with its latest run and the latest that has a result."""

    plan: Plan
    latest: PlanRun | None
    answered: PlanRun | None

    @property
    def result(self) -> dict[str, Any]:
        return (self.answered and self.answered.result) or {}

    @property
    def outdated(self) -> bool:
        """Whether the plan was changed since."""
        return self.answered is not None and wanted_by(self.plan) != again(self.answered.asked)

    @property
    def promise_minutes(self) -> int:
        return int(self.result["promise_s"]) // 60

    def begins(self, quarter: int | None) -> date | None:
        return None if quarter is None else self.plan.begins(quarter)


def latest_run(plan: Plan) -> PlanRun | None:
    """Without its answer, which may be large: for whoever asks how far it is."""
    return PlanRun.objects.filter(plan=plan).defer("asked", "result").first()


def seen(person: Any, id: int) -> Seen:
    plan = plan_for(person, id)
    runs = PlanRun.objects.filter(plan=plan)
    return Seen(plan, runs.first(), runs.filter(state=RunState.DONE).first())


def compared(person: Any, ids: Sequence[int], but: int) -> list[Seen]:
    """Up to three other plans that have an answer, in two statements."""
    require_reader(person)
    chosen = [id for id in dict.fromkeys(ids) if id != but][:MOST_COMPARED]
    found = Plan.objects.in_bulk(chosen)
    runs = PlanRun.objects.filter(plan__in=chosen, state=RunState.DONE).order_by("plan_id", "-id").distinct("plan_id")
    answers = {run.plan_id: run for run in runs}
    return [Seen(found[id], answers[id], answers[id]) for id in chosen if id in found and id in answers]


def others(plan: Plan) -> Sequence[Plan]:
    """Plans that can be compared with this one."""
    answered = PlanRun.objects.filter(state=RunState.DONE).values("plan")
    return list(Plan.objects.filter(pk__in=answered).exclude(pk=plan.pk)[:ROWS])
