"""People and organizations for tests. Everything here calls the verbs that the pages call."""

from __future__ import annotations

from itertools import count
from typing import Any

from madang.identity import actions
from madang.identity.access import forget
from madang.identity.business_number import check_digit
from madang.identity.models import Organization, Person, Role, RoleGrant
from madang.identity.staff import joined

_number = count(1)
PASSWORD = "a yard for everybody"


def business_number() -> str:
    """A valid one that no other call gave."""
    nine = f"{100_000_000 + next(_number):09d}"
    return nine + check_digit(nine)


def person(name: str = "김하늘", email: str = "") -> Person:
    return joined(email=email or f"person{next(_number)}@example.kr", name=name, password=PASSWORD)


def operator() -> Person:
    """The one who set the site up, the same each time; `staff(Role.OPERATOR)` makes another."""
    grant = RoleGrant.objects.filter(role=Role.OPERATOR, until=None).select_related("person").order_by("id").first()
    if grant is None:
        grant = RoleGrant(person=person("박운영"), role=Role.OPERATOR, reason="set up the site")
        grant.save()
    return grant.person


def staff(role: str, scope: str = "site", scope_id: int = 0, given_by: Person | None = None) -> Person:
    somebody = person(str(Role(role).label))
    actions.give_role(
        given_by or operator(), person=somebody, role=role, scope=scope, scope_id=scope_id, reason="for a test"
    )
    forget(somebody)
    return somebody


def officer(scope: str = "site", scope_id: int = 0) -> Person:
    return staff(Role.OFFICER, scope, scope_id)


def reviewer() -> Person:
    return staff(Role.REVIEWER)


def steward(scope: str = "site", scope_id: int = 0) -> Person:
    return staff(Role.STEWARD, scope, scope_id)


def executive() -> Person:
    return staff(Role.EXECUTIVE)


def auditor() -> Person:
    return staff(Role.AUDITOR)


def organization(lead: Person | None = None, **facts: Any) -> Organization:
    """Its lead is `organization(...).memberships.get().person`, or the one that is given."""
    lead = lead or person()
    return actions.register_organization(
        lead,
        **{
            "name_ko": "빛고을 로보틱스",
            "name_en": "Bitgoeul Robotics",
            "kind": "sme",
            "business_number": business_number(),
            "representative": "이대표",
            "region": "29",
            **facts,
        },
    )


def lead_of(organization: Organization) -> Person:
    return Person.objects.filter(memberships__organization=organization, memberships__role="lead").order_by("id")[0]


def member(organization: Organization, role: str = "member") -> Person:
    somebody = person("최회원")
    _, secret = actions.invite(lead_of(organization), organization=organization, email=somebody.email, role=role)
    actions.accept_invitation(somebody, secret=secret)
    return somebody


def agency() -> Organization:
    """The managing agency, as the operator registers it."""
    return organization(operator(), kind="agency", name_ko="인공지능산업융합사업단", name_en="AI agency")
