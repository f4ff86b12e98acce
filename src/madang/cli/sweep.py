"""A sweep of the twin, on this machine or as an array job on the site's own cluster."""

from __future__ import annotations

import json as jsonlib
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import uuid4

import typer

from madang.cli.compute import _grant, _offer, _upload, seconds, site
from madang.cli.show import USAGE, Doing, answers, as_json, fail, say, table
from madang.cli.twin import (
    Days,
    Encoding,
    Json,
    Map,
    Seed,
    TraceOrModel,
    clear,
    model_options_apply,
    read_or_made,
    replaced,
)
from madang.client import Client, Problem

if TYPE_CHECKING:
    from madang.twin import Trace
    from madang.twin.sweep import Sweep

POLL_S = 2.0
SCRIPT = '#!/bin/sh\nexec python3 {pack} {spec} . "$RUN"\n'


@answers
@clear
def sweep(
    trace: TraceOrModel,
    into: Annotated[Path, typer.Option(file_okay=False, help="A folder for the runs; what is in it is kept.")],
    gpus: Annotated[str, typer.Option(help="Machines, 100,200,400.")],
    policy: Annotated[str, typer.Option(help="Policies, fcfs,sjf,easy,conservative,slurm.")] = "easy",
    nodes_of: Annotated[int, typer.Option(min=0, max=1024, help="GPUs a node; 0 is one pool.")] = 0,
    place: Annotated[
        Literal["pack", "spread"], typer.Option(help="Which node a job of at most one node gets.")
    ] = "pack",
    shaken: Annotated[int, typer.Option(min=0, max=1000, help="Runs of each with submits up to a minute later.")] = 0,
    processes: Annotated[int, typer.Option(min=1, max=256, help="Processor cores to use; the answer is the same.")] = 1,
    engine: Annotated[
        bool, typer.Option("--engine", help="As one array job on the site's cluster, charged like any job.")
    ] = False,
    allocation: Annotated[int | None, typer.Option(help="With --engine: which allocation is charged.")] = None,
    limit: Annotated[str, typer.Option("--time", help="With --engine: the time limit of a run.")] = "01:00:00",
    days: Days = None,
    seed: Seed = None,
    columns: Map = "",
    encoding: Encoding = "utf-8",
    json: Json = False,
) -> None:
    """Replay a trace on several machines under several policies, each as recorded and with shaken submits.

    Each run is a file in the folder. What is there isn't computed again, so a sweep that broke off goes on. The jobs of
    a model are made for the largest machine, and kept there, too.
    """
    from dataclasses import replace

    from madang.twin import BadInput, parse_map
    from madang.twin.modelfile import is_model
    from madang.twin.sweep import Sweep, merge, run

    if not trace.is_file():
        raise BadInput(f"{trace}: there is no such file")
    try:
        machines = tuple(int(part) for part in gpus.split(","))
    except ValueError:
        raise BadInput(f"--gpus {gpus!r}: whole numbers with commas between, like 100,200") from None
    model_options_apply(trace, days, seed)
    wanted = Sweep(
        str(trace.resolve()), machines, tuple(policy.split(",")), nodes_of, place, shaken, parse_map(columns), encoding
    )
    into.mkdir(parents=True, exist_ok=True)
    if is_model(trace):
        trace = _made(read_or_made(trace, max(machines), columns, encoding, days, seed), into)
        wanted = replace(wanted, trace=str(trace.resolve()))
    with Doing() as doing:
        if engine:
            _on_the_cluster(wanted, trace, into, allocation, seconds(limit), doing)
        else:
            run(wanted, into, processes=processes, told=lambda done, total: doing(f"{done} of {total} runs"))
    found = merge(wanted, into)
    if json:
        as_json(found)
        return
    rows = []
    for point in found["points"]:
        wide = point.get("mean_wait_band")
        width = f"{wide['low']:,.0f} to {wide['high']:,.0f}" if wide else ""
        waits = [f"{point['wait'][name]:,.0f}" for name in ("mean", "p95")]
        rows.append([f"{point['gpus']:,}", point["policy"], *waits, width, f"{point['utilization']:.1%}"])
        if point["left_out"]:
            say(f"{point['gpus']:,} GPUs: {point['left_out']:,} jobs ask for more, and are left out", "yellow")
    table(["GPUs", "policy", "mean wait in s", "p95", "shaken, 95%", "utilization"], rows)


