"""What a run finds on the disk: the folders of a job, and the marks that its wrapper leaves."""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from madang.engines.base import DOOR, JobSpec, Missing, Rejected, RunKey
from madang.engines.local.folders import FOLDER, LAST_MOMENT, MAX_LOG_READ, RunFolders, place
from madang.engines.slurm.clocks import IN_STEP, Clocks

WRAPPER = Path(__file__).parent / "wrapper.sh"
TOKEN = re.compile(r"[A-Za-z0-9_-]{20,100}")
NUMBER = re.compile(r"[0-9]{1,3}")  # an exit code, or how often Slurm restarted a job
DEAD_S = 90.0  # a run whose wrapper gave no sign for so long is not there any more


def wrapper(spec: JobSpec, attempt: int, send: int, runs: Path, path: str) -> str:
    """The text that sbatch is given: no word of the user is in it."""
    said = {
        "folder": str(runs / str(spec.job)),
        "job": str(spec.job),
        "attempt": str(attempt),
        "send": str(send),
        "tasks": str(spec.tasks),
        "gpus": str(spec.gpus_per_node),
        "gpu_type": spec.gpu_type,
        "cpus": str(spec.cpus),
        "memory": str(spec.memory_mb),
        "limit": str(spec.limit_s),
        "path": path,
    }
    head = "\n".join(f"{name}={shlex.quote(value)}" for name, value in said.items())
    return f"#!/bin/bash\n{head}\n{WRAPPER.read_text()}"


def given(runs: Path, spec: JobSpec, attempt: int) -> Path:
    return runs / str(spec.job) / f"given.{attempt}"


def prepare(runs: Path, spec: JobSpec, attempt: int, send: int, owner: pwd.struct_passwd) -> None:
    """Write what the run needs, and last the number of the submission: an older one that starts later ends at once.

    The folder of the job is ours, so that its owner can't put a link where we read; the folder of a run is theirs.
    """
    top = runs / str(spec.job)
    top.mkdir(parents=True, exist_ok=True)
    top.chmod(0o711)
    folder = given(runs, spec, attempt)
    if not (folder / "send").exists():
        fresh = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        (fresh / "files").mkdir()
        (fresh / "script").write_text(spec.script)
        (fresh / "script").chmod(0o755)
        (fresh / "arguments").write_bytes(_zeros(spec.argv))
        (fresh / "environment").write_bytes(_zeros(f"{name}={value}" for name, value in spec.environment.items()))
        for file in spec.files:
            path = fresh / "files" / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if file.source is not None:
                try:
                    shutil.copyfile(file.source, path)
                except OSError as error:
                    raise Rejected("no_source", f"could not start: {file.path}: {error.strerror}", "files") from error
            else:
                path.write_bytes(file.content or b"")
        for task in range(spec.tasks):
            run = place(runs, RunKey(spec.job, task, attempt))
            run.parent.mkdir(exist_ok=True)
            run.parent.chmod(0o711)
            run.mkdir(exist_ok=True)
            run.chmod(0o700)
            _own(run, owner)
        # From the inside out, and closed to its owner until the end: where they can write, a link could turn a path
        # that is given to them into any other.
        for path in sorted(fresh.rglob("*"), reverse=True):
            _own(path, owner)
        _own(fresh, owner)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.replace(folder)
    mark = folder.with_name(f"{folder.name}.send")
    mark.write_text(str(send))
    _own(mark, owner)
    with mark.open("rb") as written:
        os.fsync(written.fileno())
    mark.replace(folder / "send")


def _zeros(values: Iterable[str]) -> bytes:
    return b"".join(value.encode() + b"\0" for value in values)


def _own(path: Path, owner: pwd.struct_passwd) -> None:
    if os.geteuid() == 0:
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


