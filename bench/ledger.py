"""The ledger beside pgbench's TPC-B on the same server, and the metering of a million records beside a bare COPY.

Rounds alternate, so that whatever else the machine does falls on both; a figure is the median of its rounds. A ratio by
CPU counts the time of the server's processes for one transaction of TPC-B and for one posting of ours.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import psycopg

from bench.database import database
from bench.report import Figure, finish
from madang.server.postgres import Postgres

CLIENTS = 8
ACCOUNTS = 1_000
BATCH = 1_000
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = int(os.environ.get("SECONDS", "6"))
RECORDS = int(os.environ.get("RECORDS", "1000000"))
DAY = 2_000  # records of one more day
SETTINGS = ("max_wal_size=8GB", "shared_buffers=1GB", "checkpoint_timeout=30min")

KEY = r"\set k random(1, 9000000000000000000)"
BOOK = """
SELECT ledger_hold({account}, {sink}, 10, 'bench', :k::text, NULL, NULL, '') AS hold \\gset
SELECT * FROM ledger_settle(:hold, 7, 'bench', :k::text, NULL, NULL, '');
"""
BATCHES = """
SELECT array_agg(o_entry ORDER BY o_n) AS holds FROM ledger_hold_batch(
  ARRAY(SELECT {first} + (hashint8(n + :k::bigint) & 2147483647) % {accounts} FROM generate_series(1, {batch}) n),
  array_fill({sink}, ARRAY[{batch}]), array_fill(10, ARRAY[{batch}]),
  ARRAY(SELECT :k::text || '-' || n FROM generate_series(1, {batch}) n), 'bench', NULL, NULL, '') \\gset
SELECT count(*) FROM ledger_settle_batch(:holds::bigint[], array_fill(7::bigint, ARRAY[{batch}]),
  ARRAY(SELECT :k::text || '-' || n FROM generate_series(1, {batch}) n), 'bench', NULL, NULL, '');
"""


@dataclass
class Measured:
    """What one round gave: operations a second, and seconds of the server's CPU for one."""

    speed: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.speed[-1]:,.0f}/s at {self.cpu[-1] * 1e6:.0f} µs of CPU"

    def add(self, operations: float, seconds: float, cpu: float) -> None:
        self.speed.append(operations / seconds)
        self.cpu.append(cpu / operations)


