from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from madang.catalog.actions import may_keep
from madang.engines.base import MAX_TASKS
from madang.facilities.compute import actions, clusters, metrics, queries, recipes, sessions, storage, words
from madang.facilities.compute.forms import (
    AccountForm,
    ClusterForm,
    DrainForm,
    ExcessForm,
    FilesForm,
    PartitionForm,
    StrayForm,
    SubmitForm,
    TemplateForm,
)
from madang.grants.models import Grant
from madang.identity.access import access_of, me, require
from madang.identity.models import Role
from madang.jobs import actions as job_actions
from madang.jobs import bare, maintenance, sweeps
from madang.jobs import queries as job_queries
from madang.jobs.engines import inputs_of
from madang.jobs.models import Job, JobOutcome, JobState, Task
from madang.web.forms import WholeNumber
from madang.web.ranges import download
from madang.workflow.errors import Missing, Refused


def number(text: str | None, most: int = 2**62) -> int | None:
    """A whole number from an address; None where it isn't one."""
    if not text or len(text) > 20 or not (text.isascii() and text.isdigit()):
        return None
    return found if (found := int(text)) <= most else None


@require_safe
def partitions(request: HttpRequest) -> HttpResponse:
    access = access_of(request.user)
    keeps = access.holds(Role.OPERATOR) or access.somewhere(Role.STEWARD)
    return render(request, "compute/partitions.html", {"places": queries.places(), "keeps": keeps})


@require_safe
def partition(request: HttpRequest, code: str) -> HttpResponse:
    place = queries.place(code)
    mine = queries.usable_on(request.user, place.partition.resource_id) if request.user.is_authenticated else None
    sbatch = clusters.sbatch(place.partition, mine) if mine else ""
    return render(request, "compute/partition.html", {"place": place, "mine": mine, "sbatch": sbatch})


@login_required
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    state = queries.health(request.user)
    warnings = {row.cluster.code: [words.warning(alarm) for alarm in row.alarms] for row in state.clusters}
    operates = access_of(request.user).holds(Role.OPERATOR)
    context = {
        "state": state,
        "warnings": warnings,
        "operates": operates,
        "accounts": bool(clusters.with_directory()),
    }
    return render(request, "compute/health.html", context)


@require_safe
def figures(request: HttpRequest) -> HttpResponse:
    """For Prometheus, with the token of the server's settings: without it there is nothing here."""
    given, token = request.headers.get("Authorization", ""), settings.METRICS_TOKEN
    if not token or not constant_time_compare(given, f"Bearer {token}"):
        raise queries.missing()
    return HttpResponse(metrics.text(), content_type=metrics.CONTENT_TYPE, headers={"Cache-Control": "no-store"})


@login_required
@require_http_methods(["GET", "POST"])
def nodes(request: HttpRequest) -> HttpResponse:
    """The nodes as the poller saw them. An operator has one take no more jobs, or take them again."""
    page = number(request.GET.get("page"), 10_000) or 1
    seen = queries.nodes(request.user, state=request.GET.get("state", ""), page=page)
    asked, status = number(request.POST.get("node")), 200
    if request.method == "POST" and "resume" in request.POST:
        job_actions.resume_node(me(request), node=queries.node_for(request.user, asked or 0))
        return redirect(request.get_full_path())
    forms = {}
    for row in seen.rows:
        given = request.POST if request.method == "POST" and row.pk == asked else None
        forms[row.pk] = form = DrainForm(given, initial={"node": row.pk}, auto_id=f"node-{row.pk}-%s")
        if given is not None:
            status = 422
            if form.is_valid():
                with form.refusals():
                    job_actions.drain_node(me(request), node=row, reason=form.cleaned_data["reason"])
                    return redirect(request.get_full_path())
    kept = f"state={seen.state}&" if seen.state else ""
    context = {
        "seen": seen,
        "rows": [(row, forms[row.pk], words.node(row.state)) for row in seen.rows],
        "sums": [(state, words.node(state), *rest) for state, *rest in seen.sums],
        "windows": queries.windows(request.user),
        "operates": access_of(request.user).holds(Role.OPERATOR),
        "more": f"?{kept}page={page + 1}" if seen.more else "",
        "before": f"?{kept}page={page - 1}" if page > 1 else "",
    }
    return render(request, "compute/nodes.html", context, status=status)


