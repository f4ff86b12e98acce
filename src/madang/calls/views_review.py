"""The reviewer's pages. What identifies the applicant of a blind call never reaches them: the queries leave it out."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from madang.calls import actions, queries
from madang.calls.forms import ReasonForm, ScoreForm
from madang.calls.models import Assignment, AssignmentState
from madang.calls.views import Asked, known_id
from madang.workflow.errors import Refused


@login_required
@require_safe
def queue(request: Asked) -> HttpResponse:
    found = queries.review_queue(request.user, after=request.GET.get("after"), limit=60)
    context = {
        "found": found,
        "first": "after" not in request.GET,
        "waiting": [row for row in found.items if row.state == AssignmentState.ASSIGNED],
        "done": [row for row in found.items if row.state != AssignmentState.ASSIGNED],
    }
    return render(request, "calls/reviews.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def review(request: Asked, id: int) -> HttpResponse:
    """`do` is draft, submit, or autosave (htmx: the total while scoring)."""
    view = queries.review(request.user, known_id(id))
    form = ScoreForm(request.POST if request.method == "POST" else None, view=view)
    verb = request.POST.get("do", "draft")
    if request.method == "POST" and verb == "autosave":
        return autosave(request, view, form)
    if request.method == "POST" and form.is_valid():
        assignment = assigned(view.assignment_id)
        with form.refusals():
            scores, comment = form.scores(), form.cleaned_data["comment"] or ""
            if verb == "submit":
                sheet = actions.score(request.user, assignment=assignment, scores=scores, comment=comment)
                messages.success(request, _("Your review is submitted: %(total)s points.") % {"total": sheet.total})
                return redirect("calls:reviews")
            actions.save_scores(request.user, assignment=assignment, scores=scores, comment=comment)
            messages.success(request, _("The draft of your review is saved. It isn't submitted yet."))
            return redirect("calls:review", id=view.assignment_id)
    context = {
        "view": view,
        "call": view.call,
        "form": form,
        "scores": [(criterion, form[f"c-{criterion.code}"]) for criterion, _points in view.criteria],
        "asked_lines": [line for line in view.lines if line.amount],
        "answers": [field for field in view.fields if field.shown],
        "total": form.total() if form.is_bound and form.is_valid() else so_far(view),
        "recusing": ReasonForm(label=_("Why do you recuse yourself?"), auto_id="recuse_%s"),
    }
    return render(request, "calls/review.html", context, status=422 if form.errors else 200)


def so_far(view: Any) -> int | None:
    """The sum of what is scored so far; None before the first score."""
    points = [points for _criterion, points in view.criteria if points is not None]
    return sum(points) if points else None


def autosave(request: Asked, view: Any, form: ScoreForm) -> HttpResponse:
    """The total as it stands, and whether the draft was kept."""
    problem, total = "", None
    if form.is_valid():
        total = form.total()
        try:
            actions.save_scores(
                request.user,
                assignment=assigned(view.assignment_id),
                scores=form.scores(),
                comment=form.cleaned_data["comment"] or "",
            )
        except Refused as refused:
            if refused.status in (403, 404):
                raise
            problem = str(next(iter(refused.errors.values()), refused.message))
    else:
        problem = _("Please correct what is marked or too high.")
    context = {"view": view, "total": total, "problem": problem, "autosaved": True}
    return render(request, "calls/review_total.html", context)


def assigned(id: int) -> Assignment:
    """The row that the verbs take. That it is the person's own was checked by the query before."""
    return Assignment.objects.get(pk=id)


@login_required
@require_http_methods(["GET", "POST"])
def recuse(request: Asked, id: int) -> HttpResponse:
    view = queries.review(request.user, known_id(id))
    form = ReasonForm(request.POST if request.method == "POST" else None, label=_("Why do you recuse yourself?"))
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            actions.recuse(request.user, assignment=assigned(view.assignment_id), reason=form.cleaned_data["reason"])
            messages.success(request, _("You are recused from this application. Thank you for saying so."))
            return redirect("calls:reviews")
    context = {"view": view, "call": view.call, "form": form}
    return render(request, "calls/recuse.html", context, status=422 if form.errors else 200)
