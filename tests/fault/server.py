"""Eight writers, and a database that is killed."""

from __future__ import annotations

import random
import time

from django.db import connection

from madang.server.postgres import Postgres
from tests.fault.books import LedgerWriter, books
from tests.fault.counts import Counts
from tests.fault.killer import WAYS, kill_some
from tests.fault.places import ClaimsWriter, places
from tests.fault.writers import WRITERS, Crowd


def run(server: Postgres, rounds: int) -> Counts:
    counts, b, p = Counts(), books(), places()
    writers = [LedgerWriter(b) if number % 4 else ClaimsWriter(p) for number in range(WRITERS)]
    crowd = Crowd(writers)
    for number in range(rounds):
        crowd.start()
        try:
            time.sleep(random.uniform(0.2, 0.8))
            kill_some(server, WAYS[number % len(WAYS)])
            time.sleep(0.2)
        finally:
            crowd.stop()
        counts.rounds += 1
        counts.acknowledged = sum(writer.acknowledged for writer in writers)
        counts.ambiguous = sum(writer.ambiguous for writer in writers)
        connection.close()
        b.differences(counts)
        p.differences(counts)
    print(f"server: killed {rounds} times, {counts.ambiguous} answers lost on the way", flush=True)
    return counts
