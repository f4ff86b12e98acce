"""A transaction that stays open, and what those who write meanwhile have to wait for.

An old snapshot keeps every version of a row that was updated since: of the balance that everybody wants, thousands. The
same is written at the same time to a second database of the same server, where no transaction stays open; whatever else
the machine does harms both alike.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from bench.report import Figure
from madang.server.postgres import Postgres
from tests.fault.writers import WRITERS

ACCOUNTS = 1000
RATE = 100  # holds and settlements a second in each database: far more than people and engines make, and half on one
HELD_BACK, FREE = "madang", "madang_free"
HOLD_AND_SETTLE = """
SELECT ledger_hold(p_account => :account, p_sink => :sink, p_amount => 60, p_source => 'snapshot',
  p_key => gen_random_uuid()::text, p_until => NULL, p_actor => NULL, p_reason => '') AS hold \\gset
SELECT o_entry FROM ledger_settle(p_hold => :hold, p_used => 50, p_source => 'snapshot',
  p_key => 'settle ' || :hold, p_event_at => NULL, p_actor => NULL, p_reason => '');
"""
SCRIPTS = {
    "many": "\\set account random(:first + 1, :first + 1000)" + HOLD_AND_SETTLE,
    "hot": "\\set account :first" + HOLD_AND_SETTLE,
}


@dataclass
class Waits:
    """Seconds that each hold and settlement took, from when it was due, in the minutes after the beginning."""

    minutes: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    hot: list[float] = field(default_factory=list)

    @property
    def all(self) -> list[float]:
        return [one for minute in self.minutes.values() for one in minute]


def p95(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.95)]


def accounts(server: Postgres) -> dict[str, int]:
    """A thousand accounts and, before them, the one that half of all want."""
    with psycopg.connect(server.url("madang")) as db:

        def one(question: str, *values: Any) -> int:
            row = db.execute(question, values).fetchone()
            assert row
            return int(row[0])

        commodity = one("SELECT ledger_make_commodity('snapshot', 'krw', '')")
        opened = "ledger_open_account(%s, %s, %s, %s, %s)"
        pool = one(f"SELECT {opened}", commodity, "site", 0, "pool", False)
        sink = one(f"SELECT {opened}", commodity, "site", 0, "consumed", False)
        made = [
            one(f"SELECT {opened}", commodity, "snapshot", number, "allocation", True) for number in range(ACCOUNTS + 1)
        ]
        for account in made:
            one("SELECT ledger_grant(%s, %s, 1000000000, 'snapshot', %s, NULL, '')", pool, account, str(account))
    assert made == list(range(made[0], made[0] + ACCOUNTS + 1))
    return {"first": made[0], "sink": sink}


def run(server: Postgres, seconds: int, *, judged: bool) -> list[Figure]:
    """p95 in the database with the open transaction, as a multiple of that in the other one: below 2 if `judged`."""
    if not (server.bin / "pgbench").exists():
        raise SystemExit(f"pgbench isn't in {server.bin}")
    known = accounts(server)
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {FREE} TEMPLATE {HELD_BACK} OWNER madang_owner")
    with tempfile.TemporaryDirectory() as place, psycopg.connect(server.url("madang")) as old:
        folder = Path(place)
        for name, script in SCRIPTS.items():
            (folder / f"{name}.sql").write_text(script)
        # The server would end it: see docs/operator/README.md. This one is to stay.
        old.execute("SET idle_in_transaction_session_timeout = 0")
        old.commit()
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        before = old.execute("SELECT sum(debited) FROM ledger_balance").fetchone()
        began = time.time()
        writing = [_write(server, database, folder, known, seconds) for database in (HELD_BACK, FREE)]
        for process in writing:
            said = process.communicate()[0]
            assert process.returncode == 0, said
            assert "number of failed transactions: 0 " in said, said
        opened = time.time() - began
        assert old.execute("SELECT sum(debited) FROM ledger_balance").fetchone() == before
        held_back, free = (_waits(folder, database, began) for database in (HELD_BACK, FREE))
        looks = [_look(server, database, known["first"]) for database in (HELD_BACK, FREE)]
    for minute in sorted(free.minutes.keys() & held_back.minutes.keys()):
        here, there = p95(held_back.minutes[minute]), p95(free.minutes[minute])
        print(f"snapshot: minute {minute + 1}: p95 {1000 * here:.1f} ms, {1000 * there:.1f} ms without", flush=True)
    print("snapshot: one look at the hot balance {:.2f} ms, {:.2f} ms without".format(*looks), flush=True)
    limit = 1.99 if judged else None
    return [
        Figure("transaction open s", round(opened)),
        Figure("holds and settlements meanwhile", len(held_back.all)),
        Figure("p95 ratio", p95(held_back.all) / p95(free.all), at_most=limit),
        Figure("p95 ratio on the hot account", p95(held_back.hot) / p95(free.hot), at_most=limit),
    ]


def _look(server: Postgres, database: str, account: int) -> float:
    """Milliseconds of the server's own work to find the hot balance among its old versions: the least of ten times."""
    with psycopg.connect(server.url("madang", database)) as db:
        question = f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT held FROM ledger_balance WHERE account_id = {account}"
        plans = [row[0][0] for _ in range(10) if (row := db.execute(question).fetchone())]
    return float(min(plan["Execution Time"] for plan in plans))


def _write(server: Postgres, database: str, folder: Path, known: dict[str, int], seconds: int) -> subprocess.Popen[str]:
    given = [word for name, value in known.items() for word in ("-D", f"{name}={value}")]
    scripts = [word for name in SCRIPTS for word in ("-f", str(folder / f"{name}.sql"))]
    return subprocess.Popen(
        [server.bin / "pgbench", "-n", "-h", server.sock, "-U", "madang", "-c", str(WRITERS), "-j", "2",
         "-T", str(seconds), "-R", str(RATE), *given, *scripts, "-l", "--log-prefix", str(folder / database),
         database],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def _waits(folder: Path, database: str, began: float) -> Waits:
    """From pgbench's own log: client, number, microseconds, script, time of the end (s, µs), lag."""
    waits = Waits()
    for file in folder.glob(f"{database}.[0-9]*"):
        for line in file.read_text().splitlines():
            words = line.split()
            took = int(words[2]) / 1e6
            waits.minutes[int(max(0.0, int(words[4]) - began) // 60)].append(took)
            if list(SCRIPTS)[int(words[3])] == "hot":
                waits.hot.append(took)
    return waits
