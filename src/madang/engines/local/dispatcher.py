"""The loop that makes queued runs happen: one per machine, by a lock that its database session holds.

Order of acts: claim slots and commit, fill the run's folder (job.json last), start the shim, then only read what the
shim wrote. What may take long, copying the files that a job is given from the disk, the shim does: nobody else waits
for it. So the dispatcher may be killed anywhere: the next one reads each folder and goes on from there, and a run that
it can't account for is lost, never completed.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from madang.engines.base import Outcome, RunKey, Unavailable
from madang.engines.local import calls, gauges, shim
from madang.engines.local.engine import END, INTO_MAINTENANCE, LOCK_ENDS
from madang.engines.local.folders import has_room, place
from madang.engines.local.relief import Limit, Relief, Writer
from madang.engines.local.sandbox import SCRIPT, Sandbox, write_script
from madang.engines.stored import Connect

log = logging.getLogger(__name__)

# The first run of the queue that may start waits for its slots, and nothing overtakes it: no large job starves. One
# that would reach into a maintenance may not.
CLAIM: Final = f"""
WITH head AS (
  SELECT r.run, r.gpus FROM engine_run r
  WHERE r.machine = %(here)s AND r.state = 'queued' AND r.gpu_type = %(type)s
    AND NOT EXISTS (SELECT FROM engine_machine m WHERE m.machine = r.machine AND m.drained <> '')
    AND NOT EXISTS (SELECT FROM engine_budget b WHERE (b.machine, b.budget) = (r.machine, r.budget) AND NOT b.open)
    AND NOT {INTO_MAINTENANCE}
    AND (r.parallel = 0 OR r.parallel > (
      SELECT count(*) FROM engine_run o
      WHERE (o.job, o.attempt) = (r.job, r.attempt) AND o.state IN ('starting', 'running')))
  ORDER BY r.priority DESC, r.submitted_at, r.job, r.task LIMIT 1 FOR UPDATE OF r
), pick AS (
  SELECT s.machine, s.gpu_type, s.gpu, h.run FROM head h CROSS JOIN LATERAL (
    SELECT machine, gpu_type, gpu FROM engine_slot
    WHERE machine = %(here)s AND gpu_type = %(type)s AND run IS NULL ORDER BY gpu LIMIT h.gpus FOR UPDATE) s
), enough AS (SELECT head.run FROM head WHERE head.gpus = (SELECT count(*) FROM pick)
), take AS (
  UPDATE engine_slot e SET run = p.run FROM pick p JOIN enough USING (run)
  WHERE (e.machine, e.gpu_type, e.gpu) = (p.machine, p.gpu_type, p.gpu) RETURNING e.gpu, e.declared
)
UPDATE engine_run r SET state = 'starting', claimed_at = now(), seen_at = now(),
  slots = (SELECT array_agg(gpu ORDER BY gpu) FROM take), declared = (SELECT bool_or(declared) FROM take)
FROM enough WHERE r.run = enough.run
RETURNING r.*
"""  # noqa: S608
WAITING: Final = """
SELECT DISTINCT gpu_type FROM engine_run r WHERE machine = %(here)s AND state = 'queued'
  AND EXISTS (SELECT FROM engine_slot s WHERE (s.machine, s.gpu_type) = (r.machine, r.gpu_type) AND s.run IS NULL)
"""
BEAT: Final = """
INSERT INTO engine_machine (machine, pid, started_at, beat_at, sandbox, sandbox_reason, memory_limit, root)
VALUES (%(here)s, %(pid)s, now(), now(), %(sandbox)s, %(reason)s, %(memory)s, %(root)s)
ON CONFLICT (machine) DO UPDATE SET pid = EXCLUDED.pid, beat_at = EXCLUDED.beat_at, sandbox = EXCLUDED.sandbox,
  sandbox_reason = EXCLUDED.sandbox_reason, memory_limit = EXCLUDED.memory_limit, root = EXCLUDED.root,
  started_at = CASE WHEN engine_machine.pid = EXCLUDED.pid THEN engine_machine.started_at ELSE now() END
