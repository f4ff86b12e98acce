"""Each command on jobs, for people and for programs, with the exit code that a script sees."""

from __future__ import annotations

import doctest
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import typer
from django.db import connection

from madang.cli import compute
from madang.cli.show import _lines
from madang.client import Client, Problem
from madang.engines.local import folders
from madang.facilities.compute.models import Cluster, EngineKind
from madang.facilities.compute.tests import make
from madang.identity import actions as people
from madang.identity.tests import make as identity
from madang.jobs import maintenance
from madang.jobs.models import Job, JobState, Task
from madang.jobs.tests import make as jobs
from madang.workflow.moment import now

database = pytest.mark.django_db(transaction=True)


def ended(job: Job, outcome: str = "completed", why: str = "") -> Job:
    """As the poller leaves it."""
    Job.objects.filter(pk=job.pk).update(
        state=JobState.ENDED, outcome=outcome, why=why, ended_at=now(), told_at=job.submitted_at, used=60, held=0
    )
    job.refresh_from_db()
    return job


@database
def test_a_job_is_submitted_once_for_one_uuid_and_its_hold_is_said(world):
    uuid = str(uuid4())
    words = ("submit", str(world.script), "--gpus", "2", "--time", "00:10:00", "--uuid", uuid, "--", "--rounds", "3")
    first = world.type(*words)
    assert (first.exit_code, first.stdout) == (0, f"{uuid}\n")
    assert "2 × " in first.stderr
    assert "0.33 GPU-hours held, 9.67 left" in first.stderr
    assert world.type(*words).exit_code == 0
    (job,) = Job.objects.all()
    assert (job.name, job.gpus, job.limit_s, job.arguments) == ("train.sh", 2, 600, ["--rounds", "3"])
    other = world.type("submit", str(world.script), "--uuid", uuid)
    assert (other.exit_code, Job.objects.count()) == (1, 1)


@database
def test_what_is_left_is_said_as_it_is_also_of_a_job_that_was_there_before(world):
    words = ("submit", str(world.script), "--time", "06:00:00", "--uuid", str(uuid4()))
    for _again in range(2):
        assert "6.00 GPU-hours held, 4.00 left" in " ".join(world.type(*words).stderr.split())
    ended(Job.objects.get())
    assert "It has ended: completed." in " ".join(world.type(*words).stderr.split())
    several = ("submit", str(world.script), str(world.script), "--time", "01:00:00", "--uuid", str(uuid4()))
    said = {" ".join(world.type(*several).stderr.split()).partition(" held, ")[2].partition(" left")[0] for _ in "12"}
    assert said == {"2.00"}


@database
def test_waiting_for_a_job_ends_with_its_last_task(world):
    def end_one_after_the_other():
        while not (job := Job.objects.first()):
            time.sleep(0.05)
        tasks = Task.objects.filter(job=job)
        tasks.filter(number=0).update(outcome="completed", held=0, started_at=now(), ended_at=now())
        time.sleep(1)
        tasks.filter(number=1).update(outcome="failed", held=0, started_at=now(), ended_at=now())
        ended(job, "failed")
        connection.close()

    ends = threading.Thread(target=end_one_after_the_other)
    ends.start()
    answer = world.type("submit", str(world.script), "--tasks", "2", "--time", "10", "--wait")
    ends.join()
    assert (answer.exit_code, "the job ended: failed" in answer.stderr) == (10, True)


@database
def test_several_scripts_are_a_job_each_once_for_one_uuid_and_what_follows_the_dashes_is_for_all(world, tmp_path):
    names = [f"{n}.sh" for n in range(3)]
    for name in names:
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name}\n")
    words = ("submit", *(str(tmp_path / name) for name in names), "--time", "10", "--uuid", str(uuid4()))
    first = world.type(*words, "--", "--rounds", "--", "3")
    jobs = list(Job.objects.order_by("id"))
    assert (first.exit_code, first.stdout) == (0, "".join(f"{job.uuid}\n" for job in jobs))
    assert [job.name for job in jobs] == names
    assert [job.script.split()[-1] for job in jobs] == names
    assert {tuple(job.arguments) for job in jobs} == {("--rounds", "--", "3")}
    assert "3 jobs of 1 × " in first.stderr
    assert "0.5 GPU-hours held, 9.5 left" in " ".join(first.stderr.split()).replace("0.50", "0.5").replace(
        "9.50", "9.5"
    )
    assert world.type(*words, "--", "--rounds", "--", "3").stdout == first.stdout
    said = world.type.json("submit", *words[1:4])
    assert [row["name"] for row in said] == names
    assert Job.objects.count() == 6


