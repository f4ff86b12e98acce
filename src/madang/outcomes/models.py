from __future__ import annotations

from typing import Any

import pgtrigger
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from madang.grants.models import Grant
from madang.identity.models import Organization, Person
from madang.web.days import days
from madang.workflow.history import tracked
from madang.workflow.machine import Machine, state_check


class OutcomeKind(models.TextChoices):
    HIRE = "hire", _("new hires")
    REVENUE = "revenue", _("revenue")
    PRODUCT = "product", _("product or service")
    PATENT = "patent", _("patent")
    INVESTMENT = "investment", _("investment raised")


OUTCOME_UNIT = {
    OutcomeKind.HIRE: "person",
    OutcomeKind.REVENUE: "krw",
    OutcomeKind.PRODUCT: "count",
    OutcomeKind.PATENT: "count",
    OutcomeKind.INVESTMENT: "krw",
}


# More than this in one report is a slip of the finger, or several reports.
OUTCOME_MOST = {"person": 100_000, "count": 10_000, "krw": 100_000_000_000_000}


class OutcomeState(models.TextChoices):
    REPORTED = "reported", _("waits for verification")
    RETURNED = "returned", _("returned")
    VERIFIED = "verified", _("verified")
    REPLACED = "replaced", _("replaced by a correction")


outcome_moves = Machine(
    OutcomeState,
    ((OutcomeState.REPORTED, OutcomeState.VERIFIED), "verify", OutcomeState.VERIFIED),
    (OutcomeState.REPORTED, "return", OutcomeState.RETURNED),
    ((OutcomeState.REPORTED, OutcomeState.RETURNED, OutcomeState.VERIFIED), "replace", OutcomeState.REPLACED),
)


class Level(models.TextChoices):
    """The ladder of verification."""

    SELF = "1_self", _("self-reported")
    EVIDENCE = "2_evidence", _("evidence checked")
    ON_SITE = "3_on_site", _("inspected on site")
    OUTSIDE = "4_outside", _("checked against outside data")
    AUDIT = "5_audit", _("audit")


@tracked()
class Outcome(models.Model):
    """What came of a grant, as its holder reports it: `amount` in the unit of its kind (people, KRW, pieces)."""

    grant = models.ForeignKey(Grant, models.PROTECT, related_name="outcomes")
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="outcomes")
    kind = models.CharField(_("kind"), max_length=12, choices=OutcomeKind)
    amount = models.BigIntegerField(_("amount"))
    occurred_on = models.DateField(_("date"))
    title = models.CharField(_("title"), max_length=200)
    text = models.TextField(_("description"), max_length=4000, blank=True)
    share_percent = models.PositiveSmallIntegerField(_("share that the support brought about (%)"), default=100)
    state = models.CharField(max_length=10, choices=OutcomeState, default=OutcomeState.REPORTED)
    level = models.CharField(max_length=12, choices=Level, default=Level.SELF)
    replaces = models.OneToOneField("self", models.PROTECT, null=True, related_name="replaced_by")
    reported_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    reported_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            state_check(OutcomeState, "outcome_state_known"),
            models.CheckConstraint(name="outcome_kind_known", condition=Q(kind__in=OutcomeKind.values)),
            models.CheckConstraint(name="outcome_in_our_time", condition=days("occurred_on")),
            models.CheckConstraint(name="outcome_is_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(name="outcome_share", condition=Q(share_percent__gte=1) & Q(share_percent__lte=100)),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def unit(self) -> str:
        return OUTCOME_UNIT[OutcomeKind(self.kind)]

    @property
    def attributed(self) -> int:
        """The part of the amount that the support brought about, in whole units."""
        return self.amount * self.share_percent // 100


def evidence_path(evidence: Any, name: str) -> str:
    return f"evidence/{evidence.outcome_id}/{evidence.digest[:24]}"


class Evidence(models.Model):
    """A file that shows it. Never changed, never removed."""

    outcome = models.ForeignKey(Outcome, models.PROTECT, related_name="evidence")
    name = models.CharField(max_length=200)
    file = models.FileField(upload_to=evidence_path, max_length=200)
    size = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    added_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    added_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]


class Verification(models.Model):
    """Who looked at an outcome, how closely, and what they found."""

    outcome = models.ForeignKey(Outcome, models.PROTECT, related_name="verifications")
    level = models.CharField(_("level"), max_length=12, choices=Level)
    accepted = models.BooleanField()
    reason = models.TextField(_("reason"), max_length=2000)
    person = models.ForeignKey(Person, models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]
