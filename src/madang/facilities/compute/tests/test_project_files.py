from __future__ import annotations

import hashlib
import io
import json
import threading
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from madang.facilities.compute import actions, shelf, storage
from madang.facilities.compute.models import ProjectFile
from madang.facilities.compute.tests import make
from madang.facilities.compute.tests.test_api import BASE, program, submit
from madang.identity.tests import make as identity
from madang.jobs import engines
from madang.jobs.actions import spec_of
from madang.jobs.models import Job
from madang.jobs.tests import make as jobs
from madang.workflow.errors import Missing, Refused, Stale

pytestmark = pytest.mark.django_db
TEXT = b"print('hello')\n" * 100


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def announce(client, row, path="train.py", content=TEXT, **facts):
    data = {"grant": row.grant.number, "path": path, "size": len(content), "sha256": sha(content), **facts}
    return client.post(f"{BASE}/project-files", json.dumps(data), "application/json")


def put(client, file, content, offset=0):
    address = f"{BASE}/project-files/{file['id']}/bytes?offset={offset}"
    return client.put(address, content, "application/octet-stream")


def keep(row, path="train.py", content=TEXT, actor=None) -> ProjectFile:
    return actions.add_file(
        actor or jobs.holder(row), grant=row.grant, path=path, content=io.BytesIO(content), size=len(content)
    )


def on_disk(row) -> set[str]:
    folder = shelf.root() / str(row.grant_id)
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def test_a_file_comes_in_parts_and_goes_on_where_it_broke_off():
    row = make.allocation()
    client = program(jobs.holder(row))
    made = announce(client, row).json()
    assert (made["received"], made["ready"]) == (0, False)
    assert put(client, made, TEXT[:700]).json()["received"] == 700
    again = announce(client, row).json()
    assert (again["id"], again["received"]) == (made["id"], 700)
    wrong = put(client, made, TEXT[:100], offset=0)
    assert wrong.status_code == 409
    assert "700" in wrong.json()["title"]
    assert submit(client, row, files=["train.py"]).status_code == 422
    done = put(client, made, TEXT[700:], offset=700).json()
    assert (done["ready"], done["received"]) == (True, len(TEXT))
    assert put(client, made, TEXT).json() == done
    assert on_disk(row) == {sha(TEXT)}
    (listed,) = client.get(f"{BASE}/project-files", {"grant": row.grant.number}).json()["items"]
    assert listed == done
    answer = client.get(f"{BASE}/project-files/{made['id']}/bytes")
    assert b"".join(answer.streaming_content) == TEXT


def test_what_is_not_what_was_announced_is_gone_and_nothing_is_left():
    row = make.allocation()
    client = program(jobs.holder(row))
    made = announce(client, row).json()
    answer = put(client, made, b"x" * len(TEXT))
    assert (answer.status_code, answer.json()["where"]) == (422, ["sha256"])
    assert not ProjectFile.objects.exists()
    assert on_disk(row) == set()
    made = announce(client, row).json()
    assert put(client, made, TEXT + b"more").status_code == 422
    assert ProjectFile.objects.get().received == 0
    assert put(client, made, TEXT).json()["ready"]


@pytest.mark.parametrize(
    ("field", "facts"),
    [
        ("path", {"path": "../train.py"}),
        ("path", {"path": ".madang/script"}),
        ("path", {"path": "x" * 101}),
        ("path", {"path": "한" * 86}),
        ("size", {"size": 2**50}),
        ("sha256", {"sha256": "Z" * 64}),
    ],
)
def test_what_cannot_be_kept_is_refused_at_its_place(field, facts):
    row = make.allocation()
    answer = announce(program(jobs.holder(row)), row, **facts)
    assert (answer.status_code, answer.json()["where"]) == (422, [field])
    assert not ProjectFile.objects.exists()


def test_a_name_that_a_disk_takes_is_kept_however_many_bytes_its_path_has():
    row = make.allocation()
    assert announce(program(jobs.holder(row)), row, path=f"{'한' * 49}/{'글' * 49}").status_code == 201


