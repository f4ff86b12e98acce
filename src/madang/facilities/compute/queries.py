"""What the pages of computing read. Nothing here asks an engine but for the log and the files of one run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, BinaryIO

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import (
    CharField,
    Count,
    DurationField,
    ExpressionWrapper,
    F,
    Func,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
)
from django.db.models.functions import Now
from django.utils.timezone import localdate
from django.utils.translation import gettext as _

from madang.catalog.models import Kind, Rate, Resource, ResourceState
from madang.catalog.queries import rates_on
from madang.engines.base import HELD_BACK, NODE_STATES, FileEntry, Listing, RunKey, Unavailable
from madang.engines.base import Missing as NoFile
from madang.facilities.compute import efficiency, shelf, storage, text, words
from madang.facilities.compute.models import Cluster, EngineKind, Partition, PosixAccount, ProjectFile
from madang.grants.models import Allocation, AllocationState, Grant, GrantState
from madang.grants.queries import allocations_for_jobs
from madang.identity.access import access_of
from madang.identity.models import Role
from madang.jobs import maintenance, sweeps
from madang.jobs import queries as jobs
from madang.jobs.engines import EngineWithFiles, engine_named, inputs_of
from madang.jobs.maintenance import Reach
from madang.jobs.models import Job, JobState, Maintenance, Node, Run, Stray, Task, Watch, worst_case
from madang.jobs.poller import silent
from madang.ledger.models import Entry
from madang.twin.backtest import Held
from madang.twin.effect import Queue
from madang.twin.expect import Expected, expect
from madang.web.templatetags.madang import SEOUL
from madang.workflow.errors import Missing, NotAllowed
from madang.workflow.moment import now

STRAYS, ACCOUNTS, NODES = 50, 500, 100  # rows that a page shows
FEWEST_TESTED = 20  # of fewer jobs that waited, chance alone may say that forecasts don't hold
SHOWN_LOG = 200_000  # bytes at the end of a log that a page shows
CHUNK = 256 * 1024
UNADDRESSABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")  # control signs, and bytes that aren't text


def missing() -> Missing:
    return Missing(_("There is nothing here, or it isn't yours to see."))


@dataclass(frozen=True)
class Offer:
    """What one allocation lets its holder run now, and where. `left` in GPU-seconds."""

    allocation: Allocation
    partition: Partition
    left: int
    rate: Rate | None

    @property
    def most_gpus(self) -> int:
        """What the partition lets a job have, and the balance covers for a minute."""
        return max(0, min(self.partition.most_gpus, self.left // 60))

    @property
    def counts(self) -> list[int]:
        """The numbers of GPUs to choose from: each up to 8, then doublings, and the most there is."""
        most = self.most_gpus
        counts = [n for n in range(1, min(most, 8) + 1)]
        while counts and counts[-1] * 2 <= most:
            counts.append(counts[-1] * 2)
        return counts if not counts or counts[-1] == most else [*counts, most]

    def most_minutes(self, gpus: int = 1) -> int:
        """The longest time limit that partition and balance allow for so many GPUs."""
        return max(0, min(self.partition.longest_s // 60, self.left // (60 * max(1, gpus))))


def offers(person: Any, *, whole: bool = False) -> list[Offer]:
    """Every allocation that the person can run jobs on now, in a fixed number of statements; with their `whole` meters
    where more is wanted than what is left."""
    allocations = allocations_for_jobs(person, whole=whole)
    resources = [row.resource_id for row in allocations]
    places = {
        row.resource_id: row
        for row in Partition.objects.filter(resource__in=resources, resource__state=ResourceState.OPEN).select_related(
            "cluster"
        )
    }
    rates = rates_on(resources, localdate(timezone=SEOUL)) if allocations else {}
    return [
        Offer(row, places[row.resource_id], row.meter.left, rates.get(row.resource_id))
        for row in allocations
        if row.resource_id in places
    ]


def usable_on(person: Any, resource: int) -> Allocation | None:
    """An allocation of this resource that the person can run jobs on now: enough for a button."""
    return (
        Allocation.objects.filter(
            resource=resource,
            state=AllocationState.OPEN,
            grant__state=GrantState.ACTIVE,
            grant__organization_id__in=list(access_of(person).organizations),
            grant__starts_at__lte=Now(),
            grant__ends_at__gt=Now(),
        )
        .order_by("id")
        .first()
    )


def queues(resources: Sequence[int]) -> dict[int, Queue]:
    """What the jobs of each of these resources run on, as the twin takes it. One SQL statement."""
    found = Partition.objects.filter(resource__in=resources).select_related("cluster")
    return {row.resource_id: Queue(row.gpus, policy_of(row.cluster), row.most_gpus, row.longest_s) for row in found}


def policy_of(cluster: Cluster) -> str:
    """The order of jobs of its engine, as the twin calls what comes nearest to it."""
    return "easy" if cluster.engine == EngineKind.SLURM else "fcfs"


class Start(StrEnum):
    """When a job would start, as far as that is known."""

    NOW = "now"  # enough slots are free and nothing waits
    WAITS = "waits"  # others are before it, or too few slots are free: for how long, nobody can say
    CLOSED = "closed"  # nothing is started there now: its nodes take no jobs, or their disk is full
    UNKNOWN = "unknown"  # the engine hasn't answered lately


@dataclass(frozen=True)
class Forecast:
    """What a job would take before it is submitted. `held` is its worst case in GPU-seconds, over all of its tasks;
    `krw` that at list price and `own_krw` the organization's own share of it by its agreement, both None without a
    rate; `left_after` is negative where it isn't covered. `free` slots (but for those of nodes on which it would run
    into a maintenance) and `ahead` waiting tasks are as last seen at `seen_at`, None where that isn't known. Of a job
    that waits, `expected` says when the twin has it start, and `tested` how that held in the last month that was
    counted, None where there was too little to count. `windows` is the maintenance that concerns it; if it would run
    into one (`reach`), it can start at `earliest_at`, or before where its limit is at most `fits_s`.
    """

    held: int
    krw: int | None
    own_krw: int | None
    left_after: int
    start: Start
    free: int | None
    ahead: int | None
    seen_at: datetime | None
    expected: Expected | None = None
    tested: Held | None = None
    windows: Sequence[Reach] = ()
    reach: Reach | None = None
    earliest_at: datetime | None = None
    fits_s: int = 0

    @property
    def fits_minutes(self) -> int:
        return self.fits_s // 60

    @property
    def covered(self) -> bool:
        return self.left_after >= 0


def forecast(offer: Offer, gpus: int, limit_s: int, tasks: int = 1) -> Forecast:
    held = worst_case(gpus, limit_s) * tasks
    krw = offer.rate.price_of(held) if offer.rate else None
    paid, whole = offer.allocation.own_share_krw, offer.allocation.list_krw
    # Rounded up as the list price is: a job is never said to be cheaper than it can get.
    own = None if krw is None or paid is None or whole is None else -(-krw * paid // whole) if whole else 0
    start, free, ahead, seen_at, expected, tested = Start.UNKNOWN, None, None, None, None, None
    few = False
    watch = jobs.watches().get(offer.partition.cluster.code)
    if watch and not silent(watch, watch.moment):
        there = _place(offer.partition, watch, offer.rate)
        spot = _without_maintenance(there, watch, limit_s)
        few = spot.open < gpus <= there.open
        free, ahead, seen_at = spot.free, spot.queued, watch.answered_at
        start = Start.NOW if not spot.queued and spot.free >= gpus else Start.WAITS if spot.open else Start.CLOSED
        if start is Start.WAITS:
            cluster = offer.partition.cluster
            live, past = jobs.crowd(cluster.code, offer.partition.name)
            policy = policy_of(cluster)
            expected = expect(live, gpus, limit_s, spot.free, past, policy=policy)
            last = offer.partition.backtests.first() if expected and expected.known else None
            tested = last.held if last and last.held.asked >= FEWEST_TESTED else None
    found = Forecast(held, krw, own, offer.left - held, start, free, ahead, seen_at, expected, tested)
    return _past_maintenance(found, watch, offer.partition.name, limit_s, few=few) if watch else found


def _without_maintenance(spot: Place, watch: Watch, limit_s: int) -> Place:
    """A place as a job of this limit finds it, begun now: without the nodes on which it would run into a maintenance
    that leaves others."""
    where = spot.partition
    gpus, busy = maintenance.kept_from(
        where.cluster.code, where.name, where.gpu_type, spot.windows, watch.moment, timedelta(seconds=limit_s)
    )
    return replace(spot, closed=spot.closed + gpus, busy=max(0, spot.busy - busy)) if gpus else spot


def _past_maintenance(found: Forecast, watch: Watch, partition: str, limit_s: int, *, few: bool) -> Forecast:
    """The twin knows no maintenance: what would run into one, by its limit, starts when it is over. `few`: those nodes
    are too few for it that a maintenance of some of them leaves."""
    begins = watch.moment + timedelta(seconds=found.expected.p50_s if found.expected else 0)
    windows = maintenance.reaching(watch, partition)
    reach, earliest = maintenance.run_into(windows, begins, timedelta(seconds=limit_s), few=few)
    found = replace(found, windows=windows)
    if reach is None:
        return found
    fits = max(0, int((reach.window.starts_at - begins).total_seconds()))
    return replace(found, start=Start.WAITS, expected=None, tested=None, reach=reach, earliest_at=earliest, fits_s=fits)


def rate_of(job: Job) -> Rate | None:
    """The rate of the day a job was submitted."""
    day = job.submitted_at.astimezone(SEOUL).date()
    return rates_on([job.allocation.resource_id], day).get(job.allocation.resource_id)


def price_of(job: Job) -> int | None:
    """The list price in KRW of what a job was charged."""
    rate = rate_of(job)
    return rate.price_of(job.used) if rate else None


def run_of(job: Job, task: int) -> RunKey:
    return RunKey(job.uuid, task)


def task_of(job: Job, number: int) -> Task | Job:
    """The task of this number, Missing where there is none. A job of one task says itself what became of it."""
    return job if job.tasks == 1 and number == 0 else jobs.task_for(job, number)


def engine_of(job: Job) -> EngineWithFiles:
    return engine_named(job.engine)


def efficiency_of(job: Job, runs: Sequence[Run]) -> efficiency.Report | None:
    """What the last of these runs used of what it asked for; None where none has run."""
    if not runs or job.bare:  # nothing is known of what that one asked for
        return None
    run = runs[-1]
    try:
        samples = engine_of(job).samples(RunKey(job.uuid, run.task, run.attempt))
    except Unavailable:
        samples = ()
    return efficiency.report(job, run, samples)


def metrics_of(job: Job, task: int = 0, attempt: int = 1) -> efficiency.Metrics:
    """What the GPUs of a task have done so far, as far as its engine looks at them."""
    try:
        return efficiency.metrics(engine_of(job).samples(RunKey(job.uuid, task, attempt)))
    except Unavailable:
        return efficiency.metrics(())


def why_waiting(rows: Sequence[Job]) -> dict[int, str]:
    """Why each of these jobs still waits, by its id, in words. The maintenance, and which of them the balance doesn't
    cover, is asked for only where one of them waits for that."""
    watches = jobs.watches() if any(row.waits in words.MAINTENANCE for row in rows) else {}
    short = jobs.held_back_of([row.pk for row in rows if row.requeue and row.waits == HELD_BACK])
    said = {}
    for row in rows:
        watch = watches.get(row.engine)
        windows = maintenance.reaching(watch, row.partition)
        reason = "Uncovered" if row.pk in short else row.waits
        said[row.pk] = words.waits(reason, windows, watch.moment if watch else None)
    return said


@dataclass(frozen=True)
class LogPart:
    """A part of a log, ready to show. `next` is where the next part begins; `skipped` bytes are before `offset`."""

    text: str
    offset: int
    next: int
    size: int

    @property
    def skipped(self) -> int:
        return self.offset


def log_tail(job: Job, task: int = 0, *, lives: bool | None = None) -> LogPart:
    """The end of a task's log, from the beginning of a line on. `lives`: it may still write (None: as its job)."""
    engine, run = engine_of(job), run_of(job, task)
    size = engine.log_size(run)
    start = max(0, size - SHOWN_LOG)
    data = engine.log(run, start, SHOWN_LOG)
    if start:
        cut = data.find(b"\n") + 1
        start, data = start + cut, data[cut:]
    data = text.whole(data) if (job.lives if lives is None else lives) else data
    return LogPart(text.plain(data), start, start + len(data), size)


