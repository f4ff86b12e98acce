"""Programs and what belongs to them, read for the pages. All of it is public."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Prefetch
from django.urls import reverse
from django.utils.translation import gettext as _

from madang.programs.models import Indicator, Program, Purse, ReferenceFigure, Source, Target
from madang.workflow.errors import Missing


@dataclass
class Published:
    """All published figures of one key. More than one value means that the sources disagree."""

    key: str
    figures: list[ReferenceFigure] = field(default_factory=list)

    @property
    def label(self) -> str:
        return self.figures[0].label

    @property
    def disagree(self) -> bool:
        return len({figure.value for figure in self.figures}) > 1


def program(code: str) -> Program:
    found = Program.objects.select_related("parent").filter(code=code).first()
    if found is None:
        raise Missing(_("There is no such program."))
    return found


def programs() -> list[Program]:
    """All programs in the order they were added, each with how many indicators and figures it has."""
    return list(
        Program.objects.select_related("parent")
        .annotate(
            indicator_count=Count("indicators", distinct=True),
            figure_count=Count("figures", distinct=True),
        )
        .order_by("id")
    )


def parts_of(program: Program) -> list[Program]:
    return list(program.parts.order_by("id"))


def purses_of(program: Program) -> list[Purse]:
    return list(program.purses.select_related("source").order_by("fiscal_year", "funding", "id"))


def total_of(purses: Iterable[Purse]) -> int | None:
    """What the purses come to in KRW; None where sources state the same purse differently, so that no sum is right."""
    stated: dict[tuple[str, int | None], set[int | None]] = {}
    total = 0
    for purse in purses:
        stated.setdefault((purse.funding, purse.fiscal_year), set()).add(purse.source_id)
        total += purse.amount_krw
    return None if any(len(sources) > 1 for sources in stated.values()) else total


def indicators_of(program: Program | None) -> list[Indicator]:
    """Indicators of a program (None: those of the whole site), each with `targets` and their sources."""
    targets = Prefetch("targets", Target.objects.select_related("source").order_by("starts_on", "id"))
    return list(Indicator.objects.filter(program=program).select_related("program").prefetch_related(targets))


def indicator(code: str) -> Indicator:
    found = Indicator.objects.select_related("program").filter(code=code).first()
    if found is None:
        raise Missing(_("There is no such indicator."))
    return found


def purse(id: int) -> Purse:
    found = Purse.objects.select_related("program", "source").filter(pk=id).first()
    if found is None:
        raise Missing(_("There is no such purse."))
    return found


def figure(id: int) -> ReferenceFigure:
    found = ReferenceFigure.objects.select_related("program", "source").filter(pk=id).first()
    if found is None:
        raise Missing(_("There is no such figure."))
    return found


def published(program: Program | None = None, *, everything: bool = False) -> list[Published]:
    """The reference figures of a program (None: those of the whole site), grouped by what they are about."""
    rows = ReferenceFigure.objects.select_related("source", "program").order_by("key", "id")
    if not everything:
        rows = rows.filter(program=program)
    groups: dict[str, Published] = {}
    for row in rows:
        groups.setdefault(row.key, Published(row.key)).figures.append(row)
    return list(groups.values())


def sources() -> list[Source]:
    return list(Source.objects.order_by("code"))


def source(code: str) -> Source:
    found = Source.objects.filter(code=code).first()
    if found is None:
        raise Missing(_("There is no such source."))
    return found


def program_names() -> dict[int, str]:
    """id → name of everything an officer can be given: the scopes of identity ask for it."""
    return {row.pk: row.name for row in Program.objects.only("id", "name_ko", "name_en").order_by("id")}


def program_places(_person: Any, ids: Collection[int]) -> dict[int, str]:
    codes = Program.objects.filter(pk__in=ids).values_list("pk", "code")
    return {id: reverse("programs:detail", args=[code]) for id, code in codes}
