"""What many records of use take: disk, hours, reports, the count of everything, a backup and its restore.

    make bench-scale     # RECORDS=10000000 unless told otherwise

No target: sizes and times of this machine, a line each, and what they come to for a hundred million, by proportion.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from itertools import islice
from pathlib import Path

import psycopg

from bench import ledger
from bench.database import database
from bench.report import Figure, finish

RECORDS = int(os.environ.get("RECORDS", "10000000"))
PARCEL = 1_000_000  # of lines that are made at once
HUNDRED_MILLION = 100_000_000


def main() -> None:
    ledger.RECORDS = RECORDS
    figures: list[Figure] = []

    def say(name: str, value: float, unit: str, grows: bool = True) -> None:
        at_most = f", {value * HUNDRED_MILLION / RECORDS:,.1f} {unit} for 100 million" if grows else ""
        print(f"{name}: {value:,.2f} {unit}{at_most}", flush=True)
        figures.append(Figure(f"{name}, {unit}", value))

    with database(*ledger.SETTINGS) as server, tempfile.TemporaryDirectory() as folder:
        bench = ledger.prepare(server, Path(folder), peer=False)
        from django.db import connection

        from madang.ledger import usage
        from madang.ledger.verify import verify

        rows, took = ledger.lines(bench, RECORDS), 0.0
        while part := list(islice(rows, PARCEL)):
            took += ledger.seconds(lambda part=part: usage.meter_lanes(part, source="scale"))
            print(f"  {took:,.0f} s", flush=True)
        say("metered", took / 3600, "h")
        say("records a second", RECORDS / took, "/s", grows=False)
        with connection.cursor() as cursor:
            for name, table in (
                ("entries", "ledger_entry"),
                ("records", "ledger_usage"),
                ("sums of days", "ledger_usage_day"),
                ("sums of months", "ledger_usage_month"),
            ):
                cursor.execute(
                    "SELECT coalesce(sum(pg_total_relation_size(relid)), pg_total_relation_size(%s::regclass))"
                    " FROM pg_partition_tree(%s::regclass) WHERE isleaf",
                    [table, table],
                )
                say(f"disk of {name}", float(cursor.fetchone()[0]) / 1e9, "GB")
        say("report by organization, resource and month", ledger.seconds(lambda: ledger.by_organization(bench)), "s")
        connection.close()
        say("everything counted again", ledger.seconds(lambda: print(f"  differences: {len(verify())}")), "s")
        connection.close()

        dump = Path(folder) / "madang.dump"
        places = ["-h", str(server.sock), "-U", "madang_owner"]
        say("backup", ledger.seconds(lambda: run(server, "pg_dump", "-Fc", "-Z1", *places, "-f", dump, "madang")), "s")
        say("backup, size", dump.stat().st_size / 1e9, "GB")
        with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as db:
            db.execute("CREATE DATABASE restored OWNER madang_owner")
        restore = ("pg_restore", "-j2", "--exit-on-error", *places, "-d", "restored", dump)
        say("restore", ledger.seconds(lambda: run(server, *restore)), "s")
        same = [total(server, name) for name in ("madang", "restored")]
        assert same[0] == same[1], same
        print(f"the restored ledger is the same: {same[0][0]:,} entries", flush=True)
    finish(figures)


def run(server: ledger.Postgres, program: str, *words: str | Path) -> None:
    subprocess.run([server.bin / program, *words], check=True)


def total(server: ledger.Postgres, name: str) -> tuple[int, ...]:
    with psycopg.connect(server.url("madang_owner", name)) as db:
        row = db.execute("SELECT count(*), sum(amount), max(id) FROM ledger_entry").fetchone()
    assert row
    return tuple(int(value) for value in row)


if __name__ == "__main__":
    main()
