"""Two to four plans, or policies on one trace, side by side, and whether they differ by more than chance.

All are simulated with the same seeds, the same shaken submits and the same weeks, and it is the difference from the
first of them that is taken seed by seed, week by week: what befalls all alike cancels out. A difference is beyond
chance where none of its bands holds 0. Over seeds and shaken submits its band goes from the least to the most; over
weeks drawn anew it is that of 95 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from statistics import fmean
from typing import Any

from madang.twin.cluster import Machine
from madang.twin.errors import BadInput
from madang.twin.measure import measure, waits_of
from madang.twin.plan import HOURS_A_YEAR, LEVEL, Plan, by_year, merge, point, points
from madang.twin.policies import ALONE, simulate
from madang.twin.processes import on_processes
from madang.twin.sure import Band, band, by_weeks, shaken
from madang.twin.trace import Trace

LEAST, MOST = 2, 4
SHAKEN = "shaken submits"


@dataclass(frozen=True)
class Value:
    """With its bands: none where nothing was varied."""

    value: float
    bands: tuple[Band, ...] = ()

    @property
    def beyond_chance(self) -> bool | None:
        """Of a difference: whether it is larger than its bands; None where it has none."""
        return all(not band.low <= 0 <= band.high for band in self.bands) if self.bands else None

    def as_dict(self) -> dict[str, Any]:
        return {"value": self.value, "bands": [band.as_dict() for band in self.bands]}


@dataclass(frozen=True)
class Figure:
    """`values` are of each that is compared, None where it isn't known; `differences` are those of the others from the
    first, None where one of the two isn't known.
    """

    name: str
    unit: str
    values: tuple[Value | None, ...]
    differences: tuple[Value | None, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "figure": self.name,
            "unit": self.unit,
            "values": [its and its.as_dict() for its in self.values],
            "differences": [its and its.as_dict() | {"beyond_chance": its.beyond_chance} for its in self.differences],
        }


# --- plans --------------------------------------------------------------------------------------------------------

# By name, the unit. What never breaks its promise keeps it for all quarters of the plan, or longer.
OF_PLANS = {
    "mean wait": "s",
    "p95 wait": "s",
    "p95 wait, worst quarter": "s",
    "p95 wait with delays": "s",
    "utilization": "share",
    "cost of a used GPU-hour": "KRW",
    "energy a year": "kWh",
    "energy of a used GPU-hour": "kWh",
    "carbon dioxide a year": "t",
    "until the promise breaks": "quarters",
    "until the promise breaks, with delays": "quarters",
}


@dataclass(frozen=True)
class Plans:
    """`needed` is, of each plan, the quarter in which the promise is first broken, as `plan.run` says it."""

    figures: tuple[Figure, ...]
    needed: tuple[dict[str, dict[str, int | None]], ...]


def plans(
    named: Sequence[tuple[str, Plan, date]],
    *,
    processes: int = 1,
    told: Callable[[int, int], object] = lambda done, total: None,
) -> Plans:
    """Of (name, plan, first day). The waits and the use are means over the quarters, each counting the same (the use by
    its GPUs). Raises BadInput where they aren't of the same days and seeds.
    """
    _countable(len(named))
    first_name, first, begins = named[0]
    for name, plan, start in named[1:]:
        for what, one, other in (
            ("start", begins, start),
            ("quarters", first.quarters, plan.quarters),
            ("seeds", first.seeds, plan.seeds),
        ):
            if one != other:
                raise BadInput(
                    f"plans are compared over the same days and seeds: {what} is {one} in {first_name} and {other} in"
                    f" {name}"
                )
    calls = [(place, plan, *which) for place, (_name, plan, _start) in enumerate(named) for which in points(plan)]
    made: dict[tuple[int, int, int], dict[str, Any]] = {}
    told(0, len(calls))
    for found in on_processes(_point, calls, processes) if processes > 1 else (_point(*call) for call in calls):
        if found:
            place, its = found
            made[place, its["quarter"], its["seed"]] = its
        told(len(made), len(calls))
    runs = [
        [_figures(plan, [made[place, quarter, seed] for quarter in range(plan.quarters)]) for seed in range(plan.seeds)]
        for place, (_name, plan, _start) in enumerate(named)
    ]
    needed = tuple(
        merge(plan, [made[place, *which] for which in points(plan)])["needed"]
        for place, (_name, plan, _start) in enumerate(named)
    )
    figures = (_figure(name, unit, [[run[name] for run in of] for of in runs]) for name, unit in OF_PLANS.items())
    return Plans(tuple(its for its in figures if any(its.values)), needed)


def _point(place: int, plan: Plan, quarter: int, seed: int) -> tuple[int, dict[str, Any]]:
    return place, point(plan, quarter, seed)


def _figures(plan: Plan, made: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Of a plan under one seed."""
    whole = merge(replace(plan, seeds=1), [{**one, "seed": 0} for one in made])
    planned = [quarter["planned"] for quarter in whole["quarters"]]
    there = sum(quarter["gpus"][0] for quarter in planned)
    used = sum(busy for _year, _there, busy in by_year(whole["quarters"])) * HOURS_A_YEAR
    cost, energy = whole["cost"], whole["energy"]
    kwh = sum(year["kwh"] for year in energy)
    kept = {how: whole["needed"][how]["likely"] for how in ("planned", "slipped")}
    return {
        "mean wait": fmean(quarter["wait"]["mean"][0] for quarter in planned),
        "p95 wait": fmean(quarter["wait"]["p95"][0] for quarter in planned),
        "p95 wait, worst quarter": max(quarter["wait"]["p95"][0] for quarter in planned),
        "p95 wait with delays": fmean(quarter["slipped"]["wait"]["p95"][0] for quarter in whole["quarters"]),
        "utilization": sum(quarter["gpus"][0] * quarter["utilization"][0] for quarter in planned) / there,
        "cost of a used GPU-hour": sum(year["krw"] for year in cost) / used if cost and used else None,
        "energy a year": kwh / len(energy) if energy else None,
        "energy of a used GPU-hour": kwh / used if energy and used else None,
        "carbon dioxide a year": fmean(year["t_co2"] for year in energy) if energy else None,
        "until the promise breaks": plan.quarters if kept["planned"] is None else kept["planned"],
        "until the promise breaks, with delays": plan.quarters if kept["slipped"] is None else kept["slipped"],
    }


