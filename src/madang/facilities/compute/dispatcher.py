"""The dispatchers of this machine's clusters, one thread each, for a process of its own (`madang up` starts it)."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from django.conf import settings
from django.db import close_old_connections, connection

from madang.engines.local import Caps, Dispatcher, Sandbox
from madang.facilities.compute import host
from madang.facilities.compute.models import Cluster, EngineKind

LOOK_S = 5.0  # for clusters that were added since
logger = logging.getLogger(__name__)


def run(stop: threading.Event, look_s: float = LOOK_S) -> None:
    """Until `stop` is set: a dispatcher for every local cluster there is. Stopping leaves the jobs running."""
    threads: dict[str, threading.Thread] = {}
    while not stop.is_set():
        try:
            close_old_connections()
            for code in Cluster.objects.filter(engine=EngineKind.LOCAL).values_list("code", flat=True):
                if code not in threads or not threads[code].is_alive():
                    threads[code] = _start(code, stop)
        except Exception:
            logger.exception("the clusters could not be read")
            connection.close()
        stop.wait(look_s)
    for thread in threads.values():
        thread.join(timeout=30)
    connection.close()


def _start(code: str, stop: threading.Event) -> threading.Thread:
    runs = host.runs_of(code)
    runs.mkdir(parents=True, exist_ok=True)
    sandbox = Sandbox(readonly=[Path(folder) for folder in settings.JOBS_READ])
    caps = Caps(least_free=settings.LEAST_FREE_BYTES, most_written=settings.JOB_FILES_LIMIT_BYTES)
    dispatcher = Dispatcher(host.connect, runs, code, sandbox=sandbox, caps=caps)
    thread = threading.Thread(target=dispatcher.run, args=(stop,), name=f"dispatcher of {code}", daemon=True)
    thread.start()
    return thread
