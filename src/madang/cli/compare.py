"""Plans side by side, or policies on one trace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from madang.cli.show import Doing, as_json, say, table
from madang.cli.twin import Days, Encoding, Gpus, Json, Map, Seed, clear, model_options_apply, read_or_made, tell

if TYPE_CHECKING:
    from madang.twin.compare import Figure, Plans, Value
    from madang.twin.plan import Plan

SHAKEN = 10


@clear
def compare(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(help="Two to four plans (TOML); or, with --policy, one trace or model.", show_default=False),
    ],
    policy: Annotated[str, typer.Option(help="On one trace: two to four policies, fcfs,easy.")] = "",
    gpus: Gpus = None,
    nodes_of: Annotated[int, typer.Option(min=0, max=1024, help="GPUs a node; 0 is one pool.")] = 0,
    place: Annotated[
        Literal["pack", "spread"], typer.Option(help="Which node a job of at most one node gets.")
    ] = "pack",
    shaken: Annotated[
        int, typer.Option(min=0, max=1000, help="Of policies: runs with every submit up to a minute later.")
    ] = SHAKEN,
    processes: Annotated[
        int, typer.Option(min=1, max=256, help="Of plans: processor cores to use; the answer is the same.")
    ] = 1,
    days: Days = None,
    seed: Seed = None,
    columns: Map = "",
    encoding: Encoding = "utf-8",
    json: Json = False,
) -> None:
    """Plans side by side, or policies on one trace: waits, use, cost, energy, and what differs by more than chance.

    All have the same seeds, or the same shaken submits and weeks; a difference is that from the first, pair by pair. It
    is larger than chance where none of its bands holds 0.
    """
    _all_apply(context, bool(policy))
    if not policy:
        _plans(files, processes, json)
        return
    from madang.twin import BadInput, Machine
    from madang.twin.compare import policies

    if len(files) != 1:
        raise BadInput("policies are compared on one trace: plans have theirs in the file, leave --policy out")
    (trace,) = files
    names = policy.split(",")
    model_options_apply(trace, days, seed)
    read = read_or_made(trace, gpus, columns, encoding, days, seed)
    capacity = gpus or read.machine_gpus
    if capacity is None:
        raise BadInput("the trace doesn't say how large the machine was: --gpus N")
    machine = Machine(capacity, nodes_of, place)
    with Doing() as doing:
        figures = policies(
            read, machine, names, shaken, told=lambda done, total: doing(f"{done} of {total} runs of each")
        )
    if json:
        label = {"trace": trace.name, "machine": str(machine), "gpus": capacity, "nodes_of": nodes_of}
        sure = {"shaken": shaken, "changes": dict(read.changes), "notes": list(read.notes)}
        as_json(label | {"compared": names, "figures": [its.as_dict() for its in figures]} | sure)
        return
    tell(read)
    _show(names, figures)


def _plans(files: Sequence[Path], processes: int, json: bool) -> None:
    from madang.twin.compare import plans
    from madang.twin.planfile import read_plan

    read = [read_plan(file) for file in files]
    stems = [file.stem for file in files]
    names = stems if len(set(stems)) == len(stems) else [str(file) for file in files]
    with Doing() as doing:
        found = plans(
            [(name, plan, start) for name, (plan, start) in zip(names, read, strict=True)],
            processes=processes,
            told=lambda done, total: doing(f"{done} of {total} runs"),
        )
    begin = read[0][1]
    if json:
        first_broken = [
            {how: {when: _day(begin, quarter) for when, quarter in its.items()} for how, its in needed.items()}
            for needed in found.needed
        ]
        figures = [its.as_dict() for its in found.figures]
        label = {"start": begin.isoformat(), "quarters": read[0][0].quarters, "seeds": read[0][0].seeds}
        as_json(label | {"compared": names, "promise_first_broken": first_broken, "figures": figures})
        return
    _show(names, found.figures)
    _broken(names, [plan for plan, _start in read], begin, found)


def _day(start: date, quarter: int | None) -> str | None:
    from madang.twin.planfile import begins

    return None if quarter is None else begins(start, quarter).isoformat()


def _broken(names: Sequence[str], read: Sequence[Plan], start: date, found: Plans) -> None:
    rows = []
    for name, plan, needed in zip(names, read, found.needed, strict=True):
        for how, said in (("planned", "as planned"), ("slipped", "with delays")):
            days = [_day(start, needed[how][when]) or "never in this time" for when in ("likely", "earliest", "latest")]
            rows.append([f"{name}, {said}", f"{plan.promise_s // 60:,} min", *days])
    table(["next stage needed: quarter from", "p95 promised", "likely", "earliest", "latest"], rows)
    known = {its.name for its in found.figures}
    if "cost of a used GPU-hour" not in known:
        say("no cost is named: it takes [money], the cost of what is there and of every stage, and a whole year")
    if "energy a year" not in known:
        say("no energy is named: it takes [power], and a whole year")


def _show(names: Sequence[str], figures: Sequence[Figure]) -> None:
    table(["", *names], [row for its in figures for row in _rows(its, its.values)])
    heads = [head for name in names[1:] for head in (f"{name} less {names[0]}", "beyond chance")]
    table(["differences", *heads], [row for its in figures for row in _rows(its, its.differences, sign="+")])


def _rows(its: Figure, values: Sequence[Value | None], sign: str = "") -> list[list[str]]:
    """The figure, and a row for each of its bands; of differences, also whether they are beyond chance."""
    name = f"{its.name} in {its.unit}" if its.unit not in ("", "share") else its.name
    kinds = list(dict.fromkeys(band.of for value in values if value for band in value.bands))
    rows = [[name], *([f"    by {kind}"] for kind in kinds)]
    for value in values:
        bands = {band.of: band for band in value.bands} if value else {}
        cells = [_text(value.value, its.unit, sign) if value else ""]
        for kind in kinds:
            band = bands.get(kind)
            cells.append(f"{_text(band.low, its.unit, sign)} to {_text(band.high, its.unit, sign)}" if band else "")
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell)
        if sign:
            told = {True: "yes", False: "no", None: "not known"}[value.beyond_chance] if value else ""
            for row, cell in zip(rows, [told, *[""] * len(kinds)], strict=True):
                row.append(cell)
    return rows


def _text(value: float, unit: str, sign: str) -> str:
    digits = {"share": ".2%", "s": ",.0f", "KRW": ",.0f", "t": ",.1f", "quarters": ",.1f"}.get(unit, ",.2f")
    return format(value, sign + (",.0f" if unit == "kWh" and abs(value) > 1000 else digits))


def _all_apply(context: typer.Context, policies: bool) -> None:
    """An option that would change nothing is said, and not passed over."""
    from madang.twin import BadInput

    of_policies = ("gpus", "nodes_of", "place", "shaken", "days", "seed", "columns", "encoding")
    unsaid: dict[str | None, Any] = {option.name: option.default for option in context.command.params}
    for name in ("processes",) if policies else of_policies:
        if context.params[name] != unsaid[name]:
            said = {"columns": "map"}.get(name, name.replace("_", "-"))
            hint = "of plans" if policies else "plans have theirs in the file; of a trace with --policy"
            raise BadInput(f"--{said} changes nothing here: {hint}")
    if context.params["place"] != unsaid["place"] and not context.params["nodes_of"]:
        raise BadInput("--place changes nothing here: of nodes: --nodes-of 8")


def register(twin: typer.Typer) -> None:
    twin.command()(compare)
