from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from madang.catalog.actions import may_keep
from madang.facilities.compute import actions, queries, words
from madang.facilities.compute.forms import ClusterForm, PartitionForm, SubmitForm
from madang.identity.access import access_of, me, require
from madang.identity.models import Role
from madang.jobs import actions as job_actions
from madang.jobs import queries as job_queries
from madang.jobs.models import Job, JobState
from madang.workflow.errors import Refused


def number(text: str | None, most: int = 2**62) -> int | None:
    """A whole number from an address; None where it isn't one."""
    return int(text) if text and text.isascii() and text.isdigit() and int(text[:20]) <= most else None


@require_safe
def partitions(request: HttpRequest) -> HttpResponse:
    access = access_of(request.user)
    keeps = access.holds(Role.OPERATOR) or access.somewhere(Role.STEWARD)
    return render(request, "compute/partitions.html", {"places": queries.places(), "keeps": keeps})


@require_safe
def partition(request: HttpRequest, code: str) -> HttpResponse:
    place = queries.place(code)
    mine = queries.usable_on(request.user, place.partition.resource_id) if request.user.is_authenticated else None
    return render(request, "compute/partition.html", {"place": place, "mine": mine})


@login_required
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    state = queries.health(request.user)
    warnings = {
        row.cluster.code: [words.warning(warning) for warning in row.health.get("warnings", [])]
        for row in state.clusters
    }
    operates = access_of(request.user).holds(Role.OPERATOR)
    return render(request, "compute/health.html", {"state": state, "warnings": warnings, "operates": operates})


@login_required
@require_http_methods(["GET", "POST"])
def add_cluster(request: HttpRequest) -> HttpResponse:
    require(request.user, Role.OPERATOR)
    form = ClusterForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            actions.add_cluster(me(request), **form.cleaned_data)
            messages.success(request, _("The cluster is added. Its dispatcher starts within a few seconds."))
            return redirect("compute:add_partition")
    return render(request, "compute/add_cluster.html", {"form": form}, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "POST"])
def add_partition(request: HttpRequest) -> HttpResponse:
    resources = queries.resources_without_partition(request.user)
    form = PartitionForm(resources, request.POST or None, initial={"resource": number(request.GET.get("resource"))})
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            made = actions.add_partition(me(request), **form.cleaned_data)
            return redirect("compute:partition", code=made.resource.code)
    context = {"form": form, "resources": resources, "adds": may_keep(request.user)}
    return render(request, "compute/add_partition.html", context, status=422 if form.errors else 200)