def log_part(job: Job, offset: int, task: int = 0, *, lives: bool | None = None, size: int = CHUNK) -> LogPart:
    """What was written since `offset`: whole lines while the task lives, so that no sequence is cut in two."""
    engine, run = engine_of(job), run_of(job, task)
    there = engine.log_size(run)
    offset = min(max(0, offset), there)
    data = text.whole(engine.log(run, offset, size))
    if ((job.lives if lives is None else lives) or len(data) == size) and b"\n" in data:
        data = data[: data.rfind(b"\n") + 1]
    return LogPart(text.plain(data), offset, offset + len(data), there)


def whole_log(job: Job, task: int = 0) -> Any:
    """The bytes of a task's log in pieces."""
    engine, run = engine_of(job), run_of(job, task)
    offset, size = 0, engine.log_size(run)
    while offset < size and (piece := engine.log(run, offset, CHUNK)):
        offset += len(piece)
        yield piece


@dataclass(frozen=True)
class JobFile(FileEntry):
    """A file as it is shown. `downloadable`: its name can be part of an address; if not, `path` only resembles it.
    `given`: the job was given a file of this name, so it needn't have written it."""

    downloadable: bool = True
    given: bool = False


def removing(job: Job) -> bool:
    """Whether the files were deleted and the worker isn't done with it: until then they are held, and charged."""
    return not job.lives and storage.is_going(job)


