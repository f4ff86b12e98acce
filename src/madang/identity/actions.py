"""People, organizations, memberships. The verbs of roles and of tokens are in `staff.py` and `tokens.py`."""

from __future__ import annotations

import hashlib
import secrets
from datetime import date, timedelta
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.utils.translation import gettext as _

from madang.identity import business_number as numbers
from madang.identity import letters
from madang.identity.access import access_of, forget, require, require_member
from madang.identity.models import Invitation, Membership, Organization, OrganizationKind, Person, Role, TenantRole
from madang.identity.rows import lock, write
from madang.identity.staff import add_person, check_password_of, end_role, first_operator, give_role, joined
from madang.identity.tokens import make_token, revoke_token
from madang.workflow.errors import Missing, NotAllowed, Refused, Stale
from madang.workflow.log import act
from madang.workflow.moment import now

__all__ = [
    "accept_invitation",
    "add_person",
    "change_membership",
    "edit_organization",
    "end_membership",
    "end_role",
    "first_operator",
    "give_role",
    "invite",
    "make_token",
    "register_organization",
    "rename",
    "revoke_token",
    "sign_up",
    "withdraw_invitation",
]

INVITED_FOR = timedelta(days=14)
MOST_OPEN_INVITATIONS = 20
MOST_INVITATIONS_A_DAY = 60


def sign_up(*, email: str, name: str, password: str) -> Person:
    """What the sign-up page has done once the e-mail is confirmed: a person who can log in."""
    check_password_of(Person(email=email, name=name), password)
    with act(None, "sign_up") as said:
        person = said["on"] = joined(email=email, name=name, password=password)
    return person


def rename(actor: Person, *, name: str) -> Person:
    """One's own name, as others see it from now on."""
    if not name.strip():
        raise Refused(_("A name is needed."), field="name")
    with act(actor, "rename", on=actor):
        lock(actor)
        write(actor, name=name.strip())
    return actor


def register_organization(
    actor: Person,
    *,
    name_ko: str,
    kind: str,
    business_number: str,
    region: str,
    name_en: str = "",
    representative: str = "",
    founded_on: date | None = None,
    is_youth_startup: bool = False,
) -> Organization:
    """A new organization; whoever registers it becomes its first lead."""
    if kind == OrganizationKind.AGENCY:
        require(actor, Role.OPERATOR)
    number = _number(business_number)
    if Organization.objects.filter(business_number=number).exists():
        raise Refused(
            _("An organization with this number is registered already. Ask a lead of it to invite you."),
            field="business_number",
        )
    _founded_in_the_past(founded_on)
    with act(actor, "register") as said:
        organization = said["on"] = write(
            Organization(),
            name_ko=name_ko,
            name_en=name_en,
            kind=kind,
            business_number=number,
            representative=representative,
            region=region,
            founded_on=founded_on,
            is_youth_startup=is_youth_startup,
        )
        write(Membership(), person=actor, organization=organization, role=TenantRole.LEAD)
    forget(actor)
    return organization


def edit_organization(actor: Person, *, organization: Organization, reason: str = "", **facts: Any) -> Organization:
    """Change what is known of an organization. Its number and its kind decide what it may apply for, so that only the
    operator of the site changes those."""
    if not access_of(actor).holds(Role.OPERATOR):
        require_member(actor, organization.pk, lead=True)
        if "kind" in facts or "business_number" in facts:
            raise NotAllowed(_("Only the operator of the site can change the kind or the number of an organization."))
    if "business_number" in facts:
        facts["business_number"] = _number(facts["business_number"])
    _founded_in_the_past(facts.get("founded_on"))
    with act(actor, "edit", on=organization, reason=reason):
        lock(organization)
        write(organization, **facts)
    return organization


def invite(
    actor: Person, *, organization: Organization, email: str, role: str = TenantRole.MEMBER
) -> tuple[Invitation, str]:
    """Ask somebody by e-mail to join. Returns the invitation and its secret, which is nowhere else but in the letter.

    The answer is the same whether or not somebody with that e-mail has an account.
    """
    require_member(actor, organization.pk, lead=True)
    email = email.strip().lower()
    secret = secrets.token_urlsafe(32)
    with act(actor, "invite") as said:
        lock(organization)
        if Membership.objects.filter(organization=organization, until=None, person__email=email).exists():
            raise Refused(_("This person belongs to your organization already."), field="email")
        moment = now()
        waiting = Invitation.objects.filter(
            organization=organization, accepted_at=None, withdrawn_at=None, expires_at__gt=moment
        )
        if waiting.filter(email=email).exists():
            raise Refused(
                _("This address was invited already. Withdraw that invitation to send another one."), field="email"
            )
        if waiting.count() >= MOST_OPEN_INVITATIONS:
            raise Refused(_("Too many invitations are waiting for an answer. Withdraw some of them first."))
        sent = Invitation.objects.filter(organization=organization, invited_at__gt=moment - timedelta(days=1))
        if sent.count() >= MOST_INVITATIONS_A_DAY:
            raise Refused(
                _("Your organization sent %(most)s invitations in the last 24 hours. Send more of them later.")
                % {"most": MOST_INVITATIONS_A_DAY}
            )
        invitation = said["on"] = write(
            Invitation(),
            organization=organization,
            email=email,
            role=role,
            digest=digest_of(secret),
            invited_by=actor,
            expires_at=moment + INVITED_FOR,
        )
        _send_the_letter(actor, invitation, secret)
    return invitation, secret


