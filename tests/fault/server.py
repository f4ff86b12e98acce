"""Those who write, and a database that is killed."""

from __future__ import annotations

import random
import time

from django.db import connection

from madang.server.postgres import Postgres
from tests.fault.books import BatchWriter, LedgerWriter, books
from tests.fault.counts import Counts
from tests.fault.killer import WAYS, kill_some
from tests.fault.meters import MeterWriter
from tests.fault.nights import Nights, NightWriter
from tests.fault.places import ClaimsWriter, places
from tests.fault.writers import WRITERS, Crowd


def run(server: Postgres, rounds: int) -> Counts:
    counts, b, p, nights = Counts(), books(), places(), Nights(server)
    writers = [LedgerWriter(b) if number % 4 else ClaimsWriter(p) for number in range(WRITERS)]
    writers += [BatchWriter(b), MeterWriter(b), MeterWriter(b), NightWriter(nights)]
    crowd = Crowd(writers)
    for number in range(rounds):
        nights.pass_by()
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
        nights.differences(counts)
    print(
        f"server: killed {rounds} times, {counts.ambiguous} answers lost on the way; {nights.sealed} days sealed in the"
        f" last round, months closed until {nights.closed}",
        flush=True,
    )
    return counts
