"""Preemption: the loop against the definition by words, and what always holds."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.twin import BadInput, Machine, plain
from madang.twin.tests.reference import Job, Tiered
from madang.twin.tests.test_policies import crowds
from madang.twin.tiers import Stretch, Tiers, preempting

Case = tuple[list[Job], Machine, list[int], Tiers]


@st.composite
def hierarchies(draw: st.DrawFn) -> Case:
    jobs, machine = draw(crowds())
    tier = draw(st.lists(st.integers(0, 2), min_size=len(jobs), max_size=len(jobs)))
    times = st.one_of(st.just(0), st.integers(1, 20))
    rules = Tiers(
        {"high": 1}, exempt_s=draw(times), grace_s=draw(times), checkpoint_s=draw(times), restart_s=draw(times)
    )
    return jobs, machine, tier, rules


def plainly(jobs: list[Job], machine: Machine, tier: list[int], rules: Tiers) -> list[Stretch]:
    return preempting(plain.Jobs(*(list(column) for column in zip(*jobs, strict=True))), machine, tier, rules)


@given(hierarchies())
def test_the_loop_is_the_definition(case):
    jobs, machine, tier, rules = case
    assert sorted(plainly(*case)) == sorted(Tiered(jobs, machine.gpus, tier, rules).simulate())


@given(hierarchies())
def test_every_job_is_done_once_never_twice_at_a_time_and_never_on_more_than_there_is(case):
    jobs, machine, tier, rules = case
    stretches = plainly(*case)
    assert Counter(s.job for s in stretches if not s.stopped) == Counter(range(len(jobs)))
    for job, (submit, run, _need, limit) in enumerate(jobs):
        own = sorted(s for s in stretches if s.job == job)
        assert own[0].start >= submit
        assert all(first.end <= second.start for first, second in pairwise(own))
        assert sum(s.end - s.start for s in own) >= run
        assert all(s.end - s.start >= rules.exempt_s + rules.grace_s for s in own if s.stopped)
        assert all(s.end - s.start <= limit + rules.restart_s for s in own)
    for t in {s.start for s in stretches}:
        assert sum(jobs[s.job][2] for s in stretches if s.start <= t < s.end) <= machine.gpus
    assert not any(s.stopped and tier[s.job] == max(tier) for s in stretches)


def test_a_job_is_stopped_goes_on_from_its_checkpoint_and_pays_for_the_restart():
    jobs = [(0, 100, 4, 100), (35, 10, 4, 10)]
    rules = Tiers({"high": 1}, grace_s=5, checkpoint_s=30, restart_s=7)
    assert sorted(plainly(jobs, Machine(4), [0, 1], rules)) == [
        Stretch(0, 0, 40, True),  # 35 s of work, of which 30 are saved, and 5 s to leave
        Stretch(0, 50, 50 + 70 + 7, False),
        Stretch(1, 40, 50, False),
    ]


def test_as_few_as_suffice_are_stopped_the_latest_of_the_lowest_first_and_none_in_vain():
    jobs = [(0, 100, 2, 100), (1, 100, 1, 100), (2, 100, 1, 100), (10, 5, 2, 5)]
    tier = [0, 0, 1, 2]
    stopped = [s.job for s in plainly(jobs, Machine(4), tier, Tiers({"high": 1})) if s.stopped]
    assert stopped == [
        0
    ]  # the later one isn't enough, and is spared as the earlier one is; the middle tier is left alone
    jobs[3] = (10, 5, 4, 5)
    assert [s for s in plainly(jobs, Machine(4), [0, 0, 3, 2], Tiers({"high": 1})) if s.stopped] == []


@pytest.mark.parametrize("wrong", [{}, {"of": {"high": 1}, "grace_s": -1}])
def test_rules_that_can_not_be_are_refused(wrong):
    with pytest.raises(BadInput):
        Tiers(**wrong)


def test_who_ends_within_the_grace_is_done_and_nobody_takes_turns_for_ever():
    rules = Tiers({"hi": 1}, grace_s=60)
    assert plainly([(0, 100, 4, 200), (99, 10, 4, 20)], Machine(4), [0, 1], rules) == [
        Stretch(0, 0, 100, False),
        Stretch(1, 100, 110, False),
    ]
    jobs = [(0, 7, 2, 7), (4, 8, 3, 16), (4, 1, 5, 1), (8, 7, 7, 7), (9, 6, 2, 12)]
    found = plainly(jobs, Machine(8), [1, 2, 2, 2, 1], Tiers({"hi": 1}, exempt_s=5, grace_s=30))
    assert sum(not s.stopped for s in found) == 5
