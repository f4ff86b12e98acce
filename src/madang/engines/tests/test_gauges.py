"""What a run's GPUs did, and that a job with GPUs is as much shut in as one without."""

from __future__ import annotations

import pytest

from madang.engines.base import RunKey
from madang.engines.local import Dispatcher, declare_slots, slots
from madang.engines.local.gauges import Reading, Sums
from madang.engines.local.slots import Gpu
from madang.engines.tests.conftest import SHARED_SANDBOX

FOUND = [Gpu(minor, f"GPU-{minor}", "NVIDIA H100 80GB HBM3") for minor in range(2)]


@pytest.fixture
def gpus(make_rig, monkeypatch):
    """A rig whose machine says that it has two GPUs; `at` is what they do at the moment."""
    monkeypatch.setattr(slots, "find_gpus", lambda: FOUND)
    rig = make_rig()
    declare_slots(rig.connect, rig.machine, "h100", 2, real=True)
    rig.at = {}
    rig.caps = type(rig.caps)(grace_s=0.4, beat_s=0.05, sample_s=0.3)
    rig.dispatcher.close()
    rig.dispatcher = Dispatcher(
        rig.connect,
        rig.runs,
        rig.machine,
        sandbox=rig.sandbox,
        caps=rig.caps,
        read=lambda devices: {device: rig.at[device] for device in devices if device in rig.at},
    )
    return rig


def test_a_sample_is_the_mean_use_and_the_most_memory_of_its_time():
    sums = Sums()
    sums.add(Reading(100, 500, 80_000, 600))
    sums.add(Reading(50, 900, 80_000, None))
    sums.add(Reading(None, 700, 80_000, 200))
    assert sums.sample() == (75, 900, 80_000, 400)
    assert Sums().sample() == (None, 0, 0, None)


def test_the_gpus_of_a_run_are_looked_at_while_it_runs(gpus):
    gpus.at = {"GPU-0": Reading(98, 60_000, 81_559, 650), "GPU-1": Reading(0, 4, 81_559, None)}
    job = gpus.submit("echo up; sleep 1", gpu_type="h100", gpus_per_node=2)
    gpus.ended(job)
    seen = gpus.engine.samples(RunKey(job))
    assert {(s.gpu, s.utilization, s.memory_mb, s.memory_total_mb, s.power_w) for s in seen} == {
        (0, 98, 60_000, 81_559, 650),
        (1, 0, 4, 81_559, None),
    }
    assert 2 <= len([s for s in seen if s.gpu == 0]) <= 5, "some of 0.3 s, and the last one cut short by the end"
    assert [s.at for s in seen] == sorted(s.at for s in seen)
    assert gpus.engine.samples(RunKey(job, 1)) == []


def test_a_gpu_that_cannot_be_read_leaves_the_run_alone(gpus):
    job = gpus.submit("sleep 0.3", gpu_type="h100", gpus_per_node=2)
    assert gpus.ended(job).outcome == "completed"
    assert gpus.engine.samples(RunKey(job)) == []


def test_declared_slots_are_not_looked_at(gpus):
    gpus.at = {"": Reading(1, 1, 1, 1)}
    job = gpus.submit("sleep 0.3")
    gpus.ended(job)
    assert gpus.engine.samples(RunKey(job)) == []


WRITES = """#!/usr/bin/env python3
import os, threading
open(f'/proc/self/task/{threading.get_native_id()}/comm', 'w').write('named')
print(open('/proc/self/comm').read().strip())
def reached(path):
    if os.path.islink(path):
        return
    if os.path.isdir(path):
        try:
            open(path + '/new', 'w')
        except OSError:
            pass
        else:
            print('REACHED', path)
        for name in os.listdir(path):
            reached(f'{path}/{name}')
    else:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            pass
        else:
            print('REACHED', path)
for name in os.listdir('/proc'):
    if not name.isdigit():
        reached('/proc/' + name)
"""


@pytest.mark.sandbox
@pytest.mark.skipif(bool(SHARED_SANDBOX.probe), reason=SHARED_SANDBOX.probe)
def test_a_job_with_gpus_names_its_threads_and_writes_to_nothing_else_of_the_kernel(gpus):
    job = gpus.submit(WRITES, gpu_type="h100", gpus_per_node=1)
    row = gpus.ended(job, seconds=60)
    assert (row.outcome, gpus.log(job).decode().split("\n")) == ("completed", ["named", ""]), gpus.log(job)
