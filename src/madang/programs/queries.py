"""Programs and what belongs to them, read for the pages. All of it is public."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db.models import Count, Prefetch, Sum
from django.utils.translation import gettext as _

from madang.programs.models import Funding, Indicator, Program, Purse, ReferenceFigure, Source, Target
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


def money_by_funding(programs: Iterable[int]) -> dict[int, dict[str, int]]:
    """program id → funding → KRW of its purses that no source disputes: where several sources state one purse, see
    `purses_of`. One SQL statement."""
    sums: dict[int, dict[str, int]] = {}
    rows = Purse.objects.filter(program__in=list(programs)).values("program", "funding").order_by()
    for row in rows.annotate(total=Sum("amount_krw")):
        sums.setdefault(row["program"], {})[str(Funding(row["funding"]).label)] = row["total"]
    return sums


def indicators_of(program: Program | None) -> list[Indicator]:
    """Indicators of a program (None: those of the whole site), each with `targets` and their sources."""
    targets = Prefetch("targets", Target.objects.select_related("source").order_by("starts_on", "id"))
    return list(Indicator.objects.filter(program=program).prefetch_related(targets))


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
