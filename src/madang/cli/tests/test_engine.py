"""What a monitor hears of the clusters."""

from __future__ import annotations

import json

import pytest

from madang.facilities.compute.tests import make
from madang.identity import actions as people
from madang.identity.tests import make as identity
from madang.jobs.models import Job, Watch
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def operates(world):
    """The terminal of the site's operator."""
    _row, token = people.make_token(identity.operator(), name="monitor", days=1)
    world.type.environment["MADANG_TOKEN"] = token
    return world.type


def test_a_site_that_is_well_is_said_so_and_a_silent_cluster_is_an_alarm(operates, world):
    silent = operates("engine", "check")
    assert (silent.exit_code, "silent" in silent.stdout, "madang: 1 alarm;" in silent.stderr) == (1, True, True)
    cluster = world.allocation.resource.partition.cluster.code
    Watch.objects.create(engine=cluster, answered_at=now(), lag_s=0.1, health={"warnings": []})
    well = operates("engine", "check")
    assert (well.exit_code, well.stdout, "1 cluster answered" in well.stderr) == (0, "", True)
    alarm = {"code": "nodes_down", "text": "these nodes don't answer: n1, n2"}
    Watch.objects.update(health={"warnings": [alarm]})
    ill = operates("engine", "check", "--json")
    (row,) = json.loads(ill.stdout)["items"]
    assert (ill.exit_code, row["cluster"], row["silent"], row["alarms"][0]["code"]) == (1, cluster, False, "nodes_down")
    assert "n1, n2" in row["alarms"][0]["text"]
    held = {"held": "made by somebody else on this cluster: allocation-1"}
    Watch.objects.update(health={"warnings": []}, drift=held, windows_held="Invalid node name specified")
    stuck = operates("engine", "check", "--json")
    assert (stuck.exit_code, "2 alarms;" in stuck.stderr) == (1, True)
    said = {alarm["code"]: alarm["text"] for alarm in json.loads(stuck.stdout)["items"][0]["alarms"]}
    assert said.keys() == {"budgets_held", "maintenance_held"}
    assert "allocation-1" in said["budgets_held"]
    assert "Invalid node name specified" in said["maintenance_held"]


def test_an_operator_ends_a_tenants_job_with_a_reason_that_its_owner_reads(operates, world):
    job = make.job(world.allocation)
    Job.objects.update(state="running", told_at=now(), started_at=now())
    listed = operates("jobs", "--site")
    assert (str(job.uuid)[:8] in listed.stdout, job.allocation.grant.number in listed.stdout) == (True, True)
    assert operates.json("job", str(job.uuid)[:8], "--site")["gpus"] == 1
    assert operates("job", str(job.uuid)).exit_code == 4  # it isn't of the operator's organization
    short = operates("cancel", str(job.uuid)[:8], "--reason", "now")
    assert (short.exit_code, "reason" in short.stderr) == (1, True)
    answer = operates("cancel", str(job.uuid)[:8], "--reason", "It fills the disk.")
    assert (answer.exit_code, answer.stdout) == (0, f"{job.uuid} is being canceled\n")
    assert operates("jobs", "--site", "--mine").exit_code == 2

    world.type.environment["MADANG_TOKEN"] = world.token
    assert world.type.json("job", str(job.uuid))["cancel_why"] == "It fills the disk."
    assert "It fills the disk." in world.type("job", str(job.uuid)).stdout
    make.ended(job, ["cancelled"])
    followed = world.type("logs", "-f", str(job.uuid))
    assert (followed.exit_code, "the site had it end: It fills the disk." in followed.stderr) == (10, True)
    uuid = str(job.uuid)
    for words in (("jobs", "--site"), ("job", uuid, "--site"), ("cancel", uuid, "--reason", "so it is")):
        assert world.type(*words).exit_code == 3


def test_a_tenant_hears_nothing_of_the_clusters_inside(world):
    answer = world.type("engine", "check")
    assert (answer.exit_code, answer.stdout) == (3, "")
