"""What is read of outcomes: by the organization that reported them, by officers and auditors of the program."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _

from madang.grants.queries import visible
from madang.identity.access import access_of
from madang.identity.models import Role
from madang.outcomes.models import Evidence, Outcome, OutcomeState
from madang.workflow.errors import Missing, NotAllowed
from madang.workflow.log import read_of

PAGE = 30


@dataclass(frozen=True)
class Slice:
    """One page of a list. `after` continues it; None where this is the end."""

    rows: list[Outcome]
    after: int | None


def _readable(person: Any) -> QuerySet[Outcome]:
    return Outcome.objects.filter(grant__in=visible(person)).select_related(
        "organization", "grant__program", "reported_by"
    )


def _slice(rows: QuerySet[Outcome], limit: int) -> Slice:
    found = list(rows[: limit + 1])
    return Slice(found[:limit], found[limit - 1].pk if len(found) > limit else None)


def outcomes(
    person: Any, *, grant: str = "", state: str = "", kind: str = "", after: int | None = None, limit: int = PAGE
) -> Slice:
    """The outcomes that this person may see, newest first. Replaced reports only where they are asked for."""
    rows = _readable(person)
    if grant:
        rows = rows.filter(grant__number=grant)
    if kind:
        rows = rows.filter(kind=kind)
    rows = rows.filter(state=state) if state else rows.exclude(state=OutcomeState.REPLACED)
    if after is not None:
        rows = rows.filter(pk__lt=after)
    return _slice(rows.order_by("-pk"), limit)


def is_officer(person: Any) -> bool:
    return access_of(person).somewhere(Role.OFFICER)


def queue(person: Any, *, after: int | None = None, limit: int = PAGE) -> Slice:
    """What waits for an officer's verification, oldest first, in the programs that the person is an officer of."""
    if not is_officer(person):
        raise NotAllowed(_("This page is for officers."))
    programs = access_of(person).programs(Role.OFFICER)
    rows = Outcome.objects.filter(state=OutcomeState.REPORTED).select_related(
        "organization", "grant__program", "reported_by"
    )
    if programs is not None:
        rows = rows.filter(grant__program_id__in=programs)
    if after is not None:
        rows = rows.filter(pk__gt=after)
    return _slice(rows.order_by("pk"), limit)


def missing() -> Missing:
    return Missing(_("There is nothing here, or it isn't yours to see."))


def outcome_for(person: Any, id: int) -> Outcome:
    """One outcome with evidence, verifications, the reports before and after it; Missing where it isn't theirs."""
    outcome = (
        _readable(person)
        .select_related("replaces", "replaced_by")
        .prefetch_related("evidence", "verifications__person")
        .filter(pk=min(id, 2**63 - 1))
        .first()
    )
    if outcome is None:
        raise missing()
    return outcome


def evidence_for(person: Any, outcome: int, evidence: int) -> Evidence:
    """A file, for somebody who may see its outcome.

    Evidence names people: reading it from outside the organization that handed it in is recorded.
    """
    row = (
        Evidence.objects.filter(pk=min(evidence, 2**63 - 1), outcome_id=min(outcome, 2**63 - 1))
        .filter(outcome__grant__in=visible(person))
        .select_related("outcome")
        .first()
    )
    if row is None:
        raise missing()
    if not access_of(person).is_member(row.outcome.organization_id):
        read_of(person, row.outcome, f"evidence {row.pk}")
    return row


def outcome_places(person: Any, ids: Collection[int]) -> dict[int, str]:
    readable = Outcome.objects.filter(pk__in=ids, grant__in=visible(person)).values_list("pk", flat=True)
    return {id: reverse("outcomes:outcome", args=[id]) for id in readable}