def _figure(name: str, unit: str, runs: Sequence[Sequence[float | None]]) -> Figure:
    """`runs` by plan and seed."""

    def value(values: Sequence[float | None], level: float) -> Value | None:
        known = [its for its in values if its is not None]
        if len(known) < len(values):
            return None
        return Value(fmean(known), (band(known, "seeds", level),) if len(known) > 1 else ())

    first, *others = runs
    apart = [[None if a is None or b is None else b - a for a, b in zip(first, other, strict=True)] for other in others]
    return Figure(
        name, unit, tuple(value(of, LEVEL) for of in runs), tuple(value(differences, 1.0) for differences in apart)
    )


# --- policies on one trace ----------------------------------------------------------------------------------------

OF_POLICIES = {"mean wait": "s", "p95 wait": "s", "bounded slowdown": "", "utilization": "share"}


def policies(
    trace: Trace,
    machine: Machine,
    names: Sequence[str],
    runs: int = 10,
    *,
    told: Callable[[int, int], object] = lambda done, total: None,
) -> tuple[Figure, ...]:
    """The trace as recorded under each policy, with bands over `runs` shaken ones, and of the mean wait also over weeks
    drawn anew. Raises BadInput.
    """
    _countable(len(names))
    if len(set(names)) < len(names):
        raise BadInput("each policy once")
    for name in names:
        if name not in ALONE:
            raise BadInput(f"policies are compared of {', '.join(ALONE)}, and not {name!r}")
    recorded, waits = _replayed(trace, machine, names)
    others = []
    told(1, runs + 1)
    for done, other in enumerate(shaken(trace, runs), 2):
        others.append(_replayed(other, machine, names)[0])
        told(done, runs + 1)
    return tuple(_compared(name, unit, trace, recorded, waits, others) for name, unit in OF_POLICIES.items())


def _replayed(trace: Trace, machine: Machine, names: Sequence[str]) -> tuple[list[dict[str, float]], list[list[int]]]:
    """(figures, waits) by policy."""
    figures, waits = [], []
    for name in names:
        starts = simulate(trace, machine, name).starts
        its = measure(trace, starts, machine.gpus)
        figures.append(
            {
                "mean wait": its.wait.mean,
                "p95 wait": its.wait.p95,
                "bounded slowdown": its.bounded_slowdown,
                "utilization": its.utilization,
            }
        )
        waits.append(waits_of(trace, starts))
    return figures, waits


def _compared(
    name: str,
    unit: str,
    trace: Trace,
    recorded: Sequence[dict[str, float]],
    waits: Sequence[Sequence[int]],
    others: Sequence[Sequence[dict[str, float]]],
) -> Figure:
    def weeks(values: Sequence[int]) -> Iterator[Band]:
        if name == "mean wait" and (drawn := by_weeks(values, trace.submit)):
            yield drawn

    values, differences = [], []
    for place, its in enumerate(recorded):
        over = [other[place][name] for other in others]
        bands = [band(over, SHAKEN, 0.95)] if len(over) > 1 else []
        values.append(Value(its[name], (*bands, *weeks(waits[place]))))
        if place:
            apart = [other[place][name] - other[0][name] for other in others]
            bands = [band(apart, SHAKEN, 1.0)] if len(apart) > 1 else []
            paired = [b - a for a, b in zip(waits[0], waits[place], strict=True)]
            differences.append(Value(its[name] - recorded[0][name], (*bands, *weeks(paired))))
    return Figure(name, unit, tuple(values), tuple(differences))


def _countable(count: int) -> None:
    if not LEAST <= count <= MOST:
        raise BadInput(f"{LEAST} to {MOST} are compared, and not {count}")
