"""Computing over HTTP: what can be run on what, jobs, their logs and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Field, Query, Router, Schema, Status

from madang.engines.base import MAX_LIMIT_S, MAX_TASKS, Listing
from madang.facilities.compute import actions, file_api, queries, recipes, session_api, site_api, words
from madang.grants.queries import allocation_for
from madang.identity.access import me
from madang.jobs import actions as job_actions
from madang.jobs import queries as job_queries
from madang.jobs import sweeps
from madang.jobs.checks import MOST_ARGUMENT, MOST_ARGUMENTS, MOST_INPUTS, MOST_SCRIPT_BYTES
from madang.jobs.engines import inputs_of
from madang.jobs.maintenance import Reach
from madang.jobs.many import MOST
from madang.jobs.many import Script as Asked
from madang.jobs.models import Job
from madang.jobs.sweeps import MOST_TABLE
from madang.web.api import BIG, PROBLEMS, Id, In, Line, Ref, Whole, bytes_of
from madang.web.ranges import download

router = Router()
router.add_router("", session_api.router)
router.add_router("", file_api.router)
router.add_router("", site_api.router)

Script = Annotated[str, Field(max_length=MOST_SCRIPT_BYTES, min_length=2)]
Argument = Annotated[str, Field(max_length=MOST_ARGUMENT)]
TaskNumber = Annotated[int, Query(ge=0, lt=MAX_TASKS)]
Offset = Annotated[int, Field(ge=0, le=BIG)]


class JobIn(In):
    """A script to run. `uuid` is yours to choose: the same one with the same content is the same job.

    `limit_s` is in seconds; what is held is GPUs × the limit in begun minutes, for each task. With several `tasks`,
    each is told its number by MADANG_TASK, and at most `parallel` run at once (0: as many as fit). `parameters` is a
    table in CSV: its first line names variables, each further line is one task, which gets them in its environment.
    `files` are names of files of the project: each task finds a copy of them where it starts. With `requeue` a run is
    started again in its folder, as it was left, when its node failed or it was preempted; where the cluster does that.
    """

    allocation: Ref
    name: Annotated[Line, Field(min_length=1, max_length=80)]
    script: Script
    arguments: Annotated[list[Argument], Field(max_length=MOST_ARGUMENTS)] = []
    gpus: Annotated[Whole, Field(ge=1, le=1024)] = 1
    limit_s: Annotated[Whole, Field(ge=1, le=MAX_LIMIT_S)]
    tasks: Annotated[Whole, Field(ge=1, le=MAX_TASKS)] = 1
    parallel: Annotated[Whole, Field(ge=0, le=MAX_TASKS)] = 0
    parameters: Annotated[str, Field(max_length=MOST_TABLE)] = ""
    files: Annotated[list[Line], Field(max_length=MOST_INPUTS)] = []
    requeue: bool = False
    uuid: UUID | None = None


class GivenOut(Schema):
    """A file that each task is given: what it holds doesn't change, whatever becomes of the name. `size` in bytes."""

    path: str
    sha256: str
    size: int


class ScriptIn(In):
    """`uuid` is yours to choose, as that of a job."""

    name: Annotated[Line, Field(min_length=1, max_length=80)]
    script: Script
    uuid: UUID | None = None


class ScriptsIn(In):
    """Scripts to run, a job for each, all with the same arguments, GPUs and limit: all of them are taken, or none.

    One request has at most 2 MB. For many runs of one script, a job with `tasks` or `parameters` is the better form.
    """

    allocation: Ref
    scripts: Annotated[list[ScriptIn], Field(min_length=1, max_length=MOST)]
    arguments: Annotated[list[Argument], Field(max_length=MOST_ARGUMENTS)] = []
    gpus: Annotated[Whole, Field(ge=1, le=1024)] = 1
    limit_s: Annotated[Whole, Field(ge=1, le=MAX_LIMIT_S)]
    requeue: bool = False


class TakenOut(Schema):
    """A job that was taken; `held` in GPU-seconds."""

    uuid: UUID
    name: str
    state: str
    held: int


class AllTakenOut(Schema):
    """In the order of the scripts."""

    items: list[TakenOut]
    next: int | None = None


