"""Ended runs: what the accounting says, whose each is, and each written down once, in the order of finding. One of
which the accounting later says otherwise is written anew at the end of that order."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

import psycopg
from psycopg.rows import dict_row

from madang.engines.base import Outcome, RunKey, UsageRow
from madang.engines.slurm import answers
from madang.engines.slurm.answers import Ended, Owner, moment
from madang.engines.slurm.clocks import IN_STEP, Clocks
from madang.engines.slurm.commands import Commands
from madang.engines.slurm.handing import Marks, marks

NEAR_S = 30  # each question goes back so far behind the last one
BACK_S = 3600  # and one in every half minute so far, as the accounting may hear late of ends
BACK_EVERY_S = 30
FAR_S = 3 * 86_400  # and once a day so far: the accounting may change its mind
FIRST_S = 40 * 86_400  # and the first one so far
NO_MARKS = Marks(None, None, None, None)
KILLED = (None, 128 + signal.SIGTERM, 128 + signal.SIGKILL)  # the exit codes of who didn't come to its own end
MOST_SENDS = 10  # a job that no controller manages to start is not tried for ever
SLACK_S = 60  # between what two of the cluster's daemons say of one instant
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('madang slurm runs ' || %s, 0))"
COLUMNS: Final = {
    **dict.fromkeys(("cluster", "run", "outcome", "said", "account", "budget", "posix_user", "machine"), "text"),
    **dict.fromkeys(("gpu_type", "reason"), "text"),
    **dict.fromkeys(("task", "attempt", "restart", "gpus", "exit_code"), "int"),
    **dict.fromkeys(("slurm_id", "gpu_seconds", "counted_seconds"), "bigint"),
    **dict.fromkeys(("bare", "declared", "goes_on"), "bool"),
    **dict.fromkeys(("submitted_at", "started_at", "ended_at", "marked_at"), "timestamptz"),
    "job": "uuid",
}
SAME: Final = (
    *("account", "budget", "machine", "gpu_type", "gpus", "declared", "submitted_at", "started_at", "ended_at"),
    *("gpu_seconds", "exit_code", "reason", "goes_on", "posix_user", "bare", "marked_at"),
)
INSERT: Final = f"""
INSERT INTO slurm_run (seq, {", ".join(COLUMNS)})
SELECT (SELECT coalesce(max(seq), 0) FROM slurm_run WHERE cluster = %s) + n, {", ".join(COLUMNS)}
FROM unnest({", ".join(f"%s::{kind}[]" for kind in COLUMNS.values())})
  WITH ORDINALITY AS s({", ".join(COLUMNS)}, n)
ON CONFLICT DO NOTHING
"""  # noqa: S608


@dataclass(frozen=True)
class Send:
    """One call of sbatch, and whose job it was for."""

    job: UUID
    attempt: int
    send: int
    slurm_id: int | None
    submit: int | None
    sent_at: datetime
    user: str
    account: str
    budget: str
    partition: str
    gpu_type: str
    gpus: int
    tasks: int
    requeue: bool

    @property
    def comment(self) -> str:
        return f"madang:{self.job}.{self.attempt}.{self.send}"


def sends(
    conn: psycopg.Connection[Any], cluster: str, *, job: UUID | None = None, attempt: int | None = None
) -> list[Send]:
    """The submissions of jobs that haven't ended, or of one job, oldest first."""
    with conn.transaction(), conn.cursor(row_factory=dict_row) as cur:
        cur.execute(
            """SELECT s.*, j.spec FROM slurm_send s JOIN slurm_job j USING (job, attempt)
               WHERE j.cluster = %(cluster)s
                 AND ((%(job)s::uuid IS NULL AND j.open) OR j.job = %(job)s)
                 AND (%(attempt)s::int IS NULL OR j.attempt = %(attempt)s)
               ORDER BY s.sent_at, s.send""",
            {"cluster": cluster, "job": job, "attempt": attempt},
        )
        return [_send(row) for row in cur]


def _send(row: dict[str, Any]) -> Send:
    spec = row["spec"]
    return Send(
        **{name: row[name] for name in ("job", "attempt", "send", "slurm_id", "submit", "sent_at")},
        user=spec["posix_user"],
        account=spec["account"],
        budget=spec["budget"],
        partition=spec["partition"],
        gpu_type=spec["gpu_type"],
        gpus=spec["nodes"] * spec["gpus_per_node"],
        tasks=spec["tasks"],
        requeue=spec["requeue"],
    )


