"""What people are told of their jobs by e-mail, inside the transaction of a verb."""

from __future__ import annotations

from django.utils.translation import gettext as _

from madang.jobs.models import Job
from madang.web import letters


def held_back(job: Job) -> None:
    """To who submitted it: what starts again of it isn't covered."""
    allocation = job.allocation

    def write() -> tuple[str, str]:
        facts = {"job": job.name, "resource": allocation.resource.name, "number": allocation.grant.number}
        return _("Your job “%(job)s” waits for your balance") % facts, _(
            "Your job “%(job)s” was interrupted and is to start again. What is left of “%(resource)s” (%(number)s) "
            "doesn't cover another run of it, so it is held back. It goes on by itself once the balance covers it; "
            "or cancel it, and submit it with a lower time limit."
        ) % facts

    letters.later([job.person_id], write)


def ended_for(job: Job) -> None:
    """To who submitted it: an operator has it end, and why."""
    allocation = job.allocation

    def write() -> tuple[str, str]:
        facts = {"job": job.name, "resource": allocation.resource.name, "number": allocation.grant.number}
        return _("Your job “%(job)s” was ended by the operator") % facts, _(
            "The operator of the site ended your job “%(job)s” on “%(resource)s” (%(number)s). The reason: "
            "%(reason)s\n\nWhat it used until then is charged; the rest of what was held is back."
        ) % {**facts, "reason": job.cancel_why}

    letters.later([job.person_id], write)
