"""Fair-share: the tree by worked examples, and the loop against the definition by words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.twin import BadInput, Machine, Multifactor, from_columns, simulate
from madang.twin.priority import Person, fair_tree
from madang.twin.sure import mean_waits, shaken
from madang.twin.tests.reference import Job, Reference, tree
from madang.twin.tests.test_policies import crowds
from madang.twin.trace import Trace

PEOPLE = [("a", "kim"), ("a", "lee"), ("b", "park"), ("c", "kim"), ("c", "choi")]
shares = st.dictionaries(st.sampled_from(["a", "b", "c", "a/kim", "a/lee", "c/choi"]), st.integers(0, 3))


@st.composite
def parties(draw: st.DrawFn) -> tuple[list[Job], Machine, list[Person], Multifactor]:
    jobs, machine = draw(crowds())
    people = draw(st.lists(st.sampled_from(PEOPLE), min_size=len(jobs), max_size=len(jobs)))
    weights = st.sampled_from((0, 1, 10, 1000))
    rules = Multifactor(
        age=draw(weights), fairshare=draw(st.sampled_from((1, 10, 1000))), size=draw(weights),
        max_age_s=draw(st.integers(1, 60)), half_life_s=draw(st.integers(1, 60)), every_s=draw(st.integers(1, 20)),
        favor_small=draw(st.booleans()), backfill=draw(st.booleans()),
        shares={name: share for name, share in draw(shares).items() if _is_there(name, people)},
    )  # fmt: skip
    return jobs, machine, people, rules


def _is_there(name: str, people: list[Person]) -> bool:
    return any(name in (account, f"{account}/{user}") for account, user in people)


def trace_of(jobs: list[Job], people: list[Person]) -> Trace:
    submit, run, gpus, limit = zip(*jobs, strict=True)
    made = from_columns(submit=submit, run=run, gpus=gpus, limit=limit)
    accounts, users = zip(*people, strict=True)
    return Trace(**{**vars(made), "more": {"account": accounts, "user": users}})


def by_words(jobs: list[Job], machine: Machine, people: list[Person], rules: Multifactor) -> list[int]:
    reference = Reference(jobs, machine.gpus)
    reference.people, reference.rules = people, rules
    return reference.simulate("fairshare")


@given(parties())
def test_the_loop_is_the_definition(party):
    jobs, machine, people, rules = party
    found = simulate(trace_of(jobs, people), machine, "fairshare", rules=rules)
    assert list(found.starts) == by_words(*party)
    for t in found.starts:
        running = [job for job, begun in zip(jobs, found.starts, strict=True) if begun <= t < begun + job[1]]
        assert sum(job[2] for job in running) <= machine.gpus


@given(st.dictionaries(st.sampled_from(PEOPLE), st.sampled_from((0, 1, 2, 3, 6, 0.1, 0.3)), min_size=1), shares)
def test_the_tree_is_who_comes_before_whom(used, shares):
    assert fair_tree(used, shares) == tree(used, shares)


@pytest.mark.parametrize(
    ("used", "shares", "factors"),
    [
        # Levels of accounts 0.5/0.4 = 1.25 and 0.5/0.6 = 0.83; within a 0.5/0.75 and 0.5/0.25.
        ({"a/kim": 30, "a/lee": 10, "b/park": 60, "b/choi": 0}, {}, (0.75, 1, 0.25, 0.5)),
        # Three times the share: b comes first.
        ({"a/kim": 30, "a/lee": 10, "b/park": 60, "b/choi": 0}, {"b": 3}, (0.25, 0.5, 0.75, 1)),
        # Nobody has used anything: all tie, and share the first rank.
        ({"a/kim": 0, "a/lee": 0, "b/park": 0, "b/choi": 0}, {}, (1, 1, 1, 1)),
        # The accounts tie, so their users are ranked together: two at level 2, then two at 2/3.
        ({"a/kim": 1, "a/lee": 3, "b/park": 1, "b/choi": 3}, {"b/choi": 1}, (1, 0.5, 1, 0.5)),
        # Without a share one comes after the others of the account, also who has used nothing.
        ({"a/kim": 5, "a/lee": 0, "b/park": 5, "b/choi": 5}, {"a/lee": 0, "b": 1}, (1, 0.75, 0.5, 0.5)),
    ],
)
def test_a_tree_worked_by_hand(used, shares, factors):
    people = {tuple(name.split("/")): amount for name, amount in used.items()}
    assert tuple(fair_tree(people, shares).get(person) for person in people) == factors


def test_who_has_used_less_goes_first_and_what_was_used_is_forgotten_by_half():
    # kim runs from 0 to 100. At 100 both have a job: lee's goes first, although it came later.
    jobs = [(0, 100, 4, 100), (50, 10, 4, 10), (60, 10, 4, 10)]
    people = [("a", "kim"), ("a", "kim"), ("a", "lee")]
    rules = Multifactor(fairshare=1000, half_life_s=10, every_s=20)
    assert list(simulate(trace_of(jobs, people), Machine(4), "fairshare", rules=rules).starts) == [0, 110, 100]
    # Much later lee has used more, as kim's 400 GPU-seconds are forgotten by a half every 10 s.
    jobs += [(300, 50, 4, 50), (310, 10, 4, 10), (311, 10, 4, 10)]
    people += [("a", "lee"), ("a", "lee"), ("a", "kim")]
    assert list(simulate(trace_of(jobs, people), Machine(4), "fairshare", rules=rules).starts)[3:] == [300, 360, 350]


def test_a_share_that_is_half_as_large_is_reached_in_the_long_run():
    """Two accounts that always want everything get it 2 to 1."""
    jobs = [(0, 10, 1, 10) for _ in range(600)]
    people = [("a" if job % 2 else "b", "kim") for job in range(600)]
    rules = Multifactor(fairshare=1000, half_life_s=10**6, every_s=1, shares={"a": 2})
    starts = simulate(trace_of(jobs, people), Machine(1), "fairshare", rules=rules).starts
    first = [person[0] for _start, person in sorted(zip(starts, people, strict=True))[:300]]
    assert math.isclose(first.count("a") / 300, 2 / 3, abs_tol=0.01)


def test_a_shaken_trace_keeps_whose_each_job_is():
    jobs = [(t * 10, 500, 2, 500) for t in range(30)]
    people = [PEOPLE[t % 5] for t in range(30)]
    rules = Multifactor(fairshare=1000)
    first, second = shaken(trace_of(jobs, people), 2)
    assert sorted(zip(first.row, first.more["user"], strict=True)) == [(t, people[t][1]) for t in range(30)]
    assert all(mean > 0 for mean in mean_waits([first, second], Machine(4), "fairshare", rules))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "fair-share needs weights: age, fairshare, size"),
        (
            {"rules": Multifactor(age=1), "machine": Machine(4, 2)},
            "fair-share is defined on a pool: leave --nodes-of out",
        ),
        ({"rules": Multifactor(age=1), "engine": "numba"}, "fair-share has no compiled kernel: leave --engine out"),
        (
            {"rules": Multifactor(age=1, shares={"d": 1})},
            "nobody in the trace is called 'd': a share is of an account, or of account/user",
        ),
    ],
)
def test_what_can_not_be_simulated_is_said(given, said):
    with pytest.raises(BadInput) as told:
        simulate(
            **{"trace": trace_of([(0, 1, 1, 1)], PEOPLE[:1]), "machine": Machine(4), "policy": "fairshare"} | given
        )
    assert str(told.value) == said


def test_a_trace_without_names_has_no_fair_share():
    with pytest.raises(BadInput, match="names no account and no user"):
        simulate(from_columns(submit=[0], run=[1], gpus=[1]), Machine(4), "fairshare", rules=Multifactor(fairshare=1))


@pytest.mark.parametrize(
    "wrong", [{}, {"age": -1, "size": 2}, {"age": 1, "every_s": 0}, {"age": 1, "shares": {"a": -1}}]
)
def test_rules_that_can_not_be_are_refused(wrong):
    with pytest.raises(BadInput):
        Multifactor(**wrong)