@database
def test_a_job_may_start_again_where_its_cluster_does_that(world, settings):
    words = ("submit", str(world.script), "--time", "10", "--requeue")
    said = world.type(*words)
    assert (said.exit_code, "doesn't start a job again" in said.stderr, Job.objects.count()) == (1, True, 0)
    Cluster.objects.update(engine=EngineKind.SLURM)
    settings.SLURM = {
        Cluster.objects.get().code: {"conf": "/etc/slurm/slurm.conf", "runs": "/shared", "makes_users": "m"}
    }
    assert world.type(*words).exit_code == 0
    assert world.type(*words, str(world.script)).exit_code == 0
    assert list(Job.objects.values_list("requeue", flat=True)) == [True] * 3


@database
def test_where_one_of_several_scripts_is_refused_none_is_submitted(world, tmp_path):
    (tmp_path / "bad.sh").write_text("echo\n")
    answer = world.type("submit", str(world.script), str(tmp_path / "bad.sh"))
    assert (answer.exit_code, Job.objects.count()) == (1, 0)
    assert "bad.sh: The first line of a script" in answer.stderr.replace("\n", " ")


@database
def test_programs_are_answered_in_json(world):
    made = world.type.json("submit", str(world.script), "--name", "학습", "--time", "10")
    assert (made["name"], made["held"], made["allocation"]) == ("학습", 600, world.allocation.pk)
    job = Job.objects.get(uuid=made["uuid"])
    make.wrote(job, "하나\n".encode(), result_txt=b"42\n")
    short = made["uuid"][:8]
    assert [row["uuid"] for row in world.type.json("jobs")] == [made["uuid"]]
    assert [row["uuid"] for row in world.type.json("jobs", "--live", "--mine", "--limit", "1")] == [made["uuid"]]
    assert world.type.json("job", short)["name"] == "학습"
    assert world.type.json("logs", short) == {"uuid": made["uuid"], "log": "하나\n"}
    assert [(row["path"], row["size"]) for row in world.type.json("files", made["uuid"])] == [("result.txt", 3)]
    assert [row["held"] for row in world.type.json("balance")] == [600]
    assert world.type.json("whoami")["email"] == world.holder.email
    assert world.type.json("cancel", short)["cancel_asked_at"] is not None


@database
def test_people_are_answered_in_tables(world):
    job = world.job(name="산불 감지")
    make.wrote(job, b"one\ntwo\n", result_txt=b"42\n")
    short = str(job.uuid)[:8]
    for words, seen in (
        (("jobs",), "산불 감지"),
        (("job", short), str(job.uuid)),
        (("logs", short), "one\ntwo\n"),
        (("files", short), "result.txt"),
        (("balance",), "10.00"),
        (("whoami",), world.holder.email),
        (("cancel", short), "being canceled"),
    ):
        answer = world.type(*words)
        assert (answer.exit_code, answer.stderr) == (0, "")
        assert seen in answer.stdout


@database
@pytest.mark.parametrize(
    ("outcome", "code"), [("completed", 0), ("failed", 10), ("timed_out", 10), ("cancelled", 10), ("lost", 10)]
)
def test_following_a_log_ends_with_how_the_job_ended(world, outcome, code):
    job = world.job()
    make.wrote(job, b"step 1\nstep 2\n")
    ended(job, outcome, "" if code == 0 else "it reached its time limit")
    answer = world.type("logs", "-f", str(job.uuid))
    assert (answer.exit_code, answer.stdout) == (code, "step 1\nstep 2\n")
    assert (f"the job ended: {outcome}. It reached its time limit." in answer.stderr) is (code == 10)
    quiet = world.type("logs", "-f", str(job.uuid), "--json")
    assert quiet.exit_code == code


@database
def test_how_a_job_failed_is_said_with_its_exit_code_and_without_a_reason_nothing_more(world):
    job = ended(world.job(), "failed")
    Job.objects.filter(pk=job.pk).update(exit_code=5)
    make.wrote(job, b"step 1\n")
    answer = world.type("logs", "-f", str(job.uuid))
    assert (answer.exit_code, answer.stderr.splitlines()[-1]) == (10, "madang: the job ended: failed, exit code 5.")


