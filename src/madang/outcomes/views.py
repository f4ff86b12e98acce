from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from madang.grants.models import Grant, GrantState
from madang.grants.queries import grant_for
from madang.identity.access import access_of
from madang.identity.models import Role
from madang.outcomes import actions, queries
from madang.outcomes.forms import ReportForm, ReturnForm, VerifyForm
from madang.outcomes.models import Outcome, OutcomeState


def _after(request: HttpRequest) -> int | None:
    """Where the next page of a list starts. What is no such place starts at the first."""
    value = request.GET.get("after", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None


def _next(request: HttpRequest, after: int | None) -> str:
    if after is None:
        return ""
    query = request.GET.copy()
    query["after"] = str(after)
    return f"?{query.urlencode()}"


@login_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    number, state = request.GET.get("grant", ""), request.GET.get("state", "")
    grant = grant_for(request.user, number) if number else None
    page = queries.outcomes(
        request.user,
        grant=number,
        state=state if state in OutcomeState.values else "",
        after=_after(request),
    )
    return render(
        request,
        "outcomes/list.html",
        {
            "grant": grant,
            "outcomes": page.rows,
            "next": _next(request, page.after),
            "officer": queries.is_officer(request.user),
            "reports": grant is not None and _may_report(request, grant),
            "state": state,
            "states": [(s, s.label) for s in OutcomeState],
        },
    )


def _may_report(request: HttpRequest, grant: Grant) -> bool:
    live = grant.state in (GrantState.ACTIVE, GrantState.CLOSED)
    return live and access_of(request.user).is_member(grant.organization_id)


@login_required
@require_safe
def queue(request: HttpRequest) -> HttpResponse:
    page = queries.queue(request.user, after=_after(request))
    return render(request, "outcomes/queue.html", {"outcomes": page.rows, "next": _next(request, page.after)})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def report(request: HttpRequest, number: str) -> HttpResponse:
    return _report(request, grant_for(request.user, number), None)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def correct(request: HttpRequest, id: int) -> HttpResponse:
    outcome = queries.outcome_for(request.user, id)
    return _report(request, outcome.grant, outcome)


def _report(request: HttpRequest, grant: Grant, replaces: Outcome | None) -> HttpResponse:
    if not _may_report(request, grant):
        raise queries.missing()
    before: dict[str, Any] = {}
    if replaces is not None:
        before = {f: getattr(replaces, f) for f in ("kind", "title", "amount", "occurred_on", "share_percent", "text")}
    form = ReportForm(request.POST or None, request.FILES or None, initial=before)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            outcome = actions.report(
                request.user,  # type: ignore[arg-type]  # login_required
                grant=grant,
                replaces=replaces,
                **form.cleaned_data,
            )
            messages.success(request, _("The outcome is reported. An officer will check it."))
            return redirect("outcomes:outcome", outcome.pk)
    return render(
        request,
        "outcomes/report.html",
        {"grant": grant, "form": form, "replaces": replaces, "first_day": actions.first_day(grant)},
        status=422 if form.errors else 200,
    )


@login_required
@require_safe
def detail(request: HttpRequest, id: int) -> HttpResponse:
    return _page(request, queries.outcome_for(request.user, id))


def _page(
    request: HttpRequest, outcome: Outcome, verifying: VerifyForm | None = None, returning: ReturnForm | None = None
) -> HttpResponse:
    judge = actions.may_judge(request.user, outcome)
    officer = access_of(request.user).holds(Role.OFFICER, program=outcome.grant.program_id)
    verifying = verifying or (_verify_form(request, outcome) if judge else None)
    if verifying is not None and not verifying.fields["level"].choices:  # type: ignore[attr-defined]
        verifying = None
    waits = outcome.state == OutcomeState.REPORTED
    failed = bool((verifying and verifying.errors) or (returning and returning.errors))
    return render(
        request,
        "outcomes/outcome.html",
        {
            "outcome": outcome,
            "replaced_by": getattr(outcome, "replaced_by", None),
            "verify_form": verifying,
            "return_form": returning or (ReturnForm(auto_id="%s-return") if judge and officer and waits else None),
            "corrects": outcome.state != OutcomeState.REPLACED and _may_report(request, outcome.grant),
        },
        status=422 if failed else 200,
    )


def _verify_form(request: HttpRequest, outcome: Outcome, *, sent: bool = False) -> VerifyForm:
    access, program = access_of(request.user), outcome.grant.program_id
    return VerifyForm(
        request.POST if sent else None,
        above=outcome.level,
        audit=access.holds(Role.AUDITOR, program=program),
        officer=access.holds(Role.OFFICER, program=program),
        auto_id="%s-verify",
    )


@login_required
@require_http_methods(["POST"])
def verify(request: HttpRequest, id: int) -> HttpResponse:
    outcome = queries.outcome_for(request.user, id)
    form = _verify_form(request, outcome, sent=True)
    if form.is_valid() or not actions.may_judge(request.user, outcome):
        with form.refusals():
            actions.verify(
                request.user,  # type: ignore[arg-type]  # login_required
                outcome=outcome,
                level=form.cleaned_data.get("level", ""),
                reason=form.cleaned_data.get("reason", ""),
            )
            messages.success(request, _("The outcome is verified."))
            return redirect("outcomes:outcome", id)
    return _page(request, outcome, verifying=form)


@login_required
@require_http_methods(["POST"])
def give_back(request: HttpRequest, id: int) -> HttpResponse:
    outcome = queries.outcome_for(request.user, id)
    form = ReturnForm(request.POST, auto_id="%s-return")
    if form.is_valid() or not actions.may_judge(request.user, outcome):
        with form.refusals():
            actions.return_(request.user, outcome=outcome, reason=form.cleaned_data.get("reason", ""))  # type: ignore[arg-type]
            messages.success(request, _("The report was returned."))
            return redirect("outcomes:outcome", id)
    return _page(request, outcome, returning=form)


@login_required
@require_safe
def evidence(request: HttpRequest, id: int, evidence: int) -> HttpResponseBase:
    row = queries.evidence_for(request.user, id, evidence)
    return FileResponse(
        row.file.open("rb"), as_attachment=True, filename=row.name, content_type="application/octet-stream"
    )
