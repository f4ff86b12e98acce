"""Kill -9 for a private PostgreSQL."""

from __future__ import annotations

import random

from madang.server.postgres import Postgres
from madang.server.tests.site import alive, children, kill, until

WAYS = ("a backend", "the postmaster and all children", "the postmaster")


def kill_some(server: Postgres, way: str) -> None:
    """Kill in this way, and wait until the server answers again. A backend takes all others along: shared memory can't
    be trusted any more."""
    assert server.child
    own = children(server.child.pid)
    if way == "a backend":
        kill([random.choice(own)])
        until(server.answers, 60, "the server did not come back")
        return
    pids = [server.child.pid, *(own if way != "the postmaster" else [])]
    kill(pids)
    server.child.wait()
    until(lambda: not any(alive(pid) for pid in pids), 30, "something lives on")
    server.start(60)
