"""`madang twin fit`, and what is made from the model that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from madang.cli import app

pytest.importorskip("numba")

from madang.twin.demand import generate, like


def ask(*words: object):
    return CliRunner().invoke(app, ["twin", *map(str, words)])


def text_of(days: int) -> str:
    made = generate([like("a", "helios", 900)], days=days, seed=1).trace()
    rows = zip(made.submit, made.run, made.gpus, made.limit, strict=True)
    return "submit,run,gpus,limit\n" + "".join(
        f"{made.offset + at},{run},{gpus},{limit}\n" for at, run, gpus, limit in rows
    )


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(text_of(28), encoding="utf-8")
    return path


@pytest.fixture
def model(trace, tmp_path) -> Path:
    path = tmp_path / "m.toml"
    answer = ask("fit", trace, "--into", path, "--name", "companies")
    assert answer.exit_code == 0, answer.output
    return path


def test_a_fit_says_how_close_it_is_and_writes_the_same_file_again(trace, model, tmp_path):
    again = tmp_path / "again.toml"
    answer = ask("fit", trace, "--into", again, "--name", "companies")
    for said in ("jobs a day", "GPU-hours a day", "time between arrivals", "hour of week", "by chance"):
        assert said in answer.stdout
    assert "written to" in answer.stderr
    assert again.read_bytes() == model.read_bytes()
    said = json.loads(ask("fit", trace, "--into", again, "--lengths", "lognormal", "--json").stdout)
    assert (said["program"]["name"], said["growth"], len(said["distances"])) == ("as recorded", None, 5)
    assert all(0 <= its["distance"] <= 1 and 0 < its["chance"] < 1 for its in said["distances"])
    assert "mean = " in again.read_text(encoding="utf-8")


def test_a_model_is_run_and_its_jobs_are_those_of_the_seed(model, tmp_path):
    out = tmp_path / "starts.csv"
    words = ("run", model, "--gpus", 64, "--days", 14, "--json")
    first, again, other = (json.loads(ask(*words, "--seed", seed).stdout) for seed in (1, 1, 2))
    assert first == again
    assert first["wait"] != other["wait"]
    assert type(first["wait"]["max"]) is int
    assert "14 days were made up from the model, with the seed 1" in first["notes"][0]
    assert ask("run", model, "--gpus", 8, "--starts", out).exit_code == 0
    assert "ask for more than 8 GPUs: they are left out" in ask("run", model, "--gpus", 8).stderr
    assert int(out.read_text(encoding="utf-8").splitlines()[1].split(",")[1]) >= 4 * 86_400


def test_a_sweep_of_a_model_keeps_its_jobs_and_other_jobs_are_another_sweep(model, tmp_path):
    into = tmp_path / "sweep"
    words = ("sweep", model, "--gpus", "32,64", "--into", into, "--days", 7)
    said = json.loads(ask(*words, "--json").stdout)
    assert [point["gpus"] for point in said["points"]] == [32, 64]
    assert said["points"][0]["jobs"] > 500
    assert [path.name for path in into.glob("*.csv")] == [said["trace"]]
    assert json.loads(ask(*words, "--json").stdout) == said
    other = ask(*words, "--seed", 5)
    assert (other.exit_code, "holds another sweep" in other.stderr) == (2, True)


def test_a_plan_names_a_model_beside_it_and_may_say_how_much_and_how_it_grows(model, tmp_path):
    plan = tmp_path / "plan.toml"
    head = "start = 2027-01-01\ngpus = 64\nquarters = 1\nseeds = 1\n"
    plan.write_text(f'{head}[[demand]]\nmodel = "m.toml"\n', encoding="utf-8")
    (quarter,) = json.loads(ask("plan", plan, "--json").stdout)["quarters"]
    assert list(quarter["planned"]["by_program"]) == ["companies"]
    load = quarter["planned"]["load"][0]
    assert load == pytest.approx(900 / (64 * 24), rel=0.3)
    more = '[[demand]]\nmodel = "m.toml"\nname = "more"\ngpu_hours_a_day = 300\ngrowth = 1.0\n'
    plan.write_text(f'{head}[[demand]]\nmodel = "m.toml"\n{more}', encoding="utf-8")
    (both,) = json.loads(ask("plan", plan, "--json").stdout)["quarters"]
    assert set(both["planned"]["by_program"]) == {"companies", "more"}
    assert both["planned"]["load"][0] == pytest.approx(load + 300 / (64 * 24), abs=0.001)
    plan.write_text(f'{head}[[demand]]\nmodel = "m.toml"\nshape = "helios"\n', encoding="utf-8")
    assert "demand 1: either a shape or a model" in ask("plan", plan).stderr
    plan.write_text(f'{head}[[demand]]\nmodel = "none.toml"\n', encoding="utf-8")
    assert "none.toml: there is no such file" in ask("plan", plan).stderr


def test_the_last_days_are_kept_for_a_test(trace, model, tmp_path):
    into = tmp_path / "tested.toml"
    answer = ask("fit", trace, "--into", into, "--test-days", 7)
    assert answer.exit_code == 0, answer.output
    assert "last 7 days to model" in answer.stdout
    said = json.loads(ask("fit", trace, "--into", into, "--test-days", 7, "--json").stdout)
    assert len(said["tested"]["distances"]) == 5
    assert "of 21 days" in said["program"]["source"]
    assert json.loads(ask("fit", trace, "--into", into, "--json").stdout)["tested"] is None
    few = ask("fit", trace, "--into", into, "--test-days", 28)
    assert (few.exit_code, "it takes 100 of both" in few.stderr) == (2, True)


def test_growth_is_fitted_where_it_can_be_seen(trace, tmp_path):
    into = tmp_path / "m.toml"
    short = ask("fit", trace, "--into", into, "--growth")
    assert (short.exit_code, "26 whole weeks and more, and the trace has" in short.stderr) == (2, True)
    assert not into.exists()
    trace.write_text(text_of(200), encoding="utf-8")
    assert "a year, with a standard error of" in ask("fit", trace, "--into", into, "--growth").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "t.csv", "--gpus", 4, "--days", 3), "--days changes nothing here: of a model (.toml)"),
        (("run", "t.csv", "--gpus", 4, "--seed", 0), "--seed changes nothing here: of a model (.toml)"),
        (("run", "m.toml"), "a model doesn't say how large the machine is: --gpus N"),
        (("run", "m.toml", "--gpus", 4, "--map", "run=a"), "--map is for tables"),
        (("check", "m.toml"), "this is a plan or a model, and no trace"),
        (("fit", "t.csv", "--into", "m.txt"), "a model is a file called NAME.toml"),
        (("fit", "t.csv", "--into", "/nowhere/m.toml"), "/nowhere/m.toml can't be written"),
        (("run", "none.toml", "--gpus", 4), "none.toml: there is no such file"),
        (("sweep", "t.csv", "--gpus", 4, "--into", "out", "--days", 3), "--days changes nothing here"),
    ],
)
def test_what_can_not_be_done_is_one_line_and_exit_2(model, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    answer = ask(*words)
    assert answer.exit_code == 2
    assert said in answer.stderr
    assert "Traceback" not in answer.output


def test_every_format_of_the_same_jobs_gives_the_same_model(trace, model, tmp_path):
    rows = [line.split(",") for line in trace.read_text(encoding="utf-8").splitlines()[1:]]
    swf, mapped, sacct = (tmp_path / name for name in ("t.swf", "mapped.csv", "sacct.txt"))
    first = int(rows[0][0])
    fields = (
        f"{n} {int(at) - first} -1 {run} {gpus} -1 -1 {gpus} {limit} -1 1 -1 -1 -1 -1 -1 -1 -1\n"
        for n, (at, run, gpus, limit) in enumerate(rows, 1)
    )
    swf.write_text(f"; UnixStartTime: {first}\n" + "".join(fields), encoding="utf-8")
    lines = (f"{at},{run},{gpus},{limit}\n" for at, run, gpus, limit in rows)
    mapped.write_text("came,lasted,cards,most\n" + "".join(lines), encoding="utf-8")
    head = "JobIDRaw|Submit|Eligible|Start|End|TimelimitRaw|ReqTRES|AllocTRES|Partition|Account|User|QOS|State\n"
    of = (
        f"{n}|{at}|{at}|{at}|{int(at) + int(run)}|{int(limit) // 60}|gres/gpu={gpus}|gres/gpu={gpus}|p|a|u|q|DONE\n"
        for n, (at, run, gpus, limit) in enumerate(rows, 1)
    )
    sacct.write_text(head + "".join(of), encoding="utf-8")
    names = "submit=came,run=lasted,gpus=cards,limit=most"
    for source, more in ((swf, ()), (mapped, ("--map", names)), (sacct, ())):
        into = tmp_path / "other.toml"
        answer = ask("fit", source, "--into", into, "--name", "companies", *more)
        assert answer.exit_code == 0, answer.output
        assert into.read_bytes() == model.read_bytes(), source