def files_of(job: Job, task: int = 0) -> Listing[JobFile]:
    """What a task of the job has written so far; empty where it hasn't started or its files were deleted."""
    try:
        found = engine_of(job).files(run_of(job, task))
    except (NoFile, Unavailable, FileNotFoundError):
        return Listing()
    given = {entry.path for entry in inputs_of(job)} | set(sweeps.OURS if job.variables else ())
    return Listing(
        (
            JobFile(
                UNADDRESSABLE.sub("\ufffd", entry.path),
                entry.size,
                entry.modified_at,
                not _unaddressable(entry.path),
                entry.path in given,
            )
            for entry in found
        ),
        truncated=found.truncated,
    )


def _unaddressable(path: str) -> bool:
    return UNADDRESSABLE.search(path) is not None


def open_file(job: Job, path: str, task: int = 0) -> BinaryIO:
    if _unaddressable(path):
        raise missing()
    try:
        return engine_of(job).open_file(run_of(job, task), path)
    except NoFile as error:
        raise missing() from error


def projects(person: Any) -> list[Grant]:
    """The grants of the person's own organizations that keep files or may: with computing, newest first."""
    rows = Grant.objects.filter(
        organization_id__in=list(access_of(person).organizations), allocations__resource__kind=Kind.COMPUTE
    )
    return list(rows.select_related("organization").distinct().order_by("-id"))


