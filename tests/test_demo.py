"""`madang demo --headless --json PATH`, as a newcomer types it: on an empty folder, and once more on the same data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from madang.engines.local import Sandbox
from madang.server.tests.site import TestSite, madang, site

pytest.importorskip("sklearn", reason="the extra demo is not installed")
pytestmark = pytest.mark.xdist_group("a site of its own")
STEPS = [
    "The officer publishes the call",
    "A company registers and applies",
    "The officer screens, two reviewers score blind",
    "The officer decides and announces",
    "The company accepts the agreement",
    "A member runs a real training job",
    "The company reports an outcome, the officer verifies",
    "The board shows it",
]


@pytest.fixture(scope="module")
def place() -> Iterator[TestSite]:
    with site() as made:
        yield made


def without_bubblewrap(folder: Path) -> str:
    """A PATH on which everything is but the sandbox."""
    folder.mkdir()
    for place in os.environ["PATH"].split(":"):
        for program in Path(place).glob("*"):
            if program.name != "bwrap" and not (folder / program.name).is_symlink():
                (folder / program.name).symlink_to(program)
    return str(folder)


def play(place: TestSite, summary: Path, path: str) -> tuple[Any, str, str]:
    played = madang(
        "demo", "--headless", "--json", str(summary), "--home", str(place.root), "--port", str(place.port),
        seconds=900, COLUMNS="80", PATH=path,
    )  # fmt: skip
    assert played.returncode == 0, played.stdout + played.stderr
    return json.loads(summary.read_text()), played.stdout, played.stderr


@pytest.mark.parametrize("time", ["the first time", "on the same data, without a sandbox"])
def test_the_story_is_played_to_its_end_with_every_result_checked(place, tmp_path, time):
    again = time != "the first time"
    path = without_bubblewrap(tmp_path / "bin") if again else os.environ["PATH"]
    told, printed, progress = play(place, tmp_path / "summary.json", path)
    assert told["ok"] is True
    assert [step["step"] for step in told["steps"]] == STEPS
    assert [step["ok"] for step in told["steps"]] == [True] * len(STEPS)
    assert told["url"] == f"http://localhost:{place.port}"
    assert told["steps"][0]["link"] == f"/calls/gpu-2025-{2 if again else 1}/"
    accuracy = float(told["steps"][5]["what"].split()[1].rstrip(";"))
    assert accuracy > 0.95
    assert {"operator", "officer", "reviewer-1", "executive", "tenant lead"} <= {row["role"] for row in told["people"]}

    walls = not again and not Sandbox().probe
    assert ("any other script is refused" in told["steps"][5]["what"]) is not walls
    assert ("Warning: bubblewrap" in progress) is not walls

    # What a person sees: each step and its link on lines of their own, at any width; no address, since nothing serves.
    lines = [line.strip() for line in printed.splitlines()]
    assert max(len(line) for line in printed.splitlines()) <= 80
    assert [step["link"] in lines for step in told["steps"]] == [True] * len(STEPS)
    assert told["url"] not in printed
    assert [line for line in progress.splitlines() if line in {f"{n}/8 {title}" for n, title in enumerate(STEPS, 1)}]
    assert "Traceback" not in progress

    # Nothing runs on when it is over.
    assert not place.serves()
    assert madang("stop", "--home", str(place.root)).returncode == 4

    # And its ledger adds up, asked on its own.
    counted = madang("ledger", "verify", "--json", "--home", str(place.root))
    assert (counted.returncode, json.loads(counted.stdout)) == (0, []), counted.stderr
    assert not place.database.answers()
