"""Jobs from the command line: submit, watch, read, fetch, cancel."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID, uuid5

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from typer.core import TyperCommand

from madang.cli import complete
from madang.cli.settings import kept
from madang.cli.show import JOB_FAILED, MISSING, REFUSED, USAGE, answers, as_json, err, fail, out, plain, say, table
from madang.client import Client, Problem

ARGUMENTS = "madang.arguments"
MOST_SCRIPTS = 1000
MOST_SCRIPT_BYTES = 1_000_000  # more than any site takes; what is larger is no script
LIMIT = re.compile(
    r"(?:(?P<days>\d{1,3})-)?(?P<hours>\d{1,4})(?::(?P<minutes>[0-5]\d)(?::(?P<seconds>[0-5]\d))?)?", re.ASCII
)
HOURS_OR_MINUTES = re.compile(r"\d{1,4}:[0-5]\d", re.ASCII)
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
Task = Annotated[int, typer.Option("--task", min=0, max=9999, help="Which of its tasks.")]
Tasks = Annotated[int, typer.Option(min=1, max=10_000, help="How many tasks, each with its own GPUs and limit.")]
Table = Annotated[
    Path | None,
    typer.Option("--sweep", exists=True, dir_okay=False, help="A table in CSV: one task for each row, as environment."),
]
Files = Annotated[
    list[Path] | None,
    typer.Option("--file", exists=True, dir_okay=False, readable=True, help="A file to keep and to give to the job."),
]
Grant = Annotated[
    str | None, typer.Option(help="The number of the grant, where you have several.", autocompletion=complete.grants)
]
OfAll = Annotated[bool, typer.Option("--site", help="Of all organizations, for operators.")]
JobId = Annotated[str, typer.Argument(help="The uuid of the job, or the start of it.", autocompletion=complete.jobs)]
LiveJobId = Annotated[
    str, typer.Argument(help="The uuid of the job, or the start of it.", autocompletion=complete.live_jobs)
]
Allocation = Annotated[
    int | None, typer.Option(help="Which allocation is charged.", autocompletion=complete.allocations)
]
Partition = Annotated[str | None, typer.Option(help="Which partition.", autocompletion=complete.partitions)]


class WithArguments(TyperCommand):
    """A command whose words after -- are for the script."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = args[: args.index("--")] if "--" in args else args
        ctx.meta[ARGUMENTS] = args[len(own) + 1 :]
        return super().parse_args(ctx, own)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENTS...]"]


@contextmanager
def site() -> Iterator[Client]:
    """A connection with the token that is kept, or that the environment names."""
    login = kept()
    with Client(login.url, login.token) as client:
        yield client


def seconds(written: str) -> int:
    """A time limit as Slurm writes it, in seconds: "30" (minutes), "01:30:00", "1-12" (days-hours), "2-12:00:00".

    Slurm reads "1:00" as one minute, most people as one hour: it is refused, as one of them would be wrong.

    >>> seconds("00:10:00"), seconds("30"), seconds("1-12"), seconds("1-12:30")
    (600, 1800, 129600, 131400)
    """
    if re.fullmatch(r"[0-9]{1,6}", written):
        return int(written) * 60
    if HOURS_OR_MINUTES.fullmatch(written):
        raise typer.BadParameter(f"{written} may mean hours or minutes: write {written}:00, or 00:{written:0>5}")
    found = LIMIT.fullmatch(written)
    if not found:
        raise typer.BadParameter("write minutes (30), hours:minutes:seconds (01:30:00) or days-hours:minutes (2-12:00)")
    parts = {name: int(value or 0) for name, value in found.groupdict().items()}
    return parts["days"] * 86400 + parts["hours"] * 3600 + parts["minutes"] * 60 + parts["seconds"]


def hours(gpu_seconds: int) -> str:
    return f"{gpu_seconds / 3600:,.2f}"


def here(instant: str) -> str:
    """An instant of the API in the time of this machine, which is said: "2026-11-24 03:12 +09:00"."""
    found = datetime.fromisoformat(instant).astimezone()
    return f"{found:%Y-%m-%d %H:%M} {found.isoformat()[-6:]}"