"""
SAMPLE: Final = """
INSERT INTO engine_sample (run, at, gpu, utilization, memory_mb, memory_total_mb, power_w)
VALUES (%s, clock_timestamp(), %s, %s, %s, %s, %s)
"""
MOST_SAMPLES = 1000  # of one GPU in one run
FILES: Final = "SELECT path, content, source FROM engine_file WHERE (job, attempt) = (%s, %s)"
SHIM_ENVIRONMENT = ("PATH", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")  # to find bwrap and systemd
WORDS = {
    "too_many_processes": "it started too many processes",
    "machine_stopped": "the machine was stopping",
    "out_of_memory": "it used more memory than it asked for",
    "timed_out": "it reached its time limit",
    "too_large": "its files took more room than those of a job may",
    "disk_full": "the disk was nearly full, and it had written the most",
}


@dataclass(frozen=True)
class Caps:
    """What a job may take besides what it asked for. `grace_s`: between TERM and KILL."""

    grace_s: float = 5.0
    log_bytes: int = 50_000_000
    file_bytes: int = 20 << 30  # one file
    processes: int = 1024
    beat_s: float = 2.0  # how often "still there" is written, and GPUs are looked at
    sample_s: float = 15.0  # the time that one sample of a GPU stands for, longer where a run is long
    least_free: int = 0  # bytes that the disk of the runs has to have free: else no run starts, and the largest ends
    most_written: int = 0  # bytes that the files of a run may take, besides what it was given; 0: no limit
    stale_s: float = 10.0  # an empty shim.json this old is a dead start


class Dispatcher:
    """`step()` does what can be done now; `run(stop)` does it until stopped. Stopping leaves the jobs running."""

    def __init__(
        self,
        connect: Connect,
        runs: Path,
        machine: str,
        *,
        sandbox: Sandbox | None = None,
        caps: Caps | None = None,
        read: gauges.Read = gauges.read,
    ) -> None:
        self.connect, self.runs, self.machine = connect, Path(runs).absolute(), machine
        self.sandbox, self.caps = sandbox or Sandbox(), caps or Caps()
        self._lock = f"madang engine dispatcher {machine}"
        self._stack: ExitStack | None = None
        self._conn: psycopg.Connection[Any] | None = None
        self._started: dict[UUID, subprocess.Popen[bytes]] = {}
        self._beaten = 0.0
        self._due: dict[UUID, int] = {}  # bytes that the shim of a run still copies
        self._signalled: dict[UUID, float] = {}
        self._relief, self._limit = Relief(), Limit()
        self._read, self._gauged = read, 0.0
        self._sums: dict[tuple[UUID, int], tuple[float, gauges.Sums]] = {}  # of a run's slot, since when

    # -- the loop ------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event, pause_s: float = 0.25) -> None:
        """Until `stop` is set; a database that goes away is waited for."""
        while not stop.is_set():
            wait = pause_s
            try:
                self.step()
            except (psycopg.OperationalError, psycopg.InterfaceError, Unavailable) as error:
                log.warning("dispatcher of %s waits: %s", self.machine, error)
                self.close()
                wait = 1.0
            except Exception:
                log.exception("dispatcher of %s", self.machine)
                self.close()
                wait = 1.0
            stop.wait(wait)
        self.close()

    def step(self) -> int:
        """One look at every live run, then every start that fits. How many runs changed.

        Raises Unavailable while another dispatcher of this machine is there.
        """
        conn = self._ready()
        changed = self._look(conn)
        for gpu_type in [row[0] for row in conn.execute(WAITING, {"here": self.machine}).fetchall()]:
            while self._has_room() and (row := self._claim(conn, gpu_type)):
                self._start(conn, row)
                changed += 1
        return changed

    def _has_room(self) -> bool:
        """Whether another run may start: the files that are still copied are to fit, too."""
        least = self.caps.least_free
        return has_room(self.runs, least + sum(self._due.values()) if least > 0 else 0)

    def close(self) -> None:
        """Give the lock back. The jobs go on."""
        stack, self._stack, self._conn = self._stack, None, None
        if stack:
            try:
                stack.close()
            except psycopg.Error as error:
                log.warning("closing: %s", error)

    def _ready(self) -> psycopg.Connection[Any]:
        if self._conn is None:
            stack = ExitStack()
            try:
                conn = stack.enter_context(self.connect())
                conn.autocommit = True
                row = conn.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [self._lock]).fetchone()
                if not row or not row[0]:
                    raise Unavailable("other_dispatcher", f"another dispatcher looks after {self.machine}")
                stack.callback(self._unlock, conn)
            except BaseException:
                stack.close()
                raise
            self.runs.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.sandbox.write_etc(self.runs)
            self._stack, self._conn, self._beaten = stack, conn, 0.0
        if time.monotonic() - self._beaten >= self.caps.beat_s or not self._beaten:
            reason = self.sandbox.probe
            self._conn.execute(
                BEAT,
                {
                    "here": self.machine,
                    "pid": os.getpid(),
                    "sandbox": not reason,
                    "reason": reason,
                    "memory": "systemd" if self.sandbox.scope else "watch",
                    "root": os.geteuid() == 0,
                },
            )
            self._beaten = time.monotonic()
        return self._conn

    def _unlock(self, conn: psycopg.Connection[Any]) -> None:
        if not conn.closed:  # a pool's connection lives on
            conn.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [self._lock])
            conn.autocommit = False

    # -- what lives ----------------------------------------------------------------------------------------------

    def _look(self, conn: psycopg.Connection[Any]) -> int:
        with conn.cursor(row_factory=dict_row) as cur:
            rows = cur.execute(
                "SELECT * FROM engine_run WHERE machine = %s AND state IN ('starting', 'running')", [self.machine]
            ).fetchall()
        for run, process in list(self._started.items()):
            process.poll()
            if run not in {row["run"] for row in rows}:
                self._signalled.pop(run, None)
                if process.returncode is not None:
                    del self._started[run]
        copies = {row["run"] for row in rows if row["state"] == "starting"}
        self._due = {run: due for run, due in self._due.items() if run in copies}
        alive: dict[UUID, dict[str, Any]] = {}
        changed = 0
        for row in rows:
            try:
                changed += self._look_at(conn, row, alive)
            except psycopg.Error:
                raise
            except Exception:  # one run must not stop the others
                log.exception("run %s", row["run"])
        old = [row["run"] for row in rows if row["run"] in alive and _age(row["seen_at"]) > self.caps.beat_s]
        if old:
            conn.execute("UPDATE engine_run SET seen_at = now() WHERE run = ANY(%s) AND state <> 'ended'", [old])
        if time.monotonic() - self._gauged >= self.caps.beat_s or not self._gauged:
            begun = [row for row in rows if "started" in alive.get(row["run"], ())]
            self._gauge(conn, [row for row in begun if not row["declared"]])
        self._relieve(rows, alive)
        return changed

    def _relieve(self, rows: list[dict[str, Any]], alive: dict[UUID, dict[str, Any]]) -> None:
        """Tell the shims of runs that wrote more than one may, and where the disk gets full that of the run that wrote
        the most; again, until their end is seen.

        By a signal, which needs no room on the disk. The shim of a run that began before an update would die of it,
        and says of itself nothing about what it was given.
        """
        writers = {
            row["run"]: Writer(self._place(row), me["pid"], me["given"])
            for row in rows
            if "given" in (me := alive.get(row["run"], {}))
        }
        if self.caps.most_written > 0:
            for run in self._limit.beyond(self.caps.most_written, writers):
                with suppress(OSError):  # no room for it: then the shim says that of the disk
                    (writers[run].place / "too_large").touch()
                shim.send([writers[run].pid], signal.SIGUSR2)
        if self.caps.least_free > 0:
            free = shutil.disk_usage(self.runs).free
            if chosen := self._relief.choose(free, self.caps.least_free, writers):
                shim.send([writers[chosen].pid], signal.SIGUSR2)

    def _gauge(self, conn: psycopg.Connection[Any], rows: list[dict[str, Any]]) -> None:
        """Look at the GPUs of these runs, and write down what has become a sample."""
        moment = self._gauged = time.monotonic()
        limits = {row["run"]: row["limit_s"] for row in rows}
        self._sums = {key: sums for key, sums in self._sums.items() if key[0] in limits}
        if not rows:
            return
        slots = conn.execute(
            "SELECT run, gpu, device FROM engine_slot WHERE run = ANY(%s) AND device <> ''", [list(limits)]
        ).fetchall()
        readings = self._read([device for _, _, device in slots])
        for run, gpu, device in slots:
            if device in readings:
                since, sums = self._sums.setdefault((run, gpu), (moment, gauges.Sums()))
                sums.add(readings[device])
                if moment - since >= max(self.caps.sample_s, limits[run] / MOST_SAMPLES):
                    self._sample(conn, run, gpu)

    def _sample(self, conn: psycopg.Connection[Any], run: UUID, gpu: int) -> None:
        _, sums = self._sums.pop((run, gpu))
        conn.execute(SAMPLE, [run, gpu, *sums.sample()])

    def _look_at(self, conn: psycopg.Connection[Any], row: dict[str, Any], alive: dict[UUID, dict[str, Any]]) -> int:
        """What became of a run; one whose shim lives is put into `alive`, with what the shim says of itself."""
        here = self._place(row)
        if ended := _read(here / "exit.json"):
            return self._end(conn, row, ended)
        if not (here / "shim.json").exists():
            return self._unborn(conn, row)
        me = _read(here / "shim.json")
        if me is None:
            if time.time() - (here / "shim.json").stat().st_mtime > self.caps.stale_s:
                return self._lose(conn, row, "its process never came up")
            return 0
        if me["boot"] == shim.boot_id() and shim.ticks(me["pid"]) == me["ticks"]:
            alive[row["run"]] = me
            if row["cancel_at"]:
                self._stop(row, me["pid"])
            if row["state"] == "starting" and "started" in me:
                conn.execute(
                    """UPDATE engine_run SET state = 'running', started_at = to_timestamp(%s), seen_at = now()
                       WHERE run = %s AND state = 'starting'""",
                    [me["started"], row["run"]],
                )
                return 1
            return 0
        if ended := _read(here / "exit.json"):  # it may have ended between the two looks
            return self._end(conn, row, ended)
        row["started_at"] = row["started_at"] or _instant(me.get("started"))
        return self._lose(conn, row, "its process was gone and had not said how it ended")

    def _unborn(self, conn: psycopg.Connection[Any], row: dict[str, Any]) -> int:
        """Claimed, and no shim has come up."""
        if row["state"] == "running":
            return self._lose(conn, row, "its folder is gone")
        process = self._started.get(row["run"])
        if process is None:
            return self._start(conn, row)
        if process.returncode is None or (self._place(row) / "shim.json").exists():
            return 0
        return self._refuse(conn, row, f"its process did not come up ({process.returncode})")

    def _stop(self, row: dict[str, Any], pid: int) -> None:
        """Tell the shim, again every second: it may not have listened yet."""
        if time.monotonic() - self._signalled.get(row["run"], -9.0) < 1:
            return
        self._signalled[row["run"]] = time.monotonic()
        (self._place(row) / "cancel").touch()
        shim.send([pid], signal.SIGTERM)

    # -- how a run ends ------------------------------------------------------------------------------------------

    def _end(self, conn: psycopg.Connection[Any], row: dict[str, Any], said: dict[str, Any]) -> int:
        why, code, error = said.get("why"), said.get("exit"), said.get("error") or ""
        if why in ("cancelled", "timed_out", "out_of_memory"):
            outcome = Outcome(why)
        elif why == "machine_stopped":
            outcome = Outcome.LOST
        else:
            outcome = Outcome.COMPLETED if code == 0 and not why and not error else Outcome.FAILED
        return self._write(
            conn,
            row,
            outcome,
            exit_code=code,
            reason=error or WORDS.get(why or "", ""),
            started=_instant(said.get("started")),
            ended=_instant(said.get("ended")),
            peak=said.get("peak_mb"),
            truncated=bool(said.get("log_truncated")),
        )

    def _lose(self, conn: psycopg.Connection[Any], row: dict[str, Any], reason: str) -> int:
        """Used until it was last seen."""
        ended = max(filter(None, (row["seen_at"], row["started_at"])), default=None)
        return self._write(conn, row, Outcome.LOST, reason=reason, started=row["started_at"], ended=ended)

    def _refuse(self, conn: psycopg.Connection[Any], row: dict[str, Any], reason: str) -> int:
        return self._write(conn, row, Outcome.FAILED, reason=f"could not start: {reason}")

    def _write(self, conn: psycopg.Connection[Any], row: dict[str, Any], outcome: Outcome, **facts: Any) -> int:
        blank = {"exit_code": None, "reason": "", "started": None, "ended": None, "peak": None, "truncated": False}
        with conn.transaction():
            for run, gpu in [key for key in self._sums if key[0] == row["run"]]:
                self._sample(conn, run, gpu)
            conn.execute(LOCK_ENDS, [self.machine])
            conn.execute(END, {**blank, **facts, "run": row["run"], "here": self.machine, "outcome": outcome.value})
        self._signalled.pop(row["run"], None)
        return 1

    # -- how a run starts ----------------------------------------------------------------------------------------

    def _claim(self, conn: psycopg.Connection[Any], gpu_type: str) -> dict[str, Any] | None:
        with conn.cursor(row_factory=dict_row) as cur:
            return cur.execute(CLAIM, {"here": self.machine, "type": gpu_type}).fetchone()

    def _start(self, conn: psycopg.Connection[Any], row: dict[str, Any]) -> int:
        here = self._place(row)
        try:
            if not (here / "job.json").exists():
                self._fill(conn, row, here)
            keep = {name: os.environ[name] for name in SHIM_ENVIRONMENT if name in os.environ}
            self._started[row["run"]] = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(shim.__file__)), str(here)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=keep,
                start_new_session=True,  # what stops us (Ctrl-C, a closed terminal) does not stop the jobs
            )
        except (OSError, ValueError) as error:
            log.warning("run %s could not start: %s", row["run"], error)
            return self._refuse(conn, row, _said(error))
        return 0

    def _fill(self, conn: psycopg.Connection[Any], row: dict[str, Any], here: Path) -> None:
        """The run's folder: script, files, and last job.json, which may hold secrets of the job's environment."""
        with conn.cursor(row_factory=dict_row) as cur:
            mine = [row["job"], row["attempt"]]
            found = cur.execute("SELECT spec::text FROM engine_job WHERE (job, attempt) = (%s, %s)", mine).fetchone()
            assert found
            spec = json.loads(found["spec"])
            work = here / "work"
            shutil.rmtree(here, ignore_errors=True)  # half filled by one that was killed meanwhile
            work.mkdir(parents=True, mode=0o700)
            for folder in (here, here.parent, here.parent.parent):
                folder.chmod(0o700)
            sources: list[tuple[str, str]] = []
            for file in cur.execute(FILES, mine):
                if file["content"] is None:
                    sources.append((file["path"], file["source"]))
                    continue
                target = work / file["path"]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file["content"])
            slots = cur.execute(
                "SELECT gpu, minor, device FROM engine_slot WHERE run = %s ORDER BY gpu", [row["run"]]
            ).fetchall()
        write_script(here, spec["script"])
        self._due[row["run"]] = sum(os.stat(source).st_size for _, source in sources)
        shim.put(here / "job.json", {**self._orders(row, spec, slots, here), "sources": sources})

    def _orders(
        self, row: dict[str, Any], spec: dict[str, Any], slots: list[dict[str, Any]], here: Path
    ) -> dict[str, Any]:
        """What the shim is to do, complete: it asks nobody."""
        sandboxed = not self.sandbox.probe
        if not sandboxed and not spec["trusted"]:
            raise ValueError(f"this machine runs only its operator's own jobs: {self.sandbox.probe}")
        environment = {
            "PATH": self.sandbox.path if sandboxed else self.sandbox.bare_path,
            "HOME": "/work" if sandboxed else str(here / "work"),
            "LANG": "C.UTF-8",
            "TMPDIR": "/tmp",  # noqa: S108
            "OMP_NUM_THREADS": str(spec["cpus"]),
            "CUDA_VISIBLE_DEVICES": ",".join(slot["device"] for slot in slots if slot["device"]),
            **spec["environment"],
            "MADANG_JOB": str(row["job"]),
            "MADANG_TASK": str(row["task"]),
            "MADANG_TASKS": str(spec["tasks"]),
            "MADANG_ATTEMPT": str(row["attempt"]),
            "MADANG_GPUS": str(row["gpus"]),
            "MADANG_GPU_TYPE": row["gpu_type"],
            "MADANG_SLOTS": ",".join(str(slot["gpu"]) for slot in slots),
            "MADANG_CPUS": str(spec["cpus"]),
            "MADANG_MEMORY_MB": str(spec["memory_mb"]),
            "MADANG_LIMIT_S": str(row["limit_s"]),
        }
        minors = [slot["minor"] for slot in slots if slot["minor"] is not None]
        scope: list[str] = []
        if sandboxed and self.sandbox.scope:
            scope = [*self.sandbox.scope, "-p", f"MemoryMax={spec['memory_mb']}M", "-p", "MemorySwapMax=0"]
            scope += ["-p", f"TasksMax={self.caps.processes + 8}", "--"]
        options: list[str] = []
        if sandboxed:
            options = self.sandbox.options(here, self.runs / "etc", environment, spec["memory_mb"], minors)
        return {
            "command": [SCRIPT if sandboxed else str(here / "script"), *spec["argv"]],
            "sandboxed": sandboxed,
            "options": options,
            "scope": scope,
            "calls": calls.program(counted=bool(scope)).hex() if sandboxed else "",
            "environment": environment,
            "limit_s": row["limit_s"],
            "warn_s": spec["warn_s"],
            "grace_s": self.caps.grace_s,
            "memory_mb": spec["memory_mb"],
            # Only against one huge allocation between two looks. CUDA reserves far more addresses than memory.
            "address_space": 0 if minors else (2 * spec["memory_mb"] + 4096) << 20,
            "log_bytes": self.caps.log_bytes,
            "file_bytes": self.caps.file_bytes,
            "processes": self.caps.processes,
        }

    def _place(self, row: dict[str, Any]) -> Path:
        return place(self.runs, RunKey(row["job"], row["task"], row["attempt"]))


def _said(error: Exception) -> str:
    """What went wrong, for those who submitted the job: no path of this machine is theirs to read."""
    return (isinstance(error, OSError) and error.strerror) or f"{error}"[:500]


def _read(path: Path) -> dict[str, Any] | None:
    """A file of the shim; None when it is not there or not whole."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _age(instant: datetime | None) -> float:
    return 1e9 if instant is None else (datetime.now(UTC) - instant).total_seconds()