@login_required
@require_safe
def jobs(request: HttpRequest) -> HttpResponse:
    mine = request.GET.get("whose") == "mine"
    live = {"live": True, "ended": False}.get(request.GET.get("state", ""))
    allocation = number(request.GET.get("allocation"))
    page = job_queries.jobs_of(
        request.user, mine=mine, live=live, allocation=allocation, after=number(request.GET.get("after"))
    )
    kept = request.GET.copy()
    kept.pop("after", None)
    context = {
        "page": page,
        "mine": mine,
        "state": request.GET.get("state", ""),
        "more": f"?{kept.urlencode()}&after={page.after}" if page.after else "",
        "first": f"?{kept.urlencode()}" if "after" in request.GET else "",
        "member": bool(access_of(request.user).organizations),
    }
    return render(request, "compute/jobs.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """The form. A changed choice, or the button “calculate”, shows it again with what it would hold and cost."""
    offers = queries.offers(request.user)
    given = request.POST if request.method == "POST" else request.GET
    wanted = number(given.get("allocation"))
    chosen = next((offer for offer in offers if offer.allocation.pk == wanted), offers[0] if offers else None)
    asks = "calculate" in given or request.htmx  # type: ignore[attr-defined]
    if request.method == "POST" and not asks:
        form = SubmitForm(offers, request.POST, request.FILES, chosen=chosen)
        if chosen and form.is_valid():
            with form.refusals():
                said = form.cleaned_data
                job = actions.submit(
                    me(request),
                    uuid=said["uuid"],
                    allocation=chosen.allocation,
                    name=said["name"],
                    script=said["script"],
                    arguments=said["argv"],
                    gpus=said["gpus"],
                    limit_s=said["limit_s"],
                )
                return redirect("compute:job", uuid=job.uuid)
    else:
        form = SubmitForm(offers, chosen=chosen, initial=_initial(request, given))
    context = {"form": form, "offers": offers, "offer": chosen, "estimate": _estimate(chosen, form)}
    template = "compute/new.html#choices" if request.htmx else "compute/new.html"  # type: ignore[attr-defined]
    return render(request, template, context, status=422 if form.errors else 200)


def _initial(request: HttpRequest, given: Any) -> dict[str, Any]:
    """What was typed so far; or, to run a job again, what it was."""
    known = {
        name: given[name] for name in ("name", "script", "arguments", "gpus", "limit_s", "uuid") if given.get(name)
    }
    if source := request.GET.get("from"):
        try:
            before = job_queries.job_for(request.user, UUID(source))
        except ValueError as error:
            raise queries.missing() from error
        import shlex

        known = {
            "name": before.name,
            "script": before.script,
            "arguments": shlex.join(before.arguments),
            "gpus": before.gpus,
            "limit_s": -(-before.limit_s // 60),
            **known,
        }
    known.setdefault("uuid", uuid4())
    return known


def _estimate(offer: queries.Offer | None, form: SubmitForm) -> queries.Estimate | None:
    """For what is chosen in the form now, where that makes sense."""
    gpus, minutes = number(str(form["gpus"].value() or "1")), number(str(form["limit_s"].value() or ""))
    if offer is None or not gpus or not minutes or gpus > 1024 or minutes > 90 * 1440:
        return None
    return queries.estimate(offer, gpus, minutes * 60)


@login_required
@require_safe
def job(request: HttpRequest, uuid: UUID) -> HttpResponse:
    row = job_queries.job_for(request.user, uuid)
    context = {**_facts(row), "log": queries.log_tail(row), "history": _history(row)}
    return render(request, "compute/job.html", context)


@login_required
@require_safe
def log(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """What was written since `offset`, and the state of the job: asked for again and again until the job has ended."""
    row = job_queries.job_for(request.user, uuid)
    part = queries.log_part(row, number(request.GET.get("offset")) or 0)
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("compute:job", uuid=uuid)
    done = not row.lives and part.next >= part.size
    return render(
        request, "compute/job_more.html", {**_facts(row), "log": part, "done": done, "history": _history(row)}
    )


def _facts(row: Job) -> dict[str, Any]:
    removing = queries.removing(row)
    files = [] if removing else queries.files_of(row)
    return {
        "job": row,
        "steps": _steps(row),
        "waits": words.waits(row.waits),
        "why": words.why(row.why),
        "runs": job_queries.runs_of(row),
        "files": files,
        "removing": removing,
        "files_size": sum(entry.size for entry in files),
        "price": queries.price_of(row) if not row.lives else None,
        "watch": job_queries.watches().get(row.engine),
    }


def _history(row: Job) -> list[dict[str, Any]]:
    return [
        {"what": words.verb(line.verb), "who": line.actor_name, "at": line.at, "why": line.reason}
        for line in job_queries.history(row)
    ]


def _steps(row: Job) -> list[dict[str, str]]:
    """Where the job is on its way: accepted, in the queue, running, ended."""
    order = [JobState.ACCEPTED, JobState.QUEUED, JobState.RUNNING, JobState.ENDED]
    labels = [pgettext("job", "Accepted"), pgettext("job", "In the queue")]
    labels += [pgettext("job", "Running"), pgettext("job", "Ended")]
    at = {
        JobState.SUBMITTED: JobState.QUEUED,
        JobState.UNKNOWN: JobState.RUNNING if row.started_at else JobState.QUEUED,
    }
    here = order.index(at.get(JobState(row.state), JobState(row.state)))
    steps = []
    for number_, label in enumerate(labels):
        state = "done" if number_ < here else "current" if number_ == here else "todo"
        if not row.lives:
            state = "done" if number_ != 2 or row.started_at else "todo"
            if number_ == 3 and row.outcome != "completed":
                state, label = "failed", row.get_outcome_display()
        steps.append({"label": str(label), "state": state})
    return steps


def _attachment(response: HttpResponse | StreamingHttpResponse) -> HttpResponse | StreamingHttpResponse:
    """What tenants wrote is never shown as a page of this site."""
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response["Cache-Control"] = "private, no-store"
    return response


@login_required
@require_safe
def whole_log(request: HttpRequest, uuid: UUID) -> Any:
    row = job_queries.job_for(request.user, uuid)
    response = StreamingHttpResponse(queries.whole_log(row), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{uuid}.log"'
    return _attachment(response)


@login_required
@require_safe
def script(request: HttpRequest, uuid: UUID) -> Any:
    row = job_queries.job_for(request.user, uuid)
    response = HttpResponse(row.script, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{uuid}.script"'
    return _attachment(response)


@login_required
@require_safe
def file(request: HttpRequest, uuid: UUID, path: str) -> Any:
    row = job_queries.job_for(request.user, uuid)
    opened = queries.open_file(row, path)
    name = path.rsplit("/", 1)[-1]
    return _attachment(FileResponse(opened, as_attachment=True, filename=name, content_type="application/octet-stream"))


@login_required
@require_POST
def cancel(request: HttpRequest, uuid: UUID) -> HttpResponse:
    row = job_queries.job_for(request.user, uuid)
    try:
        job_actions.cancel(me(request), job=row)
        messages.success(request, _("The job is being canceled."))
    except Refused as refused:
        messages.error(request, str(refused))
    return redirect("compute:job", uuid=uuid)


@login_required
@require_POST
def delete_files(request: HttpRequest, uuid: UUID) -> HttpResponse:
    row = job_queries.job_for(request.user, uuid)
    try:
        actions.delete_files(me(request), job=row)
        messages.success(request, _("The files of this job are being removed."))
    except Refused as refused:
        messages.error(request, str(refused))
    return redirect("compute:job", uuid=uuid)
