"""The pictures of an answer, as options for the charts of the pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from django.utils.translation import gettext as _

from madang.planning.calibration import Calibration
from madang.planning.queries import Seen

HOUR = 3600


def waits(seen: Seen, compared: Sequence[Seen]) -> dict[str, Any]:
    """p95 wait in hours by quarter: as planned, with slips, and of other plans."""
    quarters = seen.result["quarters"]
    series = _band(_("as planned"), [_of(quarter["planned"]) for quarter in quarters])
    if any(quarter["planned"]["gpus"] != quarter["slipped"]["gpus"] for quarter in quarters):
        series += _band(_("with delays"), [_of(quarter["slipped"]) for quarter in quarters], tone=2)
    return _chart(seen, _("hours"), series + _others(compared, len(quarters), _of))


def by(seen: Seen, which: str, label: Callable[[str], str] = str) -> dict[str, Any]:
    """p95 wait in hours by quarter, as planned, of each size or program that has jobs. `which`: by_size, by_program."""
    parts = [quarter["planned"][which] for quarter in seen.result["quarters"]]
    series: list[dict[str, Any]] = []
    for tone, name in enumerate([name for name in parts[0] if any(part[name] for part in parts)]):
        cells = [part[name] for part in parts]
        hours = [[round(value / HOUR, 2) for value in cell["p95"]] if cell else [None] * 3 for cell in cells]
        series += _band(label(name), hours, tone=1 + tone % 6)
    return _chart(seen, _("hours"), series)


def machine(seen: Seen, compared: Sequence[Seen]) -> dict[str, Any]:
    """Utilization in percent by quarter, and of other plans."""
    quarters = seen.result["quarters"]
    series = _band(_("as planned"), [_used(quarter["planned"]) for quarter in quarters])
    chart = _chart(seen, "%", series + _others(compared, len(quarters), _used))
    return chart | {"yAxis": {"type": "value", "name": "%", "min": 0, "max": 100}}


def calibration(found: Calibration) -> dict[str, Any]:
    """Mean waits in hours by month: recorded, and as simulated."""
    return {
        "tooltip": {"trigger": "axis"},
        "legend": {},
        "xAxis": {"type": "category", "data": [month.month for month in found.months]},
        "yAxis": {"type": "value", "name": _("hours"), "min": 0},
        "series": [
            {"type": "bar", "name": name, "data": [round(of(month).mean / HOUR, 2) for month in found.months]}
            for name, of in ((_("recorded"), attrgetter("recorded")), (_("simulated"), attrgetter("simulated")))
        ],
    }


def _of(answer: dict[str, Any]) -> list[float]:
    return [round(value / HOUR, 2) for value in answer["wait"]["p95"]]


def _used(answer: dict[str, Any]) -> list[float]:
    return [round(value * 100, 1) for value in answer["utilization"]]


def _band(name: str, values: Sequence[Sequence[float | None]], tone: int = 1) -> list[dict[str, Any]]:
    """(mean, low, high): the mean as a line, the rest as an area, stacked on the low end, that no legend names."""
    bare: dict[str, Any] = {"type": "line", "tone": tone, "stack": name, "symbol": "none"}
    bare |= {"lineStyle": {"opacity": 0}, "tooltip": {"show": False}}
    return [
        {"type": "line", "name": name, "tone": tone, "data": [mean for mean, _low, _high in values]},
        {**bare, "data": [low for _mean, low, _high in values]},
        {**bare, "data": [_width(low, high) for _mean, low, high in values], "areaStyle": {"opacity": 0.18}},
    ]


def _width(low: float | None, high: float | None) -> float | None:
    return None if low is None or high is None else round(high - low, 2)


def _others(
    compared: Sequence[Seen], quarters: int, of: Callable[[dict[str, Any]], list[float]]
) -> list[dict[str, Any]]:
    """The mean of each other plan as a dashed line, as far as this plan looks ahead."""
    return [
        {
            "type": "line",
            "tone": tone,
            "name": other.plan.name,
            "data": [of(quarter["planned"])[0] for quarter in other.result["quarters"][:quarters]],
            "lineStyle": {"type": "dashed"},
        }
        for tone, other in enumerate(compared, 3)
    ]


def _chart(seen: Seen, unit: str, series: list[dict[str, Any]]) -> dict[str, Any]:
    quarters = [seen.plan.begins(quarter["quarter"]).strftime("%Y-%m") for quarter in seen.result["quarters"]]
    return {
        "tooltip": {"trigger": "axis"},
        "legend": {"data": [one["name"] for one in series if "name" in one]},
        "grid": {"left": 8, "right": 16, "top": 64, "bottom": 8, "containLabel": True},
        "xAxis": {"type": "category", "data": quarters},
        "yAxis": {"type": "value", "name": unit, "min": 0},
        "series": series,
    }
