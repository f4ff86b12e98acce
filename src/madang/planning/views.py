from __future__ import annotations

import csv
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from madang.identity.access import me
from madang.planning import actions, charts, queries
from madang.planning import calibration as calibrating
from madang.planning.forms import PlanForm
from madang.planning.models import Plan
from madang.twin.measure import SIZES
from madang.workflow.errors import NotAllowed


@login_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    facts = {"plans": queries.plans(request.user), "may_plan": actions.may_plan(request.user)}
    return render(request, "planning/list.html", facts)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    return _edit(request, None)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, id: int) -> HttpResponse:
    return _edit(request, queries.plan_for(request.user, id))


def _edit(request: HttpRequest, plan: Plan | None) -> HttpResponse:
    if not actions.may_plan(request.user):
        raise NotAllowed(_("Plans are made by executives and operators of the site."))
    form = PlanForm(request.POST or None, plan=plan)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            saved = actions.save(me(request), plan=plan, **form.facts())
            actions.simulate(me(request), plan=saved)
            return redirect("planning:plan", saved.pk)
    return render(request, "planning/edit.html", {"form": form, "plan": plan}, status=422 if form.errors else 200)


@login_required
@require_safe
def detail(request: HttpRequest, id: int) -> HttpResponse:
    seen = queries.seen(request.user, id)
    chosen = [int(value) for value in request.GET.getlist("with") if value.isascii() and value.isdigit()][:10]
    compared = queries.compared(request.user, [value for value in chosen if value < 1 << 63], but=id)
    facts: dict[str, Any] = {
        "seen": seen,
        "plan": seen.plan,
        "run": seen.latest,
        "compared": compared,
        "chosen": {other.plan.pk for other in compared},
        "others": queries.others(seen.plan),
        "may_plan": actions.may_plan(request.user),
    }
    if seen.answered:
        facts |= {
            "rows": _rows(seen),
            "energy": [year | {"mwh": year["kwh"] / 1000} for year in seen.result.get("energy", ())],
            "sizes": [name for _low, _high, name in SIZES],
            "waits": charts.waits(seen, compared),
            "machine": charts.machine(seen, compared),
            "by_size": charts.by(seen, "by_size", lambda size: _("%(size)s GPUs") % {"size": size}),
            "by_program": charts.by(seen, "by_program"),
            "needed": {
                how: {name: seen.begins(q) for name, q in found.items()} for how, found in seen.result["needed"].items()
            },
        }
    return render(request, "planning/plan.html", facts)


def _rows(seen: queries.Seen) -> list[dict[str, Any]]:
    """Each quarter with its first day, and the mean wait of each size in the order of the sizes."""
    return [
        {
            "begins": seen.plan.begins(quarter["quarter"]),
            **quarter,
            "sizes": [quarter["planned"]["by_size"][name] for _low, _high, name in SIZES],
            "programs": list(quarter["planned"]["by_program"].items()),
        }
        for quarter in seen.result["quarters"]
    ]


@login_required
@require_safe
def calibration(request: HttpRequest) -> HttpResponse:
    """What the site's jobs waited beside what the twin has them wait, by month, of one partition."""
    offered = calibrating.partitions(request.user)
    asked = [one for one in offered if str(one.pk) == request.GET.get("partition")]
    chosen = next(iter([*asked, *offered]), None)
    found = calibrating.calibrate(chosen) if chosen else None
    facts = {
        "partitions": offered,
        "found": found,
        "chart": found and charts.calibration(found),
        "may_read": queries.may_read(request.user),
    }
    return render(request, "planning/calibration.html", facts)


@login_required
@require_safe
def state(request: HttpRequest, id: int) -> HttpResponse:
    """How far it is, for the page to ask again; the whole page anew once it has ended."""
    plan = queries.plan_for(request.user, id)
    run = queries.latest_run(plan)
    facts = {"plan": plan, "run": run, "may_plan": actions.may_plan(request.user)}
    answer = render(request, "planning/plan.html#progress", facts)
    if not (run and run.lives):
        answer["HX-Refresh"] = "true"
    return answer


@login_required
@require_POST
def simulate(request: HttpRequest, id: int) -> HttpResponse:
    actions.simulate(me(request), plan=queries.plan_for(request.user, id))
    return redirect("planning:plan", id)


@login_required
@require_POST
def stop(request: HttpRequest, id: int) -> HttpResponse:
    run = queries.latest_run(queries.plan_for(request.user, id))
    if run and run.lives:
        actions.stop(me(request), run=run)
        messages.success(request, _("The simulation is stopped."))
    return redirect("planning:plan", id)


@login_required
@require_safe
def download(request: HttpRequest, id: int) -> HttpResponse:
    """The answer as a table: a row for each quarter and each of planned and slipped. Waits in seconds."""
    seen = queries.seen(request.user, id)
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="plan-{id}.csv"'
    answer.write("\ufeff")  # or a spreadsheet reads Korean as something else
    table = csv.writer(answer)
    measured = ("gpus", "utilization", "wait_mean_s", "wait_p50_s", "wait_p95_s")
    spread = [f"{name}{end}" for name in measured for end in ("", "_low", "_high")]
    table.writerow(["quarter", "stages", "jobs", "load", *spread])
    for quarter in seen.result.get("quarters", ()):
        begins = seen.plan.begins(quarter["quarter"])
        for how in ("planned", "slipped"):
            its = quarter[how]
            waits = [value for name in ("mean", "p50", "p95") for value in its["wait"][name]]
            load, jobs = its["load"][0], its["wait"]["jobs"]
            table.writerow([begins, how, jobs, load, *its["gpus"], *its["utilization"], *waits])
    return answer