@login_required
@require_http_methods(["GET", "POST"])
def strays(request: HttpRequest) -> HttpResponse:
    """What ran on a cluster and belongs to nobody, until an operator says whose it was."""
    require(request.user, Role.OPERATOR)
    asked, status = number(request.POST.get("stray")), 200
    rows: list[Any] = list(queries.strays())
    for row in rows:
        given = request.POST if row.pk == asked else None
        row.form = StrayForm(given, initial={"stray": row.pk}, auto_id=f"stray-{row.pk}-%s")
        if given is None:
            continue
        status = 422
        if row.form.is_valid():
            with row.form.refusals():
                job_actions.answer_stray(me(request), stray=row, answer=row.form.cleaned_data["answer"])
                return redirect("compute:strays")
    return render(request, "compute/strays.html", {"strays": rows}, status=status)


@login_required
@require_http_methods(["GET", "POST"])
def excess(request: HttpRequest) -> HttpResponse:
    """What was charged beyond the end of a run, as its cluster was away: given back, or kept."""
    require(request.user, Role.OPERATOR)
    asked, status = number(request.POST.get("run")), 200
    rows: list[Any] = list(queries.excess())
    for row in rows:
        given = request.POST if row.pk == asked else None
        row.form = ExcessForm(given, initial={"run": row.pk}, auto_id=f"run-{row.pk}-%s")
        if given is None:
            continue
        status = 422
        if row.form.is_valid():
            with row.form.refusals():
                reason = row.form.cleaned_data["reason"]
                job_actions.answer_excess(me(request), run=row, give_back="give_back" in given, reason=reason)
                return redirect("compute:excess")
    return render(request, "compute/excess.html", {"rows": rows}, status=status)