def project_for(person: Any, number: str) -> Grant:
    """The grant of this number, if it is the person's organization's; Missing otherwise."""
    organizations = list(access_of(person).organizations)
    row = Grant.objects.filter(organization_id__in=organizations, number=number).select_related("organization").first()
    if row is None:
        raise missing()
    return row


def _files(person: Any) -> QuerySet[ProjectFile]:
    """The files of the person's projects: only the people of their organizations see them."""
    rows = ProjectFile.objects.filter(grant__organization_id__in=list(access_of(person).organizations))
    return rows.select_related("grant", "person")


def project_files(person: Any, *, grant: Grant | int | None = None, ready: bool | None = None) -> list[ProjectFile]:
    """The files of the person's projects, or of one of them, by name."""
    rows = _files(person)
    if grant is not None:
        rows = rows.filter(grant=grant)
    if ready is not None:
        rows = rows.filter(ready_at__isnull=not ready)
    return list(rows.order_by("grant_id", "path", "id"))


def project_file(person: Any, file: int) -> ProjectFile:
    row = _files(person).filter(pk=min(file, 2**63 - 1)).first()
    if row is None:
        raise missing()
    return row


def open_project_file(file: ProjectFile) -> BinaryIO:
    """For reading; Missing until all of it has come."""
    if file.ready_at is None:
        raise missing()
    try:
        return shelf.blob(file.grant_id, file.sha256).open("rb")
    except FileNotFoundError as error:
        raise missing() from error


@dataclass(frozen=True)
class Place:
    """A partition as the public sees it: how many of its slots are busy, how many are `closed` (nothing is started
    there now) and how many jobs wait, when last looked at; and the maintenance that concerns it, the next one first."""

    partition: Partition
    busy: int
    queued: int
    watch: Watch | None
    rate: Rate | None = None
    windows: Sequence[Reach] = ()
    closed: int = 0

    @property
    def open(self) -> int:
        return max(0, self.partition.gpus - self.closed)

    @property
    def free(self) -> int:
        return max(0, self.open - self.busy)

    @property
    def busy_share(self) -> int:
        return round(100 * self.busy / self.partition.gpus) if self.partition.gpus else 0

    @property
    def sandbox(self) -> bool | None:
        """None where no dispatcher has ever looked."""
        health = self.watch.health if self.watch else {}
        return bool(health.get("sandbox")) if health.get("lag_s") is not None else None

    @property
    def seen_at(self) -> Any:
        return self.watch.answered_at if self.watch else None


