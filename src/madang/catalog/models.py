from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import BigIntegerRangeField, DateRangeField, RangeOperators
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from madang.identity.models import Organization
from madang.web.bilingual import said
from madang.web.days import periods
from madang.workflow.history import tracked
from madang.workflow.machine import Machine, state_check


class Kind(models.TextChoices):
    """What can be lent. A kind says in which unit it is counted, and which facility knows how it is used."""

    COMPUTE = "compute", _("compute")
    STORAGE = "storage", _("storage")
    INSTRUMENT = "instrument", _("test instrument")
    SPACE = "space", _("space")
    SEAT = "seat", _("seat in the academy")
    DATASET = "dataset", _("dataset")
    FUND = "fund", _("fund")
    MENTOR = "mentor", _("mentor")
    SITE = "site", _("demonstration site")
    PERMIT = "permit", _("regulatory permit")
    EVALUATION = "evaluation", _("evaluation")


UNIT = {
    Kind.COMPUTE: "gpu_second",
    Kind.STORAGE: "mb_hour",
    Kind.INSTRUMENT: "minute",
    Kind.SPACE: "m2_day",
    Kind.SEAT: "seat",
    Kind.DATASET: "access",
    Kind.FUND: "krw",
    Kind.MENTOR: "minute",
    Kind.SITE: "day",
    Kind.PERMIT: "case",
    Kind.EVALUATION: "run",
}


class Sector(models.TextChoices):
    AUTOMOTIVE = "automotive", _("automotive")
    ENERGY = "energy", _("energy")
    HEALTHCARE = "healthcare", _("healthcare")
    CULTURE = "culture", _("culture and content")
    UNSTATED = "", _("sector not stated")


@tracked()
class Place(models.Model):
    """A building or an area of the site, as people call it."""

    code = models.SlugField(max_length=40, unique=True)
    name_ko = models.CharField(_("name (Korean)"), max_length=120)
    name_en = models.CharField(_("name (English)"), max_length=120)
    note_ko = models.CharField(max_length=300, blank=True)
    note_en = models.CharField(max_length=300, blank=True)

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return said(self, "name")

    @property
    def note(self) -> str:
        return said(self, "note")


class ResourceState(models.TextChoices):
    OPEN = "open", _("lent")
    PAUSED = "paused", _("not lent for now")
    RETIRED = "retired", _("retired")


resource_moves = Machine(
    ResourceState,
    (ResourceState.OPEN, "pause", ResourceState.PAUSED),
    (ResourceState.PAUSED, "resume", ResourceState.OPEN),
    ((ResourceState.OPEN, ResourceState.PAUSED), "retire", ResourceState.RETIRED),
)


@tracked()
class Resource(models.Model):
    """One thing that is lent.

    `commodity` is the id of what its use is counted in, in the ledger: unit and class together, so that seconds of one
    GPU type are never added to those of another. `capacity_per_hour` is how much of the unit one hour offers (a
    partition of 16 GPUs: 57,600 GPU-seconds; a volume of 10 TB: 10,000,000 MB-hours); null where that isn't known.
    """

    kind = models.CharField(_("kind"), max_length=12, choices=Kind)
    code = models.SlugField(_("code"), max_length=60, unique=True)
    name_ko = models.CharField(_("name (Korean)"), max_length=160)
    name_en = models.CharField(_("name (English)"), max_length=160)
    about_ko = models.TextField(_("description (Korean)"), max_length=4000, blank=True)
    about_en = models.TextField(_("description (English)"), max_length=4000, blank=True)
    owner = models.ForeignKey(Organization, models.PROTECT, related_name="resources", verbose_name=_("owner"))
    place = models.ForeignKey(Place, models.PROTECT, null=True, blank=True, related_name="resources")
    sector = models.CharField(_("sector"), max_length=12, choices=Sector, blank=True, default="")
    resource_class = models.CharField(_("class"), max_length=40, blank=True)
    commodity = models.BigIntegerField()
    capacity_per_hour = models.BigIntegerField(_("capacity in one hour"), null=True, blank=True)
    source = models.CharField(_("source"), max_length=300, blank=True)
    state = models.CharField(max_length=10, choices=ResourceState, default=ResourceState.OPEN)
    added_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            state_check(ResourceState, "resource_state_known"),
            models.CheckConstraint(name="resource_kind_known", condition=Q(kind__in=Kind.values)),
            models.CheckConstraint(name="capacity_not_negative", condition=Q(capacity_per_hour__gte=0)),
        ]
        indexes = [models.Index(fields=["kind", "sector", "id"], name="resource_by_kind")]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return said(self, "name")

    @property
    def about(self) -> str:
        return said(self, "about")

    @property
    def unit(self) -> str:
        return UNIT[Kind(self.kind)]


@tracked()
class Rate(models.Model):
    """The list price of a resource on given days: `price_krw` for every `per_amount` smallest units of it."""

    resource = models.ForeignKey(Resource, models.PROTECT, related_name="rates")
    price_krw = models.BigIntegerField(_("price (KRW)"))
    per_amount = models.BigIntegerField(_("for this amount"))
    days = DateRangeField(_("valid on these days"))
    basis_ko = models.CharField(_("basis (Korean)"), max_length=300)
    basis_en = models.CharField(_("basis (English)"), max_length=300, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="rate_price_not_negative", condition=Q(price_krw__gte=0)),
            models.CheckConstraint(name="rate_per_amount_positive", condition=Q(per_amount__gt=0)),
            models.CheckConstraint(name="rate_in_our_time", condition=periods("days")),
            ExclusionConstraint(
                name="one_rate_a_day",
                index_type="gist",
                expressions=[
                    (
                        Func(
                            F("resource"),
                            F("resource"),
                            Value("[]"),
                            function="int8range",
                            output_field=BigIntegerRangeField(),
                        ),
                        RangeOperators.OVERLAPS,
                    ),
                    ("days", RangeOperators.OVERLAPS),
                ],
                violation_error_message=_("There is a rate for some of these days already."),
            ),
        ]

    @property
    def basis(self) -> str:
        return said(self, "basis")

    def price_of(self, amount: int) -> int:
        """The list price of `amount` smallest units in KRW, rounded up to a whole won."""
        return -(-amount * self.price_krw // self.per_amount)
