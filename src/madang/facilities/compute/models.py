from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from madang.catalog.models import Resource
from madang.engines.base import MAX_NAME
from madang.grants.models import Allocation, Grant
from madang.identity.models import Person
from madang.jobs.models import Job
from madang.twin.backtest import Held
from madang.web.bilingual import said
from madang.workflow.history import tracked


class EngineKind(models.TextChoices):
    LOCAL = "local", _("this machine")
    SLURM = "slurm", _("a Slurm cluster")


@tracked()
class Cluster(models.Model):
    """Where jobs run: one engine, whose name is the code. What is heard of it is kept by the jobs room."""

    code = models.SlugField(max_length=40, unique=True)
    name_ko = models.CharField(_("name (Korean)"), max_length=120)
    name_en = models.CharField(_("name (English)"), max_length=120)
    engine = models.CharField(max_length=10, choices=EngineKind)

    class Meta:
        ordering = ["id"]
        constraints = [models.CheckConstraint(name="engine_known", condition=Q(engine__in=EngineKind.values))]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return said(self, "name")

    @property
    def starts_again(self) -> bool:
        """Whether its engine can start a run again that was preempted, or whose node failed."""
        return self.engine == EngineKind.SLURM


@tracked()
class Partition(models.Model):
    """The GPUs of one type that a resource of the catalog lends. `declared` slots stand for GPUs that aren't there."""

    resource = models.OneToOneField(Resource, models.PROTECT, related_name="partition")
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="partitions")
    name = models.SlugField(max_length=40)
    gpu_type = models.CharField(_("GPU type"), max_length=40)
    gpus = models.PositiveIntegerField(_("GPUs"))
    most_gpus = models.PositiveIntegerField(_("GPUs per job at most"))
    longest_s = models.PositiveIntegerField(_("longest time limit (s)"))
    memory_mb = models.PositiveIntegerField(_("memory per GPU (MiB)"), default=4096)
    declared = models.BooleanField(_("declared, not real"), default=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["cluster", "name"], name="a_partition_once_in_a_cluster"),
            models.CheckConstraint(name="job_fits_its_partition", condition=Q(most_gpus__lte=models.F("gpus"))),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def longest_minutes(self) -> int:
        return self.longest_s // 60


class Backtest(models.Model):
    """How the starts of a month held that would have been forecast for jobs that waited: counted once, from the records
    of what ran (see `twin.backtest`)."""

    partition = models.ForeignKey(Partition, models.CASCADE, related_name="backtests")
    month = models.DateField()
    within = models.PositiveIntegerField()
    before = models.PositiveIntegerField()
    after = models.PositiveIntegerField()
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-month"]
        constraints = [models.UniqueConstraint(fields=["partition", "month"], name="a_month_is_tested_once")]

    @property
    def held(self) -> Held:
        return Held(self.within, self.before, self.after)


@tracked()
class PosixAccount(models.Model):
    """As whom a person works on a cluster: from the site's directory, and never another person's later."""

    person = models.ForeignKey(Person, models.PROTECT, related_name="posix_accounts")
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="posix_accounts")
    name = models.CharField(_("user name"), max_length=32)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["cluster", "person"], name="one_user_name_on_a_cluster"),
            models.UniqueConstraint(fields=["cluster", "name"], name="a_user_name_once_on_a_cluster"),
            models.CheckConstraint(name="a_posix_user_name", condition=Q(name__regex=r"^[a-z_][a-z0-9_-]{0,31}$")),
        ]

    def __str__(self) -> str:
        return self.name


class Folder(models.Model):
    """What the runs of one job hold on the disk, in bytes as last measured. `final`: measured after its end.

    `deleted_at`: its holder wanted the files gone; the log stays.
    """

    job = models.OneToOneField(Job, models.PROTECT, related_name="folder")
    bytes = models.BigIntegerField(default=0)
    final = models.BooleanField(default=False)
    deleted_at = models.DateTimeField(null=True)


class ProjectFile(models.Model):
    """A file that a project keeps for its jobs, by its content: `size` bytes of this `sha256` (in hexadecimal).

    It comes in parts: `received` bytes of it are there. It can be used from `ready_at` on, when all of it is there and
    is what was announced.
    """

    grant = models.ForeignKey(Grant, models.PROTECT, related_name="files")
    path = models.CharField(_("name"), max_length=MAX_NAME)
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField()
    received = models.BigIntegerField(default=0)
    person = models.ForeignKey(Person, models.PROTECT, related_name="project_files")
    begun_at = models.DateTimeField(db_default=Now())
    ready_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["path", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["grant", "path"], name="a_ready_file_of_each_name", condition=Q(ready_at__isnull=False)
            ),
            models.UniqueConstraint(fields=["grant", "path", "sha256"], name="a_project_file_comes_once"),
            models.CheckConstraint(name="a_sha256", condition=Q(sha256__regex=r"^[0-9a-f]{64}$")),
            models.CheckConstraint(
                name="a_ready_file_is_whole",
                condition=Q(received__gte=0, received__lte=models.F("size"))
                & (Q(ready_at=None) | Q(received=models.F("size"))),
            ),
        ]

    def __str__(self) -> str:
        return self.path


