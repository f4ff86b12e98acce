"""What more grants do: never less use, longer waits, the same answer again, and jobs that the machine takes."""

from __future__ import annotations

from itertools import pairwise

import pytest

pytest.importorskip("numba")

from madang.twin import BadInput
from madang.twin.demand import expected_gpu_seconds
from madang.twin.effect import DAY_S, LAYER, Queue, _busiest, _program, effect

QUEUE = Queue(64, longest_s=2 * DAY_S)
DAY = QUEUE.gpu_hours_a_day
JOBS = 60_000


def with_more(share: float, granted: float = 0.3, queue: Queue = QUEUE, shape: str = "helios"):
    """So much of the machine is added to what is granted on each of 60 days."""
    return effect(queue, shape, [granted * queue.gpu_hours_a_day] * 60, share * queue.gpu_hours_a_day, jobs=JOBS)


@pytest.mark.parametrize("policy", ["easy", "fcfs"])
@pytest.mark.parametrize("shape", ["philly", "seren"])
def test_more_awards_never_show_less_utilization_and_waits_grow(policy, shape):
    """Until the machine is full; from there on, who holds it up is chance."""
    queue = Queue(64, policy, most_gpus=8, longest_s=2 * DAY_S)
    shares = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9, 1.2)
    states = [with_more(share, queue=queue, shape=shape).then for share in shares]
    used = [state.utilization.mean for state in states]
    room = [state.utilization.mean for state in states if state.load < 1]
    assert room == sorted(room)
    assert all(later > before - 0.01 for before, later in pairwise(used))
    assert used[-1] > used[0] + 0.5
    for measured in ("p50", "p90"):
        waits = [getattr(state, measured).mean for state in states]
        assert waits == sorted(waits)
        assert waits[-1] > waits[0] + 3600


def test_no_award_changes_nothing_and_the_same_question_has_the_same_answer():
    nothing = with_more(0)
    assert nothing.then == nothing.now
    assert with_more(0.3) == with_more(0.3)
    assert with_more(0.3).now == nothing.now


def test_what_is_asked_for_is_used_as_long_as_there_is_room():
    for share in (0.1, 0.3, 0.5):
        state = with_more(share).then
        assert state.load == pytest.approx(0.3 + share)
        assert state.utilization.low <= 0.3 + share <= state.utilization.high
        assert state.utilization.mean == pytest.approx(0.3 + share, abs=0.05)


def test_a_short_sample_of_a_large_machine_is_as_full_as_a_long_one_of_a_small_one():
    """Jobs run already when it begins, so it need not fill up first."""
    large = effect(Queue(8_000, longest_s=7 * DAY_S), "helios", [0.5 * 8_000 * 24] * 60, 0, jobs=JOBS)
    assert (large.days, large.seeds) == (1, 3)
    assert large.now.utilization.mean == pytest.approx(0.5, abs=0.06)


def test_the_first_day_on_which_more_is_asked_than_there_is_is_named():
    granted = [0.2 * DAY] * 20 + [0.7 * DAY] * 10
    assert effect(QUEUE, "helios", granted, 0.25 * DAY, jobs=JOBS).full_on is None
    assert effect(QUEUE, "helios", granted, 0.35 * DAY, jobs=JOBS).full_on == 20
    assert effect(QUEUE, "helios", granted, 0.85 * DAY, jobs=JOBS).full_on == 0


def test_the_busiest_days_are_simulated():
    granted = [0.1 * DAY] * 40 + [0.6 * DAY] * 28 + [0.1 * DAY] * 40
    found = effect(QUEUE, "helios", granted, 0, jobs=JOBS)
    assert (found.first, found.days) == (40, 28)
    assert found.now.load == pytest.approx(0.6)
    assert _busiest([1.0, 1.0, 1.0], 2) == 0


def test_jobs_are_no_larger_and_no_longer_than_the_queue_takes_and_still_ask_for_as_much():
    small = _program(Queue(16, most_gpus=4, longest_s=3600), "helios")
    assert max(size for size, _share in small.sizes) == 4
    assert {lengths.longest for _top, lengths in small.lengths} == {3600}
    assert small.gpu_hours_a_day == 16 * 24 * LAYER
    assert expected_gpu_seconds(small) < expected_gpu_seconds(_program(QUEUE, "helios"))


def test_where_nobody_asks_nobody_waits():
    state = effect(QUEUE, "helios", [0.0] * 30, 0).now
    assert (state.load, state.utilization.mean, state.p50, state.p90) == (0, 0, None, None)
    seldom = effect(Queue(1), "helios", [0.0001], 0.0001)
    assert (seldom.now.utilization.mean, seldom.then.p90) == (0, None)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Queue(0),
        lambda: Queue(8, "conservative"),
        lambda: Queue(8, most_gpus=0),
        lambda: Queue(8, longest_s=5),
        lambda: effect(QUEUE, "helios", [], 1),
        lambda: effect(QUEUE, "helios", [1.0, -1.0], 1),
        lambda: effect(QUEUE, "helios", [1.0], -1),
        lambda: effect(QUEUE, "nothing", [1.0], 1),
        lambda: effect(Queue(10_000_000), "helios", [1.0], 1),
    ],
)
def test_what_can_not_be_is_refused_in_words(bad):
    with pytest.raises(BadInput, match=r"\w+ \w+"):
        bad()
