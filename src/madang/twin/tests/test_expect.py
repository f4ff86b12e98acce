"""When a job would start, from what runs and waits, and how often that is right."""

from __future__ import annotations

import random

from madang.twin.expect import Live, expect


def test_without_a_past_everybody_runs_to_the_limit():
    live = [Live(2, 3600, elapsed_s=600), Live(2, 7200, elapsed_s=0), Live(4, 1000)]
    said = expect(live, gpus=1, limit_s=60, free=0, past=[])
    assert said is not None
    assert (said.p10_s, said.p50_s, said.p90_s, said.known) == (8200, 8200, 8200, False)
    behind = expect(live, gpus=1, limit_s=60, free=0, past=[], policy="easy")
    assert behind is not None
    assert behind.p50_s == 3000  # it fits beside the one that waits, and is over in time


def test_what_has_run_longer_than_most_is_expected_to_go_on():
    past = [0.1] * 90 + [0.9] * 10
    fresh = expect([Live(4, 1000, elapsed_s=0)], gpus=4, limit_s=60, free=0, past=past)
    old = expect([Live(4, 1000, elapsed_s=500)], gpus=4, limit_s=60, free=0, past=past)
    assert fresh is not None
    assert old is not None
    assert (fresh.p50_s, old.p50_s) == (100, 400)
    assert fresh.within_an_hour == 1.0


def test_a_job_larger_than_the_machine_has_no_start_and_one_that_fits_starts_now():
    assert expect([Live(4, 100, elapsed_s=0)], gpus=5, limit_s=60, free=0, past=[0.5]) is None
    said = expect([Live(4, 100, elapsed_s=0)], gpus=2, limit_s=60, free=2, past=[0.5])
    assert said is not None
    assert said.p90_s == 0


def test_the_band_holds_eight_of_ten_starts():
    draw = random.Random(3)
    past = [draw.betavariate(1, 3) for _ in range(300)]
    held = 0
    for trial in range(150):
        live, truth = [], []
        for _ in range(4):
            share = draw.choices(past, weights=past)[0]  # what is seen running is longer than most
            elapsed = int(draw.random() * share * 7200)
            live.append(Live(1, 7200, elapsed_s=elapsed))
            truth.append(max(1, round(share * 7200) - elapsed))
        said = expect(live, gpus=2, limit_s=60, free=0, past=past, seed=trial)
        assert said is not None
        held += said.p10_s <= sorted(truth)[1] <= said.p90_s
    assert 105 <= held <= 143  # 70 to 95 of 100
