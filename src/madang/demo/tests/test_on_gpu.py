"""The demonstration's training job on a real GPU, and what it is charged beside what the driver saw."""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import UTC, datetime
from importlib.util import find_spec
from math import ceil

import pytest

from madang.demo.story import TRAIN
from madang.engines.base import RunKey
from madang.engines.local import Caps, declare_slots, find_gpus
from madang.engines.tests.conftest import SHARED_SANDBOX, database, make_rig

__all__ = ["database", "make_rig"]
GPUS = find_gpus()
pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(bool(SHARED_SANDBOX.probe), reason=SHARED_SANDBOX.probe),
    pytest.mark.skipif(not GPUS, reason="no GPU on this machine"),
    pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed"),
]


class Watched(threading.Thread):
    """When the driver saw a process on the GPU: the first and the last time, twenty times a second."""

    def __init__(self, device: str) -> None:
        super().__init__(daemon=True)
        self.device, self.done = device, threading.Event()
        self.seen: list[datetime] = []

    def run(self) -> None:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(self.device)
        while not self.done.wait(0.05):
            if pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
                self.seen.append(datetime.now(UTC))


def test_the_training_job_runs_on_a_gpu_and_is_charged_what_the_driver_saw(make_rig, capsys):
    rig = make_rig()
    rig.caps = Caps(beat_s=0.5, sample_s=2)
    rig.dispatcher.close()
    rig.dispatcher = rig.new_dispatcher()
    (slot,) = declare_slots(rig.connect, rig.machine, "gpu", 1, real=True)
    watched = Watched(slot.device)
    watched.start()
    rounds = "400"
    begun = time.monotonic()
    job = rig.submit(
        TRAIN.read_text(), argv=("--rounds", rounds), gpu_type="gpu", limit_s=600, memory_mb=32_768, cpus=4
    )
    row = rig.ended(job, seconds=300)
    watched.done.set()
    watched.join()
    said = rig.log(job).decode()
    assert row.outcome == "completed", said[-2000:]
    assert not row.declared
    metrics = json.loads(rig.engine.open_file(RunKey(job), "metrics.json").read())
    assert metrics["device"] in {gpu.model for gpu in GPUS}, metrics["device"]
    assert metrics["accuracy"] > 0.9

    samples = rig.engine.samples(RunKey(job))
    assert max(s.memory_mb for s in samples) > 100, samples
    assert max(s.utilization or 0 for s in samples) > 0, samples
    assert row.gpu_seconds == ceil((row.ended_at - row.started_at).total_seconds())
    assert watched.seen, "the driver saw no process of the job"
    first, last = watched.seen[0], watched.seen[-1]
    assert row.started_at <= first
    assert last <= row.ended_at, "the GPU was in use when the run had ended"
    by_driver = (last - first).total_seconds()
    before, after = (first - row.started_at).total_seconds(), (row.ended_at - last).total_seconds()
    with capsys.disabled():
        sys.stdout.write(
            f"\n{metrics['device']}: charged {row.gpu_seconds} GPU-seconds; the driver saw a process"
            f" for {by_driver:.2f} s, from {before:.2f} s after the start to {after:.2f} s before the end;"
            f" use {max(s.utilization or 0 for s in samples):.0f} %, {max(s.memory_mb for s in samples)} MiB"
            f" in {len(samples)} samples; {time.monotonic() - begun:.1f} s in all\n"
        )
    assert after < 3, "what it held after its last use of the GPU"