@database
def test_why_a_job_waits_is_said_in_a_sentence_to_people_and_with_the_word_to_programs(world):
    job = world.job()
    Job.objects.filter(pk=job.pk).update(state="queued", waits="Priority")
    said = world.type("job", str(job.uuid)).stdout
    assert ("Other jobs are before it." in said, "Priority" in said, "_said" in said) == (True, False, False)
    told = world.type.json("job", str(job.uuid))
    assert (told["waits"], told["waits_said"]) == ("Priority", "Other jobs are before it.")


@database
@pytest.mark.parametrize(("zone", "offset"), [("Asia/Seoul", "+09:00"), ("UTC", "+00:00"), ("America/New_York", "-0")])
def test_times_are_this_machines_and_say_so(world, monkeypatch, zone, offset):
    made = world.job()
    Job.objects.filter(pk=made.pk).update(submitted_at=datetime(2026, 11, 23, 18, 12, tzinfo=UTC))
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        said = {words: world.type(*words).stdout for words in (("jobs",), ("job", str(made.uuid)))}
        shown = datetime(2026, 11, 23, 18, 12, tzinfo=UTC).astimezone(ZoneInfo(zone))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert all(f"{shown:%Y-%m-%d %H:%M} {offset}" in " ".join(text.split()) for text in said.values())


@database
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("submit", "SCRIPT", "--time", "soon"), "write minutes (30)"),
        (("submit", "SCRIPT", "--time", "1:00"), "write 1:00:00, or 00:01:00"),
        (("submit", "SCRIPT", "--gpus", "0"), "--gpus"),
        (("submit", "SCRIPT", "--uuid", "x"), "--uuid"),
        (("submit", "nowhere.sh"), "nowhere.sh"),
        (("submit", "SCRIPT", "SCRIPT", "--tasks", "2", "--wait"), "--tasks, --wait: only with one script"),
        (("submit", *["SCRIPT"] * 1001), "at most 1,000 scripts at once"),
        (("submit", "--", "SCRIPT"), "Missing argument"),
        (("submit", "BINARY"), "isn't a text in UTF-8"),
        (("submit", "LARGE"), "too large for a script"),
        (("job", "x"), "at least four signs"),
        (("cp", "abcd1234"), "JOB:PATH"),
        (("jobs", "--limit", "0"), "--limit"),
        (("nonsense",), "nonsense"),
    ],
)
def test_wrong_use_is_2_and_says_what_is_right(world, tmp_path, words, why):
    (tmp_path / "binary").write_bytes(b"#!/bin/sh\n\xff\xfe")
    (tmp_path / "large").write_bytes(b"#" * 1_000_001)
    places = {"SCRIPT": str(world.script), "BINARY": str(tmp_path / "binary"), "LARGE": str(tmp_path / "large")}
    answer = world.type(*(places.get(word, word) for word in words))
    assert (answer.exit_code, Job.objects.count()) == (2, 0)
    assert why in answer.stderr.replace("\n", " ")
    assert "Traceback" not in answer.output


@database
@pytest.mark.parametrize(
    "more", [("--time", "11:00:00"), ("--gpus", "1000"), ("--allocation", "999999"), ("--partition", "none")]
)
def test_what_the_site_refuses_is_1(world, more):
    answer = world.type("submit", str(world.script), *more)
    assert (answer.exit_code, Job.objects.count()) == (1, 0)
    assert answer.stderr.startswith("madang: ")


@database
def test_more_gpus_than_one_job_gets_are_refused_with_how_many_it_gets(world):
    for words in (("submit", str(world.script)), ("forecast",)):
        answer = world.type(*words, "--gpus", "9")
        said = "madang: one job has at most 4 GPUs there, and 9 were asked for\n"
        assert (answer.exit_code, answer.stderr) == (1, said)
    elsewhere = world.type("submit", str(world.script), "--gpus", "9", "--partition", "none")
    assert "no allocation of yours fits" in elsewhere.stderr


