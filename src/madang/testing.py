"""The pytest plugin of the project: one PostgreSQL for the whole test run.

It is the server that `DATABASE_OWNER_URL` names, else a private one that is gone afterwards. A plugin and not a
conftest, because Django's settings are read before the first conftest is.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from madang.server.postgres import Postgres

_private: list[Postgres] = []

os.environ.setdefault("MADANG_HOME", str(Path(tempfile.gettempdir()) / f"madang-test-home-{os.getuid()}"))
os.environ.setdefault("MADANG_SECRET_KEY", "only for tests")
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # synchronous Playwright beside the ORM

if "DATABASE_OWNER_URL" not in os.environ and "PYTEST_XDIST_WORKER" not in os.environ:
    server = Postgres(Path(tempfile.mkdtemp(prefix="madang-test-")))
    # Nothing here outlives the run, so nothing needs to reach the disk.
    app, owner = server.start(60, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
    os.environ["DATABASE_URL"], os.environ["DATABASE_OWNER_URL"] = app, owner
    _private.append(server)


def pytest_unconfigure() -> None:
    for server in _private:
        server.stop()
        shutil.rmtree(server.root, ignore_errors=True)
    _private.clear()
