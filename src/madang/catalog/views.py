"""The catalog: public to read, kept by the operator, officers and stewards."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from madang.catalog import actions, offers, queries
from madang.catalog.forms import PlaceForm, RateForm, ReasonForm, ResourceForm, capacity_of
from madang.catalog.models import Kind, Sector, resource_moves
from madang.identity.access import me
from madang.identity.address import after_of, asked
from madang.workflow.errors import Missing, NotAllowed, Stale

VERBS = {"pause": actions.pause, "resume": actions.resume, "retire": actions.retire}


@require_safe
def listed(request: HttpRequest) -> HttpResponse:
    """Everything that is lent, by kind, sector and words."""
    kind, sector, search = request.GET.get("kind", ""), request.GET.get("sector", ""), asked(request, "q")
    kind = kind if kind in Kind.values else ""
    sector = sector if sector in Sector.values else ""
    page = queries.resources(kind=kind, sector=sector or None, search=search, after=after_of(request))
    rates = queries.rates_on([row.pk for row in page.rows], actions.today())
    counts = queries.counts()
    context = {
        "rows": [(row, rates.get(row.pk)) for row in page.rows],
        "after": page.after,
        "kind": kind,
        "kinds": [(code, label, counts[code]) for code, label in Kind.choices if code in counts],
        "total": sum(counts.values()),
        "sector": sector,
        "sectors": [choice for choice in Sector.choices if choice[0]],
        "search": search,
        "keeps": actions.may_keep(request.user),
    }
    return render(request, "catalog/list.html", context)


@require_safe
def detail(request: HttpRequest, code: str) -> HttpResponse:
    resource = queries.resource(code)
    rates = queries.rate_history(resource)
    today = actions.today()
    keeps = actions.may_keep(request.user, resource.pk)
    context = {
        "resource": resource,
        "rates": rates,
        "rate": next((rate for rate in rates if today in rate.days), None),
        "capacity": capacity_of(resource),
        "offers": offers.of(resource.pk),
        "keeps": keeps,
        "verbs": [(verb, verb_label(verb)) for verb in resource_moves.verbs(resource.state)] if keeps else [],
    }
    return render(request, "catalog/resource.html", context)


@login_required
@require_safe
def kinds(request: HttpRequest) -> HttpResponse:
    """The first step of adding a resource: of which kind it is."""
    _require_keeper(request)
    return render(request, "catalog/kinds.html", {"kinds": Kind.choices})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest, kind: str) -> HttpResponse:
    _require_keeper(request)
    if kind not in Kind.values:
        raise Missing(_("This kind doesn't exist."))
    form = ResourceForm(request.POST or None, kind=Kind(kind))
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            resource = actions.add_resource(me(request), kind=kind, **form.facts())
            messages.success(request, _("Added. Set its rate now."))
            return redirect("catalog:detail", resource.code)
    context = {"form": form, "kind": Kind(kind).label}
    return render(request, "catalog/add.html", context, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, code: str) -> HttpResponse:
    resource = queries.resource(code)
    _require_keeper(request, resource.pk)
    form = ResourceForm(request.POST or None, kind=Kind(resource.kind), resource=resource)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            actions.edit_resource(me(request), resource=resource, **form.facts())
            messages.success(request, _("Saved."))
            return redirect("catalog:detail", code)
    context = {"form": form, "resource": resource}
    return render(request, "catalog/edit.html", context, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def rate(request: HttpRequest, code: str) -> HttpResponse:
    resource = queries.resource(code)
    _require_keeper(request, resource.pk)
    form = RateForm(request.POST or None, resource=resource)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            actions.set_rate(me(request), resource=resource, **form.facts())
            messages.success(request, _("The rate is set."))
            return redirect("catalog:detail", code)
    context = {"form": form, "resource": resource, "rates": queries.rate_history(resource)}
    return render(request, "catalog/rate.html", context, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def move(request: HttpRequest, code: str, verb: str) -> HttpResponse:
    """Pause, resume or retire, and why."""
    resource = queries.resource(code)
    _require_keeper(request, resource.pk)
    if verb not in VERBS:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            VERBS[verb](me(request), resource=resource, **form.cleaned_data)
            messages.success(request, _("Saved."))
            return redirect("catalog:detail", code)
    elif verb not in resource_moves.verbs(resource.state):
        raise Stale(_("This was already dealt with. Load the page of the resource again."))
    context = {"form": form, "resource": resource, "verb": verb, "label": verb_label(verb)}
    return render(request, "catalog/move.html", context, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def place(request: HttpRequest) -> HttpResponse:
    _require_keeper(request)
    form = PlaceForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            actions.add_place(me(request), **form.cleaned_data)
            messages.success(request, _("The place is added."))
            return redirect("catalog:list")
    return render(request, "catalog/place.html", {"form": form}, status=422 if form.errors else 200)


def verb_label(verb: str) -> str:
    return {
        "pause": _("Don't lend for now"),
        "resume": _("Lend again"),
        "retire": _("Retire"),
    }[verb]


def _require_keeper(request: HttpRequest, resource: int | None = None) -> None:
    if not actions.may_keep(me(request), resource):
        raise NotAllowed(_("Only the operator, an officer of the whole site or the steward can do this."))
