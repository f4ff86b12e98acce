"""The process that stands by one job: it outlives the dispatcher, keeps the limits and writes how the job ended.

Run as a plain script with one argument, the run's folder; only the standard library, so that it starts fast and never
breaks with the site. In the folder it finds job.json and writes, in this order:

    shim.json   pid, start ticks, boot id: with O_EXCL, so that of two starters one wins; they never repeat together
    work/       the job's files that lie on the disk, copied; the job's time has not begun
    shim.json   again, now with when it began and how many bytes it was given
    out.log     what the job wrote
    exit.json   how it ended: under another name first, synced, renamed, always last

TERM to the shim stops the job: as cancelled if the folder has a file `cancel`, else because the machine stops.
USR2 stops it for the room that it takes on the disk: as too large if there is a file `too_large`, else with no grace.
Killing the shim kills its job (PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TICK_S = 0.5
COPY = 1 << 20  # bytes at once: a stop is heard between two
RESERVED = 4096  # bytes that are kept for the end from the start on
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
NOTICE = b"\nmadang: the log is full; the rest is not kept\n"
WARNING = b"madang: no sandbox on this machine: this job runs with the rights of the site itself\n"
prctl = ctypes.CDLL(None).prctl


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def stat(pid: int) -> list[str] | None:
    """Fields of /proc/<pid>/stat from the state on; None when there is no such process or it is only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields


def ticks(pid: int) -> int | None:
    """When the process started, in clock ticks after boot: tells a reused pid."""
    fields = stat(pid)
    return int(fields[19]) if fields else None


def tree(root: int) -> dict[int, int]:
    """Every living process below `root` with its resident pages."""
    children: dict[int, list[int]] = {}
    pages: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := stat(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
            pages[int(name)] = int(fields[21])
    found, todo = {}, list(children.get(root, []))
    while todo:
        pid = todo.pop()
        found[pid] = pages[pid]
        todo += children.get(pid, [])
    return found


def status(pid: int, key: str) -> str:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key + ":")), "")


def proportional_mb(pids: dict[int, int]) -> int:
    """Memory of the processes with shared pages counted once."""
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):
            total += pids[pid] * resource.getpagesize() // 1024
    return total // 1024


def put(path: Path, content: dict[str, Any]) -> None:
    draft = path.with_name(path.name + ".new")
    with draft.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def reserve(path: Path) -> None:
    """Take the room for `path` now: when the job ends, it may have filled the disk."""
    with path.with_name(path.name + ".new").open("wb") as file:
        file.write(b" " * RESERVED)
        file.flush()
        os.fsync(file.fileno())


def put_at_last(path: Path, content: dict[str, Any]) -> None:
    """As `put`, on a disk that may be full, in the room that was reserved. Where even that fails it is tried until it
    doesn't: an end that isn't said is a run that is lost, and charged to nobody."""
    draft, said = path.with_name(path.name + ".new"), json.dumps(content).encode().ljust(RESERVED)
    while True:
        try:
            with draft.open("r+b" if draft.exists() else "wb") as file:
                file.write(said)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            time.sleep(TICK_S)


class Stopped(Exception):
    """The run is to end before its job has begun."""


def deaf() -> None:
    """TERM does nothing. Not SIG_IGN, which the job would inherit."""
    signal.signal(signal.SIGTERM, lambda *_: None)


def fetch(work: Path, sources: list[tuple[str, str]]) -> int:
    """Copy these files into the work folder: path there, where it lies. How many bytes they are; TERM raises Stopped.

    Copied and not linked: the job may change its own. Where it doesn't come to the end, none of it is kept.
    """

    def stop(*_: object) -> None:
        deaf()  # once: what follows is the end of the run, and isn't to be torn
        raise Stopped

    given = 0
    signal.signal(signal.SIGTERM, stop)
    try:
        for path, source in sources:
            target = work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(source, "rb") as kept, target.open("wb") as own:
                shutil.copyfileobj(kept, own, COPY)
                given += own.tell()
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    finally:
        deaf()
    return given


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):  # it may have ended between the look and the kill
            os.kill(pid, number)


