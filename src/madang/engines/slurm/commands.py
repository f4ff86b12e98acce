"""Slurm by its command line: every call is an argument list with a clean environment, every answer is parsed by place.

Jobs and their owners write into what is read here, so a field separator is drawn anew for every call and the fields
that people fill with text come last.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from madang.engines.base import Rejected, Unavailable

READ_S = 20.0  # seconds that a question may take
PAUSE_S = 5.0  # seconds that nothing is asked after a cluster didn't answer
ACCOUNTING = ("sacct", "sacctmgr")  # what slurmdbd answers, not the controller
LEAST_UID = 10_000  # below it are the accounts of the system and of its operators
PATH = "/usr/local/bin:/usr/bin:/bin"


class Unclear(Unavailable):
    """A command may or may not have done its work."""


class Breaker:
    """Closed while the cluster answers; after it didn't, everybody is told so at once instead of waiting in line."""

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        self.pause_s = pause_s
        self._until, self._why, self._lock = 0.0, "", threading.Lock()

    def check(self) -> None:
        with self._lock:
            if time.monotonic() < self._until:
                raise Unavailable("no_answer", f"the cluster did not answer a moment ago: {self._why}")

    def open(self, why: str) -> None:
        with self._lock:
            self._until, self._why = time.monotonic() + self.pause_s, why

    def close(self) -> None:
        with self._lock:
            self._until = 0.0


