"""A model that is fitted to a trace: it gives back what the trace was made from, and a file keeps all of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("numpy")

import numpy as np

from madang.twin import BadInput, Trace, from_columns, read
from madang.twin.demand import DAY_S, Lengths, Measured, Program, generate, jobs_a_day, like
from madang.twin.fit import fit, goodness, growing, jobs_of, parted
from madang.twin.modelfile import model_text, read_model

KTH = Path("../shared/data/traces/kth.swf.gz")
SIZES = ((1, 0.5), (2, 0.2), (4, 0.1), (8, 0.15), (16, 0.05))
LENGTHS = ((1, Lengths(3_000, 900, 7 * DAY_S)), (8, Lengths(9_000, 2_000, 7 * DAY_S)), (64, Lengths(20_000, 20_000)))
TRUE = Program("a", 6_000, SIZES, LENGTHS, bursts=0.4)


def trace_of(program: Program, days: int = 182, seed: int = 3) -> Trace:
    return generate([program], days=days, seed=seed).trace()


@pytest.fixture(scope="module")
def trace() -> Trace:
    return trace_of(TRUE)


def test_a_lognormal_model_gets_its_parameters_back(trace):
    """Of 98,000 jobs: shares to 0.01, medians to 3 %, means to 6 %, rates of hours and days to 10 %, bursts to 0.1."""
    assert len(trace) > 90_000
    found = fit(trace, "a", "lognormal")
    assert dict(found.sizes) == pytest.approx(dict(SIZES), abs=0.01)
    for size, _share in SIZES:
        its, true = (next(of for top, of in lengths if size <= top) for lengths in (found.lengths, LENGTHS))
        assert its.median == pytest.approx(true.median, rel=0.03)
        assert its.mean == pytest.approx(true.mean, rel=0.06)
    for name in ("hours", "weekdays"):
        true = getattr(TRUE, name)
        assert getattr(found, name) == pytest.approx([rate * len(true) / sum(true) for rate in true], rel=0.1)
    assert found.bursts == pytest.approx(TRUE.bursts, abs=0.1)
    assert found.gpu_hours_a_day == pytest.approx(TRUE.gpu_hours_a_day, rel=0.05)
    assert jobs_a_day(found) == pytest.approx(jobs_a_day(TRUE), rel=0.05)
    assert found.growth == 0


@pytest.mark.parametrize("shape", ["measured", "lognormal"])
def test_what_a_fitted_model_makes_is_like_the_trace_and_other_jobs_are_not(trace, shape):
    found = goodness(trace, fit(trace, shape=shape))
    assert {its.of for its in found.distances} == {"size", "run", "limit", "time between arrivals", "hour of week"}
    for its in found.distances:
        # The bursts of an hour are no independent arrivals, and the hours of the week differ by them.
        assert its.distance < (6 * its.chance if its.of == "hour of week" else 0.03), its
    for own, other in found.figures.values():
        assert other == pytest.approx(own, rel=0.1)
    shifted = replace(fit(trace), hours=tuple(np.roll(TRUE.hours, 12).tolist()), sizes=((1, 0.6), (16, 0.4)))
    far = {its.of: its.distance for its in goodness(trace, shifted).distances}
    assert far["size"] == pytest.approx(0.35, abs=0.02)
    assert far["hour of week"] > 2 * next(its.distance for its in found.distances if its.of == "hour of week")


def test_measured_runs_and_limits_are_those_of_a_trace_that_no_law_describes():
    draw = np.random.default_rng(1)
    run = np.where(draw.random(20_000) < 0.5, draw.integers(1, 30, 20_000), draw.integers(40_000, 50_000, 20_000))
    limit = np.where(run < 30, 3_600, 86_400)
    lumpy = from_columns(submit=range(0, 20_000 * 60, 60), run=run, gpus=[1] * 20_000, limit=limit)
    found = fit(lumpy)
    by_name = {its.of: its.distance for its in goodness(lumpy, found).distances}
    assert by_name["run"] < 0.03
    assert by_name["limit"] < 0.02
    assert set(generate([found], days=14, seed=5).limit.tolist()) <= {3_600, 86_400, *range(30, 40_000)}
    ((_top, its),) = found.lengths
    drawn = its.draw(np.random.default_rng(2), 200_000)
    assert its.drawn_mean == pytest.approx(float(drawn.mean()), rel=0.01)
    assert its.drawn_mean == pytest.approx(float(run.mean()), rel=0.04)
    by_law = {its.of: its.distance for its in goodness(lumpy, fit(lumpy, shape="lognormal")).distances}
    assert by_law["run"] > 0.2


def test_without_limits_the_models_jobs_have_their_true_runs():
    perfect = trace_of(like("a", "seren", 2_000), days=14).perfect()
    made = generate([fit(perfect)], days=14, seed=1)
    assert (made.limit == made.run).all()


def test_a_model_is_tested_on_days_that_it_was_not_fitted_to(trace):
    earlier, later = parted(trace, 25)
    assert len(earlier) + len(later) == len(trace)
    assert later.begins == trace.begins + later.submit[0] + (trace.submit[len(earlier)] - trace.submit[0])
    assert (later.submit[-1] + 1) / DAY_S == pytest.approx(25, abs=0.1)
    program = fit(earlier)
    found = {its.of: its for its in goodness(later, program, day=157).distances}
    # The last days don't begin on a Monday, and aren't whole weeks: the model's days are the same weekdays.
    assert found["hour of week"].distance < 6 * found["hour of week"].chance
    for name in ("size", "run", "limit"):
        assert found[name].distance < 2 * found[name].chance, name
    with pytest.raises(BadInput, match=r"the last 182 days have 112,994 jobs, and those before 0: it takes 100"):
        parted(trace, 182)


def test_the_weekdays_of_a_short_trace_are_those_of_the_model():
    quiet = replace(TRUE, weekdays=(1, 1, 1, 1, 1, 0, 0), bursts=0.0)
    whole = trace_of(quiet, days=28)
    friday = next(job for job, submit in enumerate(whole.submit) if (submit + whole.offset) // DAY_S % 7 == 1)
    short = whole.part(
        [job for job in range(friday, len(whole)) if whole.submit[job] < whole.submit[friday] + 3 * DAY_S]
    )
    (hours,) = (its for its in goodness(short, quiet).distances if its.of == "hour of week")
    assert hours.distance < 0.15


@pytest.mark.parametrize("rate", [-0.3, 0.0, 0.8])
def test_growth_comes_back_within_three_standard_errors(rate):
    grown = trace_of(replace(TRUE, growth=rate), days=364)
    found = growing(grown)
    assert found.rate == pytest.approx(rate, abs=3 * found.error)
    assert found.error < 0.1
    whole = fit(grown, growth=found.rate)
    assert whole.gpu_hours_a_day == pytest.approx(TRUE.gpu_hours_a_day, rel=0.1)
    assert goodness(grown, whole).figures["jobs a day"][1] == pytest.approx(len(grown) / 364, rel=0.1)


def test_the_clock_of_a_trace_says_its_hours_and_days():
    """21,600 jobs at 9 in the morning of Tuesdays, Korean time: that is midnight in UTC."""
    tuesday = 1_767_657_600  # 2026-01-06, 00:00 UTC
    submits = [tuesday + week * 7 * DAY_S + job for week in range(6) for job in range(3_600)]
    found = fit(from_columns(submit=submits, run=[60] * len(submits), gpus=[1] * len(submits)))
    assert found.hours == (24.0, *[0.0] * 23)
    assert found.weekdays == (0.0, 7.0, *[0.0] * 5)
    made = jobs_of(found, days=14, seed=0, gpus=1)
    assert {(made.offset + submit) // 3600 % 24 for submit in made.submit} == {0}
    assert {((made.offset + submit) // DAY_S + 3) % 7 for submit in made.submit} == {1}


@pytest.mark.parametrize("shape", ["measured", "lognormal"])
def test_a_file_keeps_the_whole_model(trace, shape, tmp_path):
    program = replace(fit(trace, "Jülich “A”", shape, growth=0.25), source='a "trace"')
    path = tmp_path / "m.toml"
    path.write_text(model_text(program), encoding="utf-8")
    assert read_model(path) == program
    published = like("b", "kalos", 12)
    path.write_text(model_text(published), encoding="utf-8")
    assert read_model(path) == published


def test_the_same_seed_makes_the_same_jobs_and_what_is_too_large_is_left_out_and_said():
    program = fit(trace_of(like("a", "helios", 900), days=28))
    one, two, other = (jobs_of(program, days=7, seed=seed, gpus=8) for seed in (1, 1, 2))
    assert list(one.submit) == list(two.submit)
    assert list(one.submit) != list(other.submit)
    assert max(one.gpus) == 8
    assert one.submit[0] == 0
    assert "ask for more than 8 GPUs: they are left out" in one.notes[1]
    assert len(jobs_of(program, days=7, seed=1, gpus=64).notes) == 1


MODEL = """
name = "a"
gpu_hours_a_day = 10
sizes = [[1, 1.0]]
[[lengths]]
gpus = 8
mean = 20
median = 10
longest = 90
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", "m.toml: there is no such file"),
        ("[[1, 1.0]]", "[1]", "m.toml: sizes are pairs of GPUs and a share"),
        ("[[1, 1.0]]", '[["1", 1.0]]', "m.toml: sizes: GPUs is a whole number of at least 0"),
        ("[[1, 1.0]]", "[[9, 1.0]]", "a: run lengths for jobs of up to 9 GPUs"),
        ("[[1, 1.0]]", "[[1, 0.0]]", "a: one of the shares of its sizes is above 0"),
        ("median = 10", "median = 30", "m.toml: lengths 1: the median is above 0 and at most the mean"),
        ("longest = 90", "most = 90", "m.toml: lengths 1: 'most' is none of gpus, longest, mean, median"),
        ("mean = 20\nmedian = 10\nlongest = 90", "runs = [1, 2]", "measured run lengths are 55 whole numbers"),
        ("sizes", "hours = [1, 2]\nsizes", "a: 24 rates of at least 0, one above"),
        ("sizes", "asked = 2\nsizes", "m.toml: asked are numbers in brackets"),
        ("sizes", "asked = [0.5]\nsizes", "a: bursts are at least 0, and what is asked for is at least the run"),
        ("sizes", "[[limits]]\nrun = 9\nlimits = []\n[more]\nsizes", "m.toml: 'more' is none of"),
        ("[[lengths]]", "[[limits]]\nrun = 9\nlimits = [2, 1]\n[[lengths]]", "a: limits are ascending"),
    ],
)
def test_what_is_wrong_with_a_model_is_said_by_name(tmp_path, old, new, said):
    path = tmp_path / "m.toml"
    if old:
        assert old in MODEL
        path.write_text(MODEL.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadInput, match=r"m\.toml|a:|measured") as told:
        read_model(path)
    assert said in str(told.value)


