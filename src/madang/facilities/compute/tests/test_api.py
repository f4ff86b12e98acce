from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client

from madang.catalog.tests import make as catalog
from madang.facilities.compute.tests import make
from madang.identity import actions as people
from madang.jobs.models import Job, Task, Watch
from madang.jobs.tests import make as jobs
from madang.workflow.moment import now

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
    forecast = client.get(f"{BASE}/forecast", asked).json()
    assert forecast == {
        "resource": row.resource.code,
        "partition": row.resource.partition.name,
        "held": 240,
        "krw": 134,
        "own_krw": None,
        "left_after": 35_760,
        "start": "unknown",
        "free": None,
        "ahead": None,
        "seen_at": None,
        "maintenance": None,
        "earliest_at": None,
        "fits_s": 0,
        "expected": None,
        "tested": None,
    }
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
        {"tasks": 0},
        {"tasks": 10_001},
        {"tasks": "many"},
        {"parallel": -1},
        {"parameters": 5},
        {"parameters": "lr\n"},
        {"parameters": "lr,lr\n1,2\n"},
        {"parameters": "lr\n" + "x" * 1_000_000},
        {"parameters": "lr\n1\n2\n", "tasks": 3},
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


def test_a_sweep_by_the_api_from_the_table_to_its_failed_tasks_again():
    row = make.allocation()
    client = program(jobs.holder(row))
    made = submit(client, row, parameters="lr,seed\n0.1,1\n0.2,2\n", parallel=1).json()
    assert (made["tasks"], made["parallel"], made["variables"], made["held"]) == (2, 1, ["lr", "seed"], 1200)
    job = Job.objects.get(uuid=made["uuid"])
    base = f"{BASE}/jobs/{job.uuid}"
    make.wrote(job, log=b"first\n", a_txt=b"a")
    make.wrote(job, log=b"second\n", task=1, b_txt=b"bb")
    assert [client.get(f"{base}/log", {"task": task}).json()["text"] for task in (0, 1)] == ["first\n", "second\n"]
    assert b"".join(client.get(f"{base}/log.txt", {"task": 1}).streaming_content) == b"second\n"
    kept = make.folder(job, 1) / "work/.madang"
    kept.mkdir()
    (kept / "script").write_text(make.SCRIPT)  # as the wrapper leaves it
    files = client.get(f"{base}/files", {"task": 1}).json()["items"]
    assert [(file["path"], file["given"]) for file in files] == [(".madang/script", True), ("b.txt", False)]
    assert b"".join(client.get(f"{base}/files/b.txt", {"task": 1}).streaming_content) == b"bb"
    assert client.get(f"{base}/files/b.txt").status_code == 404
    assert client.get(f"{base}/again").json() == {"parameters": ""}
    make.ended(job, ["completed", "failed"])
    assert client.get(f"{base}/log", {"task": 1}).json()["complete"]
    tasks = client.get(f"{base}/tasks", {"limit": 1}).json()
    assert (tasks["next"], tasks["items"][0]["parameters"]) == (0, {"lr": "0.1", "seed": "1"})
    (bad,) = client.get(f"{base}/tasks", {"outcome": "failed"}).json()["items"]
    assert (bad["number"], bad["outcome"], bad["used"], bad["held"]) == (1, "failed", 60, 0)
    again = client.get(f"{base}/again").json()
    assert again == {"parameters": "MADANG_TASK,lr,seed\n1,0.2,2\n"}
    assert submit(client, row, **again).json()["held"] == 600


@pytest.mark.parametrize("task", ["2", "-1", "x", "9" * 30])
def test_a_task_that_is_not_there_is_a_problem(task):
    row = make.allocation()
    job = make.job(row, tasks=2)
    client = program(jobs.holder(row))
    for part in ("log", "log.txt", "files", "files/a.txt"):
        assert client.get(f"{BASE}/jobs/{job.uuid}/{part}", {"task": task}).status_code in (404, 422)


def test_a_forecast_counts_every_task_and_says_what_it_waits_for():
    where = make.partition()
    catalog.rate(where.resource, price_krw=2000)
    row = make.allocation(where)
    row.list_krw, row.reduction_krw = 1000, 900
    row.save()
    client = program(jobs.holder(row))
    asked = {"allocation": row.pk, "gpus": 2, "limit_s": 3600, "tasks": 6}

    def heard(busy, queued, seconds=1, **more):
        slots = [{"gpu_type": where.gpu_type, "slots": 8, "busy": busy, "queued": queued, **more}]
        Watch.objects.update_or_create(
            engine=where.cluster.code,
            defaults={"answered_at": now() - timedelta(seconds=seconds), "health": {"slots": slots, "lag_s": 1}},
        )
        found = client.get(f"{BASE}/forecast", asked).json()
        assert (found["held"], found["krw"], found["own_krw"], found["left_after"]) == (43_200, 24_000, 2400, -7200)
        return found["start"], found["free"], found["ahead"]

    assert heard(busy=6, queued=0) == ("now", 2, 0)
    assert heard(busy=7, queued=0) == ("waits", 1, 0)
    assert heard(busy=2, queued=3) == ("waits", 6, 3)
    assert heard(busy=0, queued=0, seconds=60) == ("unknown", None, None)
    assert heard(busy=1, queued=0, closed=4) == ("now", 3, 0)
    assert heard(busy=3, queued=0, closed=4) == ("waits", 1, 0)
    # A drained node, a full disk: as long as that lasts, nobody can say when anything starts.
    assert heard(busy=0, queued=0, closed=8) == ("closed", 0, 0)
    assert heard(busy=2, queued=5, closed=8) == ("closed", 0, 5)
    assert heard(busy=0, queued=0, slots=0) == ("closed", 0, 0)
    (place,) = client.get(f"{BASE}/partitions").json()["items"]
    assert (place["gpus"], place["closed"]) == (8, 8)
    page = Client(HTTP_ACCEPT_LANGUAGE="en")
    page.force_login(jobs.holder(row))
    assert "nothing is started there now" in page.get("/compute/jobs/new/", asked | {"minutes": 60}).content.decode()
    assert "8 take no jobs now" in page.get(f"/compute/partitions/{where.resource.code}/").content.decode()


