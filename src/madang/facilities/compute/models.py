from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from madang.catalog.models import Resource
from madang.grants.models import Allocation
from madang.web.bilingual import said
from madang.workflow.history import tracked


class EngineKind(models.TextChoices):
    LOCAL = "local", _("this machine")


@tracked()
class Cluster(models.Model):
    """Where jobs run: one engine."""

    code = models.SlugField(max_length=40, unique=True)
    name_ko = models.CharField(_("name (Korean)"), max_length=120)
    name_en = models.CharField(_("name (English)"), max_length=120)
    engine = models.CharField(max_length=10, choices=EngineKind)
    seen_at = models.DateTimeField(null=True)
    health = models.JSONField(default=dict)

    class Meta:
        constraints = [models.CheckConstraint(name="engine_known", condition=Q(engine__in=EngineKind.values))]

    @property
    def name(self) -> str:
        return said(self, "name")


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
    declared = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cluster", "name"], name="a_partition_once_in_a_cluster"),
            models.CheckConstraint(name="job_fits_its_partition", condition=Q(most_gpus__lte=models.F("gpus"))),
        ]


class StorageSample(models.Model):
    """How much an allocation of storage held when it was looked at; what it cost since the look before is charged."""

    allocation = models.ForeignKey(Allocation, models.PROTECT, related_name="samples")
    at = models.DateTimeField(db_default=Now())
    bytes = models.BigIntegerField()
    charged_mb_hours = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["allocation", "-id"], name="samples_of_an_allocation")]
