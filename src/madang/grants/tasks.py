"""What runs later: the letter about an offer, and the lapse of offers that nobody signed."""

from __future__ import annotations

from django.conf import settings
from django.core.mail import send_mail
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from procrastinate.contrib.django import app

from madang.grants import actions
from madang.grants.models import Grant
from madang.identity.models import TenantRole
from madang.web.templatetags.madang import seoul


@app.task(name="grants.tell_offer")
def tell_offer(grant: int) -> None:
    """Write to the leads of the organization that an agreement waits for them."""
    row = Grant.objects.select_related("organization", "application__call").get(pk=grant)
    leads = row.organization.memberships.filter(until=None, role=TenantRole.LEAD, person__is_active=True)
    to = list(leads.values_list("person__email", flat=True))
    with translation.override("ko"):
        subject, text = letter(row)
    if to:
        send_mail(subject, text, None, to)


def letter(grant: Grant) -> tuple[str, str]:
    """Subject and text of the letter about an offer, in the language that is active."""
    call = grant.application.call
    subject = _("Your agreement for “%(title)s” is ready") % {"title": grant.title[:80]}
    text = _(
        "Your project “%(title)s” was selected in the call “%(call)s”.\n\n"
        "Please read the agreement and accept it by %(instant)s. After that the offer lapses.\n\n%(link)s\n"
    ) % {
        "title": grant.title,
        "call": call.title,
        "instant": seoul(grant.accept_by),
        "link": settings.PUBLIC_URL + reverse("grants:agreement", args=[grant.number]),
    }
    return subject, text


@app.periodic(cron="*/10 * * * *")
@app.task(name="grants.lapse_overdue", queueing_lock="grants.lapse_overdue")
def lapse_overdue(timestamp: int) -> None:
    actions.lapse_overdue()
