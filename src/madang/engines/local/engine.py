"""The local engine as its callers see it: a queue in PostgreSQL and the folders of the runs on this machine's disk.

Nothing here starts a process; the dispatcher does. Everything here may be called from any number of processes.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from madang.engines.base import (
    APART_S,
    SOCKET,
    Conflict,
    Cursor,
    Diff,
    Health,
    JobSpec,
    Limits,
    LiveRun,
    Maintenance,
    NodeState,
    Outcome,
    Page,
    Receipt,
    Rejected,
    RunKey,
    Sample,
    SlotCount,
    Snapshot,
    Socket,
    State,
    UsageRow,
    Warn,
)
from madang.engines.local.folders import RunFolders, has_room
from madang.engines.local.sandbox import Sandbox
from madang.engines.stored import Connect, answering, described, digest

PAGE = 500
STALE_S = 30.0  # a dispatcher that has not looked for so long is not there

# A run ends once: outcome, order and free slots in one transaction. The lock makes the order of ended_seq the order
# of commits, so that a reader of `usage` who has seen n never finds a later n - 1.
LOCK_ENDS: Final = "SELECT pg_advisory_xact_lock(hashtextextended('madang engine ends ' || %s, 0))"
LOCK_JOB: Final = "SELECT pg_advisory_xact_lock(hashtextextended('madang engine job ' || %s, 0))"
NEXT_END: Final = "(SELECT coalesce(max(ended_seq), 0) FROM engine_run WHERE machine = %(here)s)"
END: Final = f"""
WITH ended AS (
  UPDATE engine_run SET state = 'ended', outcome = %(outcome)s, exit_code = %(exit_code)s, reason = %(reason)s,
    started_at = %(started)s, ended_at = coalesce(%(ended)s, now()), ended_seq = 1 + {NEXT_END},
    peak_memory_mb = %(peak)s, log_truncated = %(truncated)s
  WHERE run = %(run)s AND state <> 'ended' RETURNING run
)
UPDATE engine_slot SET run = NULL WHERE run IN (SELECT run FROM ended)
"""  # noqa: S608
CANCEL_QUEUED: Final = f"""
UPDATE engine_run r SET state = 'ended', outcome = 'cancelled', reason = 'cancelled before it started',
  cancel_at = now(), ended_at = now(), ended_seq = n.row + {NEXT_END}
FROM (SELECT run, row_number() OVER (ORDER BY task) AS row FROM (
  SELECT run, task FROM engine_run WHERE machine = %(here)s AND job = %(job)s AND state = 'queued'
    AND (%(task)s::int IS NULL OR task = %(task)s) ORDER BY task FOR UPDATE) locked) n
WHERE r.run = n.run
"""  # noqa: S608
CANCEL_LIVE: Final = """
UPDATE engine_run SET cancel_at = now()
WHERE machine = %(here)s AND job = %(job)s AND state IN ('starting', 'running') AND cancel_at IS NULL
  AND (%(task)s::int IS NULL OR task = %(task)s)
"""
# Whether the run `r` would reach into a window, were it started now.
INTO_MAINTENANCE: Final = """
EXISTS (SELECT FROM engine_maintenance w
        WHERE w.machine = r.machine AND w.ends_at > now() AND w.starts_at < now() + r.limit_s * interval '1 second'
          AND w.partition IN ('', (SELECT j.spec->>'partition' FROM engine_job j
                                   WHERE (j.job, j.attempt) = (r.job, r.attempt))))
"""
ALIVE: Final = f"""
SELECT r.*, b.open IS FALSE AS closed, coalesce(m.drained, '') <> '' AS drained, i.maintenance,
  r.parallel > 0 AND r.parallel <= count(*) FILTER (WHERE r.state <> 'queued') OVER (PARTITION BY r.job, r.attempt)
    AS full,
  row_number() OVER (PARTITION BY r.gpu_type, r.state = 'queued', b.open IS FALSE, i.maintenance
                     ORDER BY r.priority DESC, r.submitted_at, r.job, r.task) = 1 AS head
