"""What applicants and reviewers are told by e-mail. Each function is called inside the transaction of a verb.

Who is selected isn't written to here: the offer of the agreement says it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from madang.calls.models import Application, ApplicationState, Assignment, Call, Decision, Outcome, Submission
from madang.identity.models import Membership, TenantRole
from madang.web import letters
from madang.web.templatetags.madang import seoul


def leads_of(organizations: Iterable[int]) -> dict[int, list[int]]:
    """organization id → the people who lead it now. One SQL statement."""
    found = Membership.objects.filter(
        organization__in=list(organizations), role=TenantRole.LEAD, until=None, person__is_active=True
    )
    leads: dict[int, list[int]] = defaultdict(list)
    for organization, person in found.order_by("id").values_list("organization_id", "person_id"):
        leads[organization].append(person)
    return leads


def receipt(application: Application, submission: Submission) -> None:
    def write() -> tuple[str, str]:
        return _("Received: %(number)s") % {"number": submission.number}, _(
            "Your application “%(title)s” for the call “%(call)s” was received at %(instant)s (Korean time).\n"
            "Receipt number: %(number)s\n\n%(link)s"
        ) % {
            "title": application.title,
            "call": application.call.title,
            "instant": seoul(submission.submitted_at, "%Y-%m-%d %H:%M:%S"),
            "number": submission.number,
            "link": letters.link(reverse("calls:receipt", args=[submission.pk])),
        }

    letters.later(leads_of([application.organization_id])[application.organization_id], write)


def supplement(application: Application, until: datetime, reason: str) -> None:
    def write() -> tuple[str, str]:
        return _("A supplement is requested: %(number)s") % {"number": application.receipt_number}, _(
            "The officer asks you to complete your application “%(title)s” (%(number)s) until %(instant)s "
            "(Korean time). Only the questions that are named can be changed.\n\n%(reason)s\n\n%(link)s"
        ) % {**_facts(application), "instant": seoul(until), "reason": reason}

    letters.later(leads_of([application.organization_id])[application.organization_id], write)


def ineligible(application: Application, reason: str) -> None:
    def write() -> tuple[str, str]:
        return _("Result of the eligibility check: %(number)s") % {"number": application.receipt_number}, _(
            "Your application “%(title)s” (%(number)s) for the call “%(call)s” was found ineligible and takes no "
            "further part.\n\nReason: %(reason)s\n\n%(link)s"
        ) % {**_facts(application), "reason": reason}

    letters.later(leads_of([application.organization_id])[application.organization_id], write)


def canceled(call: Call, reason: str) -> None:
    """To everybody who takes part, with a draft too."""
    over = [ApplicationState.WITHDRAWN, ApplicationState.INELIGIBLE]
    applications = list(call.applications.exclude(state__in=over).order_by("id"))
    leads = leads_of(application.organization_id for application in applications)
    for application in applications:
        application.call = call

        def write(application: Application = application) -> tuple[str, str]:
            facts = {**_facts(application), "title": application.title or application.draft_title, "reason": reason}
            return _("The call was canceled: %(call)s") % {"call": call.title}, _(
                "The call “%(call)s” was canceled. Your application “%(title)s” takes no further part. What you "
                "submitted stays in the record.\n\nReason: %(reason)s\n\n%(link)s"
            ) % facts

        letters.later(leads[application.organization_id], write)


def results(call: Call, decisions: Iterable[Decision]) -> None:
    """To everybody who isn't selected, each the own result with its reason. Decisions with their applications."""
    told = [decision for decision in decisions if decision.outcome != Outcome.SELECTED]
    leads = leads_of(decision.application.organization_id for decision in told)
    for decision in told:
        application = decision.application
        application.call = call

        def write(application: Application = application, decision: Decision = decision) -> tuple[str, str]:
            facts = {**_facts(application), "reason": decision.reason}
            subject = _("Result: %(number)s") % {"number": application.receipt_number}
            if decision.outcome == Outcome.RESERVE:
                return subject, _(
                    "The results of the call “%(call)s” are announced. Your application “%(title)s” (%(number)s) is on "
                    "the reserve list: when somebody gives an award back, the next in order is offered an agreement."
                    "\n\nReason: %(reason)s\n\n%(link)s"
                ) % facts
            return subject, _(
                "The results of the call “%(call)s” are announced. Your application “%(title)s” (%(number)s) was not "
                "selected.\n\nReason: %(reason)s\n\n%(link)s"
            ) % facts

        letters.later(leads[application.organization_id], write)


def assigned(call: Call, assignments: Iterable[Assignment]) -> None:
    """One letter to each reviewer. It says nothing of who applies, nor of what: the title may give that away."""
    for reviewer, count in Counter(assignment.reviewer_id for assignment in assignments).items():

        def write(count: int = count) -> tuple[str, str]:
            return _("To review: %(call)s") % {"call": call.title}, ngettext(
                "%(count)s application of the call “%(call)s” is assigned to you for review. You find it in your list, "
                "and can score it as long as the call is under evaluation.\n\n%(link)s",
                "%(count)s applications of the call “%(call)s” are assigned to you for review. You find them in your "
                "list, and can score them as long as the call is under evaluation.\n\n%(link)s",
                count,
            ) % {"count": count, "call": call.title, "link": letters.link(reverse("calls:reviews"))}

        letters.later([reviewer], write)


def _facts(application: Application) -> dict[str, str]:
    return {
        "title": application.title,
        "number": application.receipt_number,
        "call": application.call.title,
        "link": letters.link(reverse("calls:application", args=[application.pk])),
    }
