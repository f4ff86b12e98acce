"""Programs, their money, what they want to see happen, and what others published about the site."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from madang.identity.access import access_of
from madang.identity.models import Person, Role
from madang.identity.rows import lock, write
from madang.programs.models import Indicator, Program, Purse, ReferenceFigure, Source, Target
from madang.workflow.errors import NotAllowed, Refused, Stale
from madang.workflow.log import act

# A code is part of an address: these are taken by pages.
TAKEN = {"new", "site", "sources", "figures", "indicators", "purses"}


def may_keep(actor: Any, program: int | None = None) -> bool:
    """Whether the actor keeps this program; without one, whether they keep all of them."""
    access = access_of(actor)
    return access.holds(Role.OPERATOR) or access.holds(Role.OFFICER, program=program)


def may_keep_sources(actor: Any) -> bool:
    """Sources are shared by all programs: an officer of any of them adds them."""
    access = access_of(actor)
    return access.holds(Role.OPERATOR) or access.somewhere(Role.OFFICER)


def add_program(
    actor: Person,
    *,
    code: str,
    name_ko: str,
    name_en: str,
    about_ko: str = "",
    about_en: str = "",
    parent: Program | None = None,
) -> Program:
    """A new program, or a part of one: that its officer may add, too."""
    _require_keeper(actor, parent.pk if parent else None)
    if code in TAKEN:
        raise Refused(_("This code can't be used. Choose another one."), field="code")
    with act(actor, "add") as said:
        program = said["on"] = write(
            Program(),
            code=code,
            name_ko=name_ko,
            name_en=name_en,
            about_ko=about_ko,
            about_en=about_en,
            parent=parent,
        )
    return program


def edit_program(actor: Person, *, program: Program, **facts: Any) -> Program:
    _require_keeper(actor, program.pk)
    parent = facts.get("parent")
    if parent is not None:
        _require_keeper(actor, parent.pk)
    with act(actor, "edit", on=program):
        lock(program)
        above = parent
        while above is not None:
            if above.pk == program.pk:
                raise Refused(_("A program can't be a part of itself."), field="parent")
            above = above.parent
        write(program, **facts)
    return program


def add_source(actor: Person, *, code: str, publisher: str, published: str, subject: str = "") -> Source:
    _require_keeper_of_sources(actor)
    with act(actor, "add") as said:
        source = said["on"] = write(Source(), code=code, publisher=publisher, published=published, subject=subject)
    return source


def edit_source(actor: Person, *, source: Source, **facts: Any) -> Source:
    _require_keeper_of_sources(actor)
    with act(actor, "edit", on=source):
        lock(source)
        write(source, **facts)
    return source


def record_figure(
    actor: Person,
    *,
    key: str,
    label_ko: str,
    label_en: str,
    value: str,
    source: Source,
    number: Decimal | None = None,
    unit_ko: str = "",
    unit_en: str = "",
    note_ko: str = "",
    note_en: str = "",
    program: Program | None = None,
    hide: str = "",
    condition: str = "",
) -> ReferenceFigure:
    """A figure that somebody published. Another source's figure of the same `key` stands beside it."""
    _require_keeper(actor, program.pk if program else None)
    with act(actor, "record") as said:
        figure = said["on"] = write(
            ReferenceFigure(),
            key=key,
            label_ko=label_ko,
            label_en=label_en,
            value=value,
            number=number,
            unit_ko=unit_ko,
            unit_en=unit_en,
            note_ko=note_ko,
            note_en=note_en,
            program=program,
            hide=hide,
            condition=condition,
            source=source,
        )
    return figure


def edit_figure(actor: Person, *, figure: ReferenceFigure, **facts: Any) -> ReferenceFigure:
    _require_keeper(actor, figure.program_id)
    if facts.get("program") is not None:
        _require_keeper(actor, facts["program"].pk)
    with act(actor, "edit", on=figure):
        lock(figure)
        write(figure, **facts)
    return figure