def accept_invitation(actor: Person, *, secret: str) -> Membership:
    """Join the organization that the letter with this secret invites to. Only whom it was sent to can."""
    with act(actor, "accept") as said:
        invitation = (
            Invitation.objects.select_for_update(of=("self",))
            .select_related("organization")
            .filter(digest=digest_of(secret))
            .first()
        )
        if invitation is None:
            raise Missing(_("This invitation doesn't exist."))
        if invitation.email != actor.email.lower():
            raise NotAllowed(_("This invitation was sent to another e-mail address. Log in with that one."))
        said["on"] = invitation
        membership = Membership.objects.filter(person=actor, organization=invitation.organization, until=None).first()
        if invitation.accepted_at and membership:
            return membership
        moment = now()
        if invitation.withdrawn_at or invitation.accepted_at or invitation.expires_at <= moment:
            raise Stale(_("This invitation is no longer valid. Ask for a new one."))
        write(invitation, accepted_at=moment)
        membership = membership or write(
            Membership(), person=actor, organization=invitation.organization, role=invitation.role
        )
    forget(actor)
    return membership


def withdraw_invitation(actor: Person, *, invitation: Invitation) -> Invitation:
    require_member(actor, invitation.organization_id, lead=True)
    with act(actor, "withdraw", on=invitation):
        lock(invitation)
        if invitation.accepted_at or invitation.withdrawn_at:
            raise Stale(_("This invitation was already answered or withdrawn."))
        write(invitation, withdrawn_at=now())
    return invitation


def change_membership(actor: Person, *, membership: Membership, role: str) -> Membership:
    """Make a member a lead, or the other way round. Somebody must remain a lead."""
    _lead_or_operator(actor, membership.organization_id)
    if role not in TenantRole.values:
        raise Refused(_("This role doesn't exist."), field="role")
    with act(actor, "change_role", on=membership, to=role):
        _lock_among_others(membership)
        if role != TenantRole.LEAD:
            _another_lead_stays(membership)
        write(membership, role=role)
    return membership


def end_membership(actor: Person, *, membership: Membership, reason: str = "") -> Membership:
    """Somebody leaves, or is shown out by a lead. The record of the membership stays."""
    if membership.person_id != actor.pk:
        _lead_or_operator(actor, membership.organization_id)
    with act(actor, "end", on=membership, reason=reason):
        _lock_among_others(membership)
        _another_lead_stays(membership)
        write(membership, until=now())
    forget(actor)
    return membership


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _number(written: str) -> str:
    number = numbers.digits_of(written)
    if not numbers.is_valid(number):
        raise Refused(
            _("This is no valid business registration number. It has ten digits, such as 220-81-62517."),
            field="business_number",
        )
    return number


def _founded_in_the_past(day: date | None) -> None:
    if day and day > now().date():
        raise Refused(_("This day is in the future."), field="founded_on")


def _lead_or_operator(actor: Person, organization: int) -> None:
    if not access_of(actor).holds(Role.OPERATOR):
        require_member(actor, organization, lead=True)


def _lock_among_others(membership: Membership) -> None:
    """The organization's row first: two leads who end each other at once must not both succeed."""
    Organization.objects.select_for_update(of=("self",)).get(pk=membership.organization_id)
    lock(membership)
    if membership.until:
        raise Stale(_("This membership has ended already."))


def _another_lead_stays(membership: Membership) -> None:
    leads = Membership.objects.filter(organization=membership.organization_id, role=TenantRole.LEAD, until=None)
    if membership.role == TenantRole.LEAD and not leads.exclude(pk=membership.pk).exists():
        raise Refused(_("An organization needs a lead. Make somebody else a lead first."), field="role")


def _send_the_letter(actor: Person, invitation: Invitation, secret: str) -> None:
    subject, text = letters.invitation(actor, invitation.organization, secret)
    transaction.on_commit(
        lambda: send_mail(settings.ACCOUNT_EMAIL_SUBJECT_PREFIX + subject, text, None, [invitation.email])
    )