class Watch:
    """One job from its start to its end."""

    def __init__(self, place: Path, job: dict[str, Any]) -> None:
        self.place, self.job = place, job
        self.why: str | None = None
        self.exit: int | None = None
        self.peak_mb = 0
        self.stopped_at = 0.0
        self.log = (place / "out.log").open("ab", buffering=0)
        self.room = int(job["log_bytes"])
        self.full = False
        self.oom = False
        self.report = tempfile.TemporaryFile()  # noqa: SIM115 - what bwrap itself says: whether the job's own command ended

    def stop(self, why: str) -> None:
        """The first reason counts; TERM now, KILL after the grace."""
        if self.why is None:
            self.why, self.stopped_at = why, time.monotonic()
            send(self.inner(), signal.SIGTERM)

    def term(self, *_: object) -> None:
        self.stop("cancelled" if (self.place / "cancel").exists() else "machine_stopped")

    def no_room(self, *_: object) -> None:
        if self.exit is not None:
            return  # it has ended by itself
        if (self.place / "too_large").exists():
            self.stop("too_large")
        else:  # it would write through its grace
            self.stop("disk_full")
            send(list(tree(os.getpid())), signal.SIGKILL)

    def inner(self) -> list[int]:
        """The job's own processes: not bwrap, which would take TERM for a reason to kill everything at once."""
        pids = tree(os.getpid())
        if not self.job["sandboxed"]:
            return list(pids)
        spaces = {pid: status(pid, "NSpid").split() for pid in pids}
        return [pid for pid, space in spaces.items() if len(space) > 1 and space[-1] != "1"]

    def warn(self) -> None:
        """USR1 to the processes that catch it; for others it would be death before their time."""
        bit = 1 << (signal.SIGUSR1 - 1)
        send([pid for pid in self.inner() if int(status(pid, "SigCgt") or "0", 16) & bit], signal.SIGUSR1)

    def keep(self, chunk: bytes) -> None:
        if self.full or not chunk:
            return
        try:
            self.log.write(chunk[: self.room])
            self.room -= len(chunk)
            if self.room < 0:
                self.full = True
                self.log.write(NOTICE)
        except OSError:  # a full disk must not end the watch
            self.full = True

    def limits(self) -> None:
        """Runs in the child before the command."""
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self.pid:
            os._exit(1)
        os.umask(0o022)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        lower(resource.RLIMIT_FSIZE, self.job["file_bytes"])
        lower(resource.RLIMIT_NPROC, self.mine + self.job["processes"])
        if self.job["address_space"]:
            lower(resource.RLIMIT_AS, self.job["address_space"])

    def start(self) -> subprocess.Popen[bytes]:
        self.pid, self.mine = os.getpid(), own_threads()
        rules = bytes.fromhex(self.job["calls"])
        with options_file(self.job["options"]) as options, handed(rules) as filtered:
            command = list(self.job["command"])
            fds = []
            if self.job["sandboxed"]:
                fds = [options.fileno(), self.report.fileno()]
                walls = ["bwrap", "--args", str(fds[0]), "--json-status-fd", str(fds[1])]
                if rules:
                    fds.append(filtered.fileno())
                    walls += ["--seccomp", str(fds[2])]
                command = [*self.job["scope"], *walls, "--", *command]
            else:
                self.keep(WARNING)
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=fds,
                cwd=self.place / "work",
                env=None if self.job["sandboxed"] else self.job["environment"],
                start_new_session=True,
                preexec_fn=self.limits,
            )

    def run(self) -> dict[str, Any]:
        wake, poke = os.pipe()
        for fd in (wake, poke):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(poke)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        started, zero = time.time(), time.monotonic()
        child = self.start()
        signal.signal(signal.SIGTERM, self.term)
        signal.signal(signal.SIGUSR2, self.no_room)
        if (self.place / "cancel").exists():
            self.stop("cancelled")
        assert child.stdout
        pipe = child.stdout.fileno()
        os.set_blocking(pipe, False)
        deadline = zero + self.job["limit_s"]
        warning: float | None = deadline - min(self.job["warn_s"], self.job["limit_s"] / 2)
        look = 0.0
        while self.reap(child.pid):
            ready, _, _ = select.select([wake] if child.stdout.closed else [pipe, wake], [], [], TICK_S)
            if wake in ready:
                read(wake)
            if pipe in ready and (chunk := read(pipe)) is not None:
                self.keep(chunk)
                if not chunk:
                    child.stdout.close()
            now = time.monotonic()
            if warning and now >= warning and not self.why:
                warning = None
                self.warn()
            if now >= deadline:
                self.stop("timed_out")
            if self.stopped_at and now >= self.stopped_at + self.job["grace_s"]:
                send(list(tree(os.getpid())), signal.SIGKILL)
            if now >= look:
                look = now + TICK_S
                self.measure(child.pid)
        ended = started + time.monotonic() - zero
        self.sweep()
        while not child.stdout.closed and (chunk := read(pipe)):
            self.keep(chunk)
        if self.oom and not self.why:
            self.why = "out_of_memory"
        if self.job["sandboxed"] and self.exit == 1 and not self.why and not self.ran():
            return {"ended": ended, "error": "the sandbox did not start; its last words are in the log"}
        return {"started": started, "ended": ended}

    def ran(self) -> bool:
        self.report.seek(0)
        return b'"exit-code"' in self.report.read()

    def measure(self, child: int) -> None:
        """Memory and number of threads, against the limits; KILL at once, since memory can't wait for a grace."""
        pids = tree(os.getpid())
        used = sum(pids.values()) * resource.getpagesize() >> 20
        if used > self.job["memory_mb"]:
            used = proportional_mb(pids)
        self.peak_mb = max(self.peak_mb, used)
        self.oom = self.oom or cgroup_killed(child) if self.job["scope"] else False
        if used > self.job["memory_mb"]:
            self.stop("out_of_memory")
            send(list(pids), signal.SIGKILL)
        # As RLIMIT_NPROC does, which doesn't hold for root.
        if sum(int(fields[17]) for pid in pids if (fields := stat(pid))) > self.job["processes"]:
            self.stop("too_many_processes")
            send(list(pids), signal.SIGKILL)

    def reap(self, child: int) -> bool:
        """Collect what has ended; False when the job's first process has."""
        while True:
            try:
                pid, result = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return self.exit is None
            if pid == child:
                code = os.waitstatus_to_exitcode(result)
                self.exit = code if code >= 0 else 128 - code
            if pid == 0:
                return self.exit is None

    def sweep(self) -> None:
        """Nothing of the job lives on after it."""
        until = time.monotonic() + 10
        while (left := list(tree(os.getpid()))) and time.monotonic() < until:
            send(left, signal.SIGKILL)
            time.sleep(0.01)
            self.reap(-1)


