"""Who is here and who may see it. What belongs to another organization is Missing, as if it weren't there."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.db.models import Count, Exists, Prefetch, Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext as _

from madang.identity.access import access_of, require, require_member
from madang.identity.models import (
    ApiToken,
    Invitation,
    Membership,
    Organization,
    Person,
    Role,
    RoleGrant,
    Scope,
    TenantRole,
)
from madang.identity.tokens import digest_of
from madang.workflow.errors import Missing, NotAllowed
from madang.workflow.models import LogLine

PAGE = 50
FACTS_KEPT = ("name_ko", "name_en", "kind", "business_number", "representative", "region", "founded_on")


def site_is_empty() -> bool:
    """Whether nobody is here yet: the only time that the set-up page can be used."""
    return not Person.objects.exists()


# What a site needs before it can lend: the rooms above are named by text alone.
SET_UP: dict[str, tuple[str, dict[str, Any]]] = {
    "program": ("programs.program", {}),
    "resource": ("catalog.resource", {}),
    "cluster": ("compute.cluster", {}),
    "partition": ("compute.partition", {}),
    "officer": ("identity.rolegrant", {"role": Role.OFFICER, "until": None}),
    "call": ("calls.call", {"published_at__isnull": False}),
}
NEEDED = ("program", "resource", "officer", "call")  # a site without GPUs has no cluster


def set_up() -> dict[str, bool]:
    """Which steps of setting up are done. One SQL statement."""
    there = {
        name: Exists(apps.get_model(label)._default_manager.filter(**facts)) for name, (label, facts) in SET_UP.items()
    }
    return Person.objects.order_by("id").values(**there).first() or dict.fromkeys(SET_UP, False)


def lends() -> bool:
    done = set_up()
    return all(done[name] for name in NEEDED)


def sees_organizations(person: Any) -> bool:
    """Staff whose work needs to know everybody. A reviewer's doesn't: reviews are blind. An officer of one program sees
    who applied there, in the applications."""
    access = access_of(person)
    return any(access.holds(role) for role in (Role.OPERATOR, Role.AUDITOR, Role.OFFICER))


def officers_of(program: int) -> list[int]:
    """The ids of the people who are officers of a program now, or of the whole site."""
    over = Q(scope=Scope.SITE) | Q(scope=Scope.PROGRAM, scope_id=program)
    found = RoleGrant.objects.filter(over, role=Role.OFFICER, until=None, person__is_active=True)
    return list(found.order_by("id").values_list("person_id", flat=True))


def organizations_of(person: Person) -> list[Membership]:
    """The memberships that a person has now, the oldest first, with their organizations."""
    return list(person.memberships.filter(until=None).select_related("organization").order_by("since", "id"))


def organizations(
    actor: Person, *, search: str = "", after: int | None = None
) -> tuple[list[Organization], int | None]:
    """All organizations, for staff, a page at a time: the rows, and the id to go on after."""
    if not sees_organizations(actor):
        raise NotAllowed(_("Only staff of the site can see all organizations."))
    found = Organization.objects.annotate(
        member_count=Count("memberships", filter=Q(memberships__until=None))
    ).order_by("id")
    for word in search.split()[:5]:
        digits = word.replace("-", "")
        found = found.filter(
            Q(name_ko__icontains=word) | Q(name_en__icontains=word) | Q(business_number__startswith=digits)
        )
    if after is not None:
        found = found.filter(pk__gt=after)
    return _page(list(found[: PAGE + 1]))


def organization(actor: Person, id: int) -> Organization:
    """An organization that the actor belongs to, or any for staff."""
    if not (access_of(actor).is_member(id) or sees_organizations(actor)):
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    found = Organization.objects.filter(pk=id).first()
    if found is None:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    return found


def members(organization: Organization) -> list[Membership]:
    """Who belongs to it now: leads first, then by name."""
    now = Membership.objects.filter(organization=organization, until=None).select_related("person")
    return sorted(now, key=lambda one: (one.role != TenantRole.LEAD, one.person.name, one.pk))


def former_members(organization: Organization) -> list[Membership]:
    past = Membership.objects.filter(organization=organization).exclude(until=None)
    return list(past.select_related("person").order_by("-until", "-id")[:PAGE])


def membership(actor: Person, id: int) -> Membership:
    """A membership in an organization that the actor sees."""
    found = Membership.objects.select_related("person", "organization").filter(pk=id).first()
    if found is None or not (
        access_of(actor).is_member(found.organization_id) or access_of(actor).holds(Role.OPERATOR)
    ):
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    return found


def invitations_waiting(organization: Organization) -> list[Invitation]:
    waiting = Invitation.objects.filter(
        organization=organization, accepted_at=None, withdrawn_at=None, expires_at__gt=Now()
    )
    return list(waiting.select_related("invited_by").order_by("-id"))


def invitations_waiting_for_lead(actor: Person, organization_id: int) -> list[Invitation]:
    """As `invitations_waiting`, for a lead of that organization alone."""
    require_member(actor, organization_id, lead=True)
    return invitations_waiting(organization(actor, organization_id))


def invitation(actor: Person, id: int) -> Invitation:
    """An invitation of an organization that the actor belongs to."""
    found = Invitation.objects.select_related("organization").filter(pk=id).first()
    if found is None or not access_of(actor).is_member(found.organization_id):
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    return found


def invitation_by_secret(secret: str) -> Invitation | None:
    """The invitation that this secret opens, while it can be accepted."""
    waiting = Invitation.objects.filter(accepted_at=None, withdrawn_at=None, expires_at__gt=Now())
    return waiting.select_related("organization").filter(digest=digest_of(secret)).first()


@dataclass(frozen=True)
class Change:
    """One version of a row: when, by whom, why, and which columns became what (column's label → value)."""

    at: datetime
    who: str
    reason: str
    facts: dict[str, Any]


def history_of(organization: Organization) -> list[Change]:
    """How the facts of an organization changed, the latest first, in two SQL statements."""
    event = apps.get_model("identity", "OrganizationEvent")
    versions = list(event.objects.filter(pgh_obj=organization.pk).select_related("pgh_context").order_by("pgh_id"))
    about = {version.pgh_id: (version.pgh_context.metadata if version.pgh_context else {}) for version in versions}
    names = names_of(made["actor"] for made in about.values() if made.get("actor"))
    changes: list[Change] = []
    before: Any = None
    for version in versions:
        facts = {
            str(getattr(Organization._meta.get_field(column), "verbose_name", column)): _shown(version, column)
            for column in (*FACTS_KEPT, "is_youth_startup")
            if before is None or getattr(before, column) != getattr(version, column)
        }
        before = version
        made = about[version.pgh_id]
        who = names.get(made.get("actor"), "")
        changes.append(Change(version.pgh_created_at, who, made.get("reason", ""), facts))
    return changes[::-1][:PAGE]


def names_of(ids: Iterable[int]) -> dict[int | None, str]:
    """person id → name, in one SQL statement."""
    wanted = set(ids)
    return {p.pk: str(p) for p in Person.objects.filter(pk__in=wanted).only("id", "name", "email")} if wanted else {}


def people_places(person: Any, ids: Collection[int]) -> dict[int, str]:
    access = access_of(person)
    may = access.holds(Role.OPERATOR) or access.holds(Role.AUDITOR)
    return {id: reverse("identity:person", args=[id]) for id in ids} if may else {}


def organization_places(person: Any, ids: Collection[int]) -> dict[int, str]:
    access, staff = access_of(person), sees_organizations(person)
    return {id: reverse("identity:organization", args=[id]) for id in ids if staff or access.is_member(id)}


def people(
    actor: Person, *, search: str = "", role: str = "", after: int | None = None
) -> tuple[list[Person], int | None]:
    """Everybody, for the operator and auditors, with their present roles and memberships: a page, and the id to go on
    after."""
    if not access_of(actor).holds(Role.AUDITOR):
        require(actor, Role.OPERATOR)
    found = Person.objects.prefetch_related(
        Prefetch("roles", RoleGrant.objects.filter(until=None).order_by("id"), to_attr="roles_now"),
        Prefetch(
            "memberships",
            Membership.objects.filter(until=None).select_related("organization").order_by("id"),
            to_attr="memberships_now",
        ),
    ).order_by("id")
    for word in search.split()[:5]:
        found = found.filter(Q(name__icontains=word) | Q(email__icontains=word))
    if role:
        found = found.filter(pk__in=RoleGrant.objects.filter(until=None, role=role).values("person"))
    if after is not None:
        found = found.filter(pk__gt=after)
    return _page(list(found[: PAGE + 1]))


def person(actor: Person, id: int) -> Person:
    """Anybody, for the operator and auditors."""
    if not access_of(actor).holds(Role.AUDITOR):
        require(actor, Role.OPERATOR)
    found = Person.objects.filter(pk=id).first()
    if found is None:
        raise Missing(_("There is no such person."))
    return found


def roles_of(person: Person) -> list[RoleGrant]:
    """The roles that a person holds and held: present ones first, then the latest."""
    grants = person.roles.select_related("given_by").order_by("-id")
    return sorted(grants, key=lambda grant: grant.until is not None)


def role_grant(actor: Person, id: int) -> RoleGrant:
    require(actor, Role.OPERATOR)
    found = RoleGrant.objects.select_related("person").filter(pk=id).first()
    if found is None:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    return found


def tokens_of(person: Person) -> list[ApiToken]:
    """One's own tokens, the latest first."""
    return list(person.tokens.order_by("-id")[:200])


def token(actor: Person, id: int) -> ApiToken:
    """A token of one's own: nobody learns of another's."""
    found = actor.tokens.filter(pk=id).first()
    if found is None:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    return found


def log(actor: Person, *, kind: str = "", who: str = "", before: int | None = None) -> tuple[list[LogLine], int | None]:
    """What was done, the latest first, for auditors and the operator: a page, and the id to go on before.

    `who` is part of a name or an e-mail; what the system did itself has nobody's.
    """
    if not access_of(actor).holds(Role.OPERATOR):
        require(actor, Role.AUDITOR)
    lines = LogLine.objects.order_by("-id")
    if kind:
        lines = lines.filter(kind=kind)
    if who:
        named = Person.objects.filter(Q(name__icontains=who) | Q(email__icontains=who)).order_by("id").values("id")
        lines = lines.filter(actor_id__in=named[:200])
    if before is not None:
        lines = lines.filter(pk__lt=before)
    return _page(list(lines[: PAGE + 1]))


def _page(rows: list[Any]) -> tuple[list[Any], int | None]:
    return rows[:PAGE], rows[PAGE - 1].pk if len(rows) > PAGE else None


def _shown(version: Any, column: str) -> Any:
    shown = getattr(version, f"get_{column}_display", None)
    return shown() if shown else getattr(version, column)
