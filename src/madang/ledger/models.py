"""What is booked. Nothing here is written through the ORM: only the functions in `sql/` write, and the role of the
application has no other right than to call them and to read. The models are for reading and for migrations.

Entries have no foreign keys to accounts and holds: the functions read the row that they name in the statement that
writes, accounts and entries are never deleted (a trigger, and no rights), and a lock on the same few accounts for each
entry was two thirds of its cost. `madang.ledger.verify` looks for orphans all the same.
"""

from __future__ import annotations

from typing import ClassVar

import pgtrigger
from django.contrib.postgres.indexes import BrinIndex
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


NEVER_CHANGED = pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)


class Commodity(models.Model):
    """What is counted: a unit of a class of resource. H100 seconds are not A100 seconds; no entry crosses
    commodities."""

    code = models.CharField(max_length=100, unique=True)
    unit = models.CharField(max_length=40)
    resource_class = models.CharField(max_length=100, blank=True)

    class Meta:
        triggers: ClassVar = [NEVER_CHANGED]


class Account(models.Model):
    """One side of entries. The owner is opaque: this room knows no domain. Only a limited account has a balance row."""

    commodity = models.ForeignKey(Commodity, models.PROTECT, db_constraint=False)
    owner_type = models.CharField(max_length=60)
    owner_id = models.BigIntegerField()
    role = models.CharField(max_length=20, choices=Role.choices)
    limited = models.BooleanField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["owner_type", "owner_id", "commodity", "role"], name="ledger_one_account_per_owner"
            ),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="ledger_account_role"),
        ]
        triggers: ClassVar = [NEVER_CHANGED]


class Balance(models.Model):
    """What a limited account holds, in the smallest unit. available = credited - debited - held, and never below
    zero."""

    account = models.OneToOneField(Account, models.PROTECT, primary_key=True, db_constraint=False)
    credited = models.BigIntegerField(db_default=0)
    debited = models.BigIntegerField(db_default=0)
    held = models.BigIntegerField(db_default=0)
    # Where what it lends is used up: the account of the site for its commodity. Null where nothing can be held.
    sink = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(credited__gte=F("debited") + F("held")), name="ledger_never_overspent"),
        ]


