"""What the holder of a grant is told by e-mail about what it reported, inside the transaction of a verb."""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext as _

from madang.calls.letters import leads_of
from madang.outcomes.models import Level, Outcome
from madang.web import letters


def verified(outcome: Outcome, reason: str) -> None:
    def write() -> tuple[str, str]:
        return _("Outcome verified: %(title)s") % {"title": outcome.title[:80]}, _(
            "Your outcome “%(title)s” of the grant %(number)s was verified (%(level)s).\n\n%(reason)s\n\n%(link)s"
        ) % {**_facts(outcome, reason), "level": Level(outcome.level).label}

    letters.later(leads_of([outcome.organization_id])[outcome.organization_id], write)


def returned(outcome: Outcome, reason: str) -> None:
    def write() -> tuple[str, str]:
        return _("Outcome returned: %(title)s") % {"title": outcome.title[:80]}, _(
            "Your outcome “%(title)s” of the grant %(number)s was returned. Please correct it and report it again."
            "\n\nReason: %(reason)s\n\n%(link)s"
        ) % _facts(outcome, reason)

    letters.later(leads_of([outcome.organization_id])[outcome.organization_id], write)


def _facts(outcome: Outcome, reason: str) -> dict[str, str]:
    return {
        "title": outcome.title,
        "number": outcome.grant.number,
        "reason": reason,
        "link": letters.link(reverse("outcomes:outcome", args=[outcome.pk])),
    }