@tracked()
class JobTemplate(models.Model):
    """A script to start from, as this site has it; in place of the shipped one of this code, where there is one.

    `needs` are the files that the script looks for. A `hidden` one is not offered. With `requeue` a job is started
    again when its node failed or it was preempted, on a cluster that does that.
    """

    code = models.SlugField(_("Code"), max_length=40, unique=True)
    name_ko = models.CharField(_("name (Korean)"), max_length=80)
    name_en = models.CharField(_("name (English)"), max_length=80)
    text_ko = models.CharField(max_length=400)
    text_en = models.CharField(max_length=400)
    script = models.TextField(_("Script"), max_length=200_000)
    gpus = models.PositiveIntegerField(_("GPUs"))
    limit_s = models.PositiveIntegerField()
    tasks = models.PositiveIntegerField(_("Tasks"), default=1)
    parameters = models.TextField(_("Parameter table"), blank=True)
    needs = models.JSONField(default=list)
    requeue = models.BooleanField(_("start again"), default=False)
    hidden = models.BooleanField(default=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(name="a_template_asks_for_something", condition=Q(gpus__gte=1, limit_s__gte=60))
        ]

    def __str__(self) -> str:
        return self.code


class StorageSample(models.Model):
    """How much an allocation of storage held when it was looked at; what it cost since the look before is charged.

    `carry` is what was too little to charge, in byte-seconds: it counts in the next sample.
    """

    allocation = models.ForeignKey(Allocation, models.PROTECT, related_name="samples")
    at = models.DateTimeField(db_default=Now())
    bytes = models.BigIntegerField()
    charged_mb_hours = models.BigIntegerField()
    carry = models.BigIntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["allocation", "-id"], name="samples_of_an_allocation")]


class Program(models.TextChoices):
    """What a session can be: each listens at a socket in its folder, in a way of its own (see `programs`)."""

    JUPYTERLAB = "jupyterlab", "JupyterLab"
    TENSORBOARD = "tensorboard", "TensorBoard"


@tracked()
class SessionKind(models.Model):
    """An interactive program that the site offers. `command` is the path of the program inside of the sandbox, or its
    name where jobs find it; a session has at most so many GPUs, for so long, and ends when nothing was done in it for
    `idle_s`."""

    code = models.SlugField(_("code"), max_length=40, unique=True)
    name_ko = models.CharField(_("name (Korean)"), max_length=120)
    name_en = models.CharField(_("name (English)"), max_length=120)
    program = models.CharField(pgettext_lazy("session", "program"), max_length=20, choices=Program)
    command = models.CharField(_("command"), max_length=200)
    most_gpus = models.PositiveIntegerField(_("GPUs per session at most"))
    longest_s = models.PositiveIntegerField(_("longest time limit (s)"))
    idle_s = models.PositiveIntegerField(_("ends when idle for (s)"))
    offered = models.BooleanField(_("offered"), default=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.CheckConstraint(name="program_known", condition=Q(program__in=Program.values))]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return said(self, "name")

    @property
    def longest_minutes(self) -> int:
        return self.longest_s // 60

    @property
    def idle_minutes(self) -> int:
        return -(-self.idle_s // 60)


@tracked(exclude=("active_at",))
class Session(models.Model):
    """A job that people use while it runs. From `ready_at` on it answers; `active_at` is when last something was done
    in it; at `idle_at` it was asked to end, as nothing had been for `idle_s`."""

    job = models.OneToOneField(Job, models.PROTECT, related_name="session")
    kind = models.ForeignKey(SessionKind, models.PROTECT, related_name="sessions")
    idle_s = models.PositiveIntegerField()
    ready_at = models.DateTimeField(null=True)
    active_at = models.DateTimeField(null=True)
    idle_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.job.name

    @property
    def idle_minutes(self) -> int:
        return -(-self.idle_s // 60)


class Entrance(models.Model):
    """How one person came into one session. `ticket` is good once and until `until`, then `cookie` is, on the session's
    own host, for as long as the person's `login` at the portal lasts. Of both secrets only the SHA-256 is kept."""

    session = models.ForeignKey(Session, models.PROTECT, related_name="entrances")
    person = models.ForeignKey(Person, models.PROTECT, related_name="+")
    login = models.CharField(max_length=40)
    ticket = models.CharField(max_length=64, unique=True)
    until = models.DateTimeField()
    entered_at = models.DateTimeField(null=True)
    cookie = models.CharField(max_length=64, unique=True, null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="entered_with_a_cookie",
                condition=Q(entered_at=None, cookie=None) | Q(entered_at__isnull=False, cookie__isnull=False),
            )
        ]
