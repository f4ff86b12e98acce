"""The long form for `make fault`; with --short, the one for `make test`."""

from __future__ import annotations

import os
import random
import sys
import time

from django.db import connections

from bench.database import database
from bench.report import finish
from tests.fault.counts import Counts

SHORT = "--short" in sys.argv


def setting(name: str, long: int, short: int) -> int:
    return int(os.environ.get(name) or (short if SHORT else long))


def main() -> None:
    parts = os.environ.get("PARTS", "server life").split()
    rounds = setting("ROUNDS", 50, 3)
    seed = setting("SEED", *[time.time_ns() % 1_000_000] * 2)
    random.seed(seed)
    print(f"SEED={seed}", flush=True)
    counts = Counts()
    with database() as server:
        # One connection each: a pool would try again later and later while the server is away.
        connections.settings["default"]["OPTIONS"].pop("pool", None)
        from tests.fault import life
        from tests.fault import server as killed

        if "server" in parts:
            counts += killed.run(server, rounds)
        if "life" in parts:
            counts += life.run(rounds - SHORT, some=SHORT)
    finish(counts.figures())


if __name__ == "__main__":
    main()