def _made(jobs: Trace, into: Path) -> Path:
    """The jobs of a model as a trace, in a file whose name goes by what is in it: other jobs are another sweep."""
    from hashlib import sha256

    columns = (jobs.submit, jobs.run, jobs.gpus, jobs.limit)
    rows = (f"{jobs.offset + submit},{run},{gpus},{limit}\n" for submit, run, gpus, limit in zip(*columns, strict=True))
    text = "submit,run,gpus,limit\n" + "".join(rows)
    path = into / f"jobs-{sha256(text.encode()).hexdigest()[:12]}.csv"
    if not path.exists():
        replaced(path, lambda to: to.write(text))
    for note in jobs.notes:
        say(note, "dim")
    return path


def _on_the_cluster(wanted: Sweep, trace: Path, into: Path, allocation: int | None, limit_s: int, doing: Doing) -> None:
    """One array job of the runs that have no file yet. Its uuid is kept before it is asked for, so whoever asks again
    after a broken line follows the same job."""
    from madang.twin.sweep import file_of, left

    ticket = into / "job.json"
    todo = left(wanted, into)
    with site() as client:
        if not ticket.exists():
            if not todo:
                return
            ticket.write_text(jsonlib.dumps({"uuid": str(uuid4()), "runs": todo}), encoding="utf-8")
        kept = jsonlib.loads(ticket.read_text(encoding="utf-8"))
        job = _submitted(client, kept["uuid"])
        if job is None:
            offer = _offer(client, allocation, None, 1)
            job = _submit(client, wanted, trace, kept, offer, limit_s)
        while job["state"] != "ended":
            doing(f"{len(kept['runs']):,} runs on {job['gpu_type']}: {job['state']}")
            time.sleep(POLL_S)
            job = client.get(f"/compute/jobs/{kept['uuid']}")
        missing = []
        for place, number in enumerate(kept["runs"]):
            target = file_of(into, number)
            try:
                for _size in client.cp(kept["uuid"], target.name, target, task=place):
                    pass
            except Problem as problem:
                if problem.status != 404:
                    raise
                missing.append(place)
        ticket.unlink()
        for entry in client.project_files():
            if entry["path"].startswith(_prefix(kept["uuid"])):
                client.delete(f"/compute/project-files/{entry['id']}")
    if missing:
        fail(f"{len(missing):,} of its runs left no file: `madang logs {kept['uuid'][:8]} --task {missing[0]}`", USAGE)


def _submitted(client: Client, uuid: str) -> dict[str, Any] | None:
    try:
        return dict(client.get(f"/compute/jobs/{uuid}"))
    except Problem as problem:
        if problem.status != 404:
            raise
        return None


def _prefix(uuid: str) -> str:
    return f"sweep-{uuid[:8]}-"


def _submit(
    client: Client, wanted: Sweep, trace: Path, kept: dict[str, Any], offer: dict[str, Any], limit_s: int
) -> dict[str, Any]:
    from dataclasses import replace
    from uuid import UUID

    from madang.twin.sweep import packed

    prefix = _prefix(kept["uuid"])
    names = {"pack": f"{prefix}twin.pyz", "spec": f"{prefix}sweep.json", "trace": f"{prefix}{trace.name}"}
    with TemporaryDirectory() as folder:
        pack, spec = Path(folder, "twin.pyz"), Path(folder, "sweep.json")
        packed(pack)
        spec.write_text(replace(wanted, trace=names["trace"]).to_json(), encoding="utf-8")
        for name, source in zip(names.values(), (pack, spec, trace), strict=True):
            _upload(client, source, offer["grant"] or _grant(client), name)
    return client.submit(
        uuid=UUID(kept["uuid"]),
        allocation=offer["allocation"],
        name=f"sweep of {trace.name}"[:80],
        script=SCRIPT.format(**names),
        limit_s=limit_s,
        parameters="RUN\n" + "".join(f"{number}\n" for number in kept["runs"]),
        files=list(names.values()),
    )


def register(twin: typer.Typer) -> None:
    twin.command()(sweep)
