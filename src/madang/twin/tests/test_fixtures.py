"""Published and derived schedules of real traces, every start equal. The data isn't part of the project."""

from __future__ import annotations

import csv
import gzip
import struct
import zipfile
from array import array
from importlib.util import find_spec
from pathlib import Path

import pytest

from madang.twin import Machine, compat, measure, read, simulate

DATA = Path(__file__).parents[5] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
ENGINES = ["plain", *(["numba"] if find_spec("numba") else [])]

# mean wait, median, p95, max, mean bounded slowdown, utilization, makespan
PUBLISHED = {
    ("kth", "fcfs"): (353_943.09, 409_486, 805_958, 946_685, 6_825.666, 0.6967, 28_779_758),
    ("kth", "easy"): (6_837.23, 0, 37_638, 262_194, 92.870, 0.6971, 28_763_776),
    ("nasa", "fcfs"): (8.00, 0, 0, 23_753, 1.026, 0.4661, 7_949_022),
    ("nasa", "easy"): (4.03, 0, 0, 23_753, 1.012, 0.4661, 7_949_022),
    ("lublin256", "fcfs"): (2_388_443.76, 2_399_532, 4_383_794, 4_759_976, 66_502.476, 0.6549, 12_482_549),
    ("lublin256", "easy"): (97_155.99, 23_072, 598_427, 1_029_731, 590.054, 0.9363, 8_730_698),
    ("philly700", "fcfs"): (5_607.26, 0, 31_719, 69_139, 41.668, 0.5346, 9_408_754),
    ("philly700", "easy"): (4_393.84, 0, 23_796, 67_038, 21.560, 0.5346, 9_408_754),
}


def starts_of(path: Path) -> list[int]:
    """The array `start` of a NumPy archive, read without NumPy."""
    with zipfile.ZipFile(path) as archive:
        data = archive.read("start.npy")
    begin = 10 + struct.unpack("<H", data[8:10])[0]
    assert b"'<i8'" in data[:begin]
    return array("q", data[begin:]).tolist()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "policy"), PUBLISHED)
def test_the_textbook_starts_are_ours(name, policy, engine):
    trace = read(DATA / "traces" / f"{name}.swf.gz")
    assert trace.machine_gpus
    found = simulate(trace, Machine(trace.machine_gpus), policy, engine).starts
    assert list(found) == starts_of(DATA / "fixtures" / f"{name}_{policy}.npz")
    got = measure(trace, found, trace.machine_gpus)
    wait = got.wait
    figures = (round(wait.mean, 2), round(wait.p50), round(wait.p95), wait.max, round(got.bounded_slowdown, 3))
    assert (*figures, round(got.utilization, 4), got.makespan_s) == PUBLISHED[name, policy]


def test_perfect_estimates_flatter_easy():
    trace = read(DATA / "traces" / "kth.swf.gz").perfect()
    got = measure(trace, simulate(trace, Machine(100), "easy").starts, 100)
    assert (round(got.wait.mean, 2), round(got.bounded_slowdown, 3)) == (6_331.84, 72.063)


@pytest.mark.parametrize("name", ["batsim_kth_fcfs_fast", "cqsim_kth_fcfs", "batsim_kth_easy_bf_fast"])
def test_batsims_and_cqsims_starts_are_ours(name):
    trace = read(DATA / "traces" / "kth.swf.gz")
    with gzip.open(DATA / "fixtures" / f"{name}.csv.gz", "rt", encoding="utf-8") as file:
        theirs = {job: int(float(start)) for job, start in csv.reader(file)}
    if "easy" in name:
        found = compat.run(trace, Machine(100), "batsim-easy-bf-fast")
    else:
        found = list(simulate(trace, Machine(100), "fcfs").starts)
    assert dict(zip(trace.id, found, strict=True)) == theirs


@pytest.mark.parametrize(
    ("cluster", "nodes", "by_sjf"), [("11cb48", 16, 189.39), ("2869ce", 16, 5_144.50), ("6214e9", 64, 5.76)]
)
def test_helios_starts_are_ours(cluster, nodes, by_sjf):
    path = DATA / "fixtures" / f"fifo_consolidate_{cluster}_log.csv.gz"
    trace = read(path, gpus=nodes * 8)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        theirs = [int(float(row["start_time"])) for row in csv.DictReader(file)]
    machine = Machine(nodes * 8, 8)
    for found in (
        compat.run(trace, machine, "helios-fifo"),
        *(simulate(trace, machine, "fcfs", by).starts for by in ENGINES),
    ):
        assert [start + trace.offset for start in found] == theirs
    assert round(measure(trace, compat.run(trace, machine, "helios-sjf"), machine.gpus).wait.mean, 2) == by_sjf


@pytest.mark.parametrize(
    ("name", "backfill", "cells"),
    [
        ("lublin256", False, (7273.77, 277.35, 258.37)),
        ("lublin256new2", False, (7842.47, 787.89, 698.34)),
        ("lublin256", True, (235.82, 73.31, 75.07)),
        ("lublin256new2", True, (247.61, 91.99, 148.25)),
    ],
)
def test_rlschedulers_cells_are_ours(name, backfill, cells):
    trace = read(DATA / "traces" / f"{name}.swf.gz")
    found = (compat.rlscheduler(trace, 256, score, backfill=backfill).cell for score in ("fcfs", "sjf", "f1"))
    assert tuple(round(cell, 2) for cell in found) == cells
