from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from madang.engines.base import MAX_TASKS
from madang.grants.models import Allocation
from madang.identity.models import Person
from madang.workflow.history import tracked
from madang.workflow.machine import Machine, state_check


class JobState(models.TextChoices):
    ACCEPTED = "accepted", pgettext_lazy("job", "accepted")
    SUBMITTED = "submitted", pgettext_lazy("job", "handed over")
    QUEUED = "queued", pgettext_lazy("job", "waits in the queue")
    RUNNING = "running", pgettext_lazy("job", "runs")
    ENDED = "ended", pgettext_lazy("job", "ended")
    UNKNOWN = "unknown", pgettext_lazy("job", "not known at the moment")


LIVE = (JobState.ACCEPTED, JobState.SUBMITTED, JobState.QUEUED, JobState.RUNNING, JobState.UNKNOWN)

job_moves = Machine(
    JobState,
    (JobState.ACCEPTED, "hand_over", JobState.SUBMITTED),
    ((JobState.SUBMITTED, JobState.UNKNOWN), "queue", JobState.QUEUED),
    (JobState.RUNNING, "start_again", JobState.QUEUED),
    ((JobState.SUBMITTED, JobState.QUEUED, JobState.UNKNOWN), "start", JobState.RUNNING),
    ((JobState.SUBMITTED, JobState.QUEUED, JobState.RUNNING), "lose_sight", JobState.UNKNOWN),
    (LIVE, "end", JobState.ENDED),
)


class JobOutcome(models.TextChoices):
    COMPLETED = "completed", pgettext_lazy("job", "completed")
    FAILED = "failed", pgettext_lazy("job", "failed")
    OUT_OF_MEMORY = "out_of_memory", pgettext_lazy("job", "out of memory")
    TIMED_OUT = "timed_out", pgettext_lazy("job", "time limit reached")
    CANCELLED = "cancelled", pgettext_lazy("job", "canceled")
    REFUSED = "refused", pgettext_lazy("job", "refused by the engine")
    PREEMPTED = "preempted", pgettext_lazy("job", "preempted")
    NODE_FAILED = "node_failed", pgettext_lazy("job", "its node failed")
    LOST = "lost", pgettext_lazy("job", "lost")