class Known:
    """Submissions by Slurm's id, so that a queue costs no more than its length. Those without one go with all."""

    def __init__(self, sends: Sequence[Send], clocks: Clocks = IN_STEP) -> None:
        self.clocks = clocks
        self._of: dict[int | None, list[tuple[int, Send]]] = {}
        for place, send in enumerate(sends):
            self._of.setdefault(send.slurm_id, []).append((place, send))

    def owned(self, owner: Owner) -> Send | None:
        """See `owned`."""
        near = [*self._of.get(owner.slurm_id, ()), *self._of.get(None, ())]
        return owned(owner, [send for _place, send in sorted(near, key=lambda one: one[0])], self.clocks)


def owned(owner: Owner, known: Sequence[Send], clocks: Clocks = IN_STEP) -> Send | None:
    """The submission that made this job, if one of ours did.

    The comment is its owner's to change, and ids are given out again. So an id needs the comment or the second that go
    with it, and a comment alone counts only where no id is known and user, account, budget and partition are ours.
    """
    found = None
    for send in known:
        if send.user != owner.user:
            continue
        if send.slurm_id == owner.slurm_id:
            said = owner.comment == send.comment or owner.submit == send.submit
            late = owner.submit - send.sent_at.timestamp() - clocks.asked
            near = send.submit is None and -SLACK_S <= late <= SLACK_S
            if said or (near and not owner.comment.startswith("madang:")):
                found = send
        elif send.slurm_id is None and owner.comment == send.comment:
            where = (owner.account, owner.budget, owner.partition)
            if where == (send.account, send.budget, send.partition):
                found = send
    return found


def ask(commands: Commands, since: int, *more: str) -> list[Ended]:
    """What ended since then by the controller's clock, all users', restarts included."""
    own = commands.controllers
    return [row for said in _said(commands, since, *more) if (row := answers.ended(said, own))]


def _said(commands: Commands, since: int, *more: str) -> list[list[str]]:
    # An end within the next day, too: "now" is ours, and the controller's may be later.
    return commands.rows(
        *("sacct", "-a", "-X", "-D", "-S", _day(since), "-E", "now+1days", *more),
        fields=answers.ENDED_FIELDS,
    )


def _mark(row: Sequence[str]) -> bytes:
    return blake2b("\0".join(row).encode(errors="replace"), digest_size=16).digest()


def _never(commands: Commands) -> list[Ended]:
    """Tasks of arrays that were cancelled while they waited. The accounting of 22.05 never reports these; the
    controller does, for as long as it remembers them. Where none of an array was ever looked at it names no tasks:
    then these are none, and `_whole` knows them."""
    found = []
    for row in commands.rows("squeue", "-a", "-t", "CANCELLED", fields=answers.LIVE_FIELDS):
        live = answers.live(row)
        if not live.nodes:
            found.append(
                Ended(
                    owner=live.owner,
                    own_id=live.own_id,
                    index=f"never/{live.own_id}",
                    tasks=live.tasks if row[2][:1].isdigit() else (),
                    state="CANCELLED",
                    start=None,
                    end=live.end or live.owner.submit,
                    elapsed_s=0,
                    exit_code=0,
                    limit_s=live.limit_s,
                    gpus=live.gpus,
                    gpu_type=live.gpu_type,
                    nodes="",
                    by_controller=False,
                )
            )
    return found