class JobOut(Schema):
    """`held`, `used` and `overrun` in GPU-seconds. `outcome` is empty while it lives. `exit_code` is that of a script
    that came to its own end, null of one that was stopped. `waits` says why it is queued, `place` where in the queue,
    `expected_at` when the engine forecasts its start; null where it doesn't say. A `bare` job was submitted to the
    cluster itself. `why` it ended so, and `cancel_why` why the site, or an operator of it, had it end. These are words
    for programs; `waits_said`, `why_said` and `cancel_why_said` say them for people, in the language of the request,
    and nothing where the outcome says it already."""

    uuid: UUID
    name: str
    allocation: int
    grant: str
    organization: str
    person: str
    cluster: str
    partition: str
    gpu_type: str
    gpus: int
    limit_s: int
    tasks: int
    parallel: int
    variables: list[str]
    files: list[GivenOut]
    requeue: bool
    state: str
    outcome: str
    exit_code: int | None
    why: str
    why_said: str
    waits: str
    waits_said: str
    place: int | None
    expected_at: datetime | None
    bare: bool
    held: int
    used: int
    overrun: int
    trusted: bool
    cancel_asked_at: datetime | None
    cancel_why: str
    cancel_why_said: str
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class RequestOut(Schema):
    """What can be sent to submit the same job again, as a new one."""

    allocation: int
    name: str
    script: str
    arguments: list[str]
    gpus: int
    limit_s: int
    tasks: int
    parallel: int
    parameters: str
    files: list[str]
    requeue: bool


class JobsOut(Schema):
    """Newest first; pass `next` as `after` to read on."""

    items: list[JobOut]
    next: int | None


class JobLogOut(Schema):
    """Text from `offset` on, without control sequences. Go on from `next`; `complete` when nothing more will come."""

    text: str
    offset: int
    next: int
    size: int
    complete: bool
    state: str


class FileOut(Schema):
    """`size` in bytes. Where it isn't `downloadable`, no address can hold its name, and `path` only resembles that.
    `given`: the job was given a file of this name."""

    path: str
    size: int
    modified_at: datetime
    downloadable: bool
    given: bool


class TemplateOut(Schema):
    """A script to start from. `limit_s` in seconds, `parameters` a table in CSV, `needs` the files it looks for."""

    code: str
    name: str
    text: str
    script: str
    gpus: int
    limit_s: int
    tasks: int
    parameters: str
    needs: list[str]
    requeue: bool


class TemplatesOut(Schema):
    items: list[TemplateOut]
    next: int | None = None


class FilesOut(Schema):
    """Where `truncated`, it wrote more files than a listing takes: one that isn't listed can be fetched by its path."""

    items: list[FileOut]
    next: int | None = None
    truncated: bool = False


class BalanceOut(Schema):
    """One allocation that jobs can run on now, in GPU-seconds, with what its partition allows."""

    allocation: int
    grant: str
    title: str
    resource: str
    name: str
    partition: str
    gpu_type: str
    declared: bool
    granted: int
    used: int
    held: int
    left: int
    most_gpus: int
    longest_s: int
    krw_per_gpu_hour: int | None
    until: datetime


class BalancesOut(Schema):
    items: list[BalanceOut]
    next: int | None = None


class MaintenanceOut(Schema):
    """When nodes of a partition are out of service: `out` of `there`, or all of them where both are 0. Jobs that would
    run into it wait."""

    starts_at: datetime
    ends_at: datetime
    reason: str
    out: int
    there: int


class PartitionOut(Schema):
    """`closed` of its GPUs are where nothing is started now. `maintenance` is what is to come or goes on, the next one
    first."""

    resource: str
    name: str
    cluster: str
    partition: str
    gpu_type: str
    gpus: int
    busy: int
    closed: int
    queued: int
    most_gpus: int
    longest_s: int
    memory_mb: int
    declared: bool
    sandbox: bool | None
    seen_at: datetime | None
    maintenance: list[MaintenanceOut]


class PartitionsOut(Schema):
    items: list[PartitionOut]
    next: int | None = None


class ExpectedOut(Schema):
    """Seconds from now: in eight of ten simulated futures the first task starts between `p10_s` and `p90_s`.

    `within_an_hour` is the share of futures in which it does. Where `known` is false, no job has ended here yet, every
    job is taken to run to its limit, and the seconds are the latest.
    """

    p10_s: int
    p50_s: int
    p90_s: int
    within_an_hour: float
    futures: int
    known: bool


