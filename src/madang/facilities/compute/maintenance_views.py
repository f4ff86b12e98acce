"""The pages on which operators announce maintenance, change it and withdraw it."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from madang.facilities.compute import queries
from madang.facilities.compute.forms import MaintenanceForm, WindowForm
from madang.identity.access import me, require
from madang.identity.models import Role
from madang.jobs import maintenance
from madang.workflow.errors import Refused
from madang.workflow.moment import now


@login_required
@require_http_methods(["GET", "POST"])
def add(request: HttpRequest) -> HttpResponse:
    """Announce one. An address may name the place already: `where` as in the form, and `nodes`."""
    require(request.user, Role.OPERATOR)
    clusters = queries.clusters()
    initial = {name: request.GET[name] for name in ("where", "nodes") if name in request.GET}
    form = MaintenanceForm(clusters, request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            maintenance.announce(me(request), **form.cleaned_data)
            messages.success(request, _("The maintenance is announced. The cluster is told within seconds."))
            return redirect("compute:nodes")
    context = {"form": form, "clusters": clusters}
    return render(request, "compute/add_maintenance.html", context, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "POST"])
def change(request: HttpRequest, id: int) -> HttpResponse:
    require(request.user, Role.OPERATOR)
    row = queries.window_for(request.user, id)
    initial = {name: getattr(row, name) for name in ("starts_at", "ends_at", "reason")}
    form = WindowForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            maintenance.change(me(request), window=row, **form.cleaned_data)
            messages.success(request, _("The maintenance is changed. The cluster is told within seconds."))
            return redirect("compute:nodes")
    context = {"form": form, "row": row, "over": row.withdrawn_at or row.ends_at <= now()}
    return render(request, "compute/maintenance.html", context, status=422 if form.errors else 200)


@login_required
@require_POST
def withdraw(request: HttpRequest, id: int) -> HttpResponse:
    require(request.user, Role.OPERATOR)
    row = queries.window_for(request.user, id)
    try:
        maintenance.withdraw(me(request), window=row)
        messages.success(request, _("The maintenance is withdrawn. Jobs start again within seconds."))
    except Refused as refused:
        messages.error(request, str(refused))
    return redirect("compute:nodes")
