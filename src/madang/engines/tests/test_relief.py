"""A disk that gets full while jobs run: who ends for it, and who doesn't."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from madang.engines.base import InputFile
from madang.engines.local.relief import MEANT, STEPS, Limit, Relief, Writer

EVERYTHING = 1 << 62  # more than any disk has free
STAY = "echo up; exec sleep 60"
NAMED = "for i in 1 2 3 4 5 6; do head -c 4000000 /dev/zero > $i; done; "
NAMELESS = "".join(f"exec {fd}> gone; rm gone; head -c 4000000 /dev/zero >&{fd}; " for fd in range(3, 10))


@pytest.fixture
def rig(local_rig):
    return local_rig


def fill(rig, least=EVERYTHING):
    """From now on so many bytes have to be free."""
    rig.dispatcher.caps = replace(rig.caps, least_free=least)


def ends(rig):
    return {row.key.job: row for row in rig.usage()}


def look(rig):
    """Long enough for whatever is going to be ended."""
    for _ in range(20):
        rig.step()
        time.sleep(0.02)


def test_the_run_that_wrote_the_most_ends_and_is_charged_and_the_others_go_on(rig, tmp_path):
    (tmp_path / "large").write_bytes(bytes(64 << 20))
    given = rig.submit(STAY, files=(InputFile("large", source=tmp_path / "large"),))
    small = rig.submit(f"head -c 4000000 /dev/zero > 1; {STAY}")
    large = rig.submit(NAMED + STAY)
    for job in (given, small, large):
        rig.running(job)
    fill(rig)
    row = rig.ended(large)
    assert (row.outcome, row.reason) == ("failed", "the disk was nearly full, and it had written the most")
    assert row.gpu_seconds >= 1
    look(rig)
    assert list(ends(rig)) == [large]
    assert (rig.live(given).state, rig.live(small).state) == ("running", "running")


def test_what_a_run_writes_without_a_name_counts_too(rig):
    named, nameless = rig.submit(NAMED + STAY), rig.submit(NAMELESS + STAY)
    rig.running(named)
    rig.running(nameless)
    fill(rig)
    rig.until(lambda: ends(rig))
    assert list(ends(rig)) == [nameless]


def test_a_job_that_takes_no_heed_of_its_end_has_no_grace_to_write_in(make_rig):
    rig = make_rig()
    rig.dispatcher.caps = rig.caps = replace(rig.caps, grace_s=3600)
    job = rig.submit(f"trap '' TERM; {NAMED} echo up; while :; do sleep 1; done")
    rig.running(job)
    fill(rig)
    assert rig.ended(job).reason.startswith("the disk was nearly full")


@pytest.mark.parametrize("least", [0, 1])
def test_while_there_is_room_enough_nobody_ends(rig, least):
    job = rig.submit(NAMED + STAY)
    rig.running(job)
    fill(rig, least)
    look(rig)
    assert rig.live(job).state == "running"


def test_a_run_whose_files_take_more_than_a_run_may_is_told_and_the_others_go_on(rig, tmp_path):
    (tmp_path / "large").write_bytes(bytes(64 << 20))
    given = rig.submit(STAY, files=(InputFile("large", source=tmp_path / "large"),))
    job = rig.submit(f"trap 'echo told; exit 3' TERM; {NAMED} echo up; while :; do sleep 0.1; done")
    rig.running(given)
    rig.running(job)
    rig.dispatcher.caps = replace(rig.caps, most_written=20_000_000)
    row = rig.ended(job)
    assert (row.outcome, row.exit_code) == ("failed", 3)
    assert row.reason == "its files took more room than those of a job may"
    assert rig.log(job).endswith(b"told\n")
    assert row.gpu_seconds >= 1
    assert rig.live(given).state == "running"


@pytest.fixture
def writers(tmp_path) -> dict[UUID, Writer]:
    """Three runs that wrote more, and ever more, than what counts."""
    found = {}
    for number in (1, 2, 3):
        place = tmp_path / f"run{number}"
        place.mkdir()
        (place / "file").write_bytes(bytes(MEANT + number * 1_000_000))
        found[uuid4()] = Writer(place, os.getpid(), 0)
    return found


def write(writer, size):
    with (writer.place / "file").open("ab") as file:
        file.write(bytes(size))


def chosen(relief, free, writers, least=8000):
    """The choice, once all of them have been weighed."""
    for _ in range(100):
        if run := relief.choose(free, least, writers):
            return run
        time.sleep(0.005)
    return None


def test_one_after_another_ends_only_while_the_room_goes_on_shrinking(writers):
    relief = Relief()
    small, middle, large = writers
    assert chosen(relief, 8000, writers) is None
    assert chosen(relief, 7999, writers) == large
    assert relief.choose(1, 8000, writers) == large  # it still lives: nobody else is to go
    del writers[large]
    write(writers[small], 500_000)
    assert chosen(relief, 7000, writers) is None
    assert chosen(relief, 7000 - 8000 // STEPS, writers) is None
    assert chosen(relief, 7000 - 8000 // STEPS - 1, writers) == small  # not who wrote more, and no longer writes
    del writers[small]
    assert chosen(relief, 5000, writers) is None
    assert chosen(relief, 3000, writers) is None  # somebody else fills the disk
    assert chosen(relief, 8000, writers) is None  # there was room again: it begins anew
    assert chosen(relief, 7999, writers) == middle


def test_who_wrote_little_is_not_what_fills_the_disk(writers):
    less = {run: writer._replace(given=4_000_000) for run, writer in writers.items()}
    assert chosen(Relief(), 0, less) is None


def test_a_run_that_ended_while_it_was_weighed_is_not_chosen(writers):
    relief = Relief()
    _, middle, large = writers
    assert relief.choose(0, 8000, writers) is None
    del writers[large]
    assert chosen(relief, 0, writers) == middle


def test_a_limit_is_of_what_was_written_besides_the_input_and_holds_until_the_run_is_gone(writers):
    limit, most = Limit(), MEANT + 2_500_000
    _, _, large = writers
    until = time.monotonic() + 5
    while not (found := limit.beyond(most, writers)) and time.monotonic() < until:
        time.sleep(0.005)
    assert found == [large] == limit.beyond(most, writers)
    del writers[large]
    assert limit.beyond(most, writers) == []