FROM engine_run r LEFT JOIN engine_budget b USING (machine, budget) LEFT JOIN engine_machine m USING (machine)
CROSS JOIN LATERAL (SELECT r.state = 'queued' AND {INTO_MAINTENANCE} AS maintenance) i
WHERE machine = %s AND r.state <> 'ended'
ORDER BY r.priority DESC, r.submitted_at, r.job, r.task
"""  # noqa: S608
MACHINE: Final = """
SELECT m.*, (SELECT reason FROM engine_maintenance w WHERE w.machine = m.machine AND w.partition = ''
               AND w.starts_at <= now() AND w.ends_at > now() ORDER BY w.starts_at LIMIT 1) AS maintenance
FROM engine_machine m WHERE m.machine = %s
"""
USAGE: Final = """
SELECT r.*, j.account FROM engine_run r JOIN engine_job j USING (job, attempt)
WHERE r.machine = %s AND r.ended_seq > %s ORDER BY r.ended_seq LIMIT %s
"""


def schema() -> str:
    """The SQL that makes the engine's tables."""
    return (Path(__file__).parent / "schema.sql").read_text()


class LocalEngine(RunFolders):
    """`runs` is the folder that the dispatcher of `machine` keeps the runs in; with fewer than `least_free` bytes free
    on its disk, nothing starts."""

    sync_every_s = 0.0

    def __init__(
        self, connect: Connect, runs: Path, machine: str, *, sandbox: Sandbox | None = None, least_free: int = 0
    ) -> None:
        super().__init__(runs)
        self.least_free = least_free
        self.connect, self.machine = connect, machine
        self.sandbox = sandbox or Sandbox()

    def way_in(self, run: RunKey) -> Socket:
        """The socket that the run listens at in its work folder, on this machine.

        No link is followed: one to a socket of somebody else, made by the job, leads nowhere.
        """
        return Socket(self._opened(run, SOCKET, os.O_PATH | os.O_CLOEXEC, stat.S_ISSOCK))

    def submit(self, spec: JobSpec, attempt: int = 1) -> Receipt:
        """Queue every task of the job, or find that it was queued before."""
        spec.check()
        if not 1 <= attempt <= 1000:
            raise Rejected("out_of_range", "attempt: from 1 to 1000")
        if spec.nodes != 1:
            raise Rejected("one_node", "nodes: this engine has one machine", "nodes")
        if not spec.trusted and self.sandbox.probe:
            raise Rejected(
                "no_sandbox", f"this machine runs only its operator's own jobs: {self.sandbox.probe}", "trusted"
            )
        mark = digest(spec)
        with answering(self.connect) as conn, conn.transaction(), conn.cursor(row_factory=dict_row) as cur:
            cur.execute(LOCK_JOB, [str(spec.job)])
            cur.execute("SELECT * FROM engine_job WHERE (job, attempt) = (%s, %s)", [spec.job, attempt])
            row = cur.fetchone()
            if row and (row["digest"], row["machine"]) != (mark, self.machine):
                raise Conflict("other_content", "this job was submitted before with other content")
            if not row:
                row = self._insert(cur, spec, attempt, mark)
        return Receipt(spec.job, attempt, f"{self.machine}:{spec.job}.{attempt}", spec.tasks, row["submitted_at"])

    def _insert(self, cur: psycopg.Cursor[dict[str, Any]], spec: JobSpec, attempt: int, mark: str) -> dict[str, Any]:
        cur.execute("SELECT 1 FROM engine_run WHERE job = %s AND state <> 'ended' LIMIT 1", [spec.job])
        if cur.fetchone():
            raise Conflict("still_alive", "an attempt of this job has not ended")
        cur.execute(
            "SELECT count(*) AS slots FROM engine_slot WHERE (machine, gpu_type) = (%s, %s)",
            [self.machine, spec.gpu_type],
        )
        slots = (cur.fetchone() or {})["slots"]
        if slots < spec.gpus_per_node:
            raise Rejected(
                "too_many_gpus",
                f"gpus_per_node: this machine has {slots} slots of type {spec.gpu_type}",
                "gpus_per_node",
            )
        cur.execute(
            """INSERT INTO engine_job (job, attempt, machine, digest, account, budget, spec)
               VALUES (%s, %s, %s, %s, %s, %s, %s::jsonb) RETURNING submitted_at""",
            [spec.job, attempt, self.machine, mark, spec.account, spec.budget, json.dumps(described(spec))],
        )
        row = cur.fetchone() or {}
        cur.executemany(
            "INSERT INTO engine_file (job, attempt, path, content, source) VALUES (%s, %s, %s, %s, %s)",
            [(spec.job, attempt, f.path, f.content, str(f.source) if f.source else None) for f in spec.files],
        )
        cur.execute(
            """INSERT INTO engine_run (job, attempt, task, machine, budget, gpu_type, gpus, parallel, limit_s, priority)
               SELECT %s, %s, task, %s, %s, %s, %s, %s, %s, %s FROM generate_series(0, %s - 1) task""",
            [
                *(spec.job, attempt, self.machine, spec.budget, spec.gpu_type, spec.gpus_per_node),
                *(spec.parallel, spec.limit_s, spec.priority, spec.tasks),
            ],
        )
        return row

    def poll(self) -> Snapshot:
        """Everything queued, starting or running on this machine, heads of the queue first."""
        with answering(self.connect) as conn, conn.cursor(row_factory=dict_row) as cur:
            rows = cur.execute(ALIVE, [self.machine]).fetchall()
            lag, now = self._lag(conn)
        full = not has_room(self.runs, self.least_free)
        return Snapshot(at=now, complete=True, runs=tuple(_live(row, full) for row in rows), lag_s=lag)

    def _lag(self, conn: psycopg.Connection[Any]) -> tuple[float | None, datetime]:
        row = conn.execute(
            """SELECT extract(epoch FROM clock_timestamp() - (SELECT beat_at FROM engine_machine WHERE machine = %s))
               ::float8, clock_timestamp()""",
            [self.machine],
        ).fetchone()
        assert row
        return row[0], row[1]

    def cancel(self, job: UUID, task: int | None = None) -> None:
        """Waiting runs end now; for running ones the dispatcher is told."""
        values = {"here": self.machine, "job": job, "task": task}
        with answering(self.connect) as conn, conn.transaction():
            conn.execute(LOCK_ENDS, [self.machine])
            conn.execute(CANCEL_QUEUED, values)
            conn.execute(CANCEL_LIVE, values)

    def usage(self, since: Cursor, size: int = PAGE) -> Page[UsageRow]:
        """The runs that ended after `since`, in the order in which they were found to have ended."""
        if since and not (since.isascii() and since.isdigit() and len(since) < 19):
            raise Rejected("bad_cursor", "not a cursor of this engine")
        with answering(self.connect) as conn, conn.cursor(row_factory=dict_row) as cur:
            rows = cur.execute(USAGE, [self.machine, int(since or 0), size + 1]).fetchall()
        more, rows = len(rows) > size, rows[:size]
        return Page(tuple(_usage(row) for row in rows), Cursor(str(rows[-1]["ended_seq"])) if rows else since, more)

    def samples(self, run: RunKey) -> list[Sample]:
        with answering(self.connect) as conn:
            rows = conn.execute(
                """SELECT s.at, s.gpu, s.utilization, s.memory_mb, s.memory_total_mb, s.power_w
                   FROM engine_sample s JOIN engine_run r USING (run)
                   WHERE (r.machine, r.job, r.task, r.attempt) = (%s, %s, %s, %s) ORDER BY s.at, s.gpu""",
                [self.machine, run.job, run.task, run.attempt],
            ).fetchall()
        return [Sample(*row) for row in rows]

    def sync(self, wanted: Sequence[Limits], apply: bool) -> Diff:
        """Which budgets may start runs. Seconds and members are not this engine's to limit; others are open."""
        target = {limit.budget: (limit.account, limit.open) for limit in wanted}
        with answering(self.connect) as conn, conn.transaction():
            rows = conn.execute("SELECT budget, account, open FROM engine_budget WHERE machine = %s", [self.machine])
            found = {row[0]: (row[1], row[2]) for row in rows}
            diff = Diff(
                missing=tuple(sorted(target.keys() - found.keys())),
                changed=tuple(sorted(b for b in target.keys() & found.keys() if found[b] != target[b])),
                extra=tuple(sorted(found.keys() - target.keys())),
                applied=apply,
            )
            if apply:
                gone = [self.machine, list(diff.extra)]
                conn.execute("DELETE FROM engine_budget WHERE machine = %s AND budget = ANY(%s)", gone)
                conn.cursor().executemany(
                    """INSERT INTO engine_budget (machine, budget, account, open) VALUES (%s, %s, %s, %s)
                       ON CONFLICT (machine, budget) DO UPDATE SET account = EXCLUDED.account, open = EXCLUDED.open""",
                    [(self.machine, budget, *target[budget]) for budget in (*diff.missing, *diff.changed)],
                )
        return diff

    def health(self) -> Health:
        with answering(self.connect) as conn, conn.cursor(row_factory=dict_row) as cur:
            slots = cur.execute(
                """SELECT gpu_type, count(*) AS slots, count(run) AS busy, bool_or(declared) AS declared,
                     (SELECT count(*) FROM engine_run r
                      WHERE (r.machine, r.gpu_type, r.state) = (%s, s.gpu_type, 'queued')) AS queued
                   FROM engine_slot s WHERE machine = %s GROUP BY gpu_type ORDER BY gpu_type""",
                [self.machine, self.machine],
            ).fetchall()
            machine = cur.execute(MACHINE, [self.machine]).fetchone()
            lag, there = self._lag(conn)
            ahead = round(time.time() - there.timestamp())
        warnings = []
        if lag is None or lag > STALE_S:
            since = "has never run" if lag is None else f"has not looked for {int(lag)} s"
            warnings.append(Warn("no_dispatcher", f"the dispatcher of {self.machine} {since}: nothing starts"))
        if machine and not machine["sandbox"]:
            warnings.append(Warn("no_sandbox", f"only the operator's own jobs run: {machine['sandbox_reason']}"))
        if machine and machine["root"]:
            warnings.append(Warn("root", "the dispatcher runs as root: run it as an ordinary user"))
        if machine and machine["memory_limit"] != "systemd":
            warnings.append(Warn("memory_watch", "no cgroup for a job's memory: it is looked at every half second"))
        if abs(ahead) > APART_S:
            warnings.append(Warn("clocks", f"these clocks aren't the database's: this machine {ahead:+d} s"))
        full, late = not has_room(self.runs, self.least_free), lag is None or lag > STALE_S
        if full:
            warnings.append(Warn("disk_full", f"fewer than {self.least_free} bytes are free: nothing starts"))
        if any(slot["declared"] for slot in slots):
            warnings.append(Warn("declared", "some slots are only declared: runs on them see no GPU"))
        if not slots:
            warnings.append(Warn("no_slots", f"{self.machine} has no slots"))
        if machine and machine["drained"]:
            text = f"these nodes take no jobs: {self.machine} ({machine['drained']})"
            warnings.append(Warn("nodes_drained", text))
        closed = full or late or bool(machine and machine["drained"])
        counts = tuple(
            SlotCount(s["gpu_type"], s["slots"], s["busy"], s["declared"], s["queued"], s["slots"] if closed else 0)
            for s in slots
        )
        nodes = (self._node(machine, counts, late=late),) if machine else ()
        return Health(True, lag, counts, bool(machine and machine["sandbox"]), tuple(warnings), nodes=nodes)

    def _node(self, machine: dict[str, Any], counts: Sequence[SlotCount], *, late: bool) -> NodeState:
        gpus, used = sum(count.slots for count in counts), sum(count.busy for count in counts)
        if late:
            state = "down"
        elif machine["drained"]:
            state = "draining" if used else "drained"
        elif machine["maintenance"] is not None:
            state = "maintenance"
        else:
            state = "full" if used and used == gpus else "mixed" if used else "idle"
        kinds = ", ".join(count.gpu_type for count in counts)
        reason = machine["drained"] or machine["maintenance"] or ""
        return NodeState(self.machine, state, reason, (), kinds, gpus, used)

    def maintain(self, wanted: Sequence[Maintenance]) -> Diff:
        """Windows of this machine, or of one partition of it."""
        for window in wanted:
            window.check()
            if window.nodes not in ((), (self.machine,)):
                raise Rejected("no_node", f"nodes: {', '.join(window.nodes)}: this machine is {self.machine}", "nodes")
        target = {w.key: (w.starts_at, w.ends_at, w.reason, w.partition) for w in wanted}
        with answering(self.connect) as conn, conn.transaction():
            rows = conn.execute(
                "SELECT key, starts_at, ends_at, reason, partition FROM engine_maintenance WHERE machine = %s",
                [self.machine],
            )
            found = {key: tuple(facts) for key, *facts in rows}
            diff = Diff(
                missing=tuple(sorted(target.keys() - found.keys())),
                changed=tuple(sorted(k for k in target.keys() & found.keys() if found[k] != target[k])),
                extra=tuple(sorted(found.keys() - target.keys())),
                applied=True,
            )
            gone = [self.machine, list(diff.extra)]
            conn.execute("DELETE FROM engine_maintenance WHERE machine = %s AND key = ANY(%s)", gone)
            conn.cursor().executemany(
                """INSERT INTO engine_maintenance (machine, key, starts_at, ends_at, reason, partition)
                   VALUES (%s, %s, %s, %s, %s, %s)
                   ON CONFLICT (machine, key) DO UPDATE SET starts_at = EXCLUDED.starts_at,
                     ends_at = EXCLUDED.ends_at, reason = EXCLUDED.reason, partition = EXCLUDED.partition""",
                [(self.machine, key, *target[key]) for key in (*diff.missing, *diff.changed)],
            )
        return diff

    def hold_back(self, job: UUID, tasks: Sequence[int]) -> None:
        """Nothing is started again here."""

    def let_go(self, job: UUID, tasks: Sequence[int]) -> None:
        """Nothing is started again here."""

    def drain(self, node: str, reason: str) -> None:
        self._drained(node if node == self.machine else "", reason or "drained")

    def resume(self, node: str) -> None:
        self._drained(node if node == self.machine else "", "")

    def _drained(self, node: str, reason: str) -> None:
        with answering(self.connect) as conn, conn.transaction():
            done = conn.execute("UPDATE engine_machine SET drained = %s WHERE machine = %s", [reason, node])
        if not done.rowcount:
            raise Rejected("no_node", f"node: there is none called {node}", "node")


