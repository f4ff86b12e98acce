"""`python -m madang.server.engine`: what watches over the jobs of this machine, and asks every engine how they do.

Two loops in one process, each with database sessions of its own. Jobs are processes of their own and outlive it.
"""

from __future__ import annotations

import signal
import threading
from typing import Any

import django


def main() -> None:
    django.setup()
    from madang.facilities.compute import dispatcher
    from madang.jobs import poller

    stop = threading.Event()

    def end(*_: Any) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    loops = [
        threading.Thread(target=dispatcher.run, args=(stop,), name="dispatcher"),
        threading.Thread(target=poller.run, args=(stop,), name="poller"),
    ]
    for loop in loops:
        loop.start()
    # A loop that ended by itself takes the process along: whoever started it starts it again, whole.
    while not stop.is_set() and all(loop.is_alive() for loop in loops):
        stop.wait(0.5)
    stop.set()
    for loop in loops:
        loop.join(10)


if __name__ == "__main__":
    main()
