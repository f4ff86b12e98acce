"""Identity over HTTP: who asks, their organizations, their tokens; people, roles and the log for those who may."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema, Status
from ninja.errors import AuthenticationError
from ninja.security import HttpBearer, SessionAuth
from pydantic import AfterValidator

from madang.identity import actions, queries, tokens
from madang.identity.access import me
from madang.identity.models import (
    Membership,
    Organization,
    OrganizationKind,
    Person,
    Region,
    Role,
    Scope,
    TenantRole,
)
from madang.web.api import PROBLEMS, Id, In, Line, PastDay, Whole
from madang.workflow.log import read_of


class Token(HttpBearer):
    """`Authorization: Bearer mdg_…`. A token that isn't valid is an error, never a reason to look for a session."""

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        person = tokens.person_of(token)
        if person is None:
            raise AuthenticationError
        request.user = person
        return person


session = SessionAuth(csrf=True)
auth = [Token(), session]


def anybody(request: HttpRequest) -> bool:
    """Public: whoever asks without a token and without a session is answered as a stranger."""
    return True


public = [*auth, anybody]
router = Router()


def _email(value: str) -> str:
    try:
        validate_email(value)
    except ValidationError:
        raise ValueError(_("isn't an e-mail address")) from None
    return value.lower()


Email = Annotated[str, Field(max_length=254, min_length=3), AfterValidator(_email)]
Name = Annotated[Line, Field(min_length=1, max_length=80)]
After = Annotated[int, Field(ge=0, le=2**63 - 1)]
Why = Annotated[Line, Field(min_length=1)]


class MembershipOut(Schema):
    id: int
    organization_id: int
    organization: str
    role: str
    since: datetime

    @staticmethod
    def resolve_organization(membership: Membership) -> str:
        return membership.organization.name


class MemberOut(Schema):
    id: int
    name: str
    email: str
    role: str
    since: datetime

    @staticmethod
    def resolve_name(membership: Membership) -> str:
        return membership.person.name

    @staticmethod
    def resolve_email(membership: Membership) -> str:
        return membership.person.email


class MembersOut(Schema):
    items: list[MemberOut]
    next: int | None = None


class RoleOut(Schema):
    id: int
    role: str
    scope: str
    scope_id: int
    since: datetime
    until: datetime | None
    reason: str


class MeOut(Schema):
    id: int
    name: str
    email: str
    roles: list[RoleOut]
    memberships: list[MembershipOut]


class OrganizationOut(Schema):
    id: int
    name_ko: str
    name_en: str
    kind: str
    business_number: str
    representative: str
    region: str
    founded_on: date | None
    is_youth_startup: bool


class InvitationOut(Schema):
    id: int
    email: str
    role: str
    expires_at: datetime


class InvitationsOut(Schema):
    items: list[InvitationOut]
    next: int | None = None


class TokenOut(Schema):
    id: int
    name: str
    hint: str
    made_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class TokensOut(Schema):
    items: list[TokenOut]
    next: int | None = None


class NewTokenOut(Schema):
    token: str
    id: int
    expires_at: datetime


class PersonOut(Schema):
    """Somebody and the roles held now. The e-mail address is where one person is read, which is recorded."""

    id: int
    name: str
    roles: list[RoleOut]

    @staticmethod
    def resolve_roles(person: Person) -> list[Any]:
        return getattr(person, "roles_now", [])


class PersonDetailOut(Schema):
    id: int
    name: str
    email: str
    joined_at: datetime
    roles: list[RoleOut]


class PeopleOut(Schema):
    items: list[PersonOut]
    next: int | None


class LogLineOut(Schema):
    id: int
    at: datetime
    actor_id: int | None
    actor_name: str
    verb: str
    kind: str
    ref: int | None
    before: str
    after: str
    reason: str


class LogOut(Schema):
    """Newest first; pass `next` as `after` to read on."""

    items: list[LogLineOut]
    next: int | None