def test_what_can_not_be_fitted_is_said(trace):
    with pytest.raises(BadInput, match="fitted to 100 jobs and more, and the trace has 2"):
        fit(from_columns(submit=[0, 1], run=[1, 1], gpus=[1, 1]))
    with pytest.raises(BadInput, match="26 whole weeks and more, and the trace has 2"):
        growing(trace_of(TRUE, days=20))
    with pytest.raises(BadInput, match="measured or lognormal, and not 'normal'"):
        fit(trace, shape="normal")
    with pytest.raises(BadInput, match="a name is of letters"):
        model_text(replace(TRUE, name="a\x7f"))
    with pytest.raises(BadInput, match="ascending, of at least 1 s"):
        Measured((0,) * 55)


def test_a_recorded_trace_is_fitted_closely_where_jobs_are_counted_one_by_one():
    if not KTH.exists():
        pytest.skip(f"needs {KTH}")
    kth = read(KTH)
    found = goodness(kth, fit(kth))
    far = {its.of: its.distance for its in found.distances}
    assert far["size"] < 0.02
    assert far["run"] < 0.03
    assert far["limit"] < 0.08
    # People send jobs together; independent draws don't.
    assert 0.1 < far["time between arrivals"] < 0.2
    for own, other in found.figures.values():
        assert other == pytest.approx(own, rel=0.1)
