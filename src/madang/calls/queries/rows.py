"""The rows that verbs are done to, for whoever may know of them. Whether somebody may do a verb, the verb decides."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from madang.calls.models import Application, ApplicationState, Assignment, AssignmentState, Call
from madang.calls.queries.managing import their_calls
from madang.calls.queries.shapes import missing
from madang.identity.access import access_of
from madang.identity.models import Role


def call_row(person: Any, code: str) -> Call:
    """A call that was published, or one of the programs that the person is an officer of."""
    mine = Q(pk__in=their_calls(person).values("pk"))
    call = Call.objects.select_related("program").filter(mine | Q(published_at__isnull=False), code=code).first()
    if call is None:
        raise missing()
    return call


def own_application(person: Any, id: int) -> Application:
    """An application of an organization of the person."""
    application = _application(id)
    if application is None or not access_of(person).is_member(application.organization_id):
        raise missing()
    return application


def handed_in(person: Any, id: int) -> Application:
    """An application that was submitted to a program that the person is an officer of."""
    application = _application(id)
    if (
        application is None
        or application.state == ApplicationState.DRAFT
        or not access_of(person).holds(Role.OFFICER, program=application.call.program_id)
    ):
        raise missing()
    return application


def assignment_row(person: Any, id: int) -> Assignment:
    """A review that is the person's own, or of a program that the person is an officer of."""
    assignment = Assignment.objects.select_related("application__call", "reviewer").filter(pk=id).first()
    if assignment is None:
        raise missing()
    own = assignment.reviewer_id == person.pk and assignment.state != AssignmentState.RECUSED
    if not own and not access_of(person).holds(Role.OFFICER, program=assignment.application.call.program_id):
        raise missing()
    return assignment


def _application(id: int) -> Application | None:
    return Application.objects.select_related("call", "form", "organization").filter(pk=id).first()