@dataclass(frozen=True)
class Marks:
    """What the wrapper of a submission left: seconds since 1970 by the controller's clock, None where it left nothing.
    `seen` is when they were looked at, by the same clock."""

    started: int | None
    alive: int | None
    ended: int | None
    exit_code: int | None
    seen: float = float("inf")

    @property
    def fresh(self) -> bool:
        return self.alive is not None and self.seen - self.alive < DEAD_S


def marks(runs: Path, key: RunKey, send: int, clocks: Clocks = IN_STEP) -> Marks:
    """The marks of the newest start of this submission. They are written by the user: evidence, never a bill."""
    folder = place(runs, key)
    try:
        names = [name for name in os.listdir(folder) if name.startswith((f"started.{send}.", f"ended.{send}."))]
    except OSError:
        names = []
    starts = [name.rpartition(".")[2] for name in names if name.startswith("started.")]
    starts = [start for start in starts if NUMBER.fullmatch(start)]
    if not starts:
        return Marks(None, None, None, None)
    start = max(starts, key=int)
    alive, ended = folder / f"alive.{send}.{start}", folder / f"ended.{send}.{start}"
    words = _small(ended).split()
    started = _changed(folder / f"started.{send}.{start}", clocks)
    return Marks(
        started=started,
        alive=_changed(alive, clocks) or started,
        ended=_changed(ended, clocks),
        exit_code=int(words[0]) if words and NUMBER.fullmatch(words[0]) else None,
        seen=time.time() + clocks.controller,
    )


def _changed(path: Path, clocks: Clocks) -> int | None:
    try:
        changed = os.lstat(path).st_mtime
    except OSError:
        return None
    return int(max(0, min(changed, LAST_MOMENT)) + clocks.left)


def _small(path: Path) -> str:
    try:
        with _file(path) as file:
            return file.read(100).decode("ascii", "replace")
    except OSError:
        return ""


def _file(path: Path | str, folder: int | None = None) -> BinaryIO:
    """A file that somebody else may have put there, or a link, a pipe or a folder instead: those raise OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return os.fdopen(fd, "rb")
    os.close(fd)  # of a folder, `fdopen` would leave it open
    raise FileNotFoundError(f"not a file: {path}")


class SharedRunFolders(RunFolders):
    """Run folders that belong to other users: of what a run writes beside its work folder, only a file that belongs to
    the owner of its folder is read."""

    def log(self, run: RunKey, offset: int, size: int) -> bytes:
        """At most `size` bytes (and 4 MiB) from `offset` on; empty where nothing is written yet."""
        return self._beside(run, "out.log", offset, size)

    def door(self, run: RunKey) -> tuple[int, bytes, str]:
        """What a run says of how it is reached: the port, the SHA-256 of its certificate, and the token that lets in.
        Its owner may have written anything there: `Missing` for what isn't that."""
        try:
            said = json.loads(self._beside(run, DOOR, 0, 1000))
            port, certificate, token = said["port"], bytes.fromhex(said["certificate"]), said["token"]
        except (ValueError, TypeError, LookupError, RecursionError):
            raise Missing("no_door", "the run says nowhere how it is reached") from None
        fine = type(port) is int and len(certificate) == 32 and isinstance(token, str) and TOKEN.fullmatch(token)
        if not fine:
            raise Missing("no_door", "the run doesn't say how it is reached")
        return port, certificate, token

    def _beside(self, run: RunKey, name: str, offset: int, size: int) -> bytes:
        try:
            folder = os.open(place(self.runs, run), FOLDER)
        except OSError:
            return b""
        try:
            with _file(name, folder) as file:
                if os.fstat(file.fileno()).st_uid != os.fstat(folder).st_uid:
                    return b""
                file.seek(max(0, offset))
                return file.read(max(0, min(size, MAX_LOG_READ)))
        except (OSError, OverflowError):
            return b""
        finally:
            os.close(folder)

    def log_size(self, run: RunKey) -> int:
        """Bytes of the log so far."""
        try:
            return (place(self.runs, run) / "out.log").lstat().st_size
        except OSError:
            return 0
