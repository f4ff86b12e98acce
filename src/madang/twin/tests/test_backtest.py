"""Forecasts that are made from the records alone, held against what happened."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from madang.twin import Machine, from_columns, simulate
from madang.twin.backtest import Held, Stint, _crowded, _live, backtest

HOUR = 3600


def history(jobs: int, seed: int) -> list[Stint]:
    """Jobs on a busy machine, first come, first served, each a random part of its limit."""
    random = Random(seed)
    submit, run, size, limit, at = [], [], [], [], 0
    for _ in range(jobs):
        at += int(random.expovariate(1 / 1100))
        submit.append(at)
        size.append(random.choice((1, 2, 4, 8)))
        limit.append(random.choice((1, 2, 4)) * HOUR)
        run.append(max(1, int(limit[-1] * random.uniform(0.12, 0.68))))
    trace = from_columns(submit=submit, run=run, gpus=size, limit=limit, machine=16)
    starts = simulate(trace, Machine(16), "fcfs").starts
    return [
        Stint(at, start, start + its, many, most)
        for at, start, its, many, most in zip(trace.submit, starts, trace.run, trace.gpus, trace.limit, strict=True)
    ]


def test_a_band_of_eight_in_ten_holds_about_as_many_where_the_queue_is_as_the_model_has_it():
    runs = history(1500, seed=3)
    held = backtest(runs, 16, runs[500].submit, runs[-1].submit)
    assert held.asked == 200
    assert held.fair


def test_where_jobs_start_against_the_order_the_band_does_not_hold_and_that_is_said():
    runs = history(1500, seed=4)
    late = [Stint(run.submit, run.start + 9 * HOUR, run.end + 9 * HOUR, run.gpus, run.limit) for run in runs[750:]]
    held = backtest([*runs[:750], *late], 16, runs[760].submit, runs[-1].submit)
    assert not held.fair
    assert held.after > held.within


def test_nothing_that_came_later_is_looked_at():
    runs = history(600, seed=5)
    since, until = runs[300].submit, runs[400].submit
    last = max(run.start for run in runs if run.submit < until)
    cut = [run for run in runs if run.submit < until] + [
        Stint(run.submit + 1, run.start + HOUR, run.end + 2 * HOUR, 1, 3 * HOUR) for run in runs if run.submit > last
    ]
    assert backtest(runs, 16, since, until) == backtest(cut, 16, since, until)


def test_who_finds_enough_free_and_nobody_waiting_is_not_asked():
    alone = [Stint(number * HOUR, number * HOUR, number * HOUR + 60, 16, HOUR) for number in range(100)]
    assert backtest(alone, 16, 0, 100 * HOUR) == Held()
    assert Held().fair  # of nothing, nothing can be wrong
    assert backtest([], 16, 0, 1) == Held()
    assert backtest([Stint(5, 3, 9, 1, 9)], 16, 0, 10) == Held()  # a clock that went back


@given(st.lists(st.tuples(*(st.integers(0, 30),) * 3, st.integers(1, 8)), max_size=30), st.integers(1, 16))
def test_whoever_had_to_wait_is_found_in_one_pass(jobs, gpus):
    runs = sorted(Stint(at, at + wait, at + wait + run, size, 60) for at, wait, run, size in jobs)
    slow = []
    for place, run in enumerate(runs):
        live = _live(runs, place)
        used = sum(job.gpus for job in live if job.elapsed_s is not None)
        if gpus - used < run.gpus or any(job.elapsed_s is None for job in live):
            slow.append(place)
    assert list(_crowded(runs, gpus)) == slow
