from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.functional import cached_property
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from madang.planning.models import POWER, Plan, Policy
from madang.planning.records import OWN, Recorded, gpus_here, recorded
from madang.twin.demand import SHAPES
from madang.web.forms import Day, Form, TextField, WholeNumber

STAGES, PROGRAMS = 4, 4
OF_STAGE = ("on", "gpus", "likely", "latest", "stage_krw")
OF_PROGRAM = ("name", "shape", "hours", "growth")
MOST_GPUS, MOST_KRW, MOST_W = 10_000_000, 10**16, 1_000_000
SHAPE = [
    ("philly", _("long runs on few GPUs (Microsoft Philly)")),
    ("helios", _("short runs, some on whole nodes (SenseTime Helios)")),
    ("seren", _("many short runs, evaluation and tuning (Shanghai AI Lab Seren)")),
    ("kalos", _("large models on many GPUs (Shanghai AI Lab Kalos)")),
]
assert {name for name, _label in SHAPE} == set(SHAPES)


def as_here(name: str, runs: int) -> str:
    return gettext("as here: %(name)s (%(runs)s jobs)") % {"name": name, "runs": f"{runs:,}"}


class PlanForm(Form):
    """A plan on one page: what is there, what comes when, who asks for how much, what it costs."""

    name = TextField(label=_("Name"), max_length=120)
    starts_on = Day(label=_("First day"))
    gpus = WholeNumber(label=_("GPUs on the first day"), min_value=1, max_value=MOST_GPUS)
    about = TextField(
        label=_("Assumptions"),
        max_length=1000,
        lines=True,
        required=False,
        help_text=_("What the figures rest on. Whoever reads the plan reads it, too."),
    )
    quarters = WholeNumber(label=_("Quarters to look ahead"), min_value=1, max_value=60, initial=20)
    promise_minutes = WholeNumber(
        label=_("Promised wait (minutes)"),
        min_value=1,
        max_value=100_000,
        initial=60,
        help_text=_("95 of 100 jobs should wait no longer. The answer says when that is first broken."),
    )
    policy = forms.ChoiceField(label=_("Order of jobs"), choices=Policy.choices, initial=Policy.EASY)
    seeds = WholeNumber(
        label=_("Runs per quarter"),
        min_value=1,
        max_value=50,
        initial=5,
        help_text=_("Each with other chance. More give a surer band and take longer."),
    )
    cost_krw = WholeNumber(label=_("Cost of what is there (KRW)"), required=False, min_value=0, max_value=MOST_KRW)
    years_of_use = WholeNumber(label=_("Years of use"), required=False, min_value=1, max_value=30)
    running_krw = WholeNumber(
        label=_("Running cost of a GPU and year (KRW)"), required=False, min_value=0, max_value=MOST_KRW
    )
    source = TextField(label=_("Source of the prices"), max_length=400, required=False, help_text=_("With its date."))
    idle_w = WholeNumber(label=_("Idle GPU (W)"), required=False, min_value=0, max_value=MOST_W)
    busy_w = WholeNumber(
        label=_("Busy GPU (W)"),
        required=False,
        min_value=0,
        max_value=MOST_W,
        help_text=_("With its share of the node."),
    )
    pue_percent = WholeNumber(
        label=_("PUE (%)"), required=False, min_value=100, max_value=1000, help_text=_("130 for a PUE of 1.3.")
    )
    g_per_kwh = WholeNumber(label=_("Carbon dioxide of a kWh (g)"), required=False, min_value=0, max_value=10_000)
    krw_per_kwh = WholeNumber(label=_("Price of a kWh (KRW)"), required=False, min_value=0, max_value=100_000)
    power_source = TextField(
        label=_("Source of these figures"), max_length=400, required=False, help_text=_("With its date.")
    )

    def __init__(self, *args: Any, plan: Plan | None = None, **kwargs: Any) -> None:
        here = recorded()
        super().__init__(*args, initial=_initial(plan) if plan else _as_here(here), **kwargs)
        own = {one.shape: as_here(one.name, one.runs) for one in here}
        for program in plan.programs if plan else ():
            if "fitted" in program:  # also where there are too few by now: the answer says so
                own.setdefault(program["shape"], as_here(program["name"], program["runs"]))
        for row in range(1, STAGES + 1):
            self.fields |= {
                f"on_{row}": Day(label=_("Delivered on"), required=False),
                f"gpus_{row}": WholeNumber(label=_("GPUs"), required=False, min_value=1, max_value=MOST_GPUS),
                f"likely_{row}": WholeNumber(
                    label=_("Likely delay (days)"), required=False, min_value=0, max_value=3650
                ),
                f"latest_{row}": WholeNumber(
                    label=_("Longest delay (days)"), required=False, min_value=0, max_value=3650
                ),
                f"stage_krw_{row}": WholeNumber(label=_("Cost (KRW)"), required=False, min_value=0, max_value=MOST_KRW),
            }
        for row in range(1, PROGRAMS + 1):
            self.fields |= {
                f"name_{row}": TextField(label=_("Program"), max_length=80, required=False),
                f"shape_{row}": forms.ChoiceField(label=_("Its jobs"), choices=[*own.items(), *SHAPE], required=False),
                f"hours_{row}": WholeNumber(
                    label=_("GPU-hours a day"), required=False, min_value=1, max_value=MOST_GPUS * 24
                ),
                f"growth_{row}": WholeNumber(
                    label=_("Growth a year (%)"), required=False, min_value=-90, max_value=1000
                ),
            }

    @cached_property
    def stages(self) -> list[list[Any]]:
        return [[self[f"{name}_{row}"] for name in OF_STAGE] for row in range(1, STAGES + 1)]

    @cached_property
    def programs(self) -> list[list[Any]]:
        return [[self[f"{name}_{row}"] for name in OF_PROGRAM] for row in range(1, PROGRAMS + 1)]

    @property
    def base(self) -> list[Any]:
        return [self[name] for name in ("name", "starts_on", "gpus")]

    @property
    def how(self) -> list[Any]:
        return [self[name] for name in ("quarters", "promise_minutes", "policy", "seeds")]

    @property
    def prices(self) -> list[Any]:
        return [self[name] for name in ("cost_krw", "years_of_use", "running_krw", "source")]

    @property
    def power(self) -> list[Any]:
        return [self[name] for name in (*POWER, "power_source")]

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        for row in range(1, STAGES + 1):
            filled = [given.get(f"{name}_{row}") is not None for name in OF_STAGE]
            for name in (f"on_{row}", f"gpus_{row}"):
                if any(filled) and given.get(name) is None and name not in self.errors:
                    self.add_error(name, _("A stage needs its day and its GPUs."))
            likely, latest = given.get(f"likely_{row}") or 0, given.get(f"latest_{row}")
            if latest is not None and latest < likely:
                self.add_error(f"latest_{row}", _("Not shorter than the likely delay."))
        for row in range(1, PROGRAMS + 1):
            called, hours = given.get(f"name_{row}"), given.get(f"hours_{row}")
            if called and hours is None and f"hours_{row}" not in self.errors:
                self.add_error(f"hours_{row}", _("How much does this program ask for?"))
            if hours is not None and not called and f"name_{row}" not in self.errors:
                self.add_error(f"name_{row}", _("Give the program a name."))
        return given

    def facts(self) -> dict[str, Any]:
        """As `actions.save` wants them."""
        given = self.cleaned_data
        stages = []
        for row in range(1, STAGES + 1):
            if given[f"on_{row}"] is None:
                continue
            likely = given[f"likely_{row}"] or 0
            stages.append(
                {
                    "on": given[f"on_{row}"].isoformat(),
                    "gpus": given[f"gpus_{row}"],
                    "slip_days": [0, likely, max(likely, given[f"latest_{row}"] or 0)],
                    "cost_krw": given[f"stage_krw_{row}"],
                }
            )
        programs = [
            {
                "name": given[f"name_{row}"],
                "shape": given[f"shape_{row}"] or SHAPE[0][0],
                "gpu_hours_a_day": given[f"hours_{row}"],
                "growth_percent": given[f"growth_{row}"] or 0,
            }
            for row in range(1, PROGRAMS + 1)
            if given[f"name_{row}"]
        ]
        plain = {name: given[name] for name in PlanForm.base_fields}
        return {**plain, "stages": sorted(stages, key=lambda stage: stage["on"]), "programs": programs}


def _as_here(here: Sequence[Recorded]) -> dict[str, Any]:
    """What a new plan begins with: the GPUs that are here, and who asked for how much in the last year."""
    known: dict[str, Any] = {"gpus": gpus_here() or None}
    for row, one in enumerate([one for one in here if one.shape != OWN][:PROGRAMS], 1):
        known |= {f"name_{row}": one.name, f"shape_{row}": one.shape, f"hours_{row}": one.hours, f"growth_{row}": 0}
    return known


def _initial(plan: Plan) -> dict[str, Any]:
    known = {name: getattr(plan, name) for name in PlanForm.base_fields}
    for row, stage in enumerate(plan.stages, 1):
        _low, likely, latest = stage["slip_days"]
        known |= {
            f"on_{row}": stage["on"],
            f"gpus_{row}": stage["gpus"],
            f"likely_{row}": likely,
            f"latest_{row}": latest,
            f"stage_krw_{row}": stage["cost_krw"],
        }
    for row, program in enumerate(plan.programs, 1):
        known |= {
            f"name_{row}": program["name"],
            f"shape_{row}": program["shape"],
            f"hours_{row}": program["gpu_hours_a_day"],
            f"growth_{row}": program["growth_percent"],
        }
    return known
