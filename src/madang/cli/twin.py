"""The twin, from a terminal: works alone, without a site."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, Literal, ParamSpec, TextIO, TypeVar

import typer

from madang.cli.show import USAGE, Doing, as_json, fail, say, table

if TYPE_CHECKING:
    from madang.twin import Machine, Measures, Multifactor, Slurm, Stretch, Trace
    from madang.twin.policies import Rules
    from madang.twin.sure import Band

twin = typer.Typer(
    no_args_is_help=True,
    help="Simulate a cluster: what a machine would have done for the jobs of a trace. Works alone, without a site.",
)
MODEL_DAYS = 28
P = ParamSpec("P")
R = TypeVar("R")

Policy = Literal["fcfs", "sjf", "easy", "conservative", "fairshare", "preempt", "slurm"]
Rule = Literal["batsim-easy-bf-fast", "helios-fifo", "helios-sjf", "rlscheduler"]
TraceFile = Annotated[
    Path,
    typer.Argument(
        help="SWF (.swf), a sacct export, CSV or Parquet (.parquet); .gz is opened, - is standard input.",
        show_default=False,
    ),
]
TraceOrModel = Annotated[
    Path,
    typer.Argument(
        help="A trace: SWF (.swf), a sacct export, CSV or Parquet (.parquet), .gz is opened, - is standard input;"
        " or a model of demand (.toml) as `fit` writes it.",
        show_default=False,
    ),
]
Gpus = Annotated[
    int | None,
    typer.Option(min=1, max=1 << 31, help="How many GPUs the machine has; where left out, what the trace says."),
]
Map = Annotated[
    str, typer.Option("--map", help="Our columns by a table's names: submit=submit_time,run=duration,gpus=gpu_num.")
]
Encoding = Annotated[str, typer.Option(help="Of a table's text.")]
Days = Annotated[
    int | None, typer.Option(min=1, max=3650, help="Of a model: so many days of its jobs; 28 where left out.")
]
Seed = Annotated[
    int | None, typer.Option(min=0, help="Of a model: the same seed makes the same jobs; 0 where left out.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


def clear(command: Callable[P, R]) -> Callable[P, R]:
    """What is wrong with the input is said in a line."""

    @wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        from madang.twin import BadInput

        try:
            return command(*args, **kwargs)
        except BadInput as error:
            fail(str(error), USAGE)

    return told


@twin.command()
@clear
def check(
    trace: TraceFile, gpus: Gpus = None, columns: Map = "", encoding: Encoding = "utf-8", json: Json = False
) -> None:
    """Read a trace, and say what is in it, what was changed, and which lines were refused and why."""
    read = read_trace(trace, gpus, columns, encoding)
    about = {
        "jobs": len(read),
        "first_submit": read.offset,
        "last_submit": read.offset + read.submit[-1],
        "gpu_seconds": sum(run * size for run, size in zip(read.run, read.gpus, strict=True)),
        "largest_job": max(read.gpus),
        "longest_limit_s": max(read.limit),
        "machine_gpus": read.machine_gpus,
        **_input(read),
    }
    if json:
        as_json(about)
        return
    tell(read)
    table(["", ""], [[name.replace("_", " "), _figure(value)] for name, value in about.items() if _single(value)])


@twin.command()
@clear
def run(
    context: typer.Context,
    trace: TraceOrModel,
    gpus: Gpus = None,
    nodes_of: Annotated[int, typer.Option(min=0, max=1024, help="GPUs a node; 0 is one pool.")] = 0,
    place: Annotated[
        Literal["pack", "spread"], typer.Option(help="Which node a job of at most one node gets.")
    ] = "pack",
    policy: Annotated[Policy, typer.Option(help="By which rule jobs start.")] = "easy",
    weights: Annotated[str, typer.Option(help="Of fairshare and slurm: age=1000,fairshare=10000,size=0.")] = "",
    shares: Annotated[
        str, typer.Option(help="With --weights: of accounts and of account/user, lab=3,lab/kim=2; 1 where unsaid.")
    ] = "",
    half_life_days: Annotated[
        float, typer.Option(min=0.001, max=1e6, help="With --weights: use counts half after so long.")
    ] = 7,
    max_age_days: Annotated[
        float, typer.Option(min=0.001, max=1e6, help="With --weights: age counts in full after so long.")
    ] = 7,
    backfill: Annotated[
        bool | None, typer.Option("--backfill/--no-backfill", help="Of fairshare (on) and of rlscheduler (off).")
    ] = None,
    scheduler: Annotated[
        str,
        typer.Option(
            help="Of slurm: SchedulerParameters, bf_interval=30,bf_max_job_test=500,bf_resolution=60,bf_window=1440."
        ),
    ] = "",
    tiers: Annotated[str, typer.Option(help="Of preempt: high=2,normal=1; 0 where unsaid.")] = "",
    tier_by: Annotated[
        Literal["qos", "partition", "account", "user", "program"],
        typer.Option(help="Of preempt: what the tiers are of."),
    ] = "qos",
    exempt_s: Annotated[int, typer.Option(min=0, help="Of preempt: who has run for less isn't stopped.")] = 0,
    grace_s: Annotated[int, typer.Option(min=0, help="Of preempt: so long a stopped job keeps its GPUs.")] = 0,
    checkpoint_s: Annotated[int, typer.Option(min=0, help="Of preempt: work is saved so often; 0 is never.")] = 0,
    restart_s: Annotated[int, typer.Option(min=0, help="Of preempt: what each further start takes.")] = 0,
    compat: Annotated[
        Rule | None, typer.Option(help="Another simulator's rule instead, to check against what it published.")
    ] = None,
    score: Annotated[Literal["fcfs", "sjf", "f1"], typer.Option(help="Of rlscheduler.")] = "fcfs",
    windows: Annotated[
        str, typer.Option(help="Of rlscheduler: where its windows of 1,024 jobs begin, 1981,2756,…")
    ] = "",
    shaken: Annotated[
        int, typer.Option(min=0, max=10_000, help="Repeat so often with every submit up to a minute later.")
    ] = 0,
    perfect: Annotated[bool, typer.Option("--perfect", help="Every limit is the true run time.")] = False,
    starts: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write id,start of every job to this file, on the trace's clock."),
    ] = None,
    engine: Annotated[
        Literal["auto", "plain", "numba"], typer.Option(help="What computes it; the result is the same.")
    ] = "auto",
    days: Days = None,
    seed: Seed = None,
    columns: Map = "",
    encoding: Encoding = "utf-8",
    json: Json = False,
) -> None:
    """Replay a trace, or jobs made from a model, on a machine, and say how long jobs waited.

    fcfs: from the front of the queue; the first that doesn't fit stops. sjf: by limit, then arrival; likewise. easy:
    fcfs, and later jobs that don't delay the first one. conservative: later jobs that delay none (a pool only).
    fairshare: by Slurm's priority of age, fair-share and size, with backfill as in easy (a pool only). preempt: by
    tier, where a higher one may stop a lower one (a pool only). slurm: by that priority, if there are weights, else by
    arrival, with Slurm's own cycles of backfill (a pool only).
    """
    from madang.twin import BadInput, Machine, Tiers, measure, simulate
    from madang.twin.measure import waits_of

    _all_apply(context, policy, compat, nodes_of)
    model_options_apply(trace, days, seed)
    not_the_same(starts, trace)
    read = read_or_made(trace, gpus, columns, encoding, days, seed)
    capacity = gpus or read.machine_gpus
    if capacity is None:
        raise BadInput("the trace doesn't say how large the machine was: --gpus N")
    if perfect:
        read = read.perfect()
    if compat in ("helios-fifo", "helios-sjf"):
        nodes_of = nodes_of or 8
    machine = Machine(capacity, nodes_of, place)
    rules: Rules | None = None
    if compat is None and policy == "fairshare":
        rules = _weighed(weights, shares, half_life_days, max_age_days, backfill=backfill is not False)
    elif compat is None and policy == "slurm":
        priority = _weighed(weights, shares, half_life_days, max_age_days) if weights else None
        rules = _scheduler(scheduler, priority)
    elif compat is None and policy == "preempt":
        rules = Tiers(_numbers(tiers, "--tiers"), tier_by, exempt_s, grace_s, checkpoint_s, restart_s)
    label: dict[str, Any] = {
        "policy": compat or policy,
        "machine": str(machine),
        "gpus": capacity,
        "nodes_of": nodes_of,
    }
    cell: dict[str, float] = {}
    stretches: Sequence[Stretch] = ()
    if compat is None:
        outcome = simulate(read, machine, policy, engine, rules)
        stretches = outcome.stretches
        found, label["engine"] = outcome.starts, outcome.engine
        label |= {"rules": asdict(rules)} if rules else {}
    else:
        from madang.twin import compat as others

        if compat == "rlscheduler":
            begins = _windows(windows) if windows else others.WINDOWS
            made = others.rlscheduler(read, capacity, score, backfill=bool(backfill), windows=begins)
            label |= {"score": score, "backfill": bool(backfill), "windows": list(begins)}
            cell["bounded_slowdown"] = made.cell
            _write(starts, [(read.id[job], read.offset + t) for job, t in zip(made.jobs, made.starts, strict=True)])
            found = ()
        else:
            found = others.run(read, machine, compat)
    if found:
        in_order = sorted(range(len(read)), key=read.row.__getitem__)
        _write(starts, [(read.id[job], read.offset + found[job]) for job in in_order])
    measures = measure(read, found, capacity, stretches) if found else None
    bands = (
        _bands(read, waits_of(read, found, stretches), machine, policy, shaken if compat is None else 0, rules)
        if found
        else []
    )
    if json:
        sure = {"bands": [band.as_dict() for band in bands]}
        as_json(label | (measures.as_dict() if measures else {"jobs": len(read), **cell}) | sure | _input(read))
        return
    tell(read)
    if measures:
        _show(label, measures, bands)
    else:
        table(["", ""], [["rule", "rlscheduler"], ["mean bounded slowdown", f"{cell['bounded_slowdown']:,.2f}"]])


@twin.command()
@clear
def site(
    trace: TraceFile,
    file: Annotated[Path, typer.Argument(help="The site, TOML: docs/twin.md shows one.", show_default=False)],
    policy: Annotated[Literal["fcfs", "easy"], typer.Option(help="By which rule jobs start.")] = "easy",
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Runs, each with other failures and patience.")] = 5,
    starts: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write id,start of every job that started to this file, of the first run."),
    ] = None,
    columns: Map = "",
    encoding: Encoding = "utf-8",
    json: Json = False,
) -> None:
    """Replay a trace on nodes with what befalls them: deliveries, maintenance, failures, grants, people who give up."""
    from madang.twin import BadInput
    from madang.twin.site import FATES, replay
    from madang.twin.sure import band
    from madang.twin.worldfile import read_world

    not_the_same(starts, trace)
    read = read_trace(trace, None, columns, encoding)
    world = read_world(file, read.begins)
    runs = [replay(read, world, policy, seed) for seed in range(seeds if world.failures or world.patience else 1)]
    first = runs[0]
    in_order = sorted(range(len(read)), key=read.row.__getitem__)
    _write(starts, [(read.id[job], read.offset + first.starts[job]) for job in in_order if first.starts[job] >= 0])
    measured = [run.measures for run in runs if run.measures]
    if not measured:
        raise BadInput("not one job was done: are the parts large enough, and the grants open?")
    bands = {
        "mean wait": band([its.wait.mean for its in measured], "seeds"),
        "p95 wait": band([its.wait.p95 for its in measured], "seeds"),
        "utilization": band([its.utilization for its in measured], "seeds"),
    }
    if json:
        each = [
            {"fates": run.fates, "by_grant": run.by} | (run.measures.as_dict() if run.measures else {}) for run in runs
        ]
        label = {"policy": policy, "seeds": len(runs), "gpus": world.gpus}
        as_json(label | {"bands": {name: its.as_dict() for name, its in bands.items()}, "runs": each} | _input(read))
        return
    tell(read)
    several = len(runs) > 1
    rows = [["policy", policy], ["GPUs", f"{world.gpus:,}"]]
    for name, its in bands.items():
        how = "{:.2%}" if name == "utilization" else "{:,.0f} s"
        width = f" ({how.format(its.low)} to {how.format(its.high)} over {len(runs)} runs)" if several else ""
        rows.append([name, how.format(its.mean) + width])
    count = len(runs)
    for fate in FATES:
        if times := sum(run.fates.get(fate, 0) for run in runs):
            rows.append([f"jobs {fate}" if fate != "waiting" else "jobs that wait in the end", f"{times / count:,.0f}"])
    rows.append(["jobs stopped", f"{sum(its.stops for its in measured) / count:,.0f} times"])
    lost = sum(its.lost_gpu_seconds for its in measured) / count
    rows.append(["GPU-seconds lost by that", f"{lost:,.0f}"])
    table(["", ""], rows)
    if first.by:
        table(
            ["grant", "jobs", "done", "refused", "cancelled", "gave up", "GPU-hours used", "of"],
            [
                [name, f"{its['jobs']:,}"]
                + [f"{its['fates'].get(fate, 0):,}" for fate in ("done", "refused", "cancelled", "gave up")]
                + [f"{its['gpu_seconds'] / 3600:,.0f}", _hours(its["granted"])]
                for name, its in first.by.items()
            ],
        )


def _hours(seconds: int | None) -> str:
    return "no end" if seconds is None else f"{seconds / 3600:,.0f}"


@twin.command()
@clear
def calibrate(
    trace: TraceFile,
    gpus: Gpus = None,
    nodes_of: Annotated[int, typer.Option(min=0, max=1024, help="GPUs a node; 0 is one pool.")] = 0,
    policy: Annotated[
        Literal["fcfs", "sjf", "easy", "conservative", "slurm"], typer.Option(help="By which rule jobs start.")
    ] = "easy",
    partition: Annotated[str | None, typer.Option(help="Only the jobs of this partition.")] = None,
    zone: Annotated[str, typer.Option("--time-zone", help="In which months begin.")] = "UTC",
    columns: Map = "",
    encoding: Encoding = "utf-8",
    json: Json = False,
) -> None:
    """How long jobs waited, as recorded and as simulated, by month: how far the model is from what happened."""
    from zoneinfo import ZoneInfo

    from madang.twin import BadInput, Machine, simulate
    from madang.twin.calibrate import gaps

    read = read_trace(trace, gpus, columns, encoding)
    if partition is not None:
        read = read.only("partition", partition)
    capacity = gpus or read.machine_gpus
    if capacity is None:
        raise BadInput("the trace doesn't say how large the machine was: --gpus N")
    try:
        months, whole = gaps(read, simulate(read, Machine(capacity, nodes_of), policy).starts, ZoneInfo(zone))
    except (KeyError, ValueError) as error:
        raise BadInput(f"--time-zone {zone!r}: a name like Asia/Seoul") from error
    if json:
        as_json(
            {"policy": policy, "gpus": capacity, "months": [its.as_dict() for its in months], "all": whole.as_dict()}
        )
        return
    rows = []
    for its in (*months, whole):
        waits = [_figure(getattr(of, name)) for of in (its.recorded, its.simulated) for name in ("mean", "p50", "p95")]
        rows.append([its.month or "all", _figure(its.jobs), *waits, "" if its.ratio is None else f"{its.ratio:,.1f}"])
    table(
        [
            "month",
            "jobs",
            "recorded mean in s",
            "p50",
            "p95",
            "simulated mean in s",
            "p50",
            "p95",
            "recorded ÷ simulated",
        ],
        rows,
    )


@twin.command()
@clear
def plan(
    file: Annotated[Path, typer.Argument(help="The plan, TOML: docs/twin.md shows one.", show_default=False)],
    processes: Annotated[int, typer.Option(min=1, max=256, help="Processor cores to use; the answer is the same.")] = 1,
    json: Json = False,
) -> None:
    """Simulate a plan: waits and use, quarter by quarter, and when the next stage is needed."""
    from madang.twin.plan import run as simulate
    from madang.twin.planfile import begins, read_plan

    wanted, start = read_plan(file)
    with Doing() as doing:

        def told(done: int, total: int) -> bool:
            doing(f"{done} of {total} runs")
            return True

        result = simulate(wanted, processes=processes, told=told)
    if json:
        as_json({"start": start.isoformat(), **result})
        return
    rows = []
    for quarter in result["quarters"]:
        planned, slipped = quarter["planned"], quarter["slipped"]
        waits = [f"{low:,.0f} to {high:,.0f}" for _mean, low, high in (planned["wait"]["p95"], slipped["wait"]["p95"])]
        used = f"{planned['utilization'][0]:.1%}"
        day = begins(start, quarter["quarter"])
        rows.append([day, _figure(planned["gpus"][0]), f"{planned['load'][0]:.2f}", used, *waits])
    table(["quarter from", "GPUs", "load", "utilization", "p95 wait in s", "with delays"], rows)
    for how, name in (("planned", "as planned"), ("slipped", "with delays")):
        first = result["needed"][how]["likely"]
        until = f"first in the quarter from {begins(start, first)}" if first is not None else "never in this time"
        say(f"{name}: a p95 wait above {wanted.promise_s // 60} min, or more asked for than there is: {until}")
    last = result["quarters"][-1]["planned"]
    if "stops" in last:
        say(f"in the last quarter's sample {last['stops'][0]:,.0f} jobs were stopped, {last['gave_up'][0]:.1%} gave up")
    if left_out := max(quarter["planned"]["left_out"][0] for quarter in result["quarters"]):
        say(f"up to {left_out:.0%} of what is asked for is in jobs larger than the machine: it isn't simulated")
    for year in result["energy"]:
        kwh, won = f"{year['kwh']:,} kWh", f"₩{year['krw']:,} for electricity"
        say(f"year {year['year'] + 1}: {kwh}, {year['t_co2']:,} t of carbon dioxide, {won}")
    priced = [wanted.money, wanted.cost_krw, *(stage.cost_krw for stage in wanted.stages)]
    if any(price is not None for price in priced) and not result["cost"]:
        say("no cost is named: it takes [money], the cost of what is there and of every stage, and a whole year")
    for year in result["cost"]:
        used_hour = year["krw_per_used_hour"]
        say(f"year {year['year'] + 1}: ₩{year['krw']:,}" + (f", ₩{used_hour:,} a GPU-hour used" if used_hour else ""))


def read_trace(trace: Path, gpus: int | None, columns: str, encoding: str) -> Trace:
    from madang.twin import parse_map, read

    return read(trace, gpus=gpus, columns=parse_map(columns), encoding=encoding)


def model_options_apply(trace: Path, days: int | None, seed: int | None) -> None:
    from madang.twin import BadInput
    from madang.twin.modelfile import is_model

    for name, given in (("days", days), ("seed", seed)):
        if given is not None and not is_model(trace):
            raise BadInput(f"--{name} changes nothing here: of a model (.toml)")


def read_or_made(
    trace: Path, gpus: int | None, columns: str, encoding: str, days: int | None, seed: int | None
) -> Trace:
    """A trace, or the jobs of a model."""
    from madang.twin import BadInput
    from madang.twin.fit import jobs_of
    from madang.twin.modelfile import is_model, read_model

    if not is_model(trace):
        return read_trace(trace, gpus, columns, encoding)
    if columns:
        raise BadInput("--map is for tables: a model has names of its own")
    if gpus is None:
        raise BadInput("a model doesn't say how large the machine is: --gpus N")
    return jobs_of(read_model(trace), days=days or MODEL_DAYS, seed=seed or 0, gpus=gpus)


def _all_apply(context: typer.Context, policy: Policy, compat: Rule | None, nodes_of: int) -> None:
    """An option that would change nothing is said, and not passed over."""
    from madang.twin import BadInput

    scores = compat == "rlscheduler"
    uses = {
        "policy": (compat is None, "leave --compat out"),
        "shaken": (compat is None, "leave --compat out"),
        "score": (scores, "of --compat rlscheduler"),
        "windows": (scores, "of --compat rlscheduler"),
        "backfill": (scores or (compat is None and policy == "fairshare"), "of fairshare and of rlscheduler"),
        "place": (compat is None and nodes_of > 0, "of nodes: --nodes-of 8"),
        "nodes_of": (not scores, "not of rlscheduler"),
    }
    weighed = compat is None and (policy == "fairshare" or (policy == "slurm" and bool(context.params["weights"])))
    uses["weights"] = (compat is None and policy in ("fairshare", "slurm"), "of --policy fairshare and slurm")
    uses["scheduler"] = (compat is None and policy == "slurm", "of --policy slurm")
    for name in ("shares", "half_life_days", "max_age_days"):
        uses[name] = (weighed, "of --policy fairshare, and of slurm with --weights")
    for name in ("tiers", "tier_by", "exempt_s", "grace_s", "checkpoint_s", "restart_s"):
        uses[name] = (compat is None and policy == "preempt", "of --policy preempt")
    unsaid = {option.name: option.default for option in context.command.params}
    for name, (applies, hint) in uses.items():
        if not applies and context.params[name] != unsaid[name]:
            raise BadInput(f"--{name.replace('_', '-')} changes nothing here: {hint}")


def not_the_same(written: Path | None, trace: Path) -> None:
    from madang.twin import BadInput

    if written and written.exists() and trace.exists() and written.samefile(trace):
        raise BadInput(f"{written} is the trace itself: write to another file")


def _numbers(text: str, option: str, names: Sequence[str] = ()) -> dict[str, int]:
    """Of "a=1,b=2"; where `names` are given, of these alone."""
    from madang.twin import BadInput

    found: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _is, number = part.rpartition("=")
        if (
            not (name and number.isascii() and number.isdigit() and len(number) < 10)
            or name in found
            or (names and name not in names)
        ):
            example = ",".join(
                f"{name}=1" for name in names or (("high",) if option == "--tiers" else ("lab", "lab/kim"))
            )
            raise BadInput(f"{option} {part!r}: each name once, with a whole number, like {example}")
        found[name] = int(number)
    return found


def _weighed(
    weights: str, shares: str, half_life_days: float, max_age_days: float, *, backfill: bool = True
) -> Multifactor:
    from madang.twin import Multifactor

    weighed = _numbers(weights, "--weights", ("age", "fairshare", "size"))
    return Multifactor(
        age=weighed.get("age", 0),
        fairshare=weighed.get("fairshare", 0),
        size=weighed.get("size", 0),
        max_age_s=round(max_age_days * 86_400),
        half_life_s=round(half_life_days * 86_400),
        backfill=backfill,
        shares=_numbers(shares, "--shares"),
    )


def _scheduler(parameters: str, priority: Multifactor | None) -> Slurm:
    """Slurm's SchedulerParameters, the window in minutes as it has it."""
    from madang.twin import Slurm

    usual = Slurm()
    said = _numbers(parameters, "--scheduler", ("bf_interval", "bf_max_job_test", "bf_resolution", "bf_window"))
    return Slurm(
        said.get("bf_interval", usual.interval_s),
        said.get("bf_max_job_test", usual.max_job_test),
        said.get("bf_resolution", usual.resolution_s),
        said["bf_window"] * 60 if "bf_window" in said else usual.window_s,
        priority,
    )


