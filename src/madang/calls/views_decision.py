"""Between eligibility and the announcement: who reviews what, and what is proposed for each application."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from madang.calls import actions, queries
from madang.calls import effect as effects
from madang.calls.forms import DecisionForm, EffectForm
from madang.calls.models import Assignment, CallState
from madang.calls.progress import heading, progress
from madang.calls.views import Asked, known_id
from madang.twin import BadInput
from madang.workflow.errors import Missing, Refused


@login_required
@require_http_methods(["GET", "POST"])
def assign(request: Asked, code: str) -> HttpResponse:
    """All at once, or by hand for `?application=`. `do` is all, one or recuse."""
    view = heading(request.user, code)
    problem = ""
    if request.method == "POST":
        try:
            return assigned(request, view.call)
        except Refused as refused:
            if refused.status in (403, 404, 409):
                raise
            problem = str(next(iter(refused.errors.values()), refused.message))
    rows, loads = progress(view.call)
    chosen = request.POST.get("application") or request.GET.get("application") or ""
    row = next((row for row in rows if str(row.application.pk) == chosen), None)
    context = {
        "view": view,
        "call": view.call,
        "rows": rows,
        "loads": loads,
        "wanted": view.call.reviews_wanted * len(rows),
        "done": sum(load.done for load in loads),
        "lacking": sum(1 for each in rows if each.lacks),
        "row": row,
        "candidates": queries.reviewers_for(request.user, row.application.pk) if row else [],
        "running": view.call.state == CallState.EVALUATING,
        "problem": problem,
    }
    return render(request, "calls/assign.html", context, status=422 if problem else 200)


def assigned(request: Asked, call: Any) -> HttpResponse:
    verb = request.POST.get("do", "")
    if verb == "all":
        new = actions.assign_all(request.user, call=call)
        text = ngettext("%(n)s reviewer was assigned.", "%(n)s assignments were made.", len(new)) % {"n": len(new)}
        messages.success(request, text if new else _("Every application has the reviewers that it needs."))
        return redirect("calls:assign", code=call.code)
    row = queries.application_for_officer(request.user, known_id(request.POST.get("application", "")))
    if row.call.pk != call.pk:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    if verb == "one":
        wanted = known_id(request.POST.get("reviewer", ""))
        candidates = queries.reviewers_for(request.user, row.application.pk)
        reviewer = next((each.person for each in candidates if each.person.pk == wanted), None)
        if reviewer is None:
            raise Missing(_("This person is no reviewer here."))
        actions.assign(request.user, application=row.application, reviewer=reviewer)
        messages.success(request, _("%(name)s is assigned.") % {"name": reviewer.name})
    elif verb == "recuse":
        wanted = known_id(request.POST.get("assignment", ""))
        assignment = Assignment.objects.filter(pk=wanted, application=row.application.pk).first()
        if assignment is None:
            raise Missing(_("There is nothing here, or it isn't yours to see."))
        reason = request.POST.get("reason", "").strip()[:300]
        actions.recuse(request.user, assignment=assignment, reason=reason)
        messages.success(request, _("The assignment is ended, with your reason."))
    return redirect(f"{reverse('calls:assign', args=[call.code])}?application={row.application.pk}#by-hand")


@login_required
@require_http_methods(["GET", "POST"])
def decide(request: Asked, code: str) -> HttpResponse:
    """The ranking with what is asked and awarded, and one proposal at a time. `do` is save, next or undo."""
    sheet = queries.decision_sheet(request.user, code)
    chosen = request.POST.get("application") or request.GET.get("application") or ""
    row = next((row for row in sheet.rows if str(row.application.pk) == chosen), None)
    if chosen and row is None:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    if row is None and sheet.can_decide:
        row = next((row for row in sheet.rows if row.decision is None), None)
    form = None
    if row is not None and sheet.can_decide:
        form = DecisionForm(request.POST if request.method == "POST" else None, row=row, call=sheet.call)
    if request.method == "POST":
        if row is None:
            raise Missing(_("There is nothing here, or it isn't yours to see."))
        if request.POST.get("do") == "undo":
            actions.undecide(request.user, application=row.application)
            messages.success(request, _("The proposal is taken back."))
            return redirect(f"{reverse('calls:decide', args=[code])}?application={row.application.pk}#proposal")
        if form is None or form.is_valid():
            done = propose(request, sheet, row, form)
            if done is not None:
                return done
    context = {
        "sheet": sheet,
        "call": sheet.call,
        "row": row,
        "form": form,
        "amounts": amounts(form, row),
        # The grants room makes the grants in the transaction that announces the results.
        "announce": address("grants:announce", code),
        "decided": len(sheet.rows) - sheet.undecided,
    }
    return render(request, "calls/decide.html", context, status=422 if form is not None and form.errors else 200)


def propose(request: Asked, sheet: Any, row: Any, form: DecisionForm | None) -> HttpResponse | None:
    """Saves the proposal; None where it was refused and the form says why."""
    given: dict[str, Any] = {"outcome": "", "amounts": None, "reason": ""}
    if form is not None:
        outcome = form.cleaned_data["outcome"]
        given = {
            "outcome": outcome,
            "amounts": form.amounts() if outcome == "selected" else None,
            "reason": form.cleaned_data["reason"],
        }
    try:
        actions.decide(request.user, application=row.application, **given)
    except Refused as refused:
        if form is None or refused.status in (403, 404, 409):
            raise
        form.refuse(refused)
        return None
    messages.success(request, _("The proposal for %(number)s is saved.") % {"number": row.application.receipt_number})
    address = reverse("calls:decide", args=[sheet.call.code])
    if request.POST.get("do") == "next":
        rest = [other for other in sheet.rows if other.decision is None and other.application.pk != row.application.pk]
        return redirect(f"{address}?application={rest[0].application.pk}#proposal" if rest else address)
    return redirect(f"{address}?application={row.application.pk}#proposal")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def effect(request: Asked, code: str) -> HttpResponse:
    """What the proposals would do to use and waits; posted, with the one in the form as it stands. Saves nothing."""
    proposals = queries.proposals(request.user, code)
    row = form = None
    if request.method == "POST":
        chosen = request.POST.get("application", "")
        row = next((row for row in proposals.rows if str(row.application.pk) == chosen), None)
        if row is None or not proposals.can_decide:
            raise Missing(_("There is nothing here, or it isn't yours to see."))
        form = EffectForm(request.POST, row=row, call=proposals.call)
    facts: dict[str, Any] = {"view": proposals, "call": proposals.call, "row": row, "form": form}
    if form is None or form.is_valid():
        given, facts["awards"] = proposals.awarded(row, form.counted() if form else None)
        try:
            facts["found"] = effects.effects(proposals.call, proposals.lines, given)
        except (BadInput, ImportError) as error:
            facts["problem"] = str(error)
    facts |= {"amounts": amounts(form, row), "calibration": address("planning:calibration")}
    # What htmx asks for is put into the page of the decision.
    template = "calls/effect.html#effect" if request.htmx else "calls/effect.html"  # type: ignore[attr-defined]
    return render(request, template, facts, status=422 if form and form.errors else 200)


def amounts(form: DecisionForm | None, row: Any) -> list[Any]:
    """The fields of the amounts, in the order of the lines."""
    return [form[f"line-{line.line_id}"] for line in row.lines] if form is not None and row is not None else []


def address(name: str, *args: str) -> str:
    """The address of a page of a room above this one; nothing where there is no such room."""
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""
