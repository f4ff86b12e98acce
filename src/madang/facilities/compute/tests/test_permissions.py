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
NAME = "NAME-OF-THE-JOB"  # what operators see of it


def theirs() -> Job:
    row = make.allocation()
    job = make.job(row, name=NAME, script=f"#!/bin/sh\n# {SECRET}\n", arguments=[SECRET])
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


def secret(answer) -> bool:
    return any(word in body(answer) for word in (SECRET, NAME))


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
        # An operator is sent to what operators see of it.
        sent_on = who == "operator" and address.partition("?")[0] == f"/compute/jobs/{job.uuid}/"
        assert (address, answer.status_code, secret(answer)) == (address, 302 if sent_on else 404, False)
    for address in ("/compute/jobs/", f"/compute/jobs/?allocation={job.allocation_id}"):
        assert not secret(client.get(address))
    new = client.get("/compute/jobs/new/", {"from": str(job.uuid)})
    assert (new.status_code, secret(new)) == (404, False)
    for address in ("/compute/", "/compute/health/"):
        assert not secret(client.get(address))
    job.refresh_from_db()
    assert (job.lives, job.cancel_asked_at) == (True, None)


@pytest.mark.parametrize("who", [who for who in WHO if who != "operator"])
def test_only_operators_see_the_jobs_of_all_organizations_and_have_one_end(who):
    job = theirs()
    client = Client()
    client.force_login(somebody(who))
    _token, given = people.make_token(somebody(who), name="test", days=1)
    program = Client(headers={"Authorization": f"Bearer {given}"})
    reason = {"reason": "It fills the shared disk."}
    for address in ("/compute/site-jobs/", f"/compute/site-jobs/{job.uuid}/", f"/compute/site-jobs/{uuid4()}/"):
        answer = client.get(address)
        assert (address, answer.status_code, secret(answer)) == (address, 403, False)
    for uuid in (job.uuid, uuid4()):
        answer = client.post(f"/compute/site-jobs/{uuid}/end/", reason)
        assert (answer.status_code, secret(answer)) == (403, False)
        for answer in (
            program.get(f"/api/v1/compute/site-jobs/{uuid}"),
            program.post(f"/api/v1/compute/site-jobs/{uuid}/end", json.dumps(reason), "application/json"),
        ):
            assert (answer.status_code, secret(answer)) == (403, False)
    assert program.get("/api/v1/compute/site-jobs").status_code == 403
    job.refresh_from_db()
    assert (job.lives, job.cancel_asked_at) == (True, None)


def test_an_operator_sees_the_facts_of_a_tenants_job_and_neither_its_script_nor_what_it_writes():
    job = theirs()
    boss = identity.operator()
    client = Client(headers={"Accept-Language": "ko"})
    client.force_login(boss)
    _token, given = people.make_token(boss, name="test", days=1)
    program = Client(headers={"Authorization": f"Bearer {given}"})
    assert client.get(f"/compute/jobs/{job.uuid}/").url == f"/compute/site-jobs/{job.uuid}/"
    organization = job.allocation.grant.organization.name_ko
    for address in ("/compute/site-jobs/", f"/compute/site-jobs/{job.uuid}/"):
        text = body(client.get(address))
        assert (NAME in text, organization in text, SECRET in text) == (True, True, False)
    found = program.get(f"/api/v1/compute/site-jobs/{job.uuid}")
    assert (found.status_code, found.json()["name"], SECRET in body(found)) == (200, NAME, False)
    assert [row["uuid"] for row in program.get("/api/v1/compute/site-jobs").json()["items"]] == [str(job.uuid)]


@pytest.mark.parametrize("who", WHO)
def test_nobody_else_sees_or_touches_a_tenants_job_by_the_api(who):
    job = theirs()
    _token, given = people.make_token(somebody(who), name="test", days=1)
    client = Client(headers={"Authorization": f"Bearer {given}"})
    for method, address in operations(job):
        answer = getattr(client, method)(address)
        assert (address, answer.status_code, secret(answer)) == (address, 404, False)
    for address in ("/api/v1/compute/jobs", "/api/v1/compute/balance", "/api/v1/compute/partitions"):
        answer = client.get(address)
        assert (answer.status_code, secret(answer)) == (200, False)
    estimate = client.get("/api/v1/compute/forecast", {"allocation": job.allocation_id, "gpus": 1, "limit_s": 60})
    assert estimate.status_code == 404
    wanted = {"allocation": job.allocation_id, "name": "x", "script": make.SCRIPT, "limit_s": 60}
    for uuid in (uuid4(), job.uuid):
        answer = client.post("/api/v1/compute/jobs", json.dumps({**wanted, "uuid": str(uuid)}), "application/json")
        assert (answer.status_code, secret(answer)) in [(404, False), (409, False)]
        several = {"allocation": job.allocation_id, "limit_s": 60}
        several |= {"scripts": [{"name": "x", "script": make.SCRIPT, "uuid": str(uuid)}]}
        answer = client.post("/api/v1/compute/jobs/each", json.dumps(several), "application/json")
        assert (answer.status_code, secret(answer)) in [(404, False), (409, False)]
    assert Job.objects.count() == 1


def test_who_is_not_logged_in_is_sent_to_the_login_or_told_so():
    job = theirs()
    for method, address in [*pages(job), ("get", "/compute/site-jobs/"), ("get", f"/compute/site-jobs/{job.uuid}/")]:
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