def test_a_size_that_was_announced_wrong_is_put_right_by_announcing_again():
    row = make.allocation()
    client = program(jobs.holder(row))
    wrong = announce(client, row, size=len(TEXT) + 5).json()
    assert put(client, wrong, TEXT).json()["ready"] is False
    right = announce(client, row).json()
    assert (right["size"], right["received"]) == (len(TEXT), 0)
    assert put(client, right, TEXT).json()["ready"]
    again = announce(client, row, size=len(TEXT) + 5)
    assert (again.status_code, again.json()["where"], ProjectFile.objects.count()) == (422, ["size"], 1)


def test_what_the_storage_cannot_hold_is_refused_before_it_comes(settings):
    row = make.allocation()
    most = storage.room(row.grant)[1]
    settings.PROJECT_FILE_LIMIT_BYTES = 10**15
    client = program(jobs.holder(row))
    assert announce(client, row, size=most - 10).status_code == 201
    answer = announce(client, row, path="other.py", size=11)
    assert (answer.status_code, answer.json()["where"]) == (422, ["size"])


def test_a_job_is_given_what_was_there_when_it_was_submitted():
    row = make.allocation()
    client = program(jobs.holder(row))
    keep(row)
    keep(row, "data/rows.csv", b"a,b\n1,2\n")
    made = submit(client, row, files=["train.py", "data/rows.csv"]).json()
    assert [(file["path"], file["size"]) for file in made["files"]] == [("train.py", len(TEXT)), ("data/rows.csv", 8)]
    job = Job.objects.get(uuid=made["uuid"])
    keep(row, content=b"print('newer')\n")
    actions.delete_file(jobs.holder(row), file=ProjectFile.objects.get(path="data/rows.csv"))
    given = {file.path: file.source.read_bytes() for file in spec_of(job).files if file.source}
    assert given == {"train.py": TEXT, "data/rows.csv": b"a,b\n1,2\n"}
    assert on_disk(row) == {sha(TEXT), sha(b"a,b\n1,2\n"), sha(b"print('newer')\n")}
    make.ended(job, ["completed"])
    assert shelf.tidy(row.grant_id) == 2
    assert on_disk(row) == {sha(b"print('newer')\n")}
    assert ProjectFile.objects.get().size == 15


def test_the_same_uuid_with_other_files_is_another_job():
    row = make.allocation()
    client = program(jobs.holder(row))
    keep(row)
    made = submit(client, row, files=["train.py"]).json()
    assert submit(client, row, files=["train.py"], uuid=made["uuid"]).json()["uuid"] == made["uuid"]
    assert submit(client, row, uuid=made["uuid"]).status_code == 409


def test_files_that_do_not_fit_beside_each_other_are_refused():
    row = make.allocation()
    client = program(jobs.holder(row))
    keep(row, "data", b"1")
    keep(row, "data/rows", b"2")
    for files in (["data", "data/rows"], ["data", "data"], ["nothing"]):
        answer = submit(client, row, files=files)
        assert (answer.status_code, answer.json()["where"]) == (422, ["files"])
    assert not Job.objects.exists()


def test_many_tasks_each_with_a_large_copy_are_counted_before_they_start():
    row = make.allocation()
    file = keep(row)
    ProjectFile.objects.filter(pk=file.pk).update(size=10**9, received=10**9)
    answer = submit(program(jobs.holder(row)), row, files=["train.py"], tasks=20, limit_s=60)
    assert (answer.status_code, answer.json()["where"]) == (422, ["allocation"])


def test_a_file_deleted_while_a_job_asks_for_it_is_said(monkeypatch):
    row = make.allocation()
    file = keep(row)
    given = shelf.named(row.grant, ["train.py"])
    file.delete()
    with pytest.raises(Refused) as refused:
        shelf.keep_for(row, given)
    assert refused.value.field == "files"