class OrganizationIn(In):
    name_ko: Annotated[Line, Field(min_length=1, max_length=120)]
    name_en: Annotated[Line, Field(max_length=120)] = ""
    kind: OrganizationKind
    business_number: Annotated[Line, Field(max_length=20)]
    representative: Annotated[Line, Field(max_length=80)] = ""
    region: Region
    founded_on: PastDay | None = None
    is_youth_startup: bool = False


class OrganizationChange(In):
    name_ko: Annotated[Line, Field(min_length=1, max_length=120)] | None = None
    name_en: Annotated[Line, Field(max_length=120)] | None = None
    representative: Annotated[Line, Field(max_length=80)] | None = None
    region: Region | None = None
    founded_on: PastDay | None = None
    is_youth_startup: bool | None = None


class NameIn(In):
    name: Name


class InviteIn(In):
    email: Email
    role: TenantRole = TenantRole.MEMBER


class AcceptIn(In):
    secret: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[-_A-Za-z0-9]+$")]


class TenantRoleIn(In):
    role: TenantRole


class TokenIn(In):
    name: Name
    days: Annotated[Whole, Field(ge=1, le=tokens.MOST_DAYS)] = 90


class PersonIn(In):
    name: Name
    email: Email


class RoleIn(In):
    role: Role
    scope: Scope = Scope.SITE
    scope_id: Annotated[Whole, Field(ge=0, le=2**63 - 1)] = 0
    reason: Why


class RoleReason(In):
    reason: Why


class FindPeople(Schema):
    search: Line = ""
    role: Role | None = None
    after: After | None = None


class FindLog(Schema):
    kind: Annotated[Line, Field(max_length=60)] = ""
    who: Line = ""
    after: After | None = None


@router.get("/me", response={200: MeOut} | PROBLEMS)
def read_me(request: HttpRequest) -> Any:
    """Who asks, with the roles and memberships of now."""
    person = me(request)
    return {
        "id": person.pk,
        "name": person.name,
        "email": person.email,
        "roles": [grant for grant in queries.roles_of(person) if grant.until is None],
        "memberships": queries.organizations_of(person),
    }


@router.patch("/me", response={200: MeOut} | PROBLEMS)
def rename_me(request: HttpRequest, body: NameIn) -> Any:
    actions.rename(me(request), name=body.name)
    return read_me(request)


@router.post("/organizations", response={201: OrganizationOut} | PROBLEMS)
def register_organization(request: HttpRequest, body: OrganizationIn) -> Any:
    return Status(201, actions.register_organization(me(request), **body.dict()))


@router.get("/organizations/{id}", response={200: OrganizationOut} | PROBLEMS)
def read_organization(request: HttpRequest, id: Id) -> Organization:
    return queries.organization(me(request), id)


@router.patch("/organizations/{id}", response={200: OrganizationOut} | PROBLEMS)
def edit_organization(request: HttpRequest, id: Id, body: OrganizationChange) -> Organization:
    """Only what is named changes."""
    organization = queries.organization(me(request), id)
    return actions.edit_organization(me(request), organization=organization, **body.dict(exclude_unset=True))


@router.get("/organizations/{id}/members", response={200: MembersOut} | PROBLEMS)
def list_members(request: HttpRequest, id: Id) -> Any:
    """Who belongs to it now. That somebody from outside read it is recorded."""
    organization = queries.organization(me(request), id)
    members = queries.members(organization)
    if me(request).pk not in {membership.person_id for membership in members}:
        read_of(me(request), organization, "contact of the members")
    return {"items": members}


@router.post("/organizations/{id}/invitations", response={201: InvitationOut} | PROBLEMS)
def invite(request: HttpRequest, id: Id, body: InviteIn) -> Any:
    """The secret is in the letter alone."""
    organization = queries.organization(me(request), id)
    invitation, _secret = actions.invite(me(request), organization=organization, email=body.email, role=body.role)
    return Status(201, invitation)