SHARED = ("budget", "gpu_type", "gpus", "submitted_at", "started_at", "machine", "declared")
LIVE = (*SHARED, "limit_s")
ENDED = (*SHARED, "account", "ended_at", "exit_code", "reason", "peak_memory_mb", "log_truncated")


def _live(row: dict[str, Any], full: bool) -> LiveRun:
    reason = ""
    if row["state"] == "queued":
        reason = (
            "BudgetClosed" if row["closed"] else "DiskFull" if full else "ArrayLimit" if row["full"] else "Priority"
        )
        reason = "Resources" if row["head"] and reason == "Priority" else reason
        reason = "Maintenance" if row["maintenance"] and reason in ("Priority", "Resources") else reason
        reason = "NodesDrained" if row["drained"] else reason
    return LiveRun(
        key=RunKey(row["job"], row["task"], row["attempt"]),
        state=State(row["state"]),
        reason=reason,
        slots=tuple(row["slots"]),
        cancelling=row["cancel_at"] is not None,
        **{name: row[name] for name in LIVE},
    )


def _usage(row: dict[str, Any]) -> UsageRow:
    started: datetime | None = row["started_at"]
    seconds = 0
    if started:
        micro = max(0, round((row["ended_at"] - started).total_seconds() * 1_000_000))
        seconds = min(-(-micro // 1_000_000), row["limit_s"])
    return UsageRow(
        key=RunKey(row["job"], row["task"], row["attempt"]),
        outcome=Outcome(row["outcome"]),
        gpu_seconds=seconds * row["gpus"],
        **{name: row[name] for name in ENDED},
    )
