from __future__ import annotations

from datetime import date, timedelta

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from madang.identity.models import Person
from madang.twin.plan import QUARTER_DAYS
from madang.web.days import days
from madang.workflow.history import tracked
from madang.workflow.machine import Machine, state_check


class Policy(models.TextChoices):
    EASY = "easy", _("EASY backfill: later jobs may go first if they don't delay the first one")
    FCFS = "fcfs", _("first come, first served")
    SJF = "sjf", _("shortest limit first")


PRICES = ("cost_krw", "years_of_use", "running_krw")
POWER = ("idle_w", "busy_w", "pue_percent", "g_per_kwh", "krw_per_kwh")


@tracked()
class Plan(models.Model):
    """What a site may buy when, for which demand.

    `gpus` are there on the first day. A stage is {"on": "2027-07-01", "gpus", "slip_days": [least, likely, most],
    "cost_krw"}; a program {"name", "shape", "gpu_hours_a_day", "growth_percent"}, and what `records.fitted` gives where
    its shape is that of the site's own jobs: as they were when the plan was saved. Prices come with a `source`, or
    there are none.
    """

    name = models.CharField(_("name"), max_length=120)
    about = models.TextField(max_length=1000, blank=True)
    starts_on = models.DateField(_("first day"))
    gpus = models.PositiveIntegerField(_("GPUs on the first day"))
    stages = models.JSONField(default=list)
    programs = models.JSONField(default=list)
    policy = models.CharField(max_length=8, choices=Policy, default=Policy.EASY)
    promise_minutes = models.PositiveIntegerField(default=60)
    quarters = models.PositiveSmallIntegerField(default=20)
    seeds = models.PositiveSmallIntegerField(default=5)
    cost_krw = models.BigIntegerField(null=True)
    years_of_use = models.PositiveSmallIntegerField(null=True)
    running_krw = models.BigIntegerField(null=True)
    source = models.CharField(max_length=400, blank=True)
    idle_w = models.PositiveIntegerField(null=True)
    busy_w = models.PositiveIntegerField(null=True)
    pue_percent = models.PositiveSmallIntegerField(null=True)
    g_per_kwh = models.PositiveIntegerField(null=True)
    krw_per_kwh = models.PositiveIntegerField(null=True)
    power_source = models.CharField(max_length=400, blank=True)
    made_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="plan_in_our_time", condition=days("starts_on")),
            models.CheckConstraint(name="plan_policy_known", condition=Q(policy__in=Policy.values)),
            models.CheckConstraint(name="plan_has_gpus", condition=Q(gpus__gte=1)),
            models.CheckConstraint(name="plan_quarters", condition=Q(quarters__gte=1, quarters__lte=60)),
            models.CheckConstraint(name="plan_seeds", condition=Q(seeds__gte=1, seeds__lte=50)),
            models.CheckConstraint(
                name="plan_prices_all_or_none_and_with_a_source",
                condition=Q(**dict.fromkeys(PRICES))
                | (
                    Q(**{f"{name}__isnull": False for name in PRICES})
                    & Q(cost_krw__gte=0, years_of_use__gte=1, running_krw__gte=0)
                    & ~Q(source="")
                ),
            ),
            models.CheckConstraint(
                name="plan_power_all_or_none_and_with_a_source",
                condition=Q(**dict.fromkeys(POWER))
                | (
                    Q(**{f"{name}__isnull": False for name in POWER})
                    & Q(busy_w__gte=models.F("idle_w"), pue_percent__gte=100)
                    & ~Q(power_source="")
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def begins(self, quarter: int) -> date:
        """The first day of a quarter of the plan."""
        return self.starts_on + timedelta(days=quarter * QUARTER_DAYS)


class RunState(models.TextChoices):
    QUEUED = "queued", pgettext_lazy("plan", "waits")
    RUNNING = "running", pgettext_lazy("plan", "is being simulated")
    DONE = "done", pgettext_lazy("plan", "done")
    STOPPED = "stopped", pgettext_lazy("plan", "stopped")
    FAILED = "failed", pgettext_lazy("plan", "failed")


LIVE = (RunState.QUEUED, RunState.RUNNING)

run_moves = Machine(
    RunState,
    (RunState.QUEUED, "begin", RunState.RUNNING),
    (RunState.RUNNING, "finish", RunState.DONE),
    (LIVE, "stop", RunState.STOPPED),
    (LIVE, "fail", RunState.FAILED),
)


class PlanRun(models.Model):
    """One simulation of a plan as it stood then: `asked` is that, `result` what the twin's plan gives."""

    plan = models.ForeignKey(Plan, models.PROTECT, related_name="runs")
    asked = models.JSONField()
    state = models.CharField(max_length=8, choices=RunState, default=RunState.QUEUED)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField()
    result = models.JSONField(null=True)
    problem = models.CharField(max_length=400, blank=True)
    asked_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    asked_at = models.DateTimeField(db_default=Now())
    told_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            state_check(RunState, "plan_run_state_known"),
            models.CheckConstraint(name="plan_run_not_past_its_end", condition=Q(done__lte=models.F("total"))),
            models.CheckConstraint(
                name="plan_run_done_has_a_result",
                condition=Q(state="done", result__isnull=False) | (~Q(state="done") & Q(result=None)),
            ),
            models.UniqueConstraint(
                name="one_live_run_of_a_plan", fields=["plan"], condition=Q(state__in=["queued", "running"])
            ),
        ]

    @property
    def lives(self) -> bool:
        return self.state in LIVE

    @property
    def percent(self) -> int:
        return self.done * 100 // self.total
