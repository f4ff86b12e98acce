"""How fast the twin is: whole processes, as a person would wait for them, alternating with the plain loops.

A trace of 28,475 jobs on 100 processors and one of 120,000 jobs on 700 GPUs are made up from a fixed seed; where
`../shared/data` has KTH's trace (Parallel Workloads Archive), that is the first. A million jobs at two loads, on a pool
and on 12,500 nodes of 8; a year of 100,000 GPUs; a hundred shaken runs. No other simulator runs here.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.report import Figure, finish

MADANG = Path(sys.executable).with_name("madang")
KTH = Path(__file__).parents[2] / "shared" / "data" / "traces" / "kth.swf.gz"
GPUS = 100_000
# Jobs of 20 GPUs on average, so that a year of 100,000 GPUs at load 0.95 is 37 million of them.
SIZES = ((1, 0.5), (2, 0.1), (4, 0.1), (8, 0.16), (16, 0.05), (32, 0.04), (64, 0.03), (256, 0.012), (1024, 0.008))
YEAR = 37_000_000
# As at a deployment: Python keeps what it compiled of its own modules, numba what it compiled of ours.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small.swf"), Path(folder, "large.swf")
        child("swf", str(small), "28475", "100", "0.7")
        child("swf", str(large), "120000", "700", "0.75")
        first = KTH if KTH.is_file() else small
        for path, policy in ((first, "numba"), (large, "numba")):
            replay(path, policy)  # compiled once, at deployment
        for nodes in ("0", "8"):
            child("million", "10000", "0.95", nodes)
        figures = [
            Figure(f"{name}, EASY, s", best(path, "auto"), at_most=1)
            for name, path in (("28k jobs", first), ("120k jobs", large))
        ]
        figures += [
            Figure(f"{name}, plain, s", best(path, "plain"), at_most=1)
            for name, path in (("28k", first), ("120k", large))
        ]
        for load, most in (("0.95", 2), ("1.5", 3)):
            made = child("million", "1000000", load, "0")
            figures.append(Figure(f"1M on a pool at {load}, s", made["whole_s"], at_most=most))
            figures.append(Figure("kernel, M jobs/s", 1 / made["kernel_s"], at_least=1))
        made = child("million", "1000000", "0.95", "8")
        figures.append(Figure("12,500 nodes of 8, M jobs/s", 1 / made["kernel_s"], at_least=0.2))
        figures.append(Figure("plain ÷ kernel, 100k jobs at 0.95", ratio(), at_least=1))
        year = child("million", str(YEAR), "0.95", "0")
        figures.append(Figure("a year of 100,000 GPUs, s", year["whole_s"], at_most=60))
        figures.append(Figure("GB", year["peak_gb"], at_most=8))
        figures.append(Figure("100 shaken runs, s", child("shaken", str(first))["whole_s"], at_most=10))
    finish(figures)


def best(path: Path, engine: str) -> float:
    return min(replay(path, engine) for _ in range(3))


def replay(path: Path, engine: str) -> float:
    begun = perf_counter()
    out = Path(tempfile.gettempdir(), "madang-bench-starts.csv")
    command = [MADANG, "twin", "run", path, "--policy", "easy", "--engine", engine, "--starts", out, "--json"]
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
    return perf_counter() - begun


def child(*words: str) -> dict[str, Any]:
    begun = perf_counter()
    made = subprocess.run(
        [sys.executable, "-m", "bench.twin", *words], check=True, capture_output=True, text=True, env=ENVIRONMENT
    )
    said: dict[str, Any] = json.loads(made.stdout or "{}")
    said["whole_s"] = perf_counter() - begun
    return said


def jobs(count: int, gpus: int, load: float, seed: int = 1) -> tuple[Any, ...]:
    """Even arrivals at exactly that load."""
    import numpy as np

    random = np.random.default_rng(seed)
    sizes = np.array([size for size, _share in SIZES if size <= gpus])
    shares = np.array([share for size, share in SIZES if size <= gpus])
    need = random.choice(sizes, count, p=shares / shares.sum())
    run = np.clip(random.lognormal(7.5, 1.8, count), 1, 7 * 86_400).astype(np.int64)
    limit = np.minimum(run * random.choice(np.array([1, 2, 4, 10]), count), 30 * 86_400)
    submit = np.sort(random.integers(0, int((need * run).sum() / gpus / load), count))
    return submit - submit[0], run, need, limit


def million(count: int, load: float, nodes_of: int) -> None:
    from madang.twin import Machine, kernel

    kernel.simulate(*jobs(1000, GPUS, load), Machine(GPUS, nodes_of), "easy")  # loads what is compiled
    made = jobs(count, GPUS, load)
    begun = perf_counter()
    start = kernel.simulate(*made, Machine(GPUS, nodes_of), "easy")
    seconds = perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        json.dumps({"kernel_s": seconds * 1e6 / count, "peak_gb": peak, "mean_wait_s": float((start - made[0]).mean())})
    )


def ratio() -> float:
    """How much longer the plain loop takes: 100,000 jobs, three times each, by turns."""
    from madang.twin import Machine, from_columns, simulate

    submit, run, need, limit = (column.tolist() for column in jobs(100_000, GPUS, 0.95))
    trace = from_columns(submit=submit, run=run, gpus=need, limit=limit)
    taken: dict[str, float] = {}
    for _ in range(3):
        for engine in ("plain", "numba"):
            begun = perf_counter()
            simulate(trace, Machine(GPUS), "easy", "plain" if engine == "plain" else "numba")
            taken[engine] = min(taken.get(engine, 1e9), perf_counter() - begun)
    return taken["plain"] / taken["numba"]


def swf(path: Path, count: int, gpus: int, load: float) -> None:
    rows = zip(*(column.tolist() for column in jobs(count, gpus, load)), strict=True)
    with path.open("w", encoding="utf-8") as file:
        file.write(f"; MaxProcs: {gpus}\n")
        for number, (submit, run, need, limit) in enumerate(rows, 1):
            file.write(f"{number} {submit} -1 {run} {need} -1 -1 {need} {limit} -1 1 1 1 1 1 1 -1 -1\n")


def shake(path: Path) -> None:
    from madang.twin import Machine, read
    from madang.twin.sure import band, mean_waits, shaken

    trace = read(path)
    made = band(
        mean_waits(shaken(trace, 100), Machine(trace.machine_gpus or 1), "easy", jobs=100 * len(trace)),
        "shaken submits",
    )
    print(json.dumps(made.as_dict()))


def growth() -> None:
    """Seconds of the kernel by jobs, at two loads; drawn into docs/pictures, both axes logarithmic."""
    from math import log10

    from madang.twin import Machine, kernel

    picture = Path(__file__).parents[1] / "docs" / "pictures" / "twin-growth.svg"
    kernel.simulate(*jobs(1000, GPUS, 0.95), Machine(GPUS), "easy")
    drawn = []
    for load, color in ((0.95, "#256ef4"), (1.5, "#c95c12")):
        points = []
        for count in (10**4, 10**5, 10**6, 10**7):
            made = jobs(count, GPUS, load)
            begun = perf_counter()
            start = kernel.simulate(*made, Machine(GPUS), "easy")
            seconds = perf_counter() - begun
            longest = int((start > made[0].max()).sum())
            rate = count / seconds / 1e6
            print(f"load {load}: {count:>10,} jobs {seconds:8.3f} s, {rate:.2f} M/s, {longest:,} wait at the end")
            points.append((80 + 150 * (log10(count) - 4), 260 - 70 * (log10(seconds) + 3)))
        line = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
        drawn.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        x, y = points[-1]
        drawn.append(f'<text x="{x + 8:.0f}" y="{y + 4:.0f}" fill="{color}">load {load}</text>')
    for power in range(4, 8):
        drawn.append(f'<text x="{80 + 150 * (power - 4)}" y="290" text-anchor="middle">{10**power:,} jobs</text>')
    for power in range(-3, 2):
        y = 260 - 70 * (power + 3)
        drawn.append(
            f'<path d="M80 {y}H530" stroke="#ddd"/><text x="72" y="{y + 4}" text-anchor="end">{10.0**power:g} s</text>'
        )
    picture.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 -40 640 340" font-family="sans-serif" font-size="12">'
        f"<title>Seconds by jobs</title>{''.join(drawn)}</svg>\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["million", count, load, nodes_of]:
            million(int(count), float(load), int(nodes_of))
        case ["swf", path, count, gpus, load]:
            swf(Path(path), int(count), int(gpus), float(load))
        case ["growth"]:
            growth()
        case ["shaken", path]:
            shake(Path(path))
        case _:
            main()