def kind_of(row: dict[str, Any]) -> str:
    """The type of GPU, and the partition where that has a name of its own: several may have GPUs of a type."""
    kind, partition = row["gpu_type"], row["partition"]
    return str(kind) if partition == kind else f"{kind} ({partition})"


def _job(client: Client, asked: str, *, of_all: bool = False) -> dict[str, Any]:
    """The job with this uuid, or the only recent one that begins with it: of one's organization, or `of_all`."""
    address = "/compute/site-jobs" if of_all else "/compute/jobs"
    try:
        return dict(client.get(f"{address}/{UUID(asked)}"))
    except ValueError:
        pass
    if not re.fullmatch(r"[0-9a-f-]{4,36}", asked):
        fail("name a job by its uuid, or by at least four signs of the start of it", USAGE)
    found = [job for job in client.get(address, limit=100)["items"] if job["uuid"].startswith(asked)]
    if len(found) != 1:
        fail(f"{len(found)} of the newest jobs begin with {asked}", MISSING)
    return dict(found[0])


def _offer(client: Client, allocation: int | None, partition: str | None, gpus: int) -> dict[str, Any]:
    """The allocation to charge: the named one, else the only one that fits."""
    offers = client.balance()
    named = [
        o
        for o in offers
        if (allocation is None or o["allocation"] == allocation)
        and (partition is None or partition in (o["partition"], o["resource"]))
    ]
    fitting = [o for o in named if o["most_gpus"] >= gpus]
    if len(fitting) == 1:
        return dict(fitting[0])
    if not fitting and named:
        most = max(o["most_gpus"] for o in named)
        fail(f"one job has at most {most} GPUs there, and {gpus} were asked for", REFUSED)
    if not fitting:
        fail("no allocation of yours fits: `madang balance` shows what you hold", REFUSED)
    names = ", ".join(f"--allocation {o['allocation']} ({o['name']}, {o['partition']}, {o['grant']})" for o in fitting)
    fail(f"several allocations fit, choose one: {names}", USAGE)


def _script(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MOST_SCRIPT_BYTES + 1)
    if len(content) > MOST_SCRIPT_BYTES:
        fail(f"{path} is too large for a script", USAGE)
    try:
        return content.decode()
    except UnicodeDecodeError:
        fail(f"{path} isn't a text in UTF-8", USAGE)


@answers
def submit(
    ctx: typer.Context,
    scripts: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, readable=True, help="What to run, a job for each.")
    ],
    gpus: Annotated[int, typer.Option(min=1, max=1024, help="How many GPUs.")] = 1,
    limit: Annotated[str, typer.Option("--time", help="Time limit: minutes, HH:MM:SS, D-HH or D-HH:MM.")] = "01:00:00",
    name: Annotated[str | None, typer.Option(help="The name of the job; the script's where none is given.")] = None,
    allocation: Allocation = None,
    partition: Partition = None,
    uuid: Annotated[UUID | None, typer.Option(help="Your own uuid: submitting it again is the same job.")] = None,
    tasks: Tasks = 1,
    parallel: Annotated[int, typer.Option(min=0, max=10_000, help="Tasks at once; 0: as many as fit.")] = 0,
    sweep: Table = None,
    file: Files = None,
    use: Annotated[list[str] | None, typer.Option("--use", help="A file that the project keeps already.")] = None,
    requeue: Annotated[
        bool, typer.Option("--requeue", help="Start again when its node fails or it is preempted.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the log, of the first task where there are several, until all ends.")
    ] = False,
    json: Json = False,
) -> None:
    """Submit a job, or one for each of several scripts: all of them or none. Prints its uuid, or theirs in this order.

    What follows -- is what the script is called with.
    """
    texts, limit_s, arguments = [_script(script) for script in scripts], seconds(limit), list(ctx.meta[ARGUMENTS])
    alone: dict[str, object] = {"--tasks": tasks > 1, "--parallel": parallel, "--sweep": sweep, "--file": file}
    alone |= {"--use": use, "--wait": wait, "--name": name}
    if len(scripts) > 1 and (odd := ", ".join(option for option, given in alone.items() if given)):
        fail(f"{odd}: only with one script", USAGE)
    with site() as client:
        offer = _offer(client, allocation, partition, gpus)
        shape = {"allocation": offer["allocation"], "arguments": arguments, "gpus": gpus, "limit_s": limit_s}
        shape |= {"requeue": requeue}
        if len(scripts) > 1:
            _submit_each(client, offer, scripts, texts, shape, uuid, json=json)
            return
        names = [*(use or []), *(_upload(client, path, offer["grant"], path.name) for path in file or [])]
        job = client.submit(
            uuid=uuid,
            name=name or scripts[0].name,
            script=texts[0],
            tasks=tasks,
            parallel=parallel,
            parameters=_script(sweep) if sweep else "",
            files=names,
            **shape,
        )
        if wait:
            job = _ended(client, _follow(client, job, quiet=json), quiet=json)
        if json:
            as_json(job)
        elif not wait:
            out.print(plain(job["uuid"]))
            many = f"{job['tasks']:,} tasks of " if job["tasks"] > 1 else ""
            say(
                f"{many}{job['gpus']} × {kind_of(job)} for up to {limit_s // 60} min: "
                f"{hours(job['held'])} GPU-hours held, {hours(_left(client, offer))} left. "
                + (
                    f"It has ended: {job['outcome']}."
                    if job["outcome"]
                    else f"`madang logs -f {job['uuid'][:8]}` follows it."
                )
            )
        _leave(job, waited=wait)


