"""What holders of grants and officers are told by e-mail, inside the transaction of a verb."""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext as _

from madang.calls.letters import leads_of
from madang.calls.models import OverrunPolicy
from madang.grants.models import Allocation, Grant
from madang.identity.queries import officers_of
from madang.web import letters
from madang.web.amounts import written
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


def overrun(allocation: Allocation, policy: str) -> None:
    """To the leads of the organization and the officers of the program: more was used than the allocation covers."""
    grant = allocation.grant

    def write() -> tuple[str, str]:
        facts = {
            "organization": grant.organization.name,
            "title": grant.title,
            "number": grant.number,
            "resource": allocation.resource.name,
            "amount": written(allocation.meter.overrun, allocation.resource.unit),
        }
        follows = {
            OverrunPolicy.WARN: _("Nothing is paused. Please look at what runs, and at what is left."),
            OverrunPolicy.PAUSE: _(
                "As the call says, the allocation is paused: nothing new starts on it until it is resumed."
            ),
            OverrunPolicy.CLOSE: _(
                "As the call says, the allocation is paused now, and closes once nothing is held on it any more."
            ),
        }[OverrunPolicy(policy)]
        text = (
            _(
                "%(organization)s has used more of “%(resource)s” than its allocation covers, in “%(title)s” "
                "(%(number)s). What goes beyond it so far: %(amount)s."
            )
            % facts
        )
        where = letters.link(reverse("grants:statement", args=[grant.number, allocation.pk]))
        return _("Overrun: %(number)s, %(resource)s") % facts, f"{text}\n\n{follows}\n\n{where}\n"

    leads = leads_of([grant.organization_id])[grant.organization_id]
    letters.later([*leads, *officers_of(grant.program_id)], write)
