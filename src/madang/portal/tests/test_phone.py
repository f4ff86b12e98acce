"""The pages of computing on a phone: nothing is pushed sideways to be read. And what runs is shown as it moves."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from madang.facilities.compute import actions
from madang.facilities.compute.tests import make
from madang.identity.models import Person
from madang.jobs.models import Job
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
