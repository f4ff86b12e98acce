"""What the lists of one call need beside their rows: its heading, and how far the reviews are."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count

from madang.calls.models import Application, ApplicationState, Assignment, AssignmentState, Call, Stage
from madang.calls.queries.shapes import missing
from madang.calls.when import CLOCK, clock_of
from madang.identity.access import access_of
from madang.identity.models import Person, Role


@dataclass(frozen=True)
class Heading:
    """A call, where it stands at the instant it was read, and how many applications are in which state."""

    call: Call
    stage: Stage
    now: datetime
    counts: dict[str, int] = field(default_factory=dict)


def heading(person: Any, code: str, *, counted: bool = False) -> Heading:
    """For officers of the call's program; Missing for everybody else. One SQL statement, and one for the counts."""
    call = Call.objects.select_related("program").annotate(clock=CLOCK).filter(code=code).first()
    if call is None or not access_of(person).holds(Role.OFFICER, program=call.program_id):
        raise missing()
    rows = call.applications.order_by().values_list("state").annotate(n=Count("pk")) if counted else []
    moment = clock_of(call)
    return Heading(call, call.stage(moment), moment, dict(rows))


@dataclass
class Reviewed:
    """One application and its assignments, those that recused themselves last."""

    application: Application
    wanted: int
    assignments: list[Assignment] = field(default_factory=list)

    @property
    def lacks(self) -> int:
        there = sum(1 for row in self.assignments if row.state != AssignmentState.RECUSED)
        return max(self.wanted - there, 0)


@dataclass
class Load:
    reviewer: Person
    assigned: int = 0
    done: int = 0
    recused: int = 0

    @property
    def open(self) -> int:
        return self.assigned - self.done


def progress(call: Call) -> tuple[list[Reviewed], list[Load]]:
    """The applications that are reviewed, by receipt, and the load of everyone who was assigned one.

    Two SQL statements. The caller has checked that the reader is an officer of the call.
    """
    reviewed = (
        ApplicationState.ELIGIBLE,
        ApplicationState.SELECTED,
        ApplicationState.RESERVE,
        ApplicationState.REJECTED,
    )
    rows = {
        application.pk: Reviewed(application, call.reviews_wanted)
        for application in Application.objects.filter(call=call, state__in=reviewed)
        .select_related("organization", "call")
        .order_by("receipt")
    }
    loads: dict[int, Load] = {}
    assignments = Assignment.objects.filter(application__call=call).select_related("reviewer").order_by("id")
    for assignment in sorted(assignments, key=lambda row: (row.state == AssignmentState.RECUSED, row.pk)):
        if assignment.application_id in rows:
            rows[assignment.application_id].assignments.append(assignment)
        load = loads.setdefault(assignment.reviewer_id, Load(assignment.reviewer))
        if assignment.state == AssignmentState.RECUSED:
            load.recused += 1
        else:
            load.assigned += 1
            load.done += assignment.state == AssignmentState.SCORED
    return list(rows.values()), sorted(
        loads.values(), key=lambda load: (-load.open, load.reviewer.name, load.reviewer.pk)
    )
