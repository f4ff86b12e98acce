"""A sweep: the same answer however it is computed, nothing twice, and what is missing by name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from madang.twin import BadInput
from madang.twin.sweep import Sweep, do, file_of, merge, packed, run

CSV = "submit,run,gpus,limit\n" + "".join(
    f"{n * 7 % 300},{n * 13 % 90 + 1},{1 + n % 4},{n * 13 % 90 + 40}\n" for n in range(60)
)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    path = tmp_path / "t.csv"
    path.write_text(CSV, encoding="utf-8")
    return Sweep(str(path), (4, 8), ("fcfs", "easy"), shaken=2)


def made(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def test_a_sweep_is_the_same_on_one_process_on_two_and_packed_by_itself(sweep, tmp_path):
    one, two, alone = (made(tmp_path, name) for name in ("one", "two", "alone"))
    run(sweep, one)
    run(sweep, two, processes=2)
    packed(tmp_path / "twin.pyz")
    (alone / "sweep.json").write_text(sweep.to_json(), encoding="utf-8")
    for number in reversed(range(len(sweep.tasks))):
        command = [sys.executable, "-I", "-S", tmp_path / "twin.pyz", alone / "sweep.json", alone, str(number)]
        subprocess.run(command, check=True, cwd=tmp_path)
    texts = [[file_of(folder, n).read_bytes() for n in range(len(sweep.tasks))] for folder in (one, two, alone)]
    assert texts[0] == texts[1] == texts[2]
    points = merge(sweep, one)["points"]
    assert [(point["gpus"], point["policy"]) for point in points] == [
        (4, "fcfs"),
        (4, "easy"),
        (8, "fcfs"),
        (8, "easy"),
    ]
    assert points[0]["wait"]["mean"] > points[1]["wait"]["mean"] > points[3]["wait"]["mean"]
    assert points[0]["mean_wait_band"]["runs"] == 2


def test_what_is_there_is_not_computed_again_and_what_is_missing_is_named(sweep, tmp_path):
    folder = made(tmp_path, "one")
    do(sweep, folder, 3)
    kept = file_of(folder, 3).stat()
    with pytest.raises(BadInput, match=r"run 0 of fcfs on 4 GPUs is missing \(task-00000.json\)"):
        merge(sweep, folder)
    seen: list[tuple[int, int]] = []
    run(sweep, folder, told=lambda done, total: seen.append((done, total)))
    assert (seen[0], seen[-1]) == ((1, 12), (12, 12))
    assert file_of(folder, 3).stat() == kept
    assert sorted(path.suffix for path in folder.iterdir()) == [".json"] * 13
    with pytest.raises(BadInput, match="holds another sweep"):
        run(Sweep(sweep.trace, (4,)), folder)
    assert json.loads(json.dumps(merge(sweep, folder))) == merge(sweep, folder)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"gpus": ()}, "at least one machine"),
        ({"gpus": (4, 4)}, "each machine and each policy once"),
        ({"policies": ("luck",)}, "not 'luck'"),
        ({"policies": ("fairshare",)}, "not 'fairshare'"),
        ({"policies": ("conservative",), "nodes_of": 2}, "conservative is defined on a pool"),
        ({"gpus": (4, 9), "nodes_of": 2}, "9 GPUs are no whole number of nodes of 2"),
        ({"shaken": 10_000}, "more than 10,000"),
    ],
)
def test_a_sweep_that_can_not_be_is_said(changed, said):
    with pytest.raises(BadInput, match=said):
        Sweep(**({"trace": "t.csv", "gpus": (4,)} | changed))


def test_a_task_that_can_not_read_its_trace_says_so(tmp_path):
    (tmp_path / "sweep.json").write_text(Sweep("nowhere.csv", (4,)).to_json(), encoding="utf-8")
    command = [sys.executable, "-m", "madang.twin.sweep", tmp_path / "sweep.json", tmp_path, "0"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (1, "nowhere.csv: there is no such file\n")
