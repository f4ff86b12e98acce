"""Start, watch and stop the processes of one site."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Where the kernel can (Linux): whoever kills Madang hard, ends what it started too, so that a port is never left held."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    except (AttributeError, OSError):
        return


@dataclass
class Child:
    """One process that is started anew when it ends by itself, a little later each time."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    next_start: float = 0.0
    started: float = field(default=0.0)

    def start(self, environment: dict[str, str]) -> None:
        # A process group of its own, so that Ctrl-C reaches Madang alone, which then ends the others in order.
        self.process = subprocess.Popen(
            self.command, env=environment, start_new_session=True, preexec_fn=_die_with_parent
        )
        self.started = time.monotonic()


class Site:
    """The processes of a site: `watch` them until told to stop, then stop them in the order in which they were named."""

    def __init__(self, children: Sequence[Child], environment: dict[str, str]) -> None:
        self.children = list(children)
        self.environment = environment
        self.stopping = False

    def start(self) -> None:
        for child in self.children:
            child.start(self.environment)

    def watch(self, until: Callable[[], bool] = lambda: False, every: float = 0.3) -> None:
        while not self.stopping and not until():
            self.watch_once()
            time.sleep(every)

    def watch_once(self) -> None:
        for child in self.children:
            self._look_after(child)

    def _look_after(self, child: Child) -> None:
        if child.process is None:
            if time.monotonic() >= child.next_start:
                child.start(self.environment)
            return
        code = child.process.poll()
        if code is None:
            return
        lived = time.monotonic() - child.started
        child.failures = 1 if lived > 60 else child.failures + 1
        pause = min(2**child.failures, 30)
        sys.stderr.write(f"madang: {child.name} ended ({code}); starting it again in {pause} s\n")
        child.process, child.next_start = None, time.monotonic() + pause

    def stop(self, seconds: float = 10) -> None:
        self.stopping = True
        for child in self.children:
            if child.process and child.process.poll() is None:
                child.process.terminate()
        end = time.monotonic() + seconds
        for child in self.children:
            if child.process:
                try:
                    child.process.wait(max(0.1, end - time.monotonic()))
                except subprocess.TimeoutExpired:
                    os.killpg(child.process.pid, signal.SIGKILL)
                    child.process.wait()
