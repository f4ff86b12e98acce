"""`madang twin compare`: plans, or policies on one trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from madang.cli import app, show

pytest.importorskip("numba")

DEMAND = '[[demand]]\nname = "a"\nshape = "helios"\ngpu_hours_a_day = 300\n'
POWER = '[power]\nidle_w = 100\nbusy_w = 800\npue_percent = 130\ng_per_kwh = 417\nkrw_per_kwh = 150\nsource = "test"\n'


def ask(*words: object):
    return CliRunner().invoke(app, ["twin", "compare", *map(str, words)])


@pytest.fixture
def files(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(show.out, "width", 200)  # whatever the terminal that the tests run in
    for name, gpus, rest in (("small", 16, ""), ("large", 64, POWER), ("other", 16, "")):
        seeds = 3 if name == "other" else 2
        head = f"start = 2027-01-01\ngpus = {gpus}\nquarters = 4\nseeds = {seeds}\n"
        (tmp_path / f"{name}.toml").write_text(head + DEMAND + rest, encoding="utf-8")
    rows = "".join(f"{n * 7 % 300},{n * 13 % 90 + 1},{1 + n % 4},{n * 13 % 90 + 40}\n" for n in range(60))
    (tmp_path / "t.csv").write_text("submit,run,gpus,limit\n" + rows, encoding="utf-8")
    return tmp_path


def test_plans_stand_side_by_side_with_what_differs(files):
    answer = ask("small.toml", "large.toml")
    assert answer.exit_code == 0, answer.output
    for said in ("small", "large less small", "beyond chance", "mean wait in s", "by seeds", "energy a year in kWh"):
        assert said in answer.stdout
    assert "large, with delays" in answer.stdout
    assert "never in this time" in answer.stdout
    assert "no cost is named: it takes [money]" in answer.stderr
    said = json.loads(ask("small.toml", "large.toml", "--json").stdout)
    assert (said["start"], said["quarters"], said["seeds"], said["compared"]) == (
        "2027-01-01",
        4,
        2,
        ["small", "large"],
    )
    wait = next(its for its in said["figures"] if its["figure"] == "mean wait")
    assert wait["differences"][0]["value"] < 0
    assert wait["differences"][0]["beyond_chance"] is True
    energy = next(its for its in said["figures"] if its["figure"] == "energy a year")
    assert energy["values"][0] is None
    assert energy["values"][1]["value"] > 0
    assert said["promise_first_broken"][1]["planned"]["likely"] is None


def test_policies_stand_side_by_side_on_one_trace(files):
    answer = ask("t.csv", "--gpus", 4, "--policy", "fcfs,easy,sjf", "--shaken", 3)
    assert answer.exit_code == 0, answer.output
    for said in ("easy less fcfs", "sjf less fcfs", "bounded slowdown", "by shaken submits"):
        assert said in answer.stdout
    said = json.loads(ask("t.csv", "--gpus", 4, "--policy", "fcfs,easy", "--json").stdout)
    assert (said["compared"], said["machine"], said["shaken"]) == (["fcfs", "easy"], "a pool of 4 GPUs", 10)
    assert said["figures"][0]["differences"][0]["bands"][0]["runs"] == 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("small.toml",), "2 to 4 are compared, and not 1"),
        (("small.toml",) * 5, "2 to 4 are compared, and not 5"),
        (("small.toml", "other.toml"), "seeds is 2 in small and 3 in other"),
        (("small.toml", "none.toml"), "none.toml: there is no such file"),
        (("small.toml", "large.toml", "--gpus", 4), "--gpus changes nothing here: plans have theirs in the file"),
        (("small.toml", "large.toml", "--map", "run=a"), "--map changes nothing here: plans"),
        (
            ("t.csv", "--policy", "fcfs,easy", "--gpus", 4, "--processes", 2),
            "--processes changes nothing here: of plans",
        ),
        (
            ("t.csv", "--policy", "fcfs,easy", "--gpus", 4, "--place", "spread"),
            "--place changes nothing here: of nodes",
        ),
        (("t.csv", "t.csv", "--policy", "fcfs,easy"), "policies are compared on one trace"),
        (("t.csv", "--policy", "fcfs,easy"), "the trace doesn't say how large the machine was: --gpus N"),
        (("t.csv", "--policy", "fcfs,luck", "--gpus", 4), "and not 'luck'"),
        (("t.csv", "--policy", "fcfs,conservative", "--gpus", 4, "--nodes-of", 2), "is defined on a pool"),
    ],
)
def test_what_can_not_be_compared_is_one_line_and_exit_2(files, words, said):
    answer = ask(*words)
    assert answer.exit_code == 2
    assert said in answer.stderr
    assert "Traceback" not in answer.output