def add_purse(
    actor: Person,
    *,
    program: Program,
    funding: str,
    amount_krw: int,
    fiscal_year: int | None = None,
    source: Source | None = None,
    note_ko: str = "",
    note_en: str = "",
) -> Purse:
    """Money that the program may spend. The same purse a second time is a second click, not more money."""
    _require_keeper(actor, program.pk)
    with act(actor, "add") as said:
        lock(program)
        same = program.purses.filter(
            funding=funding, amount_krw=amount_krw, fiscal_year=fiscal_year, source=source, note_ko=note_ko
        )
        if same.exists():
            raise Stale(_("This purse is recorded already. If there really are two, tell them apart by a note."))
        purse = said["on"] = write(
            Purse(),
            program=program,
            funding=funding,
            amount_krw=amount_krw,
            fiscal_year=fiscal_year,
            source=source,
            note_ko=note_ko,
            note_en=note_en,
        )
    return purse


def edit_purse(actor: Person, *, purse: Purse, **facts: Any) -> Purse:
    _require_keeper(actor, purse.program_id)
    with act(actor, "edit", on=purse):
        lock(purse)
        write(purse, **facts)
    return purse


def add_indicator(
    actor: Person,
    *,
    code: str,
    name_ko: str,
    name_en: str,
    definition_ko: str,
    definition_en: str,
    measure: str,
    hide: str,
    condition: str,
    program: Program | None = None,
    more_is_better: bool = True,
    order: int = 0,
) -> Indicator:
    _require_keeper(actor, program.pk if program else None)
    with act(actor, "add") as said:
        indicator = said["on"] = write(
            Indicator(),
            code=code,
            program=program,
            name_ko=name_ko,
            name_en=name_en,
            definition_ko=definition_ko,
            definition_en=definition_en,
            measure=measure,
            hide=hide,
            condition=condition,
            more_is_better=more_is_better,
            order=order,
        )
    return indicator


def edit_indicator(actor: Person, *, indicator: Indicator, **facts: Any) -> Indicator:
    """Change an indicator. Where what it counts changes, its version does: figures of two versions don't compare."""
    _require_keeper(actor, indicator.program_id)
    with act(actor, "edit", on=indicator):
        lock(indicator)
        counted = ("measure", "definition_ko", "definition_en")
        if any(name in facts and facts[name] != getattr(indicator, name) for name in counted):
            facts["version"] = indicator.version + 1
        write(indicator, **facts)
    return indicator


def set_target(
    actor: Person,
    *,
    indicator: Indicator,
    starts_on: date,
    ends_on: date,
    value: int,
    basis_ko: str,
    basis_en: str = "",
    source: Source | None = None,
) -> Target:
    """What the indicator should reach in a period, in the smallest unit of its measure. The same period again replaces
    what was said before; the history keeps it."""
    _require_keeper(actor, indicator.program_id)
    if ends_on < starts_on:
        raise Refused(_("A period ends on or after the day it starts."), field="ends_on")
    with act(actor, "set_target", on=indicator, value=value) as said:
        lock(indicator)
        target = indicator.targets.filter(starts_on=starts_on, ends_on=ends_on).first() or Target()
        target = write(
            target,
            indicator=indicator,
            starts_on=starts_on,
            ends_on=ends_on,
            value=value,
            basis_ko=basis_ko,
            basis_en=basis_en,
            source=source,
        )
        said["period"] = f"{starts_on.isoformat()}/{ends_on.isoformat()}"
    return target


def _require_keeper(actor: Person, program: int | None) -> None:
    if not may_keep(actor, program):
        raise NotAllowed(_("Only an officer of this program, or the operator, can do this."))


def _require_keeper_of_sources(actor: Person) -> None:
    if not may_keep_sources(actor):
        raise NotAllowed(_("Only an officer, or the operator, can do this."))
