"""`madang twin`, as a script calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
from typer.testing import CliRunner

from madang.cli import app

CSV = "id,submit,run,gpus,limit\nc,1007,5,1,5\na,1000,10,3,12\nb,1001,10,4,10\nd,1002,10,1,90\n"


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(CSV, encoding="utf-8")
    return path


def ask(*words: object):
    return CliRunner().invoke(app, ["twin", *map(str, words)])


def test_run_writes_the_starts_in_the_traces_order_on_its_own_clock(trace, tmp_path):
    out = tmp_path / "starts.csv"
    answer = ask("run", trace, "--gpus", 4, "--policy", "fcfs", "--starts", out, "--json")
    assert answer.exit_code == 0, answer.output
    assert out.read_text(encoding="utf-8") == "id,start\nc,1020\na,1000\nb,1010\nd,1020\n"
    said = json.loads(answer.stdout)
    assert (said["policy"], said["jobs"], said["wait"]["mean"], said["engine"]) == ("fcfs", 4, 10.0, "plain")
    assert said["changes"] == {"reordered": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["starts.csv", "t.csv"]


@pytest.mark.parametrize(
    ("options", "starts"),
    [
        (("--policy", "easy"), "c,1007\na,1000\nb,1012\nd,1022\n"),
        (("--policy", "easy", "--perfect"), "c,1020\na,1000\nb,1010\nd,1020\n"),
        (("--policy", "sjf"), "c,1007\na,1000\nb,1012\nd,1022\n"),
        (("--policy", "conservative"), "c,1007\na,1000\nb,1012\nd,1022\n"),
        (("--nodes-of", 2, "--policy", "fcfs"), "c,1020\na,1000\nb,1010\nd,1020\n"),
        (("--compat", "batsim-easy-bf-fast"), "c,1007\na,1000\nb,1012\nd,1022\n"),
        (("--compat", "helios-sjf", "--nodes-of", 2), "c,1007\na,1000\nb,1012\nd,1022\n"),
    ],
)
@pytest.mark.parametrize("engine", ["plain", *(["numba"] if find_spec("numba") else [])])
def test_every_policy_can_be_asked_for(trace, tmp_path, options, starts, engine):
    out = tmp_path / "starts.csv"
    answer = ask("run", trace, "--gpus", 4, *options, "--engine", engine, "--starts", out)
    assert answer.exit_code == 0, answer.output
    assert out.read_text(encoding="utf-8") == "id,start\n" + starts
    assert "mean bounded slowdown" in answer.stdout


def test_fair_share_is_asked_for_with_its_weights_and_says_its_rules(tmp_path):
    trace, out = tmp_path / "t.csv", tmp_path / "starts.csv"
    trace.write_text(
        "id,submit,run,gpus,account,user\na,0,900,4,lab,kim\nb,1,10,4,lab,kim\nc,2,10,4,lab,lee\n", encoding="utf-8"
    )
    words = ("--policy", "fairshare", "--weights", "fairshare=1000,age=1", "--shares", "lab/lee=2", "--starts", out)
    said = json.loads(ask("run", trace, "--gpus", 4, *words, "--no-backfill", "--json").stdout)
    assert out.read_text(encoding="utf-8") == "id,start\na,0\nb,910\nc,900\n"
    rules = said["rules"]
    assert (rules["fairshare"], rules["age"], rules["shares"], rules["backfill"]) == (1000, 1, {"lab/lee": 2}, False)


def test_slurms_backfill_is_asked_for_with_its_own_parameters_and_says_its_rules(tmp_path):
    trace, out = tmp_path / "t.csv", tmp_path / "starts.csv"
    trace.write_text(
        "id,submit,run,gpus,limit,account\na,0,400,3,400,x\nb,1,10,4,10,x\nc,2,10,1,350,x\nd,3,10,4,10,y\n",
        encoding="utf-8",
    )
    words = ("run", trace, "--gpus", 4, "--policy", "slurm", "--starts", out, "--json")
    rules = json.loads(ask(*words).stdout)["rules"]
    assert rules == {"interval_s": 30, "max_job_test": 500, "resolution_s": 60, "window_s": 86400, "priority": None}
    assert out.read_text(encoding="utf-8") == "id,start\na,0\nb,400\nc,410\nd,420\n"
    changed = "bf_interval=5, bf_resolution=1,bf_window=7"
    rules = json.loads(ask(*words, "--scheduler", changed, "--weights", "fairshare=1000").stdout)["rules"]
    assert (rules["interval_s"], rules["resolution_s"], rules["window_s"]) == (5, 1, 420)
    assert (rules["max_job_test"], rules["priority"]["fairshare"]) == (500, 1000)
    assert out.read_text(encoding="utf-8") == "id,start\na,0\nb,410\nc,5\nd,400\n"


def test_preemption_says_what_was_stopped_and_lost(tmp_path):
    trace = tmp_path / "t.csv"
    trace.write_text("id,submit,run,gpus,partition\na,0,100,4,low\nb,35,10,4,high\n", encoding="utf-8")
    words = ("run", trace, "--gpus", 4, "--policy", "preempt", "--tiers", "high=1", "--tier-by", "partition")
    words = (*words, "--grace-s", 5, "--checkpoint-s", 30, "--restart-s", 7)
    said = json.loads(ask(*words, "--json", "--shaken", 2).stdout)
    assert (said["stops"], said["lost_gpu_seconds"], said["wait"]["mean"]) == (1, 4 * (10 + 7), (10 + 5) / 2)
    assert said["makespan_s"] == 127
    assert "stopped for others" in ask(*words).stdout


def test_check_says_what_is_in_a_trace_and_what_was_refused(trace):
    trace.write_text(CSV + "e,never,1,1,1\n", encoding="utf-8")
    said = json.loads(ask("check", trace, "--json").stdout)
    assert (said["jobs"], said["first_submit"], said["last_submit"], said["largest_job"]) == (4, 1000, 1007, 4)
    assert said["refused"] == [{"line": 6, "field": "submit", "value": "never", "remedy": "not a number"}]
    people = ask("check", trace)
    assert "refused line 6, submit 'never': not a number" in people.stderr


def test_what_is_left_out_of_an_export_of_sacct_is_told(tmp_path):
    path = tmp_path / "export.txt"
    header = "JobIDRaw|Submit|Eligible|Start|End|TimelimitRaw|ReqTRES|AllocTRES"
    row = "100|100|150|250|10|gres/gpu=1|gres/gpu=1"
    path.write_text(f"{header}\n7|{row}\n7.batch|{row}\n", encoding="utf-8")
    told = ask("check", path)
    assert told.exit_code == 0, told.output
    assert "1 of the jobs: left out, it is a step of a job and not a job" in told.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "the trace doesn't say how large the machine was: --gpus N"),
        (("--gpus", 4, "--nodes-of", 3), "4 GPUs are no whole number of nodes of 3: 3 or 6 are"),
        (("--gpus", 4, "--compat", "rlscheduler"), "window 1981: a window is 1,024 jobs, and the trace has 4"),
        (("--gpus", 4, "--compat", "rlscheduler", "--windows", "a"), "--windows 'a': numbers with commas between"),
        (("--gpus", 4, "--policy", "fairshare"), "fair-share needs weights"),
        (("--gpus", 4, "--policy", "fairshare", "--weights", "luck=1"), "--weights 'luck=1': each name once, with a"),
        (("--gpus", 4, "--policy", "fairshare", "--weights", "age=1,age=2"), "--weights 'age=2': each name once"),
        (("--gpus", 4, "--policy", "fairshare", "--weights", "fairshare=1"), "names no account and no user"),
        (("--gpus", 4, "--policy", "preempt"), "preemption needs tiers: which are higher than 0?"),
        (("--gpus", 4, "--policy", "preempt", "--tiers", "high=1"), "preemption needs the qos of each job"),
        (("--gpus", 4, "--tiers", "high=1"), "--tiers changes nothing here: of --policy preempt"),
        (("--gpus", 4, "--policy", "slurm", "--shares", "a=1"), "--shares changes nothing here: of --policy fairshare"),
        (("--gpus", 4, "--policy", "slurm", "--no-backfill"), "--backfill changes nothing here"),
        (("--gpus", 4, "--scheduler", "bf_interval=1"), "--scheduler changes nothing here: of --policy slurm"),
        (("--gpus", 4, "--policy", "slurm", "--scheduler", "bf_continue=1"), "--scheduler 'bf_continue=1': each name"),
        (("--gpus", 4, "--policy", "slurm", "--scheduler", "bf_interval=0"), "bf_interval, bf_max_job_test, bf_resol"),
        (("--gpus", 4, "--policy", "slurm", "--nodes-of", 2), "Slurm's backfill is defined on a pool"),
        (("--gpus", 4, "--shares", "lab=1"), "--shares changes nothing here: of --policy fairshare"),
        (("--gpus", 4, "--starts", "/nowhere/starts.csv"), "/nowhere/starts.csv can't be written"),
    ],
)
def test_what_can_not_be_done_is_one_line_and_exit_2(trace, options, said):
    answer = ask("run", trace, *options)
    assert answer.exit_code == 2
    assert said in answer.stderr
    assert "Traceback" not in answer.output


@pytest.mark.skipif(find_spec("numba") is None, reason="needs numba (the extra “twin”)")
def test_a_plan_is_simulated_from_its_file(tmp_path):
    path = tmp_path / "plan.toml"
    demand = '[[demand]]\nname = "a"\nshape = "helios"\ngpu_hours_a_day = 300\n'
    path.write_text(f"start = 2027-01-01\ngpus = 16\nquarters = 1\nseeds = 1\n{demand}", encoding="utf-8")
    said = json.loads(ask("plan", path, "--json").stdout)
    assert (said["start"], len(said["quarters"])) == ("2027-01-01", 1)
    people = ask("plan", path)
    assert people.exit_code == 0
    assert "2027-01-01" in people.stdout
    assert "as planned: a p95 wait above 60 min" in people.stderr
    path.write_text("gpus = 16\n", encoding="utf-8")
    wrong = ask("plan", path)
    assert (wrong.exit_code, "start is a day like" in wrong.stderr) == (2, True)


WITHOUT = """
import sys
sys.modules["numba"] = sys.modules["numpy"] = None
from madang.cli import app
app()
"""


@pytest.mark.parametrize("options", [(), ("--processes", "2")])
def test_a_plan_says_what_it_needs_where_that_is_not_installed(tmp_path, options):
    demand = '[[demand]]\nname = "a"\nshape = "helios"\ngpu_hours_a_day = 300\n'
    path = tmp_path / "plan.toml"
    path.write_text(f"start = 2027-01-01\ngpus = 16\nquarters = 1\nseeds = 1\n{demand}", encoding="utf-8")
    command = [sys.executable, "-c", WITHOUT, "twin", "plan", str(path), *options]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (2, "")
    assert "a plan needs the extra “twin”: pip install 'madang[twin]'" in said.stderr
    assert "Traceback" not in said.stderr


SITE = """
grants_by = "account"
[[part]]
name = "gpu"
nodes = 1
nodes_of = 4
[[maintenance]]
nodes = [0, 0]
from = 30
until = 50
[[grant]]
name = "lab"
gpu_hours = 1
largest_gpus = 3
"""


def test_a_site_says_what_befell_its_jobs_and_what_its_grants_used(tmp_path):
    trace, site, out = tmp_path / "t.csv", tmp_path / "site.toml", tmp_path / "starts.csv"
    trace.write_text(
        "id,submit,run,gpus,limit,account\na,1000,10,3,20,lab\nb,1001,15,4,20,\nc,1002,5,4,5,lab\nd,1003,10,1,9,lab\n"
    )
    site.write_text(SITE)
    answer = ask("site", trace, site, "--json", "--starts", out)
    assert answer.exit_code == 0, answer.output
    said = json.loads(answer.stdout)
    (run,) = said["runs"]  # nothing is drawn
    assert (said["seeds"], said["bands"]["mean wait"]["mean"]) == (1, 16.333333333333332)
    assert run["fates"] == {"done": 3, "refused": 1}
    assert run["by_grant"] == {
        "lab": {"jobs": 3, "fates": {"done": 2, "refused": 1}, "gpu_seconds": 39, "granted": 3600}
    }
    assert out.read_text() == "id,start\na,1000\nb,1050\nd,1003\n"
    assert "no part" not in ask("site", trace, site).stdout
    for word in ("mean wait", "refused", "lab", "GPU-hours used"):
        assert word in ask("site", trace, site).stdout


def test_a_site_with_failures_is_run_for_every_seed_and_alike_again(tmp_path, trace):
    site = tmp_path / "site.toml"
    site.write_text(
        SITE.partition("[[grant]]")[0] + '[failures]\nnode_hours = 0.005\nrepair_hours = 0.001\nsource = "none"\n'
    )
    first, again = (ask("site", trace, site, "--seeds", 3, "--json").stdout for _ in range(2))
    assert first == again
    assert len(json.loads(first)["runs"]) == 3
    assert sum(run["stops"] for run in json.loads(first)["runs"]) > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("nodes = 1", "nodes = 9.5"), "part 1: nodes is a whole number"),
        (("largest_gpus = 3", "largest = 3"), "grant 1: 'largest' is none of"),
        (('name = "lab"', 'name = "lab"\n[[grant]]\nname = "nobody"'), "no job of the trace has the account"),
        (("[[part]]", "[[part]]\nx = 1"), "part 1: 'x' is none of"),
    ],
)
def test_a_site_that_can_not_be_read_is_said_in_a_line(tmp_path, trace, change, said):
    site = tmp_path / "site.toml"
    site.write_text(SITE.replace(*change))
    answer = ask("site", trace, site)
    assert answer.exit_code == 2
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--no-backfill",), "--backfill changes nothing here: of fairshare and of rlscheduler"),
        (("--half-life-days", 3), "--half-life-days changes nothing here: of --policy fairshare"),
        (("--grace-s", 3), "--grace-s changes nothing here: of --policy preempt"),
        (("--score", "f1"), "--score changes nothing here: of --compat rlscheduler"),
        (("--place", "spread"), "--place changes nothing here: of nodes: --nodes-of 8"),
        (("--compat", "helios-fifo", "--policy", "fcfs"), "--policy changes nothing here: leave --compat out"),
        (("--compat", "helios-fifo", "--shaken", 2), "--shaken changes nothing here: leave --compat out"),
        (("--policy", "fairshare", "--weights", "age=" + "9" * 400), "each name once, with a whole number"),
        (("--encoding", "nonsense"), "'nonsense' is no encoding"),
        (("--encoding", "punycode"), "not punycode"),
        (("--nodes-of", 3), "4 GPUs are no whole number of nodes of 3"),
    ],
)
def test_an_option_that_would_change_nothing_or_can_not_be_is_said(trace, options, said):
    answer = ask("run", trace, "--gpus", 4, *options)
    assert (answer.exit_code, said in answer.stderr) == (2, True), answer.stderr


def test_a_trace_comes_through_a_pipe_and_starts_go_into_one(trace, tmp_path):
    import os
    from threading import Thread

    source, target = tmp_path / "in.csv", tmp_path / "out"
    os.mkfifo(source)
    os.mkfifo(target)
    found: list[str] = []
    others = [
        Thread(target=lambda: source.write_text(CSV, encoding="utf-8")),
        Thread(target=lambda: found.append(target.read_text(encoding="utf-8"))),
    ]
    for other in others:
        other.start()
    answer = ask("run", source, "--gpus", 4, "--policy", "fcfs", "--starts", target)
    for other in others:
        other.join(5)
    assert answer.exit_code == 0, answer.output
    assert found == ["id,start\nc,1020\na,1000\nb,1010\nd,1020\n"]
    assert target.is_fifo()


def test_the_trace_is_read_from_standard_input():
    answer = CliRunner().invoke(app, ["twin", "check", "-", "--json"], input=CSV)
    assert json.loads(answer.stdout)["jobs"] == 4


def test_starts_are_never_written_over_the_trace(trace):
    answer = ask("run", trace, "--gpus", 4, "--starts", trace)
    assert (answer.exit_code, "is the trace itself" in answer.stderr) == (2, True)
    assert trace.read_text(encoding="utf-8") == CSV


def test_recorded_waits_stand_beside_simulated_ones_by_month_of_a_zone(tmp_path):
    trace = tmp_path / "t.csv"
    rows = [
        (0, 10, 4, 0, "a"),
        (5, 10, 4, 25, "a"),
        (100, 5, 1, -1, "a"),
        (2_678_400 - 3600, 10, 4, 7, "a"),
        (3, 50, 4, 9, "b"),
    ]
    trace.write_text("submit,run,gpus,wait,partition\n" + "".join(f"{s},{r},{g},{w},{p}\n" for s, r, g, w, p in rows))
    answer = ask("calibrate", trace, "--gpus", 4, "--partition", "a", "--json")
    assert answer.exit_code == 0, answer.output
    said = json.loads(answer.stdout)
    assert [(its["month"], its["jobs"], its["ratio"]) for its in said["months"]] == [
        ("1970-01", 3, pytest.approx(32 / 5))
    ]
    seoul = ask("calibrate", trace, "--gpus", 4, "--partition", "a", "--time-zone", "Asia/Seoul", "--json")
    assert [its["month"] for its in json.loads(seoul.stdout)["months"]] == ["1970-01", "1970-02"]
    assert "recorded ÷" in ask("calibrate", trace, "--gpus", 4).stdout
    for options, wrong in (
        (("--time-zone", "Moon"), "a name like Asia/Seoul"),
        (("--partition", "c"), "has the partition 'c'"),
    ):
        answer = ask("calibrate", trace, "--gpus", 4, *options)
        assert (answer.exit_code, wrong in answer.stderr) == (2, True)


def test_a_trace_without_waits_has_nothing_to_compare(trace):
    answer = ask("calibrate", trace, "--gpus", 4)
    assert (answer.exit_code, "nothing to compare with" in answer.stderr) == (2, True)
