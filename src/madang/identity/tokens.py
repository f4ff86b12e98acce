"""Keys for programs. A token is shown once; what is kept is its digest, which can't be turned back."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.db.models.functions import Now
from django.utils.translation import gettext as _

from madang.identity.models import ApiToken, Person
from madang.identity.rows import lock, write
from madang.workflow.errors import Missing, Refused, Stale
from madang.workflow.log import act
from madang.workflow.moment import now

PREFIX = "mdg_"
MOST_DAYS = 365
MOST_TOKENS = 50


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def make_token(actor: Person, *, name: str, days: int) -> tuple[ApiToken, str]:
    """A new token for one's own programs, valid for `days` (1 to 365). The second value is the token itself."""
    if not 1 <= days <= MOST_DAYS:
        raise Refused(_("A token is valid for 1 to %(most)s days.") % {"most": MOST_DAYS}, field="days")
    token = PREFIX + secrets.token_urlsafe(32)
    with act(actor, "make_token") as said:
        Person.objects.select_for_update(of=("self",)).get(pk=actor.pk)
        moment = now()
        if ApiToken.objects.filter(person=actor, revoked_at=None, expires_at__gt=moment).count() >= MOST_TOKENS:
            raise Refused(_("You have too many tokens. Revoke some of them first."))
        row = said["on"] = write(
            ApiToken(),
            person=actor,
            name=name,
            digest=digest_of(token),
            hint=token[:8],
            expires_at=moment + timedelta(days=days),
        )
    return row, token


def revoke_token(actor: Person, *, token: ApiToken) -> ApiToken:
    """From now on nobody can use it. Only its owner can see that it exists."""
    if token.person_id != actor.pk:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    with act(actor, "revoke_token", on=token):
        lock(token)
        if token.revoked_at:
            raise Stale(_("This token was revoked already."))
        write(token, revoked_at=now())
    return token


def person_of(token: str) -> Person | None:
    """Whose token this is, if it is valid now.

    The lookup compares digests in an index: how long it takes says nothing about a secret that can't be guessed.
    """
    if not token.startswith(PREFIX) or len(token) > 100:
        return None
    row = (
        ApiToken.objects.select_related("person")
        .filter(digest=digest_of(token), revoked_at=None, expires_at__gt=Now(), person__is_active=True)
        .first()
    )
    return row.person if row else None
