"""What the site lends, read for the pages. The catalog is public: everybody sees all of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import Count, Q
from django.urls import reverse
from django.utils.translation import gettext as _

from madang.catalog.models import Kind, Place, Rate, Resource, ResourceState
from madang.workflow.errors import Missing

PAGE = 40


@dataclass(frozen=True)
class Resources:
    """One page of the list, and the id to go on after (None where this was the last)."""

    rows: list[Resource]
    after: int | None


def rates_on(resource_ids: Iterable[int], day: date) -> dict[int, Rate]:
    """resource id → the rate of that day; a resource without one is absent. One SQL statement."""
    return {rate.resource_id: rate for rate in Rate.objects.filter(resource__in=list(resource_ids), days__contains=day)}


def resources(
    *,
    kind: str = "",
    sector: str | None = None,
    search: str = "",
    after: int | None = None,
    retired: bool = False,
    limit: int = PAGE,
) -> Resources:
    """The catalog in the order it was added, a page at a time. `sector=None` is any, "" those that state none."""
    found = Resource.objects.select_related("owner", "place").order_by("id")
    if not retired:
        found = found.exclude(state=ResourceState.RETIRED)
    if kind:
        found = found.filter(kind=kind)
    if sector is not None:
        found = found.filter(sector=sector)
    for word in search.split()[:5]:
        found = found.filter(
            Q(name_ko__icontains=word)
            | Q(name_en__icontains=word)
            | Q(code__icontains=word)
            | Q(resource_class__icontains=word)
            | Q(about_ko__icontains=word)
            | Q(about_en__icontains=word)
        )
    if after is not None:
        found = found.filter(pk__gt=after)
    rows = list(found[: limit + 1])
    return Resources(rows[:limit], rows[limit - 1].pk if len(rows) > limit else None)


def counts() -> dict[str, int]:
    """kind → how many resources of it are in the catalog, retired ones left out. Kinds without any are absent."""
    there = Resource.objects.exclude(state=ResourceState.RETIRED).values("kind").order_by()
    return dict(there.annotate(n=Count("id")).values_list("kind", "n"))


def resource(code: str) -> Resource:
    found = Resource.objects.select_related("owner", "place").filter(code=code).first()
    if found is None:
        raise Missing(_("There is no such resource."))
    return found


def rate_history(resource: Resource) -> list[Rate]:
    """All rates of a resource, the latest first."""
    return list(resource.rates.order_by("-days"))


def places() -> list[Place]:
    return list(Place.objects.order_by("id"))


def place(code: str) -> Place:
    found = Place.objects.filter(code=code).first()
    if found is None:
        raise Missing(_("There is no such place."))
    return found


def resource_names() -> dict[int, str]:
    """id → name of everything a steward can be given: the scopes of identity ask for it."""
    return {row.pk: f"{Kind(row.kind).label} · {row.name}" for row in _living().order_by("kind", "id")}


def _living() -> Any:
    return Resource.objects.exclude(state=ResourceState.RETIRED).only("id", "kind", "name_ko", "name_en")


def resource_places(_person: Any, ids: Collection[int]) -> dict[int, str]:
    codes = Resource.objects.filter(pk__in=ids).values_list("pk", "code")
    return {id: reverse("catalog:detail", args=[code]) for id, code in codes}
