"""Maintenance of nodes as reservations of Slurm, `madang_<key>`: observed, compared, changed, and observed again.

A reservation is ours by its name and by being for maintenance and root's: what people made themselves is neither read
nor touched, also where it begins with our word.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from madang.engines.base import Diff, Maintenance
from madang.engines.slurm.answers import instant, moment
from madang.engines.slurm.commands import Commands

OURS = re.compile(r"madang_([A-Za-z0-9][A-Za-z0-9._-]{0,63})")
SHOW = ("scontrol", "-o", "show", "reservation")


@dataclass(frozen=True)
class Seen:
    """A reservation of ours, as Slurm has it; times in seconds since 1970."""

    start: int
    end: int
    partition: str
    nodes: frozenset[str]
    whole: bool  # all nodes of the cluster


def maintain(commands: Commands, wanted: Sequence[Maintenance]) -> Diff:
    """One question where all is as wanted; else a command for each that differs, and the question again."""
    for window in wanted:
        window.check()
    by_key = {window.key: window for window in wanted}
    now, seen = _now(), observe(commands)
    missing = sorted(by_key.keys() - seen.keys())
    changed = sorted(key for key in by_key.keys() & seen.keys() if not _same(by_key[key], seen[key], now))
    extra = sorted(seen.keys() - by_key.keys())
    refused = ""
    for key in extra:
        refused = _delete(commands, key) or refused
    for key in changed:
        refused = _change(commands, by_key[key], seen[key], now) or refused
    for key in missing:
        refused = _create(commands, by_key[key], now) or refused
    if missing or changed or extra:
        now, seen = _now(), observe(commands)
    done = seen.keys() == by_key.keys() and all(_same(by_key[key], seen[key], now) for key in seen)
    held = "" if done else refused or "the reservations are not as wanted"
    return Diff(tuple(missing), tuple(changed), tuple(extra), applied=done, held=held)


def observe(commands: Commands) -> dict[str, Seen]:
    """Our reservations by their keys."""
    found = {}
    for line in commands.read(*SHOW).splitlines():
        words = [word.split("=", 1) for word in line.split() if "=" in word]
        fields = dict(reversed(words))  # the first of a name: newer releases end with a comment
        flags = set(fields.get("Flags", "").split(","))
        name = OURS.fullmatch(fields.get("ReservationName", ""))
        if name and "MAINT" in flags and fields.get("Users") == "root":
            found[name[1]] = Seen(
                start=instant(fields.get("StartTime", "")) or 0,
                end=instant(fields.get("EndTime", "")) or 0,
                partition=fields.get("PartitionName", "") if "PART_NODES" in flags else "",
                nodes=frozenset(names(fields.get("Nodes", ""))),
                whole="ALL_NODES" in flags,
            )
    return found


def names(hosts: str) -> Iterator[str]:
    """The nodes of "h100-[1-2,05],a100-1" as Slurm writes a list of them."""
    for word in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", hosts):
        parts = re.split(r"\[([^\]]*)\]", word)  # every second one is what was in brackets
        choices = [list(_numbers(part)) if at % 2 else [part] for at, part in enumerate(parts)]
        yield from map("".join, product(*choices))


def _numbers(ranges: str) -> Iterator[str]:
    for part in ranges.split(","):
        low, _dash, high = part.partition("-")
        if low.isdigit() and high.isdigit():
            yield from (f"{n:0{len(low)}}" for n in range(int(low), int(high) + 1))
        else:
            yield part


def _same(window: Maintenance, seen: Seen, now: int) -> bool:
    """A start that is over is no longer to be changed, and needn't be."""
    begins = int(window.starts_at.timestamp())
    started = begins == seen.start or max(begins, seen.start) <= now
    return started and int(window.ends_at.timestamp()) == seen.end and _place(window) == _place_of(seen)


def _place(window: Maintenance) -> object:
    return window.partition or frozenset(window.nodes) or True


def _place_of(seen: Seen) -> object:
    return True if seen.whole else seen.partition or seen.nodes


def _create(commands: Commands, window: Maintenance, now: int) -> str:
    """What Slurm says against it; nothing where it did it."""
    flags, place = "MAINT,IGNORE_JOBS", ["Nodes=ALL"]
    if window.partition:
        flags, place = f"{flags},PART_NODES", [f"PartitionName={window.partition}", "Nodes=ALL"]
    elif window.nodes:
        place = [f"Nodes={','.join(sorted(window.nodes))}"]
    return commands.write(
        *("scontrol", "create", "reservation", f"ReservationName=madang_{window.key}", *_times(window, now)),
        *(*place, f"Flags={flags}", "Users=root"),
    )


def _change(commands: Commands, window: Maintenance, seen: Seen, now: int) -> str:
    begun = seen.start <= now
    if _place(window) != _place_of(seen) or (begun and window.starts_at.timestamp() > now):
        return _delete(commands, window.key) or _create(commands, window, now)
    times = _times(window, now)[begun:]  # Slurm refuses any start of one that has begun
    return commands.write("scontrol", "update", f"ReservationName=madang_{window.key}", *times)


def _delete(commands: Commands, key: str) -> str:
    return commands.write("scontrol", "delete", f"ReservationName=madang_{key}")


def _times(window: Maintenance, now: int) -> list[str]:
    """As scontrol reads them: the time zone is ours to say, and what is over is no start."""
    begins = int(window.starts_at.timestamp())
    return [f"StartTime={'now' if begins <= now else _at(begins)}", f"EndTime={_at(int(window.ends_at.timestamp()))}"]


def _at(seconds: int) -> str:
    return moment(seconds).strftime("%Y-%m-%dT%H:%M:%S")


def _now() -> int:
    return int(time.time())