def cgroup_killed(pid: int) -> bool:
    """Whether the kernel killed something in the cgroup (v2) of this process for its memory."""
    try:
        group = Path(f"/proc/{pid}/cgroup").read_text().strip().rsplit("::", 1)[1]
        events = Path("/sys/fs/cgroup", group.lstrip("/"), "memory.events").read_text()
    except (OSError, IndexError):
        return False
    return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in events.splitlines())


def read(fd: int) -> bytes | None:
    try:
        return os.read(fd, 1 << 16)
    except BlockingIOError:
        return None


def options_file(options: list[str]) -> tempfile._TemporaryFileWrapper[bytes]:
    """The options as bwrap reads them from a descriptor: arguments are visible to every user of the machine."""
    return handed(b"".join(os.fsencode(option) + b"\0" for option in options))


def handed(content: bytes) -> tempfile._TemporaryFileWrapper[bytes]:
    """A file to be read from its beginning by whoever is given its descriptor."""
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115
    file.write(content)
    file.flush()
    file.seek(0)
    return file


def lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def own_threads() -> int:
    """RLIMIT_NPROC counts all threads of the user, so those that are there already come on top."""
    total = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.getuid():
                total += int(status(int(name), "Threads") or 0)
        except OSError:
            pass
    return total


def main(place: Path) -> int:
    os.umask(0o077)
    try:
        fd = os.open(place / "shim.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return 17
    for number in (signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, lambda *_: None)
    deaf()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    me: dict[str, Any] = {"pid": os.getpid(), "ticks": ticks(os.getpid()), "boot": boot_id()}
    os.write(fd, json.dumps(me).encode())
    os.fsync(fd)
    os.close(fd)
    end: dict[str, Any] = {"why": None, "exit": None, "started": None, "ended": time.time(), "error": ""}
    watch: Watch | None = None
    try:
        reserve(place / "exit.json")
        job = json.loads((place / "job.json").read_text())
        given = fetch(place / "work", job.get("sources", []))  # orders of before an update name none
        put(place / "shim.json", me | {"started": time.time(), "given": given})
        watch = Watch(place, job)
        try:
            end |= watch.run()
        finally:
            end |= {"why": watch.why, "exit": watch.exit, "peak_mb": watch.peak_mb, "log_truncated": watch.full}
    except Stopped:
        cancelled = (place / "cancel").exists()
        end |= {"why": "cancelled" if cancelled else "machine_stopped", "ended": time.time()}
        end |= {"error": "cancelled before it started" if cancelled else ""}
    except Exception as error:
        send(list(tree(os.getpid())), signal.SIGKILL)
        said = error.strerror if isinstance(error, OSError) else None  # which names no path of this machine
        said = said or f"{type(error).__name__}: {error}"[:500]
        end |= {"ended": time.time(), "error": said if watch else f"could not start: {said}"}
    put_at_last(place / "exit.json", end)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
