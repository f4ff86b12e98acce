"""Which runs are to end for what they write: where the disk gets full, before all fail with it, and beyond a limit."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from madang.engines.local import shim
from madang.engines.local.folders import size

log = logging.getLogger(__name__)
STEPS = 8  # into so many parts what has to be free is cut: for each that goes on vanishing, one more run ends
PAUSE_S = 5.0  # between two weighings where the first found nobody
LOOK_S = 10.0  # between two weighings against a limit; ten times as long as they take, where that is longer
MEANT = 16 << 20  # bytes; a run that wrote fewer isn't what fills a disk


class Writer(NamedTuple):
    """A run whose job has begun: its folder, the process beside it, and the bytes that it was given from the disk."""

    place: Path
    pid: int
    given: int


class Weighing(threading.Thread):
    """What each run has written and still takes up, in bytes. On its own: a job may have any number of files."""

    def __init__(self, writers: Mapping[UUID, Writer]) -> None:
        super().__init__(name="what runs have written", daemon=True)
        self.writers, self.bytes, self.took_s = dict(writers), dict[UUID, int](), 0.0

    def run(self) -> None:
        since = time.monotonic()
        for run, (place, pid, given) in self.writers.items():
            self.bytes[run] = size(place) + held(place, pid) - given
        self.took_s = time.monotonic() - since


class Relief:
    """One run at a time is chosen. What it wrote stays its owner's, so its end makes no room: the next one is chosen
    only where the room went on shrinking after it, and for what it wrote since then: who has written runs on, who goes
    on writing doesn't."""

    def __init__(self) -> None:
        self._mark: int | None = None  # with fewer bytes free than that, one more run ends
        self._chosen: UUID | None = None
        self._before: dict[UUID, int] = {}  # bytes that they had when the last one was chosen
        self._weighing: Weighing | None = None
        self._pause_until = 0.0

    def choose(self, free: int, least: int, writers: Mapping[UUID, Writer]) -> UUID | None:
        """The run that is to end, until it isn't among the writers any more. `free`, `least`: bytes of the disk."""
        if self._chosen is not None:
            if self._chosen in writers:
                return self._chosen
            self._chosen, self._mark = None, free - least // STEPS
        if free >= least:
            self._mark, self._before, self._pause_until = None, {}, 0.0
            if self._weighing and not self._weighing.is_alive():
                self._weighing = None  # what it found is of another time
            return None
        if self._mark is not None and free >= self._mark:
            return None
        if self._weighing is None:
            if time.monotonic() >= self._pause_until:
                self._weighing = Weighing(writers)
                self._weighing.start()
        elif not self._weighing.is_alive():
            found, self._weighing = self._weighing.bytes, None
            heavy = [run for run, written in found.items() if run in writers and written >= MEANT]
            more = {run: found[run] - self._before.get(run, 0) for run in heavy}
            self._chosen = max((run for run in heavy if more[run] > 0), key=lambda run: more[run], default=None)
            self._pause_until = 0.0 if self._chosen else time.monotonic() + PAUSE_S
            if self._chosen:
                log.warning("%s bytes are free: run %s ends, which wrote %s", free, self._chosen, more[self._chosen])
                self._before = found
        return self._chosen


class Limit:
    """Runs that wrote more than one may, as of the last weighing."""

    def __init__(self) -> None:
        self._weighing: Weighing | None = None
        self._found: dict[UUID, int] = {}
        self._pause_until = 0.0

    def beyond(self, most: int, writers: Mapping[UUID, Writer]) -> list[UUID]:
        """Those of the writers that are to end, until they aren't among them any more. `most`: bytes of one run."""
        if self._weighing and not self._weighing.is_alive():
            self._found = self._weighing.bytes
            self._pause_until = time.monotonic() + max(LOOK_S, 10 * self._weighing.took_s)
            self._weighing = None
        if writers and not self._weighing and time.monotonic() >= self._pause_until:
            self._weighing = Weighing(writers)
            self._weighing.start()
        return [run for run in writers if self._found.get(run, 0) > most]


def held(place: Path, pid: int) -> int:
    """Bytes, on the disk of this folder, of files that have no name any more and that processes below `pid` keep."""
    disk = place.stat().st_dev
    found: dict[int, int] = {}
    for process in shim.tree(pid):
        try:
            files = os.listdir(f"/proc/{process}/fd")
        except OSError:
            continue
        for name in files:
            try:
                facts = os.stat(f"/proc/{process}/fd/{name}")
            except OSError:
                continue
            if stat.S_ISREG(facts.st_mode) and not facts.st_nlink and facts.st_dev == disk:
                found[facts.st_ino] = facts.st_blocks * 512
    return sum(found.values())
