"""Every address and operation, asked by everybody who may not, about things that are there."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from django.test import Client

from madang.facilities.compute.tests import make
from madang.identity import actions as people
from madang.identity.models import Role
from madang.identity.tests import make as identity
from madang.jobs.models import Job

pytestmark = pytest.mark.django_db
SECRET = "SECRET-OF-THE-TENANT"


def theirs() -> Job:
    row = make.allocation()
    job = make.job(row, name=SECRET, script=f"#!/bin/sh\n# {SECRET}\n", arguments=[SECRET])
    make.wrote(job, log=f"{SECRET}\n".encode(), secret_txt=SECRET.encode())
    return job


def pages(job: Job) -> list[tuple[str, str]]:
    base = f"/compute/jobs/{job.uuid}/"
    reads = ["", "log/", "log.txt", "script.txt", "files/secret.txt", "?task=0", "?outcome=failed"]
    return [("get", base + path) for path in reads] + [("post", base + "cancel/"), ("post", base + "delete-files/")]


def operations(job: Job) -> list[tuple[str, str]]:
    base = f"/api/v1/compute/jobs/{job.uuid}"
    reads = ["", "/log", "/log.txt", "/files", "/files/secret.txt", "/tasks", "/again", "/efficiency"]
    return [("get", base + path) for path in reads] + [("post", base + "/cancel"), ("delete", base + "/files")]


def somebody(who: str):
    match who:
        case "another tenant":
            return identity.lead_of(identity.organization())
        case "nobody's":
            return identity.person()
        case "operator":
            return identity.operator()
    return identity.staff(who)


def body(answer) -> str:
    return b"".join(answer.streaming_content).decode() if answer.streaming else answer.content.decode()


WHO = [
    "another tenant",
    "nobody's",
    "operator",
    Role.OFFICER,
    Role.REVIEWER,
    Role.STEWARD,
    Role.EXECUTIVE,
    Role.AUDITOR,
]


@pytest.mark.parametrize("who", WHO)
def test_nobody_else_sees_or_touches_a_tenants_job_by_its_pages(who):
    job = theirs()
    client = Client(raise_request_exception=True)
    client.force_login(somebody(who))
    for method, address in pages(job):
        answer = getattr(client, method)(address, headers={"HX-Request": "true"})
        assert (address, answer.status_code, SECRET in body(answer)) == (address, 404, False)
    assert SECRET not in client.get("/compute/jobs/").content.decode()
    assert SECRET not in client.get("/compute/jobs/", {"allocation": job.allocation_id}).content.decode()
    new = client.get("/compute/jobs/new/", {"from": str(job.uuid)})
    assert (new.status_code, SECRET in new.content.decode()) == (404, False)
    assert SECRET not in client.get("/compute/").content.decode()
    assert SECRET not in client.get("/compute/health/").content.decode()
    job.refresh_from_db()
    assert (job.lives, job.cancel_asked_at) == (True, None)


@pytest.mark.parametrize("who", WHO)
def test_nobody_else_sees_or_touches_a_tenants_job_by_the_api(who):
    job = theirs()
    _token, secret = people.make_token(somebody(who), name="test", days=1)
    client = Client(headers={"Authorization": f"Bearer {secret}"})
    for method, address in operations(job):
        answer = getattr(client, method)(address)
        assert (address, answer.status_code, SECRET in body(answer)) == (address, 404, False)
    for address in ("/api/v1/compute/jobs", "/api/v1/compute/balance", "/api/v1/compute/partitions"):
        answer = client.get(address)
        assert (answer.status_code, SECRET in body(answer)) == (200, False)
    estimate = client.get("/api/v1/compute/forecast", {"allocation": job.allocation_id, "gpus": 1, "limit_s": 60})
    assert estimate.status_code == 404
    wanted = {"allocation": job.allocation_id, "name": "x", "script": make.SCRIPT, "limit_s": 60}
    for uuid in (uuid4(), job.uuid):
        answer = client.post("/api/v1/compute/jobs", json.dumps({**wanted, "uuid": str(uuid)}), "application/json")
        assert (answer.status_code, SECRET in body(answer)) in [(404, False), (409, False)]
        several = {"allocation": job.allocation_id, "limit_s": 60}
        several |= {"scripts": [{"name": "x", "script": make.SCRIPT, "uuid": str(uuid)}]}
        answer = client.post("/api/v1/compute/jobs/each", json.dumps(several), "application/json")
        assert (answer.status_code, SECRET in body(answer)) in [(404, False), (409, False)]
    assert Job.objects.count() == 1


def test_who_is_not_logged_in_is_sent_to_the_login_or_told_so():
    job = theirs()
    for method, address in pages(job):
        answer = getattr(Client(), method)(address)
        assert (answer.status_code, answer.url.startswith("/accounts/login/")) == (302, True)
    for method, address in operations(job):
        assert getattr(Client(), method)(address).status_code == 401


@pytest.mark.parametrize("who", ["another tenant", Role.OFFICER, Role.AUDITOR, Role.REVIEWER])
def test_health_and_the_forms_of_the_operator_are_his(who):
    resource = make.partition().resource
    client = Client()
    client.force_login(somebody(who))
    assert client.get("/compute/health/").status_code == 403
    answer = client.post("/compute/clusters/add/", {"code": "x1", "name_ko": "x", "name_en": "x"})
    assert answer.status_code == 403
    answer = client.post("/compute/partitions-add/", {"resource": resource.pk})
    assert answer.status_code == 422
