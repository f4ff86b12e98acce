"""A cluster run by Slurm, as its callers see it.

What Slurm was asked is written down before it is asked, under a lock of the job. So whoever dies in between leaves a
submission without an id, and the next one looks for its comment (`madang:<job>.<attempt>.<send>`) before it asks again.
A controller can forget what it took, and gives the id out again: an id alone never says whose a job is.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from madang.engines.base import (
    ENDED,
    WORD,
    Conflict,
    Cursor,
    Diff,
    Health,
    JobSpec,
    Limits,
    LiveRun,
    Maintenance,
    Missing,
    Page,
    Port,
    Receipt,
    Rejected,
    RunKey,
    Sample,
    Snapshot,
    State,
    Unavailable,
    UsageRow,
)
from madang.engines.slurm import accounts, answers, clocks, nodes, records, reservations, watch
from madang.engines.slurm.answers import Live
from madang.engines.slurm.clocks import Clocks
from madang.engines.slurm.commands import PATH, Commands, Unclear
from madang.engines.slurm.handing import SharedRunFolders, given, marks, prepare, wrapper
from madang.engines.slurm.records import Known, Send, owned
from madang.engines.stored import Connect, answering, described, digest

PAGE = 2000
CONFIRMED_S = 10.0  # a controller saves what it took up to 5 s later
EARLY_S = 50  # Slurm sends a warning up to half a minute too early: of a minute's limit, that was at its start
SYNC_EVERY_S = 10.0  # a command of the accounting takes up to half a second, whatever it says
KNOWN_S = 60.0  # so long the sizes of the nodes and the clocks are taken for granted
OUT_S = 5.0  # so long the states of nodes that jobs wait for
FOR_NODES = ("Nodes required for job", "ReqNodeNotAvail")  # how Slurm's reason begins where a job waits for nodes
LOCK_JOB: Final = "SELECT pg_advisory_lock(hashtextextended('madang slurm job ' || %s, 0))"
UNLOCK_JOB: Final = "SELECT pg_advisory_unlock(hashtextextended('madang slurm job ' || %s, 0))"


def schema() -> str:
    """The SQL that makes the engine's tables."""
    return (Path(__file__).parent / "schema.sql").read_text()


