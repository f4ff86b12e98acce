from __future__ import annotations

import csv
from datetime import date

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.timezone import localdate
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from madang.insight import queries
from madang.web.forms import Day, WholeNumber


class Ask(forms.Form):
    on = Day(required=False)
    before = WholeNumber(required=False, min_value=1)


def _asked(request: HttpRequest) -> tuple[date, int | None]:
    """The day and the place in the list that the address names; today and the start where it names nothing usable."""
    ask = Ask(request.GET)
    ask.is_valid()
    return ask.cleaned_data.get("on") or localdate(), ask.cleaned_data.get("before")


@require_safe
def board(request: HttpRequest) -> HttpResponse:
    on, _before = _asked(request)
    found = queries.board(request.user, on)
    return render(request, "insight/board.html", {"board": found, "chart": _chart(found)})


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
        table.writerow(_safe([_("measured here"), i.hide, i.condition, i.name, line.promised, line.done, where]))
    for f in found.references:
        value = f"{f.value} {f.unit}".strip()
        table.writerow(_safe([_("published figure"), f.hide, f.condition, f.label, "", value, str(f.source)]))
    return answer


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
