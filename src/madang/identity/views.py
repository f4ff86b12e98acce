"""One's organizations, account and tokens. The operator's pages are in `views_staff.py`, set-up in `views_setup.py`."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from madang.identity import actions, queries
from madang.identity.access import access_of, me, require_member
from madang.identity.address import after_of, asked
from madang.identity.forms import (
    EndMembershipForm,
    InviteForm,
    MembershipForm,
    NameForm,
    OrganizationCorrectionForm,
    OrganizationFactsForm,
    OrganizationForm,
    TokenForm,
)
from madang.identity.models import Organization, Role
from madang.identity.views_setup import setup
from madang.workflow.log import read_of

__all__ = ["setup"]


@login_required
@require_safe
def organizations(request: HttpRequest) -> HttpResponse:
    """One's own organizations; staff also find all of them here."""
    context: dict[str, Any] = {"memberships": queries.organizations_of(me(request)), "staff": False}
    if queries.sees_organizations(me(request)):
        search = asked(request, "q")
        rows, after = queries.organizations(me(request), search=search, after=after_of(request))
        context |= {"staff": True, "rows": rows, "after": after, "search": search}
    return render(request, "identity/organizations.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def organization_new(request: HttpRequest) -> HttpResponse:
    form = OrganizationForm(request.POST or None, agency=access_of(request.user).holds(Role.OPERATOR))
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            organization = actions.register_organization(me(request), **form.cleaned_data)
            messages.success(request, _("Your organization is registered. Invite the people you work with."))
            return redirect("identity:organization", organization.pk)
    return render(request, "identity/organization_new.html", {"form": form}, status=422 if form.errors else 200)


@login_required
@require_safe
def organization(request: HttpRequest, id: int) -> HttpResponse:
    return _organization_page(request, queries.organization(me(request), id), InviteForm())


@login_required
@require_POST
def invite(request: HttpRequest, id: int) -> HttpResponse:
    organization = queries.organization(me(request), id)
    form = InviteForm(request.POST)
    if form.is_valid():
        with form.refusals():
            actions.invite(me(request), organization=organization, **form.cleaned_data)
            messages.success(
                request, _("The invitation is on its way to %(email)s.") % {"email": form.cleaned_data["email"]}
            )
            return redirect("identity:organization", id)
    return _organization_page(request, organization, form)


def _organization_page(request: HttpRequest, organization: Organization, form: InviteForm) -> HttpResponse:
    access = access_of(request.user)
    is_member, operates = access.is_member(organization.pk), access.holds(Role.OPERATOR)
    leads = access.is_lead(organization.pk)
    members = queries.members(organization)
    if not is_member and members:
        read_of(me(request), organization, "contact of the members")
    context = {
        "organization": organization,
        "members": members,
        "former": queries.former_members(organization),
        "history": queries.history_of(organization),
        "invitations": queries.invitations_waiting(organization) if leads else [],
        "form": form,
        "is_member": is_member,
        "leads": leads,
        "edits": leads or operates,
        "role_form": MembershipForm(),
    }
    return render(request, "identity/organization.html", context, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def organization_edit(request: HttpRequest, id: int) -> HttpResponse:
    organization = queries.organization(me(request), id)
    operates = access_of(request.user).holds(Role.OPERATOR)
    if not operates:
        require_member(me(request), organization.pk, lead=True)
    kind = OrganizationCorrectionForm if operates else OrganizationFactsForm
    names = [field.name for field in Organization._meta.concrete_fields]
    form = kind(request.POST or None, initial={name: getattr(organization, name) for name in names})
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            actions.edit_organization(me(request), organization=organization, **form.cleaned_data)
            messages.success(request, _("Saved."))
            return redirect("identity:organization", id)
    context = {"form": form, "organization": organization}
    return render(request, "identity/organization_edit.html", context, status=422 if form.errors else 200)


@login_required
@require_POST
def membership_role(request: HttpRequest, id: int) -> HttpResponse:
    membership = queries.membership(me(request), id)
    actions.change_membership(me(request), membership=membership, role=request.POST.get("role", "")[:20])
    messages.success(
        request,
        _("%(name)s is now “%(role)s”.") % {"name": membership.person.name, "role": membership.get_role_display()},
    )
    return redirect("identity:organization", membership.organization_id)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def membership_end(request: HttpRequest, id: int) -> HttpResponse:
    membership = queries.membership(me(request), id)
    form = EndMembershipForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            actions.end_membership(me(request), membership=membership, **form.cleaned_data)
            messages.success(request, _("The membership has ended."))
            if membership.person_id == me(request).pk:
                return redirect("identity:organizations")
            return redirect("identity:organization", membership.organization_id)
    context = {"form": form, "membership": membership, "own": membership.person_id == me(request).pk}
    return render(request, "identity/membership_end.html", context, status=422 if form.errors else 200)


@login_required
@require_POST
def invitation_withdraw(request: HttpRequest, id: int) -> HttpResponse:
    invitation = queries.invitation(me(request), id)
    actions.withdraw_invitation(me(request), invitation=invitation)
    messages.success(request, _("The invitation is withdrawn."))
    return redirect("identity:organization", invitation.organization_id)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """What the link in the letter opens. Only whom it was sent to can accept it."""
    if request.method == "POST" and request.user.is_authenticated:
        membership = actions.accept_invitation(me(request), secret=secret)
        messages.success(request, _("Welcome. You belong to %(name)s now.") % {"name": membership.organization.name})
        return redirect("identity:organization", membership.organization_id)
    found = queries.invitation_by_secret(secret)
    email = getattr(request.user, "email", "")
    context = {"invitation": found, "theirs": bool(found and found.email == email.lower()), "email": email}
    return render(request, "identity/invitation.html", context, status=200 if found else 404)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """One's own name, and where everything else about the account is."""
    form = NameForm(request.POST or None, initial={"name": me(request).name})
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            actions.rename(me(request), **form.cleaned_data)
            messages.success(request, _("Saved."))
            return redirect("identity:account")
    context = {
        "form": form,
        "roles": [grant for grant in queries.roles_of(me(request)) if grant.until is None],
        "memberships": queries.organizations_of(me(request)),
    }
    return render(request, "identity/account.html", context, status=422 if form.errors else 200)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """One's tokens. A new one is shown in the answer to the form that made it, and never again."""
    form = TokenForm(request.POST or None)
    made = ""
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            _row, made = actions.make_token(me(request), **form.cleaned_data)
            form = TokenForm()
    context = {"form": form, "tokens": queries.tokens_of(me(request)), "made": made}
    return render(request, "identity/tokens.html", context, status=422 if form.errors else 200)


@login_required
@require_POST
def token_revoke(request: HttpRequest, id: int) -> HttpResponse:
    actions.revoke_token(me(request), token=queries.token(me(request), id))
    messages.success(request, _("The token is revoked."))
    return redirect("identity:tokens")
