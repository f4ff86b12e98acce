"""Start, watch and stop the processes of one site."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1


def ends_with_parent(by: int = signal.SIGTERM) -> None:
    """Where the kernel can (Linux): whoever kills Madang hard ends what it started too, so no port is left held."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by)
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

    def start(self, environment: dict[str, str], log: Path | None = None) -> None:
        """What it says goes to the terminal, or to the end of `log`/<name>.log."""
        said = open(log / f"{self.name}.log", "ab") if log else None  # noqa: SIM115
        try:
            # A process group of its own, so that Ctrl-C reaches Madang alone, which then ends the others in order.
            self.process = subprocess.Popen(
                self.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                preexec_fn=ends_with_parent,
            )
        finally:
            if said:
                said.close()
        self.started = time.monotonic()

    def end_group(self) -> None:
        """What it started is ended with it: a web server's workers would go on holding the port."""
        if self.process:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


class Site:
    """The processes of a site: `watch` until told to stop, then stop them in the order in which they were named.

    `also` is called at every look: whatever else has to be looked after. `log`: the folder for what they say.
    """

    def __init__(
        self,
        children: Sequence[Child],
        environment: dict[str, str],
        *,
        also: Callable[[], None] = lambda: None,
        log: Path | None = None,
    ) -> None:
        self.children = list(children)
        self.environment = environment
        self.also = also
        self.log = log
        self.stopping = False

    def start(self) -> None:
        for child in self.children:
            child.start(self.environment, self.log)

    def watch(self, until: Callable[[], bool] = lambda: False, every: float = 0.3) -> None:
        while not self.stopping and not until():
            self.watch_once()
            time.sleep(every)

    def watch_once(self) -> None:
        self.also()
        for child in self.children:
            self._look_after(child)

    def _look_after(self, child: Child) -> None:
        if child.process is None:
            if time.monotonic() >= child.next_start:
                child.start(self.environment, self.log)
            return
        code = child.process.poll()
        if code is None:
            return
        child.end_group()
        lived = time.monotonic() - child.started
        child.failures = 1 if lived > 60 else child.failures + 1
        pause = min(2**child.failures, 30)
        where = f" (see {self.log / child.name}.log)" if self.log else ""
        sys.stderr.write(f"madang: {child.name} ended ({code}){where}; starting it again in {pause} s\n")
        child.process, child.next_start = None, time.monotonic() + pause

    def stop(self, seconds: float = 10) -> None:
        self.stopping = True
        for child in self.children:
            if child.process and child.process.poll() is None:
                child.process.terminate()
        end = time.monotonic() + seconds
        for child in self.children:
            if child.process:
                with suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(0.1, end - time.monotonic()))
                child.end_group()
                child.process.wait()