class SlurmEngine(SharedRunFolders):
    """The cluster `cluster` that `commands` speaks to. All its nodes see the folder `runs` under the same path. `path`
    is where jobs look for programs, and `ports` are those of the nodes that this machine reaches."""

    sync_every_s = SYNC_EVERY_S

    def __init__(
        self,
        connect: Connect,
        runs: Path,
        cluster: str,
        commands: Commands,
        *,
        path: str = PATH,
        ports: range = range(0),
        confirmed_s: float = CONFIRMED_S,
    ) -> None:
        super().__init__(runs)
        self.path, self.ports = path, ports
        self.connect, self.cluster, self.commands, self.confirmed_s = connect, cluster, commands, confirmed_s
        self._most: dict[str, Counter[str]] = {}  # GPUs of one node, by partition and type
        self._most_at = 0.0
        self._clocks, self._clocks_at = clocks.IN_STEP, 0.0
        self._out, self._out_at = dict[str, str](), 0.0  # see nodes.out
        self._heard = records.Heard()

    # ── a job goes in once ──

    def submit(self, spec: JobSpec, attempt: int = 1) -> Receipt:
        """Hand the job to Slurm, or find that Slurm has it. Asked again for one that Slurm has forgotten, and that left
        no sign of having started, it is handed over again: the same attempt, another restart."""
        spec.check()
        if not 1 <= attempt <= 1000:
            raise Rejected("out_of_range", "attempt: from 1 to 1000")
        self.commands.account(spec.posix_user)
        self._fits(spec)
        mark = digest(spec)
        with answering(self.connect) as conn, _alone(conn, spec.job):
            row = self._row(conn, spec, attempt, mark)
            sends = records.sends(conn, self.cluster, job=spec.job, attempt=attempt)
            last = sends[-1] if sends else None
            if last is not None and last.slurm_id is None and (found := self._find(conn, last)):
                self._received(conn, last, found)
                last = replace(last, slurm_id=found[0], submit=found[1])
            if last is None or last.slurm_id is None:
                slurm_id = self._send(conn, spec, attempt, 1 + (last.send if last else 0), list(range(spec.tasks)))
            else:
                slurm_id = self._again(conn, spec, attempt, last, row)
        return Receipt(spec.job, attempt, f"{self.cluster}:{slurm_id}", spec.tasks, row["submitted_at"])

    def _fits(self, spec: JobSpec) -> None:
        """Slurm 22.05 takes a job with more GPUs than any node has, and fails it later."""
        if spec.gpu_type == "cpu":
            return
        if spec.partition not in self._most or time.monotonic() - self._most_at > KNOWN_S:
            said = self.commands.read("sinfo", "-h", "-o", "%R|%G").splitlines()
            self._most = {line.split("|")[0]: Counter() for line in said}
            for line in said:
                partition, gres = line.split("|", 1)
                count, kind = answers.gpus_per_node(gres)
                self._most[partition][kind] = max(count, self._most[partition][kind])
            self._most_at = time.monotonic()
        if spec.partition not in self._most:
            raise Rejected("no_partition", f"partition: there is none called {spec.partition}", "partition")
        most = self._most[spec.partition][spec.gpu_type]
        if spec.gpus_per_node > most:
            raise Rejected(
                "too_many_gpus",
                f"gpus_per_node: a node of {spec.partition} has {most} GPUs of type {spec.gpu_type}",
                "gpus_per_node",
            )

    def _row(self, conn: psycopg.Connection[Any], spec: JobSpec, attempt: int, mark: str) -> dict[str, Any]:
        with conn.transaction(), conn.cursor(row_factory=dict_row) as cur:
            cur.execute("SELECT * FROM slurm_job WHERE (job, attempt) = (%s, %s)", [spec.job, attempt])
            row = cur.fetchone()
            if row:
                if (row["digest"], row["cluster"]) != (mark, self.cluster):
                    raise Conflict("other_content", "this job was submitted before with other content")
                return row
            cur.execute("SELECT 1 FROM slurm_job WHERE job = %s AND open LIMIT 1", [spec.job])
            if cur.fetchone():
                raise Conflict("still_alive", "an attempt of this job has not ended")
            cur.execute(
                """INSERT INTO slurm_job (job, attempt, cluster, digest, spec)
                   VALUES (%s, %s, %s, %s, %s::jsonb) RETURNING *""",
                [spec.job, attempt, self.cluster, mark, json.dumps(described(spec))],
            )
            return cur.fetchone() or {}

    def _send(self, conn: psycopg.Connection[Any], spec: JobSpec, attempt: int, send: int, tasks: list[int]) -> int:
        """Call sbatch for these tasks, and keep its answer."""
        try:
            prepare(self.runs, spec, attempt, send, self.commands.account(spec.posix_user))
            with conn.transaction():
                conn.execute(
                    "INSERT INTO slurm_send (job, attempt, send) VALUES (%s, %s, %s)", [spec.job, attempt, send]
                )
            said = self.commands.as_user(
                spec.posix_user,
                self._sbatch(spec, attempt, send, tasks),
                stdin=wrapper(spec, attempt, send, self.runs, self.path),
            )
        except Rejected as refused:
            self._refused(conn, spec.job, attempt, send)
            raise _with_field(refused) from None
        except Unclear:
            mine = records.sends(conn, self.cluster, job=spec.job, attempt=attempt)[-1]
            found = self._find(conn, mine)  # may be Unavailable as well: then the next one looks
            if not found:
                raise
            self._received(conn, mine, found)
            return found[0]
        slurm_id = int(said.strip().split(";")[0])
        with conn.transaction():
            conn.execute(
                "UPDATE slurm_send SET slurm_id = %s WHERE (job, attempt, send) = (%s, %s, %s)",
                [slurm_id, spec.job, attempt, send],
            )
        return slurm_id

    def _sbatch(self, spec: JobSpec, attempt: int, send: int, tasks: list[int]) -> list[str]:
        minutes = -(-spec.limit_s // 60)
        command = [
            "sbatch",
            "--parsable",
            f"--account={spec.account}",
            f"--qos={spec.budget}",
            f"--partition={spec.partition}",
            f"--nodes={spec.nodes}",
            "--ntasks-per-node=1",
            f"--mem={spec.memory_mb}M",
            f"--time={minutes}",
            "--requeue" if spec.requeue else "--no-requeue",
            f"--chdir={given(self.runs, spec, attempt)}",
            f"--output={given(self.runs, spec, attempt)}/slurm.log",
            "--open-mode=append",
            f"--job-name={re.sub(r'[^A-Za-z0-9._-]', '_', spec.name)[:40].strip('_') or 'madang'}",
            f"--comment=madang:{spec.job}.{attempt}.{send}",
        ]
        if spec.gpu_type == "cpu":
            command.append(f"--cpus-per-task={max(spec.cpus, spec.gpus_per_node)}")
        else:
            # Other ways to ask for GPUs leave some allocated for ever when the controller is started again.
            command += [f"--cpus-per-task={spec.cpus}", f"--gpus-per-node={spec.gpu_type}:{spec.gpus_per_node}"]
        if warn := min(spec.warn_s, spec.limit_s // 2, minutes * 60 - EARLY_S):
            command.append(f"--signal=B:USR1@{warn}")
        if spec.priority < 0:
            command.append(f"--nice={-spec.priority}")
        if spec.tasks > 1:
            command.append(f"--array={answers.ranges(tasks)}" + (f"%{spec.parallel}" if spec.parallel else ""))
        return command

    def _refused(self, conn: psycopg.Connection[Any], job: UUID, attempt: int, send: int) -> None:
        """Forget a submission that Slurm has refused, and the job where it was the only one."""
        with conn.transaction():
            conn.execute("DELETE FROM slurm_send WHERE (job, attempt, send) = (%s, %s, %s)", [job, attempt, send])
            conn.execute(
                """DELETE FROM slurm_job j WHERE (job, attempt) = (%s, %s)
                   AND NOT EXISTS (SELECT 1 FROM slurm_send s WHERE (s.job, s.attempt) = (j.job, j.attempt))""",
                [job, attempt],
            )

    def _find(self, conn: psycopg.Connection[Any], send: Send) -> tuple[int, int] | None:
        """Slurm's id and second of a submission that left no answer: first among what lives, then what has ended."""
        apart = self._apart(conn)
        for seen in self._queue("-u", send.user):
            if owned(seen.owner, [send], apart):
                return seen.owner.slurm_id, seen.owner.submit
        since = int(send.sent_at.timestamp() + apart.asked) - 60
        for row in records.ask(self.commands, since, "-u", send.user):
            if owned(row.owner, [send], apart):
                return row.owner.slurm_id, row.owner.submit
        return None

    def _apart(self, conn: psycopg.Connection[Any]) -> Clocks:
        """How the clocks stand to each other, looked at now and then."""
        if not self._clocks_at or time.monotonic() - self._clocks_at > KNOWN_S:
            self._clocks, self._clocks_at = clocks.read(conn, self.commands, self.runs), time.monotonic()
        return self._clocks

    def _received(self, conn: psycopg.Connection[Any], send: Send, found: tuple[int, int]) -> None:
        with conn.transaction():
            conn.execute(
                "UPDATE slurm_send SET slurm_id = %s, submit = %s WHERE (job, attempt, send) = (%s, %s, %s)",
                [*found, send.job, send.attempt, send.send],
            )

    def _again(
        self, conn: psycopg.Connection[Any], spec: JobSpec, attempt: int, last: Send, row: dict[str, Any]
    ) -> int:
        """What to do with a job that was handed over before: nothing, as long as Slurm knows it or it may still run."""
        assert last.slurm_id is not None
        apart = self._apart(conn)
        if not row["open"] or time.time() + apart.database - last.sent_at.timestamp() < self.confirmed_s:
            return last.slurm_id
        with conn.transaction():
            given_up = records.given_up(conn, self.cluster, last, apart)
        if given_up:
            return self._send(conn, spec, attempt, last.send + 1, given_up)
        if self._find(conn, last):
            return last.slurm_id
        records.collect(conn, self.commands, self.cluster, self.runs, clocks=apart)
        with conn.transaction():
            ended = records.final_tasks(conn, spec.job, attempt)
        again = []
        for task in sorted(set(range(spec.tasks)) - ended):
            left = marks(self.runs, RunKey(spec.job, task, attempt), last.send, apart)
            if left.started is None:
                again.append(task)
            elif left.fresh and left.ended is None:
                return last.slurm_id  # Slurm doesn't know it, and yet it gives signs of life
            else:
                lost = records.lose(conn, self.cluster, last, task, left, goes_on=spec.requeue)
                again += [task] if spec.requeue and lost else []
        return self._send(conn, spec, attempt, last.send + 1, again) if again else last.slurm_id

    # ── what lives ──

    def _queue(self, *more: str) -> list[Live]:
        rows = self.commands.rows("squeue", "-a", "-t", "all", "-S", "-p,i", *more, fields=answers.LIVE_FIELDS)
        return [answers.live(row) for row in rows]

    def poll(self) -> Snapshot:
        """Everything that waits or runs, by one question to Slurm. What has ended lives on until the accounting says
        how, so that nothing is ever in neither of the two."""
        with answering(self.connect) as conn:
            seen = self._queue()
            with conn.transaction():
                row = conn.execute("SELECT clock_timestamp()").fetchone()
            sends = records.sends(conn, self.cluster)
            counts = records.counts(conn, self.cluster)
            apart = self._apart(conn)
            known = Known(sends, apart)
            self._confirm(conn, seen, known)
        assert row
        places: dict[str, int] = {}
        out = self._why_out(seen)
        runs = [run for live in seen for run in _runs(self.cluster, live, known, counts, places, apart, out)]
        return Snapshot(at=row[0], complete=True, runs=tuple(runs), lag_s=0.0)

    def _why_out(self, seen: Sequence[Live]) -> dict[str, str]:
        """By partition, why its nodes take no jobs: asked only where a job waits for them, and not at every look."""
        if not any(live.state in answers.WAITING and live.reason.startswith(FOR_NODES) for live in seen):
            return {}
        if not self._out_at or time.monotonic() - self._out_at > OUT_S:
            self._out = nodes.out([nodes.state(line) for line in nodes.lines(self.commands)])
            self._out_at = time.monotonic()
        return self._out

    def _confirm(self, conn: psycopg.Connection[Any], seen: Sequence[Live], known: Known) -> None:
        """Write down ids that nobody lived to write down, and Slurm's own second of each submission."""
        fresh = {}
        for live in seen:
            send = known.owned(live.owner)
            if send and send.submit is None:
                fresh[(send.job, send.attempt, send.send)] = (live.owner.slurm_id, live.owner.submit)
        if fresh:
            with conn.transaction():
                conn.cursor().executemany(
                    """UPDATE slurm_send SET slurm_id = %s, submit = %s
                       WHERE (job, attempt, send) = (%s, %s, %s) AND submit IS NULL""",
                    [(*values, *key) for key, values in fresh.items()],
                )

    def cancel(self, job: UUID, task: int | None = None) -> None:
        """End what lives of a job. By what Slurm says is this job's, never by an id alone: it may be another's now."""
        with answering(self.connect) as conn:
            sends = records.sends(conn, self.cluster, job=job)
            if not sends:
                return
            apart = self._apart(conn)
        user = sends[0].user
        wanted = set()
        for live in self._queue("-u", user):
            if (live.state in answers.WAITING or live.state in answers.RUNNING) and owned(live.owner, sends, apart):
                if task is None:
                    wanted.add(str(live.owner.slurm_id))
                elif task in live.tasks:
                    array = live.own_id != live.owner.slurm_id or len(live.tasks) > 1 or task > 0
                    wanted.add(f"{live.owner.slurm_id}_{task}" if array else str(live.owner.slurm_id))
        if not wanted:
            return
        try:
            self.commands.as_user(user, ["scancel", *sorted(wanted)])
        except Unclear as unclear:
            if not re.search(r"Invalid job id|already completing", unclear.message):
                raise

    def hold_back(self, job: UUID, tasks: Sequence[int]) -> None:
        """Keep what waits of these tasks from starting, as an operator does."""
        self._waiting("hold", job, tasks)

    def let_go(self, job: UUID, tasks: Sequence[int]) -> None:
        self._waiting("release", job, tasks)

    def _waiting(self, verb: str, job: UUID, tasks: Sequence[int]) -> None:
        """Say this to Slurm of what waits of these tasks, by what Slurm says is this job's."""
        with answering(self.connect) as conn:
            sends = records.sends(conn, self.cluster, job=job)
            apart = self._apart(conn)
        found = set()
        for live in self._queue("-u", sends[0].user) if sends else ():
            if live.state in answers.WAITING and (send := owned(live.owner, sends, apart)):
                own = [f"{live.owner.slurm_id}_{task}" for task in set(tasks).intersection(live.tasks)]
                found.update(own if send.tasks > 1 else [str(live.owner.slurm_id)])
        if found:
            self.commands.write("scontrol", verb, *sorted(found))

    # ── what has ended ──

    def usage(self, since: Cursor, size: int = PAGE) -> Page[UsageRow]:
        """The runs that ended after `since`, in the order in which they were found to have ended; people's own sbatch
        too. The accounting is asked when there is nothing left that it had said before."""
        if since and not (since.isascii() and since.isdigit() and len(since) < 19):
            raise Rejected("bad_cursor", "not a cursor of this engine")
        with answering(self.connect) as conn:
            rows = records.page(conn, self.cluster, int(since or 0), size + 1)
            if len(rows) <= size:
                records.collect(conn, self.commands, self.cluster, self.runs, self._heard, self._apart(conn))
                rows = records.page(conn, self.cluster, int(since or 0), size + 1)
        more, rows = len(rows) > size, rows[:size]
        return Page(tuple(row for _seq, row in rows), Cursor(str(rows[-1][0])) if rows else since, more)

    def samples(self, run: RunKey) -> list[Sample]:
        """None: the site's own exporters watch the GPUs of its nodes."""
        return []

    def way_in(self, run: RunKey) -> Port:
        """The run says the port, Slurm the machine: so it leads nobody but to a port of the range, on its own node."""
        port, certificate, token = self.door(run)
        if port not in self.ports:
            raise Missing("no_door", f"the run says that it is at the port {port}, which isn't one for sessions")
        with answering(self.connect) as conn:
            sends = records.sends(conn, self.cluster, job=run.job, attempt=run.attempt)
            apart = self._apart(conn)
        for live in self._queue("-u", sends[-1].user) if sends else ():
            here = live.state == "RUNNING" and run.task in live.tasks and WORD.fullmatch(live.nodes)
            if here and owned(live.owner, sends, apart):
                said = self.commands.read("scontrol", "-o", "show", "node", live.nodes)
                return Port(nodes.field(said, "NodeAddr"), port, certificate, token)
        raise Missing("no_run", "the run isn't on a node now")

    # ── budgets, and how the cluster is ──

    def sync(self, wanted: Sequence[Limits], apply: bool) -> Diff:
        """Bring accounts, budgets and members to what is wanted. What Slurm has and nobody wants is named, and stays:
        nothing is ever removed. With `apply`, it is observed again: `applied` is what was seen, not what was hoped."""
        with answering(self.connect) as conn:
            counted = records.counted(conn, self.cluster)
        return accounts.reconcile(self.commands, self.cluster, wanted, counted, apply=apply)

    def health(self) -> Health:
        with answering(self.connect) as conn:
            counted = records.counted(conn, self.cluster)
            lag = records.lag(conn, self.cluster)
            sends = records.sends(conn, self.cluster)
            self._clocks_at = 0.0
            try:
                apart = self._apart(conn)
            except Unavailable:  # then `watch` says so
                apart = clocks.IN_STEP
        return watch.health(self.commands, self.runs, lag, counted, sends, apart)

    def maintain(self, wanted: Sequence[Maintenance]) -> Diff:
        """As reservations for maintenance: Slurm starts nothing that would run into one. See `reservations`."""
        return reservations.maintain(self.commands, wanted)

    def drain(self, node: str, reason: str) -> None:
        """In one line, as it stands in a list of fields."""
        self._node(node, "State=DRAIN", f"Reason={' '.join(reason.split())[:200]}")

    def resume(self, node: str) -> None:
        self._node(node, "State=RESUME")

    def _node(self, node: str, *changes: str) -> None:
        if not WORD.fullmatch(node):  # Slurm would take "n[1-9]" for many, and ALL for all
            raise Rejected("no_node", f"node: there is none called {node}", "node")
        self.commands.write("scontrol", "update", f"NodeName={node}", *changes)


@contextmanager
def _alone(conn: psycopg.Connection[Any], job: UUID) -> Iterator[None]:
    """One submission of a job at a time, for as long as the connection lives."""
    with conn.transaction():
        conn.execute(LOCK_JOB, [str(job)])
    try:
        yield
    finally:
        if not conn.closed and not conn.broken:
            with conn.transaction():
                conn.execute(UNLOCK_JOB, [str(job)])


def _with_field(refused: Rejected) -> Rejected:
    """The same refusal, with the field of JobSpec that it is about."""
    for word, field in (
        ("account", "account"),
        ("GRESMinutes", "limit_s"),
        ("policy", "budget"),
        ("qos", "budget"),
        ("partition", "partition"),
        ("Node count", "nodes"),
        ("node configuration", "gpus_per_node"),
        ("time limit", "limit_s"),
        ("emory", "memory_mb"),
    ):
        if not refused.field and word in refused.message:
            return Rejected(refused.code, refused.message, field)
    return refused


def _runs(
    cluster: str,
    live: Live,
    known: Known,
    counts: dict[tuple[UUID, int, int], tuple[int, bool]],
    places: dict[str, int],
    apart: Clocks,
    out: dict[str, str],
) -> Iterator[LiveRun]:
    waits, works = live.state in answers.WAITING, live.state in answers.RUNNING
    send = known.owned(live.owner)
    if send is None and not (waits or works):
        return
    for task in live.tasks:
        if send is None:
            key = RunKey(records.bare_job(f"{cluster}/{live.own_id}/{live.owner.submit}"))
        else:
            restarts, final = counts.get((send.job, task, send.attempt), (0, False))
            if final:
                continue
            key = RunKey(send.job, task, send.attempt, restarts)
        place = None
        if waits:
            place = places[live.owner.partition] = places.get(live.owner.partition, 0) + 1
        started = not waits and live.start is not None
        yield LiveRun(
            key=key,
            state=State.RUNNING if started else State.QUEUED,
            budget=live.owner.budget,
            gpu_type=live.gpu_type or "cpu",
            gpus=live.gpus if live.gpu_type or send is None else send.gpus,
            limit_s=live.limit_s,
            submitted_at=answers.moment(live.owner.submit),
            started_at=answers.moment(live.start) if started and live.start else None,
            machine=live.nodes,
            declared=not live.gpu_type,
            reason=_reason(live, out) if waits else "" if works else ENDED,
            place=place,
            starts_at=_forecast(live, apart) if waits else None,
            posix_user=live.owner.user,
            partition=live.owner.partition,
            engine_id=str(live.owner.slurm_id),
            bare=send is None,
        )


def _forecast(live: Live, apart: Clocks) -> datetime | None:
    """When a waiting job may start, by the database's clock; None where that would be in the past."""
    ahead = (live.start or 0) - time.time() - apart.controller
    return answers.moment(round(time.time() + ahead + apart.database)) if ahead > 0 else None


def _reason(live: Live, out: dict[str, str]) -> str:
    """One word for why a job waits, also where Slurm says a sentence or names the nodes. Of nodes that take no jobs it
    doesn't say which of its three reasons it is: that is in `out`."""
    if live.reason == "ReqNodeNotAvail, Reserved for maintenance":
        return "Maintenance"
    if live.reason.startswith(FOR_NODES[0]):
        return out.get(live.owner.partition, "Priority")  # all of them are there: those of others are before it
    if live.reason.startswith(FOR_NODES[1]):
        return out.get(live.owner.partition, "ReqNodeNotAvail")
    return {
        "JobArrayTaskLimit": "ArrayLimit",
        "QOSGrpGRESMinutes": "BudgetSpent",
        "": "Priority",
    }.get(live.reason, live.reason.partition(",")[0])
