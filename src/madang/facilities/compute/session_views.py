"""The pages of interactive sessions."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from madang.facilities.compute import queries, sessions, words
from madang.facilities.compute.forms import SessionForm, SessionKindForm
from madang.facilities.compute.models import Session, SessionKind
from madang.facilities.compute.views import number
from madang.identity.access import access_of, me, require
from madang.identity.models import Role
from madang.jobs.models import JobState
from madang.workflow.errors import Refused
from madang.workflow.moment import now


@login_required
@require_safe
def listed(request: HttpRequest) -> HttpResponse:
    found = sessions.sessions_of(request.user, after=number(request.GET.get("after")))
    shown, moment = found[: sessions.SHOWN], now()
    context = {
        "rows": [(row, sessions.so_far(row, moment)) for row in shown],
        "more": f"?after={shown[-1].pk}" if len(found) > len(shown) else "",
        "first": "?" if "after" in request.GET else "",
        "offered": sessions.offered(),
        "member": bool(access_of(request.user).organizations),
    }
    return render(request, "compute/sessions.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """The form. A changed choice, or the button “calculate”, shows it again with what it would hold and cost."""
    places = sessions.places(request.user) if sessions.offered() else []
    kinds = sessions.kinds() if places else []
    if not kinds:
        return render(request, "compute/session_new.html", {"offered": sessions.offered(), "places": places})
    given = request.POST if request.method == "POST" else request.GET
    wanted = number(given.get("allocation"))
    chosen = next((offer for offer in places if offer.allocation.pk == wanted), places[0])
    kind = next((row for row in kinds if row.code == given.get("kind")), kinds[0])
    kept = queries.project_files(request.user, grant=chosen.allocation.grant_id, ready=True)
    asks = "calculate" in given or request.htmx  # type: ignore[attr-defined]
    if request.method == "POST" and not asks:
        form = SessionForm(kinds, places, request.POST, kind=kind, chosen=chosen, kept=kept)
        if form.is_valid():
            with form.refusals():
                said = form.cleaned_data
                made = sessions.start(
                    me(request),
                    uuid=said["uuid"],
                    kind=kind,
                    allocation=chosen.allocation,
                    gpus=said["gpus"],
                    limit_s=said["limit_s"],
                    files=said["files"],
                )
                return redirect("compute:session", uuid=made.job.uuid)
    else:
        typed = {name: given[name] for name in ("kind", "gpus", "limit_s", "uuid") if given.get(name)}
        initial = {"uuid": uuid4(), "allocation": chosen.allocation.pk, "files": given.getlist("files"), **typed}
        form = SessionForm(kinds, places, kind=kind, chosen=chosen, kept=kept, initial=initial)
    gpus, minutes = number(str(form["gpus"].value() or "1")), number(str(form["limit_s"].value() or ""))
    fits = gpus and minutes and gpus <= chosen.partition.most_gpus and minutes <= chosen.partition.longest_minutes
    context = {
        "form": form,
        "kind": kind,
        "offer": chosen,
        "offered": True,
        "places": places,
        "forecast": queries.forecast(chosen, gpus, minutes * 60) if fits and gpus and minutes else None,
    }
    template = "compute/session_new.html#choices" if request.htmx else "compute/session_new.html"  # type: ignore[attr-defined]
    return render(request, template, context, status=422 if form.errors else 200)


@login_required
@require_safe
def session(request: HttpRequest, uuid: UUID) -> HttpResponse:
    row = sessions.session_for(request.user, uuid)
    answer = render(request, "compute/session.html", _facts(row))
    if sessions.offered():  # the form that opens it is answered with the way to its own host
        answer._csp_update = {"form-action": [sessions.origin_of(uuid)]}  # type: ignore[attr-defined]
    return answer


@login_required
@require_safe
def state(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """What changes on the page: asked for again and again until the session has ended."""
    row = sessions.session_for(request.user, uuid)
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("compute:session", uuid=uuid)
    return render(request, "compute/session.html#state", _facts(row))


def _facts(row: Session) -> dict[str, Any]:
    moment = now()
    job, used = row.job, sessions.so_far(row, moment)
    rate = queries.rate_of(job)
    windows = queries.windows_on(job) if job.waits in words.MAINTENANCE else []
    return {
        "session": row,
        "job": job,
        "open": sessions.is_open(row),
        "steps": _steps(row),
        "used": used,
        "price": rate.price_of(used) if rate else None,
        "until": job.started_at + sessions.limit_of(job) if job.started_at and job.lives else None,
        "waits": words.waits(job.waits, windows, moment),
        "why": words.why(job.why),
        "ended_for": words.reason(job.cancel_why) if not row.idle_at else "",
    }


def _steps(row: Session) -> list[dict[str, str]]:
    """Where the session is on its way: in the queue, starting, ready, ended."""
    labels = [pgettext("session", "In the queue"), pgettext("session", "Starting")]
    labels += [pgettext("session", "Ready"), pgettext("session", "Ended")]
    here = 3 if not row.job.lives else 0 if row.job.state != JobState.RUNNING else 2 if row.ready_at else 1
    if row.job.state == JobState.UNKNOWN and row.job.started_at:
        here = 2 if row.ready_at else 1
    states = ["done" if at < here else "current" if at == here else "todo" for at in range(4)]
    if here == 3:
        states = ["done", *("done" if at else "todo" for at in (row.job.started_at, row.ready_at)), "done"]
    return [{"label": str(label), "state": state} for label, state in zip(labels, states, strict=True)]


@login_required
@require_POST
def enter(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Send the browser to the session's own host, with a ticket that is good once."""
    row = sessions.session_for(request.user, uuid)
    try:
        way = sessions.let_in(me(request), session=row, login=request.session.session_key or "")
    except Refused as refused:
        messages.error(request, str(refused))
        return redirect("compute:session", uuid=uuid)
    answer = HttpResponse(status=303, headers={"Location": way})
    answer["Referrer-Policy"], answer["Cache-Control"] = "no-referrer", "no-store"
    return answer


@login_required
@require_POST
def end(request: HttpRequest, uuid: UUID) -> HttpResponse:
    row = sessions.session_for(request.user, uuid)
    try:
        sessions.end(me(request), session=row)
        messages.success(request, _("The session is being ended."))
    except Refused as refused:
        messages.error(request, str(refused))
    return redirect("compute:session", uuid=uuid)


@login_required
@require_http_methods(["GET", "POST"])
def kinds(request: HttpRequest) -> HttpResponse:
    """What the site offers, for its operator."""
    require(request.user, Role.OPERATOR)
    form = SessionKindForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            sessions.add_kind(me(request), **form.cleaned_data)
            messages.success(request, _("It is offered from now on."))
            return redirect("compute:session_kinds")
    context = {"form": form, "kinds": sessions.kinds(all=True), "offered": sessions.offered()}
    return render(request, "compute/session_kinds.html", context, status=422 if form.errors else 200)


@login_required
@require_POST
def offer(request: HttpRequest, code: str, verb: str) -> HttpResponse:
    require(request.user, Role.OPERATOR)
    kind = SessionKind.objects.filter(code=code).first()
    if kind is None or verb not in ("offer", "withdraw"):
        raise queries.missing()
    sessions.offer_kind(me(request), kind=kind, offered=verb == "offer")
    return redirect("compute:session_kinds")