def places(partitions: QuerySet[Partition] | None = None) -> list[Place]:
    """The partitions of the site, with what the poller last heard of them."""
    rows = (Partition.objects.all() if partitions is None else partitions).select_related("cluster", "resource__owner")
    watches = jobs.watches()
    found = list(rows.order_by("cluster_id", "id"))
    rates = rates_on([row.resource_id for row in found], localdate(timezone=SEOUL)) if found else {}
    return [_place(row, watches.get(row.cluster.code), rates.get(row.resource_id)) for row in found]


def _place(partition: Partition, watch: Watch | None, rate: Rate | None) -> Place:
    health = watch.health if watch else {}
    # Several partitions may have GPUs of a type: where the engine counts them apart, each has its own.
    slots, own = health.get("slots"), health.get("partitions")
    none = {"busy": 0, "queued": 0, "slots": partition.gpus if slots is None else 0}
    counts = slots or () if own is None else [row for row in own if row["partition"] == partition.name]
    count = next((row for row in counts if row["gpu_type"] == partition.gpu_type), none)
    closed = max(0, partition.gpus - count.get("slots", partition.gpus) + count.get("closed", 0))
    windows = maintenance.reaching(watch, partition.name)
    return Place(partition, count["busy"], count["queued"], watch, rate, windows, closed)


def place(code: str) -> Place:
    """The partition of a resource of the catalog, by the resource's code."""
    found = places(Partition.objects.filter(resource__code=code))
    if not found:
        raise missing()
    return found[0]


@dataclass(frozen=True)
class ClusterState:
    """One cluster as its operator sees it. `silent`: no complete answer for too long, or never. `pretended`: the GPU
    types of partitions that say of themselves that their GPUs aren't there."""

    cluster: Cluster
    watch: Watch | None
    lines: Sequence[jobs.Line]
    silent: bool
    pretended: frozenset[str] = frozenset()

    @property
    def health(self) -> dict[str, Any]:
        return self.watch.health if self.watch else {}

    @property
    def alarms(self) -> list[dict[str, str]]:
        """None of a silent one: what it warned of before may be over, and its silence is the alarm."""
        return self.watch.alarms if self.watch and not self.silent else []

    @property
    def drifted(self) -> int:
        """How much of its budgets was otherwise than wanted when they were last compared, and was mended."""
        drift = self.watch.drift if self.watch else {}
        return 0 if drift.get("held") else len(drift.get("missing", ())) + len(drift.get("changed", ()))


@dataclass(frozen=True)
class Health:
    clusters: list[ClusterState]
    holds: list[Entry]
    unheld: list[Job]
    resources: list[Resource]


def _require_keeper(person: Any) -> None:
    access = access_of(person)
    if not (access.holds(Role.OPERATOR) or access.somewhere(Role.STEWARD)):
        raise NotAllowed(_("This page is for the operator of the site and for stewards."))


@dataclass(frozen=True)
class Nodes:
    """`rows` are one page of those in `state`; `sums` says (state, nodes, GPUs, used) of all of them."""

    rows: list[Node]
    sums: list[tuple[str, int, int, int]]
    state: str
    page: int
    more: bool
    watches: list[Watch]


def nodes(person: Any, *, state: str = "", page: int = 1) -> Nodes:
    """The machines of the site's clusters as the poller last saw them."""
    _require_keeper(person)
    found = Node.objects.values_list("state").annotate(Count("id"), Sum("gpus"), Sum("used")).order_by()
    sums = sorted(found, key=lambda row: NODE_STATES.index(row[0]))
    state = state if state in NODE_STATES else ""
    rows = Node.objects.filter(state=state) if state else Node.objects.all()
    first = (page - 1) * NODES
    shown = list(rows[first : first + NODES + 1])
    return Nodes(shown[:NODES], sums, state, page, len(shown) > NODES, list(jobs.watches().values()))


