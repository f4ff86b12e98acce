from __future__ import annotations

import json
from uuid import uuid4

import pytest
from django.test import Client

from madang.catalog.tests import make as catalog
from madang.facilities.compute.tests import make
from madang.identity import actions as people
from madang.jobs.models import Job
from madang.jobs.tests import make as jobs

pytestmark = pytest.mark.django_db
BASE = "/api/v1/compute"


def program(person) -> Client:
    _token, secret = people.make_token(person, name="test", days=1)
    return Client(headers={"Authorization": f"Bearer {secret}", "Accept-Language": "en"})


def submit(client: Client, row, **facts):
    data = {"allocation": row.pk, "name": "train", "script": make.SCRIPT, "gpus": 1, "limit_s": 600, **facts}
    return client.post(f"{BASE}/jobs", json.dumps(data), "application/json")


def test_a_job_by_the_api_from_balance_to_log():
    where = make.partition()
    catalog.rate(where.resource)
    row = make.allocation(where)
    client = program(jobs.holder(row))
    (balance,) = client.get(f"{BASE}/balance").json()["items"]
    assert {
        name: balance[name] for name in ("allocation", "left", "held", "used", "most_gpus", "longest_s", "declared")
    } == {
        "allocation": row.pk,
        "left": 36_000,
        "held": 0,
        "used": 0,
        "most_gpus": 4,
        "longest_s": 21_600,
        "declared": True,
    }
    asked = {"allocation": row.pk, "gpus": 2, "limit_s": 61}
    assert client.get(f"{BASE}/estimate", asked).json() == {"held": 240, "krw": 134, "left_after": 35_760}
    answer = submit(client, row, arguments=["--epochs", "3"])
    assert answer.status_code == 201
    made = answer.json()
    assert (made["state"], made["held"], made["grant"], made["cluster"]) == (
        "accepted",
        600,
        row.grant.number,
        where.cluster.code,
    )
    job = Job.objects.get(uuid=made["uuid"])
    make.wrote(job, log="하나\n둘\n".encode(), model_bin=b"abc")
    part = client.get(f"{BASE}/jobs/{job.uuid}/log", {"offset": 7}).json()
    assert part == {"text": "둘\n", "offset": 7, "next": 11, "size": 11, "complete": False, "state": "accepted"}
    files = client.get(f"{BASE}/jobs/{job.uuid}/files").json()["items"]
    assert [(file["path"], file["size"]) for file in files] == [("model.bin", 3)]
    answer = client.get(f"{BASE}/jobs/{job.uuid}/files/model.bin")
    assert b"".join(answer.streaming_content) == b"abc"
    assert [row["uuid"] for row in client.get(f"{BASE}/jobs").json()["items"]] == [made["uuid"]]
    assert client.get(f"{BASE}/jobs/{job.uuid}").json()["name"] == "train"
    canceled = client.post(f"{BASE}/jobs/{job.uuid}/cancel").json()
    assert canceled["cancel_asked_at"] is not None


def test_the_same_uuid_is_the_same_job_and_other_content_is_a_conflict():
    row = make.allocation()
    client, uuid = program(jobs.holder(row)), str(uuid4())
    assert [submit(client, row, uuid=uuid).status_code for _ in range(2)] == [201, 201]
    answer = submit(client, row, uuid=uuid, gpus=2)
    assert (answer.status_code, Job.objects.count(), jobs.balance(row)[0]) == (409, 1, 600)


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "a\nb"},
        {"name": ""},
        {"name": "x" * 81},
        {"name": 5},
        {"script": "x" * 200_001},
        {"script": ""},
        {"script": "#!/bin/sh\n\x00"},
        {"script": "no interpreter"},
        {"gpus": 0},
        {"gpus": 10**30},
        {"gpus": "two"},
        {"limit_s": -5},
        {"limit_s": 10**30},
        {"limit_s": None},
        {"arguments": ["x" * 2000]},
        {"arguments": ["x"] * 101},
        {"arguments": "x"},
        {"uuid": "x"},
        {"gpus": 5},
        {"limit_s": 999_999},
    ],
)
def test_bad_input_is_a_problem_and_nothing_is_half_done(facts):
    row = make.allocation(amount=10**9)
    answer = submit(program(jobs.holder(row)), row, **facts)
    assert (answer.status_code, Job.objects.count(), jobs.balance(row)[0]) == (422, 0, 0)


@pytest.mark.parametrize("allocation", [0, -1, 10**30])
def test_an_allocation_that_cannot_be_is_a_problem(allocation):
    row = make.allocation()
    assert submit(program(jobs.holder(row)), row, allocation=allocation).status_code == 422


def test_refusals_name_the_field():
    row = make.allocation(amount=60)
    answer = submit(program(jobs.holder(row)), row)
    assert (answer.status_code, answer.json()["where"]) == (422, ["limit_s"])
    assert "left" in answer.json()["title"]


def test_the_list_goes_on_where_it_stopped():
    row = make.allocation()
    made = [str(make.job(row).uuid) for _ in range(5)]
    client = program(jobs.holder(row))
    first = client.get(f"{BASE}/jobs", {"limit": 3}).json()
    second = client.get(f"{BASE}/jobs", {"limit": 3, "after": first["next"]}).json()
    assert [job["uuid"] for job in first["items"] + second["items"]] == made[::-1]
    assert second["next"] is None


def test_partitions_need_no_login():
    where = make.partition()
    (row,) = Client().get(f"{BASE}/partitions").json()["items"]
    assert (row["partition"], row["gpus"], row["declared"], row["sandbox"]) == (where.name, 8, True, None)
