"""Slots: real GPUs by what the driver says, declared ones by what the operator says, never mistaken for each other."""

from __future__ import annotations

import pytest

from madang.engines.base import Rejected, Unavailable
from madang.engines.local import declare_slots, find_gpus, list_slots

INFORMATION = """Model: \t\t NVIDIA H100 80GB HBM3
IRQ:   \t\t 18
GPU UUID: \t GPU-8a1e0c0e-0000-4b57-b2a1-00000000000{n}
Video BIOS: \t 96.00.74.00.01
Bus Location: \t 0000:{n}8:00.0
Device Minor: \t {n}
"""


@pytest.fixture
def rig(local_rig):
    """Slots are the local engine's."""
    return local_rig


@pytest.fixture
def driver(tmp_path):
    for n in (1, 0):
        (tmp_path / f"0000:{n}8:00.0").mkdir()
        (tmp_path / f"0000:{n}8:00.0" / "information").write_text(INFORMATION.format(n=n))
    return tmp_path


def test_the_drivers_list_is_read(driver):
    assert [(gpu.minor, gpu.device[-1], gpu.model) for gpu in find_gpus(driver)] == [
        (0, "0", "NVIDIA H100 80GB HBM3"),
        (1, "1", "NVIDIA H100 80GB HBM3"),
    ]


def test_declaring_again_changes_what_is_free_and_leaves_what_is_busy(rig):
    assert [slot.gpu for slot in declare_slots(rig.connect, rig.machine, "H100", 2)] == [0, 1]
    job = rig.submit("echo up; exec sleep 60", gpu_type="H100", gpus_per_node=2)
    rig.running(job)
    assert [(s.gpu, s.busy) for s in declare_slots(rig.connect, rig.machine, "H100", 1)] == [(0, True), (1, True)]
    rig.engine.cancel(job)
    rig.ended(job)
    assert [(s.gpu, s.busy) for s in declare_slots(rig.connect, rig.machine, "H100", 1)] == [(0, False)]
    assert {slot.gpu_type for slot in list_slots(rig.connect, rig.machine)} == {"H100", "cpu"}
    with pytest.raises(Rejected):
        declare_slots(rig.connect, rig.machine, "H 100", 1)


def test_real_slots_need_real_gpus(rig):
    if find_gpus():
        pytest.skip("this machine has GPUs")
    with pytest.raises(Unavailable):
        declare_slots(rig.connect, rig.machine, "H100", 1, real=True)
    assert {slot.declared for slot in list_slots(rig.connect, rig.machine)} == {True}


def test_a_run_on_a_real_slot_is_shown_its_gpu_and_no_other(rig, driver, monkeypatch):
    monkeypatch.setattr("madang.engines.local.slots.DRIVER", driver)
    monkeypatch.setattr(find_gpus, "__defaults__", (driver,))
    declare_slots(rig.connect, rig.machine, "H100", 2, real=True)
    job = rig.submit("echo $CUDA_VISIBLE_DEVICES", gpu_type="H100")
    row = rig.ended(job)
    assert rig.log(job) == b"GPU-8a1e0c0e-0000-4b57-b2a1-000000000000\n"
    assert (row.outcome, row.declared) == ("completed", False)
