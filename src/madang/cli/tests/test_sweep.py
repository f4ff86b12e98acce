"""`madang twin sweep`, here and through a site; in the engine's place a thread does what the tasks of a job do."""

from __future__ import annotations

import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from typer.testing import CliRunner

from madang.cli import app, sweep
from madang.cli.tests.test_jobs import ended
from madang.client import Client
from madang.facilities.compute.tests import make
from madang.jobs.models import Job

CSV = "submit,run,gpus\n0,50,4\n1,50,3\n2,5,1\n3,60,4\n"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(CSV, encoding="utf-8")
    return path


def words(trace: Path, into: Path, *more: str) -> list[str]:
    return ["twin", "sweep", str(trace), "--gpus", "4,8", "--policy", "fcfs,easy", "--into", str(into), *more]


def here(trace: Path, into: Path, *more: str) -> Any:
    return CliRunner().invoke(app, words(trace, into, *more))


def test_a_sweep_is_a_table_and_goes_on_where_it_broke_off(trace, tmp_path):
    into = tmp_path / "out"
    answer = here(trace, into, "--shaken", "3")
    assert answer.exit_code == 0, answer.output
    assert "0 of 16 runs" in answer.stderr
    for said in ("mean wait in s", "fcfs", "easy", "shaken, 95%"):
        assert said in answer.stdout
    (into / "task-00004.json").unlink()
    assert "15 of 16 runs" in here(trace, into, "--shaken", "3", "--json").stderr
    other = here(trace, into, "--shaken", "2")
    assert (other.exit_code, "holds another sweep" in other.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gpus", "4,x"), "whole numbers with commas between"),
        (("--policy", "luck"), "and not 'luck'"),
        (("--nodes-of", "3"), "4 GPUs are no whole number of nodes of 3"),
    ],
)
def test_a_sweep_that_can_not_be_is_one_line(trace, tmp_path, options, said):
    answer = here(trace, tmp_path / "out", *options)
    assert (answer.exit_code, said in answer.stderr) == (2, True)


def does(url: str, token: str, fails: set[int]) -> None:
    """What an engine does with the job: each task in its folder, with the files of the project."""
    try:
        while (job := Job.objects.first()) is None:
            time.sleep(0.05)
        with Client(url, token) as client:
            for row in client.get(f"/compute/jobs/{job.uuid}/tasks")["items"]:
                task = row["number"]
                work = make.folder(job, task) / "work"
                for entry in client.project_files():
                    for _size in client.download(f"/compute/project-files/{entry['id']}/bytes", work / entry["path"]):
                        pass
                script = work / ".script"
                script.write_text(job.script)
                environment = {"PATH": os.environ["PATH"], **row["parameters"]}
                if task not in fails:
                    subprocess.run(["sh", script], cwd=work, env=environment, check=True, capture_output=True)
        ended(job)
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fails", [set(), {1}])
def test_a_sweep_on_the_cluster_gives_what_this_machine_gives_and_what_failed_is_asked_for_again(
    world, trace, tmp_path, monkeypatch, fails
):
    monkeypatch.setattr(sweep, "POLL_S", 0.05)
    into = tmp_path / "out"
    with ThreadPoolExecutor(1) as engine:
        done = engine.submit(does, world.type.url, world.token, fails)
        answer = world.type(*words(trace, into, "--engine", "--time", "10", "--json"))
        done.result()
    job = Job.objects.get()
    assert (job.tasks, job.limit_s, job.gpus) == (4, 600, 1)
    with Client(world.type.url, world.token) as client:
        assert client.project_files() == []
    if not fails:
        assert answer.exit_code == 0, answer.output
        assert json.loads(answer.stdout) == json.loads(here(trace, tmp_path / "mine", "--json").stdout)
        return
    assert (answer.exit_code, "1 of its runs left no file" in answer.stderr) == (2, True)
    there = ["sweep.json", *(f"task-0000{number}.json" for number in (0, 2, 3))]
    assert sorted(path.name for path in into.iterdir()) == there
    other = world.type(*words(trace, into, "--engine", "--shaken", "1"))
    assert (other.exit_code, "holds another sweep" in other.stderr, Job.objects.count()) == (2, True, 1)
    again = world.type(*words(trace, into, "--json"))
    assert json.loads(again.stdout) == json.loads(here(trace, tmp_path / "mine", "--json").stdout)
