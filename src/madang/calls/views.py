"""What everybody may see of the calls, how an application is begun, and the documents."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from madang.calls import actions, measure, queries
from madang.calls.models import Stage
from madang.catalog.models import Rate
from madang.identity.access import access_of
from madang.identity.models import Person, Role
from madang.workflow.errors import Missing

SHOWN_STAGES = (Stage.OPEN, Stage.UPCOMING, Stage.CLOSED, Stage.EVALUATING, Stage.ANNOUNCED)
ORDER = (*SHOWN_STAGES, Stage.CANCELED, Stage.DRAFT)
TOO_BIG = 2**63 - 1


class Asked(HttpRequest):
    """A request of somebody who is logged in: `login_required` stands before every view that takes one."""

    user: Person


def known_id(value: str | int) -> int:
    """An id out of an address. One that no row can have is like one that no row has."""
    if not str(value).isdecimal() or len(str(value)) > 19 or int(value) > TOO_BIG:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    return int(value)


def priced(call: Any, lines: list[Any]) -> list[dict[str, Any]]:
    """The lines on offer with the list price of one of what people write (a GPU-hour, a TB for the days of use).

    `lines` are those of a detail query: each brings its `rate` along.
    """
    offers = []
    for line in lines:
        rate = Rate(**line.rate) if line.rate else None
        price = rate.price_of(measure.size(line.resource.unit, call)) if rate else None
        offers.append({"line": line, "rate": rate, "price": price, "unit": measure.unit_name(line.resource.unit)})
    return offers


@require_safe
def call_list(request: HttpRequest) -> HttpResponse:
    stage = request.GET.get("stage", "")
    search = request.GET.get("search", "")[:100]
    found = queries.public_calls(
        stage=stage if stage in SHOWN_STAGES else "",
        search=search,
        after=request.GET.get("after") or None,
        limit=60,
    )
    access = access_of(request.user)
    context = {
        "cards": sorted(
            found.items, key=lambda card: SHOWN_STAGES.index(card.stage) if card.stage in SHOWN_STAGES else 9
        ),
        "found": found,
        "stage": stage,
        "search": search,
        "stages": [(value, Stage(value).label) for value in SHOWN_STAGES],
        "is_officer": access.somewhere(Role.OFFICER),
        "is_tenant": bool(access.organizations),
    }
    return render(request, "calls/list.html", context)


@require_safe
def detail(request: HttpRequest, code: str) -> HttpResponse:
    view = queries.public_call(request.user, code)
    context = {
        "view": view,
        "call": view.call,
        "offers": priced(view.call, view.lines),
        "points": sum(criterion.points for criterion in view.criteria),
        "days": measure.days_of_use(view.call),
        "mine": mine(view),
        "can_start": can_start(view),
        "is_officer": access_of(request.user).holds(Role.OFFICER, program=view.call.program_id),
    }
    return render(request, "calls/detail.html", context)


def mine(view: Any) -> list[dict[str, Any]]:
    """The applications of the person's organizations, each with the state that it is shown in."""
    return [
        {"application": row, "shown": queries.shown_as(row, view.stage, open=has_time(view, row.organization_id))}
        for row in view.applications
    ]


def has_time(view: Any, organization: int) -> bool:
    """Whether the call takes applications of this organization now."""
    extended = view.stage == Stage.CLOSED and (view.extensions.get(organization) or view.now) > view.now
    return view.stage == Stage.OPEN or extended


def can_start(view: Any) -> list[Any]:
    """The organizations of the person that may begin an application now: none of theirs exists, and time is left."""
    begun = {application.organization_id for application in view.applications}
    return [
        organization
        for organization in view.may_apply
        if organization.pk not in begun and has_time(view, organization.pk)
    ]


@login_required
@require_http_methods(["GET", "POST"])
def apply(request: Asked, code: str) -> HttpResponse:
    """Which organization applies. With only one there is nothing to choose, only a button to press."""
    view = queries.public_call(request.user, code)
    if request.method == "POST":
        chosen = request.POST.get("organization", "")
        organization = next((row for row in view.may_apply if str(row.pk) == chosen), None)
        if organization is None:
            raise Missing(_("There is no such organization, or you don't belong to it."))
        application = actions.start_application(request.user, call=view.call, organization=organization)
        return redirect("calls:application-edit", id=application.pk)
    begun = {row["application"].organization_id: row for row in mine(view)}
    choices = [(organization, begun.get(organization.pk)) for organization in view.may_apply]
    startable = {organization.pk for organization in can_start(view)}
    context = {"view": view, "call": view.call, "choices": choices, "startable": startable}
    return render(request, "calls/apply.html", context)


@login_required
@require_safe
def document(request: Asked, id: int) -> FileResponse:
    found, name = actions.read_document(request.user, document=known_id(id))
    response = FileResponse(
        found.file.open("rb"), as_attachment=True, filename=name, content_type="application/octet-stream"
    )
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response
