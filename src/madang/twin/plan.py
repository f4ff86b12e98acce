"""What a plan buys: a machine that grows in stages, demand that grows by program, and how long jobs wait, by quarter.

A quarter is a sample of some weeks. It begins with jobs in the middle of their runs and with no queue, and the first
third of the weeks isn't measured. Near a load of 1 a queue takes months to build up, and above 1 it grows without end:
the waits are a lower bound then, and above 1 a promise is broken whatever the sample shows.
One point is (quarter, seed); it depends on nothing else, so points run in any order and on any number of processes, and
give the same. Needs numpy and numba (the extra `twin`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from madang.twin.cluster import Machine
from madang.twin.demand import DAY_S, Program, fitting, generate, jobs_a_day, under_way
from madang.twin.errors import BadInput
from madang.twin.measure import SIZES
from madang.twin.policies import has_kernel
from madang.twin.processes import on_processes
from madang.twin.sure import Band, band
from madang.twin.world import Failures, Patience

QUARTER_DAYS = 91
SAMPLE_JOBS = 500_000
SAMPLE_WEEKS = (2, QUARTER_DAYS // 7)
POLICIES = ("fcfs", "sjf", "easy")
MOST_GPUS = 100_000_000
LEVEL = 0.9
HOURS_A_YEAR = 8760
NODES_OF, SLOW_JOBS = 8, 60_000  # with failures or patience


@dataclass(frozen=True)
class Stage:
    """A delivery: day from the start of the plan, GPUs, what it costs, and by how many days it slips: at least, most
    likely, at most. One draw is shared by all stages of a plan, one is each stage's own; none overtakes an earlier one.
    """

    day: int
    gpus: int
    slip_days: tuple[int, int, int] = (0, 0, 0)
    cost_krw: int | None = None


@dataclass(frozen=True)
class Money:
    """Straight-line: a stage's cost over `years_of_use`, and the running cost of a GPU and year. None is invented."""

    years_of_use: int
    running_krw: int

    def __post_init__(self) -> None:
        if self.years_of_use < 1 or self.running_krw < 0:
            raise BadInput("prices are of at least 1 year of use, and no running cost below 0")


@dataclass(frozen=True)
class Power:
    """What a GPU takes with its share of the node, idle and busy, in W; the PUE of the building in percent; g of carbon
    dioxide and KRW for a kWh. Energy = (GPUs × idle + busy GPUs × (busy - idle)) × hours × PUE: no cooling model and
    no clocks of the chips. None is invented.
    """

    idle_w: int
    busy_w: int
    pue_percent: int
    g_per_kwh: int
    krw_per_kwh: int

    def __post_init__(self) -> None:
        if not 0 <= self.idle_w <= self.busy_w or self.pue_percent < 100 or min(self.g_per_kwh, self.krw_per_kwh) < 0:
            raise BadInput(
                "a busy GPU takes at least what an idle one does, a PUE is at least 100 %, the rest at least 0"
            )