@database
def test_what_is_wrong_is_said_at_its_field_to_people_and_to_programs(world):
    words = ("submit", str(world.script), "--name", "x" * 81, "--time", "9999:00:00")
    answer = world.type(*words)
    said = json.loads(world.type(*words, "--json").stdout)
    assert (said["status"], sorted(said["errors"]), said["where"]) == (422, ["limit_s", "name"], list(said["errors"]))
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr == "madang: " + "\n  ".join(f"{name}: {what}" for name, what in said["errors"].items()) + "\n"
    with pytest.raises(Problem) as raised, Client(world.type.url, world.token) as client:
        client.post("/compute/jobs", {"allocation": world.allocation.pk, "script": "#!", "name": "x", "gpus": 0})
    assert {name: raised.value.errors[name] for name in ("gpus", "limit_s")} == {
        "gpus": "It must be at least 1.",
        "limit_s": "It is required.",
    }


@database
def test_a_title_that_says_more_than_its_fields_is_said_before_them(world):
    answer = world.type("submit", str(world.script), "--time", "11:00:00", "--json")
    said = json.loads(answer.stdout)
    assert (answer.exit_code, said["errors"]) == (1, {"limit_s": said["title"]})
    assert answer.stderr == f"madang: limit_s: {said['title']}\n"
    assert _lines(Problem(422, "not like this", errors={"name": "too long"})) == ["not like this", "name: too long"]
    assert _lines(Problem(404, "not there")) == ["not there"]


@database
def test_several_allocations_are_named_and_one_must_be_chosen(world):
    other = make.allocation(grant=world.allocation.grant)
    answer = world.type("submit", str(world.script))
    assert answer.exit_code == 2
    assert all(f"--allocation {row.pk} " in answer.stderr for row in (world.allocation, other))
    assert world.type("submit", str(world.script), "--allocation", str(other.pk)).exit_code == 0
    assert Job.objects.get().allocation == other


@database
def test_without_a_token_or_with_a_wrong_one_it_is_3(world):
    world.job()
    for token in (None, "mdg_wrong", "not\na token", "토큰"):
        for words in (("jobs",), ("balance",), ("whoami",), ("submit", str(world.script))):
            answer = world.type(*words, MADANG_TOKEN=token)
            assert (answer.exit_code, answer.stdout) == (3, "")
            assert "madang login" in answer.stderr
    assert Job.objects.count() == 1


@database
def test_another_tenants_job_is_as_if_it_were_not_there(world):
    secret = make.job(make.allocation(), name="아무도 모르는 작업")
    make.wrote(secret, b"secret\n", result_txt=b"secret\n")
    for asked in (str(secret.uuid), str(secret.uuid)[:8]):
        for words in (("job", asked), ("logs", asked), ("files", asked), ("cancel", asked), ("cp", f"{asked}:")):
            answer = world.type(*words)
            assert (answer.exit_code, answer.stdout) == (4, "")
            assert "아무도" not in answer.stderr
    assert world.type.json("jobs") == []
    secret.refresh_from_db()
    assert secret.cancel_asked_at is None


@database
def test_no_answer_is_5(world):
    for url in ("http://127.0.0.1:9", "nonsense", "http://", "ftp://x", "http://[::1"):
        answer = world.type("jobs", MADANG_URL=url)
        assert (answer.exit_code, answer.stdout) == (5, "")
        assert "no answer from" in answer.stderr


@database
def test_files_are_fetched_into_the_folder_that_is_named(world, tmp_path):
    job = world.job()
    make.wrote(job, result_txt=b"42\n")
    work = make.folder(job) / "work"
    (work / "models").mkdir()
    (work / "models/a b#1%20?.bin").write_bytes(b"model")
    to = tmp_path / "got"
    to.mkdir()
    answer = world.type("cp", f"{job.uuid}:", str(to))
    assert answer.exit_code == 0, answer.stderr
    assert {str(path.relative_to(to)): path.read_bytes() for path in to.rglob("*") if path.is_file()} == {
        "result.txt": b"42\n",
        "models/a b#1%20?.bin": b"model",
    }
    assert world.type("cp", f"{job.uuid}:result.txt", str(to / "renamed.txt")).exit_code == 0
    assert (to / "renamed.txt").read_bytes() == b"42\n"
    missing = world.type("cp", f"{job.uuid}:none.txt", str(to))
    assert missing.exit_code == 4
    assert "madang files" in missing.stderr