class Entry(models.Model):
    """One posting with both of its legs, so that it is balanced by construction. Append-only.

    `amount` goes from `debit` to `credit`, in the smallest unit. A hold only sets it aside; release and expire have
    amount 0 and name the hold. `event_at` is when it happened, `booked_at` when it was written, both by instant;
    `period` is the month (in Seoul) that it counts in, and `adjusts_period` the closed one that it belongs to.
    `concerns` is the account on whose statement an entry stands that doesn't debit it: it was given
    something, or it was its use that nothing covered. `actor_id` is opaque; null is the system.
    """

    # Compared byte by byte: the collation of people costs more here than all the rest of the comparison.
    source = models.CharField(max_length=100, db_collation="C")
    ext_key = models.CharField(max_length=200, db_collation="C")
    kind = models.CharField(max_length=20, choices=Kind.choices, db_collation="C")
    rev = models.IntegerField(db_default=0)
    debit = models.ForeignKey(Account, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    credit = models.ForeignKey(Account, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    amount = models.BigIntegerField()
    hold = models.ForeignKey("self", models.PROTECT, null=True, related_name="+", db_constraint=False, db_index=False)
    reverses = models.ForeignKey(
        "self", models.PROTECT, null=True, related_name="+", db_constraint=False, db_index=False
    )
    refunds = models.ForeignKey(
        "self", models.PROTECT, null=True, related_name="+", db_constraint=False, db_index=False
    )
    concerns = models.ForeignKey(
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
            # The key first: that alone tells most of them apart.
            models.UniqueConstraint(fields=["ext_key", "source", "kind", "rev"], name="ledger_key"),
            models.UniqueConstraint(
                fields=["reverses"], condition=Q(reverses__isnull=False), name="ledger_reversed_once"
            ),
            models.UniqueConstraint(fields=["hold"], condition=Q(hold__isnull=False), name="ledger_hold_resolved_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["debit", "id"], name="ledger_of_debit"),
            # What is used up is credited to accounts of the site with every entry; nobody reads those one by one, and
            # an index of theirs would be the busiest of all.
            models.Index(fields=["concerns", "id"], name="ledger_concerns", condition=Q(concerns__isnull=False)),
            BrinIndex(fields=["booked_at"], name="ledger_booked_at", pages_per_range=16, autosummarize=True),
            models.Index(fields=["refunds"], name="ledger_refunds_of", condition=Q(refunds__isnull=False)),
            models.Index(
                fields=["debit", "expires_at"],
                name="ledger_may_expire",
                condition=Q(expires_at__isnull=False),
            ),
        ]
        triggers: ClassVar = [NEVER_CHANGED]

    def effect_on(self, account: int) -> int:
        """The signed change of what `account` has, in the smallest unit. A hold only sets aside: its effect is 0."""
        if self.kind == Kind.HOLD:
            return 0
        if account == self.credit_id:
            return self.amount
        return -self.amount if account == self.debit_id else 0


class Excess(models.Model):
    """The overrun of what a hold didn't cover: used beyond it, or after it was freed. A hold has one, whoever asks and
    by whatever key: that is what keeps late use from being counted twice. It is a row of its own, since an entry that
    names a hold ends it. Where a record that named the freed hold told of its use, `entry` is that of the record; it
    stays what was said first, also where a record came after a late settlement and that was reversed for it."""

    hold = models.OneToOneField(Entry, models.PROTECT, primary_key=True, related_name="+", db_constraint=False)
    entry = models.OneToOneField(Entry, models.PROTECT, related_name="+", db_constraint=False)

    class Meta:
        triggers: ClassVar = [NEVER_CHANGED]


class Period(models.Model):
    """A closed month, named by its first day. Every month up to it is closed; there is no way to open one again."""

    month = models.DateField(primary_key=True)
    closed_at = models.DateTimeField()
    closed_by = models.BigIntegerField(null=True)

    class Meta:
        triggers: ClassVar = [NEVER_CHANGED]


class Seal(models.Model):
    """All entries that were booked on one day (in Seoul), and the records of use that they book, as one digest that
    continues the one before.

    sha256 over the digest before and the rows in the order of their ids, the entries first, each as PostgreSQL writes a
    row, instants in UTC; 10,000 rows at a time. Whoever changes a row of a sealed day changes every digest from that
    day on. `records` is null in seals of entries alone; the first after them covers the records of all days before.
    """

    day = models.DateField(primary_key=True)
    entries = models.BigIntegerField()
    records = models.BigIntegerField(null=True)
    digest = models.CharField(max_length=64)
    previous = models.CharField(max_length=64)
    sealed_at = models.DateTimeField()

    class Meta:
        triggers: ClassVar = [NEVER_CHANGED]


class Total(models.Model):
    """What had gone in and out of an account without a limit by the end of the last sealed day. Such accounts have no
    balance row, so that no posting waits for another: what came since is added when it is asked for."""

    account = models.OneToOneField(Account, models.PROTECT, primary_key=True, db_constraint=False)
    credited = models.BigIntegerField(db_default=0)
    debited = models.BigIntegerField(db_default=0)


class Usage(models.Model):
    """One record of use, as its source reported it; a changed one is a row of its own with the next `rev`.

    `entry` is what it was booked as: the settlement or charge, or the overrun where nothing was covered. `amount` in
    the smallest unit of the account's commodity, `wall_s` and `wait_s` in seconds. `user_ref` and `resource_ref` are
    opaque ids, 0 for none; `raw` is whatever the source says besides. Partitioned by the month of `submitted_at`.
    """

    entry = models.OneToOneField(Entry, models.PROTECT, primary_key=True, related_name="+", db_constraint=False)
    source = models.CharField(max_length=100, db_collation="C")
    key = models.CharField(max_length=200, db_collation="C")
    rev = models.IntegerField()
    submitted_at = models.DateTimeField()
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_constraint=False)
    user_ref = models.BigIntegerField()
    resource_ref = models.BigIntegerField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    amount = models.BigIntegerField()
    wall_s = models.BigIntegerField()
    wait_s = models.BigIntegerField()
    raw = models.JSONField(null=True)

    class Meta:
        managed = False
        db_table = "ledger_usage"


class UsageDay(models.Model):
    """Use by the clock: each record is split at midnight in Seoul. `records` and `wait_s` count on the day it ended."""

    pk = models.CompositePrimaryKey("day", "account", "user_ref", "resource_ref")
    day = models.DateField()
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    user_ref = models.BigIntegerField()
    resource_ref = models.BigIntegerField()
    records = models.BigIntegerField()
    used = models.BigIntegerField()
    wall_s = models.BigIntegerField()
    wait_s = models.BigIntegerField()

    class Meta:
        db_table = "ledger_usage_day"


class UsageMonth(models.Model):
    """`used` is by the clock, as in a day; `booked` is whole and stands in the month of its entry, so that the sum of a
    month equals the ledger exactly. `adjusts` is the closed month that something booked late belongs to, else the month
    itself: what was booked in a closed month never changes."""

    pk = models.CompositePrimaryKey("month", "adjusts", "account", "user_ref", "resource_ref")
    month = models.DateField()
    adjusts = models.DateField()
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    user_ref = models.BigIntegerField()
    resource_ref = models.BigIntegerField()
    records = models.BigIntegerField()
    used = models.BigIntegerField()
    booked = models.BigIntegerField()
    wall_s = models.BigIntegerField()
    wait_s = models.BigIntegerField()

    class Meta:
        db_table = "ledger_usage_month"


class Import(models.Model):
    """A parcel of usage records that was booked whole, by the digest of its lines. The same parcel again is nothing
    new. All of a source are forgotten when one of its records changes: then its records are compared again."""

    source = models.CharField(max_length=100, db_collation="C")
    digest = models.BinaryField()
    records = models.IntegerField()
    booked_at = models.DateTimeField()

    class Meta:
        db_table = "ledger_import"
        constraints = [models.UniqueConstraint(fields=["source", "digest"], name="ledger_one_parcel")]