def _submit_each(
    client: Client,
    offer: dict[str, Any],
    scripts: list[Path],
    texts: list[str],
    shape: dict[str, Any],
    uuid: UUID | None,
    *,
    json: bool,
) -> None:
    """In one request. With a `uuid` each has one that follows from it and from its place, so that asking again is the
    same jobs."""
    if len(scripts) > MOST_SCRIPTS:
        fail(f"at most {MOST_SCRIPTS:,} scripts at once", USAGE)
    named = ({"uuid": str(uuid5(uuid, str(place)))} if uuid else {} for place in range(len(scripts)))
    asked = [{"name": path.name, "script": text, **own} for path, text, own in zip(scripts, texts, named, strict=True)]
    made = client.submit_each(scripts=asked, **shape)
    if json:
        as_json(made)
        return
    out.print(plain("\n".join(job["uuid"] for job in made)))
    held = sum(job["held"] for job in made)
    say(
        f"{len(made):,} jobs of {shape['gpus']} × {kind_of(offer)} for up to {shape['limit_s'] // 60} min: "
        f"{hours(held)} GPU-hours held, {hours(_left(client, offer))} left. `madang jobs --live` shows them."
    )


def _left(client: Client, offer: dict[str, Any]) -> int:
    """What is left of an allocation now. Asked after the submission: a job of that uuid may have been there before."""
    return int(next((o["left"] for o in client.balance() if o["allocation"] == offer["allocation"]), 0))


def _expected(found: dict[str, Any]) -> str:
    said = found["expected"]
    if not said:
        return ""
    low, middle, high = (f"{seconds / 60:,.0f}" for seconds in (said["p10_s"], said["p50_s"], said["p90_s"]))
    if not said["known"]:
        return f"; starts in {high} min at the latest, if every job runs to its limit"
    return f"; starts in about {middle} min, in 8 of 10 cases in {low} to {high}"


def _after(coming: dict[str, Any], found: dict[str, Any]) -> str:
    begins, ends = here(coming["starts_at"]), here(coming["ends_at"])
    before = f"; with a limit of at most {found['fits_s'] // 60} min before" if found["fits_s"] >= 60 else ""
    into = f"its limit reaches into the maintenance from {begins} to {ends}"
    return f"from {here(found['earliest_at'])} at the earliest: {into}{before}"


