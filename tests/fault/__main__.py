"""The long form for `make fault`; with --short, the one for `make test`."""

from __future__ import annotations

import os
import random
import sys
import time

from django.db import connections

from bench.database import database
from bench.report import Figure, finish
from tests.fault.counts import Counts

SHORT = "--short" in sys.argv


def setting(name: str, long: int, short: int) -> int:
    return int(os.environ.get(name) or (short if SHORT else long))


def main() -> None:
    parts = os.environ.get("PARTS", "server life snapshot").split()
    rounds, seconds = setting("ROUNDS", 50, 3), setting("OPEN_S", 600, 10)
    seed = setting("SEED", *[time.time_ns() % 1_000_000] * 2)
    random.seed(seed)
    print(f"SEED={seed}", flush=True)
    counts, figures = Counts(), list[Figure]()
    with database() as server:
        # One connection each: a pool would try again later and later while the server is away.
        connections.settings["default"]["OPTIONS"].pop("pool", None)
        from tests.fault import life, snapshot
        from tests.fault import server as killed

        if "server" in parts:
            counts += killed.run(server, rounds)
        if "life" in parts:
            counts += life.run(1 if SHORT else rounds, some=SHORT)
        if "snapshot" in parts:
            figures = snapshot.run(server, seconds, judged=not SHORT)
    finish([*counts.figures(), *figures])


if __name__ == "__main__":
    main()
