"""The slots of a machine: its real GPUs, or slots that its operator declares and that are shown as such."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from madang.engines.base import WORD, Rejected, Unavailable
from madang.engines.stored import Connect

DRIVER = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Gpu:
    """A GPU that the driver reports: /dev/nvidia<minor>, its UUID and its model."""

    minor: int
    device: str
    model: str


@dataclass(frozen=True)
class Slot:
    machine: str
    gpu_type: str
    gpu: int
    declared: bool
    device: str = ""
    busy: bool = False


def find_gpus(driver: Path = DRIVER) -> list[Gpu]:
    """The GPUs of this machine by the driver's own list, else by nvidia-smi; none is an empty list."""
    found = []
    for path in sorted(driver.glob("*/information")):
        pairs = [line.partition(":") for line in path.read_text().splitlines()]
        facts = {name.strip(): value.strip() for name, _, value in pairs}
        if facts.get("Device Minor", "").isdigit() and facts.get("GPU UUID", "").startswith("GPU-"):
            found.append(Gpu(int(facts["Device Minor"]), facts["GPU UUID"], facts.get("Model", "")))
    return sorted(found or _by_tool(), key=lambda gpu: gpu.minor)


def _by_tool() -> list[Gpu]:
    question = ["nvidia-smi", "--query-gpu=index,uuid,name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[part.strip() for part in line.split(",", 2)] for line in answer.splitlines() if line.strip()]
    return [Gpu(int(index), device, model) for index, device, model in rows if device.startswith("GPU-")]


def declare_slots(connect: Connect, machine: str, gpu_type: str, count: int, real: bool = False) -> list[Slot]:
    """Make `count` the slots of this type. `real`: the first GPUs of the machine that no other type has.

    Busy slots beyond `count` stay until a later call finds them free. Calling it again changes nothing.
    """
    if not WORD.fullmatch(gpu_type) or not 0 <= count <= 1024:
        raise Rejected("bad_slots", f"not a usable slot declaration: {gpu_type!r} × {count}")
    with connect() as conn, conn.cursor() as cur:
        cur.execute("SELECT pg_advisory_xact_lock(hashtextextended('madang engine slots ' || %s, 0))", [machine])
        cur.execute(
            """DELETE FROM engine_slot
               WHERE (machine, gpu_type) = (%s, %s) AND run IS NULL AND (gpu >= %s OR declared = %s)""",
            [machine, gpu_type, count, real],
        )
        if real:
            cur.execute("SELECT device FROM engine_slot WHERE machine = %s AND gpu_type <> %s", [machine, gpu_type])
            taken = {row[0] for row in cur.fetchall()}
            gpus = [gpu for gpu in find_gpus() if gpu.device not in taken][:count]
            if len(gpus) < count:
                raise Unavailable("no_gpus", f"{machine} has {len(gpus)} free real GPUs, {count} were wanted")
            rows: list[tuple[object, ...]] = [(n, False, gpu.minor, gpu.device) for n, gpu in enumerate(gpus)]
        else:
            rows = [(n, True, None, "") for n in range(count)]
        cur.executemany(
            """INSERT INTO engine_slot (machine, gpu_type, gpu, declared, minor, device) VALUES (%s, %s, %s, %s, %s, %s)
               ON CONFLICT (machine, gpu_type, gpu) DO UPDATE
               SET declared = EXCLUDED.declared, minor = EXCLUDED.minor, device = EXCLUDED.device
               WHERE engine_slot.run IS NULL""",
            [(machine, gpu_type, *row) for row in rows],
        )
    return [slot for slot in list_slots(connect, machine) if slot.gpu_type == gpu_type]


def list_slots(connect: Connect, machine: str) -> list[Slot]:
    """All slots of the machine, by type and number."""
    with connect() as conn:
        rows = conn.execute(
            "SELECT gpu_type, gpu, declared, device, run IS NOT NULL FROM engine_slot WHERE machine = %s ORDER BY 1, 2",
            [machine],
        ).fetchall()
    return [Slot(machine, *row) for row in rows]