@answers
def forecast(
    gpus: Annotated[int, typer.Option(min=1, max=1024, help="How many GPUs.")] = 1,
    limit: Annotated[str, typer.Option("--time", help="Time limit: minutes, HH:MM:SS, D-HH or D-HH:MM.")] = "01:00:00",
    tasks: Tasks = 1,
    allocation: Allocation = None,
    partition: Partition = None,
    json: Json = False,
) -> None:
    """What a job would hold, cost and wait for. Nothing is submitted."""
    limit_s = seconds(limit)
    with site() as client:
        offer = _offer(client, allocation, partition, gpus)
        found = client.forecast(allocation=offer["allocation"], gpus=gpus, limit_s=limit_s, tasks=tasks)
    if json:
        as_json(found)
        return
    price = "no rate" if found["krw"] is None else f"₩{found['krw']:,}"
    own = "" if found["own_krw"] is None else f" (your own share ₩{found['own_krw']:,})"
    seen = here(found["seen_at"]) if found["seen_at"] else ""
    start = {
        "now": f"at once: {found['free']} slots were free at {seen}",
        "waits": f"it waits: {found['ahead']} tasks were before it, {found['free']} slots free at {seen}"
        + _expected(found),
        "closed": "not before its machines take jobs again: nothing is started there now",
        "unknown": "not known: the engine hasn't answered lately",
    }[found["start"]]
    if coming := found.get("maintenance"):
        start = _after(coming, found)
    covered = "" if found["left_after"] >= 0 else " (not covered)"
    table(
        ["", ""],
        [
            ["partition", f"{offer['name']} ({offer['partition']})"],
            ["held at most", f"{hours(found['held'])} GPU-hours"],
            ["list price", price + own],
            ["left after", f"{hours(found['left_after'])} GPU-hours{covered}"],
            ["start", start],
        ],
    )


@answers
def tasks(
    uuid: JobId,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that ended badly.")] = False,
    json: Json = False,
) -> None:
    """The tasks of a job and how they ended."""
    with site() as client:
        address, found, after = f"/compute/jobs/{_job(client, uuid)['uuid']}/tasks", [], None
        while True:
            page = client.get(address, outcome="failed" if failed else "", after=after, limit=1000)
            found += page["items"]
            if (after := page["next"]) is None:
                break
    if json:
        as_json(found)
        return
    table(
        ["task", "state", "exit code", "GPU-hours", "parameters"],
        (
            [
                task["number"],
                task["outcome"] or ("running" if task["started_at"] else "waiting"),
                "" if task["exit_code"] is None else task["exit_code"],
                hours(task["used"] if task["outcome"] else task["held"]),
                " ".join(f"{name}={value}" for name, value in task["parameters"].items()),
            ]
            for task in found
        ),
    )


@answers
def jobs(
    mine: Annotated[bool, typer.Option("--mine", help="Only your own.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Only what waits or runs.")] = False,
    over: Annotated[bool, typer.Option("--ended", help="Only what has ended.")] = False,
    allocation: Annotated[
        int | None, typer.Option(min=1, help="Only of this allocation.", autocompletion=complete.allocations)
    ] = None,
    of_all: OfAll = False,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 20,
    json: Json = False,
) -> None:
    """The newest jobs of your organization; with --site what runs or waits of all of them, for operators."""
    if live and over:
        fail("--live or --ended, not both", USAGE)
    if of_all and (mine or over or allocation is not None):
        fail("--site: not with --mine, --ended or --allocation", USAGE)
    if of_all:
        _jobs_of_all(limit, json=json)
        return
    with site() as client:
        found = client.get(
            "/compute/jobs",
            whose="mine" if mine else "organization",
            state="live" if live else "ended" if over else "",
            allocation=allocation,
            limit=limit,
        )
    if json:
        as_json(found["items"])
        return
    table(
        ["uuid", "name", "state", "GPUs", "GPU-hours", "submitted"],
        (
            [
                job["uuid"][:8],
                job["name"],
                job["outcome"] or job["state"],
                f"{job['gpus']} {kind_of(job)}" + (f" × {job['tasks']:,}" if job["tasks"] > 1 else ""),
                hours(job["used"] if job["outcome"] else job["held"]),
                here(job["submitted_at"]),
            ]
            for job in found["items"]
        ),
        whole=["submitted"],
    )