@router.get("/organizations/{id}/invitations", response={200: InvitationsOut} | PROBLEMS)
def list_invitations(request: HttpRequest, id: Id) -> Any:
    """Those that wait for an answer, for a lead."""
    return {"items": queries.invitations_waiting_for_lead(me(request), id)}


@router.post("/invitations/accept", response={200: MembershipOut} | PROBLEMS)
def accept_invitation(request: HttpRequest, body: AcceptIn) -> Membership:
    return actions.accept_invitation(me(request), secret=body.secret)


@router.delete("/invitations/{id}", response={204: None} | PROBLEMS)
def withdraw_invitation(request: HttpRequest, id: Id) -> Any:
    actions.withdraw_invitation(me(request), invitation=queries.invitation(me(request), id))
    return Status(204, None)


@router.patch("/memberships/{id}", response={200: MembershipOut} | PROBLEMS)
def change_membership(request: HttpRequest, id: Id, body: TenantRoleIn) -> Membership:
    return actions.change_membership(me(request), membership=queries.membership(me(request), id), role=body.role)


@router.delete("/memberships/{id}", response={204: None} | PROBLEMS)
def end_membership(request: HttpRequest, id: Id) -> Any:
    actions.end_membership(me(request), membership=queries.membership(me(request), id))
    return Status(204, None)


@router.get("/tokens", response={200: TokensOut} | PROBLEMS)
def list_tokens(request: HttpRequest) -> Any:
    return {"items": queries.tokens_of(me(request))}


@router.post("/tokens", response={201: NewTokenOut} | PROBLEMS, auth=session)
def make_token(request: HttpRequest, body: TokenIn) -> Any:
    """The token is in this answer and nowhere else. A token can't make another one: log in for that."""
    row, token = actions.make_token(me(request), name=body.name, days=body.days)
    return Status(201, {"token": token, "id": row.pk, "expires_at": row.expires_at})


@router.delete("/tokens/{id}", response={204: None} | PROBLEMS)
def revoke_token(request: HttpRequest, id: Id) -> Any:
    actions.revoke_token(me(request), token=queries.token(me(request), id))
    return Status(204, None)


@router.get("/people", response={200: PeopleOut} | PROBLEMS)
def list_people(request: HttpRequest, find: Query[FindPeople]) -> Any:
    rows, following = queries.people(me(request), search=find.search, role=find.role or "", after=find.after)
    return {"items": rows, "next": following}


@router.post("/people", response={201: PersonOut} | PROBLEMS)
def add_person(request: HttpRequest, body: PersonIn) -> Any:
    return Status(201, actions.add_person(me(request), email=body.email, name=body.name))


@router.get("/people/{id}", response={200: PersonDetailOut} | PROBLEMS)
def read_person(request: HttpRequest, id: Id) -> Any:
    """One person with the e-mail address, and every role held now or before. That it was read is recorded."""
    person = queries.person(me(request), id)
    if person.pk != me(request).pk:
        read_of(me(request), person, "contact")
    return {
        "id": person.pk,
        "name": person.name,
        "email": person.email,
        "joined_at": person.joined_at,
        "roles": queries.roles_of(person),
    }


@router.post("/people/{id}/roles", response={201: RoleOut} | PROBLEMS)
def give_role(request: HttpRequest, id: Id, body: RoleIn) -> Any:
    return Status(201, actions.give_role(me(request), person=queries.person(me(request), id), **body.dict()))


@router.post("/roles/{id}/end", response={200: RoleOut} | PROBLEMS)
def end_role(request: HttpRequest, id: Id, body: RoleReason) -> Any:
    return actions.end_role(me(request), grant=queries.role_grant(me(request), id), reason=body.reason)


@router.get("/log", response={200: LogOut} | PROBLEMS)
def read_log(request: HttpRequest, find: Query[FindLog]) -> Any:
    lines, following = queries.log(me(request), kind=find.kind, who=find.who, before=find.after)
    return {"items": lines, "next": following}
