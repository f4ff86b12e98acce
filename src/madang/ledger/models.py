"""What is booked. Nothing here is written through the ORM: only the functions in `sql/` write, and the role of the
application has no other right than to call them and to read. The models are for reading and for migrations.

The foreign keys are made by hand (`sql/tables.sql`), so that they are checked at once and not at commit.
"""

from __future__ import annotations

from typing import ClassVar

import pgtrigger
from django.db import models
from django.db.models import F, Q
from django.utils.translation import pgettext_lazy


class Role(models.TextChoices):
    ALLOCATION = "allocation", pgettext_lazy("ledger", "Allocation")
    POOL = "pool", pgettext_lazy("ledger", "Pool")
    CONSUMED = "consumed", pgettext_lazy("ledger", "Used")
    OVERRUN = "overrun", pgettext_lazy("ledger", "Overrun")
    EXCHANGE = "exchange", pgettext_lazy("ledger", "Exchange")


class Kind(models.TextChoices):
    GRANT = "grant", pgettext_lazy("ledger", "Grant")
    HOLD = "hold", pgettext_lazy("ledger", "Hold")
    SETTLE = "settle", pgettext_lazy("ledger", "Settle")
    RELEASE = "release", pgettext_lazy("ledger", "Release")
    EXPIRE = "expire", pgettext_lazy("ledger", "Expire")
    CHARGE = "charge", pgettext_lazy("ledger", "Charge")
    OVERRUN = "overrun", pgettext_lazy("ledger", "Overrun")
    REFUND = "refund", pgettext_lazy("ledger", "Refund")
    TRANSFER = "transfer", pgettext_lazy("ledger", "Transfer")
    RECLAIM = "reclaim", pgettext_lazy("ledger", "Reclaim")
    REVERSE = "reverse", pgettext_lazy("ledger", "Reversal")


ENDS_A_HOLD = [Kind.SETTLE, Kind.RELEASE, Kind.EXPIRE]


class Commodity(models.Model):
    """What is counted: a unit of a class of resource. H100 seconds are not A100 seconds; no entry crosses
    commodities."""

    code = models.CharField(max_length=100, unique=True)
    unit = models.CharField(max_length=40)
    resource_class = models.CharField(max_length=100, blank=True)


class Account(models.Model):
    """One side of entries. The owner is opaque: this room knows no domain. Only a limited account has a balance row."""

    commodity = models.ForeignKey(Commodity, models.PROTECT, db_constraint=False)
    owner_type = models.CharField(max_length=60)
    owner_id = models.BigIntegerField()
    role = models.CharField(max_length=20, choices=Role.choices)
    limited = models.BooleanField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["owner_type", "owner_id", "commodity", "role"], name="ledger_one_account_per_owner"
            ),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="ledger_account_role"),
        ]


class Balance(models.Model):
    """What a limited account holds, in the smallest unit. available = credited - debited - held, and never below
    zero."""

    account = models.OneToOneField(Account, models.PROTECT, primary_key=True, db_constraint=False)
    credited = models.BigIntegerField(db_default=0)
    debited = models.BigIntegerField(db_default=0)
    held = models.BigIntegerField(db_default=0)
    version = models.BigIntegerField(db_default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(credited__gte=F("debited") + F("held")), name="ledger_never_overspent"),
            models.CheckConstraint(
                condition=Q(credited__gte=0, debited__gte=0, held__gte=0), name="ledger_balance_not_negative"
            ),
        ]


class Entry(models.Model):
    """One posting with both of its legs, so that it is balanced by construction. Append-only.

    `amount` goes from `debit` to `credit`, in the smallest unit. A hold only sets it aside; release and expire have
    amount 0 and name the hold. `event_at` is when it happened, `booked_at` when it was written, both by instant;
    `period` is the month (in Seoul) that it counts in, and `adjusts_period` the closed one that it belongs to.
    `used_by` is the allocation whose use an overrun was. `actor_id` is opaque; null is the system.
    """

    source = models.CharField(max_length=100)
    ext_key = models.CharField(max_length=200)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    rev = models.IntegerField(db_default=0)
    debit = models.ForeignKey(Account, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    credit = models.ForeignKey(Account, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    amount = models.BigIntegerField()
    hold = models.ForeignKey("self", models.PROTECT, null=True, related_name="+", db_constraint=False, db_index=False)
    reverses = models.OneToOneField("self", models.PROTECT, null=True, related_name="+", db_constraint=False)
    refunds = models.ForeignKey(
        "self", models.PROTECT, null=True, related_name="+", db_constraint=False, db_index=False
    )
    used_by = models.ForeignKey(
        Account, models.PROTECT, null=True, related_name="+", db_constraint=False, db_index=False
    )
    event_at = models.DateTimeField()
    booked_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    period = models.DateField()
    adjusts_period = models.DateField(null=True)
    actor_id = models.BigIntegerField(null=True)
    reason = models.TextField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["source", "ext_key", "kind", "rev"], name="ledger_key"),
            models.UniqueConstraint(fields=["hold"], condition=Q(hold__isnull=False), name="ledger_hold_resolved_once"),
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="ledger_entry_kind"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="ledger_amount_not_negative"),
            models.CheckConstraint(condition=~Q(debit=F("credit")), name="ledger_two_accounts"),
            models.CheckConstraint(
                condition=Q(kind__in=ENDS_A_HOLD, hold__isnull=False)
                | (~Q(kind__in=ENDS_A_HOLD) & Q(hold__isnull=True)),
                name="ledger_end_names_its_hold",
            ),
            models.CheckConstraint(
                condition=~Q(kind="overrun") | Q(used_by__isnull=False), name="ledger_overrun_names_its_user"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["debit", "id"], name="ledger_of_debit"),
            models.Index(fields=["credit", "id"], name="ledger_of_credit"),
            models.Index(fields=["used_by", "id"], name="ledger_of_overrun", condition=Q(used_by__isnull=False)),
            models.Index(fields=["refunds"], name="ledger_refunds_of", condition=Q(refunds__isnull=False)),
            models.Index(
                fields=["debit", "expires_at"],
                name="ledger_may_expire",
                condition=Q(kind="hold", expires_at__isnull=False),
            ),
        ]
        triggers: ClassVar = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]

    def effect_on(self, account: int) -> int:
        """The signed change of what `account` has, in the smallest unit. A hold only sets aside: its effect is 0."""
        if self.kind == Kind.HOLD:
            return 0
        if account == self.credit_id:
            return self.amount
        return -self.amount if account == self.debit_id else 0


class Period(models.Model):
    """A closed month, named by its first day. Every month up to it is closed; there is no way to open one again."""

    month = models.DateField(primary_key=True)
    closed_at = models.DateTimeField()
    closed_by = models.BigIntegerField(null=True)

    class Meta:
        triggers: ClassVar = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]
