"""A private PostgreSQL, as durable as a site's own and with Madang's tables, for as long as a benchmark runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from madang.server.postgres import Postgres


@contextmanager
def database(*settings: str) -> Iterator[Postgres]:
    """Start it, migrate it, set Django up on it as the application's role; stop and remove it at the end.

    `settings` as in `max_wal_size=4GB`. What is acknowledged is on the disk: fsync and synchronous_commit stay on.
    """
    root = Path(tempfile.mkdtemp(prefix="madang-bench-"))
    root.chmod(0o755)
    server = Postgres(root / "postgres")
    try:
        application, owner = server.start(60, *settings)
        os.environ |= {
            "DATABASE_URL": application,
            "MADANG_HOME": str(root),
            "DJANGO_SETTINGS_MODULE": "madang.settings",
            "MADANG_SECRET_KEY": "only for benchmarks",
        }
        subprocess.run(
            [sys.executable, "-m", "django", "migrate", "--no-input", "--verbosity=0"],
            env={**os.environ, "DATABASE_OWNER_URL": owner, "MADANG_AS_OWNER": "1"},
            check=True,
        )
        import django

        django.setup()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.root, ignore_errors=True)
        shutil.rmtree(root, ignore_errors=True)