class TestedOut(Schema):
    within: int
    before: int
    after: int


class ForecastOut(Schema):
    """`partition` is where jobs of the allocation run, and `resource` what they are charged as. `held` is the worst
    case in GPU-seconds, over all tasks; negative `left_after`: not covered. `krw` is its list price and `own_krw` your
    own share of it, null without a rate. `start` is "now" (slots are free, nothing waits),
    "waits" (`expected` says how long), "closed" (nothing is started there now) or "unknown" (the engine hasn't answered
    lately, the rest is null then): `free` slots (but for those of nodes on which it would run into a maintenance) and
    `ahead` waiting tasks as seen at `seen_at`. `tested`: of the jobs that waited in the last month that was counted,
    how many started within what would have been said of them, before it and after it; eight of ten should.
    What would run into a `maintenance` waits until `earliest_at`, or starts before with a limit of at most `fits_s`.
    """

    resource: str
    partition: str
    held: int
    krw: int | None
    own_krw: int | None
    left_after: int
    start: Literal["now", "waits", "closed", "unknown"]
    free: int | None
    ahead: int | None
    seen_at: datetime | None
    expected: ExpectedOut | None
    tested: TestedOut | None
    maintenance: MaintenanceOut | None
    earliest_at: datetime | None
    fits_s: int


class TaskOut(Schema):
    """One task of a job; `parameters` are its row of the table. `outcome` is empty while it lives. `why` it ended so is
    a word for programs, `why_said` says it for people."""

    number: int
    parameters: dict[str, str]
    outcome: str
    exit_code: int | None
    why: str
    why_said: str
    held: int
    used: int
    overrun: int
    started_at: datetime | None
    ended_at: datetime | None


class TasksOut(Schema):
    """By number; pass `next` as `after` to read on."""

    items: list[TaskOut]
    next: int | None


class PointOut(Schema):
    """The mean use of all GPUs and the part of their memory that was taken, in percent, in a stretch up to `at`."""

    at: datetime
    utilization: float | None
    memory: float


class EfficiencyOut(Schema):
    """Of the last run of a task. Times in seconds, memory in MiB, `utilization` the mean of its GPUs in percent and
    `idle` the slots that did nothing; null where nobody measured. `advice` by the rules of version `rules`.
    """

    wall_s: int
    limit_s: int
    peak_memory_mb: int | None
    memory_mb: int
    utilization: float | None
    idle: list[int] | None
    samples: int
    points: list[PointOut]
    advice: list[str]
    rules: str


class GpuOut(Schema):
    """The newest sample of one GPU, by the number of its slot: use in percent and power in watts in the mean of the
    time up to `at` (null where the driver doesn't say), memory in MiB at its most."""

    gpu: int
    at: datetime
    utilization: float | None
    memory_mb: int
    memory_total_mb: int
    power_w: float | None


class MetricsOut(Schema):
    """What the GPUs of a task do, also while it runs; both are empty where nobody looks at them."""

    gpus: list[GpuOut]
    points: list[PointOut]


class AlarmOut(Schema):
    """`code` is for programs, `text` for people, in the language of the request."""

    code: str
    text: str


class ClusterOut(Schema):
    """A cluster as it was last heard of. `silent`: no complete answer for half a minute, or never. `lag_s`: how long
    before its answer the engine itself had last looked. `budgets_at`: when it last had the budgets that are wanted."""

    cluster: str
    engine: str
    silent: bool
    answered_at: datetime | None
    lag_s: float | None
    budgets_at: datetime | None
    error: str
    alarms: list[AlarmOut]


class HealthOut(Schema):
    """`holds_without_job` and `jobs_without_hold` must always be 0."""

    items: list[ClusterOut]
    holds_without_job: int
    jobs_without_hold: int


class TableOut(Schema):
    """A table in CSV, to be submitted as `parameters`; empty where no task ended badly."""

    parameters: str


