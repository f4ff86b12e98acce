"""The short form. Nothing in it depends on how fast the machine is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from madang.engines.local import Sandbox
from madang.server.tests.site import environment

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.sandbox, pytest.mark.xdist_group("killed again and again")]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    if reason := Sandbox().probe:
        pytest.skip(reason)
    found = tmp_path_factory.mktemp("fault") / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.fault", "--short"],
        env=environment(JSON=str(found)), cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    assert found.exists(), done.stderr
    return {row["name"]: row["value"] for row in json.loads(found.read_text())}


def test_the_server_and_those_who_work_are_killed_while_answers_are_under_way(figures):
    assert figures["rounds"] >= 13
    assert figures["acknowledged"] > 100
    assert figures["ambiguous"] > 0


@pytest.mark.parametrize("what", ["lost", "overspent", "double charged", "forgotten holds", "taken twice", "drift"])
def test_a_kill_leaves_nothing(figures, what):
    assert figures[what] == 0


def test_a_transaction_that_stays_open_stops_nobody_else(figures):
    assert figures["transaction open s"] >= 10
    assert figures["holds and settlements meanwhile"] > 100