def test_a_job_that_waits_is_told_when_it_starts_from_everybodys_past_and_sees_nobodys_job():
    where = make.partition()
    mine, theirs = make.allocation(where), make.allocation(where)
    client = program(jobs.holder(mine))
    asked = {"allocation": mine.pk, "gpus": 4, "limit_s": 600}

    def heard(busy: int):
        slots = [{"gpu_type": where.gpu_type, "slots": 8, "busy": busy, "queued": 1}]
        health = {"slots": slots, "lag_s": 1, "sandbox": True, "kept_apart": True}
        Watch.objects.update_or_create(engine=where.cluster.code, defaults={"answered_at": now(), "health": health})
        return client.get(f"{BASE}/forecast", asked).json()

    running = make.job(theirs, gpus=4, limit_s=3600, name="남의 작업")
    running.task_rows.update(started_at=now() - timedelta(minutes=30))
    latest = heard(busy=8)["expected"]
    assert (latest["known"], latest["futures"]) == (False, 1)
    assert 1790 <= latest["p10_s"] == latest["p90_s"] <= 1800
    for _ in range(5):
        make.ended(make.job(theirs, gpus=1, limit_s=120), ["completed"], seconds=90)
    found = heard(busy=8)
    said = found["expected"]
    assert said["known"]
    assert (
        890 <= said["p10_s"] <= said["p50_s"] <= said["p90_s"] <= 910
    )  # three quarters of the hour are over in a quarter
    assert said["within_an_hour"] == 1.0
    assert "남의 작업" not in str(found)
    assert str(running.uuid) not in str(found)


def test_a_job_is_submitted_again_as_it_was():
    row = make.allocation()
    client = program(jobs.holder(row))
    first = submit(client, row, arguments=["--x"], parameters="lr\n0.1\n0.2\n", parallel=1).json()
    asked = client.get(f"{BASE}/jobs/{first['uuid']}/request").json()
    second = client.post(f"{BASE}/jobs", json.dumps(asked), "application/json").json()
    assert second["uuid"] != first["uuid"]
    assert client.get(f"{BASE}/jobs/{second['uuid']}/request").json() == asked
    assert program(jobs.holder(make.allocation())).get(f"{BASE}/jobs/{first['uuid']}/request").status_code == 404
    Job.objects.update(bare=True)
    assert client.get(f"{BASE}/jobs/{first['uuid']}/request").status_code == 404


def test_why_a_job_waits_or_ended_is_told_to_programs_in_a_word_and_to_people_in_a_sentence():
    row = make.allocation()
    waiting, held, over = (make.job(row) for _each in range(3))
    sweep = make.job(row, tasks=2)
    Job.objects.filter(pk=waiting.pk).update(state="queued", waits="NodesOut")
    Job.objects.filter(pk=held.pk).update(state="queued", waits="JobHeldAdmin", requeue=True)
    Task.objects.filter(job=held).update(held_back=True, held=0)
    why = {"why": "it reached its time limit", "outcome": "timed_out", "ended_at": now()}
    Job.objects.filter(pk=over.pk).update(state="ended", cancel_why="the allocation is paused", **why)
    Task.objects.filter(job=sweep, number=1).update(held=0, **why)
    client = program(jobs.holder(row))
    listed = {job["uuid"]: job for job in client.get(f"{BASE}/jobs").json()["items"]}
    one = client.get(f"{BASE}/jobs/{over.uuid}").json()
    assert one == listed[str(over.uuid)]
    assert (one["why"], one["why_said"]) == ("it reached its time limit", "It reached its time limit.")
    assert (one["cancel_why"], one["cancel_why_said"]) == ("the allocation is paused", "The allocation was paused.")
    said = [(listed[str(job.uuid)]["waits"], listed[str(job.uuid)]["waits_said"]) for job in (waiting, held, sweep)]
    assert said == [
        ("NodesOut", "The nodes that it needs take no jobs: some are drained, others down or in maintenance."),
        ("JobHeldAdmin", "The rest of your budget doesn't cover another run: it is held back until it does."),
        ("", ""),
    ]
    tasks = client.get(f"{BASE}/jobs/{sweep.uuid}/tasks").json()["items"]
    assert [(task["why"], task["why_said"]) for task in tasks] == [("", ""), (why["why"], "It reached its time limit.")]
    korean = client.get(f"{BASE}/jobs/{over.uuid}", headers={"Accept-Language": "ko"}).json()
    assert (korean["why"], korean["why_said"]) == (why["why"], "제한 시간에 도달했습니다.")
