from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.timezone import localdate
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from madang.calls.models import Application, CallState
from madang.grants import actions, previews, queries
from madang.grants.agreement import articles
from madang.grants.facility import facility_of, panels
from madang.grants.forms import AcceptForm, FilterForm, MonthForm, ReasonForm
from madang.grants.models import AllocationState, Grant, GrantState, grant_moves
from madang.grants.words import ENTRY, done, use
from madang.identity.access import access_of, require_member
from madang.identity.models import Role
from madang.ledger import queries as ledger
from madang.ledger.models import Entry
from madang.web.bilingual import said
from madang.workflow.errors import Refused

JOB = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # in the key of what was booked for a job


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
    form = FilterForm(request.GET, programs=queries.programs_of_grants(request.user))
    chosen = form.chosen()
    page = queries.grants_page(
        request.user,
        search=chosen["search"],
        program=chosen["program"],
        state=chosen["state"],
        after=_after(request),
    )
    return render(
        request,
        "grants/list.html",
        {
            "form": form,
            "grants": page.rows,
            "next": _next(request, page.after),
            "oversees": queries.oversees(request.user),
            "steward": access_of(request.user).somewhere(Role.STEWARD),
            "filtered": any(chosen.values()),
        },
    )


@login_required
@require_safe
def detail(request: HttpRequest, number: str) -> HttpResponse:
    grant = queries.grant_for(request.user, number)
    access = access_of(request.user)
    allocations = list(grant.allocations.all())
    for allocation in allocations:
        allocation.grant = grant
    live = grant.state == GrantState.ACTIVE
    return render(
        request,
        "grants/grant.html",
        {
            "grant": grant,
            "cards": [
                (
                    row,
                    facility_of(row.resource.kind).card(row) if live and row.state == AllocationState.OPEN else None,
                    ReasonForm(auto_id=f"%s-{row.pk}") if live and actions.may_keep(request.user, row) else None,
                )
                for row in allocations
            ],
            "agreement": queries.agreement_of(grant),
            "total": previews.total_of(allocations),
            "panels": panels(grant, request.user),
            "lead": access.is_lead(grant.organization_id),
            "member": access.is_member(grant.organization_id),
            "close_form": ReasonForm(auto_id="%s-close")
            if live and access.holds(Role.OFFICER, program=grant.program_id)
            else None,
        },
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def agreement(request: HttpRequest, number: str) -> HttpResponse:
    grant = queries.grant_for(request.user, number)
    newest = queries.agreement_of(grant)
    waits = grant.state == GrantState.OFFERED
    may_sign = waits and access_of(request.user).is_lead(grant.organization_id)
    form = AcceptForm(request.POST or None, initial={"version": newest.version, "digest": newest.digest})
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            actions.accept(
                request.user,  # type: ignore[arg-type]  # login_required
                grant=grant,
                version=form.cleaned_data["version"],
                digest=form.cleaned_data["digest"],
                signed_as=form.cleaned_data["signed_as"],
            )
            messages.success(request, _("The agreement is accepted. Your allocations are open."))
            return redirect("grants:grant", number)
    return render(
        request,
        "grants/agreement.html",
        {
            "grant": grant,
            "agreement": newest,
            "articles": articles(newest.text),
            "terms": _readable(newest.terms),
            "form": form if may_sign else None,
            "waits": waits,
        },
        status=422 if form.errors else 200,
    )


def _readable(terms: dict[str, Any]) -> dict[str, Any]:
    """The terms as they were agreed, with the names in the reader's language."""
    lines = [
        {**line, "name": said(_Row(line), "name"), "discount": said(_Row(line), "discount")} for line in terms["lines"]
    ]
    return {**terms, "lines": lines}


class _Row:
    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def decline(request: HttpRequest, number: str) -> HttpResponse:
    grant = queries.grant_for(request.user, number)
    require_member(request.user, grant.organization_id, lead=True)
    grant_moves.require(grant, "decline")
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            actions.decline(request.user, grant=grant, reason=form.cleaned_data["reason"])  # type: ignore[arg-type]
            messages.success(request, _("The agreement is declined."))
            return redirect("grants:grant", number)
    return render(request, "grants/decline.html", {"grant": grant, "form": form}, status=422 if form.errors else 200)


@login_required
@require_safe
def history(request: HttpRequest, number: str) -> HttpResponse:
    grant = queries.grant_for(request.user, number)
    lines = [(line, done(line)) for line in queries.history(grant)]
    return render(request, "grants/history.html", {"grant": grant, "lines": lines})


@login_required
@require_POST
def close(request: HttpRequest, number: str) -> HttpResponse:
    grant = queries.grant_for(request.user, number)
    return _with_reason(
        request,
        grant,
        _("Close this grant"),
        lambda reason: actions.close(request.user, grant=grant, reason=reason),  # type: ignore[arg-type]
    )


@login_required
@require_POST
def pause(request: HttpRequest, number: str, allocation: int) -> HttpResponse:
    row = queries.allocation_for(request.user, allocation, number)
    return _with_reason(
        request,
        row.grant,
        _("Pause this allocation"),
        lambda reason: actions.pause_allocation(request.user, allocation=row, reason=reason),  # type: ignore[arg-type]
    )


@login_required
@require_POST
def resume(request: HttpRequest, number: str, allocation: int) -> HttpResponse:
    row = queries.allocation_for(request.user, allocation, number)
    return _with_reason(
        request,
        row.grant,
        _("Resume this allocation"),
        lambda reason: actions.resume_allocation(request.user, allocation=row, reason=reason),  # type: ignore[arg-type]
    )


def _with_reason(request: HttpRequest, grant: Grant, title: str, verb: Any) -> HttpResponse:
    """A verb whose form is a fold on another page: with an error it becomes a page of its own."""
    form = ReasonForm(request.POST)
    if form.is_valid():
        with form.refusals():
            verb(form.cleaned_data["reason"])
            return redirect("grants:grant", grant.number)
    return render(request, "grants/reason.html", {"grant": grant, "form": form, "title": title}, status=422)


@login_required
@require_safe
def statement(request: HttpRequest, number: str, allocation: int) -> HttpResponse:
    row = queries.allocation_for(request.user, allocation, number)
    page = queries.statement(row, before=_after(request))
    member = access_of(request.user).is_member(row.grant.organization_id)
    return render(
        request,
        "grants/statement.html",
        {
            "grant": row.grant,
            "allocation": row,
            "postings": [
                (
                    posting,
                    ENTRY[posting.entry.kind],
                    use(posting.entry.reason),
                    _about(posting.entry, row.grant, member),
                )
                for posting in page.rows
            ],
            "next": _next(request, page.after),
        },
    )


def _about(entry: Entry, grant: Grant, member: bool) -> str:
    """The address of what an entry was for, where the reader may open it: a job is for its organization alone."""
    if entry.reason == grant.number:
        return reverse("grants:grant", args=[grant.number])
    job = JOB.search(entry.ext_key) if member and entry.source == "jobs" else None
    return reverse("compute:job", args=[job[0]]) if job else ""


@login_required
@require_safe
def site_ledger(request: HttpRequest) -> HttpResponse:
    totals = queries.ledger_totals(request.user)
    return render(
        request,
        "grants/ledger.html",
        {
            "totals": totals,
            "overruns": queries.overruns_for(request.user),
            "differences": ledger.check(),
            "closed": queries.closed_months(request.user),
            "seals": queries.seals(request.user),
            "close_form": MonthForm(auto_id="%s-close", initial={"month": _last_month()})
            if access_of(request.user).holds(Role.OFFICER)
            else None,
        },
    )


def _last_month() -> date:
    return localdate().replace(day=1) - timedelta(days=1)


@login_required
@require_POST
def close_month(request: HttpRequest) -> HttpResponse:
    queries.require_overseer(request.user)
    form = MonthForm(request.POST)
    if form.is_valid():
        with form.refusals():
            month, reason = form.cleaned_data["month"], form.cleaned_data["reason"]
            actions.close_month(request.user, month=month, reason=reason)  # type: ignore[arg-type]
            messages.success(request, _("The month %(month)s is closed.") % {"month": f"{month:%Y-%m}"})
            return redirect("grants:ledger")
    return render(request, "grants/close_month.html", {"form": form}, status=422)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def announce(request: HttpRequest, code: str) -> HttpResponse:
    """First what would be sent, to whom, with which figures; then, on the button, all of it."""
    call = queries.call_for_officer(request.user, code)
    refused = None
    if request.method == "POST":
        try:
            grants = actions.announce(request.user, call=call)  # type: ignore[arg-type]
        except Refused as error:
            refused = error
        else:
            text = _("The results are announced. %(count)s agreements are on their way.") % {"count": len(grants)}
            messages.success(request, text)
            return redirect("grants:reserve", code)
    return render(
        request,
        "grants/announce.html",
        {
            "call": call,
            "rows": previews.of_announcement(call),
            "refused": refused,
            "possible": call.state == CallState.EVALUATING,
        },
        status=refused.status if refused else 200,
    )


@login_required
@require_safe
def reserve(request: HttpRequest, code: str) -> HttpResponse:
    call = queries.call_for_officer(request.user, code)
    return render(
        request,
        "grants/reserve.html",
        {"call": call, "waiting": queries.reserve_list(call), "grants": queries.grants_of_call(call)},
    )


@login_required
@require_POST
def promote(request: HttpRequest, code: str, application: int) -> HttpResponse:
    call = queries.call_for_officer(request.user, code)
    row = Application.objects.filter(call=call, pk=min(application, 2**63 - 1)).select_related("call").first()
    if row is None:
        raise queries.missing()
    grant = actions.promote(request.user, application=row)  # type: ignore[arg-type]
    messages.success(request, _("An agreement is offered to “%(title)s”.") % {"title": grant.title})
    return redirect("grants:reserve", code)
