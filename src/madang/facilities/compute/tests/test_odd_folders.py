"""What a job may make of its folder to harm whoever looks at it: nesting without end, names no address can hold."""

from __future__ import annotations

import os
from datetime import timedelta
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from madang.engines.base import RunKey
from madang.engines.local import folders
from madang.facilities.compute import actions, queries, storage
from madang.facilities.compute.models import Folder
from madang.facilities.compute.tests import make
from madang.jobs.models import Job
from madang.jobs.tests import make as jobs
from madang.workflow.errors import Missing

pytestmark = pytest.mark.django_db
LEVELS = 3000


@pytest.fixture
def row():
    return make.allocation()


@pytest.fixture
def ended(row):
    job = make.job(row)
    make.wrote(job, good_txt=b"good")
    long_ago = now() - timedelta(hours=1)
    Job.objects.filter(pk=job.pk).update(state="ended", outcome="completed", told_at=long_ago, ended_at=long_ago)
    job.refresh_from_db()
    yield job
    storage.remove_files(job)  # pytest itself can't remove what is this deep


@pytest.fixture
def deep(ended):
    nest(make.folder(ended) / "work")
    return ended


def nest(work, levels: int = LEVELS) -> None:
    """A chain of folders with a file at its end, and a fork half way."""
    here = os.open(work, os.O_RDONLY)
    for level in range(levels):
        os.mkdir("d", dir_fd=here)
        if level == levels // 2:
            os.mkdir("e", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    fd = os.open("end", os.O_WRONLY | os.O_CREAT, dir_fd=here)
    os.write(fd, os.urandom(1 << 20))
    os.close(fd)
    os.close(here)


def browser(row) -> Client:
    client = Client(HTTP_ACCEPT_LANGUAGE="en")
    client.force_login(jobs.holder(row))
    return client


def shown(row, job) -> tuple[str, list[dict]]:
    client = browser(row)
    page = client.get(reverse("compute:job", args=[job.uuid]))
    listed = client.get(f"/api/v1/compute/jobs/{job.uuid}/files")
    assert (page.status_code, listed.status_code) == (200, 200)
    return page.content.decode(), listed.json()["items"]


def test_folders_without_end_are_listed_as_far_as_anyone_looks(row, deep):
    page, listed = shown(row, deep)
    assert "good.txt" in page
    assert [entry["path"] for entry in listed] == ["good.txt"]


def test_a_file_at_the_end_of_very_deep_folders_counts(deep):
    assert storage.size_of(storage.folder_of(deep)) >= 1 << 20
    assert len([1 for _ in folders.walk(make.folder(deep) / "work")]) == 2


def test_very_deep_folders_are_deleted_by_the_worker_and_held_until_they_are_gone(row, deep):
    storage.measure()
    work = make.folder(deep) / "work"
    before = len(os.listdir("/proc/self/fd"))
    page = browser(row).post(reverse("compute:delete_files", args=[deep.uuid]), follow=True).content.decode()
    assert "The files are being removed" in page
    assert reverse("compute:delete_files", args=[deep.uuid]) not in page
    assert (work.exists(), shown(row, deep)[1]) == (True, [])
    assert Folder.objects.get(job=deep).bytes >= 1 << 20
    assert make.worked() == 1
    assert not work.exists()
    assert Folder.objects.get(job=deep).bytes < 10_000
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    page, listed = shown(row, deep)
    assert ("being removed" in page, listed) == (False, [])


def test_locked_folders_are_deleted_at_any_depth(ended):
    work = make.folder(ended) / "work"
    here = work
    for _level in range(20):
        here = here / "d"
        here.mkdir()
    (here / "file").write_text("x")
    for folder in [here, *here.parents][:20]:
        folder.chmod(0)
    work.chmod(0o500)
    assert storage.remove_files(ended)
    assert not work.exists()


def test_what_could_not_be_deleted_is_still_held_and_tried_again(row, ended, monkeypatch):
    storage.measure()
    (make.folder(ended) / "work" / "more").write_bytes(os.urandom(1 << 20))
    Folder.objects.filter(job=ended).update(bytes=1 << 20)

    def fails(_top):
        raise OSError(5, "the disk says no")

    with monkeypatch.context() as broken:
        broken.setattr(folders, "remove", fails)
        actions.delete_files(jobs.holder(row), job=ended)
        make.worked()
        assert Folder.objects.get(job=ended).bytes == 1 << 20
        storage.measure()
        kept = Folder.objects.get(job=ended)
        assert (kept.bytes >= 1 << 20, kept.final, queries.removing(ended)) == (True, False, True)
    storage.measure()
    gone = Folder.objects.get(job=ended)
    assert (gone.bytes < 10_000, gone.final, queries.removing(ended)) == (True, True, False)
    assert not (storage.folder_of(ended) / "0" / "1" / "work").exists()


def test_one_bad_folder_does_not_keep_the_others_from_being_measured(row, ended, monkeypatch):
    good = make.job(row)
    make.wrote(good, a_txt=b"x" * 5000)
    real = storage.size_of

    def size_of(path):
        if path == storage.folder_of(ended):
            raise RecursionError
        return real(path)

    monkeypatch.setattr(storage, "size_of", size_of)
    assert storage.measure() == 1
    assert Folder.objects.get(job=good).bytes >= 5000
    assert not Folder.objects.filter(job=ended).exists()


def test_names_that_no_address_can_hold_are_listed_without_a_link(row, ended):
    work = make.folder(ended) / "work"
    for name in (b"a\nb.txt", b"c\rd.txt", b"\xff<i>.bin"):
        (work / os.fsdecode(name)).write_bytes(b"12345")
    (work / "한글 #?%.txt").write_text("x")
    page, listed = shown(row, ended)
    assert [entry["path"] for entry in listed] == [
        "a\ufffdb.txt",
        "c\ufffdd.txt",
        "good.txt",
        "한글 #?%.txt",
        "\ufffd<i>.bin",
    ]
    assert [entry["downloadable"] for entry in listed] == [False, False, True, True, False]
    assert "<bdi>a\ufffdb.txt</bdi></th>" in page
    assert "<bdi>\ufffd&lt;i&gt;.bin</bdi></th>" in page
    assert page.count(f"/{ended.uuid}/files/") - page.count(f"/{ended.uuid}/files/delete") >= 2
    assert sum(entry.size for entry in queries.files_of(ended)) == 3 * 5 + 4 + 1
    assert [entry.downloadable for entry in queries.files_of(ended)] == [False, False, True, True, False]
    client = browser(row)
    for name in ("a%0Ab.txt", "c%0Dd.txt", "%FF%3Ci%3E.bin"):
        assert client.get(f"/api/v1/compute/jobs/{ended.uuid}/files/{name}").status_code == 404
    for path in ("a\nb.txt", "c\rd.txt", "\udcff<i>.bin"):
        with pytest.raises(Missing):
            queries.open_file(ended, path)
    assert queries.open_file(ended, "한글 #?%.txt").read() == b"x"


def test_a_file_from_beyond_every_calendar_is_listed(tmp_path):
    run = RunKey(UUID(int=7))
    work = folders.place(tmp_path, run) / "work"
    work.mkdir(parents=True)
    (work / "old").write_text("x")
    os.utime(work / "old", (-(10**10), -(10**10)))
    assert [entry.path for entry in folders.RunFolders(tmp_path).files(run)] == ["old"]


def filled(top, count: int) -> None:
    top.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (top / f"{number:05}").touch()


def test_more_files_than_a_listing_takes_are_said_to_be_more(tmp_path, monkeypatch):
    def listed(number: int):
        return folders.RunFolders(tmp_path).files(RunKey(UUID(int=number)))

    def work(number: int):
        return folders.place(tmp_path, RunKey(UUID(int=number))) / "work"

    for number, count in ((1, 10_000), (2, 10_001)):
        filled(work(number), count)
    assert [(len(listed(n)), listed(n).truncated) for n in (1, 2, 3)] == [(10_000, False), (10_000, True), (0, False)]
    deep = work(4)
    for _level in range(101):
        deep = deep / "d"
    filled(deep, 1)
    filled(work(4), 1)
    assert (len(listed(4)), listed(4).truncated) == (1, True)
    monkeypatch.setattr(folders, "MAX_SEEN", 5)
    filled(work(5) / "below", 5)
    assert (len(listed(5)), listed(5).truncated) == (4, True)


def test_where_a_job_wrote_more_files_than_are_listed_page_and_api_say_so(row, ended):
    work = make.folder(ended) / "work"
    filled(work, 10_000)  # and good.txt
    client = browser(row)
    page = client.get(reverse("compute:job", args=[ended.uuid]), headers={"accept-language": "en"}).content.decode()
    answer = client.get(f"/api/v1/compute/jobs/{ended.uuid}/files").json()
    assert (len(answer["items"]), answer["truncated"]) == (10_000, True)
    assert "It has more files than can be listed. The API lists 10,000 of them" in page
    assert "Sum of the files that are listed" in page
    assert "The API lists all of them" not in page
    unlisted = ({path.name for path in work.iterdir()} - {entry["path"] for entry in answer["items"]}).pop()
    assert client.get(f"/api/v1/compute/jobs/{ended.uuid}/files/{unlisted}").status_code == 200
    (work / unlisted).unlink()
    page = client.get(reverse("compute:job", args=[ended.uuid]), headers={"accept-language": "en"}).content.decode()
    assert "The first 500 files are shown. The API lists all of them." in page
    assert client.get(f"/api/v1/compute/jobs/{ended.uuid}/files").json()["truncated"] is False