def _windows(text: str) -> list[int]:
    from madang.twin import BadInput

    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise BadInput(f"--windows {text!r}: numbers with commas between, like 1981,2756") from None


def _write(path: Path | None, rows: Sequence[tuple[str, int]]) -> None:
    if path is not None:
        replaced(path, lambda to: csv.writer(to, lineterminator="\n").writerows((("id", "start"), *rows)))


def replaced(path: Path, put: Callable[[TextIO], object]) -> None:
    """By rename, so that no reader sees half a file; what is no file (a pipe, a terminal) is written to."""
    from madang.twin import BadInput

    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            with path.open("w", newline="", encoding="utf-8") as there:
                put(there)
            return
        with NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", newline="", encoding="utf-8", delete=False
        ) as to:
            try:
                put(to)  # type: ignore[arg-type]
                to.flush()
                umask = os.umask(0)
                os.umask(umask)
                os.chmod(to.name, 0o666 & ~umask)
                os.replace(to.name, path)
            except BaseException:
                os.unlink(to.name)
                raise
    except OSError as error:
        raise BadInput(f"{path} can't be written: {error.strerror}") from None


def _input(read: Trace) -> dict[str, Any]:
    return {
        "changes": dict(read.changes),
        "refused": [vars(refusal) for refusal in read.refused],
        "notes": list(read.notes),
    }


