"""Calls: for everybody to read, for their officers to make, publish and evaluate. Results are announced by grants."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router, Status

from madang.calls import actions, queries
from madang.calls.api import shapes
from madang.calls.api.applications import After, Limit
from madang.calls.models import ApplicationState, CallState, Stage
from madang.catalog import queries as catalog
from madang.identity import queries as identity
from madang.identity.access import me
from madang.programs import queries as programs
from madang.web.api import PROBLEMS
from madang.workflow.errors import Missing, Refused

router = Router()
Search = Annotated[str, Query(max_length=100)]


@router.get(
    "/", response={200: shapes.CardsOut} | PROBLEMS, auth=None, summary="Published calls, newest deadline first"
)
def calls(
    request: HttpRequest, stage: Stage | None = None, search: Search = "", after: After = None, limit: Limit = 20
) -> Any:
    return queries.public_calls(stage=stage or "", search=search, after=after, limit=limit)


@router.post("/", response={201: shapes.ManagedOut} | PROBLEMS, summary="Begin a call: a draft that officers see")
def make_call(request: HttpRequest, body: shapes.CallIn) -> Any:
    program = programs.program(body.program)
    call = actions.make_call(me(request), program=program, **body.dict(exclude={"program"}))
    return Status(201, queries.managed_call(me(request), call.code))


@router.get("/managed", response={200: shapes.ManagedRowsOut} | PROBLEMS, summary="The calls of your programs")
def managed(
    request: HttpRequest, state: CallState | Stage | None = None, after: After = None, limit: Limit = 20
) -> Any:
    return queries.managed_calls(me(request), state=state or "", after=after, limit=limit)


@router.get("/queue", response={200: shapes.QueueRowsOut} | PROBLEMS, summary="What waits for you as an officer")
def queue(request: HttpRequest, after: After = None, limit: Limit = 50) -> Any:
    return queries.officer_queue(me(request), after=after, limit=limit)


@router.get("/{code}", response={200: shapes.WholeCallOut} | PROBLEMS, auth=None, summary="One published call")
def call(request: HttpRequest, code: shapes.Code) -> Any:
    return queries.public_call(request.user, code)


@router.get("/{code}/manage", response={200: shapes.ManagedOut} | PROBLEMS, summary="One call, for its officers")
def manage(request: HttpRequest, code: shapes.Code) -> Any:
    return queries.managed_call(me(request), code)


@router.patch("/{code}", response={200: shapes.ManagedOut} | PROBLEMS, summary="Change a draft")
def edit_call(request: HttpRequest, code: shapes.Code, body: shapes.CallChange) -> Any:
    facts = body.dict(exclude_unset=True)
    if empty := sorted(name for name, value in facts.items() if value is None and name != "announces_at"):
        raise Refused("null", errors=dict.fromkeys(empty, "null"))
    changed = actions.edit_call(me(request), call=queries.call_row(me(request), code), **facts)
    return queries.managed_call(me(request), changed.code)


@router.put("/{code}/lines", response={200: shapes.ManagedOut} | PROBLEMS, summary="What can be asked for")
def set_lines(request: HttpRequest, code: shapes.Code, body: list[shapes.LineIn]) -> Any:
    lines = []
    for index, line in enumerate(body[:50]):
        try:
            resource = catalog.resource(line.resource)
        except Missing as missing:
            raise Refused(missing.message, field=f"{index}.resource") from None
        lines.append({**line.dict(), "resource": resource})
    actions.set_lines(me(request), call=queries.call_row(me(request), code), lines=lines)
    return queries.managed_call(me(request), code)


@router.put("/{code}/discounts", response={200: shapes.ManagedOut} | PROBLEMS, summary="Reductions of the list price")
def set_discounts(request: HttpRequest, code: shapes.Code, body: list[shapes.DiscountIn]) -> Any:
    rows = [row.dict() for row in body]
    actions.set_discounts(me(request), call=queries.call_row(me(request), code), discounts=rows)
    return queries.managed_call(me(request), code)


@router.put("/{code}/criteria", response={200: shapes.ManagedOut} | PROBLEMS, summary="What reviewers score")
def set_criteria(request: HttpRequest, code: shapes.Code, body: list[shapes.CriterionIn]) -> Any:
    rows = [row.dict() for row in body]
    actions.set_criteria(me(request), call=queries.call_row(me(request), code), criteria=rows)
    return queries.managed_call(me(request), code)


@router.put("/{code}/rules", response={200: shapes.ManagedOut} | PROBLEMS, summary="Who may apply")
def set_rules(request: HttpRequest, code: shapes.Code, body: list[shapes.RuleIn]) -> Any:
    rows = [row.dict() for row in body]
    actions.set_rules(me(request), call=queries.call_row(me(request), code), rules=rows)
    return queries.managed_call(me(request), code)


@router.put("/{code}/form", response={200: shapes.ManagedOut} | PROBLEMS, summary="What applicants are asked")
def set_form(request: HttpRequest, code: shapes.Code, body: list[shapes.FieldIn]) -> Any:
    fields = [row.dict(by_alias=True, exclude_none=True) for row in body]
    actions.set_form(me(request), call=queries.call_row(me(request), code), fields=fields)
    return queries.managed_call(me(request), code)


@router.post("/{code}/publish", response={200: shapes.ManagedOut} | PROBLEMS, summary="Show it to everybody")
def publish(request: HttpRequest, code: shapes.Code) -> Any:
    actions.publish(me(request), call=queries.call_row(me(request), code))
    return queries.managed_call(me(request), code)


@router.post("/{code}/cancel", response={200: shapes.ManagedOut} | PROBLEMS, summary="Call it off")
def cancel(request: HttpRequest, code: shapes.Code, body: shapes.Reason) -> Any:
    actions.cancel(me(request), call=queries.call_row(me(request), code), reason=body.reason)
    return queries.managed_call(me(request), code)


@router.post("/{code}/evaluate", response={200: shapes.ManagedOut} | PROBLEMS, summary="Start the evaluation")
def start_evaluation(request: HttpRequest, code: shapes.Code) -> Any:
    actions.start_evaluation(me(request), call=queries.call_row(me(request), code))
    return queries.managed_call(me(request), code)


@router.post("/{code}/extensions", response={200: shapes.ManagedOut} | PROBLEMS, summary="Extend one deadline")
def give_extension(request: HttpRequest, code: shapes.Code, body: shapes.ExtensionIn) -> Any:
    call = queries.call_row(me(request), code)
    actions.give_extension(
        me(request),
        call=call,
        organization=identity.organization(me(request), body.organization),
        until=body.until,
        reason=body.reason,
    )
    return queries.managed_call(me(request), code)


@router.post("/{code}/assign", response={200: shapes.ManagedOut} | PROBLEMS, summary="Assign reviewers to everybody")
def assign_all(request: HttpRequest, code: shapes.Code) -> Any:
    actions.assign_all(me(request), call=queries.call_row(me(request), code))
    return queries.managed_call(me(request), code)


@router.get("/{code}/applications", response={200: shapes.OfficerRowsOut} | PROBLEMS, summary="What was handed in")
def applications(
    request: HttpRequest,
    code: shapes.Code,
    state: ApplicationState | None = None,
    search: Search = "",
    after: After = None,
    limit: Limit = 50,
) -> Any:
    return queries.calls_applications(me(request), code, state=state or "", search=search, after=after, limit=limit)


@router.post("/{code}/applications", response={201: shapes.TenantOut} | PROBLEMS, summary="Begin an application")
def start_application(request: HttpRequest, code: shapes.Code, body: shapes.StartIn) -> Any:
    application = actions.start_application(
        me(request),
        call=queries.call_row(me(request), code),
        organization=identity.organization(me(request), body.organization),
    )
    return Status(201, queries.application_for_tenant(me(request), application.pk))


@router.get("/{code}/decisions", response={200: shapes.SheetOut} | PROBLEMS, summary="All that a decision rests on")
def decisions(request: HttpRequest, code: shapes.Code) -> Any:
    return queries.decision_sheet(me(request), code)
