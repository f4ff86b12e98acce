"""A sweep: one trace on several machines under several policies, as recorded and with shaken submits.

A task is one of these runs. It depends on nothing else and writes one file, by rename; a file that is there isn't
computed again. So tasks run in any order, on any number of processes or computers, and merge to the same answer:

    python -m madang.twin.sweep SWEEP.json FOLDER NUMBER

runs one, with nothing but the standard library. `packed` writes this room as a file that Python runs by itself.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from madang.twin.cluster import Machine, Rule
from madang.twin.errors import BadInput
from madang.twin.formats import read
from madang.twin.measure import measure
from madang.twin.policies import ALONE, ONE_POOL, simulate
from madang.twin.processes import on_processes
from madang.twin.sure import band, shaken
from madang.twin.trace import Trace

MOST_TASKS = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Sweep:
    """`trace` is a path as the tasks see it; `shaken` runs of each point come after the one as recorded."""

    trace: str
    gpus: tuple[int, ...]
    policies: tuple[str, ...] = ("easy",)
    nodes_of: int = 0
    place: Rule = "pack"
    shaken: int = 0
    columns: dict[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        if not self.gpus or not self.policies or self.shaken < 0:
            raise BadInput("a sweep is over at least one machine and one policy")
        for policy in self.policies:
            if policy not in ALONE:
                raise BadInput(f"a sweep is over {', '.join(ALONE)}, and not {policy!r}")
            if self.nodes_of and policy in ONE_POOL:
                raise BadInput(f"{policy} is defined on a pool: leave --nodes-of out")
        for gpus in self.gpus:
            Machine(gpus, self.nodes_of, self.place)
        if len(set(self.gpus)) < len(self.gpus) or len(set(self.policies)) < len(self.policies):
            raise BadInput("each machine and each policy once")
        if len(self.tasks) > MOST_TASKS:
            raise BadInput(f"{len(self.tasks):,} runs are more than {MOST_TASKS:,}: take fewer")

    @property
    def tasks(self) -> list[tuple[int, str, int]]:
        """(GPUs, policy, run): run 0 is as recorded."""
        return list(product(self.gpus, self.policies, range(self.shaken + 1)))

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Sweep:
        given = json.loads(text)
        return cls(**{**given, "gpus": tuple(given["gpus"]), "policies": tuple(given["policies"])})


def file_of(folder: Path, number: int) -> Path:
    return folder / f"task-{number:05}.json"


def compute(sweep: Sweep, number: int, traces: dict[int, Trace] | None = None) -> dict[str, Any]:
    """What came of one task. `traces` keeps, by GPUs, what was read for others."""
    gpus, policy, run = sweep.tasks[number]
    traces = {} if traces is None else traces
    if gpus not in traces:
        traces[gpus] = read(Path(sweep.trace), gpus=gpus, columns=sweep.columns, encoding=sweep.encoding)
    trace = traces[gpus]
    if run:
        (trace,) = shaken(trace, 1, seed=run)
    found = simulate(trace, Machine(gpus, sweep.nodes_of, sweep.place), policy)
    its = measure(trace, found.starts, gpus)
    return {
        "task": number,
        "gpus": gpus,
        "policy": policy,
        "run": run,
        "jobs": its.jobs,
        "left_out": traces[gpus].changes.get("too large", 0),
        "wait": {name: getattr(its.wait, name) for name in ("mean", "p50", "p95", "max")},
        "wait_by_size": {
            size: {"jobs": of.jobs, "mean": of.mean, "p95": of.p95} for size, of in its.wait_by_size.items()
        },
        "bounded_slowdown": its.bounded_slowdown,
        "utilization": its.utilization,
    }


def do(sweep: Sweep, folder: Path, number: int, traces: dict[int, Trace] | None = None) -> None:
    """Compute a task and write its file, unless that is there."""
    path = file_of(folder, number)
    if not path.exists():
        text = json.dumps(compute(sweep, number, traces), sort_keys=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)


def left(sweep: Sweep, folder: Path) -> list[int]:
    """The tasks that have no file in the folder, which is this sweep's from now on. Raises BadInput if another's."""
    kept = folder / "sweep.json"
    if kept.exists() and kept.read_text(encoding="utf-8") != sweep.to_json():
        raise BadInput(f"{folder} holds another sweep: name a new folder")
    kept.write_text(sweep.to_json(), encoding="utf-8")
    return [number for number in range(len(sweep.tasks)) if not file_of(folder, number).exists()]


def run(
    sweep: Sweep, folder: Path, *, processes: int = 1, told: Callable[[int, int], object] = lambda done, total: None
) -> None:
    """All tasks that have no file yet. Raises BadInput."""
    todo = left(sweep, folder)
    done = len(sweep.tasks) - len(todo)
    told(done, len(sweep.tasks))
    calls = [(sweep, folder, number) for number in todo]
    for number in on_processes(_one, calls, processes) if processes > 1 else (_one(*call) for call in calls):
        done += number is not None
        told(done, len(sweep.tasks))
    _traces.clear()


_traces: dict[str, dict[int, Trace]] = {}  # of this process, by sweep: several tasks read the same


def _one(sweep: Sweep, folder: Path, number: int) -> int:
    do(sweep, folder, number, _traces.setdefault(sweep.to_json(), {}))
    return number


def merge(sweep: Sweep, folder: Path) -> dict[str, Any]:
    """One point for each machine and policy: as recorded, with the band of the shaken runs. Raises BadInput."""
    found = []
    for number in range(len(sweep.tasks)):
        try:
            found.append(json.loads(file_of(folder, number).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            gpus, policy, run = sweep.tasks[number]
            name = file_of(folder, number).name
            raise BadInput(
                f"run {run} of {policy} on {gpus:,} GPUs is missing ({name}): ask again, and only that is computed"
            ) from None
    points = []
    for gpus, policy in product(sweep.gpus, sweep.policies):
        recorded, *others = [one for one in found if (one["gpus"], one["policy"]) == (gpus, policy)]
        point = {name: value for name, value in recorded.items() if name not in ("task", "run")}
        if others:
            made = band([one["wait"]["mean"] for one in others], "shaken submits", LEVEL)
            point["mean_wait_band"] = {"low": made.low, "high": made.high, "sd": made.sd, "runs": made.runs}
        points.append(point)
    return {"trace": Path(sweep.trace).name, "points": points}


def packed(path: Path) -> None:
    """Write this room, without its tests, as a file for `python3 FILE SWEEP.json FOLDER NUMBER`."""
    room = Path(__file__).parent
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", "from madang.twin.sweep import main\n\nmain()\n")
        archive.writestr("madang/__init__.py", "")
        for source in sorted(room.glob("*.py")):
            archive.write(source, f"madang/twin/{source.name}")


def main() -> None:
    """One task, as an array job calls it."""
    spec, folder, number = sys.argv[1:]
    try:
        do(Sweep.from_json(Path(spec).read_text(encoding="utf-8")), Path(folder), int(number))
    except BadInput as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
