"""A job may start again when its node fails or it is preempted: where that is offered, and what its holder reads."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from madang.engines.base import Outcome, RunKey
from madang.facilities.compute import actions
from madang.facilities.compute.models import EngineKind, JobTemplate, PosixAccount
from madang.facilities.compute.tests import make
from madang.facilities.compute.tests.test_api import BASE, program
from madang.facilities.compute.tests.test_api import submit as post
from madang.facilities.compute.tests.test_pages import NEW, browser, filled
from madang.facilities.compute.tests.test_recipes import FACTS
from madang.grants.models import Allocation
from madang.identity.tests import make as identity
from madang.jobs import actions as jobs_actions
from madang.jobs import many
from madang.jobs.models import Job, JobState
from madang.jobs.tests import make as jobs
from madang.workflow.errors import Refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def row(settings: Any) -> Allocation:
    """An allocation on a Slurm cluster, whose holder has a user name there."""
    settings.SLURM = {"gwangju": {"conf": "/etc/slurm/slurm.conf", "runs": "/shared/runs"}}
    cluster = make.cluster(code="gwangju", engine=EngineKind.SLURM)
    row = make.allocation(make.partition(cluster, declared=False))
    PosixAccount.objects.create(cluster=cluster, person=jobs.holder(row), name="holder")
    return row


def test_the_form_offers_it_where_the_cluster_can_and_what_was_chosen_is_asked_of_it(row):
    client = browser(jobs.holder(row))
    page = client.get(NEW)
    assert not page.context["form"]["requeue"].value()
    assert client.post(NEW, filled(row, requeue="on")).status_code == 302
    job = Job.objects.get()
    assert job.requeue
    assert jobs_actions.spec_of(job).requeue
    text = client.get(f"/compute/jobs/{job.uuid}/").content.decode()
    assert "when its node fails or it is preempted" in text
    again = client.get(f"{NEW}?from={job.uuid}&allocation={row.pk}")
    assert again.context["form"]["requeue"].value() is True
    assert client.post(NEW, filled(row)).status_code == 302
    plain = Job.objects.exclude(pk=job.pk).get()
    assert not jobs_actions.spec_of(plain).requeue
    assert "when its node fails" not in client.get(f"/compute/jobs/{plain.uuid}/").content.decode()


def test_this_machine_does_not_offer_it_and_refuses_it():
    row = make.allocation()
    client = browser(jobs.holder(row))
    assert "requeue" not in client.get(NEW).context["form"].fields
    assert client.post(NEW, filled(row, requeue="on")).status_code == 302
    assert not Job.objects.get().requeue  # a field that isn't there isn't read
    answer = post(program(jobs.holder(row)), row, requeue=True)
    assert (answer.status_code, Job.objects.count()) == (422, 1)
    assert "start a job again" in answer.content.decode()
    with pytest.raises(Refused) as refused:
        make.job(row, requeue=True)
    assert list(refused.value.errors) == ["requeue"]


def test_the_form_of_an_allocation_elsewhere_loses_the_choice(row):
    """Whoever holds both chooses one after the other."""
    here = make.allocation(grant=row.grant)
    client = browser(jobs.holder(row))
    assert "requeue" in client.get(f"{NEW}?allocation={row.pk}").context["form"].fields
    assert "requeue" not in client.get(f"{NEW}?allocation={here.pk}").context["form"].fields
    kept = client.post(NEW, filled(row, requeue="on", calculate="1"))
    assert kept.context["form"]["requeue"].value()


def test_it_is_told_by_the_api_and_the_same_uuid_with_another_choice_is_another_job(row):
    client, uuid = program(jobs.holder(row)), str(uuid4())
    made = post(client, row, requeue=True, uuid=uuid).json()
    assert made["requeue"] is True
    assert post(client, row, requeue=False, uuid=uuid).status_code == 409
    assert post(client, row, requeue=True, uuid=uuid).json()["uuid"] == uuid
    assert client.get(f"{BASE}/jobs/{uuid}/request").json()["requeue"] is True
    data = {"allocation": row.pk, "limit_s": 60, "requeue": True}
    data |= {"scripts": [{"name": f"n{n}", "script": make.SCRIPT} for n in range(2)]}
    assert client.post(f"{BASE}/jobs/each", json.dumps(data), "application/json").status_code == 201
    assert list(Job.objects.values_list("requeue", flat=True)) == [True] * 3


def test_several_scripts_are_refused_it_together(row):
    here = make.allocation()
    scripts = [many.Script(uuid4(), f"n{n}", make.SCRIPT) for n in range(2)]
    with pytest.raises(Refused):
        actions.submit_each(jobs.holder(here), allocation=here, scripts=scripts, gpus=1, limit_s=60, requeue=True)
    assert not Job.objects.exists()


def test_a_template_asks_for_it_where_the_cluster_can(row):
    actions.keep_template(identity.operator(), **FACTS, requeue=True)
    assert JobTemplate.objects.get().requeue
    client = browser(jobs.holder(row))
    assert client.get(f"{NEW}?template=ours").context["form"]["requeue"].value() is True
    offered = program(jobs.holder(row)).get(f"{BASE}/templates").json()["items"]
    assert {found["code"]: found["requeue"] for found in offered}["ours"] is True
    here = make.allocation()
    assert "requeue" not in browser(jobs.holder(here)).get(f"{NEW}?template=ours").context["form"].fields
    page = browser(identity.operator()).get("/compute/templates/ours/")
    assert page.context["form"]["requeue"].value() is True


def test_the_page_of_a_job_tells_of_its_earlier_runs_and_that_it_waits_for_the_balance(row):
    job = make.job(row, limit_s=18_000, requeue=True)
    Job.objects.update(state=JobState.RUNNING, told_at=job.submitted_at)
    ended = replace(jobs.PaperEngine().end(job, seconds=100, outcome=Outcome.NODE_FAILED), goes_on=True)
    jobs_actions.record_usage("gwangju", [ended])
    client = browser(jobs.holder(row))
    text = client.get(f"/compute/jobs/{job.uuid}/").content.decode()
    assert "its node failed" in text
    assert "given back" in text
    assert "It waits for your balance" not in text
    other = make.job(row, limit_s=18_000)
    preempted = replace(ended, key=RunKey(job.uuid, 0, 1, 1), outcome=Outcome.PREEMPTED)
    jobs_actions.record_usage("gwangju", [preempted])
    text = client.get(f"/compute/jobs/{job.uuid}/").content.decode()
    assert "It waits for your balance" in text
    assert "Interrupted and settled; it starts again" in text
    assert "doesn't cover another run: it is held back" in text.replace("&#x27;", "'")
    assert "It waits for your balance" not in client.get(f"/compute/jobs/{other.uuid}/").content.decode()
    jobs_actions.record_usage("gwangju", [replace(ended, key=RunKey(job.uuid, 0, 1, 2), goes_on=False)])
    text = client.get(f"/compute/jobs/{job.uuid}/").content.decode()
    assert "It waits for your balance" not in text
    assert text.count("given back") == 1  # its last run is told of above: these are the earlier ones
