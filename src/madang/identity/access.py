"""Who may do what: the one place that answers it.

A person holds roles (over the whole site, a program or a resource) and belongs to organizations. Verbs ask `require`,
queries ask `access_of`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from madang.identity.models import Person, Role, Scope, TenantRole
from madang.workflow.errors import Missing, NotAllowed


@dataclass(frozen=True)
class Access:
    """What one person may do now. `roles` are (role, scope, scope id); `organizations` are id → tenant role."""

    roles: frozenset[tuple[str, str, int]] = frozenset()
    organizations: dict[int, str] = field(default_factory=dict)

    def holds(self, role: str, *, program: int | None = None, resource: int | None = None) -> bool:
        """Whether the role is held over the whole site, or over the named program or resource."""
        wanted = {(role, Scope.SITE, 0)}
        if program is not None:
            wanted.add((role, Scope.PROGRAM, program))
        if resource is not None:
            wanted.add((role, Scope.RESOURCE, resource))
        return not wanted.isdisjoint(self.roles)

    def somewhere(self, role: str) -> bool:
        """Whether the role is held over anything at all: enough for a menu entry, never for a verb."""
        return any(held == role for held, _scope, _id in self.roles)

    def programs(self, role: str) -> set[int] | None:
        """The programs that the role is held over; None means all of them."""
        if (role, Scope.SITE, 0) in self.roles:
            return None
        return {id for held, scope, id in self.roles if held == role and scope == Scope.PROGRAM}

    def is_member(self, organization: int) -> bool:
        return organization in self.organizations

    def is_lead(self, organization: int) -> bool:
        return self.organizations.get(organization) == TenantRole.LEAD


NOBODY = Access()


def access_of(person: Any) -> Access:
    """What `person` may do now, in two SQL statements, remembered on the object for as long as the request lasts."""
    if not isinstance(getattr(person, "pk", None), int) or not person.is_active:
        return NOBODY
    known: Access | None = getattr(person, "_access", None)
    if known is None:
        known = Access(
            roles=frozenset(person.roles.filter(until=None).values_list("role", "scope", "scope_id")),
            organizations=dict(person.memberships.filter(until=None).values_list("organization_id", "role")),
        )
        person._access = known
    return known


def me(request: HttpRequest) -> Person:
    """Who asks. Behind `login_required`, and behind the API's `auth`, it is always somebody."""
    if not isinstance(request.user, Person):
        raise NotAllowed(_("Log in first."))
    return request.user


def forget(person: Person) -> None:
    """What was remembered is no longer true."""
    person.__dict__.pop("_access", None)


def require(person: Any, role: str, *, program: int | None = None, resource: int | None = None) -> None:
    """Raises NotAllowed unless the person holds the role over that."""
    if not access_of(person).holds(role, program=program, resource=resource):
        raise NotAllowed(_("This is for the role “%(role)s”. You don't hold it here.") % {"role": Role(role).label})


def require_member(person: Any, organization: int, *, lead: bool = False) -> None:
    """Raises Missing for strangers (they don't learn that it exists), NotAllowed for members where a lead is needed."""
    access = access_of(person)
    if not access.is_member(organization):
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    if lead and not access.is_lead(organization):
        raise NotAllowed(_("Only a lead of your organization can do this."))
