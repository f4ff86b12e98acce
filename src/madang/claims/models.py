"""What is taken, by whom (opaque to this room), and for how long. Every change of a claim is kept by a trigger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

import pghistory
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import BigIntegerRangeField, DateTimeRangeField, RangeOperators
from django.contrib.postgres.indexes import GistIndex
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from madang.workflow.machine import state_check


class State(models.TextChoices):
    HELD = "held", pgettext_lazy("claim", "Held")
    CONFIRMED = "confirmed", pgettext_lazy("claim", "Confirmed")
    RELEASED = "released", pgettext_lazy("claim", "Released")
    EXPIRED = "expired", pgettext_lazy("claim", "Expired")


TAKING = [State.HELD, State.CONFIRMED]
# Beyond these, some zone can't write the time, or Python can't read it ("infinity").
EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
DURING = (
    Q(during__isempty=False, during__lower_inf=False, during__lower_inc=True, during__upper_inc=False)
    & Q(during__startswith__gte=EARLIEST, during__startswith__lt=LATEST)
    & (Q(during__upper_inf=True) | Q(during__endswith__lt=LATEST))
)
# What is confirmed ends at no instant, and what is expired had one. A hold may have none.
UNTIL = (
    Q(state__in=[State.HELD, State.RELEASED])
    | Q(state=State.CONFIRMED, expires_at__isnull=True)
    | Q(state=State.EXPIRED, expires_at__isnull=False)
) & (Q(expires_at__isnull=True) | Q(expires_at__gte=EARLIEST, expires_at__lt=LATEST))


def as_range(column: str) -> Func:
    """A range of one number, which an index can hold beside a time without any extension."""
    return Func(F(column), F(column), Value("[]"), function="int8range", output_field=BigIntegerRangeField())


class Leaf(models.Model):
    """A thing whose time can be taken, or a thing made of such things: what has parts is taken by taking all of
    them."""

    owner_type = models.CharField(max_length=60)
    owner_id = models.BigIntegerField()
    part = models.CharField(max_length=60, blank=True, db_default="")
    parent = models.ForeignKey("self", models.PROTECT, null=True, related_name="parts")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner_type", "owner_id", "part"], name="claims_one_leaf_per_thing"),
            # The whole is made before its parts: nothing is a part of itself, by whatever way.
            models.CheckConstraint(condition=Q(parent_id__lt=F("id")), name="claims_no_circle"),
        ]


class Taking(models.Model):
    """What an exclusive and a counted claim have in common. `during` is [start, end); no end means until further
    notice."""

    during = DateTimeRangeField()
    state = models.CharField(max_length=20, choices=State.choices)
    expires_at = models.DateTimeField(null=True)
    source_type = models.CharField(max_length=60)
    source_id = models.BigIntegerField()
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True


@pghistory.track(append_only=True)
class Claim(Taking):
    """Exclusive time on one leaf. The constraint, not a program, is what keeps two of them apart."""

    leaf = models.ForeignKey(Leaf, models.PROTECT, related_name="claims")

    class Meta:
        constraints: ClassVar = [
            ExclusionConstraint(
                name="claims_never_twice",
                index_type="gist",
                condition=Q(state__in=TAKING),
                expressions=[
                    (as_range("leaf_id"), RangeOperators.OVERLAPS),
                    ("during", RangeOperators.OVERLAPS),
                ],
                violation_error_message=_("This time is already taken."),
            ),
            models.CheckConstraint(condition=DURING, name="claims_claim_during"),
            models.CheckConstraint(condition=UNTIL, name="claims_claim_until"),
            state_check(State, "claims_claim_state"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["source_type", "source_id"], name="claims_claim_source"),
            models.Index(fields=["leaf", "expires_at"], name="claims_may_expire", condition=Q(state="held")),
        ]


class Pool(models.Model):
    """A number of equal things (seats, licenses, desks of one type) that is counted instead of named."""

    owner_type = models.CharField(max_length=60)
    owner_id = models.BigIntegerField()
    part = models.CharField(max_length=60, blank=True, db_default="")
    capacity = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner_type", "owner_id", "part"], name="claims_one_pool_per_thing")
        ]


@pghistory.track(append_only=True)
class PoolClaim(Taking):
    """So many of a pool, for so long. The peak over the interval stays within the capacity, under the pool's row
    lock."""

    pool = models.ForeignKey(Pool, models.PROTECT, related_name="claims")
    amount = models.PositiveIntegerField()

    class Meta:
        db_table = "claims_pool_claim"
        constraints: ClassVar = [
            models.CheckConstraint(condition=DURING, name="claims_pool_claim_during"),
            models.CheckConstraint(condition=UNTIL, name="claims_pool_claim_until"),
            models.CheckConstraint(condition=Q(amount__gte=1), name="claims_pool_claim_amount"),
            state_check(State, "claims_pool_claim_state"),
        ]
        indexes: ClassVar = [
            # What is over is kept, too, and would be read each time that a seat is taken.
            GistIndex(as_range("pool_id"), F("during"), name="claims_pool_during", condition=Q(state__in=TAKING)),
            models.Index(fields=["pool", "expires_at"], name="claims_pool_may_expire", condition=Q(state="held")),
            models.Index(fields=["source_type", "source_id"], name="claims_pool_claim_source"),
        ]