def tell(read: Trace) -> None:
    from madang.twin import CHANGES

    for note in read.notes:
        say(note, "dim")
    for change, times in read.changes.items():
        say(f"{times:,} of the jobs: {CHANGES[change]}", "dim")
    for refusal in read.refused[:5]:
        say(f"refused {refusal}", "yellow")
    if len(read.refused) > 5:
        say(f"refused {len(read.refused) - 5:,} more lines; --json names them all", "yellow")


def _bands(
    read: Trace, waits: Sequence[int], machine: Machine, policy: str, runs: int, rules: Rules | None
) -> list[Band]:
    from madang.twin.sure import band, by_weeks, mean_waits, shaken

    bands = [by_weeks(waits, read.submit)]
    if runs:
        bands.append(
            band(mean_waits(shaken(read, runs), machine, policy, rules, jobs=runs * len(read)), "shaken submits")
        )
    return [made for made in bands if made]


def _show(label: dict[str, Any], measures: Measures, bands: Sequence[Band]) -> None:
    rows = [
        ["policy", label["policy"]],
        ["machine", label["machine"]],
        ["utilization", f"{measures.utilization:.2%}"],
        ["mean bounded slowdown", f"{measures.bounded_slowdown:,.3f}"],
        ["from first submit to last end", f"{measures.makespan_s:,} s"],
    ]
    if measures.stops:
        lost = f"{measures.lost_gpu_seconds:,} ({measures.lost_gpu_seconds / measures.gpu_seconds:.2%} of all work)"
        rows += [["stopped for others", f"{measures.stops:,} times"], ["GPU-seconds lost by that", lost]]
    for band in bands:
        width = f"{band.low:,.0f} to {band.high:,.0f} s"
        width += f", standard deviation {band.sd:,.0f} s" if band.sd is not None else ""
        rows.append([f"mean wait, {band.level:.0%} by {band.of}", width])
    table(["", ""], rows)
    columns = ("jobs", "mean", "p50", "p90", "p95", "p99", "max")
    spreads = {"all": measures.wait, **measures.wait_by_size}
    if measures.recorded_wait:
        spreads["recorded"] = measures.recorded_wait
    waits = [[name, *(_figure(getattr(spread, column)) for column in columns)] for name, spread in spreads.items()]
    table(["wait in s, by GPUs", *columns], waits)


def _single(value: Any) -> bool:
    return value is not None and not isinstance(value, list | dict)


def _figure(value: float) -> str:
    return f"{value:,.0f}"


def register(app: typer.Typer) -> None:
    app.add_typer(twin, name="twin", rich_help_panel="This machine")