OWN = (
    *(
        "uuid",
        "name",
        "partition",
        "gpu_type",
        "gpus",
        "limit_s",
        "tasks",
        "parallel",
        "variables",
        "requeue",
        "state",
        "outcome",
        "exit_code",
        "why",
        "waits",
        "place",
        "expected_at",
        "bare",
    ),
    *("held", "used", "overrun", "trusted", "cancel_asked_at", "cancel_why", "submitted_at", "started_at", "ended_at"),
)


TASK = [name for name in TaskOut.model_fields if name not in ("parameters", "why_said")]


def maintenance_out(reach: Reach) -> dict[str, Any]:
    window = reach.window
    facts = {"starts_at": window.starts_at, "ends_at": window.ends_at, "reason": window.reason}
    return {**facts, "out": reach.out, "there": reach.there}


def job_out(row: Job) -> dict[str, Any]:
    return jobs_out([row])[0]


def jobs_out(rows: Sequence[Job]) -> list[dict[str, Any]]:
    waits = queries.why_waiting(rows)
    return [
        {
            **{name: getattr(row, name) for name in OWN},
            "allocation": row.allocation_id,
            "grant": row.allocation.grant.number,
            "organization": row.allocation.grant.organization.name,
            "person": str(row.person),
            "cluster": row.engine,
            "files": [entry._asdict() for entry in inputs_of(row)],
            "waits_said": waits[row.pk],
            "why_said": words.why(row.why),
            "cancel_why_said": words.reason(row.cancel_why),
        }
        for row in rows
    ]


@router.get("/partitions", response={200: PartitionsOut} | PROBLEMS, auth=None, summary="The partitions of the site")
def partitions(request: HttpRequest) -> dict[str, Any]:
    return {
        "items": [
            {
                "resource": place.partition.resource.code,
                "name": place.partition.resource.name,
                "cluster": place.partition.cluster.code,
                "partition": place.partition.name,
                "busy": place.busy,
                "closed": place.closed,
                "queued": place.queued,
                "sandbox": place.sandbox,
                "seen_at": place.seen_at,
                "maintenance": list(map(maintenance_out, place.windows)),
                **{
                    name: getattr(place.partition, name)
                    for name in ("gpu_type", "gpus", "most_gpus", "longest_s", "memory_mb", "declared")
                },
            }
            for place in queries.places()
        ]
    }


@router.get("/health", response={200: HealthOut} | PROBLEMS, summary="How the clusters are, for those who operate them")
def health(request: HttpRequest) -> dict[str, Any]:
    state = queries.health(request.user)
    return {
        "items": [
            {
                "cluster": row.cluster.code,
                "engine": row.cluster.engine,
                "silent": row.silent,
                **{name: getattr(row.watch, name, None) for name in ("answered_at", "lag_s", "budgets_at")},
                "error": row.watch.error if row.watch else "",
                "alarms": [{"code": alarm["code"], "text": words.warning(alarm)} for alarm in row.alarms],
            }
            for row in state.clusters
        ],
        "holds_without_job": len(state.holds),
        "jobs_without_hold": len(state.unheld),
    }


@router.get(
    "/balance", response={200: BalancesOut} | PROBLEMS, summary="What jobs can run on now, and what is left of it"
)
def balance(request: HttpRequest) -> dict[str, Any]:
    items = []
    for offer in queries.offers(request.user, whole=True):
        row, meter = offer.allocation, offer.allocation.meter
        items.append(
            {
                "allocation": row.pk,
                "grant": row.grant.number,
                "title": row.grant.title,
                "resource": row.resource.code,
                "name": row.resource.name,
                "partition": offer.partition.name,
                "gpu_type": offer.partition.gpu_type,
                "declared": offer.partition.declared,
                "granted": meter.granted,
                "used": meter.used,
                "held": meter.held,
                "left": meter.left,
                "most_gpus": offer.partition.most_gpus,
                "longest_s": offer.partition.longest_s,
                "krw_per_gpu_hour": offer.rate.price_of(3600) if offer.rate else None,
                "until": row.grant.ends_at,
            }
        )
    return {"items": items}