def test_another_organization_finds_nothing_and_changes_nothing():
    mine, theirs = make.allocation(), make.allocation()
    file = keep(mine)
    stranger = program(jobs.holder(theirs))
    address = f"{BASE}/project-files/{file.pk}"
    assert stranger.get(address).status_code == 404
    assert stranger.get(f"{address}/bytes").status_code == 404
    assert stranger.put(f"{address}/bytes?offset=0", b"x", "application/octet-stream").status_code == 404
    assert stranger.delete(address).status_code == 404
    assert stranger.get(f"{BASE}/project-files").json()["items"] == []
    assert stranger.get(f"{BASE}/project-files", {"grant": mine.grant.number}).status_code == 404
    assert announce(stranger, mine).status_code == 404
    # The same content of theirs is a file of its own, of which nothing has come yet; and a name isn't shared.
    assert announce(stranger, theirs).json()["received"] == 0
    assert submit(stranger, theirs, files=["train.py"]).status_code == 422
    for verb in (
        lambda who: actions.delete_file(who, file=file),
        lambda who: actions.receive(who, file=file, offset=0, content=io.BytesIO(b"")),
        lambda who: keep(mine, actor=who),
    ):
        with pytest.raises(Missing):
            verb(jobs.holder(theirs))
    assert ProjectFile.objects.get(pk=file.pk).ready_at


def test_an_upload_nobody_goes_on_with_is_gone_after_a_day():
    row = make.allocation()
    client = program(jobs.holder(row))
    made = announce(client, row).json()
    put(client, made, TEXT[:10])
    shelf.tidy_all()
    assert on_disk(row) == {f"{made['id']}.part"}
    ProjectFile.objects.update(begun_at=now() - timedelta(hours=25))
    shelf.tidy_all()
    assert on_disk(row) == set()
    assert not ProjectFile.objects.exists()


def test_what_a_broken_transaction_left_is_written_over():
    row = make.allocation()
    file = actions.begin_file(jobs.holder(row), grant=row.grant, path="a", size=len(TEXT), sha256=sha(TEXT))
    shelf.append(file, io.BytesIO(b"not committed" * 9))
    with pytest.raises(Stale):
        actions.receive(jobs.holder(row), file=file, offset=117, content=io.BytesIO(TEXT))
    assert actions.receive(jobs.holder(row), file=file, offset=0, content=io.BytesIO(TEXT)).ready_at


def test_an_empty_file_is_there_at_once():
    row = make.allocation()
    assert announce(program(jobs.holder(row)), row, content=b"").json()["ready"]
    assert shelf.blob(row.grant_id, sha(b"")).read_bytes() == b""


def test_files_count_as_held():
    row = make.allocation()
    keep(row)
    assert storage.held_bytes(row.grant) == len(TEXT)


def test_a_grant_that_ended_takes_no_more_files():
    row = make.allocation()
    row.grant.ends_at = now() - timedelta(minutes=1)
    row.grant.starts_at = now() - timedelta(days=1)
    row.grant.save()
    answer = announce(program(jobs.holder(row)), row)
    assert (answer.status_code, answer.json()["where"]) == (422, ["grant"])


@pytest.mark.parametrize(
    ("asked", "status", "content", "range_"),
    [
        ("bytes=0-4", 206, TEXT[:5], f"bytes 0-4/{len(TEXT)}"),
        ("bytes=1490-", 206, TEXT[1490:], f"bytes 1490-1499/{len(TEXT)}"),
        ("bytes=-3", 206, TEXT[-3:], f"bytes 1497-1499/{len(TEXT)}"),
        ("bytes=0-99999", 200, TEXT, None),
        ("bytes=5-4", 200, TEXT, None),
        ("bytes=0-1,3-4", 200, TEXT, None),
        ("lines=1-2", 200, TEXT, None),
        ("bytes=1500-", 416, b"", f"bytes */{len(TEXT)}"),
        ("bytes=-0", 416, b"", f"bytes */{len(TEXT)}"),
    ],
)
def test_a_download_goes_on_from_where_it_is_asked_to(asked, status, content, range_):
    row = make.allocation()
    client = program(jobs.holder(row))
    file = keep(row)
    answer = client.get(f"{BASE}/project-files/{file.pk}/bytes", headers={"Range": asked})
    found = b"".join(answer.streaming_content) if answer.streaming else answer.content
    assert (answer.status_code, found, answer.headers.get("Content-Range")) == (status, content, range_)
    if status == 206:
        assert (answer["Content-Length"], 'filename="train.py"' in answer["Content-Disposition"]) == (
            str(len(content)),
            True,
        )