@tracked(exclude=("script",))
class Job(models.Model):
    """What a person asked to run. Its uuid is chosen by whoever submits, so that asking twice is asking once.

    `inputs` are the files that each task is given: path, SHA-256 and bytes of each (see `engines.Input`).
    It has so many `tasks`, each with its own row, hold and runs, of which at most `parallel` run at once (0: as many as
    fit). `variables` names the columns of its parameter table; `gpus` and `limit_s` are of each task.
    `held` GPU-seconds are set aside while it lives; `used` and `overrun` are what its runs were charged. From `told_at`
    on the engine may know the job, whatever our own state says. `waits` is the engine's word for why it is queued,
    `place` its place in that queue and `expected_at` when the engine forecasts its start, null where it makes none.
    A `bare` job was submitted to the engine past us: it had no hold, shows no script, and was a `Bare` until it ended.
    With `requeue` its engine starts a run again that was preempted, or whose node failed; each run is charged.
    `cancel_why` says why it was asked to end where the site did, or an operator of it: its owner reads it.
    `exit_code` is that of a script that came to its own end; what was stopped has none.
    """

    uuid = models.UUIDField(unique=True)
    allocation = models.ForeignKey(Allocation, models.PROTECT, related_name="jobs")
    person = models.ForeignKey(Person, models.PROTECT, related_name="jobs")
    name = models.CharField(_("name"), max_length=80)
    engine = models.CharField(max_length=40)
    partition = models.CharField(max_length=60)
    posix_user = models.CharField(max_length=40, blank=True)
    gpu_type = models.CharField(max_length=40)
    memory_mb = models.PositiveIntegerField()
    cpus = models.PositiveIntegerField(default=1)
    script = models.TextField(_("script"), max_length=200_000)
    arguments = models.JSONField(default=list)
    gpus = models.PositiveIntegerField(_("GPUs"))
    limit_s = models.PositiveIntegerField(_("time limit"))
    tasks = models.PositiveIntegerField(_("Tasks"), default=1)
    parallel = models.PositiveIntegerField(_("At once at most"), default=0)
    variables = models.JSONField(default=list)
    inputs = models.JSONField(default=list)
    requeue = models.BooleanField(_("start again"), default=False)
    trusted = models.BooleanField(default=False)
    bare = models.BooleanField(default=False)
    state = models.CharField(max_length=10, choices=JobState, default=JobState.ACCEPTED)
    outcome = models.CharField(max_length=14, choices=JobOutcome, blank=True)
    exit_code = models.IntegerField(null=True)
    why = models.CharField(max_length=400, blank=True)
    held = models.BigIntegerField(default=0)
    used = models.BigIntegerField(default=0)
    overrun = models.BigIntegerField(default=0)
    waits = models.CharField(max_length=40, blank=True)
    place = models.PositiveIntegerField(null=True)
    expected_at = models.DateTimeField(null=True)
    cancel_asked_at = models.DateTimeField(null=True)
    cancel_why = models.CharField(max_length=200, blank=True)
    submitted_at = models.DateTimeField(db_default=Now())
    told_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            state_check(JobState, "job_state_known"),
            models.CheckConstraint(
                name="ended_has_an_outcome",
                condition=(Q(state="ended") & ~Q(outcome="")) | (~Q(state="ended") & Q(outcome="")),
            ),
            models.CheckConstraint(name="job_has_tasks", condition=Q(tasks__gte=1, tasks__lte=MAX_TASKS)),
            models.CheckConstraint(name="job_runs_at_once", condition=Q(parallel__lte=MAX_TASKS)),
        ]
        indexes = [
            models.Index(fields=["allocation", "-id"], name="jobs_of_an_allocation"),
            models.Index(fields=["engine", "id"], name="live_jobs_of_an_engine", condition=~Q(state="ended")),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def lives(self) -> bool:
        return self.state != JobState.ENDED

    @property
    def stands(self) -> JobState | JobOutcome:
        """Where it stands, or what it came to."""
        return JobState(self.state) if self.lives else JobOutcome(self.outcome)

    @property
    def said(self) -> str:
        """The same in words."""
        return str(self.stands.label)

    @property
    def limit_minutes(self) -> int:
        """The limit in begun minutes, as it is charged and shown."""
        return -(-self.limit_s // 60)


def worst_case(gpus: int, limit_s: int) -> int:
    """GPU-seconds to hold for one task of a job: GPUs × time limit in begun minutes × 60."""
    return gpus * -(-limit_s // 60) * 60


class Task(models.Model):
    """One of a job's tasks: its hold, which its own run settles, and how it ended. A plain job has one, number 0.

    Only what ran past us has no hold. A run that its engine starts again has a hold of its own; `held_back` is set
    while the balance doesn't cover one, and the engine keeps it waiting.

    `parameters` are the values of the job's `variables`, in their order. `outcome` is empty until it has ended.
    """

    job = models.ForeignKey(Job, models.PROTECT, related_name="task_rows")
    number = models.PositiveIntegerField()
    parameters = models.JSONField(default=list)
    hold = models.BigIntegerField(unique=True, null=True)
    held = models.BigIntegerField()
    used = models.BigIntegerField(default=0)
    overrun = models.BigIntegerField(default=0)
    held_back = models.BooleanField(default=False)
    outcome = models.CharField(max_length=14, choices=JobOutcome, blank=True)
    exit_code = models.IntegerField(null=True)
    why = models.CharField(max_length=400, blank=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["job_id", "number"]
        constraints = [
            models.UniqueConstraint(fields=["job", "number"], name="task_numbered_once"),
            models.CheckConstraint(name="task_number_in_range", condition=Q(number__lt=MAX_TASKS)),
            models.CheckConstraint(
                name="task_sums_not_negative", condition=Q(held__gte=0, used__gte=0, overrun__gte=0)
            ),
            models.CheckConstraint(
                name="ended_task_holds_nothing",
                condition=Q(outcome="", ended_at=None) | (~Q(outcome="") & Q(held=0, ended_at__isnull=False)),
            ),
        ]
        indexes = [models.Index(fields=["job"], name="open_tasks_of_a_job", condition=Q(outcome=""))]

    @property
    def lives(self) -> bool:
        return not self.outcome

    @property
    def named(self) -> list[tuple[str, str]]:
        """Its parameters with the names of their variables."""
        return list(zip(self.job.variables, self.parameters, strict=True))


class Excess(models.TextChoices):
    """What was said about a run that was charged beyond its end."""

    OPEN = "", ""
    GIVEN_BACK = "given_back", pgettext_lazy("run", "given back")
    KEPT = "kept", pgettext_lazy("run", "kept as charged")


class Run(models.Model):
    """One run of a job, as the engine counted it: what is charged. `key` is the engine's own, and comes once.

    `entry` is the settlement in the ledger; null where nothing was charged (it never ran, or its end was not reported).
    With a `marked_at` it had ended then, by its own marks: an operator looks, and the `answer` is to give back what was
    charged beyond that, or to keep it.
    """

    job = models.ForeignKey(Job, models.PROTECT, related_name="runs")
    key = models.CharField(max_length=120, unique=True)
    task = models.PositiveIntegerField(default=0)
    attempt = models.PositiveIntegerField()
    outcome = models.CharField(max_length=14, choices=JobOutcome)
    exit_code = models.IntegerField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField()
    gpu_seconds = models.BigIntegerField()
    declared = models.BooleanField(default=False)
    peak_memory_mb = models.PositiveIntegerField(null=True)
    log_truncated = models.BooleanField(default=False)
    entry = models.BigIntegerField(null=True)
    marked_at = models.DateTimeField(null=True)
    answer = models.CharField(max_length=10, choices=Excess, blank=True)
    recorded_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["job", "task"], name="runs_of_a_task"),
            models.Index(fields=["id"], name="runs_to_be_looked_at", condition=Q(marked_at__isnull=False, answer="")),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(answer__in=Excess.values), name="jobs_known_answer"),
            models.CheckConstraint(condition=Q(answer="") | Q(marked_at__isnull=False), name="jobs_answer_to_a_mark"),
        ]

    @property
    def excess(self) -> int:
        """GPU-seconds that were charged beyond its end by its own marks."""
        if self.marked_at is None or self.started_at is None:
            return 0
        worked = self.job.gpus * max(0, int((self.marked_at - self.started_at).total_seconds()))
        return max(0, self.gpu_seconds - worked)


class Watch(models.Model):
    """What the poller last heard of one engine. `cursor`: every ended run up to it is recorded.

    `answered_at` is the last complete answer, `lag_s` how long before it the engine itself had last looked. At
    `budgets_at` it had the budgets that were wanted then, whose digest is `budgets`; at `compared_at` the engine itself
    was asked, and `drift` is what it had otherwise. At `windows_at` it was told of its maintenance, whose digest is
    `windows`; `windows_held` says why it didn't take it.
    """

    engine = models.CharField(max_length=40, unique=True)
    cursor = models.CharField(max_length=200, blank=True)
    asked_at = models.DateTimeField(null=True)
    answered_at = models.DateTimeField(null=True)
    lag_s = models.FloatField(null=True)
    error = models.CharField(max_length=400, blank=True)
    health = models.JSONField(default=dict)
    budgets_at = models.DateTimeField(null=True)
    compared_at = models.DateTimeField(null=True)
    budgets = models.CharField(max_length=64, blank=True)
    drift = models.JSONField(default=dict)
    windows_at = models.DateTimeField(null=True)
    windows = models.CharField(max_length=64, blank=True)
    windows_held = models.CharField(max_length=400, blank=True)

    coming: list[dict[str, Any]]  # its maintenance, and the database's clock: where `queries.watches` has read it
    moment: datetime

    @property
    def alarms(self) -> list[dict[str, str]]:
        """What is wrong, each a code and a text: what the engine warns of, and what it was told and hasn't done."""
        told = {"budgets_held": self.drift.get("held"), "maintenance_held": self.windows_held}
        held = [{"code": code, "text": why} for code, why in told.items() if why]
        return [*self.health.get("warnings", []), *held]


class Bare(models.Model):
    """What somebody submitted to an engine past us and that hasn't ended, as the poller last saw it. It holds nothing;
    it is charged and becomes a job once it has ended. The waiting tasks of an array are one row of so many `runs`.

    Without an `allocation` it is nobody's: no budget of ours pays for it, or nobody is known as its `posix_user`.
    `limit_s` is 0 where it has none.
    """

    uuid = models.UUIDField(unique=True)
    engine = models.CharField(max_length=40)
    name = models.CharField(max_length=80)
    posix_user = models.CharField(max_length=40)
    partition = models.CharField(max_length=60)
    gpu_type = models.CharField(max_length=40)
    gpus = models.PositiveIntegerField()
    runs = models.PositiveIntegerField()
    limit_s = models.PositiveIntegerField()
    waits = models.CharField(max_length=40, blank=True)
    submitted_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    expected_at = models.DateTimeField(null=True)
    allocation = models.ForeignKey(Allocation, models.PROTECT, null=True, related_name="+")
    person = models.ForeignKey(Person, models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ["-submitted_at", "-id"]
        indexes = [models.Index(fields=["engine", "partition"], name="bare_of_a_partition")]

    def __str__(self) -> str:
        return self.name

    @property
    def state(self) -> JobState:
        return JobState.RUNNING if self.started_at else JobState.QUEUED


class NodeWish(models.TextChoices):
    NONE = "", ""
    DRAIN = "drain", pgettext_lazy("node", "is to take no more jobs")
    RESUME = "resume", pgettext_lazy("node", "is to take jobs again")


class Node(models.Model):
    """A machine of an engine as the poller last saw it, since `changed_at`; `state` is one of the engines' NODE_STATES.
    `reason_by` and `reason_at` are who on the cluster gave the reason and when, where the engine says that. A `wish`
    of an operator stands here until it was seen to have come true."""

    engine = models.CharField(max_length=40)
    name = models.CharField(max_length=80)
    state = models.CharField(max_length=20)
    reason = models.CharField(max_length=400, blank=True)
    reason_by = models.CharField(max_length=80, blank=True)
    reason_at = models.DateTimeField(null=True)
    partitions = models.CharField(max_length=400, blank=True)
    gpu_type = models.CharField(max_length=80, blank=True)
    gpus = models.PositiveIntegerField()
    used = models.PositiveIntegerField()
    changed_at = models.DateTimeField(db_default=Now())
    wish = models.CharField(max_length=10, choices=NodeWish, blank=True)
    wish_why = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["engine", "name"]
        constraints = [
            models.UniqueConstraint(fields=["engine", "name"], name="jobs_one_row_a_node"),
            models.CheckConstraint(condition=Q(wish__in=NodeWish.values), name="jobs_known_wish"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def takes_jobs(self) -> bool:
        return self.state in ("idle", "mixed", "full")


@tracked(exclude=("taken_at",))
class Maintenance(models.Model):
    """Nodes of an engine that are out of service from `starts_at` to `ends_at`: those named in `nodes`, those of
    `partition`, or all. Tenants read the `reason`. At `taken_at` the engine was seen to have it as it stands here.
    """

    engine = models.CharField(max_length=40)
    partition = models.CharField(max_length=40, blank=True)
    nodes = models.JSONField(default=list, blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.CharField(max_length=200)
    announced_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    announced_at = models.DateTimeField(db_default=Now())
    withdrawn_at = models.DateTimeField(null=True)
    taken_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["starts_at", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(starts_at__lt=models.F("ends_at")), name="maintenance_has_a_length"),
            models.CheckConstraint(condition=Q(partition="") | Q(nodes=[]), name="maintenance_of_one_place"),
        ]
        indexes = [
            models.Index(fields=["engine", "ends_at"], name="maintenance_to_come", condition=Q(withdrawn_at=None))
        ]

    def __str__(self) -> str:
        return f"{self.engine} {self.starts_at:%Y-%m-%d %H:%M}"


class Stray(models.Model):
    """A run that an engine reports and that is nobody's here: no allocation has its budget, or nobody its user. It is
    charged to nobody, and shown until an operator has said whose it was. `key` as that of a run."""

    engine = models.CharField(max_length=40)
    key = models.CharField(max_length=160, unique=True)
    account = models.CharField(max_length=80, blank=True)
    budget = models.CharField(max_length=80, blank=True)
    posix_user = models.CharField(max_length=80, blank=True)
    gpu_seconds = models.BigIntegerField()
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField()
    found_at = models.DateTimeField(db_default=Now())
    answer = models.CharField(_("Whose it was"), max_length=400, blank=True)

    class Meta:
        ordering = ["-id"]
