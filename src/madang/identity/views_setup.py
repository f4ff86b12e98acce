"""The first page of an empty site: who operates it, which agency runs it, and what to do next."""

from __future__ import annotations

import os
import secrets

from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from madang.identity import actions, queries
from madang.identity.access import access_of, me
from madang.identity.forms import AgencyForm, SetupForm
from madang.identity.models import Organization, OrganizationKind, Role
from madang.workflow.errors import Missing


@sensitive_post_parameters("password", "token")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def setup(request: HttpRequest) -> HttpResponse:
    """Three steps. The first is there only while nobody is; the other two are the operator's."""
    if queries.site_is_empty():
        return _operator(request)
    if not access_of(request.user).holds(Role.OPERATOR):
        raise Missing(_("This site is set up already."))
    agency = Organization.objects.filter(kind=OrganizationKind.AGENCY).order_by("id").first()
    if agency is None:
        return _agency(request)
    officer = access_of(request.user).somewhere(Role.OFFICER)
    facts = {"agency": agency, "officer": officer, "done": queries.set_up()}
    return render(request, "identity/setup_next.html", {**facts, "steps": _steps(3)})


def _operator(request: HttpRequest) -> HttpResponse:
    token = os.environ.get("MADANG_SETUP_TOKEN", "")
    form = SetupForm(request.POST or None, token=bool(token), initial={"token": request.GET.get("token", "")[:200]})
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data.pop("token", "")
        if token and not secrets.compare_digest(given.encode(), token.encode()):
            form.add_error("token", _("This is not the token that was printed where the site was started."))
        else:
            with form.refusals():
                person = actions.first_operator(**form.cleaned_data)
                login(request, person, backend="django.contrib.auth.backends.ModelBackend")
                return redirect("identity:setup")
    context = {"form": form, "steps": _steps(1)}
    return render(request, "identity/setup_operator.html", context, status=422 if form.errors else 200)


def _agency(request: HttpRequest) -> HttpResponse:
    form = AgencyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            actions.register_organization(me(request), kind=OrganizationKind.AGENCY, **form.cleaned_data)
            return redirect("identity:setup")
    context = {"form": form, "steps": _steps(2)}
    return render(request, "identity/setup_agency.html", context, status=422 if form.errors else 200)


def _steps(current: int) -> list[dict[str, str]]:
    labels = [_("Your account"), _("The agency"), _("What to do next")]
    return [
        {"label": label, "state": "done" if number < current else "current" if number == current else "todo"}
        for number, label in enumerate(labels, 1)
    ]