def test_what_was_written_since_comes_whole():
    row = make.allocation()
    client = program(jobs.holder(row))
    job = make.job(row)
    make.wrote(job, model_bin=b"0123456789")
    address = f"{BASE}/jobs/{job.uuid}/files/model.bin"
    etag = client.get(address)["ETag"]
    part = client.get(address, headers={"Range": "bytes=4-", "If-Range": etag})
    assert b"".join(part.streaming_content) == b"456789"
    make.wrote(job, model_bin=b"changed since")
    whole = client.get(address, headers={"Range": "bytes=4-", "If-Range": etag})
    assert (whole.status_code, b"".join(whole.streaming_content)) == (200, b"changed since")


def test_a_host_names_the_same_place_each_time():
    row = make.allocation()
    job = make.job(row)
    assert engines.source(job.engine, row, "a" * 64) == engines.source(job.engine, row, "a" * 64)
    assert str(row.grant_id) in str(engines.source(job.engine, row, "a" * 64))


def test_only_members_add_files():
    row = make.allocation()
    with pytest.raises(Missing):
        keep(row, actor=identity.operator())


def browser(person) -> Client:
    client = Client(HTTP_ACCEPT_LANGUAGE="en")
    client.force_login(person)
    return client


def test_files_are_added_listed_fetched_and_deleted_on_their_page():
    row = make.allocation()
    client = browser(jobs.holder(row))
    address = f"{reverse('compute:files')}?grant={row.grant.number}"
    sent = [SimpleUploadedFile("train.py", TEXT), SimpleUploadedFile("한글 데이터.csv", b"a\n1\n")]
    assert client.post(address, {"files": sent}).url == address
    text = client.get(address).content.decode()
    assert "train.py" in text
    assert "한글 데이터.csv" in text
    file = ProjectFile.objects.get(path="train.py")
    answer = client.get(reverse("compute:project_file", args=[file.pk]))
    assert b"".join(answer.streaming_content) == TEXT
    assert answer["Content-Security-Policy"].startswith("sandbox")
    client.post(reverse("compute:delete_file", args=[file.pk]))
    assert [file.path for file in ProjectFile.objects.all()] == ["한글 데이터.csv"]
    assert client.post(address, {}).status_code == 422


def test_a_file_that_is_sent_with_a_job_is_kept_and_given():
    row = make.allocation()
    client = browser(jobs.holder(row))
    keep(row, "data.csv", b"1")
    page = client.get(reverse("compute:new"))
    form = page.context["form"]
    data = {name: form[name].value() for name in form.fields if form[name].value() not in (None, "")}
    data |= {"name": "train", "gpus": 1, "script": jobs.SCRIPT, "files": ["data.csv"], "submit": "1"}
    client.post(reverse("compute:new"), {**data, "attach": [SimpleUploadedFile("train.py", TEXT)]})
    job = Job.objects.get()
    assert [entry[0] for entry in job.inputs] == ["data.csv", "train.py"]
    again = client.get(reverse("compute:new"), {"from": job.uuid}).context["form"]
    assert again["files"].value() == ["data.csv", "train.py"]
    text = client.get(reverse("compute:job", args=[job.uuid])).content.decode()
    assert "data.csv</bdi> (1 byte)" in text.replace("\xa0", " ")


def test_another_organization_sees_no_file_on_any_page():
    mine, theirs = make.allocation(), make.allocation()
    file = keep(mine, "secret-name.py")
    stranger = browser(jobs.holder(theirs))
    assert stranger.get(f"{reverse('compute:files')}?grant={mine.grant.number}").status_code == 404
    for address in (reverse("compute:files"), reverse("compute:new")):
        assert "secret-name" not in stranger.get(address).content.decode()
    assert stranger.get(reverse("compute:project_file", args=[file.pk])).status_code == 404
    assert stranger.post(reverse("compute:delete_file", args=[file.pk])).status_code == 404
    assert ProjectFile.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_that_send_the_same_part_at_once_write_it_once():
    row = make.allocation()
    file = actions.begin_file(jobs.holder(row), grant=row.grant, path="a", size=len(TEXT), sha256=sha(TEXT))
    person = jobs.holder(row)
    found: list[str] = []

    def send() -> None:
        try:
            actions.receive(person, file=file, offset=0, content=io.BytesIO(TEXT[:900]))
            found.append("kept")
        except Stale:
            found.append("stale")
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["kept", "stale", "stale", "stale"]
    assert actions.receive(person, file=file, offset=900, content=io.BytesIO(TEXT[900:])).ready_at
