"""A process that kills itself between two steps of what it does."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import psycopg
from django.db import connections

# Besides every round trip to the database: what the dispatcher does on the disk and how it starts a job.
EVENTS = {"os.mkdir", "os.rename", "subprocess.Popen"}


def dies_before(step: int, work: Callable[[], Any]) -> bool:
    """Do `work` in a process of its own, which kills itself with signal 9 before its `step`-th step (from 1). Whether
    it did: False means that it has fewer steps.

    A step is a round trip to the database by whichever connection (Django's, the engine's, the worker's), BEGIN and
    COMMIT included, or one of EVENTS. So no two of them are left between which it can't die.
    """
    connections.close_all()
    pid = os.fork()
    if not pid:
        try:
            _arm(step)
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _pid, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    assert status == 0, f"it failed by itself, before step {step}"
    return False


def _arm(step: int) -> None:
    left = step

    def another() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(wait: Callable[..., Any]) -> Callable[..., Any]:
        def count_and_wait(*args: Any, **kwargs: Any) -> Any:
            another()
            return wait(*args, **kwargs)

        return count_and_wait

    psycopg.Connection.wait = counted(psycopg.Connection.wait)  # type: ignore[method-assign]
    psycopg.AsyncConnection.wait = counted(psycopg.AsyncConnection.wait)  # type: ignore[method-assign]
    sys.addaudithook(lambda event, _args: another() if event in EVENTS else None)
