"""Three programs agree to the second: the slow reference, the plain loops, the compiled kernel."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.twin import POLICIES, BadInput, Machine, from_columns, simulate
from madang.twin.tests.reference import Job, Reference
from madang.twin.trace import Trace

compiled = pytest.mark.skipif(find_spec("numba") is None, reason="needs numba (the extra “twin”)")


@st.composite
def crowds(draw: st.DrawFn, nodes: bool = False) -> tuple[list[Job], Machine]:
    """Few jobs, few GPUs, short times: so that ties are frequent."""
    each = draw(st.sampled_from((2, 3, 8))) if nodes else 0
    gpus = each * draw(st.integers(1, 5)) if nodes else draw(st.integers(1, 12))
    place = draw(st.sampled_from(("pack", "spread"))) if nodes else "pack"
    most = draw(st.integers(5, 60))
    times = st.integers(1, most)
    job = st.tuples(st.integers(0, most), times, st.integers(1, gpus), st.one_of(st.just(0), times))
    drawn = sorted(draw(st.lists(job, min_size=1, max_size=25)), key=lambda job: job[0])
    first = drawn[0][0]
    return [(submit - first, run, need, run + more) for submit, run, need, more in drawn], Machine(gpus, each, place)


@st.composite
def growing(draw: st.DrawFn) -> tuple[list[Job], Machine]:
    """Sometimes a job is larger than the machine is at first."""
    jobs, machine = draw(crowds())
    less = draw(st.integers(1, machine.gpus))
    more = draw(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 4)), max_size=3))
    given_back = [(draw(st.integers(0, 90)), machine.gpus - less)] if machine.gpus > less else []
    return jobs, Machine(less, deliveries=tuple(sorted([*more, *given_back])))


def trace_of(jobs: list[Job]) -> Trace:
    submit, run, gpus, limit = zip(*jobs, strict=True)
    return from_columns(submit=submit, run=run, gpus=gpus, limit=limit)


def by_reference(jobs: list[Job], machine: Machine, policy: str) -> list[int]:
    return Reference(jobs, machine.gpus, machine.nodes_of, machine.place, machine.deliveries).simulate(policy)


def plainly(jobs: list[Job], machine: Machine, policy: str) -> list[int]:
    return list(simulate(trace_of(jobs), machine, policy, "plain").starts)


@pytest.mark.parametrize("policy", ["fcfs", "sjf", "easy", "conservative"])
@given(crowds())
def test_the_plain_loop_is_the_definition(policy, crowd):
    assert plainly(*crowd, policy) == by_reference(*crowd, policy)


@pytest.mark.parametrize("policy", ["fcfs", "sjf", "easy"])
@given(crowds(nodes=True))
def test_the_plain_loop_is_the_definition_on_nodes(policy, crowd):
    assert plainly(*crowd, policy) == by_reference(*crowd, policy)


@pytest.mark.parametrize("policy", ["fcfs", "sjf", "easy"])
@given(growing())
def test_the_plain_loop_is_the_definition_on_a_machine_that_grows(policy, crowd):
    assert plainly(*crowd, policy) == by_reference(*crowd, policy)


@compiled
@settings(deadline=None)
@pytest.mark.parametrize("policy", ["fcfs", "sjf", "easy", "conservative"])
@given(st.one_of(crowds(), crowds(nodes=True), growing()))
def test_the_kernel_is_the_plain_loop(policy, crowd):
    jobs, machine = crowd
    if policy == "conservative":
        machine = Machine(machine.most)
    assert list(simulate(trace_of(jobs), machine, policy, "numba").starts) == plainly(jobs, machine, policy)


@compiled
@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1 << 30), st.booleans())
def test_the_kernel_is_the_plain_loop_with_long_queues_and_long_limits(seed, nodes):
    import random

    draw = random.Random(seed)
    machine = Machine(64, 8 if nodes else 0)
    jobs = []
    for _ in range(400):
        run = draw.randint(1, draw.choice((60, 4_000)))
        limit = run + draw.choice((0, draw.randint(0, 9_000), draw.randint(0, 2_000_000)))
        jobs.append((draw.randint(0, 20_000), run, draw.choice((1, 1, 2, 4, 8, 12, 64)), limit))
    jobs.sort(key=lambda job: job[0])
    jobs = [(submit - jobs[0][0], *rest) for submit, *rest in jobs]
    assert list(simulate(trace_of(jobs), machine, "easy", "numba").starts) == plainly(jobs, machine, "easy")


@pytest.mark.parametrize("policy", ["fcfs", "sjf", "easy", "conservative"])
@given(crowds())
def test_no_instant_uses_more_than_there_is_and_nobody_starts_before_arriving(policy, crowd):
    jobs, machine = crowd
    starts = plainly(jobs, machine, policy)
    for t in starts:
        assert (
            sum(job[2] for job, begun in zip(jobs, starts, strict=True) if begun <= t < begun + job[1]) <= machine.gpus
        )
    assert all(begun >= job[0] for job, begun in zip(jobs, starts, strict=True))
    if policy == "fcfs":
        assert starts == sorted(starts)


@pytest.mark.parametrize("nodes", [False, True])
@given(st.data())
def test_under_easy_a_promise_to_the_head_never_moves_later_and_is_kept(nodes, data):
    jobs, machine = data.draw(crowds(nodes=nodes))
    reference = Reference(jobs, machine.gpus, machine.nodes_of, machine.place)
    reference.simulate("easy")
    starts = plainly(jobs, machine, "easy")
    before: dict[int, int] = {}
    for _t, head, promise in reference.promises:
        assert promise <= before.get(head, promise)
        assert starts[head] <= promise
        before[head] = promise


@given(crowds())
def test_under_conservative_backfill_no_promise_moves_later(crowd):
    jobs, machine = crowd
    reference = Reference(jobs, machine.gpus)
    starts = reference.simulate("conservative")
    before: dict[int, int] = {}
    for _t, job, promise in reference.promises:
        assert starts[job] <= promise <= before.get(job, promise)
        before[job] = promise
    assert plainly(jobs, machine, "conservative") == starts


@pytest.mark.parametrize("policy", ["fcfs", "sjf", "easy", "conservative"])
@given(crowds(), st.integers(2, 50))
def test_longer_seconds_scale_the_starts_and_larger_gpus_change_nothing(policy, crowd, times):
    jobs, machine = crowd
    starts = plainly(jobs, machine, policy)
    longer = [(submit * times, run * times, need, limit * times) for submit, run, need, limit in jobs]
    assert plainly(longer, machine, policy) == [start * times for start in starts]
    larger = [(submit, run, need * times, limit) for submit, run, need, limit in jobs]
    assert plainly(larger, Machine(machine.gpus * times), policy) == starts


def test_a_long_queue_is_handed_to_the_kernel_and_stays_the_same(monkeypatch):
    jobs = [(0, 1 + job % 7, 1 + job % 3, 9) for job in range(60)]
    there = find_spec("numba") is not None
    monkeypatch.setattr("madang.twin.policies.PATIENCE", 100)
    outcome = simulate(trace_of(jobs), Machine(4), "easy")
    assert outcome.engine == ("numba" if there else "plain")
    assert list(outcome.starts) == plainly(jobs, Machine(4), "easy")


@pytest.mark.parametrize(
    ("machine", "policy", "said"),
    [
        (Machine(4), "lottery", f"no policy is called 'lottery': {', '.join(POLICIES)}"),
        (Machine(4, 2), "conservative", "conservative backfill is defined on a pool: leave --nodes-of out"),
        (Machine(2), "easy", "a job asks for 3 GPUs of 2: read the trace for this machine"),
    ],
)
def test_what_can_not_be_simulated_is_said(machine, policy, said):
    with pytest.raises(BadInput) as told:
        simulate(from_columns(submit=[0], run=[1], gpus=[3]), machine, policy)
    assert str(told.value) == said


@pytest.mark.parametrize(
    ("gpus", "nodes_of", "said"),
    [
        (0, 0, "a machine of 0 GPUs can run nothing"),
        (8, -1, "nodes of -1 GPUs: at least 1"),
        (100, 8, "100 GPUs are no whole number of nodes of 8: 96 or 104 are"),
    ],
)
def test_a_machine_that_can_not_be_is_said(gpus, nodes_of, said):
    with pytest.raises(BadInput) as told:
        Machine(gpus, nodes_of)
    assert str(told.value) == said