class Commands:
    """The commands of one cluster, which `conf` (its slurm.conf) names. Only root can act for other users.

    The accounting has a breaker of its own: while it is silent, the controller still says what lives.
    """

    def __init__(self, conf: Path, *, breaker: Breaker | None = None, least_uid: int = LEAST_UID) -> None:
        self.conf, self.breaker, self.least_uid = Path(conf), breaker or Breaker(), least_uid
        self.accounting = Breaker(self.breaker.pause_s)

    def breaker_of(self, command: str) -> Breaker:
        return self.accounting if command in ACCOUNTING else self.breaker

    @cached_property
    def controllers(self) -> frozenset[str]:
        """The ids of users as which the controller acts by itself, as sacct writes them ("CANCELLED by 64030")."""
        own = {"", "0"}
        with suppress(OSError, KeyError):
            if said := re.search(r"(?im)^\s*SlurmUser\s*=\s*(\S+)", self.conf.read_text(errors="replace")):
                own.add(said[1] if said[1].isdigit() else str(pwd.getpwnam(said[1]).pw_uid))
        return frozenset(own)

    def environment(self, user: str = "") -> dict[str, str]:
        """All that a command is given: sbatch would copy the rest of ours into the job."""
        entry = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
        return {
            "PATH": PATH,
            "HOME": entry.pw_dir,
            "USER": entry.pw_name,
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "SLURM_CONF": str(self.conf),
            "SLURM_TIME_FORMAT": "%s",
            "SLURM_BITSTR_LEN": "0",  # the tasks of a waiting array are written out, however many
        }

    def read(self, *command: str, stdin: str = "") -> str:
        """The answer to a question. Raises Unavailable when there is none within 20 s, or a wrong one."""
        breaker = self.breaker_of(command[0])
        breaker.check()
        try:
            done = subprocess.run(
                command,
                env=self.environment(),
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=READ_S,
                cwd="/",
            )
        except subprocess.TimeoutExpired as late:
            breaker.open(f"{command[0]} took longer than {READ_S:.0f} s")
            raise Unavailable("no_answer", f"{command[0]} did not answer within {READ_S:.0f} s") from late
        except FileNotFoundError as lacking:
            raise Unavailable("no_slurm", f"{command[0]} is not installed here") from lacking
        if done.returncode:
            why = _last(done.stderr)
            breaker.open(why)
            raise Unavailable("no_answer", f"{command[0]}: {why}")
        breaker.close()
        return done.stdout

    def rows(self, *command: str, fields: Sequence[str]) -> list[list[str]]:
        """What sacct or squeue says of these fields, row by row. The last field may hold any text, also line ends."""
        mark = f"@{secrets.token_hex(8)}@"
        if command[0] == "sacct":
            more = [f"--delimiter={mark}", "-n", "-P", "--format=" + ",".join([*fields[:-1], "Cluster", fields[-1]])]
            return [[*row[:-2], row[-1]] for row in _records(self.read(*command, *more), mark, len(fields) + 1)]
        # A row of squeue begins and ends with the mark, so that no text inside it can end it or begin another.
        said = self.read(*command, "-h", "-o", mark + mark.join(fields) + mark)
        parts = said.split(mark)
        return [parts[at : at + len(fields)] for at in range(1, len(parts) - len(fields) + 1, len(fields) + 1)]

    def write(self, *command: str) -> str:
        """Change the accounting or the controller. No time limit: a change that is killed is rolled back for minutes,
        and meanwhile the controller can't start. What it says where it fails: "Nothing new added" and the like are for
        whoever observes again."""
        breaker = self.breaker_of(command[0])
        breaker.check()
        done = subprocess.run(
            command,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd="/",
        )
        said = done.stderr + done.stdout
        if done.returncode and re.search(r"[Cc]onnection refused|[Uu]nable to contact|slurm_persist_conn", said):
            breaker.open(_last(said))
            raise Unavailable("no_answer", f"{command[0]}: {_last(said)}")
        return _last(said) if done.returncode else ""

    def as_user(self, user: str, command: Sequence[str], *, stdin: str = "") -> str:
        """Run sbatch or scancel as its owner. Raises Rejected where Slurm says a plain no, and Unclear where nobody can
        know what it did."""
        self.breaker.check()
        try:
            done = subprocess.run(
                [*self._become(user), *command],
                env=self.environment(user),
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=READ_S * 3,
                cwd="/",
            )
        except subprocess.TimeoutExpired as late:
            raise Unclear("no_answer", f"{command[0]} did not end") from late
        except FileNotFoundError as lacking:
            raise Unavailable("no_slurm", f"{command[0]} is not installed here") from lacking
        if done.returncode:
            reason = refusal(done.stderr)
            if reason:
                raise Rejected("refused", reason)
            self.breaker.open(_last(done.stderr))
            raise Unclear("no_answer", f"{command[0]}: {_last(done.stderr)}")
        self.breaker.close()
        return done.stdout

    def _become(self, user: str) -> list[str]:
        entry = self.account(user)
        # Who dies leaves no command behind that submits later.
        switch = ["setpriv", "--pdeathsig=KILL"]
        if os.geteuid() == 0:
            switch += [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--init-groups"]
        return [*switch, "--"]

    def account(self, user: str) -> pwd.struct_passwd:
        """The account of a user that work may be done for. Raises Rejected."""
        try:
            entry = pwd.getpwnam(user)
        except KeyError as unknown:
            raise Rejected("no_user", f"posix_user: there is no user {user} here", "posix_user") from unknown
        me = os.geteuid()
        if entry.pw_uid != me and (me != 0 or entry.pw_uid < self.least_uid):
            raise Rejected("no_user", f"posix_user: nothing runs as {user} here", "posix_user")
        if entry.pw_uid == 0:
            raise Rejected("no_user", "posix_user: nothing runs as root", "posix_user")
        return entry


# What Slurm says when it will never take a job as it is. Everything else may be a moment's trouble.
NEVER = (
    "Invalid account or account/partition combination",
    "Invalid qos specification",
    "invalid partition specified",
    "Invalid partition name",
    "Requested node configuration is not available",
    "Requested partition configuration not available",
    "Node count specification invalid",
    "Requested time limit is invalid",
    "Job violates accounting/QOS policy",
    "Invalid generic resource (gres) specification",
    "Invalid job array specification",
    "Memory required by task is not available",
    "More processors requested than permitted",
    "CPU count per node can not be satisfied",
    "User's group not permitted to use this partition",
    "Pathname of a file, directory or other parameter too long",
    "Access/permission denied",
)


def refusal(said: str) -> str:
    """Slurm's reason in one line where it says no for good, else an empty text."""
    if not any(phrase in said for phrase in NEVER):
        return ""
    lines = [line.removeprefix("sbatch: error: ") for line in said.splitlines() if line.startswith("sbatch: error: ")]
    return ": ".join(line.removeprefix("Batch job submission failed: ") for line in lines)[:300]


def _records(said: str, mark: str, width: int) -> list[list[str]]:
    """sacct -P ends its rows with a line end and no mark. The field before the last is the cluster's name, a word: so
    the text of the last field reaches to the line end before the next row's first mark."""
    parts = said.split(mark)
    found: list[list[str]] = []
    row: list[str] = []
    for at, part in enumerate(parts):
        if len(row) == width - 1:
            if at == len(parts) - 1:
                found.append([*row, part.removesuffix("\n")])
                row = []
                break
            text, _newline, first = part.rpartition("\n")
            found.append([*row, text])
            row = [first]
        else:
            row.append(part)
    return found


def _last(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1][:300] if lines else "no word of why"