def _jobs_of_all(limit: int, *, json: bool) -> None:
    with site() as client:
        found = client.get("/compute/site-jobs", limit=limit)["items"]
    if json:
        as_json(found)
        return
    table(
        ["uuid", "organization", "grant", "partition", "state", "GPUs", "since"],
        (
            [
                job["uuid"][:8],
                job["organization"],
                job["grant"],
                job["partition"],
                "is being ended" if job["cancel_asked_at"] else job["state"],
                f"{job['gpus']} {job['gpu_type']}" + (f" × {job['tasks']:,}" if job["tasks"] > 1 else ""),
                here(job["started_at"] or job["submitted_at"]),
            ]
            for job in found
        ),
    )


def _said(found: dict[str, Any]) -> dict[str, Any]:
    """As people read it: where the site says something in words beside its word for programs, the words alone."""
    return {key: found.get(f"{key}_said", value) for key, value in found.items() if not key.endswith("_said")}


@answers
def job(uuid: JobId, of_all: OfAll = False, json: Json = False) -> None:
    """One job."""
    with site() as client:
        found = _job(client, uuid, of_all=of_all)
    if json:
        as_json(found)
    else:
        known = {key: value for key, value in _said(found).items() if value not in ("", None, [])}
        table(["", ""], ([key, here(value) if key.endswith("_at") else value] for key, value in known.items()))


@answers
def logs(
    uuid: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the job ends.")] = False,
    task: Task = 0,
    json: Json = False,
) -> None:
    """What a job wrote to its log. With -f: as it writes, and then how it ended; of several tasks, this one."""
    with site() as client:
        found = _job(client, uuid)
        if follow:
            found = _follow(client, found, quiet=json, task=task)
            if found["tasks"] > 1:
                _leave(_task(client, found, task), waited=True, what=f"task {task}")
            else:
                _leave(found, waited=True)
            return
        text = client.logs(found["uuid"], task)
    if json:
        as_json({"uuid": found["uuid"], "log": text})
    else:
        out.print(plain(text), end="", soft_wrap=True)


def _follow(client: Client, job: dict[str, Any], *, quiet: bool, task: int = 0) -> dict[str, Any]:
    """Print the log of a task until it ends, and give the job as it is then."""
    at, pause, said = 0, 0.3, ""
    while True:
        part = client.get(f"/compute/jobs/{job['uuid']}/log", offset=at, task=task)
        if part["text"] and not quiet:
            out.print(plain(part["text"]), end="", soft_wrap=True)
        if part["state"] != said and not quiet:
            said = part["state"]
            say(f"madang: {said}", style="dim")
        if part["complete"]:
            return dict(client.get(f"/compute/jobs/{job['uuid']}"))
        # Nothing new: ask less often, but never so rarely that somebody waits for it.
        pause = 0.3 if part["next"] > at else min(pause * 1.5, 2.0)
        at = part["next"]
        if part["next"] >= part["size"]:
            time.sleep(pause)


