"""The pages of computing on a phone: nothing is pushed sideways to be read. And what runs is shown as it moves."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from madang.facilities.compute import actions
from madang.facilities.compute.tests import make
from madang.identity.models import Person
from madang.identity.tests import make as identity
from madang.jobs import maintenance
from madang.jobs.models import Job, Node, Watch
from madang.jobs.tests import make as jobs
from madang.workflow.moment import now

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
TABLE = "learning_rate,seed\n0.00012345,17\n0.2,18\n"
BESIDE = """() => [document.documentElement, ...document.querySelectorAll(".table-scroll")]
    .map(box => box.scrollWidth - box.clientWidth)"""


def log_in(page: Any, live_server: Any, person: Person, language: str = "en") -> None:
    client = Client()
    client.force_login(person)
    session = client.cookies["sessionid"].value
    kept = {"sessionid": session, "django_language": language}
    page.context.add_cookies([{"name": name, "value": kept[name], "url": live_server.url} for name in kept])


@pytest.mark.parametrize("language", ["ko", "en"])
def test_no_page_of_computing_scrolls_sideways(page: Any, live_server: Any, language: str) -> None:
    row = make.allocation()
    holder = jobs.holder(row)
    sweep = make.job(row, name="experiment_" * 7, parameters=TABLE)
    make.wrote(sweep, log=b"one\n", checkpoint_pt=b"x" * 70_000)
    make.ended(sweep, ["failed", "completed"], seconds=4000)
    session = make.runs(make.session(row))
    actions.add_file(holder, grant=row.grant, path="data/" + "k" * 60 + ".csv", content=io.BytesIO(b"x"), size=1)
    log_in(page, live_server, holder, language)
    page.set_viewport_size({"width": 390, "height": 844})
    places = [reverse(f"compute:{name}") for name in ("jobs", "new", "files", "sessions", "session_new", "partitions")]
    places += [reverse("compute:job", args=[job.uuid]) for job in (sweep, session.job)]
    places += [reverse("compute:session", args=[session.job.uuid])]
    places += [reverse("compute:partition", args=[row.resource.code])]
    for place in places:
        assert page.goto(live_server.url + place).status == 200
        assert (place, [beside for beside in page.evaluate(BESIDE) if beside > 0]) == (place, [])


@pytest.mark.parametrize("language", ["ko", "en"])
def test_no_page_of_an_operator_scrolls_sideways_and_what_can_be_done_is_in_sight(
    page: Any, live_server: Any, language: str
) -> None:
    job = make.job(make.allocation(), name="experiment_" * 7, tasks=3)
    Watch.objects.create(engine=job.engine, answered_at=now())
    states = {"mixed": "", "drained": "XID 79: GPU has fallen off the bus", "down": "Not responding", "unknown": ""}
    facts = {"engine": job.engine, "partitions": "h100,h100-long", "gpu_type": "nvidia_h100_80gb_hbm3", "used": 1000}
    Node.objects.bulk_create(
        Node(name=f"gpu-h100-node-{state}", state=state, reason=reason, reason_by="root", gpus=1024, **facts)
        for state, reason in states.items()
    )
    today, reason = now().replace(second=0, microsecond=0), "Cooling is looked at, and cables are changed"
    times = {"starts_at": today + timedelta(days=2), "ends_at": today + timedelta(days=3)}
    nodes = ["gpu-h100-node-mixed", "gpu-h100-node-down"]
    maintenance.announce(identity.operator(), engine=job.engine, nodes=nodes, partition="", reason=reason, **times)
    make.kind(command="/opt/jupyter/environments/2026-11/bin/jupyter-lab")
    log_in(page, live_server, identity.operator(), language)
    page.set_viewport_size({"width": 390, "height": 844})
    places = [reverse(f"compute:{name}") for name in ("health", "session_kinds", "site_jobs", "nodes")]
    for place in [reverse("compute:site_job", args=[job.uuid]), *places]:
        assert page.goto(live_server.url + place).status == 200
        assert (place, [beside for beside in page.evaluate(BESIDE) if beside > 0]) == (place, [])
    for confirm in page.locator("details.confirm").all():  # withdraw the maintenance, drain a node
        confirm.locator("summary").click()
    acts = page.locator("td :is(.button, input[type=text], textarea):visible").all()
    assert len(acts) == 11
    for act in acts:
        box = act.bounding_box()
        assert 0 <= box["x"] < box["x"] + box["width"] <= 390
    row = page.get_by_role("row").filter(has_text="gpu-h100-node-drained")  # which it still is to a screen reader
    assert (row.get_by_role("rowheader").count(), row.get_by_role("cell").count()) == (1, 2)
    heads = page.get_by_role("table").last.get_by_role("columnheader")
    assert [head.bounding_box()["height"] > 20 for head in heads.all()][:2] == [True, True]


def test_the_tasks_of_a_job_are_shown_as_they_move_and_the_focus_stays(page: Any, live_server: Any) -> None:
    row = make.allocation()
    job = make.job(row, parameters=TABLE)
    log_in(page, live_server, jobs.holder(row))
    page.goto(live_server.url + reverse("compute:job", args=[job.uuid]))
    assert page.locator("#tasks tbody td .badge").all_text_contents() == ["waits", "waits"]
    page.locator("#task-1").focus()
    Job.objects.get().task_rows.filter(number=1).update(started_at=now())
    page.locator("#tasks tbody td .badge", has_text="runs").wait_for(timeout=10_000)
    assert page.evaluate("document.activeElement.id") == "task-1"
    make.ended(job, ["failed", "completed"])
    page.locator("#log-next:not([hx-get])").wait_for(state="attached", timeout=10_000)
    assert page.locator("#tasks tbody td .badge").all_text_contents() == ["failed", "completed"]