@dataclass
class Bench:
    server: Postgres
    sink: int
    accounts: list[int]
    folder: Path

    def cpu(self) -> float:
        """Seconds that all processes of the server have used so far, also those that have ended."""
        while True:
            own, ended = self._ticks()
            living = 0
            for child in Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split():
                try:
                    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                except OSError:  # ended meanwhile
                    continue
                living += int(fields[11]) + int(fields[12])
            if self._ticks()[1] == ended:  # else one that ended meanwhile would be counted twice, or never
                return (own + ended + living) / os.sysconf("SC_CLK_TCK")

    @property
    def _pid(self) -> int:
        assert self.server.child
        return self.server.child.pid

    def _ticks(self) -> tuple[int, int]:
        """Of the first process itself, and of those that it has seen end."""
        fields = [int(field) for field in Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[11:15]]
        return fields[0] + fields[1], fields[2] + fields[3]

    def pgbench(self, role: str, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        places = {"PGHOST": str(self.server.sock), "PGUSER": role, "PGDATABASE": name}
        done = subprocess.run([PGBENCH, *words], env={**os.environ, **places}, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return done

    def run(self, into: Measured, script: str | None, *, postings: int = 1) -> None:
        """TPC-B, or `script` as the application; `postings` in each of its transactions."""
        words = ["-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(SECONDS)]
        before = self.cpu()
        if script is None:
            said = self.pgbench("madang_owner", "tpcb", *words).stdout
        else:
            file = self.folder / "script.sql"
            file.write_text(script)
            said = self.pgbench("madang", "madang", *words, "-f", str(file)).stdout
        spent = self.cpu() - before
        done = int(re.search(r"actually processed: (\d+)", said)[1])  # type: ignore[index]
        speed = float(re.search(r"tps = ([\d.]+)", said)[1])  # type: ignore[index]
        into.add(done * postings, done / speed, spent)

    def combined(self, into: Measured) -> None:
        """Threads that hold and settle on one account, through the combiner."""
        from django.db import connection

        from madang.ledger.combine import Combiner, Hold, Settlement

        hot, end, account = Combiner(source="bench"), time.monotonic() + SECONDS, self.accounts[0]

        def work(number: int) -> int:
            done, keys = 0, random.Random(f"{number} {end}")
            while time.monotonic() < end:
                key = f"hot-{keys.getrandbits(62)}"
                held = hot.hold(Hold(account, self.sink, 10, key))
                hot.settle(account, Settlement(held, 7, key))
                done += 2
            connection.close()
            return done

        before, begun = self.cpu(), time.monotonic()
        with ThreadPoolExecutor(HOT_THREADS) as threads:
            done = sum(threads.map(work, range(HOT_THREADS)))
        into.add(done, time.monotonic() - begun, self.cpu() - before)


HOT_THREADS = 64  # that wait on one grant at once: each has one request under way


def postings(bench: Bench) -> list[Figure]:
    one = f"\\set a random({bench.accounts[0]}, {bench.accounts[-1]})\n{KEY}"
    one += BOOK.format(account=":a", sink=bench.sink)
    hot = KEY + BOOK.format(account=bench.accounts[0], sink=bench.sink)
    batch = KEY + BATCHES.format(first=bench.accounts[0], accounts=ACCOUNTS, batch=BATCH, sink=bench.sink)
    ceiling, single, alone, combined, batches = Measured(), Measured(), Measured(), Measured(), Measured()
    for number in range(ROUNDS):
        bench.run(ceiling, None)
        bench.run(single, one, postings=2)
        bench.run(ceiling, None)
        bench.run(batches, batch, postings=2 * BATCH)
        bench.combined(combined)
        bench.run(alone, hot, postings=2)
        print(
            f"round {number + 1}: TPC-B {ceiling}, one posting {single}, one account {alone},"
            f" combined {combined}, batches {batches}",
            flush=True,
        )
    by_speed, by_cpu = median(ceiling.speed), median(ceiling.cpu)
    return [
        Figure("single/TPC-B", median(single.speed) / by_speed, at_least=1.5),
        Figure("single/TPC-B by CPU", by_cpu / median(single.cpu), at_least=1.5),
        Figure("hot account/TPC-B", median(combined.speed) / by_speed, at_least=2),
        Figure("hot account/TPC-B by CPU", by_cpu / median(combined.cpu), at_least=2),
        Figure("batches/TPC-B", median(batches.speed) / by_speed, at_least=5),
        Figure("batches/TPC-B by CPU", by_cpu / median(batches.cpu), at_least=5),
    ]


def lines(bench: Bench, count: int, *, first: int = 0, seed: int = 1) -> Iterator[str]:
    """Records of jobs over two years in the order of their submission, most of them short, some over many days."""
    dice = random.Random(seed)
    began = datetime(2024, 7, 1, tzinfo=UTC)
    gap = 2 * 365 * 86_400 / max(RECORDS, 1)
    for number in range(first, first + count):
        busy = dice.random() < 0.7  # a few accounts have most of the use
        account = bench.accounts[min(int(dice.paretovariate(0.6)), ACCOUNTS) - 1 if busy else dice.randrange(ACCOUNTS)]
        submitted = began + timedelta(seconds=int(number * gap))
        wait, wall = int(dice.expovariate(1 / 1800)), int(dice.lognormvariate(7.5, 1.8)) + 1
        gpus = dice.choice((1, 1, 1, 2, 4, 8))
        started = submitted + timedelta(seconds=wait)
        ended = started + timedelta(seconds=wall)
        yield (
            f"{number}-{submitted:%Y%m%d%H%M%S}\t\\N\t{submitted:%Y-%m-%d %H:%M:%S+00}\t{account}"
            f"\t{account * 10 + number % 3}\t{account % 4}\t{started:%Y-%m-%d %H:%M:%S+00}"
            f"\t{ended:%Y-%m-%d %H:%M:%S+00}\t{wall * gpus}\t{wall}\t{wait}"
            f'\t{{"gpus": {gpus}, "state": "COMPLETED", "nodes": "gpu{number % 400:03d}"}}\n'
        )


def seconds(what: Callable[[], object]) -> float:
    begun = time.monotonic()
    what()
    return time.monotonic() - begun


def bare_copy(bench: Bench, rows: list[str]) -> float:
    """The same lines into a bare table without an index or a log: what no metering can beat."""
    from madang.ledger.usage import COLUMNS

    with psycopg.connect(bench.server.url("madang_owner")) as db:
        db.execute(
            "CREATE UNLOGGED TABLE bare (key text, hold_id bigint, submitted_at timestamptz, account_id bigint,"
            " user_ref bigint, resource_ref bigint, started_at timestamptz, ended_at timestamptz, amount bigint,"
            " wall_s bigint, wait_s bigint, raw jsonb)"
        )
        db.commit()
        text = "".join(rows).encode()

        def copy() -> None:
            with db.cursor().copy(f"COPY bare ({COLUMNS}) FROM STDIN") as into:
                for start in range(0, len(text), 1 << 20):
                    into.write(text[start : start + (1 << 20)])
            db.commit()

        took = seconds(copy)
        db.execute("DROP TABLE bare")
    return took


def metering(bench: Bench) -> list[Figure]:
    from madang.ledger import usage
    from madang.ledger.verify import verify

    rows = list(lines(bench, RECORDS))
    copies, parts, third = [], [], len(rows) // 3
    for start in (0, third, 2 * third):  # in three parts, each between two bare copies
        copies.append(bare_copy(bench, rows))
        part = rows[start:] if start == 2 * third else rows[start : start + third]
        parts.append(seconds(lambda part=part: usage.meter_lanes(part, source="bench")))
    copies.append(bare_copy(bench, rows))
    bare, took = median(copies), sum(parts)
    print(f"bare COPY {len(rows) / bare:,.0f} records/s, metered {len(rows) / took:,.0f} records/s", flush=True)

    def again() -> None:
        for start in (0, third, 2 * third):
            part = rows[start:] if start == 2 * third else rows[start : start + third]
            assert usage.meter_lanes(part, source="bench") == usage.Metered()

    once_more = seconds(again)
    compared = seconds(lambda: usage.meter_lines(rows[-100_001:], source="bench", parcel=33_333))
    days = [list(lines(bench, DAY, first=RECORDS + n * DAY, seed=2 + n)) for n in range(5)]
    one_day = median([seconds(lambda day=day: usage.meter_lines(day, source="bench")) for day in days])
    report = median([seconds(lambda: by_organization(bench)) for _ in range(5)])
    problems = verify()
    assert not problems, problems[0]
    print(f"compared record by record: {100_001 / compared:,.0f}/s; verified: balances, sums, seals", flush=True)
    return [
        Figure("metering/COPY", bare / took, at_least=0.2),
        Figure("again/COPY (time)", once_more / bare, at_most=1),
        Figure(f"{DAY:,} more records, s", one_day, at_most=0.1),
        Figure("report, s", report, at_most=0.4),
    ]


def by_organization(bench: Bench) -> int:
    """Organization × resource × month over everything: the accounts of ten grants are one organization's."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT a.owner_id / 10, m.resource_ref, m.month, sum(m.records), sum(m.used), sum(m.booked), sum(m.wait_s)"
            " FROM ledger_usage_month m JOIN ledger_account a ON a.id = m.account_id GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        return len(cursor.fetchall())


def prepare(server: Postgres, folder: Path, *, peer: bool = True) -> Bench:
    from madang.ledger import actions as ledger

    commodity = ledger.commodity(code="bench", unit="gpu_second")
    pool = ledger.site_account(commodity=commodity, role="pool")
    sink = ledger.site_account(commodity=commodity, role="consumed")
    accounts = []
    for number in range(ACCOUNTS):
        account = ledger.open_account(
            commodity=commodity, owner_type="bench", owner_id=number, role="allocation", limited=True
        )
        ledger.grant(pool=pool, account=account, amount=10**13, source="bench", key=str(number), actor=None, reason="")
        accounts.append(account)
    bench = Bench(server, sink, accounts, folder)
    if peer:
        with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as db:
            db.execute("CREATE DATABASE tpcb OWNER madang_owner")
        bench.pgbench("madang_owner", "tpcb", "-i", "-q", "-s", "20")
    return bench


def main() -> None:
    with database(*SETTINGS) as server, tempfile.TemporaryDirectory() as folder:
        global PGBENCH
        found = [server.bin / "pgbench", shutil.which("pgbench")]
        PGBENCH = next((str(path) for path in found if path and Path(path).exists()), "")
        if not PGBENCH:
            sys.exit("pgbench is missing: apt install postgresql-contrib")
        bench = prepare(server, Path(folder))
        figures = []
        if "postings" in PARTS:
            figures += postings(bench)
        if "metering" in PARTS:
            figures += metering(bench)
    finish(figures)


PARTS = os.environ.get("PARTS", "postings metering").split()
PGBENCH = ""

if __name__ == "__main__":
    main()
