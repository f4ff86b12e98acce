"""A site as a file (TOML): its nodes, what befalls them, its grants, and how long people wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from madang.twin.errors import BadInput
from madang.twin.formats import NAMES
from madang.twin.given import known, load, number, sourced, tables, text, whole
from madang.twin.plain import NEVER
from madang.twin.world import HOUR_S, Down, Failures, Grant, Part, Patience, World

SITE = {
    "by",
    "grants_by",
    "checkpoint_seconds",
    "restart_seconds",
    "part",
    "delivery",
    "maintenance",
    "removal",
    "failures",
    "patience",
    "grant",
}
PART = {"name", "nodes", "nodes_of", "place", "leaf", "switch_wait_seconds", "across_percent"}
SPAN = {"part", "nodes", "from", "until"}
GRANT = {"name", "from", "until", "gpu_hours", "gpus_at_once", "longest_hours", "largest_gpus"}
FAILURES = {"node_hours", "repair_hours", "repair_sigma", "source"}
PATIENCE = {"median_hours", "sigma", "again", "after_hours", "source"}


def read_world(path: Path, offset: int) -> World:
    """`offset` is the trace's first submit, in seconds since 1970. Raises BadInput, naming what is wrong."""
    given = load(path)
    known(given, SITE, "the site")
    parts = {}
    for place, its in enumerate(tables(given, "part"), 1):
        where = f"part {place}"
        known(its, PART, where)
        name = text(its, "name", where)
        if name in parts:
            raise BadInput(f"{where}: another one is called {name!r}, too")
        parts[name] = _part(its, where)
    if not parts:
        raise BadInput("the site has no GPUs: write a [[part]]")
    names, downs = list(parts), []
    for kind in ("delivery", "maintenance", "removal"):
        for place, its in enumerate(tables(given, kind), 1):
            if down := _down(kind, its, f"{kind} {place}", names, offset):
                downs.append(down)
    return World(
        parts,
        by=_column(given, "by", "gpu_type"),
        downs=tuple(downs),
        grants=_grants(given, offset),
        grants_by=_column(given, "grants_by", "account"),
        failures=failures_of(given.get("failures")),
        patience=patience_of(given.get("patience")),
        checkpoint_s=whole(given, "checkpoint_seconds", "the site", 0),
        restart_s=whole(given, "restart_seconds", "the site", 0),
    )


def _part(its: Mapping[str, Any], where: str) -> Part:
    place = text(its, "place", where, "pack")
    if place not in ("pack", "spread"):
        raise BadInput(f"{where}: place is pack or spread")
    return Part(
        nodes=whole(its, "nodes", where),
        nodes_of=whole(its, "nodes_of", where, 8),
        place="pack" if place == "pack" else "spread",
        leaf=whole(its, "leaf", where, 0),
        switch_wait_s=whole(its, "switch_wait_seconds", where, 300),
        across_percent=whole(its, "across_percent", where, 0),
    )


def _down(kind: str, its: Any, where: str, parts: Sequence[str], offset: int) -> Down | None:
    """None where it is all over before the first submit."""
    known(its, SPAN - {"until"} if kind != "maintenance" else SPAN, where)
    name = text(its, "part", where, parts[0])
    if name not in parts:
        raise BadInput(f"{where}: no part is called {name!r}: {', '.join(parts)}")
    nodes = its.get("nodes")
    if not isinstance(nodes, list) or [type(node) for node in nodes] != [int, int] or not 0 <= nodes[0] <= nodes[1]:
        raise BadInput(f"{where}: nodes are the first and the last of them, counted from 0: [8, 11]")
    begin = _instant(its, "from", where, offset)
    end = _instant(its, "until", where, offset) if kind == "maintenance" else NEVER
    if kind == "delivery":
        begin, end = 0, begin
    if end <= max(begin, 0):
        if kind == "maintenance" and end <= begin:
            raise BadInput(f"{where}: it ends after it begins")
        return None
    return Down(parts.index(name), nodes[0], nodes[1] - nodes[0] + 1, max(begin, 0), end, kind != "delivery")


def _grants(given: Mapping[str, Any], offset: int) -> dict[str, Grant]:
    grants: dict[str, Grant] = {}
    for place, its in enumerate(tables(given, "grant"), 1):
        where = f"grant {place}"
        known(its, GRANT, where)
        name = text(its, "name", where)
        if name in grants:
            raise BadInput(f"{where}: another one is called {name!r}, too")

        def most(key: str, seconds: int = 1, its: Any = its, where: str = where) -> int | None:
            return whole(its, key, where) * seconds if key in its else None

        grants[name] = Grant(
            begin=max(0, _instant(its, "from", where, offset)) if "from" in its else 0,
            end=_instant(its, "until", where, offset) if "until" in its else NEVER,
            gpu_seconds=most("gpu_hours", HOUR_S),
            gpus_at_once=most("gpus_at_once"),
            longest_s=most("longest_hours", HOUR_S),
            largest=most("largest_gpus"),
        )
    return grants


def failures_of(its: Any) -> Failures | None:
    if its is None:
        return None
    known(its, FAILURES, "failures")
    return Failures(
        number(its, "node_hours", "failures"),
        number(its, "repair_hours", "failures"),
        number(its, "repair_sigma", "failures", 0.0),
        sourced(its, "failures"),
    )


def patience_of(its: Any) -> Patience | None:
    if its is None:
        return None
    known(its, PATIENCE, "patience")
    return Patience(
        number(its, "median_hours", "patience"),
        number(its, "sigma", "patience", 1.0),
        number(its, "again", "patience", 0.0),
        number(its, "after_hours", "patience", 1.0),
        sourced(its, "patience"),
    )


def _column(given: Mapping[str, Any], name: str, default: str) -> str:
    column = text(given, name, "the site", default)
    if column not in NAMES:
        raise BadInput(f"{name}: {column!r} is none of {', '.join(NAMES)}")
    return column


def _instant(its: Mapping[str, Any], name: str, where: str, offset: int) -> int:
    """Seconds from the first submit; a date stands on the trace's own clock."""
    value = its.get(name)
    if isinstance(value, datetime) and value.tzinfo:
        return int(value.timestamp()) - offset
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < NEVER:
        return value
    raise BadInput(
        f"{where}: {name} is a moment with its zone like 2027-07-01T09:00:00+09:00, or seconds from the first submit"
    )