@router.get("/forecast", response={200: ForecastOut} | PROBLEMS, summary="What a job would hold, cost and wait for")
def forecast(
    request: HttpRequest,
    allocation: Id,
    gpus: Annotated[int, Query(ge=1, le=1024)],
    limit_s: Annotated[int, Query(ge=1, le=MAX_LIMIT_S)],
    tasks: Annotated[int, Query(ge=1, le=MAX_TASKS)] = 1,
) -> dict[str, Any]:
    offer = next((offer for offer in queries.offers(request.user) if offer.allocation.pk == allocation), None)
    if offer is None:
        raise queries.missing()
    said = queries.forecast(offer, gpus, limit_s, tasks)
    facts = {field.name: getattr(said, field.name) for field in fields(said)}
    facts |= {"resource": offer.allocation.resource.code, "partition": offer.partition.name}
    return {**facts, "maintenance": maintenance_out(said.reach) if said.reach else None}


@router.get("/templates", response={200: TemplatesOut} | PROBLEMS, auth=None, summary="Scripts to start from")
def templates(request: HttpRequest) -> dict[str, Any]:
    return {"items": recipes.recipes()}


@router.post("/jobs", response={201: JobOut} | PROBLEMS, summary="Submit a job")
def submit(request: HttpRequest, data: JobIn) -> Status[dict[str, Any]]:
    row = actions.submit(
        me(request),
        uuid=data.uuid or uuid4(),
        allocation=allocation_for(request.user, data.allocation),
        name=data.name,
        script=data.script,
        arguments=data.arguments,
        gpus=data.gpus,
        limit_s=data.limit_s,
        tasks=data.tasks,
        parallel=data.parallel,
        parameters=data.parameters,
        files=data.files,
        requeue=data.requeue,
    )
    return Status(201, job_out(job_queries.job_for(request.user, row.uuid)))


@router.post("/jobs/each", response={201: AllTakenOut} | PROBLEMS, summary="Submit several scripts, a job for each")
def submit_each(request: HttpRequest, data: ScriptsIn) -> Status[dict[str, Any]]:
    rows = actions.submit_each(
        me(request),
        allocation=allocation_for(request.user, data.allocation),
        scripts=[Asked(one.uuid or uuid4(), one.name, one.script) for one in data.scripts],
        arguments=data.arguments,
        gpus=data.gpus,
        limit_s=data.limit_s,
        requeue=data.requeue,
    )
    return Status(201, {"items": rows})


@router.get("/jobs", response={200: JobsOut} | PROBLEMS, summary="Your organization's jobs, newest first")
def jobs(
    request: HttpRequest,
    whose: Literal["organization", "mine"] = "organization",
    state: Literal["", "live", "ended"] = "",
    allocation: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    after: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 30,
) -> dict[str, Any]:
    page = job_queries.jobs_of(
        request.user,
        mine=whose == "mine",
        live={"live": True, "ended": False}.get(state),
        allocation=allocation,
        after=after,
        limit=limit,
    )
    return {"items": jobs_out(page.items), "next": page.after}


@router.get("/jobs/{uuid:uuid}", response={200: JobOut} | PROBLEMS, summary="One job")
def job(request: HttpRequest, uuid: UUID) -> dict[str, Any]:
    return job_out(job_queries.job_for(request.user, uuid))


@router.get(
    "/jobs/{uuid:uuid}/request",
    response={200: RequestOut} | PROBLEMS,
    summary="A job as it was submitted, to be submitted again",
)
def asked(request: HttpRequest, uuid: UUID) -> dict[str, Any]:
    row = job_queries.job_for(request.user, uuid)
    if row.bare:  # its script was never here
        raise queries.missing()
    return {
        **{
            name: getattr(row, name)
            for name in ("name", "script", "arguments", "gpus", "limit_s", "parallel", "requeue")
        },
        "allocation": row.allocation_id,
        "tasks": row.tasks,
        "parameters": sweeps.csv_of(row.variables, sweeps.of(row).rows) if row.variables else "",
        "files": [entry.path for entry in inputs_of(row)],
    }


@router.post("/jobs/{uuid:uuid}/cancel", response={200: JobOut} | PROBLEMS, summary="Cancel a job")
def cancel(request: HttpRequest, uuid: UUID) -> dict[str, Any]:
    return job_out(job_actions.cancel(me(request), job=job_queries.job_for(request.user, uuid)))


