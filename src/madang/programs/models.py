from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from madang.web import amounts
from madang.web.bilingual import said
from madang.web.days import days
from madang.workflow.history import tracked


@tracked()
class Program(models.Model):
    """Why the site lends: a program with its years. A sub-program names the one it belongs to."""

    code = models.SlugField(_("code"), max_length=60, unique=True)
    name_ko = models.CharField(_("name (Korean)"), max_length=160)
    name_en = models.CharField(_("name (English)"), max_length=160)
    about_ko = models.TextField(_("description (Korean)"), max_length=4000, blank=True)
    about_en = models.TextField(_("description (English)"), max_length=4000, blank=True)
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="parts")

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return said(self, "name")

    @property
    def about(self) -> str:
        return said(self, "about")


@tracked()
class Source(models.Model):
    """Where a figure comes from: who published it and when."""

    code = models.SlugField(max_length=60, unique=True)
    publisher = models.CharField(_("publisher"), max_length=160)
    published = models.CharField(_("day of publication"), max_length=40, help_text=_("a date, a month or a year"))
    subject = models.CharField(_("subject"), max_length=300, blank=True)

    def __str__(self) -> str:
        return f"{self.publisher}, {self.published}"


class Hide(models.TextChoices):
    """The H·I·D·E model by which the site judges itself: all four turn at the same time."""

    HUMAN = "H", _("Human")
    INFRA = "I", _("Infra")
    DATA = "D", _("Data")
    ECOSYSTEM = "E", _("Ecosystem")


class Condition(models.TextChoices):
    """The five conditions of an AI cluster."""

    COMPUTE = "compute", _("compute (condition)")
    TALENT = "talent", _("talent")
    SUPPORT = "support", _("company support")
    DEMONSTRATION = "demonstration", _("R&D demonstration")
    ADMINISTRATION = "administration", _("administrative support")


@tracked()
class ReferenceFigure(models.Model):
    """A figure about the site that somebody published. Two sources that disagree are two rows of one `key`, and both
    are shown. It never mixes with what the site itself measured."""

    key = models.SlugField(max_length=80)
    label_ko = models.CharField(max_length=200)
    label_en = models.CharField(max_length=200)
    value = models.CharField(max_length=80, help_text=_("as published"))
    number = models.DecimalField(max_digits=24, decimal_places=4, null=True)
    unit_ko = models.CharField(max_length=40, blank=True)
    unit_en = models.CharField(max_length=40, blank=True)
    note_ko = models.CharField(max_length=300, blank=True)
    note_en = models.CharField(max_length=300, blank=True)
    program = models.ForeignKey(Program, models.PROTECT, null=True, related_name="figures")
    hide = models.CharField(max_length=1, choices=Hide, blank=True)
    condition = models.CharField(max_length=16, choices=Condition, blank=True)
    source = models.ForeignKey(Source, models.PROTECT, related_name="figures")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key", "source", "value"], name="a_figure_of_a_source_once")]
        ordering = ["key", "id"]

    @property
    def label(self) -> str:
        return said(self, "label")

    @property
    def unit(self) -> str:
        return said(self, "unit")

    @property
    def written(self) -> str:
        """The value with its unit: Korean counts without a blank, and nobody writes one before a percent sign."""
        close = self.unit.startswith("%") or "가" <= self.unit[:1] <= "힣"
        return f"{self.value}{self.unit}" if close else f"{self.value} {self.unit}".strip()

    @property
    def note(self) -> str:
        return said(self, "note")


class Funding(models.TextChoices):
    NATIONAL = "national", _("national funds")
    CITY = "city", _("city funds")
    PRIVATE = "private", _("private matching")
    UNSTATED = "unstated", _("share not stated")


@tracked()
class Purse(models.Model):
    """Money that a program may spend, by where it comes from."""

    program = models.ForeignKey(Program, models.PROTECT, related_name="purses")
    funding = models.CharField(_("source of funds"), max_length=10, choices=Funding)
    fiscal_year = models.PositiveSmallIntegerField(_("fiscal year"), null=True, blank=True)
    amount_krw = models.BigIntegerField(_("amount (KRW)"))
    source = models.ForeignKey(Source, models.PROTECT, null=True, blank=True, related_name="+")
    note_ko = models.CharField(max_length=300, blank=True)
    note_en = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="purse_not_negative", condition=Q(amount_krw__gte=0)),
            models.CheckConstraint(name="purse_funding_known", condition=Q(funding__in=Funding.values)),
        ]

    @property
    def note(self) -> str:
        return said(self, "note")


