"""The pages on which operators see the jobs of all organizations, and have one end."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from madang.facilities.compute import sessions, words
from madang.facilities.compute.forms import EndForm
from madang.facilities.compute.views import history, number
from madang.identity.access import me
from madang.jobs import actions, bare, maintenance
from madang.jobs import queries as job_queries
from madang.jobs.models import Job
from madang.workflow.errors import Stale


@login_required
@require_safe
def jobs(request: HttpRequest) -> HttpResponse:
    """Those that run or wait, each with a form to have it end."""
    engine, partition = (request.GET.get(name, "")[:60] for name in ("engine", "partition"))
    after = number(request.GET.get("after"))
    page = job_queries.live_of_all(request.user, engine=engine, partition=partition, after=after)
    past_us = bare.of_all(request.user, engine=engine, partition=partition) if after is None else bare.NONE
    kept = request.GET.copy()
    kept.pop("after", None)
    context = {
        "rows": [(row, EndForm(initial={"listed": True}, auto_id=f"job-{row.pk}-%s")) for row in page.items],
        "bare": past_us.rows,
        "bare_more": past_us.more,
        "where": " ".join(filter(None, (engine, partition))),
        "more": f"?{kept.urlencode()}&after={page.after}" if page.after else "",
        "first": f"?{kept.urlencode()}" if "after" in request.GET else "",
    }
    return render(request, "compute/site_jobs.html", context)


@login_required
@require_safe
def job(request: HttpRequest, uuid: UUID) -> HttpResponse:
    return _shown(request, job_queries.operated(request.user, uuid), EndForm())


@login_required
@require_POST
def end(request: HttpRequest, uuid: UUID) -> HttpResponse:
    row = job_queries.operated(request.user, uuid)
    form = EndForm(request.POST)
    if form.is_valid():
        with form.refusals():
            try:
                actions.end_for(me(request), job=row, reason=form.cleaned_data["reason"])
                messages.success(request, _("The job was asked to end. Whose it is reads why."))
            except Stale as late:  # then there is no form any more that could say it
                messages.error(request, str(late))
            if form.cleaned_data["listed"]:
                return redirect("compute:site_jobs")
            return redirect("compute:site_job", uuid=uuid)
    return _shown(request, row, form)


def _shown(request: HttpRequest, row: Job, form: EndForm) -> HttpResponse:
    """The page of a job for operators: what it holds and uses, without its script, its log and its files."""
    watch = job_queries.watches().get(row.engine) if row.lives else None
    windows = maintenance.reaching(watch, row.partition)
    context: dict[str, Any] = {
        "job": row,
        "form": form,
        "waits": words.waits(row.waits, windows, watch.moment if watch else None),
        "ended_for": words.reason(row.cancel_why),
        "history": history(row),
        "so_far": sessions.used_by(row, watch.moment) if watch and row.started_at and row.tasks == 1 else None,
        "watch": watch,
    }
    return render(request, "compute/site_job.html", context, status=422 if form.errors else 200)
