"""A site as a file, and what is wrong with one."""

from __future__ import annotations

import pytest

from madang.twin import BadInput
from madang.twin.plain import NEVER
from madang.twin.world import Down, Failures, Grant, Part, Patience
from madang.twin.worldfile import read_world

SITE = """
by = "gpu_type"
grants_by = "program"
checkpoint_seconds = 600
restart_seconds = 60

[[part]]
name = "h100"
nodes = 12
leaf = 4
across_percent = 10

[[part]]
name = "a100"
nodes = 2
nodes_of = 4
place = "spread"

[[delivery]]
part = "h100"
nodes = [8, 11]
from = 1970-01-02T00:00:00+00:00

[[maintenance]]
part = "a100"
nodes = [0, 1]
from = 500
until = 900

[[removal]]
part = "a100"
nodes = [1, 1]
from = 5000

[[grant]]
name = "start-ups"
from = 100
until = 1970-01-02T00:00:00+00:00
gpu_hours = 10
gpus_at_once = 16
longest_hours = 24
largest_gpus = 8

[failures]
node_hours = 6300
repair_hours = 3
source = "a paper, 2024"

[patience]
median_hours = 12
again = 0.25
source = "cancelled jobs of 2026"
"""


def write(tmp_path, text):
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_site_is_read_with_moments_on_the_clock_of_the_trace(tmp_path):
    world = read_world(write(tmp_path, SITE), offset=86_000)
    assert world.parts == {"h100": Part(12, leaf=4, across_percent=10), "a100": Part(2, 4, "spread")}
    assert world.downs == (Down(0, 8, 4, 0, 400), Down(1, 0, 2, 500, 900, True), Down(1, 1, 1, 5000, NEVER, True))
    assert world.grants == {"start-ups": Grant(100, 400, 36_000, 16, 86_400, 8)}
    assert world.failures == Failures(6300, 3, 0, "a paper, 2024")
    assert world.patience == Patience(12, 1, 0.25, 1, "cancelled jobs of 2026")
    assert (world.grants_by, world.checkpoint_s, world.restart_s) == ("program", 600, 60)


def test_what_is_over_before_the_first_submit_never_happens(tmp_path):
    assert len(read_world(write(tmp_path, SITE), offset=90_000).downs) == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("nodes = 12", "nodes = 0", "a part has at least one node, of at least one GPU"),
        ("nodes = 12", "nodes = 1.5", "part 1: nodes is a whole number of at least 0"),
        ('name = "a100"', 'name = "h100"', "part 2: another one is called 'h100', too"),
        ('place = "spread"', 'place = "tight"', "part 2: place is pack or spread"),
        ('by = "gpu_type"', 'by = "color"', "by: 'color' is none of user, account, program, partition, qos, gpu_type"),
        ("nodes = [8, 11]", "nodes = [8]", "delivery 1: nodes are the first and the last of them, counted from 0"),
        ("nodes = [8, 11]", "nodes = [8, 12]", "nodes 8 to 12 are not in a part of 12"),
        ("from = 500", "from = 1970-01-01", "maintenance 1: from is a moment with its zone like"),
        ("until = 900", "until = 500", "maintenance 1: it ends after it begins"),
        ("from = 5000", "from = 5000\nuntil = 6000", "removal 1: 'until' is none of from, nodes, part"),
        ('part = "a100"', 'part = "b200"', "maintenance 1: no part is called 'b200': h100, a100"),
        ("gpu_hours = 10", 'gpu_hours = "10"', "grant 1: gpu_hours is a whole number of at least 0"),
        ("node_hours = 6300", "node_hours = 0", "failures need the hours between those of a node"),
        ('source = "a paper, 2024"', "", "failures: say where the figures come from"),
        ("again = 0.25", "again = 1.0", "patience needs its median hours"),
        ("[failures]", "[[failures]]", "failures: names and values, not ["),
        ("[[grant]]", "[grant]", "grant: written as [[grant]], once for each"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_site_is_said_by_name(tmp_path, old, new, said):
    assert old in SITE
    with pytest.raises(BadInput) as caught:
        read_world(write(tmp_path, SITE.replace(old, new, 1)), offset=0)
    assert str(caught.value).startswith(said)


def test_a_site_without_parts_is_none(tmp_path):
    with pytest.raises(BadInput, match=r"write a \[\[part\]\]"):
        read_world(write(tmp_path, "checkpoint_seconds = 1\n"), offset=0)