@database
def test_files_whose_names_no_address_can_hold_are_named_and_the_others_fetched(world, tmp_path):
    job = world.job()
    make.wrote(job, result_txt=b"42\n")
    (make.folder(job) / "work" / "a\nb.txt").write_bytes(b"odd")
    (make.folder(job) / "work" / "a\ufffdb.txt").write_bytes(b"only resembles it")
    listed = {(row["path"], row["size"]): row["downloadable"] for row in world.type.json("files", str(job.uuid))}
    assert listed == {("a\ufffdb.txt", 3): False, ("a\ufffdb.txt", 17): True, ("result.txt", 3): True}
    assert "a\ufffdb.txt (can't be fetched)" in world.type("files", str(job.uuid)).stdout
    to = tmp_path / "got"
    answer = world.type("cp", f"{job.uuid}:", str(to))
    assert (answer.exit_code, {path.name: path.read_bytes() for path in to.iterdir()}) == (
        1,
        {"a\ufffdb.txt": b"only resembles it", "result.txt": b"42\n"},
    )
    said = "madang: not fetched, as no address can hold the name: a\ufffdb.txt"
    assert answer.stderr.splitlines()[-1] == said
    assert world.type("cp", f"{job.uuid}:a\ufffdb.txt", str(to / "one")).exit_code == 0
    assert (to / "one").read_bytes() == b"only resembles it"
    (make.folder(job) / "work" / "a\ufffdb.txt").unlink()
    answer = world.type("cp", f"{job.uuid}:a\ufffdb.txt", str(to / "two"))
    assert (answer.exit_code, answer.stderr.splitlines()[-1], (to / "two").exists()) == (1, said, False)


@database
def test_a_copy_of_more_files_than_are_listed_is_no_success(world, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "MAX_LISTED", 3)
    job = world.job()
    make.wrote(job, **{name: name.encode() for name in "abcd"})
    to = tmp_path / "got"
    answer = world.type("cp", f"{job.uuid}:", str(to))
    said = "it has more files than can be listed: these are 3; name one that is missing as JOB:PATH"
    assert (answer.exit_code, answer.stderr.splitlines()[-1]) == (1, f"madang: {said}")
    got = {path.name for path in to.iterdir()}
    assert len(got) == 3
    (missing,) = set("abcd") - got
    assert world.type("cp", f"{job.uuid}:{missing}", str(tmp_path / "it")).exit_code == 0
    assert (tmp_path / "it").read_text() == missing
    assert world.type("cp", f"{job.uuid}:e", str(tmp_path / "e")).exit_code == 1
    for more in ((), ("--json",)):
        listed = world.type("files", str(job.uuid), *more)
        assert (listed.exit_code, listed.stderr) == (1, f"madang: {said}\n")
    assert len(json.loads(listed.stdout)) == 3


@database
def test_names_that_look_hostile_are_names_like_others(world, tmp_path):
    job = world.job()
    make.wrote(job)
    names = ["..\\..\\up", "a\\b", "C:\\x", "...", "~", "-rf", "$(touch x)", "%2e%2e%2fx", "a%2F..%2Fb", "x" * 255]
    for name in names:
        (make.folder(job) / "work" / name).write_bytes(name.encode())
    to = tmp_path / "a" / "got"
    answer = world.type("cp", f"{job.uuid}:", str(to))
    assert answer.exit_code == 0, answer.stderr
    assert {path.name: path.read_bytes() for path in to.iterdir()} == {name: name.encode() for name in names}
    assert list(to.parent.iterdir()) == [to]
    assert world.type("cp", f"{job.uuid}:a\\b", str(tmp_path / "one")).exit_code == 0
    assert (tmp_path / "one").read_bytes() == b"a\\b"


@database
def test_what_cannot_be_written_is_named_and_the_rest_fetched(world, tmp_path):
    job = world.job()
    make.wrote(job, a=b"1", z=b"3")
    for folder in ("out", "file"):
        (make.folder(job) / "work" / folder).mkdir()
        (make.folder(job) / "work" / folder / "x").write_bytes(b"2")
    to, elsewhere = tmp_path / "to", tmp_path / "elsewhere"
    to.mkdir()
    elsewhere.mkdir()
    (to / "out").symlink_to(elsewhere)
    (to / "z").symlink_to(elsewhere / "z")
    (to / "file").write_text("mine")
    answer = world.type("cp", f"{job.uuid}:", str(to))
    assert (answer.exit_code, answer.stdout) == (1, f"{to / 'a'}\n")
    assert answer.stderr.strip().splitlines() == [
        "madang: file/x: it can't be written here: File exists",
        "  out/x: a link there leads out of the folder, so nothing is written",
        "  z: a link there leads out of the folder, so nothing is written",
    ]
    assert (list(elsewhere.iterdir()), (to / "file").read_text()) == ([], "mine")
    assert sorted(path.name for path in to.iterdir()) == ["a", "file", "out", "z"]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "..", "", "a/\0"])
