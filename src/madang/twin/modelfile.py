"""A model of demand as a file (TOML), as `madang twin fit` writes it: for `run`, `sweep`, and the demand of a plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from madang.twin.demand import Lengths, Measured, Program
from madang.twin.errors import BadInput
from madang.twin.given import known, load, number, numbers, tables, text, whole, wholes

SUFFIX = ".toml"
MODEL = {"name", "gpu_hours_a_day", "growth", "bursts", "sizes", "hours", "weekdays", "asked", "source"} | {
    "lengths",
    "limits",
}
LOGNORMAL, MEASURED, LIMITS = {"gpus", "mean", "median", "longest"}, {"gpus", "runs"}, {"run", "limits"}


def is_model(path: Path) -> bool:
    """Whether a path is that of a model: traces have other names."""
    return path.suffix.lower() == SUFFIX


def model_text(program: Program) -> str:
    """The file of a program. Raises BadInput where its name or source can't be written."""
    if not (program.name + program.source).isprintable():
        raise BadInput(f"{program.name!r}: a name is of letters, signs and blanks")
    lines = [
        f"name = {json.dumps(program.name, ensure_ascii=False)}",
        f"source = {json.dumps(program.source, ensure_ascii=False)}",
        f"gpu_hours_a_day = {program.gpu_hours_a_day!r}  # on the first day",
        f"growth = {program.growth!r}  # a year",
        f"bursts = {program.bursts!r}  # how much the rate of an hour varies: 0 is Poisson",
        f"hours = {list(program.hours)}  # of the day: rates",
        f"weekdays = {list(program.weekdays)}  # from Monday",
        f"asked = {list(program.asked)}  # limit ÷ run, before it is rounded up to 1, 2, 4 … hours; []: as below",
        "sizes = [  # GPUs, share of jobs",
        *(f"    [{size}, {share!r}]," for size, share in program.sizes),
        "]",
    ]
    for top, its in program.lengths:
        lines += ["", "[[lengths]]  # of runs in seconds, of jobs of up to so many GPUs", f"gpus = {top}"]
        if isinstance(its, Measured):
            lines.append(f"runs = {list(its.runs)}")
        else:
            lines += [f"mean = {its.mean!r}", f"median = {its.median!r}", f"longest = {its.longest}"]
    for longest, kept in program.limits:
        lines += [
            "",
            "[[limits]]  # in seconds, of runs of up to so many",
            f"run = {longest}",
            f"limits = {list(kept)}",
        ]
    return "\n".join(lines) + "\n"


def read_model(path: Path) -> Program:
    """The program of a file. Raises BadInput, with the name of what is wrong."""
    given, where = load(path), str(path)
    known(given, MODEL, where)
    sizes = given.get("sizes")
    if not isinstance(sizes, list) or any(not isinstance(pair, list) or len(pair) != 2 for pair in sizes):
        raise BadInput(f"{where}: sizes are pairs of GPUs and a share, [[1, 0.7], [8, 0.3]]")
    pairs = [{"GPUs": size, "share": share} for size, share in sizes]
    return Program(
        text(given, "name", where),
        number(given, "gpu_hours_a_day", where),
        tuple((whole(pair, "GPUs", f"{where}: sizes"), number(pair, "share", f"{where}: sizes")) for pair in pairs),
        tuple(_lengths(its, f"{where}: lengths {place}") for place, its in enumerate(tables(given, "lengths"), 1)),
        number(given, "growth", where, 0.0),
        tuple(numbers(given, "asked", where, [])),
        tuple(numbers(given, "hours", where, [1.0] * 24)),
        tuple(numbers(given, "weekdays", where, [1.0] * 7)),
        number(given, "bursts", where, 0.0),
        text(given, "source", where, ""),
        tuple(_limits(its, f"{where}: limits {place}") for place, its in enumerate(tables(given, "limits"), 1)),
    )


def _lengths(given: Mapping[str, Any], where: str) -> tuple[int, Lengths | Measured]:
    if isinstance(given, dict) and "runs" in given:
        known(given, MEASURED, where)
        return whole(given, "gpus", where), Measured(tuple(wholes(given, "runs", where)))
    known(given, LOGNORMAL, where)
    mean, median = number(given, "mean", where), number(given, "median", where)
    longest = whole(given, "longest", where)
    if not 0 < median <= mean or longest < 1:
        raise BadInput(f"{where}: the median is above 0 and at most the mean, the longest is at least 1 s")
    return whole(given, "gpus", where), Lengths(mean, median, longest)


def _limits(given: Mapping[str, Any], where: str) -> tuple[int, tuple[int, ...]]:
    known(given, LIMITS, where)
    return whole(given, "run", where), tuple(wholes(given, "limits", where))
