"""Slurm's backfill: the loop against the definition by words, and what each of its parameters does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.twin import BadInput, Machine, Multifactor, Slurm, from_columns, measure, plain, read, simulate
from madang.twin.priority import Person
from madang.twin.slurm import backfilled
from madang.twin.sure import mean_waits, shaken
from madang.twin.tests.reference import Cycled, Job
from madang.twin.tests.test_policies import crowds
from madang.twin.tests.test_priority import PEOPLE, trace_of

KTH = Path("../shared/data/traces/kth.swf.gz")
Case = tuple[list[Job], Machine, Slurm, list[Person]]


@st.composite
def clusters(draw: st.DrawFn) -> Case:
    jobs, machine = draw(crowds())
    people = draw(st.lists(st.sampled_from(PEOPLE), min_size=len(jobs), max_size=len(jobs)))
    weights = st.sampled_from((0, 1, 10, 1000))
    priority = Multifactor(
        age=draw(weights), fairshare=draw(st.sampled_from((1, 10, 1000))), size=draw(weights),
        max_age_s=draw(st.integers(1, 60)), half_life_s=draw(st.integers(1, 60)), every_s=draw(st.integers(1, 20)),
        favor_small=draw(st.booleans()),
    )  # fmt: skip
    rules = Slurm(
        draw(st.integers(1, 20)), draw(st.integers(1, 12)), draw(st.integers(1, 12)), draw(st.integers(1, 90)),
        draw(st.sampled_from((None, priority))),
    )  # fmt: skip
    return jobs, machine, rules, people


def plainly(jobs: list[Job], machine: Machine, rules: Slurm, people: list[Person] | None = None) -> list[int]:
    columns = plain.Jobs(*(list(column) for column in zip(*jobs, strict=True)))
    return backfilled(columns, machine, people or [], rules)


@settings(deadline=None)  # second by second is slow
@given(clusters())
def test_the_loop_is_the_definition(case):
    jobs, machine, rules, people = case
    assert plainly(jobs, machine, rules, people) == Cycled(jobs, machine.gpus, rules, people).seconds()


@settings(deadline=None)  # second by second is slow
@given(clusters())
def test_no_instant_uses_more_than_there_is_and_nobody_starts_before_arriving(case):
    jobs, machine, rules, people = case
    starts = plainly(*case[:3], people)
    assert all(begun >= job[0] for job, begun in zip(jobs, starts, strict=True))
    for t in starts:
        running = [job for job, begun in zip(jobs, starts, strict=True) if begun <= t < begun + job[1]]
        assert sum(job[2] for job in running) <= machine.gpus
    arrivals, ends = {job[0] for job in jobs}, {begun + job[1] for job, begun in zip(jobs, starts, strict=True)}
    cycles = Cycled(jobs, machine.gpus, rules, people)
    cycles.seconds()
    assert set(starts) <= arrivals | ends | set(cycles.cycles)
    assert all(later - before >= rules.interval_s for before, later in zip(cycles.cycles, cycles.cycles[1:]))  # noqa: B905


# 4 GPUs: one job holds 3 of them to its limit, 100; the next wants all; then come small ones.
BUSY: list[Job] = [(0, 100, 3, 100), (1, 10, 4, 10)]


@pytest.mark.parametrize(
    ("rules", "small", "start"),
    [
        # The first cycle is at 0, and at 1 it is too early for another one.
        (Slurm(), (2, 10, 1, 20), 30),
        (Slurm(interval_s=7), (2, 10, 1, 20), 7),
        # The last one was at 30: long after it one comes at once.
        (Slurm(resolution_s=1), (75, 10, 1, 10), 75),
        # The slot of the second begins at 100, which is 60 of the resolution's clock: to be in time is to end by then.
        (Slurm(), (2, 10, 1, 31), 110),
        (Slurm(), (2, 10, 1, 30), 30),
        (Slurm(resolution_s=1), (2, 10, 1, 70), 30),
        (Slurm(resolution_s=1), (2, 10, 1, 71), 110),
        # Where the second would start beyond the window, nothing is kept free for it: it waits for the small one.
        (Slurm(window_s=60), (2, 300, 1, 300), 30),
        (Slurm(window_s=70), (2, 300, 1, 300), 110),
        # Who isn't tested doesn't start, whatever room there is.
        (Slurm(max_job_test=1), (2, 10, 1, 10), 110),
    ],
)
def test_each_parameter_does_what_slurm_says_of_it(rules, small, start):
    assert plainly([*BUSY, small], Machine(4), rules)[2] == start


def test_the_defaults_are_slurms_and_need_no_priority():
    assert Slurm() == Slurm(interval_s=30, max_job_test=500, resolution_s=60, window_s=86_400, priority=None)
    jobs = from_columns(submit=[0, 1, 2], run=[100, 10, 10], gpus=[3, 4, 1], limit=[100, 10, 30])
    found = simulate(jobs, Machine(4), "slurm")
    assert (list(found.starts), found.engine) == ([0, 100, 30], "plain")


def test_priority_decides_who_is_first_and_backfill_keeps_its_place_free():
    people: list[Person] = [("a", "kim"), ("a", "kim"), ("b", "park"), ("b", "park")]
    jobs = [(0, 400, 4, 400), (1, 10, 4, 10), (2, 10, 4, 10), (2, 10, 4, 10)]
    rules = Slurm(priority=Multifactor(fairshare=1000, half_life_s=86_400))
    assert plainly(jobs, Machine(4), rules, people) == [0, 420, 400, 410]
    assert plainly(jobs, Machine(4), Slurm(), people) == [0, 400, 410, 420]
    found = simulate(trace_of(jobs, people), Machine(4), "slurm", rules=rules)
    assert list(found.starts) == [0, 420, 400, 410]
    traces = list(shaken(trace_of(jobs, people), 3))
    expected = [(sum(simulate(its, Machine(4), "slurm", rules=rules).starts) - sum(its.submit)) / 4 for its in traces]
    assert mean_waits(traces, Machine(4), "slurm", rules) == expected


@pytest.mark.parametrize("name", ["interval_s", "max_job_test", "resolution_s", "window_s"])
def test_parameters_below_1_are_refused(name):
    with pytest.raises(BadInput, match="are at least 1"):
        replace(Slurm(), **{name: 0})


def test_what_slurms_backfill_can_not_do_is_said():
    jobs = from_columns(submit=[0], run=[1], gpus=[1])
    with pytest.raises(BadInput, match="Slurm's backfill is defined on a pool: leave --nodes-of out"):
        simulate(jobs, Machine(8, 8), "slurm")
    with pytest.raises(BadInput, match="has no compiled kernel"):
        simulate(jobs, Machine(8), "slurm", "numba")
    with pytest.raises(BadInput, match="fair-share needs whose each job was"):
        simulate(jobs, Machine(8), "slurm", rules=Slurm(priority=Multifactor(fairshare=1)))
    with pytest.raises(BadInput, match="Slurm's backfill needs rules of its own"):
        simulate(jobs, Machine(8), "slurm", rules=Multifactor(age=1))


def test_on_a_recorded_trace_it_is_between_the_textbook_and_what_happened():
    if not KTH.exists():
        pytest.skip(f"needs {KTH}")
    trace = read(KTH)
    waits = {
        name: measure(trace, simulate(trace, Machine(100), name).starts, 100).wait.mean for name in ("easy", "slurm")
    }
    recorded = sum(trace.wait) / len(trace)
    assert waits["easy"] < waits["slurm"] < recorded
    assert waits["slurm"] == pytest.approx(9_706.52, abs=0.01)
