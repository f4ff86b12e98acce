"""What is read of the claims. Each in one SQL statement. What is overdue doesn't take anything any more."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from madang.claims.attempts import During, interval
from madang.claims.models import TAKING, Claim, PoolClaim, State

RUNNING = Q(state__in=TAKING) & ~Q(state=State.HELD, expires_at__isnull=False, expires_at__lte=Now())

PARTS = """
    WITH RECURSIVE tree AS (
      SELECT id FROM claims_leaf WHERE id = ANY (%s)
      UNION SELECT part.id FROM claims_leaf part JOIN tree ON part.parent_id = tree.id)
    SELECT id FROM tree
"""


def taking(leaves: Iterable[int], during: During) -> QuerySet[Claim]:
    """What takes these things, or parts of them, in that time, in its order: a calendar, or what stands in the way of a
    wish."""
    parts = RawSQL(PARTS, [list(leaves)])  # noqa: S611  the text is above
    return Claim.objects.filter(RUNNING, leaf_id__in=parts, during__overlap=interval(during)).order_by("during", "id")


def claims_of(source_type: str, source_id: int) -> QuerySet[Claim]:
    """The claims that were made for this, also the ended ones, in the order of their ids."""
    return Claim.objects.filter(source_type=source_type, source_id=source_id).order_by("id")


def pool_claims_of(source_type: str, source_id: int) -> QuerySet[PoolClaim]:
    return PoolClaim.objects.filter(source_type=source_type, source_id=source_id).order_by("id")
