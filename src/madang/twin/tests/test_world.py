"""What befalls a site: the loop against the definition by words, and what always holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.twin import BadInput, plain
from madang.twin.plain import NEVER
from madang.twin.tests.reference import Job, Worldly
from madang.twin.tests.test_policies import crowds, plainly
from madang.twin.tiers import Stretch
from madang.twin.world import Answers, Down, Failures, Grant, Lives, Part, Patience, World, live

Case = tuple[list[Job], World, list[int], list[int], Answers | None, bool]
T = TypeVar("T")


def site(pick: Callable[[int, int], int]) -> Case:
    """A small site with much going on, so that ties are frequent; `pick(low, high)` draws a number."""

    def one(of: Sequence[T]) -> T:
        return of[pick(0, len(of) - 1)]

    def maybe(low: int, high: int) -> int | None:
        return pick(low, high) if pick(0, 2) == 0 else None

    parts = [
        Part(pick(1, 5), one((1, 2, 3)), one(("pack", "spread")), one((0, 2)), one((0, 5)), one((0, 30)))
        for _ in range(pick(1, 2))
    ]
    downs = []
    for _ in range(pick(0, 3)):
        number, begin = pick(0, len(parts) - 1), pick(0, 40)
        first = pick(0, parts[number].nodes - 1)
        count = pick(1, parts[number].nodes - first)
        downs.append(Down(number, first, count, begin, one((begin + pick(1, 40), NEVER)), bool(pick(0, 1))))
    grants = []
    for _ in range(pick(0, 2)):
        begin = pick(0, 10)
        grants.append(
            Grant(begin, one((NEVER, begin + pick(1, 40))), maybe(1, 400), maybe(1, 8), maybe(5, 60), maybe(1, 8))
        )
    submits = sorted(pick(0, 30) for _ in range(pick(1, 14)))
    part = [pick(0, len(parts) - 1) for _ in submits]
    grant = [pick(-1, len(grants) - 1) for _ in submits]
    jobs = []
    for submit, number in zip(submits, part, strict=True):
        run = pick(1, 30)
        jobs.append((submit, run, pick(1, parts[number].gpus + (pick(0, 9) == 0)), run + pick(0, 20) * pick(0, 1)))
    patience, after = ([pick(low, high) for _ in submits] for low, high in ((1, 40), (-1, 9)))

    def answers(job: int, attempt: int) -> tuple[int, int]:
        return patience[job] + attempt, after[job] if attempt < 2 else -1

    world = World(
        dict(zip("ab", parts, strict=False)),
        downs=tuple(downs),
        grants=dict(zip("xy", grants, strict=False)),
        checkpoint_s=one((0, 4)),
        restart_s=one((0, 3)),
    )
    return jobs, world, part, grant, answers if pick(0, 1) else None, bool(pick(0, 3))


@st.composite
def sites(draw: st.DrawFn) -> Case:
    return site(lambda low, high: draw(st.integers(low, high)))


def lived(jobs: list[Job], *how: object) -> Lives:
    return live(plain.Jobs(*(list(column) for column in zip(*jobs, strict=True))), *how)  # type: ignore[arg-type]


@settings(max_examples=300)
@given(sites())
def test_the_loop_is_the_definition(case):
    fates, stretches = Worldly(*case).simulate()
    found = lived(*case)
    assert (found.fate, sorted(found.stretches)) == (fates, sorted(stretches))


@given(sites())
def test_nobody_runs_twice_or_before_arriving_or_on_nodes_that_are_not_there_and_a_grant_is_never_overdrawn(case):
    jobs, world, part, grant, _answers, _backfill = case
    found = lived(*case)
    done = Counter(stretch.job for stretch in found.stretches if not stretch.stopped)
    assert done == Counter(job for job, fate in enumerate(found.fate) if fate == "done")
    for job, (submit, run, *_rest) in enumerate(jobs):
        own = sorted(stretch for stretch in found.stretches if stretch.job == job)
        assert not own or own[0].start >= found.arrived[job] >= submit
        assert all(first.end <= second.start for first, second in pairwise(own))
        assert found.fate[job] != "done" or sum(stretch.end - stretch.start for stretch in own) >= run
    for t in {stretch.start for stretch in found.stretches}:
        held = [stretch.job for stretch in found.stretches if stretch.start <= t < stretch.end]
        for number, its in enumerate(world.parts.values()):
            gone = {
                node
                for down in world.downs
                if down.part == number and down.begin <= t < down.end
                for node in range(down.first, down.first + down.nodes)
            }
            used = sum(jobs[job][2] for job in held if part[job] == number)
            assert used <= (its.nodes - len(gone)) * its.nodes_of
    for number, its in enumerate(world.grants.values()):
        used = sum(need * run for job, (_s, run, need, _l) in enumerate(jobs) if done[job] and grant[job] == number)
        assert its.gpu_seconds is None or used <= its.gpu_seconds


@pytest.mark.parametrize("policy", ["fcfs", "easy"])
@given(crowds(nodes=True))
def test_where_nothing_befalls_it_a_site_is_the_machine_of_its_nodes(policy, crowd):
    jobs, machine = crowd
    world = World({"gpu": Part(machine.nodes, machine.nodes_of, machine.place)})
    found = lived(jobs, world, [0] * len(jobs), [-1] * len(jobs), None, policy == "easy")
    assert [stretch.start for stretch in sorted(found.stretches)] == plainly(jobs, machine, policy)


@given(crowds())
def test_a_pool_is_nodes_of_one_gpu(crowd):
    jobs, machine = crowd
    found = lived(jobs, World({"gpu": Part(machine.gpus, 1)}), [0] * len(jobs), [-1] * len(jobs), None, True)
    assert [stretch.start for stretch in sorted(found.stretches)] == plainly(jobs, machine, "easy")


ONE = ([0], [-1], None, True)


def test_nothing_is_started_that_would_run_into_maintenance():
    world = World({"gpu": Part(1)}, downs=(Down(0, 0, 1, 50, 80, announced=True),))
    assert lived([(0, 10, 1, 50)], world, *ONE).stretches == [Stretch(0, 0, 10, False)]
    assert lived([(0, 10, 1, 51)], world, *ONE).stretches == [Stretch(0, 80, 90, False)]


def test_a_failure_stops_a_job_which_goes_on_from_its_checkpoint_on_another_node():
    world = World({"gpu": Part(2)}, downs=(Down(0, 0, 1, 45),), checkpoint_s=20, restart_s=5)
    assert lived([(0, 100, 8, 100)], world, *ONE).stretches == [Stretch(0, 0, 45, True), Stretch(0, 45, 110, False)]


def test_who_waits_too_long_gives_up_and_may_come_again():
    jobs = [(0, 100, 8, 100), (0, 10, 8, 10), (0, 10, 8, 10)]
    answers = {(1, 0): (30, 80), (1, 1): (40, -1), (2, 0): (30, -1), (0, 0): (30, -1)}
    found = lived(jobs, World({"gpu": Part(1)}), [0] * 3, [-1] * 3, lambda *which: answers[which], True)
    assert found.fate == ["done", "done", "gave up"]
    assert found.arrived[1] == 110
    assert sorted(found.stretches)[1] == Stretch(1, 110, 120, False)


def test_a_job_waits_for_one_leaf_and_then_pays_for_two():
    part = Part(4, leaf=2, switch_wait_s=60, across_percent=50)
    jobs = [(0, 1000, 8, 1000), (0, 1000, 8, 1000), (0, 10, 8, 10), (1, 40, 16, 40)]
    downs = (Down(0, 0, 1, 0, 2), Down(0, 3, 1, 0, 2))  # a node of each leaf is taken
    found = lived(jobs[:2] + jobs[3:], World({"gpu": part}, downs=downs), [0] * 3, [-1] * 3, None, True)
    assert sorted(found.stretches)[2] == Stretch(2, 61, 121, False)


@pytest.mark.parametrize(
    ("asked", "fate"),
    [({}, "done"), ({"begin": 6}, "refused"), ({"longest_s": 9}, "refused"), ({"largest": 1}, "refused"),
     ({"gpu_seconds": 19}, "refused"), ({"gpu_seconds": 20}, "done"), ({"end": 20}, "cancelled"),
     ({"end": 21}, "done")],
)  # fmt: skip
def test_what_a_grant_does_not_hold_is_refused_and_what_waits_at_its_end_is_cancelled(asked, fate):
    found = lived(
        [(0, 20, 8, 20), (5, 5, 2, 10)],
        World({"gpu": Part(1)}, grants={"lab": Grant(**asked)}),
        [0, 0],
        [-1, 0],
        None,
        True,
    )
    assert found.fate == ["done", fate]


def test_a_grant_that_runs_on_as_much_as_it_may_is_passed_over_and_holds_nobody_up():
    jobs = [(0, 50, 4, 50), (1, 10, 4, 10), (2, 100, 4, 100)]
    world = World({"gpu": Part(1)}, grants={"lab": Grant(gpus_at_once=4)})
    found = lived(jobs, world, [0] * 3, [0, 0, -1], None, True)
    assert [stretch.start for stretch in sorted(found.stretches)] == [0, 50, 2]


def test_failures_and_patience_are_drawn_alike_for_one_seed_and_come_as_often_as_they_say():
    parts, hour = [Part(200)], 3600
    failures = Failures(node_hours=1000, repair_hours=4, repair_sigma=0.5, source="test")
    drawn = failures.draw(parts, 1000 * hour, seed=3)
    assert drawn == failures.draw(parts, 1000 * hour, seed=3) != failures.draw(parts, 1000 * hour, seed=4)
    assert 160 < len(drawn) < 240
    answers = Patience(median_hours=2, again=0.5).drawn(7)
    patience, after = zip(*(answers(job, 0) for job in range(2000)), strict=True)
    assert sorted(patience)[1000] == pytest.approx(2 * hour, rel=0.1)
    assert 900 < sum(back >= 0 for back in after) < 1100


@pytest.mark.parametrize(
    "wrong",
    [lambda: Part(0), lambda: Part(1, leaf=-1), lambda: World({}), lambda: World({"gpu": Part(1)}, restart_s=-1),
     lambda: World({"gpu": Part(2)}, downs=(Down(0, 1, 2, 0),)),
     lambda: World({"gpu": Part(2)}, downs=(Down(0, 0, 1, 5, 5),)),
     lambda: Failures(0, 1), lambda: Patience(1, again=1)],
)  # fmt: skip
def test_a_site_that_can_not_be_is_refused(wrong):
    with pytest.raises(BadInput):
        wrong()