def nodes_listed(
    person: Any, *, engine: str = "", name: str = "", state: str = "", after: int | None = None, limit: int = NODES
) -> tuple[list[Node], int | None]:
    """A page of the machines, by when they were first seen, and what continues it: None where this is the end."""
    _require_keeper(person)
    wanted = {"engine": engine, "name": name, "state": state}
    rows = Node.objects.filter(**{field: value for field, value in wanted.items() if value})
    if after is not None:
        rows = rows.filter(pk__gt=after)
    found = list(rows.order_by("pk")[: limit + 1])
    return found[:limit], found[limit - 1].pk if len(found) > limit else None


def node_named(person: Any, engine: str, name: str) -> Node:
    _require_keeper(person)
    found = Node.objects.filter(engine=engine, name=name).first()
    if found is None:
        raise missing()
    return found


def node_for(person: Any, id: int) -> Node:
    _require_keeper(person)
    found = Node.objects.filter(pk=id).first()
    if found is None:
        raise missing()
    return found


def clusters() -> list[Cluster]:
    """The clusters of the site with their partitions."""
    return list(Cluster.objects.prefetch_related("partitions"))


def windows(person: Any) -> list[Maintenance]:
    """The maintenance that is to come or goes on (`begun`), of all clusters, the next one first; `still` jobs of its
    partitions run, and may do so when it begins."""
    _require_keeper(person)
    rows = Maintenance.objects.filter(withdrawn_at=None, ends_at__gt=Now()).select_related("announced_by")
    second = Value(timedelta(seconds=1), output_field=DurationField())
    limit = ExpressionWrapper(F("limit_s") * second, output_field=DurationField())
    running = Job.objects.filter(engine=OuterRef("engine"), state=JobState.RUNNING)
    of = ExpressionWrapper(OuterRef("partition"), output_field=CharField())
    running = running.alias(end=F("started_at") + limit, of=of).filter(
        Q(of="") | Q(of=F("partition")), end__gt=OuterRef("starts_at")
    )
    counted = running.order_by().annotate(n=Func(F("id"), function="count")).values("n")
    return list(rows.annotate(begun=Q(starts_at__lte=Now()), still=Subquery(counted)))


def window_for(person: Any, id: int) -> Maintenance:
    _require_keeper(person)
    found = Maintenance.objects.filter(pk=id).select_related("announced_by").first()
    if found is None:
        raise missing()
    return found


def windows_on(job: Job) -> list[Reach]:
    """The maintenance that concerns a job."""
    return maintenance.reaching(jobs.watches().get(job.engine), job.partition)


def health(person: Any) -> Health:
    """The page of the operator: every engine, and what must never be (a hold without a job, a job without a hold)."""
    _require_keeper(person)
    watches, lines, moment = jobs.watches(), jobs.lines(), now()
    clusters = []
    pretended = ArrayAgg("partitions__gpu_type", filter=Q(partitions__declared=True), default=[])
    for cluster in Cluster.objects.order_by("id").annotate(pretended=pretended):
        watch = watches.get(cluster.code)
        mine = [line for line in lines if line.engine == cluster.code]
        clusters.append(ClusterState(cluster, watch, mine, silent(watch, moment), frozenset(cluster.pretended)))
    holds, unheld = jobs.mismatches()
    return Health(clusters, holds, unheld, resources_without_partition(person))


def strays() -> list[Stray]:
    """The runs that belong to nobody and that nobody has said anything about, newest first."""
    return list(Stray.objects.filter(answer="")[:STRAYS])


def excess() -> list[Run]:
    """Runs that were charged beyond their end, by their own marks, and that nobody has answered, newest first."""
    rows = Run.objects.filter(marked_at__isnull=False, answer="").select_related(
        "job__allocation__grant__organization", "job__allocation__resource"
    )
    return list(rows.defer("job__script").order_by("-id")[:STRAYS])


def accounts(clusters: Sequence[Cluster]) -> list[PosixAccount]:
    """The user names on these clusters, newest first."""
    rows = PosixAccount.objects.filter(cluster__in=clusters).select_related("person", "cluster")
    return list(rows.order_by("-id")[:ACCOUNTS])


def resources_without_partition(person: Any) -> list[Resource]:
    """The resources for computing that this person could give a partition to."""
    access = access_of(person)
    rows = Resource.objects.filter(kind=Kind.COMPUTE, partition=None).exclude(state=ResourceState.RETIRED)
    if not access.holds(Role.OPERATOR):
        kept = [id for role, scope, id in access.roles if role == Role.STEWARD and scope == "resource"]
        rows = rows.all() if access.holds(Role.STEWARD) else rows.filter(pk__in=kept)
    return list(rows.order_by("id"))