def _day(seconds: int) -> str:
    """An instant as sacct reads it: its time zone is ours to say."""
    return moment(max(0, seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def bare_job(run: str) -> UUID:
    """A name for a job that was never ours."""
    return uuid5(NAMESPACE_URL, f"slurm:{run}")


@dataclass
class Heard:
    """What whoever asks again and again keeps in mind. `settled`: the marks of rows that were found written down, word
    for word the same, so that they aren't read again; `back_at`: when it last asked so far back."""

    settled: set[bytes] = field(default_factory=set)
    back_at: float = float("-inf")


def collect(
    conn: psycopg.Connection[Any],
    commands: Commands,
    cluster: str,
    runs: Path,
    heard: Heard | None = None,
    clocks: Clocks = IN_STEP,
) -> int:
    """Ask the accounting and write down what ended since the last time. How many rows were new. `heard` is brought up
    to date."""
    heard = heard or Heard()
    with conn.transaction():
        row = conn.execute(
            """SELECT floor(extract(epoch FROM now()))::bigint,
                 (SELECT floor(extract(epoch FROM asked_at))::bigint FROM slurm_cluster WHERE cluster = %(cluster)s),
                 (SELECT far_at < now() - interval '1 day' FROM slurm_cluster WHERE cluster = %(cluster)s)""",
            {"cluster": cluster},
        ).fetchone()
    assert row
    asked, before, far = row
    begun = time.monotonic()
    near = bool(before) and not far and begun - heard.back_at < BACK_EVERY_S
    since = before - (NEAR_S if near else FAR_S if far else BACK_S) if before else asked - FIRST_S
    told = {_mark(row): row for row in _said(commands, since + int(clocks.asked))}
    own = commands.controllers
    news = {mark: row for mark, said in told.items() if mark not in heard.settled and (row := answers.ended(said, own))}
    never = _never(commands)
    rows = [*news.values(), *(row for row in never if row.tasks)]
    with conn.transaction():
        conn.execute(LOCK, [cluster])
        known = {
            run: said
            for run, *said in conn.execute(
                """SELECT run, said, extract(epoch FROM ended_at)::bigint, counted_seconds
                   FROM unnest(%s::text[]) AS asked(run) JOIN slurm_run USING (run) WHERE cluster = %s""",
                [[_name(cluster, row, row.tasks[0]) for row in rows], cluster],
            )
        }
        fresh, changed = [], []
        for row in rows:
            name = _name(cluster, row, row.tasks[0])
            if name not in known:
                fresh.append(row)
            elif len(row.tasks) == 1 and known[name] != _what(row):
                changed.append(row)
        mine = Known(_sends_of(conn, cluster, [*fresh, *changed]) if fresh or changed else [], clocks)
        for row in changed:
            _rewrite(conn, cluster, row, mine.owned(row.owner), runs, clocks)
        fresh.sort(key=lambda row: (row.owner.submit, row.end, row.own_id))
        new = _write(conn, cluster, [(row, mine.owned(row.owner)) for row in fresh], runs, clocks)
        whole = _whole(conn, cluster, [row for row in never if not row.tasks], runs, clocks)
        new += _write(conn, cluster, whole, runs, clocks)
        conn.execute(
            """INSERT INTO slurm_cluster VALUES (%s, to_timestamp(%s), now()) ON CONFLICT (cluster)
               DO UPDATE SET asked_at = greatest(slurm_cluster.asked_at, EXCLUDED.asked_at),
                 far_at = CASE WHEN %s THEN EXCLUDED.far_at ELSE slurm_cluster.far_at END""",
            [cluster, asked, bool(far)],
        )
        if new:
            conn.execute(
                """UPDATE slurm_job j SET open = false WHERE cluster = %s AND open AND (spec->>'tasks')::int <=
                     (SELECT count(DISTINCT task) FROM slurm_run r
                      WHERE (r.job, r.attempt) = (j.job, j.attempt) AND NOT r.goes_on)""",
                [cluster],
            )
    same = {mark for mark, row in news.items() if known.get(_name(cluster, row, row.tasks[0])) == _what(row)}
    if not near:
        heard.settled.intersection_update(told)
        heard.back_at = begun
    heard.settled |= same
    return new


def _whole(
    conn: psycopg.Connection[Any], cluster: str, rows: Sequence[Ended], runs: Path, clocks: Clocks
) -> list[tuple[Ended, Send | None]]:
    """Our arrays among these, with the tasks that have neither ended nor left a sign of having started. Who has only
    one task, or started, is in the accounting."""
    ours = {send.slurm_id: send for send in (sends(conn, cluster) if rows else ()) if send.tasks > 1}
    found: list[tuple[Ended, Send | None]] = []
    for row in rows:
        send = ours.get(row.owner.slurm_id)
        if send is None or owned(row.owner, [send], clocks) is None:
            continue
        over = final_tasks(conn, send.job, send.attempt)
        waited = [task for task in range(send.tasks) if task not in over]
        quiet = tuple(t for t in waited if marks(runs, RunKey(send.job, t, send.attempt), send.send).started is None)
        if quiet:
            found.append((replace(row, tasks=quiet), send))
    return found


def _what(row: Ended) -> list[Any]:
    """What may change of a run that was written down."""
    return [row.state, row.end, row.counted_s]


def _sends_of(conn: psycopg.Connection[Any], cluster: str, rows: Sequence[Ended]) -> list[Send]:
    jobs = {UUID(found[1]) for row in rows if (found := MARK.match(row.owner.comment))}
    with conn.cursor(row_factory=dict_row) as cur:
        cur.execute(
            """SELECT s.*, j.spec FROM slurm_send s JOIN slurm_job j USING (job, attempt)
               WHERE j.cluster = %s AND (s.slurm_id = ANY(%s) OR s.job = ANY(%s)) ORDER BY s.sent_at, s.send""",
            [cluster, [row.owner.slurm_id for row in rows], list(jobs)],
        )
        return [_send(row) for row in cur]


MARK = re.compile(r"madang:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.\d+\.\d+")


def _name(cluster: str, row: Ended, task: int) -> str:
    """The name of a run for ever. The row of an array that never started stands for many."""
    return f"{cluster}/{row.index}/{row.owner.submit}" + (f"/{task}" if len(row.tasks) > 1 else "")


def _rewrite(
    conn: psycopg.Connection[Any], cluster: str, row: Ended, send: Send | None, runs: Path, clocks: Clocks
) -> None:
    """The accounting says otherwise of a run than before (an end that it had missed, a runaway job that was mended)."""
    name = _name(cluster, row, row.tasks[0])
    key = RunKey(send.job, row.tasks[0], send.attempt) if send else RunKey(bare_job(name))
    left = marks(runs, key, send.send, clocks) if send else NO_MARKS
    conn.execute(
        """UPDATE slurm_run SET outcome = %(outcome)s, said = %(said)s, ended_at = %(ended_at)s, reason = %(reason)s,
             counted_seconds = %(counted_seconds)s, started_at = %(started_at)s, gpu_seconds = %(gpu_seconds)s,
             exit_code = %(exit_code)s, marked_at = %(marked_at)s,
             seq = (SELECT max(seq) + 1 FROM slurm_run WHERE cluster = %(cluster)s)
           WHERE (cluster, run) = (%(cluster)s, %(run)s)""",
        _run(cluster, name, key, row, send, left, (0, False)),
    )


def _write(
    conn: psycopg.Connection[Any],
    cluster: str,
    rows: Sequence[tuple[Ended, Send | None]],
    runs: Path,
    clocks: Clocks,
) -> int:
    """Write these runs down, in one statement but for what was lost. How many were new."""
    past = _past(conn, [send for _row, send in rows if send])
    made: dict[str, dict[str, Any]] = {}
    new = 0
    for row, send in rows:
        for task in row.tasks:
            name = _name(cluster, row, task)
            if name in made:
                continue
            key = RunKey(send.job, task, send.attempt) if send else RunKey(bare_job(name))
            # Nothing to ask the marks about.
            plain = row.started and (row.state, row.exit_code) == ("COMPLETED", 0) and row.elapsed_s <= SLACK_S
            left = marks(runs, key, send.send, clocks) if send and not plain else NO_MARKS
            # The wrapper of a second copy, or of what was given up; or the controller gave the second copy up.
            second = (row.exit_code == 75 and left.exit_code != 75) or (row.given_up and _began_before(row, left))
            unknown = (
                not row.started and left.started is not None
            )  # a controller that forgot it could not start it again
            if send and (second or unknown):
                if left.started is not None and (left.ended is not None or not left.fresh):
                    new += _insert(conn, cluster, made)
                    made = {}
                    lose(conn, cluster, send, task, left, goes_on=False)
                    new += 1
                    past |= _past(conn, [send])
                continue
            before = past.get(key, (0, False))
            fact = _run(cluster, name, key, row, send, left, before)
            if fact is not None:
                made[name] = fact
                past[key] = (before[0] + 1, before[1] or not fact["goes_on"])
    return new + _insert(conn, cluster, made)


def _past(conn: psycopg.Connection[Any], sends: Sequence[Send]) -> dict[RunKey, tuple[int, bool]]:
    """Of the tasks of these submissions: how many runs each has had, and whether one of them was its last."""
    if not sends:
        return {}
    rows = conn.execute(
        """SELECT job, task, attempt, count(*), bool_or(NOT goes_on) FROM slurm_run
           WHERE job = ANY(%s) GROUP BY job, task, attempt""",
        [list({send.job for send in sends})],
    )
    return {RunKey(job, task, attempt): (count, final) for job, task, attempt, count, final in rows}


def _insert(conn: psycopg.Connection[Any], cluster: str, made: Mapping[str, Mapping[str, Any]]) -> int:
    """Write down those that nobody has written down yet. How many those were."""
    if not made:
        return 0
    columns = [[fact[name] for fact in made.values()] for name in COLUMNS]
    return conn.execute(INSERT, [cluster, *columns]).rowcount


def _run(
    cluster: str, name: str, key: RunKey, row: Ended, send: Send | None, left: Marks, before: tuple[int, bool]
) -> dict[str, Any] | None:
    """What is written down of a run; None where both the controller and the accounting tell of what never started."""
    outcome, code = answers.OUTCOMES[row.state], row.exit_code
    if row.state == "FAILED" and left.exit_code == code + 128:
        code += 128  # sacct takes 128 off: 11 may be 139
    if (early := _ended_before(row, left)) is not None:
        # The controller missed its end, and waited for the limit or found its node without it. How it ended is the
        # wrapper's to say; how long it took stays Slurm's.
        outcome, code = Outcome.FAILED if early else Outcome.COMPLETED, early
    gpus, gpu_type = row.gpus, row.gpu_type
    if send and not gpus:
        gpus, gpu_type = send.gpus, send.gpu_type
    given_up = row.given_up and send and send.send < MOST_SENDS and left.started is None
    started = row.start if row.started and not given_up else None
    count, final = before
    if send and started is None and final:
        return None
    return {
        "cluster": cluster,
        "run": name,
        "job": key.job,
        "task": key.task,
        "attempt": key.attempt,
        "restart": count if send else 0,
        "bare": send is None,
        "slurm_id": row.own_id,
        "outcome": outcome.value,
        "said": row.state,
        "account": row.owner.account,
        "budget": row.owner.budget,
        "posix_user": row.owner.user,
        "machine": row.nodes,
        "gpu_type": gpu_type or "cpu",
        "gpus": gpus,
        "declared": (gpu_type or "cpu") == "cpu",
        "submitted_at": moment(row.owner.submit),
        "started_at": moment(started) if started is not None else None,
        "ended_at": moment(row.end),
        "gpu_seconds": 0 if given_up else row.billed_s * gpus,
        "counted_seconds": row.counted_s,
        "exit_code": None if started is None else code,
        "reason": "" if outcome in (Outcome.COMPLETED, Outcome.FAILED) else row.state,
        "marked_at": _marked(row, left) if started is not None else None,
        "goes_on": bool(given_up or (send and send.requeue and row.state in answers.AGAIN)),
    }


def _ended_before(row: Ended, left: Marks) -> int | None:
    """The exit code of a run that had ended before Slurm ended it; None of one that was stopped, or killed."""
    if left.ended is None:
        return None
    if row.state == "TIMEOUT":
        due = (row.start or 0) + row.limit_s - SLACK_S / 2
        return left.exit_code if row.limit_s and left.ended < due else None
    if row.state == "CANCELLED" and row.by_controller and left.ended < row.end:
        return None if left.exit_code in KILLED else left.exit_code
    return None


def _marked(row: Ended, left: Marks) -> datetime | None:
    """When a run ended by its marks, where it was billed for over a minute beyond that: nobody heard of its end."""
    if left.ended is None or left.ended < (row.start or 0):
        return None
    return moment(left.ended) if (row.start or 0) + row.billed_s - left.ended > SLACK_S else None


def _began_before(row: Ended, left: Marks) -> bool:
    return left.started is not None and row.start is not None and left.started < row.start


def lose(conn: psycopg.Connection[Any], cluster: str, send: Send, task: int, left: Marks, *, goes_on: bool) -> bool:
    """Write down a run that Slurm has forgotten and that gives no sign of life: as long as its marks say, and with the
    end that they say. Without one it is lost, and so is one that was killed: a controller kills what it doesn't know.
    Whether it is lost."""
    start, end = left.started or 0, max(left.started or 0, left.ended or left.alive or 0)
    killed = left.exit_code in KILLED
    outcome = Outcome.LOST if killed else Outcome.FAILED if left.exit_code else Outcome.COMPLETED
    goes_on = goes_on and outcome is Outcome.LOST
    with conn.transaction():
        conn.execute(LOCK, [cluster])
        restart = conn.execute(
            "SELECT count(*) FROM slurm_run WHERE (job, task, attempt) = (%s, %s, %s)", [send.job, task, send.attempt]
        ).fetchone()
        assert restart
        fact = {
            "cluster": cluster,
            "run": f"{cluster}/lost/{send.job}/{task}/{send.attempt}/{send.send}",
            "job": send.job,
            "task": task,
            "attempt": send.attempt,
            "restart": restart[0],
            "bare": False,
            "slurm_id": send.slurm_id,
            "outcome": outcome.value,
            "said": "",
            "account": send.account,
            "budget": send.budget,
            "posix_user": send.user,
            "machine": "",
            "gpu_type": send.gpu_type,
            "gpus": send.gpus,
            "declared": send.gpu_type == "cpu",
            "submitted_at": send.sent_at,
            "started_at": moment(start),
            "ended_at": moment(end),
            "gpu_seconds": send.gpus * (end - start),
            "counted_seconds": 0,
            "exit_code": left.exit_code,
            "reason": "forgotten by Slurm",
            "marked_at": None,
            "goes_on": goes_on,
        }
        _insert(conn, cluster, {fact["run"]: fact})
        conn.execute(
            """UPDATE slurm_job j SET open = false WHERE (job, attempt) = (%s, %s) AND (spec->>'tasks')::int <=
                 (SELECT count(DISTINCT task) FROM slurm_run r
                  WHERE (r.job, r.attempt) = (j.job, j.attempt) AND NOT r.goes_on)""",
            [send.job, send.attempt],
        )
    return outcome is Outcome.LOST


def given_up(conn: psycopg.Connection[Any], cluster: str, send: Send, clocks: Clocks) -> list[int]:
    """The tasks of a submission that the controller gave up before they started."""
    since = send.submit or int(send.sent_at.timestamp() + clocks.asked) - SLACK_S
    rows = conn.execute(
        """SELECT task FROM slurm_run WHERE (job, attempt, cluster) = (%s, %s, %s) AND outcome = %s AND goes_on
             AND started_at IS NULL AND submitted_at >= %s ORDER BY task""",
        [send.job, send.attempt, cluster, Outcome.CANCELLED.value, moment(since)],
    )
    return [task for (task,) in rows]


def final_tasks(conn: psycopg.Connection[Any], job: UUID, attempt: int) -> set[int]:
    rows = conn.execute("SELECT task FROM slurm_run WHERE (job, attempt) = (%s, %s) AND NOT goes_on", [job, attempt])
    return {task for (task,) in rows}


def counts(conn: psycopg.Connection[Any], cluster: str) -> dict[tuple[UUID, int, int], tuple[int, bool]]:
    """Of the runs of jobs that live or ended lately: how many there were, and whether the last was the last."""
    with conn.transaction():
        rows = conn.execute(
            """SELECT job, task, attempt, count(*), bool_or(NOT goes_on) FROM slurm_run r
               WHERE cluster = %s AND (job, attempt) IN (SELECT job, attempt FROM slurm_job WHERE cluster = %s AND open)
               GROUP BY job, task, attempt""",
            [cluster, cluster],
        ).fetchall()
    return {(job, task, attempt): (count, final) for job, task, attempt, count, final in rows}


def counted(conn: psycopg.Connection[Any], cluster: str) -> dict[str, int]:
    """GPU-seconds by budget, as Slurm counts them."""
    with conn.transaction():
        rows = conn.execute(
            "SELECT budget, sum(counted_seconds)::bigint FROM slurm_run WHERE cluster = %s GROUP BY budget", [cluster]
        ).fetchall()
    return dict(rows)


def lag(conn: psycopg.Connection[Any], cluster: str) -> float | None:
    """Seconds since the accounting last answered; None if it never has."""
    with conn.transaction():
        row = conn.execute(
            """SELECT extract(epoch FROM clock_timestamp() - asked_at)::float8 FROM slurm_cluster
               WHERE cluster = %s""",
            [cluster],
        ).fetchone()
    return row[0] if row else None


def page(conn: psycopg.Connection[Any], cluster: str, after: int, size: int) -> list[tuple[int, UsageRow]]:
    with conn.transaction(), conn.cursor(row_factory=dict_row) as cur:
        cur.execute(
            "SELECT * FROM slurm_run WHERE cluster = %s AND seq > %s ORDER BY seq LIMIT %s", [cluster, after, size]
        )
        return [(row["seq"], _usage(row)) for row in cur]


def _usage(row: dict[str, Any]) -> UsageRow:
    return UsageRow(
        key=RunKey(row["job"], row["task"], row["attempt"], row["restart"]),
        outcome=Outcome(row["outcome"]),
        engine_run=row["run"],
        engine_id=str(row["slurm_id"] or ""),
        **{name: row[name] for name in SAME},
    )