def test_a_path_that_leaves_the_folder_is_not_written(tmp_path, path):
    for whole in (True, False):
        with pytest.raises(Problem, match="leads out of the folder"):
            compute._target(tmp_path / "to", path, whole=whole)
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_leaves_the_folder_is_not_followed(tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "to/out").symlink_to(tmp_path)
    with pytest.raises(Problem, match="leads out of the folder"):
        compute._target(tmp_path / "to", "out/x", whole=True)
    assert compute._target(tmp_path / "to", "in/x", whole=True) == tmp_path / "to/in/x"


@database
def test_what_a_site_says_cannot_steer_the_terminal(world):
    job = world.job()
    # No verb lets such a name in; a site that isn't ours may still send one.
    Job.objects.filter(pk=job.pk).update(name="\x1b]0;gone\x07\u202egnp.exe [red]x[/red] \x9b2J")
    make.wrote(job, b"\x1b[2Jred\x07\n")
    for words in (("jobs",), ("job", str(job.uuid)), ("logs", str(job.uuid)), ("jobs", "--json")):
        answer = world.type(*words)
        assert answer.exit_code == 0
        assert not set("\x1b\x07\x9b\u202e") & set(answer.stdout)
    assert "[red]x[/red]" in world.type("job", str(job.uuid)).stdout
    assert world.type.json("jobs")[0]["name"] == Job.objects.get().name


@database
def test_a_token_of_a_person_who_left_opens_nothing(world):
    token = people.make_token(world.holder, name="old", days=1)
    people.revoke_token(world.holder, token=token[0])
    assert world.type("jobs", MADANG_TOKEN=token[1]).exit_code == 3


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1", 60), ("90", 5400), ("1:02:03", 3723), ("1:30:00", 5400), ("1-2", 93_600), ("1-12", 129_600),
        ("1-12:30", 131_400), ("2-00:00:01", 172_801), ("000", 0),
    ],
)  # fmt: skip
def test_a_time_limit_is_read_as_slurm_reads_it(written, meant):
    assert compute.seconds(written) == meant


@pytest.mark.parametrize("written", ["", "-1", "1:60", "1:00:60", "1h", "1-", "1-2-3", "١:00", "1:00\n", "9999999"])
def test_what_is_no_time_limit_is_refused(written):
    with pytest.raises(typer.BadParameter):
        compute.seconds(written)


@pytest.mark.parametrize(
    ("written", "hours", "minutes"), [("1:00", "1:00:00", "00:01:00"), ("12:30", "12:30:00", "00:12:30")]
)
def test_what_slurm_reads_as_minutes_and_people_as_hours_is_asked_back(written, hours, minutes):
    with pytest.raises(typer.BadParameter, match=f"^{written} may mean hours or minutes: write {hours}, or {minutes}$"):
        compute.seconds(written)
    assert compute.seconds(hours) == 60 * compute.seconds(minutes)


def test_the_examples_in_the_docstrings_are_right():
    assert doctest.testmod(compute) == (0, 1)


def test_the_script_that_is_shipped_is_found_where_the_documentation_says():
    import madang

    assert (Path(madang.__file__).parent / "demo/train.py").is_file()


@database
def test_the_holder_of_nothing_is_told_where_to_look(terminal, tmp_path):
    _row, token = people.make_token(jobs.identity.person(), name="test", days=1)
    script = tmp_path / "x.sh"
    script.write_text("#!/bin/sh\n")
    answer = terminal("submit", str(script), MADANG_TOKEN=token)
    assert answer.exit_code == 1
    assert "madang balance" in answer.stderr
    assert terminal("balance", MADANG_TOKEN=token).exit_code == 0


