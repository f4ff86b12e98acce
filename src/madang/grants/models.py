from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pgtrigger
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from madang.calls.models import Application, ApplicationLine
from madang.catalog.models import Resource
from madang.identity.models import Organization, Person
from madang.programs.models import Program
from madang.web.bilingual import said
from madang.web.days import instants
from madang.workflow.history import tracked
from madang.workflow.machine import Machine, state_check


class GrantState(models.TextChoices):
    OFFERED = "offered", pgettext_lazy("grant", "agreement offered")
    ACTIVE = "active", pgettext_lazy("grant", "active")
    DECLINED = "declined", pgettext_lazy("grant", "declined")
    LAPSED = "lapsed", pgettext_lazy("grant", "lapsed")
    CLOSED = "closed", pgettext_lazy("grant", "closed")


grant_moves = Machine(
    GrantState,
    (GrantState.OFFERED, "accept", GrantState.ACTIVE),
    (GrantState.OFFERED, "decline", GrantState.DECLINED),
    (GrantState.OFFERED, "lapse", GrantState.LAPSED),
    (GrantState.ACTIVE, "close", GrantState.CLOSED),
)


@tracked()
class Grant(models.Model):
    """The package that was promised to an organization: its lines are the allocations."""

    application = models.OneToOneField(Application, models.PROTECT, related_name="grant")
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="grants")
    program = models.ForeignKey(Program, models.PROTECT, related_name="grants")
    number = models.CharField(_("grant number"), max_length=60, unique=True)
    title = models.CharField(_("project title"), max_length=200)
    starts_at = models.DateTimeField(_("from"))
    ends_at = models.DateTimeField(_("until"))
    accept_by = models.DateTimeField(_("accept by"))
    state = models.CharField(max_length=10, choices=GrantState, default=GrantState.OFFERED)
    offered_at = models.DateTimeField(db_default=Now())
    accepted_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            state_check(GrantState, "grant_state_known"),
            models.CheckConstraint(name="grant_ends_after_it_starts", condition=Q(ends_at__gt=F("starts_at"))),
            models.CheckConstraint(name="grant_in_our_time", condition=instants("starts_at", "ends_at", "accept_by")),
        ]
        indexes = [models.Index(fields=["organization", "state"], name="grants_of_an_organization")]

    def __str__(self) -> str:
        return self.title

    @property
    def last_day(self) -> date:
        """The last day of use: `ends_at` is the midnight after it, in Seoul."""
        return (self.ends_at - timedelta(seconds=1)).astimezone(ZoneInfo("Asia/Seoul")).date()


class Agreement(models.Model):
    """What was offered and, on the row that bears a signature, accepted. A change is a newer version."""

    grant = models.ForeignKey(Grant, models.PROTECT, related_name="agreements")
    version = models.PositiveSmallIntegerField()
    text_ko = models.TextField()
    text_en = models.TextField()
    terms = models.JSONField()
    digest = models.CharField(max_length=64)
    made_at = models.DateTimeField(db_default=Now())
    signed_by = models.ForeignKey(Person, models.PROTECT, null=True, related_name="+")
    signed_at = models.DateTimeField(null=True)
    signed_as = models.CharField(max_length=160, blank=True)

    class Meta:
        ordering = ["version"]
        constraints = [
            models.UniqueConstraint(fields=["grant", "version"], name="agreement_versions_are_numbered"),
            models.CheckConstraint(
                name="signed_by_somebody_at_an_instant",
                condition=Q(signed_by=None, signed_at=None) | Q(signed_by__isnull=False, signed_at__isnull=False),
            ),
        ]
        triggers = [
            pgtrigger.Protect(
                name="signed_stays",
                operation=pgtrigger.Update | pgtrigger.Delete,
                condition=pgtrigger.Q(old__signed_at__isnull=False),
            )
        ]

    @property
    def text(self) -> str:
        return said(self, "text")


class AllocationState(models.TextChoices):
    PROMISED = "promised", pgettext_lazy("allocation", "promised")
    OPEN = "open", pgettext_lazy("allocation", "open")
    PAUSED = "paused", pgettext_lazy("allocation", "paused")
    CLOSED = "closed", pgettext_lazy("allocation", "closed")


allocation_moves = Machine(
    AllocationState,
    (AllocationState.PROMISED, "open", AllocationState.OPEN),
    (AllocationState.OPEN, "pause", AllocationState.PAUSED),
    (AllocationState.PAUSED, "resume", AllocationState.OPEN),
    ((AllocationState.PROMISED, AllocationState.OPEN, AllocationState.PAUSED), "close", AllocationState.CLOSED),
)


@dataclass(frozen=True)
class Meter:
    """What the ledger says about an allocation, in its smallest unit: granted = held + used + left, at any moment.

    `granted` is what it may use now, after transfers and reclaims. `overrun` was used beyond it.
    """

    held: int = 0
    used: int = 0
    left: int = 0
    overrun: int = 0

    @property
    def granted(self) -> int:
        return self.held + self.used + self.left


@tracked()
class Allocation(models.Model):
    """A granted line: so much of a resource, with an account in the ledger from the day it opens.

    `list_krw` is what the amount costs at list price, `reduction_krw` what the discount takes off, and their difference
    is the organization's own share. All null where the resource has no rate. `closes_when_free`: it is paused after an
    overrun, and closes once nothing is held on it any more.
    """

    grant = models.ForeignKey(Grant, models.PROTECT, related_name="allocations")
    line = models.OneToOneField(ApplicationLine, models.PROTECT, related_name="allocation")
    resource = models.ForeignKey(Resource, models.PROTECT, related_name="allocations")
    amount = models.BigIntegerField(_("amount"))
    account = models.BigIntegerField(null=True, unique=True)
    list_krw = models.BigIntegerField(_("list price"), null=True)
    reduction_krw = models.BigIntegerField(_("reduction"), null=True)
    discount_ko = models.CharField(max_length=160, blank=True)
    discount_en = models.CharField(max_length=160, blank=True)
    state = models.CharField(max_length=10, choices=AllocationState, default=AllocationState.PROMISED)
    opened_at = models.DateTimeField(null=True)
    closes_when_free = models.BooleanField(default=False)
    meter: Meter  # what the ledger says; put there by the queries of this room

    class Meta:
        ordering = ["id"]
        constraints = [
            state_check(AllocationState, "allocation_state_known"),
            models.CheckConstraint(name="allocated_is_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(
                name="open_has_an_account", condition=Q(state__in=["promised", "closed"]) | Q(account__isnull=False)
            ),
            models.CheckConstraint(
                name="closes_when_free_is_paused", condition=Q(closes_when_free=False) | Q(state="paused")
            ),
            models.CheckConstraint(
                name="reduction_within_the_price",
                condition=Q(list_krw=None) | (Q(reduction_krw__gte=0) & Q(reduction_krw__lte=F("list_krw"))),
            ),
        ]

    @property
    def own_share_krw(self) -> int | None:
        return None if self.list_krw is None else self.list_krw - (self.reduction_krw or 0)

    @property
    def discount(self) -> str:
        return said(self, "discount")
