"""The worker that a site starts, for tests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from django.db import connections
from procrastinate.contrib.django import procrastinate_app

PATIENCE_S = 60


def work() -> None:
    """Do the tasks that are due.

    In a thread of its own: Playwright leaves its event loop running in the thread of the tests until the run ends.
    """
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(_work).result(PATIENCE_S)
    finally:
        pool.shutdown(wait=False)


def _work() -> None:
    app = procrastinate_app.current_app
    try:
        with app.replace_connector(app.connector.get_worker_connector()) as working:
            working.run_worker(wait=False, install_signal_handlers=False, listen_notify=False)
    finally:
        connections.close_all()