@database
def test_the_forecast_says_when_a_job_could_start_that_would_run_into_a_maintenance(world):
    start = now() + timedelta(hours=2)
    engine = world.allocation.resource.partition.cluster.code
    facts = {"engine": engine, "starts_at": start, "ends_at": start + timedelta(hours=1), "reason": "fans"}
    maintenance.announce(identity.operator(), **facts)
    into = " ".join(world.type("forecast", "--time", "180").stdout.split())
    assert ("at the earliest: its limit reaches into the maintenance" in into, "at most 11" in into) == (True, True)
    assert "maintenance" not in world.type("forecast", "--time", "60").stdout


@database
def test_a_sweep_from_its_forecast_to_its_failed_tasks(world, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("lr,seed\n0.1,1\n0.2,2\n")
    foreseen = world.type.json("forecast", "--gpus", "2", "--time", "10", "--tasks", "2")
    assert (foreseen["held"], foreseen["left_after"], foreseen["start"]) == (2400, 33_600, "unknown")
    said = world.type("forecast", "--tasks", "100", "--time", "60")
    assert (said.exit_code, "100.00 GPU-hours" in said.stdout, "not covered" in said.stdout) == (0, True, True)
    made = world.type("submit", str(world.script), "--time", "10", "--sweep", str(table), "--parallel", "1")
    assert (made.exit_code, "2 tasks of 1 ×" in made.stderr) == (0, True)
    job = Job.objects.get()
    assert (job.tasks, job.parallel, job.held) == (2, 1, 1200)
    make.wrote(job, b"one\n", task=1, b_txt=b"b")
    make.ended(job, ["completed", "failed"])
    short = str(job.uuid)[:8]
    assert world.type("logs", short, "--task", "1").stdout == "one\n"
    bad = world.type("logs", "-f", short, "--task", "1")
    assert (bad.exit_code, bad.stderr.splitlines()[-1]) == (10, "madang: task 1 ended: failed, exit code 1.")
    assert world.type("logs", "-f", short, "--task", "0").exit_code == 0
    assert [row["path"] for row in world.type.json("files", short, "--task", "1")] == ["b.txt"]
    assert world.type("cp", f"{short}:b.txt", str(tmp_path / "b"), "--task", "1").exit_code == 0
    assert (tmp_path / "b").read_bytes() == b"b"
    assert "lr=0.2 seed=2" in world.type("tasks", short).stdout
    assert [task["number"] for task in world.type.json("tasks", short, "--failed")] == [1]
    assert world.type("logs", short, "--task", "2").exit_code == 4
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("lr,seed\n0.1\n")
    refused = world.type("submit", str(world.script), "--sweep", str(wrong))
    assert (refused.exit_code, "Row 1 has 1 values" in refused.stderr) == (1, True)


@database
def test_a_log_that_is_followed_ends_with_its_task_while_others_go_on(world):
    job = world.job(tasks=2)
    make.wrote(job, b"one\n", task=1)
    job.task_rows.filter(number=1).update(outcome="failed", exit_code=7, held=0, started_at=now(), ended_at=now())
    answer = world.type("logs", "-f", str(job.uuid), "--task", "1")
    assert (answer.exit_code, answer.stderr.splitlines()[-1]) == (10, "madang: task 1 ended: failed, exit code 7.")


@database
def test_the_list_of_jobs_has_a_line_for_each_at_the_width_of_a_terminal(world):
    made = world.job(gpus=4, tasks=2)
    line = world.type("jobs").stdout.splitlines()[1]
    assert (str(made.uuid)[:8] in line, compute.here(made.submitted_at.isoformat()) in line) == (True, True)


@database
def test_where_nobody_looks_at_gpus_there_is_no_table(world):
    answer = world.type("metrics", str(world.job().uuid))
    assert (answer.exit_code, answer.stdout, answer.stderr.startswith("no samples: ")) == (0, "", True)


@database
def test_jobs_are_found_by_state_and_allocation(world):
    first, second = world.job(), world.job()
    ended(first)
    assert [row["uuid"] for row in world.type.json("jobs", "--ended")] == [str(first.uuid)]
    assert [row["uuid"] for row in world.type.json("jobs", "--live")] == [str(second.uuid)]
    assert world.type.json("jobs", "--allocation", str(world.allocation.pk + 1)) == []
    assert world.type("jobs", "--live", "--ended").exit_code == 2


@database
def test_a_file_goes_up_to_the_project_with_a_job_and_back(world, tmp_path):
    data = tmp_path / "data.csv"
    data.write_bytes(b"a,b\n1,2\n")
    submitted = world.type.json("submit", str(world.script), "--file", str(data), "--time", "10")
    assert [(file["path"], file["size"]) for file in submitted["files"]] == [("data.csv", 8)]
    (kept,) = world.type.json("files")
    assert (kept["path"], kept["ready"], kept["grant"]) == ("data.csv", True, world.allocation.grant.number)
    assert (
        world.type.json("submit", str(world.script), "--use", "data.csv", "--time", "10")["files"] == submitted["files"]
    )
    assert world.type("cp", str(data), ":in/rows.csv").stdout == ":in/rows.csv\n"
    to = tmp_path / "back.csv"
    assert world.type("cp", ":in/rows.csv", str(to)).exit_code == 0
    assert to.read_bytes() == data.read_bytes()
    assert world.type("rm", ":in/rows.csv").exit_code == 0
    for words, code in (
        (("cp", ":in/rows.csv", str(to)), 4),
        (("cp", str(tmp_path / "none"), ":"), 2),
        (("rm", "data.csv"), 2),
        (("cp", str(data), ":../up"), 1),
        (("submit", str(world.script), "--use", "none"), 1),
    ):
        assert world.type(*words).exit_code == code, words
    assert [row["path"] for row in world.type.json("files")] == ["data.csv"]


@database
def test_which_project_is_asked_where_there_are_several(world, tmp_path):
    other = make.allocation(grant=jobs.grant(world.allocation.grant.organization))
    data = tmp_path / "data.csv"
    data.write_bytes(b"1")
    answer = world.type("cp", str(data), ":")
    assert answer.exit_code == 2
    assert other.grant.number in answer.stderr
    for number in (other.grant.number, world.allocation.grant.number):
        assert world.type("cp", str(data), ":", "--grant", number).exit_code == 0
    assert world.type("cp", ":data.csv", str(tmp_path / "x")).exit_code == 2
    assert world.type("cp", ":data.csv", str(tmp_path / "x"), "--grant", other.grant.number).exit_code == 0
    assert len(world.type.json("files")) == 2
    assert len(world.type.json("files", "--grant", other.grant.number)) == 1


@database
def test_a_template_is_printed_changed_and_submitted(world, tmp_path):
    listed = world.type("templates")
    assert "train-ddp" in listed.stdout
    script = tmp_path / "from-template.sh"
    script.write_text(world.type("templates", "sweep").stdout)
    assert script.read_text().startswith("#!/bin/bash")
    assert world.type("templates", "none").exit_code == 4
    made = world.type.json("submit", str(script), "--time", "10")
    again = world.type.json("again", made["uuid"], "--time", "20", "--gpus", "2")
    assert (again["name"], again["gpus"], again["limit_s"]) == ("from-template.sh", 2, 1200)
    assert again["uuid"] != made["uuid"]
    assert world.type.json("metrics", made["uuid"]) == {"gpus": [], "points": []}


@database
def test_of_several_partitions_of_a_gpu_type_the_one_that_is_named_is_taken_and_said(world, settings):
    Cluster.objects.update(engine=EngineKind.SLURM)
    mine = world.allocation.resource.partition
    settings.SLURM = {mine.cluster.code: {"conf": "/etc/slurm/slurm.conf", "runs": "/shared", "makes_users": "m"}}
    long = make.partition(Cluster.objects.get(), name="long", gpu_type=mine.gpu_type)
    other = make.allocation(long, grant=world.allocation.grant)
    asked = ("submit", str(world.script), "--time", "10")
    refused = " ".join(world.type(*asked).stderr.split())
    assert f"--allocation {world.allocation.pk} ({mine.resource.name_en}, {mine.name}, " in refused
    assert f"--allocation {other.pk} ({long.resource.name_en}, long, " in refused
    answer = world.type(*asked, "--partition", "long")
    assert f"1 × {mine.gpu_type} (long) for up to 10 min" in " ".join(answer.stderr.split())
    job = Job.objects.get()
    assert (job.partition, job.allocation, job.gpu_type) == ("long", other, mine.gpu_type)
    assert "(long)" in " ".join(world.type("forecast", "--partition", "long").stdout.split())
    assert "(long)" in "".join(world.type("jobs", COLUMNS="200").stdout.split("\n"))
    assert [row["partition"] for row in world.type.json("balance")] == [mine.name, "long"]
