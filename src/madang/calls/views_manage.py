"""The officer's overview of calls: where each stands, what waits, what can be done now."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from madang.calls import actions, queries
from madang.calls.forms import ExtensionOfForm, ReasonForm
from madang.calls.models import ApplicationState, CallState, Stage
from madang.calls.sums import JUDGED
from madang.calls.views import Asked
from madang.identity.access import access_of
from madang.identity.models import Organization, Role
from madang.workflow.errors import NotAllowed

DRAFT = ApplicationState.DRAFT


@login_required
@require_safe
def managed(request: Asked) -> HttpResponse:
    if not access_of(request.user).somewhere(Role.OFFICER):
        raise NotAllowed(_("This page is for officers."))
    state = request.GET.get("state", "")
    state = state if state in CallState.values else ""
    found = queries.managed_calls(request.user, state=state, after=request.GET.get("after") or None)
    rows = [
        {
            "row": row,
            "drafts": row.counts.get(DRAFT, 0),
            "received": sum(row.counts.values()) - row.counts.get(DRAFT, 0),
        }
        for row in found.items
    ]
    context = {"found": found, "rows": rows, "state": state, "states": CallState.choices}
    return render(request, "calls/managed.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def manage(request: Asked, code: str) -> HttpResponse:
    """`do` is cancel, start_evaluation or extend."""
    view = queries.managed_call(request.user, code)
    verb = request.POST.get("do", "") if request.method == "POST" else ""
    canceling = ReasonForm(
        request.POST if verb == "cancel" else None, label=_("Why is it canceled?"), auto_id="cancel_%s"
    )
    extending = ExtensionOfForm(request.POST if verb == "extend" else None, auto_id="extend_%s")
    if verb == "start_evaluation":
        actions.start_evaluation(request.user, call=view.call)
        messages.success(request, _("The evaluation has begun. Assign the reviewers next."))
        return redirect("calls:assign", code=code)
    if verb == "cancel" and canceling.is_valid():
        with canceling.refusals():
            actions.cancel(request.user, call=view.call, reason=canceling.cleaned_data["reason"])
            messages.success(request, _("The call is canceled."))
            return redirect("calls:manage", code=code)
    if verb == "extend" and extending.is_valid():
        with extending.refusals():
            extend(request.user, view.call, extending)
            if not extending.errors:
                messages.success(request, _("The extension is given and logged."))
                return redirect("calls:manage", code=code)
    stages = [Stage.DRAFT, Stage.UPCOMING, Stage.OPEN, Stage.CLOSED, Stage.EVALUATING, Stage.ANNOUNCED]
    failed = bool(canceling.errors or extending.errors)
    context = {
        "view": view,
        "call": view.call,
        "steps": steps(stages, view.stage),
        "counts": [
            (state, ApplicationState(state).label, view.counts[state])
            for state in ApplicationState.values
            if view.counts.get(state) and state != ApplicationState.DRAFT
        ],
        "drafts": view.counts.get(ApplicationState.DRAFT, 0),
        "eligible": sum(view.counts.get(state, 0) for state in JUDGED),
        "waiting": view.counts.get(ApplicationState.SUBMITTED, 0) + view.counts.get(ApplicationState.SUPPLEMENT, 0),
        "canceling": canceling,
        "extending": extending,
    }
    return render(request, "calls/manage.html", context, status=422 if failed else 200)


def extend(person: Any, call: Any, form: ExtensionOfForm) -> None:
    number = form.cleaned_data["business_number"]
    organization = Organization.objects.filter(business_number=number).first()
    if organization is None:
        form.add_error("business_number", _("No organization with this number is registered here."))
        return
    data = form.cleaned_data
    actions.give_extension(person, call=call, organization=organization, until=data["until"], reason=data["reason"])


def steps(stages: list[Stage], now: Stage) -> list[dict[str, Any]]:
    """The stages of a call as steps. A canceled call stopped where it was."""
    if now == Stage.CANCELED:
        return [{"label": Stage.DRAFT.label, "state": "done"}, {"label": Stage.CANCELED.label, "state": "failed"}]
    at = stages.index(now)
    last = len(stages) - 1
    return [
        {"label": stage.label, "state": "done" if index < at or at == last else "current" if index == at else "todo"}
        for index, stage in enumerate(stages)
    ]