class Measure(models.TextChoices):
    """What an indicator counts. The board computes each from rows that can be listed."""

    COMPANIES_SUPPORTED = "companies_supported", _("companies with a grant")
    PROJECTS_SUPPORTED = "projects_supported", _("projects with a grant")
    GPU_HOURS_GRANTED = "gpu_hours_granted", _("GPU-hours granted")
    GPU_HOURS_USED = "gpu_hours_used", _("GPU-hours used")
    JOBS_RUN = "jobs_run", _("jobs run")
    RESOURCES_LENT = "resources_lent", _("resources on offer")
    STORAGE_GRANTED = "storage_granted", _("storage granted")
    HIRES = "hires", _("new hires")
    REVENUE = "revenue", _("revenue")
    PRODUCTS = "products", _("products and services")
    PATENTS = "patents", _("patents")
    INVESTMENT = "investment", _("investment raised")
    DECISION_DAYS = "decision_days", _("days from deadline to decision")


# The unit of a measure, where what it counts has one: its smallest unit is the one of the ledger.
MEASURED_IN = {
    Measure.GPU_HOURS_GRANTED: "gpu_second",
    Measure.GPU_HOURS_USED: "gpu_second",
    Measure.STORAGE_GRANTED: "mb_hour",
    Measure.REVENUE: "krw",
    Measure.INVESTMENT: "krw",
    Measure.DECISION_DAYS: "day",
}


@tracked()
class Indicator(models.Model):
    """What the program wants to see happen: a measure, how it is counted, and where it stands on the board."""

    code = models.SlugField(max_length=60, unique=True)
    program = models.ForeignKey(Program, models.PROTECT, null=True, blank=True, related_name="indicators")
    name_ko = models.CharField(_("name (Korean)"), max_length=160)
    name_en = models.CharField(_("name (English)"), max_length=160)
    definition_ko = models.CharField(_("definition (Korean)"), max_length=600)
    definition_en = models.CharField(_("definition (English)"), max_length=600)
    measure = models.CharField(_("measure"), max_length=30, choices=Measure)
    version = models.PositiveSmallIntegerField(default=1)
    more_is_better = models.BooleanField(default=True)
    hide = models.CharField(max_length=1, choices=Hide)
    condition = models.CharField(max_length=16, choices=Condition)
    order = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["order", "id"]
        constraints = [models.CheckConstraint(name="measure_known", condition=Q(measure__in=Measure.values))]

    @property
    def name(self) -> str:
        return said(self, "name")

    @property
    def definition(self) -> str:
        return said(self, "definition")

    @property
    def unit(self) -> str:
        """The smallest unit of what it counts; empty for a plain number of things."""
        return MEASURED_IN.get(Measure(self.measure), "")


@tracked()
class Target(models.Model):
    """What an indicator should reach in a period, in the smallest unit of its measure, and who said so."""

    indicator = models.ForeignKey(Indicator, models.PROTECT, related_name="targets")
    starts_on = models.DateField(_("from"))
    ends_on = models.DateField(_("until"))
    value = models.BigIntegerField(_("target"))
    basis_ko = models.CharField(_("basis (Korean)"), max_length=300)
    basis_en = models.CharField(_("basis (English)"), max_length=300, blank=True)
    source = models.ForeignKey(Source, models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["indicator", "starts_on", "ends_on"], name="one_target_a_period"),
            models.CheckConstraint(name="target_period_runs_forward", condition=Q(ends_on__gte=models.F("starts_on"))),
            models.CheckConstraint(name="target_in_our_time", condition=days("starts_on", "ends_on")),
        ]

    @property
    def basis(self) -> str:
        return said(self, "basis")

    @property
    def written(self) -> str:
        """The target in the unit that people use."""
        unit = self.indicator.unit
        return amounts.written(self.value, unit) if unit else f"{self.value:,}"
