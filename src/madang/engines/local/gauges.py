"""What this machine's GPUs are doing, by the driver's own library (NVML), and how it adds up over a run.

A job that holds GPUs and leaves them idle is seen here, and so is one that has no process on them: it is the GPUs of
the run that are read, not its processes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pynvml

log = logging.getLogger(__name__)
_MIB = 1 << 20


@dataclass(frozen=True)
class Reading:
    """One GPU now: use in percent of the last moment and power in watts, None where the driver doesn't say."""

    utilization: float | None
    memory_mb: int
    memory_total_mb: int
    power_w: float | None


Read = Callable[[Iterable[str]], Mapping[str, Reading]]
_opened = threading.Lock()
_missing = False


def read(devices: Iterable[str]) -> dict[str, Reading]:
    """What each of these GPUs (by the driver's UUID) does now. Those that can't be read are left out."""
    found: dict[str, Reading] = {}
    wanted = list(devices)
    if not wanted or not _open():
        return found
    for device in wanted:
        try:
            handle = pynvml.nvmlDeviceGetHandleByUUID(device)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        except pynvml.NVMLError as error:
            log.warning("the GPU %s can't be read: %s", device, error)
            continue
        found[device] = Reading(
            utilization=_asked(_utilization, handle),
            memory_mb=memory.used // _MIB,
            memory_total_mb=memory.total // _MIB,
            power_w=_asked(_watts, handle),
        )
    return found


def _open() -> bool:
    """Whether there is a driver to ask. One that isn't there is said once."""
    global _missing
    with _opened:
        if not _missing:
            try:
                pynvml.nvmlInit()  # again costs nothing
            except pynvml.NVMLError as error:
                log.warning("GPUs aren't looked at: %s", error)
                _missing = True
    return not _missing


def _utilization(handle: Any) -> float:
    return float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)


def _watts(handle: Any) -> float:
    return float(pynvml.nvmlDeviceGetPowerUsage(handle)) / 1000


def _asked(gauge: Callable[[Any], float], handle: Any) -> float | None:
    try:
        return gauge(handle)
    except pynvml.NVMLError:  # not every GPU, or slice of one, has this gauge
        return None


class Sums:
    """Readings of one GPU until they make a sample: means of use and power, the most memory."""

    def __init__(self) -> None:
        self._used: list[float] = []
        self._power: list[float] = []
        self._memory = self._total = 0

    def add(self, reading: Reading) -> None:
        if reading.utilization is not None:
            self._used.append(reading.utilization)
        if reading.power_w is not None:
            self._power.append(reading.power_w)
        self._memory, self._total = max(self._memory, reading.memory_mb), reading.memory_total_mb

    def sample(self) -> tuple[float | None, int, int, float | None]:
        """As the columns of engine_sample: utilization, memory, total memory, power."""
        return _mean(self._used), self._memory, self._total, _mean(self._power)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