@dataclass(frozen=True)
class Plan:
    """`gpus` are there at the start; `promise_s` is the p95 wait that the site wants to keep."""

    gpus: int
    stages: tuple[Stage, ...]
    programs: tuple[Program, ...]
    quarters: int
    policy: str = "easy"
    promise_s: int = 3600
    seeds: int = 5
    cost_krw: int | None = None  # of what is there at the start
    money: Money | None = None
    power: Power | None = None
    failures: Failures | None = None
    patience: Patience | None = None
    checkpoint_s: int = 0
    restart_s: int = 0

    @property
    def befallen(self) -> bool:
        """Whether anything befalls it: then it is nodes of 8, and there is no compiled kernel."""
        return self.failures is not None or self.patience is not None

    def __post_init__(self) -> None:
        if not 1 <= self.gpus <= MOST_GPUS or not 1 <= self.quarters <= 60 or not 1 <= self.seeds <= 50:
            raise BadInput(f"a plan has 1 to {MOST_GPUS:,} GPUs, 1 to 60 quarters and 1 to 50 seeds")
        if [stage.day for stage in self.stages] != sorted({stage.day for stage in self.stages}):
            raise BadInput("stages come in the order of their days, no two on one day")
        for stage in self.stages:
            if (
                not 1 <= stage.gpus <= MOST_GPUS
                or list(stage.slip_days) != sorted(stage.slip_days)
                or stage.slip_days[0] < 0
            ):
                raise BadInput(
                    "a stage has at least 1 GPU, and slips by least, most likely and most days, none below 0"
                )
        if self.policy not in POLICIES:
            raise BadInput(f"a plan is simulated under fcfs, sjf or easy, and not {self.policy!r}")
        if self.befallen and (self.policy == "sjf" or self.gpus < NODES_OF):
            raise BadInput(f"with failures or patience a plan is under fcfs or easy, on at least {NODES_OF} GPUs")
        names = [program.name for program in self.programs]
        if double := [name for name in names if names.count(name) > 1]:
            raise BadInput(f"two of those who ask are called {double[0]!r}")

    def slips(self, seed: int) -> list[int]:
        """The day of each stage as it slips."""
        random = Random(f"slip {seed}")  # noqa: S311
        shared = random.random()
        days: list[int] = []
        for stage in self.stages:
            low, likely, high = stage.slip_days
            late = max(_triangle(shared, low, likely, high), _triangle(random.random(), low, likely, high) // 2)
            days.append(max([stage.day + late, *days[-1:]]))
        return days

    def capacity(self, day: int, days: Sequence[int] | None = None) -> int:
        """GPUs on that day, with the stages on the days as planned or as given."""
        when = [stage.day for stage in self.stages] if days is None else days
        return self.gpus + sum(stage.gpus for at, stage in zip(when, self.stages, strict=True) if at <= day)

    def asked(self, day: int, largest: int = 1 << 31) -> float:
        """GPU-hours a day that are asked for then, in jobs of at most so many GPUs."""
        return sum(
            program.gpu_hours_a_day * fitting(program, largest)[1] * (1 + program.growth) ** (day / 365)
            for program in self.programs
        )


def points(plan: Plan) -> list[tuple[int, int]]:
    return [(quarter, seed) for quarter in range(plan.quarters) for seed in range(plan.seeds)]


def point(plan: Plan, quarter: int, seed: int) -> dict[str, Any]:
    """One quarter under one seed: as planned and as it slips."""
    first, days = quarter * QUARTER_DAYS, sample_days(plan, quarter)
    planned = plan.capacity(first)
    slipped = plan.capacity(first, plan.slips(seed))
    made = {"quarter": quarter, "seed": seed, "days": days, "planned": _simulate(plan, first, days, seed, planned)}
    return made | {"slipped": made["planned"] if slipped == planned else _simulate(plan, first, days, seed, slipped)}


def sample_days(plan: Plan, quarter: int) -> int:
    day = quarter * QUARTER_DAYS
    rate = sum(jobs_a_day(program) * (1 + program.growth) ** (day / 365) for program in plan.programs)
    least, most = SAMPLE_WEEKS
    if plan.befallen and rate * least * 7 > SLOW_JOBS:
        raise BadInput(
            f"quarter {quarter + 1} has {rate:,.0f} jobs a day: with failures or patience, at most"
            f" {SLOW_JOBS // least // 7:,} can be simulated; leave them out, or make a plan of a part of the machine"
        )
    return 7 * max(least, min(most, int((SLOW_JOBS if plan.befallen else SAMPLE_JOBS) / max(rate, 1) / 7)))


def _simulate(plan: Plan, first: int, days: int, seed: int, gpus: int) -> dict[str, Any]:
    import numpy as np

    from madang.twin import kernel

    nodes = gpus // NODES_OF if plan.befallen else 0
    largest = nodes * NODES_OF or gpus
    made = generate(plan.programs, days=days, seed=seed, first_day=first, largest=largest)
    met, gone = under_way(made.run, days, np.random.default_rng([seed, first, 1 << 20]))
    submit, run, gpus_of, limit = (
        np.concatenate(columns)
        for columns in (
            (np.zeros(len(met), np.int64), made.submit),
            (made.run[met] - gone, made.run),
            (made.gpus[met], made.gpus),
            (made.limit[met] - gone, made.limit),
        )
    )
    begin, end = max(1, days // 21) * 7 * DAY_S, days * DAY_S
    measured = made.submit >= begin
    if plan.befallen:
        its = _befallen(plan, (submit, run, gpus_of, limit), nodes, seed, end)
        held, start, arrived = its.held, its.start, its.arrived
        measured &= start[len(met) :] >= 0
        extra = its.besides(begin, len(met))
    else:
        start = kernel.simulate(submit, run, gpus_of, limit, Machine(gpus), plan.policy)
        held, arrived, extra = (start, start + run, gpus_of), submit, {}
    inside = np.clip(np.minimum(held[1], end) - np.maximum(held[0], begin), 0, None)
    wait = (start - arrived)[len(met) :][measured]
    sizes, programs = made.gpus[measured], made.program[measured]
    asked, fits = plan.asked(first), plan.asked(first, largest)

    def waits(chosen: Any) -> dict[str, float] | None:
        if not len(chosen):
            return None
        p50, p95 = np.quantile(chosen, [0.5, 0.95])
        return {"jobs": len(chosen), "mean": float(chosen.mean()), "p50": float(p50), "p95": float(p95)}

    return {
        "gpus": gpus,
        "load": fits / (gpus * 24),
        "left_out": 1 - fits / asked,
        "utilization": float((inside * held[2]).sum() / (gpus * (end - begin))),
        **extra,
        "wait": waits(wait) or {"jobs": 0, "mean": 0.0, "p50": 0.0, "p95": 0.0},
        "by_size": {name: waits(wait[(sizes >= low) & (sizes <= high)]) for low, high, name in SIZES},
        "by_program": {name: waits(wait[programs == number]) for number, name in enumerate(made.names)},
    }


@dataclass(frozen=True)
class _Befallen:
    """Arrays: by job its first start (-1: none) and its last arrival; by stretch (start, end, GPUs)."""

    start: Any
    arrived: Any
    held: tuple[Any, Any, Any]
    fate: Any
    stopped: Any  # by stretch

    def besides(self, begin: int, warm: int) -> dict[str, float]:
        """Of the jobs that arrived from `begin` on, the share that gave up; how often one was stopped since."""
        since = self.arrived >= begin
        since[:warm] = False
        return {
            "gave_up": float(self.fate[since].mean()) if since.any() else 0.0,
            "stops": int((self.stopped & (self.held[1] >= begin)).sum()),
        }


def _befallen(plan: Plan, jobs: tuple[Any, ...], nodes: int, seed: int, until: int) -> _Befallen:
    import numpy as np

    from madang.twin.plain import Jobs
    from madang.twin.tiers import first_starts
    from madang.twin.world import Part, World, live

    part = Part(nodes, NODES_OF)
    downs = tuple(plan.failures.draw([part], until, seed)) if plan.failures else ()
    world = World({"gpu": part}, downs=downs, checkpoint_s=plan.checkpoint_s, restart_s=plan.restart_s)
    count = len(jobs[0])
    answers = plan.patience.drawn(seed) if plan.patience else None
    lives = live(
        Jobs(*(column.tolist() for column in jobs)), world, [0] * count, [-1] * count, answers, plan.policy == "easy"
    )
    stretches = lives.stretches
    which = np.array([stretch.job for stretch in stretches], np.int64)
    held = [np.array([getattr(stretch, name) for stretch in stretches], np.int64) for name in ("start", "end")]
    return _Befallen(
        np.array(first_starts(count, stretches), np.int64),
        np.array(lives.arrived, np.int64),
        (held[0], held[1], jobs[2][which]),
        np.array([fate == "gave up" for fate in lives.fate]),
        np.array([stretch.stopped for stretch in stretches], bool),
    )


def run(
    plan: Plan,
    *,
    processes: int = 1,
    apart: bool = False,
    told: Callable[[int, int], bool] = lambda done, total: True,
) -> dict[str, Any]:
    """All points, merged; `apart` from this process also where one is enough. `told(done, total)` is called after each
    point, and meanwhile where they are computed apart; it stops the run by answering False.

    Raises BadInput, and Stopped.
    """
    if not has_kernel():
        raise BadInput("a plan needs the extra “twin”: pip install 'madang[twin]'")
    todo = points(plan)
    found: dict[tuple[int, int], dict[str, Any]] = {}
    calls = [(plan, quarter, seed) for quarter, seed in todo]
    several = apart or processes > 1
    for made in on_processes(point, calls, processes) if several else (point(*call) for call in calls):
        if made:
            found[made["quarter"], made["seed"]] = made
        if not told(len(found), len(todo)):
            raise Stopped
    return merge(plan, [found[one] for one in todo])


class Stopped(Exception):
    """The run was told to stop."""


def merge(plan: Plan, made: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Bands over the seeds, by quarter; when the promise is first broken; what a used GPU-hour costs, by year."""
    quarters = []
    for quarter in range(plan.quarters):
        of = [one for one in made if one["quarter"] == quarter]
        quarters.append(
            {
                "quarter": quarter,
                "days": of[0]["days"],
                **{how: _bands([one[how] for one in of]) for how in ("planned", "slipped")},
            }
        )
    return {
        "level": LEVEL,
        "seeds": plan.seeds,
        "promise_s": plan.promise_s,
        "quarters": quarters,
        "needed": {how: _needed(plan, made, how) for how in ("planned", "slipped")},
        "cost": _cost(plan, quarters),
        "energy": _energy(plan, quarters),
    }


def _bands(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def over(values: Sequence[float]) -> list[float]:
        made: Band = band(values, "seeds", LEVEL)
        return [round(value, 4) for value in (made.mean, made.low, made.high)]

    def waits(part: Callable[[dict[str, Any]], dict[str, float] | None]) -> dict[str, Any] | None:
        there = [found for found in map(part, runs) if found and found["jobs"]]
        if not there:
            return None
        return {"jobs": round(sum(found["jobs"] for found in there) / len(there))} | {
            name: over([found[name] for found in there]) for name in ("mean", "p50", "p95")
        }

    return {
        "gpus": over([one["gpus"] for one in runs]),
        "load": over([one["load"] for one in runs]),
        "left_out": over([one["left_out"] for one in runs]),  # of what is asked for: in jobs larger than the machine
        "utilization": over([one["utilization"] for one in runs]),
        **{name: over([one[name] for one in runs]) for name in ("gave_up", "stops") if name in runs[0]},
        "wait": waits(lambda one: one["wait"]),
        "by_size": {name: waits(lambda one, name=name: one["by_size"][name]) for _low, _high, name in SIZES},  # type: ignore[misc]
        "by_program": {
            name: waits(lambda one, name=name: one["by_program"].get(name))  # type: ignore[misc]
            for name in dict.fromkeys(name for one in runs for name in one["by_program"])
        },
    }


def _needed(plan: Plan, made: Sequence[dict[str, Any]], how: str) -> dict[str, int | None]:
    """The quarter in which the p95 wait first breaks the promise, or more is asked for than there is: the middle,
    earliest and latest of the seeds.

    None where it isn't broken within the plan.
    """
    first: list[int] = []
    for seed in range(plan.seeds):
        broken = [
            one["quarter"]
            for one in made
            if one["seed"] == seed and (one[how]["wait"]["p95"] > plan.promise_s or one[how]["load"] > 1)
        ]
        first.append(min(broken, default=plan.quarters))
    first.sort()
    chosen = {"likely": first[len(first) // 2], "earliest": first[0], "latest": first[-1]}
    return {name: quarter if quarter < plan.quarters else None for name, quarter in chosen.items()}


def by_year(quarters: Sequence[dict[str, Any]]) -> Iterator[tuple[int, float, float]]:
    """(year, GPUs that are there on average, GPUs that are busy on average) of each whole one, as planned."""
    for year in range(len(quarters) // 4):
        its = [quarter["planned"] for quarter in quarters[year * 4 : year * 4 + 4]]
        there = sum(quarter["gpus"][0] for quarter in its) / 4
        yield year, there, sum(quarter["gpus"][0] * quarter["utilization"][0] for quarter in its) / 4


def _energy(plan: Plan, quarters: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By year; empty where nothing is known of it."""
    power = plan.power
    if power is None:
        return []
    years = []
    for year, there, busy in by_year(quarters):
        watts = (there * power.idle_w + busy * (power.busy_w - power.idle_w)) * power.pue_percent / 100
        kwh = watts * HOURS_A_YEAR / 1000
        years.append(
            {
                "year": year,
                "kwh": round(kwh),
                "t_co2": round(kwh * power.g_per_kwh / 1e6, 1),
                "krw": round(kwh * power.krw_per_kwh),
                "kwh_per_used_hour": round(kwh / (busy * HOURS_A_YEAR), 3) if busy else None,
            }
        )
    return years


def _cost(plan: Plan, quarters: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By year; empty where a price is missing: none is invented."""
    if plan.money is None or plan.cost_krw is None or any(stage.cost_krw is None for stage in plan.stages):
        return []
    years = []
    for year, gpu_years, used in by_year(quarters):
        begin, end = year * 365, (year + 1) * 365
        bought = [(0, plan.cost_krw), *((stage.day, stage.cost_krw or 0) for stage in plan.stages)]
        worn = sum(
            cost
            * max(0, min(end, day + plan.money.years_of_use * 365) - max(begin, day))
            / (plan.money.years_of_use * 365)
            for day, cost in bought
        )
        total = worn + gpu_years * plan.money.running_krw
        years.append(
            {
                "year": year,
                "krw": round(total),
                "krw_per_used_hour": round(total / (used * HOURS_A_YEAR)) if used else None,
                "krw_per_offered_hour": round(total / (gpu_years * HOURS_A_YEAR)),
            }
        )
    return years


def _triangle(draw: float, low: int, likely: int, high: int) -> int:
    """The quantile of a triangular distribution."""
    if high == low:
        return low
    turn = (likely - low) / (high - low)
    if draw < turn:
        return round(low + (draw * (high - low) * (likely - low)) ** 0.5)
    return round(high - ((1 - draw) * (high - low) * (high - likely)) ** 0.5)
