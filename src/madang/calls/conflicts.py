"""Who can't review whom (제척): facts, found by the machine, that nobody can waive."""

from __future__ import annotations

from collections.abc import Collection

from allauth.account.models import EmailAddress
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from madang.identity.models import Membership, Person
from madang.workflow.errors import NotAllowed

BELONGS = gettext_lazy("Excluded: the reviewer belongs, or belonged, to the applicant.")


def found(organizations: Collection[int], people: Collection[int]) -> set[tuple[int, int]]:
    """The (organization, person) pairs that exclude each other, in four SQL statements however many there are.

    A person belongs to the organization, or did once; or one of the person's e-mail addresses, also one that was never
    confirmed, is that of somebody who does or did. (An organization is one row for one business registration number.)
    """
    belongs = set(
        Membership.objects.filter(organization__in=organizations, person__in=people).values_list(
            "organization_id", "person_id"
        )
    )
    theirs: dict[str, set[int]] = {}
    for email, person in [
        *Person.objects.filter(pk__in=people).values_list("email", "pk"),
        *EmailAddress.objects.filter(user__in=people).values_list("email", "user_id"),
    ]:
        theirs.setdefault(email.lower(), set()).add(person)
    # Of the members only addresses that are surely theirs: else a firm could keep a reviewer away by naming his.
    members = Membership.objects.filter(organization__in=organizations).values_list(
        "organization_id", "person__email", "person__emailaddress__email", "person__emailaddress__verified"
    )
    for organization, email, other, verified in members:
        for address in (email, other if verified else None):
            belongs |= {(organization, person) for person in theirs.get((address or "").lower(), ())}
    return belongs


def require_none(actor: Person, organization: int) -> None:
    """Raises NotAllowed for whoever belongs, or belonged, to the organization: nobody decides on their own matters."""
    if found([organization], [actor.pk]):
        raise NotAllowed(_("You belong, or belonged, to the applicant. Somebody else has to do this."))
