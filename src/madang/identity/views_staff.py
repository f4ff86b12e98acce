"""People, their roles, and the log of who did what."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from madang.identity import actions, places, queries, scopes, words
from madang.identity.access import access_of, me, require
from madang.identity.address import after_of, asked
from madang.identity.forms import EndRoleForm, PersonForm, RoleForm
from madang.identity.models import Role, RoleGrant, Scope
from madang.workflow.log import read_of


@login_required
@require_safe
def people(request: HttpRequest) -> HttpResponse:
    """Everybody with their roles. E-mail addresses stand on the page of each person, where reading them is recorded."""
    search, role = asked(request, "q"), request.GET.get("role", "")
    role = role if role in Role.values else ""
    rows, after = queries.people(me(request), search=search, role=role, after=after_of(request))
    context = {
        "rows": rows,
        "after": after,
        "search": search,
        "role": role,
        "roles": Role.choices,
        "operates": access_of(request.user).holds(Role.OPERATOR),
    }
    return render(request, "identity/people.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def person_new(request: HttpRequest) -> HttpResponse:
    form = PersonForm(request.POST or None)
    require(me(request), Role.OPERATOR)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            person = actions.add_person(me(request), **form.cleaned_data)
            messages.success(request, _("Added. Give this person a role now."))
            return redirect("identity:person", person.pk)
    return render(request, "identity/person_new.html", {"form": form}, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def person(request: HttpRequest, id: int) -> HttpResponse:
    """One person, the roles they hold and held, and for the operator the form to give another."""
    person = queries.person(me(request), id)
    operates = access_of(request.user).holds(Role.OPERATOR)
    grants = queries.roles_of(person)
    # What there is to give a role over is asked for only where it is shown.
    named = operates or any(grant.scope != Scope.SITE for grant in grants)
    names = scopes.names() if named else {}
    form = RoleForm(request.POST or None, names=names)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            scope, scope_id = form.scope()
            actions.give_role(
                me(request),
                person=person,
                role=form.cleaned_data["role"],
                scope=scope,
                scope_id=scope_id,
                reason=form.cleaned_data["reason"],
            )
            messages.success(request, _("The role is given."))
            return redirect("identity:person", id)
    if person.pk != me(request).pk:
        read_of(me(request), person, "contact")
    context = {
        "person": person,
        "grants": [(grant, over(grant, names)) for grant in grants],
        "memberships": queries.organizations_of(person),
        "form": form,
        "operates": operates,
    }
    return render(request, "identity/person.html", context, status=422 if form.errors else 200)


def over(grant: RoleGrant, names: dict[tuple[str, int], str]) -> str:
    """What a role is held over, in words."""
    if grant.scope == Scope.SITE:
        return str(Scope.SITE.label)
    return names.get((grant.scope, grant.scope_id)) or f"{Scope(grant.scope).label} {grant.scope_id}"


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def role_end(request: HttpRequest, id: int) -> HttpResponse:
    grant = queries.role_grant(me(request), id)
    form = EndRoleForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            actions.end_role(me(request), grant=grant, **form.cleaned_data)
            messages.success(request, _("The role has ended."))
            return redirect("identity:person", grant.person_id)
    context = {"form": form, "grant": grant, "over": over(grant, scopes.names())}
    return render(request, "identity/role_end.html", context, status=422 if form.errors else 200)


@login_required
@require_safe
def log(request: HttpRequest) -> HttpResponse:
    """Who did what, when and why."""
    kind, who = request.GET.get("kind", ""), asked(request, "who")
    kind = kind if kind in words.KINDS else ""
    lines, before = queries.log(me(request), kind=kind, who=who, before=after_of(request, "before"))
    there = places.of(request.user, ((line.kind, line.ref) for line in lines))
    context = {
        "lines": [(line, words.sentence_of(line), there.get((line.kind, line.ref))) for line in lines],
        "before": before,
        "kind": kind,
        "who": who,
        "kinds": sorted(((code, str(name)) for code, name in words.KINDS.items()), key=lambda pair: pair[1]),
    }
    return render(request, "identity/log.html", context)