def _ended(client: Client, job: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """The job once all of its tasks have ended, which may be long after the one whose log was followed."""
    if not job["outcome"] and not quiet:
        say("madang: this log has ended, other tasks go on", style="dim")
    pause = 0.3
    while not job["outcome"]:
        time.sleep(pause)
        pause = min(pause * 1.5, 5.0)
        job = dict(client.get(f"/compute/jobs/{job['uuid']}"))
    return job


def _task(client: Client, job: dict[str, Any], number: int) -> dict[str, Any]:
    """One of the tasks of a job that has several."""
    after = number - 1 if number else None
    (task,) = client.get(f"/compute/jobs/{job['uuid']}/tasks", after=after, limit=1)["items"]
    return dict(task)


def _leave(ended: dict[str, Any], *, waited: bool, what: str = "the job") -> None:
    """Exit with how a job, or one of its tasks, ended."""
    if waited and ended["outcome"] and ended["outcome"] != "completed":
        said = _said(ended)
        code = f", exit code {said['exit_code']}" if said["exit_code"] else ""
        why = f"the site had it end: {said['cancel_why']}" if said.get("cancel_why") else said["why"]
        fail(f"{what} ended: {said['outcome']}{code}. {why}".rstrip(), JOB_FAILED)


@answers
def metrics(uuid: JobId, task: Task = 0, json: Json = False) -> None:
    """What the GPUs of a job do now, as far as the cluster looks at them."""
    with site() as client:
        found = client.metrics(_job(client, uuid)["uuid"], task)
    if json:
        as_json(found)
        return
    if not found["gpus"]:
        say("no samples: nobody looks at its GPUs, it has none, or it hasn't run for long enough")
        return
    table(
        ["GPU", "use", "memory", "power", "until"],
        (
            [
                row["gpu"],
                "" if row["utilization"] is None else f"{row['utilization']:.0f}%",
                f"{row['memory_mb']:,} of {row['memory_total_mb']:,} MiB",
                "" if row["power_w"] is None else f"{row['power_w']:.0f} W",
                here(row["at"]),
            ]
            for row in found["gpus"]
        ),
    )


@answers
def again(
    uuid: JobId,
    limit: Annotated[str | None, typer.Option("--time", help="Another time limit.")] = None,
    gpus: Annotated[int | None, typer.Option(min=1, max=1024, help="Another number of GPUs.")] = None,
    allocation: Annotated[
        int | None, typer.Option(help="Another allocation to charge.", autocompletion=complete.allocations)
    ] = None,
    json: Json = False,
) -> None:
    """Submit a job once more, as a new one. Prints its uuid."""
    changes = {"gpus": gpus, "limit_s": seconds(limit) if limit else None, "allocation": allocation}
    with site() as client:
        job = client.again(_job(client, uuid)["uuid"], **{k: v for k, v in changes.items() if v is not None})
    if json:
        as_json(job)
    else:
        out.print(plain(job["uuid"]))


@answers
def cancel(
    uuid: LiveJobId,
    reason: Annotated[
        str | None, typer.Option(help="For operators, of anybody's job: why, in a few words. Its owner reads it.")
    ] = None,
    json: Json = False,
) -> None:
    """End a job. What it used until then is charged, the rest comes back."""
    with site() as client:
        if reason is None:
            found = client.cancel(_job(client, uuid)["uuid"])
        else:
            found = client.end_job(_job(client, uuid, of_all=True)["uuid"], reason=reason)
    if json:
        as_json(found)
    else:
        out.print(plain(f"{found['uuid']} {found['outcome'] or 'is being canceled'}"))


@answers
def files(
    uuid: Annotated[
        str | None,
        typer.Argument(help="The uuid of a job; none: what the project keeps.", autocompletion=complete.jobs),
    ] = None,
    task: Task = 0,
    grant: Grant = None,
    json: Json = False,
) -> None:
    """The files in the folder of a job, or those that your projects keep for jobs."""
    with site() as client:
        if uuid is None:
            kept = client.project_files(grant)
        else:
            listed = client.get(f"/compute/jobs/{_job(client, uuid)['uuid']}/files", task=task)
            found = listed["items"]
    if json:
        as_json(kept if uuid is None else found)
    elif uuid is None:
        table(
            ["file", "bytes", "grant", "added"],
            (
                [
                    f":{entry['path']}" + ("" if entry["ready"] else f" ({entry['received']:,} have come)"),
                    f"{entry['size']:,}",
                    entry["grant"],
                    here(entry["ready_at"] or entry["begun_at"]),
                ]
                for entry in kept
            ),
        )
    else:
        table(
            ["file", "bytes"],
            (
                [entry["path"] + ("" if entry["downloadable"] else " (can't be fetched)"), f"{entry['size']:,}"]
                for entry in found
            ),
        )
    if uuid is not None and listed["truncated"]:
        fail(_more(listed["items"]), REFUSED)


def _more(listed: Sequence[Any]) -> str:
    return f"it has more files than can be listed: these are {len(listed):,}; name one that is missing as JOB:PATH"


@answers
def cp(
    source: Annotated[
        str,
        typer.Argument(
            help="JOB:PATH, or JOB: for all of its files, or :NAME, or a file here.", autocompletion=complete.folders
        ),
    ],
    to: Annotated[str, typer.Argument(help="A folder, or for one file its new name; :NAME, or : to keep it.")] = ".",
    task: Task = 0,
    grant: Grant = None,
) -> None:
    """Fetch files that a job wrote, or that the project keeps (:NAME); or keep a file with the project.

    An upload goes on where it broke off. What can't be fetched is named, and the rest fetched all the same.
    """
    uuid, colon, path = source.partition(":")
    if to.startswith(":"):
        local = Path(source)
        if not local.is_file():
            fail(f"there is no file {source} here", USAGE)
        with site() as client:
            out.print(plain(f":{_upload(client, local, grant, to[1:] or local.name)}"), soft_wrap=True)
        return
    if not colon:
        fail("name the file as JOB:PATH, or all of them as JOB:, or a file of the project as :NAME", USAGE)
    with site() as client:
        if not uuid:
            kept = _kept(client, path, grant)
            _fetch([(kept, f"/compute/project-files/{kept['id']}/bytes")], client, Path(to))
            return
        found = _job(client, uuid)
        listed = client.get(f"/compute/jobs/{found['uuid']}/files", task=task)
        wanted = [entry for entry in listed["items"] if not path or entry["path"] == path]
        if not wanted and path and listed["truncated"]:  # it may be there all the same
            wanted = [{"path": path, "size": None, "downloadable": True}]
        if not wanted:
            fail(f"this job has no file {path!r}: `madang files {uuid}` lists them", MISSING)
        good = [entry for entry in wanted if entry["downloadable"]]
        odd = [entry["path"] for entry in wanted if not entry["downloadable"]]
        addresses = [(e, f"/compute/jobs/{found['uuid']}/files/{quote(e['path'])}") for e in good]
        # What an odd name is shown as may be the true name of another file, which was fetched.
        odd = odd if not (path and good) else []
        more = _more(listed["items"]) if listed["truncated"] and not path else ""
        _fetch(addresses, client, Path(to), whole=not path, odd=odd, more=more, task=task)


def _fetch(
    found: list[tuple[dict[str, Any], str]],
    client: Client,
    to: Path,
    *,
    whole: bool = False,
    odd: Sequence[str] = (),
    more: str = "",
    **query: Any,
) -> None:
    """Write these files (what is known of each, its address) below `to`; ends with what was missed, if anything."""
    missed: list[str] = []
    with _progress() as progress:
        for entry, address in found:
            bar = progress.add_task(escape(plain(entry["path"]).plain), total=entry["size"])
            try:
                target = _target(to, entry["path"], whole=whole)
                for size in client.download(address, target, **query):
                    progress.advance(bar, size)
            except OSError as error:
                missed.append(f"{entry['path']}: it can't be written here: {error.strerror}")
            except Problem as problem:
                if problem.status not in (404, 422):  # the next would be refused as well
                    raise
                missed.append(f"{entry['path']}: {problem.title}")
            else:
                out.print(plain(str(target)), soft_wrap=True)
    if odd:
        missed.append("not fetched, as no address can hold the name: " + ", ".join(odd))
    if more:
        missed.append(more)
    if missed:
        fail("\n  ".join(missed), REFUSED)


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    return Progress(*columns, console=err, transient=True)


def _upload(client: Client, source: Path, grant: str | None, name: str) -> str:
    """Keep a file with a project. Its name there."""
    with _progress() as progress:
        bar = progress.add_task(escape(plain(name).plain), total=source.stat().st_size)
        for size in client.upload(source, grant=grant or _grant(client), path=name):
            progress.advance(bar, size)
    return name


def _grant(client: Client) -> str:
    """The only grant that the person can run jobs on."""
    numbers = sorted({offer["grant"] for offer in client.balance()})
    if len(numbers) != 1:
        fail(f"name the grant: --grant {' or '.join(numbers)}" if numbers else "you hold no grant now", USAGE)
    return numbers[0]


def _kept(client: Client, name: str, grant: str | None) -> dict[str, Any]:
    """The file of a project of this name, where there is one such."""
    found = [entry for entry in client.project_files(grant) if entry["path"] == name and entry["ready"]]
    if not found:
        fail(f"no project of yours keeps a file {name!r}: `madang files` lists them", MISSING)
    if len(found) > 1:
        grants = " or ".join(entry["grant"] for entry in found)
        fail(f"several projects keep a file of this name, choose one: --grant {grants}", USAGE)
    return dict(found[0])


@answers
def rm(
    name: Annotated[str, typer.Argument(help=":NAME of a file that the project keeps.")], grant: Grant = None
) -> None:
    """Delete a file that the project keeps. Jobs that were submitted with it still get it."""
    if not name.startswith(":"):
        fail("name a file of the project as :NAME", USAGE)
    with site() as client:
        client.delete(f"/compute/project-files/{_kept(client, name[1:], grant)['id']}")
    say(f"{name} is deleted")


def _target(to: Path, path: str, *, whole: bool) -> Path:
    """Where a file of a job goes on this machine: below the folder that was named, whatever its path says."""
    parts = PurePosixPath(path).parts
    # A name with a backslash or a colon is more than a name on some machines, and on others isn't.
    if not parts or any(part == ".." or "\0" in part or Path(part).name != part for part in parts):
        raise Problem(422, "the path leads out of the folder, so it isn't fetched")
    one = to / parts[-1] if to.is_dir() else to
    target = to.joinpath(*parts) if whole else one
    if not target.resolve().is_relative_to(to.resolve()):
        raise Problem(422, "a link there leads out of the folder, so nothing is written")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


@answers
def balance(json: Json = False) -> None:
    """What you hold, and what is left of it, in GPU-hours."""
    with site() as client:
        offers = client.balance()
    if json:
        as_json(offers)
        return
    table(
        ["allocation", "grant", "what", "partition", "granted", "used", "held", "left", "until"],
        (
            [
                o["allocation"],
                o["grant"],
                o["name"] + (" (declared)" if o["declared"] else ""),
                o["partition"],
                *(hours(o[name]) for name in ("granted", "used", "held", "left")),
                here(o["until"]),
            ]
            for o in offers
        ),
    )


@answers
def templates(
    code: Annotated[
        str | None, typer.Argument(help="Print the script of this one.", autocompletion=complete.templates)
    ] = None,
    json: Json = False,
) -> None:
    """Scripts to start from: `madang templates train-ddp > train.sh`, then change it and submit it."""
    with site() as client:
        found = client.templates()
    if code is not None:
        found = [row for row in found if row["code"] == code]
        if not found:
            fail(f"the site has no template {code!r}: `madang templates` lists them", MISSING)
    if json:
        as_json(found if code is None else found[0])
    elif code is not None:
        sys.stdout.write(found[0]["script"])
    else:
        table(
            ["template", "what for", "GPUs", "time limit", "needs"],
            (
                [row["code"], row["text"], row["gpus"], f"{row['limit_s'] // 60} min", ", ".join(row["needs"])]
                for row in found
            ),
        )


engine = typer.Typer(no_args_is_help=True, help="The clusters of a site, for those who operate them.")


@engine.command()
@answers
def check(json: Json = False) -> None:
    """Whether every cluster answers and nothing is wrong with it. Exits with 1 where something is.

    For a monitor: it asks the site what its poller last heard, and no cluster.
    """
    with site() as client:
        found = client.health()
    troubles = [
        (row["cluster"], alarm["code"], alarm["text"])
        for row in found["items"]
        for alarm in [*([SILENT | {"text": row["error"]}] if row["silent"] else []), *row["alarms"]]
    ]
    troubles += [("", name, str(found[name])) for name in ("holds_without_job", "jobs_without_hold") if found[name]]
    if json:
        as_json(found)
    elif troubles:
        table(["cluster", "alarm", "what"], troubles)
    if troubles:
        fail(f"{_count(troubles, 'alarm')}; see the health of the engines", REFUSED)
    say(f"{_count(found['items'], 'cluster')} answered, and nothing is wrong")


def _count(things: Sequence[Any], name: str) -> str:
    return f"{len(things)} {name}" + ("" if len(things) == 1 else "s")


SILENT = {"code": "silent", "text": ""}


def register(app: typer.Typer) -> None:
    app.add_typer(engine, name="engine", rich_help_panel="A site")
    app.command(rich_help_panel="Jobs", cls=WithArguments)(submit)
    for command in (
        templates,
        forecast,
        jobs,
        job,
        tasks,
        logs,
        metrics,
        again,
        cancel,
        files,
        cp,
        rm,
        balance,
    ):
        app.command(rich_help_panel="Jobs")(command)
