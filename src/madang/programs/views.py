"""Programs, public to read: their money, parts, indicators, and what others published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from madang.identity.access import me
from madang.programs import actions, queries
from madang.programs.forms import (
    FigureForm,
    IndicatorForm,
    ProgramForm,
    PurseForm,
    SourceForm,
    TargetForm,
    initial,
)
from madang.programs.models import Program
from madang.web.forms import Form
from madang.workflow.errors import NotAllowed

verbs = require_http_methods(["GET", "HEAD", "POST"])


@require_safe
def listed(request: HttpRequest) -> HttpResponse:
    rows = queries.programs()
    parts: dict[int | None, list[Program]] = {}
    for row in rows:
        parts.setdefault(row.parent_id, []).append(row)
    context = {
        "rows": [(row, parts.get(row.pk, [])) for row in rows],
        "keeps": actions.may_keep(request.user),
        "keeps_sources": actions.may_keep_sources(request.user),
    }
    return render(request, "programs/list.html", context)


@require_safe
def detail(request: HttpRequest, code: str) -> HttpResponse:
    program = queries.program(code)
    purses = queries.purses_of(program)
    context = {
        "program": program,
        "parts": queries.parts_of(program),
        "purses": purses,
        "total": queries.total_of(purses),
        "indicators": queries.indicators_of(program),
        "published": queries.published(program),
        "keeps": actions.may_keep(request.user, program.pk),
    }
    return render(request, "programs/detail.html", context)


@require_safe
def site(request: HttpRequest) -> HttpResponse:
    """Indicators and published figures that belong to the whole site."""
    context = {
        "indicators": queries.indicators_of(None),
        "published": queries.published(None),
        "keeps": actions.may_keep(request.user),
    }
    return render(request, "programs/site.html", context)


@require_safe
def sources(request: HttpRequest) -> HttpResponse:
    context = {"sources": queries.sources(), "keeps": actions.may_keep_sources(request.user)}
    return render(request, "programs/sources.html", context)


@login_required
@verbs
def add(request: HttpRequest) -> HttpResponse:
    _require(actions.may_keep_sources(request.user))
    form = ProgramForm(request.POST or None, actor=me(request))

    def do(facts: dict[str, Any]) -> str:
        return _page_of(actions.add_program(me(request), **facts))

    return _answer(request, form, _("Add a program"), do, back=reverse("programs:list"))


@login_required
@verbs
def edit(request: HttpRequest, code: str) -> HttpResponse:
    program = queries.program(code)
    _require(actions.may_keep(request.user, program.pk))
    form = ProgramForm(request.POST or None, actor=me(request), program=program, initial=initial(program, ProgramForm))

    def do(facts: dict[str, Any]) -> str:
        return _page_of(actions.edit_program(me(request), program=program, **facts))

    return _answer(request, form, _("Change a program"), do, about=program.name, back=_page_of(program))


@login_required
@verbs
def source_add(request: HttpRequest) -> HttpResponse:
    _require(actions.may_keep_sources(request.user))

    def do(facts: dict[str, Any]) -> str:
        actions.add_source(me(request), **facts)
        return reverse("programs:sources")

    return _answer(request, SourceForm(request.POST or None), _("Add a source"), do, back=reverse("programs:sources"))


@login_required
@verbs
def source_edit(request: HttpRequest, code: str) -> HttpResponse:
    source = queries.source(code)
    _require(actions.may_keep_sources(request.user))
    form = SourceForm(request.POST or None, source=source, initial=initial(source, SourceForm))

    def do(facts: dict[str, Any]) -> str:
        actions.edit_source(me(request), source=source, **facts)
        return reverse("programs:sources")

    return _answer(request, form, _("Change a source"), do, about=str(source), back=reverse("programs:sources"))


@login_required
@verbs
def purse_add(request: HttpRequest, code: str) -> HttpResponse:
    program = queries.program(code)
    _require(actions.may_keep(request.user, program.pk))

    def do(facts: dict[str, Any]) -> str:
        actions.add_purse(me(request), program=program, **facts)
        return _page_of(program)

    form = PurseForm(request.POST or None)
    return _answer(request, form, _("Add a purse"), do, about=program.name, back=_page_of(program))


@login_required
@verbs
def purse_edit(request: HttpRequest, id: int) -> HttpResponse:
    purse = queries.purse(id)
    _require(actions.may_keep(request.user, purse.program_id))
    form = PurseForm(request.POST or None, initial=initial(purse, PurseForm))

    def do(facts: dict[str, Any]) -> str:
        actions.edit_purse(me(request), purse=purse, **facts)
        return _page_of(purse.program)

    return _answer(request, form, _("Change a purse"), do, about=purse.program.name, back=_page_of(purse.program))


@login_required
@verbs
def indicator_add(request: HttpRequest, code: str | None = None) -> HttpResponse:
    """Of a program, or without a code of the whole site."""
    program = queries.program(code) if code else None
    _require(actions.may_keep(request.user, program.pk if program else None))

    def do(facts: dict[str, Any]) -> str:
        actions.add_indicator(me(request), program=program, **facts)
        return _page_of(program)

    about = program.name if program else _("The whole site")
    form = IndicatorForm(request.POST or None)
    return _answer(request, form, _("Add an indicator"), do, about=about, back=_page_of(program))


@login_required
@verbs
def indicator_edit(request: HttpRequest, code: str) -> HttpResponse:
    indicator = queries.indicator(code)
    _require(actions.may_keep(request.user, indicator.program_id))
    form = IndicatorForm(request.POST or None, indicator=indicator, initial=initial(indicator, IndicatorForm))

    def do(facts: dict[str, Any]) -> str:
        actions.edit_indicator(me(request), indicator=indicator, **facts)
        return _page_of(indicator.program)

    back = _page_of(indicator.program)
    return _answer(request, form, _("Change an indicator"), do, about=indicator.name, back=back)


@login_required
@verbs
def target(request: HttpRequest, code: str) -> HttpResponse:
    indicator = queries.indicator(code)
    _require(actions.may_keep(request.user, indicator.program_id))
    form = TargetForm(request.POST or None, indicator=indicator)

    def do(facts: dict[str, Any]) -> str:
        actions.set_target(me(request), indicator=indicator, **form.facts())
        return _page_of(indicator.program)

    back = _page_of(indicator.program)
    return _answer(request, form, _("Set a target"), do, about=indicator.name, back=back)


@login_required
@verbs
def figure_add(request: HttpRequest) -> HttpResponse:
    _require(actions.may_keep_sources(request.user))
    start = {name: request.GET.get(name, "")[:80] for name in ("key", "program")}
    form = FigureForm(request.POST or None, actor=me(request), initial=start)

    def do(facts: dict[str, Any]) -> str:
        return _page_of(actions.record_figure(me(request), **facts).program)

    return _answer(request, form, _("Record a reference figure"), do, back=reverse("programs:site"))


@login_required
@verbs
def figure_edit(request: HttpRequest, id: int) -> HttpResponse:
    figure = queries.figure(id)
    _require(actions.may_keep(request.user, figure.program_id))
    form = FigureForm(request.POST or None, actor=me(request), initial=initial(figure, FigureForm))

    def do(facts: dict[str, Any]) -> str:
        return _page_of(actions.edit_figure(me(request), figure=figure, **facts).program)

    back = _page_of(figure.program)
    return _answer(request, form, _("Change a reference figure"), do, about=figure.label, back=back)


def _answer(
    request: HttpRequest,
    form: Form,
    title: str,
    do: Callable[[dict[str, Any]], str],
    *,
    back: str,
    about: str = "",
) -> HttpResponse:
    """The form, or once it holds and the verb agreed, the page that `do` answers with."""
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            there = do(form.cleaned_data)
            messages.success(request, _("Saved."))
            return redirect(there)
    context = {"form": form, "title": title, "about": about, "back": back}
    return render(request, "programs/form.html", context, status=422 if form.errors else 200)


def _page_of(program: Program | None) -> str:
    return reverse("programs:detail", args=[program.code]) if program else reverse("programs:site")


def _require(may: bool) -> None:
    if not may:
        raise NotAllowed(_("Only an officer of this program, or the operator, can do this."))
