"""Who works here: the first operator, the people whom an operator adds, and the roles that they are given."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import connection
from django.utils.translation import gettext as _

from madang.identity import letters, scopes
from madang.identity.access import forget, require
from madang.identity.models import Person, Role, RoleGrant, Scope
from madang.identity.rows import lock, write
from madang.workflow.errors import Refused, Stale
from madang.workflow.log import act
from madang.workflow.moment import now

ONE_AT_A_TIME = 0x6D616461  # the advisory lock of the first operator


def joined(*, email: str, name: str, password: str | None) -> Person:
    """A person whose e-mail is known to be theirs, so that they can log in at once. Call it inside a transaction."""
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise Refused(" ".join(error.messages), field="email") from None
    if Person.objects.filter(email=email).exists():
        raise Refused(_("Somebody with this e-mail has an account already."), field="email")
    if not name.strip():
        raise Refused(_("A name is needed."), field="name")
    person = Person()
    person.set_password(password)
    write(person, email=email, name=name.strip())
    EmailAddress.objects.create(user=person, email=email, verified=True, primary=True)
    return person


def check_password_of(person: Person, password: str) -> None:
    """Raises Refused at `password` where it is too easy to guess."""
    try:
        validate_password(password, person)
    except ValidationError as error:
        raise Refused(" ".join(error.messages), field="password") from None


def first_operator(*, email: str, name: str, password: str | None) -> Person:
    """The first person of an empty site, who operates it. Never again once anybody is there.

    Without a password nobody can log in as this person until one is chosen through “forgot password”.
    """
    with act(None, "set_up") as said:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ONE_AT_A_TIME])
        if Person.objects.exists():
            raise Stale(_("This site is set up already. Log in instead."))
        if password is not None:
            check_password_of(Person(email=email, name=name), password)
        person = said["on"] = joined(email=email, name=name, password=password)
        write(RoleGrant(), person=person, role=Role.OPERATOR, reason=_("set up the site"))
    return person


def add_person(actor: Person, *, email: str, name: str, password: str | None = None) -> Person:
    """The operator adds somebody who works here, who is told by e-mail, and how to choose a password."""
    require(actor, Role.OPERATOR)
    with act(actor, "add") as said:
        person = said["on"] = joined(email=email, name=name, password=password)
        letters.added(actor, person)
    return person


def give_role(
    actor: Person, *, person: Person, role: str, scope: str = Scope.SITE, scope_id: int = 0, reason: str
) -> RoleGrant:
    """A role over the whole site, a program or a resource, from now on, and why."""
    require(actor, Role.OPERATOR)
    if role not in Role.values:
        raise Refused(_("This role doesn't exist."), field="role")
    if scope not in Scope.values or not scopes.there_is(scope, scope_id):
        raise Refused(_("There is nothing to give a role over here."), field="scope")
    if role == Role.OPERATOR and scope != Scope.SITE:
        raise Refused(_("An operator operates the whole site."), field="scope")
    if not reason.strip():
        raise Refused(_("Say why."), field="reason")
    with act(actor, "give_role", reason=reason, role=role, scope=scope, scope_id=scope_id) as said:
        # Under the lock on the person, so that two clicks don't give it twice.
        locked = Person.objects.select_for_update(of=("self",)).get(pk=person.pk)
        if not locked.is_active:
            raise Refused(_("This account is closed."), field="person")
        if RoleGrant.objects.filter(person=person, role=role, scope=scope, scope_id=scope_id, until=None).exists():
            raise Stale(_("This person holds this role already."), field="role")
        grant = said["on"] = write(
            RoleGrant(),
            person=person,
            role=role,
            scope=scope,
            scope_id=scope_id,
            reason=reason.strip(),
            given_by=actor,
        )
    forget(person)
    return grant


def end_role(actor: Person, *, grant: RoleGrant, reason: str) -> RoleGrant:
    """A role ends now. The last operator's can't: nobody could give roles any more."""
    require(actor, Role.OPERATOR)
    if not reason.strip():
        raise Refused(_("Say why."), field="reason")
    with act(actor, "end_role", on=grant, reason=reason):
        # The rows of all operators are taken in one order, so that two of them can't end each other at once.
        operators = list(
            RoleGrant.objects.select_for_update(of=("self",)).filter(role=Role.OPERATOR, until=None).order_by("id")
        )
        lock(grant)
        if grant.until:
            raise Stale(_("This role has ended already."))
        if [operator.pk for operator in operators] == [grant.pk]:
            raise Refused(_("A site needs an operator. Give the role to somebody else first."))
        write(grant, until=now())
    forget(actor)
    forget(grant.person)
    return grant
