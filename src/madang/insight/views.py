from __future__ import annotations

import csv
from datetime import date, timedelta

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.timezone import localdate
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from madang.identity.access import me
from madang.insight import answers, focus, queries
from madang.programs.models import Condition
from madang.web.forms import Day, Form, Month, WholeNumber
from madang.workflow.errors import NotAllowed


class Ask(forms.Form):
    on = Day(required=False)
    before = WholeNumber(required=False, min_value=1)


class FocusForm(Form):
    """Which month, and in which form it is downloaded."""

    month = Month(label=gettext_lazy("Month"))
    format = forms.ChoiceField(
        label=gettext_lazy("Format"), choices=[("csv", "CSV"), ("parquet", "Parquet")], widget=forms.RadioSelect
    )


def _asked(request: HttpRequest) -> tuple[date, int | None]:
    """The day and the place in the list that the address names; today and the start where it names nothing usable."""
    ask = Ask(request.GET)
    ask.is_valid()
    return ask.cleaned_data.get("on") or localdate(), ask.cleaned_data.get("before")


@require_safe
def board(request: HttpRequest) -> HttpResponse:
    on, _before = _asked(request)
    found = queries.board(request.user, on)
    facts = {"board": found, "chart": _chart(found), "may_export": focus.may_export(request.user)}
    return render(request, "insight/board.html", facts)


@require_safe
def trace(request: HttpRequest, code: str) -> HttpResponse:
    on, before = _asked(request)
    return render(request, "insight/trace.html", {"trace": queries.trace(request.user, code, on, before), "on": on})


@require_safe
def download(request: HttpRequest) -> HttpResponse:
    """The board as a table: measured figures and published ones are told apart by the first column."""
    on, _before = _asked(request)
    found = queries.board(request.user, on)
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="board-{on.isoformat()}.csv"'
    answer.write("\ufeff")  # or a spreadsheet reads Korean as something else
    table = csv.writer(answer)
    table.writerow([_("kind"), "HIDE", _("condition"), _("indicator"), _("target"), _("actual"), _("source")])
    for line in found.lines:
        i = line.indicator
        where = request.build_absolute_uri(f"/board/{i.code}/")
        table.writerow(
            _safe([_("measured here"), i.hide, _named(i.condition), i.name, line.promised, line.done, where])
        )
    for f in found.references:
        value = f"{f.value} {f.unit}".strip()
        table.writerow(_safe([_("published figure"), f.hide, _named(f.condition), f.label, "", value, str(f.source)]))
    return answer


@login_required
@require_safe
def focus_table(request: HttpRequest) -> HttpResponseBase:
    """What was used and what it costs: the form, or with a month the file."""
    if not focus.may_export(request.user):
        raise NotAllowed(_("There is nothing here that you could export."))
    chosen = bool(request.GET)
    last = localdate().replace(day=1) - timedelta(days=1)
    form = FocusForm(request.GET if chosen else None, initial={"month": last, "format": "csv"})
    if chosen and form.is_valid():
        with form.refusals():
            return answers.focus_file(me(request), form.cleaned_data["month"], form.cleaned_data["format"])
    return render(request, "insight/focus.html", {"form": form}, status=422 if form.errors else 200)


def _named(condition: str) -> str:
    return str(Condition(condition).label) if condition else ""


def _safe(cells: list[str]) -> list[str]:
    """A spreadsheet takes a leading = + - @ for a formula: a quote before it keeps it a text."""
    return [f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell for cell in cells]


def _chart(found: queries.Board) -> dict[str, object]:
    """Target reached, in percent, for each indicator that has one."""
    lines = [line for line in found.lines if line.percent is not None][::-1]
    return {
        "grid": {"left": 8, "right": 40, "top": 8, "bottom": 8, "containLabel": True},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "value", "min": 0, "axisLabel": {"formatter": "{value} %"}},
        "yAxis": {"type": "category", "data": [line.indicator.name for line in lines]},
        "series": [{"type": "bar", "name": _("target reached (%)"), "data": [line.percent for line in lines]}],
    }
