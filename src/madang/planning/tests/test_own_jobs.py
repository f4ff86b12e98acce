"""A plan can ask as this site's own jobs did: their sizes, their lengths, when they came."""

from __future__ import annotations

from datetime import timedelta

import pytest

from madang.facilities.compute.tests import make as compute
from madang.grants.models import Allocation
from madang.identity.tests import make as people
from madang.jobs.models import Run
from madang.planning import actions, records
from madang.planning.models import Plan
from madang.planning.spec import again, wanted_by
from madang.planning.tests import make
from madang.planning.tests.test_plans import client_of, form
from madang.workflow.errors import Refused
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
HOUR = 3600


def ran(row: Allocation, count: int, *, gpus: int = 4, hours: int = 1, ago: int = 0, **facts: str) -> None:
    """So many ended jobs over the 50 days up to `ago` days ago."""
    at = now() - timedelta(days=ago)
    begins = [at - timedelta(days=50) * (count - number) / count for number in range(count)]
    wait, run = timedelta(minutes=1), timedelta(hours=hours)
    compute.recorded(row, [(one, one + wait, one + wait + run, gpus, 2 * hours * HOUR) for one in begins], **facts)


def own(row: Allocation) -> str:
    return f"own:{row.grant.program_id}"


def test_what_was_run_in_the_last_year_is_offered_by_program_where_it_is_enough():
    busy, quiet, cpus = (compute.allocation(compute.partition()) for _ in range(3))
    ran(busy, 120)
    ran(quiet, 40, gpus=1)
    ran(cpus, 500, gpu_type="cpu")
    ran(quiet, 300, ago=400)
    offered = records.recorded()
    assert [one.shape for one in offered] == ["own", own(busy)]
    assert offered[1].runs == 120
    assert offered[1].hours == round(120 * 4 / 50)


def test_a_new_plan_begins_with_what_is_here_and_a_changed_one_with_what_it_says():
    where = compute.partition(gpus=24)
    compute.partition(gpus=8, gpu_type="cpu")
    ran(row := compute.allocation(where), 120)
    client = client_of(people.executive())
    started = client.get("/plans/new/").context["form"].initial
    assert (started["gpus"], started["shape_1"], started["hours_1"]) == (24, own(row), 10)
    assert "name_2" not in started
    assert "작업 120건" in client.get("/plans/new/").content.decode()
    plan = make.plan(people.executive())
    assert client.get(f"/plans/{plan.pk}/edit/").context["form"].initial["shape_1"] == "helios"


def test_a_plan_asks_as_the_jobs_here_did_when_it_was_saved():
    ran(row := compute.allocation(compute.partition()), 200, gpus=4, hours=2)
    client = client_of(people.executive())
    assert client.post("/plans/new/", form(shape_1=own(row))).status_code == 302
    plan = Plan.objects.get()
    (asked,) = wanted_by(plan).programs
    assert asked.name == "기업 지원"
    assert (asked.gpu_hours_a_day, asked.growth) == (400, 0.5)
    assert [size for size, _share in asked.sizes] == [4]
    assert asked.lengths[-1][1].drawn_mean == pytest.approx(2 * HOUR)
    make.answer(run := plan.runs.get())
    assert again(run.asked).programs == (asked,)
    page = client.get(f"/plans/{plan.pk}/").content.decode()
    assert "200" in page
    ran(row, 200, gpus=1)
    assert "바뀌기 전" not in client.get(f"/plans/{plan.pk}/").content.decode()  # later jobs don't make it another plan
    client.post(f"/plans/{plan.pk}/edit/", form(shape_1=own(row)))
    assert [size for size, _share in wanted_by(Plan.objects.get()).programs[0].sizes] == [1, 4]


def test_too_few_jobs_are_said_at_the_field_and_the_plan_keeps_what_it_had():
    ran(row := compute.allocation(compute.partition()), 100)
    boss = people.executive()
    plan = make.plan(boss, programs=[{**make.facts()["programs"][0], "shape": own(row)}])
    Run.objects.filter(pk=Run.objects.first().pk).delete()
    client = client_of(boss)
    assert client.get(f"/plans/{plan.pk}/edit/").context["form"].initial["shape_1"] == own(row)
    answer = client.post(f"/plans/{plan.pk}/edit/", form(shape_1=own(row), name="셋 배"))
    assert answer.status_code == 422
    assert "99" in str(answer.context["form"].errors["shape_1"])
    assert Plan.objects.get().name == "두 배"
    assert client.post("/plans/new/", form(shape_1="own:999999")).status_code == 422
    with pytest.raises(Refused):
        actions.save(boss, **make.facts(programs=[{**make.facts()["programs"][0], "shape": "own:999999"}]))
