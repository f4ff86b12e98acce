"""What the holder of a grant is told by e-mail, inside the transaction of a verb."""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext as _

from madang.calls.letters import leads_of
from madang.grants.models import Grant
from madang.web import letters
from madang.web.templatetags.madang import seoul


def offer(grant: Grant) -> None:
    """To the leads of the organization: an agreement waits for them."""

    def write() -> tuple[str, str]:
        call = grant.application.call
        subject = _("Your agreement for “%(title)s” is ready") % {"title": grant.title[:80]}
        return subject, _(
            "Your project “%(title)s” was selected in the call “%(call)s”.\n\n"
            "Please read the agreement and accept it by %(instant)s. After that the offer lapses.\n\n%(link)s\n"
        ) % {
            "title": grant.title,
            "call": call.title,
            "instant": seoul(grant.accept_by),
            "link": letters.link(reverse("grants:agreement", args=[grant.number])),
        }

    letters.later(leads_of([grant.organization_id])[grant.organization_id], write)