@router.get("/jobs/{uuid:uuid}/tasks", response={200: TasksOut} | PROBLEMS, summary="The tasks of a job, by number")
def tasks(
    request: HttpRequest,
    uuid: UUID,
    outcome: Literal["", "open", "failed"] = "",
    after: Annotated[int | None, Query(ge=0, le=MAX_TASKS)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    row = job_queries.job_for(request.user, uuid)
    page = job_queries.tasks_of(row, outcome=outcome, after=after, limit=limit)
    items = [
        {
            "parameters": dict(zip(row.variables, task.parameters, strict=True)),
            "why_said": words.why(task.why),
            **{name: getattr(task, name) for name in TASK},
        }
        for task in page.items
    ]
    return {"items": items, "next": page.after}


@router.get(
    "/jobs/{uuid:uuid}/again",
    response={200: TableOut} | PROBLEMS,
    summary="The tasks that ended badly, as a table to run them again",
)
def again(request: HttpRequest, uuid: UUID) -> dict[str, Any]:
    table = job_queries.again(job_queries.job_for(request.user, uuid))
    return {"parameters": table if table.count("\n") > 1 else ""}


@router.get(
    "/jobs/{uuid:uuid}/efficiency",
    response={200: EfficiencyOut} | PROBLEMS,
    summary="What an ended task used of what it asked for",
)
def efficiency(request: HttpRequest, uuid: UUID, task: TaskNumber = 0) -> Any:
    row = job_queries.job_for(request.user, uuid)
    queries.task_of(row, task)
    found = queries.efficiency_of(row, job_queries.runs_of(row, task))
    if found is None:
        raise queries.missing()
    return found


@router.get("/jobs/{uuid:uuid}/metrics", response={200: MetricsOut} | PROBLEMS, summary="What the GPUs of a task do")
def metrics(request: HttpRequest, uuid: UUID, task: TaskNumber = 0) -> Any:
    row = job_queries.job_for(request.user, uuid)
    queries.task_of(row, task)
    return queries.metrics_of(row, task)


@router.get(
    "/jobs/{uuid:uuid}/log", response={200: JobLogOut} | PROBLEMS, summary="The log of a task from an offset on"
)
def log(
    request: HttpRequest, uuid: UUID, offset: Annotated[int, Query(ge=0, le=BIG)] = 0, task: TaskNumber = 0
) -> dict[str, Any]:
    row = job_queries.job_for(request.user, uuid)
    lives = queries.task_of(row, task).lives
    part = queries.log_part(row, offset, task, lives=lives)
    return {
        "text": part.text,
        "offset": part.offset,
        "next": part.next,
        "size": part.size,
        "complete": not lives and part.next >= part.size,
        "state": row.state,
    }


@router.get(
    "/jobs/{uuid:uuid}/log.txt",
    response=PROBLEMS,
    summary="All of the log, as bytes",
    openapi_extra=bytes_of("text/plain"),
)
def whole_log(request: HttpRequest, uuid: UUID, task: TaskNumber = 0) -> Any:
    row = job_queries.job_for(request.user, uuid)
    queries.task_of(row, task)
    return StreamingHttpResponse(queries.whole_log(row, task), content_type="text/plain; charset=utf-8")


@router.get("/jobs/{uuid:uuid}/files", response={200: FilesOut} | PROBLEMS, summary="The files that a task wrote")
def files(request: HttpRequest, uuid: UUID, task: TaskNumber = 0) -> dict[str, Any]:
    row = job_queries.job_for(request.user, uuid)
    queries.task_of(row, task)
    found = Listing() if queries.removing(row) else queries.files_of(row, task)
    return {"items": found, "truncated": found.truncated}


@router.get(
    "/jobs/{uuid:uuid}/files/{path:path}",
    response=PROBLEMS,
    summary="One file, as bytes",
    openapi_extra=bytes_of("application/octet-stream"),
)
def file(request: HttpRequest, uuid: UUID, path: str, task: TaskNumber = 0) -> Any:
    row = job_queries.job_for(request.user, uuid)
    queries.task_of(row, task)
    return download(request, queries.open_file(row, path, task), path.rsplit("/", 1)[-1])


@router.delete("/jobs/{uuid:uuid}/files", response={200: JobOut} | PROBLEMS, summary="Delete the files of an ended job")
def delete_files(request: HttpRequest, uuid: UUID) -> dict[str, Any]:
    return job_out(actions.delete_files(me(request), job=job_queries.job_for(request.user, uuid)))