@login_required
@require_http_methods(["GET", "POST"])
def accounts(request: HttpRequest) -> HttpResponse:
    """Under which names people work on the clusters whose users come from the site's directory."""
    require(request.user, Role.OPERATOR)
    places = clusters.with_directory()
    form = AccountForm(places, request.POST or None)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            actions.add_account(me(request), **form.cleaned_data)
            messages.success(request, _("The user name is kept. Jobs can be submitted in a few seconds."))
            return redirect("compute:accounts")
    context = {"form": form, "places": places, "accounts": queries.accounts(places)}
    return render(request, "compute/accounts.html", context, status=422 if form.errors else 200)


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
    allocation, after = number(request.GET.get("allocation")), number(request.GET.get("after"))
    page = job_queries.jobs_of(
        request.user,
        columns=job_queries.LISTED,
        mine=mine,
        live=live,
        allocation=allocation,
        after=after,
    )
    first = after is None and live is not False and clusters.slurms()
    past_us = bare.of_members(request.user, mine=mine, allocation=allocation) if first else bare.NONE
    kept = request.GET.copy()
    kept.pop("after", None)
    context = {
        "page": page,
        "bare": past_us.rows,
        "bare_more": past_us.more,
        "mine": mine,
        "state": request.GET.get("state", ""),
        "more": f"?{kept.urlencode()}&after={page.after}" if page.after else "",
        "first": f"?{kept.urlencode()}" if "after" in request.GET else "",
        "member": bool(access_of(request.user).organizations),
        "sessions": sessions.offered(),
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
    kept = queries.project_files(request.user, grant=chosen.allocation.grant_id, ready=True) if chosen else []
    offered = [] if request.htmx else recipes.recipes()  # type: ignore[attr-defined]
    recipe = recipes.chosen(offered, request.GET["template"]) if "template" in request.GET else None
    if request.method == "POST" and not asks:
        form = SubmitForm(offers, request.POST, request.FILES, chosen=chosen, kept=kept)
        if chosen and form.is_valid():
            with form.refusals():
                said = form.cleaned_data
                added = _add(request, chosen.allocation.grant, said["attach"])
                job = actions.submit(
                    me(request),
                    uuid=said["uuid"],
                    allocation=chosen.allocation,
                    name=said["name"],
                    script=said["script"],
                    arguments=said["argv"],
                    gpus=said["gpus"],
                    limit_s=said["limit_s"],
                    tasks=said["tasks"],
                    parallel=said["parallel"],
                    parameters=said["parameters"],
                    files=list(dict.fromkeys([*said["files"], *added])),
                    requeue=said["requeue"],
                )
                return redirect("compute:job", uuid=job.uuid)
    else:
        form = SubmitForm(offers, chosen=chosen, kept=kept, initial=_initial(request, given, recipe))
    context = {"form": form, "offers": offers, "offer": chosen, **_forecast(chosen, form)}
    names = {row.path for row in kept}
    lacking = [name for name in recipe.needs if name not in names] if recipe else []
    context |= {"recipes": offered, "recipe": recipe, "lacking": lacking}
    template = "compute/new.html#choices" if request.htmx else "compute/new.html"  # type: ignore[attr-defined]
    return render(request, template, context, status=422 if form.errors else 200)


def _add(request: HttpRequest, grant: Grant, uploads: Sequence[Any]) -> list[str]:
    """Keep what was sent with the project. The names of the files."""
    return [
        actions.add_file(me(request), grant=grant, path=upload.name, content=upload, size=upload.size).path
        for upload in uploads
    ]


@login_required
@require_http_methods(["GET", "POST"])
def files(request: HttpRequest) -> HttpResponse:
    """The files that one's projects keep for their jobs, one project at a time."""
    projects = queries.projects(request.user)
    asked = request.GET.get("grant")
    project = next((row for row in projects if asked in (None, row.number)), None)
    if asked is not None and project is None:
        raise queries.missing()
    sent = request.method == "POST"
    form = FilesForm(request.POST if sent else None, request.FILES if sent else None) if project else None
    if project and form and form.is_valid():
        with form.refusals():
            added = _add(request, project, form.cleaned_data["files"])
            many = ngettext("%(count)s file is kept.", "%(count)s files are kept.", len(added))
            messages.success(request, many % {"count": len(added)})
            return redirect(f"{reverse('compute:files')}?grant={project.number}")
    context: dict[str, Any] = {"projects": projects, "project": project, "form": form}
    if project:
        held, most = storage.room(project)
        context |= {"files": queries.project_files(request.user, grant=project), "held": held, "most": most}
    return render(request, "compute/files.html", context, status=422 if form and form.errors else 200)


@login_required
@require_safe
def project_file(request: HttpRequest, id: int) -> Any:
    row = queries.project_file(request.user, id)
    return _attachment(download(request, queries.open_project_file(row), row.path.rsplit("/", 1)[-1]))


@login_required
@require_POST
def delete_file(request: HttpRequest, id: int) -> HttpResponse:
    row = queries.project_file(request.user, id)
    actions.delete_file(me(request), file=row)
    messages.success(request, _("“%(name)s” is deleted.") % {"name": row.path})
    return redirect(f"{reverse('compute:files')}?grant={row.grant.number}")


@login_required
@require_safe
def templates(request: HttpRequest) -> HttpResponse:
    """The scripts to start from; for operators also those that aren't offered."""
    operates = access_of(request.user).holds(Role.OPERATOR)
    return render(
        request, "compute/templates.html", {"recipes": recipes.recipes(hidden=operates), "operates": operates}
    )


@login_required
@require_http_methods(["GET", "POST"])
def template(request: HttpRequest, code: str | None = None) -> HttpResponse:
    """Add a template, or change one."""
    require(request.user, Role.OPERATOR)
    recipe = recipes.chosen(recipes.recipes(hidden=True), code) if code else None
    initial: dict[str, Any] | None = None
    if recipe:
        facts = {name: getattr(recipe, name) for name in recipes.FIELDS}
        initial = {**facts, "code": recipe.code, "limit_s": recipe.minutes, "needs": ", ".join(recipe.needs)}
    form = TemplateForm(request.POST or None, initial=initial)
    if recipe:
        form.fields["code"].disabled = True
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            actions.keep_template(me(request), **form.cleaned_data)
            messages.success(request, _("The template is kept."))
            return redirect("compute:templates")
    context = {"form": form, "recipe": recipe}
    return render(request, "compute/template.html", context, status=422 if form.errors else 200)


@login_required
@require_POST
def drop_template(request: HttpRequest, code: str) -> HttpResponse:
    actions.drop_template(me(request), code=code)
    messages.success(request, _("The site's own template is gone."))
    return redirect("compute:templates")


def _initial(request: HttpRequest, given: Any, recipe: recipes.Recipe | None) -> dict[str, Any]:
    """What was typed so far; or what a template says; or, to run a job again, what it was."""
    known: dict[str, Any] = {name: given[name] for name in TYPED if given.get(name)}
    if files := given.getlist("files"):
        known["files"] = files
    if (table := request.FILES.get("table")) and (table.size or 0) <= 4 * sweeps.MOST_TABLE:
        # A file can't be put back into a form, so it goes on as what was pasted.
        known["parameters"] = table.read().decode("utf-8-sig", errors="replace")
    if recipe:
        known = {
            "name": recipe.name,
            "script": recipe.script,
            "gpus": recipe.gpus,
            "limit_s": recipe.minutes,
            "tasks": recipe.tasks if recipe.tasks > 1 and not recipe.parameters else "",
            "parameters": recipe.parameters,
            "files": list(recipe.needs),
            "requeue": recipe.requeue,
            **known,
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
            "requeue": before.requeue,
            "files": [entry.path for entry in inputs_of(before)],
            **_tasks_again(request, before),
            **known,
        }
    known.setdefault("uuid", uuid4())
    return known


TYPED = ("name", "script", "arguments", "gpus", "limit_s", "uuid", "tasks", "parallel", "parameters", "requeue")


def _tasks_again(request: HttpRequest, before: Job) -> dict[str, Any]:
    """The tasks of a job that is run again: all of them, or those that ended badly."""
    known: dict[str, Any] = {"parallel": before.parallel or ""}
    if request.GET.get("again") == "failed":
        return known | {"parameters": job_queries.again(before)}
    if before.variables:
        return known | {"parameters": sweeps.csv_of(before.variables, sweeps.of(before).rows)}
    return known | {"tasks": before.tasks if before.tasks > 1 else ""}


def _typed(form: SubmitForm, name: str, otherwise: str = "") -> int | None:
    """A whole number as the form itself reads it, also in the wide digits of Korean keyboards; else None."""
    try:
        return WholeNumber(required=False).clean(form[name].value() or otherwise)
    except ValidationError:
        return None


def _forecast(offer: queries.Offer | None, form: SubmitForm) -> dict[str, Any]:
    """For what is chosen in the form now, where that makes sense; what is wrong with its table, if something is."""
    gpus, minutes, tasks = _typed(form, "gpus", "1"), _typed(form, "limit_s"), _typed(form, "tasks", "1")
    if offer is None or not gpus or not minutes or not tasks or gpus > 1024 or minutes > 90 * 1440 or tasks > MAX_TASKS:
        return {"forecast": None}
    try:
        count = sweeps.read(str(form["parameters"].value() or ""), tasks=tasks).tasks
    except Refused as refused:
        return {"forecast": None, "table_problem": str(refused)}
    return {"forecast": queries.forecast(offer, gpus, minutes * 60, count), "tasks": count}


@login_required
@require_safe
def job(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """For its organization. An operator of the site who isn't of it is sent to what operators see of it."""
    try:
        row = job_queries.job_for(request.user, uuid)
    except Missing:
        if access_of(request.user).holds(Role.OPERATOR):
            return redirect("compute:site_job", uuid=uuid)
        raise
    part = _part(request, row)
    tail = queries.log_tail(row, part.number, lives=part.lives)
    context = {**_facts(row, part), "log": tail, "history": history(row), **_tasks(request, row)}
    context["ask"] = _ask(request, context, ended=not part.lives)
    return render(request, "compute/job.html", context)


@login_required
@require_safe
def log(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """What was written since `offset`, and the state of the job: asked for again and again until all of it has ended.

    The table of its tasks comes along where it says something else than what was `seen`, and what an ended task left
    where that wasn't told yet.
    """
    row = job_queries.job_for(request.user, uuid)
    part = _part(request, row)
    more = queries.log_part(row, number(request.GET.get("offset")) or 0, part.number, lives=part.lives)
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("compute:job", uuid=uuid)
    done = not part.lives and more.next >= more.size
    context = {**_facts(row, part), "log": more}
    if row.tasks > 1 and request.GET.get("seen") != context["mark"]:
        context |= _tasks(request, row)
    if done and not (row.lives and "told" in request.GET):
        context |= {"ended": True, "history": history(row)}
    context["ask"] = _ask(request, context, ended=done)
    return render(request, "compute/job_more.html", context)


def _ask(request: HttpRequest, context: dict[str, Any], *, ended: bool) -> str:
    """What to ask the log for next; empty once nothing more can come. `ended`: of the task that is shown, all was."""
    row, part = context["job"], context["part"]
    if ended and not row.lives:
        return ""
    asked = {"offset": context["log"].next, **({"told": 1} if ended else {})}
    if row.tasks > 1:
        kept = {name: request.GET[name] for name in ("outcome", "after") if name in request.GET}
        asked |= {"task": part.number, **kept, "seen": context["mark"]}
    return urlencode(asked)


@dataclass(frozen=True)
class Part:
    """The task whose log and files a page shows; `query` names it in addresses, empty where a job has only one."""

    number: int
    lives: bool
    query: str
    task: Task | None


def _part(request: HttpRequest, row: Job) -> Part:
    asked = number(request.GET.get("task", "0"))
    if asked is None:
        raise queries.missing()
    found = queries.task_of(row, asked)
    task = found if isinstance(found, Task) else None
    return Part(asked, found.lives, f"task={asked}" if row.tasks > 1 else "", task)


def _tasks(request: HttpRequest, row: Job) -> dict[str, Any]:
    """A page of the table of outcomes, where there are several tasks."""
    if row.tasks == 1:
        return {}
    kept = urlencode({name: request.GET[name] for name in ("task", "outcome") if name in request.GET})
    outcome = {"failed": "failed", "open": "open"}.get(request.GET.get("outcome", ""), "")
    page = job_queries.tasks_of(row, outcome=outcome, after=number(request.GET.get("after")))
    return {
        "tasks": page,
        "outcome": outcome,
        "more": f"?{kept}&after={page.after}#tasks" if page.after is not None else "",
        "first": f"?{kept}#tasks" if "after" in request.GET else "",
    }


def _facts(row: Job, part: Part) -> dict[str, Any]:
    removing, runs = queries.removing(row), job_queries.runs_of(row, part.number)
    watch = job_queries.watches().get(row.engine) if row.lives else None
    windows = maintenance.reaching(watch, row.partition)
    files = [] if removing else queries.files_of(row, part.number)
    short = job_queries.held_back(row)
    tally = job_queries.tally(row) if row.tasks > 1 else None
    return {
        "job": row,
        "part": part,
        "counts": (counts := _counts(tally)),
        "mark": tally.mark if tally else "",
        "failed": any(name not in ("completed", "running", "waiting") for name, _said, _many in counts),
        "steps": _steps(row),
        "waits": words.waits("Uncovered" if short else row.waits, windows, watch.moment if watch else None),
        "short": short,
        "windows": windows,
        "touched": [reach.window.id for reach in windows if reach.touches(row)],
        "ended_for": words.reason(row.cancel_why),
        "why": words.why(row.why or (part.task.why if part.task else "")),
        "runs": runs,
        "earlier": runs if part.lives else runs[:-1],
        "report": queries.efficiency_of(row, runs) if not part.lives else None,
        "metrics": queries.metrics_of(row, part.number) if part.lives and row.started_at else None,
        "files": files,
        "removing": removing,
        "files_size": sum(entry.size for entry in files),
        "price": queries.price_of(row) if not row.lives else None,
        "watch": watch,
        # Of several tasks, each began at another time: what all of them have used isn't known before they end.
        "so_far": sessions.used_by(row, watch.moment) if watch and row.started_at and row.tasks == 1 else None,
        "session": sessions.session_of(row),
    }


def _counts(tally: job_queries.Tally | None) -> list[tuple[str, str, int]]:
    """How many tasks came to what: (state, its name, how many); nothing where there is only one."""
    if tally is None:
        return []
    names = {"running": pgettext("job", "run"), "waiting": pgettext("job", "wait"), **dict(JobOutcome.choices)}
    return [(name, str(names[name]), how_many) for name, how_many in tally.counts.items()]


def history(row: Job) -> list[dict[str, Any]]:
    """Who did what to a job, when and why."""
    return [
        {"what": words.verb(line.verb), "who": line.actor_name, "at": line.at, "why": words.reason(line.reason)}
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


def _attachment(response: HttpResponseBase) -> HttpResponseBase:
    """What tenants wrote is never shown as a page of this site."""
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response["Cache-Control"] = "private, no-store"
    return response


@login_required
@require_safe
def whole_log(request: HttpRequest, uuid: UUID) -> Any:
    row = job_queries.job_for(request.user, uuid)
    part = _part(request, row)
    response = StreamingHttpResponse(queries.whole_log(row, part.number), content_type="text/plain; charset=utf-8")
    of_task = f".{part.number}" if part.query else ""
    response["Content-Disposition"] = f'attachment; filename="{uuid}{of_task}.log"'
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
    opened = queries.open_file(row, path, _part(request, row).number)
    return _attachment(download(request, opened, path.rsplit("/", 1)[-1]))


@login_required
@require_POST
def cancel(request: HttpRequest, uuid: UUID) -> HttpResponse:
    row = job_queries.job_for(request.user, uuid)
    try:
        job_actions.cancel(me(request), job=row)
        messages.success(request, _("The job was asked to end."))
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
