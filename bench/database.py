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
    TABLES in the environment names a file of SQL that makes what the migrations make, to be read in their place.
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
        if tables := os.environ.get("TABLES"):
            say_nothing = "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1"
            subprocess.run([server.bin / "psql", *say_nothing, f"--file={tables}", server.url("postgres")], check=True)
        else:
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
