"""A hostile job on the local engine: what it tries to reach, to outlive, to use up and to forge.

Most attacks run in one job, a process each; each of the others is a job that ends in its own way, and all of these run
at once. What is said of them is read afterwards, one test for each.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import conninfo

from madang.engines.base import InputFile, Missing, Rejected, RunKey, UsageRow
from madang.engines.local import calls, declare_slots, shim
from madang.engines.tests.attacks import ESCAPE, PREAMBLE, REACH
from madang.engines.tests.conftest import SHARED_SANDBOX, Rig

pytestmark = [pytest.mark.sandbox, pytest.mark.xdist_group("attacks")]
pytestmark += [pytest.mark.skipif(bool(SHARED_SANDBOX.probe), reason=SHARED_SANDBOX.probe)]

INSIDE = "#!/usr/bin/env python3\n" + PREAMBLE
EACH = (
    "t = json.load(open('targets.json'))\n"
    "for name, body in t['bodies'].items(): print(json.dumps([name, tried(name, body)]), flush=True)\n"
)
SLOTS = 40


@pytest.fixture(scope="module")
def rig(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(database, tmp_path_factory.mktemp("attacks") / "runs", SHARED_SANDBOX, SLOTS)
    yield rig
    rig.clear()


@pytest.fixture(scope="module")
def targets(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a job would like to have, all of it really there."""
    folder = tmp_path_factory.mktemp("site")
    other, mark = rig.submit("echo SECRET | tee out"), f"madang-{uuid4().hex[:12]}"
    rig.ended(other)
    (folder / "settings.env").write_text("SECRET\n")
    os.mkfifo(folder / "pipe")
    address = conninfo.conninfo_to_dict(os.environ["DATABASE_OWNER_URL"])
    host, port = address.get("host") or "/var/run/postgresql", address.get("port") or 5432
    database = f"{host}/.s.PGSQL.{port}"
    with ExitStack() as there:
        if not Path(database).exists():  # the tests' database is elsewhere: somebody else at such a place
            database = str(folder / ".s.PGSQL.5432")
            unix = there.enter_context(socket.socket(socket.AF_UNIX))
            unix.bind(database)
            unix.listen()
        server = there.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = there.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0{mark}")
        abstract.listen()
        temporary = there.enter_context(tempfile.NamedTemporaryFile())
        shared = shared_memory.SharedMemory(name=mark, create=True, size=4096)
        there.callback(shared.unlink)
        there.callback(shared.close)
        key = uuid4().int & 0x7FFFFFFF
        libc = ctypes.CDLL(None)
        segment = libc.shmget(key, 4096, 0o1600)
        assert segment >= 0
        there.callback(libc.shmctl, segment, 0, None)
        yield {
            "secret": str(folder / "settings.env"),
            "other": str(rig.folder(other)),
            "runs": str(rig.runs),
            "repository": str(Path(__file__).parents[4]),
            "pid": os.getpid(),
            "group": os.getpgrp(),
            "postgres": database,
            "abstract": f"\0{mark}",
            "port": server.getsockname()[1],
            "shared": mark,
            "segment": key,
            "temporary": temporary.name,
            "pipe": str(folder / "pipe"),
        }


def bodies() -> dict[str, str]:
    assert not REACH.keys() & ESCAPE.keys()
    return {**REACH, **ESCAPE, "its own folder": "open('/work/own', 'w').write('x'); return open('/work/own').read()"}


def told(log: str) -> dict[str, str]:
    return dict(json.loads(line) for line in log.splitlines())


@pytest.fixture(scope="module")
def said(rig: Rig, targets: dict[str, Any]) -> dict[str, list[str]]:
    """How every attack went from inside: of a job, and of one that has a GPU, which may write to its part of /proc."""
    declare_slots(rig.connect, rig.machine, "gpu", 1)
    with rig.connect() as conn:
        conn.execute(
            """UPDATE engine_slot SET declared = false, minor = 0, device = 'GPU-0'
               WHERE (machine, gpu_type) = (%s, 'gpu')""",
            [rig.machine],
        )
    jobs = {"cpu": uuid4(), "gpu": uuid4()}
    for kind, job in jobs.items():
        known = {**targets, "here": "/work", "mine": str(rig.folder(job)), "bodies": bodies()}
        orders = (InputFile("targets.json", json.dumps(known).encode()),)
        rig.submit(INSIDE + EACH, job=job, files=orders, limit_s=60, gpu_type=kind)
    found = []
    for job in jobs.values():
        assert rig.ended(job, seconds=90).outcome == "completed", rig.log(job)
        found.append(told(rig.log(job).decode()))
    return {name: [answers[name] for answers in found] for name in bodies()}


@pytest.fixture(scope="module")
def outside(rig: Rig, targets: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same, tried by a process that no walls are around."""
    here = tmp_path_factory.mktemp("outside")
    mine = rig.submit("true")
    rig.ended(mine)
    known = {**targets, "here": str(here), "mine": str(rig.folder(mine)), "bodies": REACH}
    (here / "targets.json").write_text(json.dumps(known))
    done = subprocess.run([sys.executable, "-c", PREAMBLE + EACH], cwd=here, capture_output=True, text=True, check=True)
    return told(done.stdout)


def test_what_is_allowed_opens(said: dict[str, list[str]]) -> None:
    assert said["its own folder"] == ["open: 'x'"] * 2
    assert len(REACH) + len(ESCAPE) >= 80


@pytest.mark.parametrize("what", REACH)
def test_what_is_there_outside_is_not_reached(said: dict[str, list[str]], outside: dict[str, str], what: str) -> None:
    assert outside[what].startswith("open: "), "the attack does not work outside either"
    assert [answer for answer in said[what] if not answer.startswith("held")] == []


@pytest.mark.parametrize("what", ESCAPE)
def test_a_job_does_not_get(said: dict[str, list[str]], what: str) -> None:
    assert [answer for answer in said[what] if not answer.startswith("held")] == []


@dataclass
class Ended:
    """A run that is over."""

    rig: Rig
    job: UUID
    row: UsageRow
    log: bytes = field(repr=False)

    @property
    def end(self) -> tuple[str, int | None]:
        return str(self.row.outcome), self.row.exit_code

    @property
    def files(self) -> dict[str, int]:
        return {entry.path: entry.size for entry in self.rig.engine.files(RunKey(self.job))}

    @property
    def folder(self) -> Path:
        return self.rig.folder(self.job)


DEAF = "import signal\nfor n in range(1, 65):\n    n in (9, 19, 32, 33) or signal.signal(n, signal.SIG_IGN)\n"
BEAT = "while True: open('beat', 'w').write(str(time.time_ns())); time.sleep(0.05)\n"
FORGED = json.dumps({"why": None, "exit": 0, "started": 1.0, "ended": 2.0, "error": "", "peak_mb": 1})
# The job, and what it asks for besides.
ENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "a daemon": (
        INSIDE + f"if os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  os.close(1); os.close(2)\n  {DEAF!r}\n"
        f"  exec({DEAF + BEAT!r})\ntime.sleep(0.5)\nos._exit(3)\n",
        {},
    ),
    "deaf to its limit": (INSIDE + DEAF + "print('up', flush=True)\nos.fork()\n" + BEAT, {"limit_s": 1}),
    "stopped at its limit": (INSIDE + "os.kill(os.getpid(), signal.SIGSTOP)\n", {"limit_s": 1}),
    "without the signal of its parent": (INSIDE + DEAF + "libc.prctl(1, 0)\n" + BEAT, {"limit_s": 1}),
    "the end of everything": ("kill -9 -1; exit 5", {}),
    "the end of what it sees": ("for p in /proc/[0-9]*; do kill -9 ${p#/proc/} 2>/dev/null; done; exit 6", {}),
    "files of the engine": (
        f"for f in exit.json shim.json job.json out.log started; do echo '{FORGED}' > $f; ln -sf $f ../$f; done\n"
        f"mkdir -p ../../up; echo '{FORGED}' > /exit.json; touch ../cancel /cancel; exit 7",
        {},
    ),
    "links in the place of results": (
        "ln -s /etc/shadow shadow; ln -s /proc/self/environ environ; ln -s ../../../.. up; ln -s . round\n"
        "ln -s ../out.log log; ln /work/none none; echo ok > good",
        {},
    ),
    "things that aren't files": (
        INSIDE + "os.mkfifo('fifo')\nsocket.socket(socket.AF_UNIX).bind('socket')\n"
        "for n in ('null', 'zero'):\n try: os.mknod(n, 0o20666, os.makedev(1, 3))\n except OSError: pass\n"
        "os.mkdir('folder')\nopen('good', 'w').write('ok')\n",
        {},
    ),
    "names": (
        INSIDE
        + "for n in (b'a\\nb', b'\\xff\\xfe', b'\\x1b[2Jx', b'-rf', b'x' * 255, b'a\\rb', b'<b>&', b' ', b'...'):\n"
        " open(n, 'w').write('1')\nfor n in (b'a\\0b', b'y' * 256):\n try: open(n, 'w')\n"
        " except (OSError, ValueError): pass\n"
        "for n in range(300): os.mkdir('d' * 200); os.chdir('d' * 200)\nopen('deep', 'w')\n",
        {},
    ),
    "times": (
        INSIDE + "for n, at in (('far', 2**62), ('past', -2**62), ('odd', 9e18)):\n open(n, 'w')\n"
        " try: os.utime(n, (at, at))\n except (OSError, OverflowError): pass\n",
        {},
    ),
    "a program of its owner": (
        INSIDE + "import shutil\nshutil.copy('/usr/bin/id', 'id')\nos.chmod('id', 0o6777)\nos.chmod('.', 0o777)\n",
        {},
    ),
    "a folder that nobody may enter": ("mkdir -p a/b; echo x > a/b/c; echo y > d; chmod 0 a/b a d .", {}),
    "a flood of words": (INSIDE + "while True: os.write(1, b'x' * 65536)\n", {"limit_s": 2}),
    "words on every way": (
        "echo one > /dev/stdout; echo two > /dev/stderr; echo three > /proc/self/fd/1; printf '\\033]0;x\\007'", {},
    ),
    "one large file": (INSIDE + "f = open('big', 'wb')\nf.truncate(1 << 40)\n", {}),
    "memory": (INSIDE + "x = bytearray(b'x') * (300 << 20)\ntime.sleep(20)\n", {"memory_mb": 64}),
    "memory of many": (
        INSIDE + "for n in range(6): os.fork() or (globals().update(x=bytearray(b'x') * (40 << 20)), time.sleep(20))\n"
        "time.sleep(20)\n",
        {"memory_mb": 100},
    ),
    "memory in files without a name": (
        INSIDE + "for n in range(40): os.write(call('memfd_create', b'x', 0), bytes(4 << 20))\nprint('REACHED')\n",
        {"memory_mb": 64},
    ),
    "memory in segments": (
        INSIDE + "libc.shmat.restype = ctypes.c_void_p\nfor n in range(40):\n"
        " at = libc.shmat(call('shmget', 0, 4 << 20, 0o1600), None, 0)\n ctypes.memset(at, 1, 4 << 20)\n"
        " libc.shmdt(ctypes.c_void_p(at))\nprint('REACHED')\n",
        {"memory_mb": 64},
    ),
    "memory in queues": (
        INSIDE + "for n in range(100): call('msgget', 0, 0o1600)\nprint('REACHED')\n", {"memory_mb": 64},
    ),
    "memory in its folders of memory": (
        INSIDE + "for p in ('/dev/shm', '/tmp'):\n for n in range(40): open(f'{p}/{n}', 'wb').write(bytes(4 << 20))\n"
        "print('REACHED')\n",
        {"memory_mb": 64},
    ),
    "many processes": (INSIDE + "for n in range(70): os.fork() or time.sleep(20)\ntime.sleep(20)\n", {}),
    "many threads": (
        INSIDE + "import threading\nfor n in range(70): threading.Thread(target=time.sleep, args=[20]).start()\n", {},
    ),
    "a name that looks like more": (
        INSIDE + "for n in (b') S 1 1 1', b'x\\nNSpid:\\t1'):\n os.fork() or (libc.prctl(15, n), time.sleep(20))\n"
        "libc.prctl(15, b') Z 0 0 0')\ntime.sleep(20)\n",
        {"limit_s": 1},
    ),
    "lines for a scheduler": (
        "#!/bin/sh\n#SBATCH --time=10:00:00\n#SBATCH --gpus=8\n#SBATCH --account=other\n#MADANG limit_s=9999\n"
        "export MADANG_LIMIT_S=9999 MADANG_GPUS=8\nsleep 20\n",
        {"limit_s": 1},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def ends(rig: Rig) -> dict[str, Ended]:
    """All of them, run at once and waited for."""
    assert len(ENDS) <= SLOTS
    rig.dispatcher.caps = type(rig.caps)(grace_s=0.4, beat_s=0.2, log_bytes=200_000, file_bytes=6 << 20, processes=60)
    jobs = {name: rig.submit(script, **more) for name, (script, more) in ENDS.items()}
    rig.until(lambda: {row.key.job for row in rig.usage()} >= set(jobs.values()), 60)
    rows = {row.key.job: row for row in rig.usage()}
    return {name: Ended(rig, job, rows[job], rig.log(job)) for name, job in jobs.items()}


def still(ended: Ended) -> bool:
    """Whether nothing of the job lives: what it wrote twenty times a second stays as it is, and no shim is there."""
    beat = ended.folder / "work/beat"
    before = beat.read_text()
    signal.sigtimedwait([], 0.3)
    return (
        beat.read_text() == before and shim.ticks(json.loads((ended.folder / "shim.json").read_text())["pid"]) is None
    )


def test_a_daemon_does_not_outlive_its_job(ends: dict[str, Ended]) -> None:
    assert ends["a daemon"].end == ("failed", 3)
    assert still(ends["a daemon"])


@pytest.mark.parametrize("how", ["deaf to its limit", "without the signal of its parent"])
def test_a_job_that_hears_nothing_ends_at_its_limit(ends: dict[str, Ended], how: str) -> None:
    assert ends[how].row.outcome == "timed_out"
    assert ends[how].row.gpu_seconds == 1  # what comes after the limit is not charged
    assert still(ends[how])


@pytest.mark.parametrize("how", ["stopped at its limit", "a name that looks like more", "lines for a scheduler"])
def test_the_limit_is_the_one_that_was_asked_for(ends: dict[str, Ended], how: str) -> None:
    assert (ends[how].row.outcome, ends[how].row.gpu_seconds, ends[how].row.gpus) == ("timed_out", 1, 1)


def test_a_job_that_kills_all_it_sees_ends_itself_alone(ends: dict[str, Ended]) -> None:
    assert ends["the end of everything"].end in [("failed", 5), ("failed", 137)]
    assert ends["the end of what it sees"].end in [("failed", 6), ("failed", 137)]


def test_the_engine_believes_no_file_of_the_job(ends: dict[str, Ended]) -> None:
    ended = ends["files of the engine"]
    assert ended.end == ("failed", 7)
    assert ended.row.gpu_seconds >= 1
    assert json.loads((ended.folder / "exit.json").read_text())["exit"] == 7
    assert set(ended.files) == {"exit.json", "shim.json", "job.json", "out.log", "started"}
    assert {path.name for path in ended.folder.iterdir()} <= {
        "exit.json", "job.json", "out.log", "script", "shim.json", "work"
    }  # fmt: skip


@pytest.mark.parametrize("how", ["links in the place of results", "things that aren't files"])
def test_only_files_are_results(ends: dict[str, Ended], how: str) -> None:
    ended = ends[how]
    assert ended.files == {"good": 3 if "links" in how else 2}, ended.log
    names = [name for name in os.listdir(ended.folder / "work") if name != "good"]
    assert len(names) >= 3
    for name in [*names, "up/job.json", "round/good", "good/x"]:
        with pytest.raises(Missing):
            ended.rig.engine.open_file(RunKey(ended.job), name)


def test_odd_names_are_listed_as_they_are_and_deep_ones_left_out(ends: dict[str, Ended]) -> None:
    ended = ends["names"]
    assert ended.row.outcome == "completed", ended.log
    names = set(ended.files)
    assert {"a\nb", "\udcff\udcfe", "\x1b[2Jx", "-rf", "x" * 255, "a\rb", "<b>&", " ", "..."} == names
    for name in names:
        with ended.rig.engine.open_file(RunKey(ended.job), name) if name.isprintable() else open(os.devnull) as file:
            assert file.read() in (b"1", "")


def test_times_that_no_calendar_has_are_shown_as_some_time(ends: dict[str, Ended]) -> None:
    assert set(ends["times"].files) == {"far", "past", "odd"}, ends["times"].log


def test_a_program_that_would_run_as_its_owner_is_out_of_everybodys_reach(ends: dict[str, Ended]) -> None:
    ended = ends["a program of its owner"]
    assert ended.row.outcome == "completed", ended.log
    assert (ended.folder / "work/id").stat().st_mode & stat.S_ISUID
    assert [stat.S_IMODE(path.stat().st_mode) for path in (ended.folder, ended.folder.parent)] == [0o700, 0o700]


def test_a_locked_folder_is_read_and_removed_all_the_same(ends: dict[str, Ended]) -> None:
    from madang.engines.local import folders

    ended = ends["a folder that nobody may enter"]
    assert ended.row.outcome == "completed", ended.log
    assert isinstance(ended.files, dict)
    folders.remove(ended.folder / "work")
    assert not (ended.folder / "work").exists()


def test_a_flood_of_words_is_cut(ends: dict[str, Ended]) -> None:
    ended = ends["a flood of words"]
    assert (ended.row.outcome, ended.row.log_truncated) == ("timed_out", True)
    assert (ended.folder / "out.log").stat().st_size == 200_000 + len(shim.NOTICE)


def test_what_a_job_says_lands_in_its_log_and_nowhere_else(ends: dict[str, Ended]) -> None:
    assert b"one" in ends["words on every way"].log
    assert ends["words on every way"].files == {}


def test_no_file_is_larger_than_the_cap(ends: dict[str, Ended]) -> None:
    assert ends["one large file"].row.outcome == "failed"
    assert ends["one large file"].files == {"big": 0}


@pytest.mark.parametrize("how", ["memory", "memory of many"])
def test_memory_beyond_what_was_asked_ends_the_job(ends: dict[str, Ended], how: str) -> None:
    assert ends[how].row.outcome == "out_of_memory", ends[how].log


@pytest.mark.parametrize("how", [name for name in ENDS if name.startswith("memory in")])
def test_memory_that_belongs_to_no_process_is_not_had_past_the_limit(ends: dict[str, Ended], how: str) -> None:
    assert ends[how].row.outcome in ("failed", "out_of_memory"), ends[how].log
    assert b"REACHED" not in ends[how].log


@pytest.mark.parametrize("how", ["many processes", "many threads"])
def test_more_than_its_share_of_processes_ends_the_job(ends: dict[str, Ended], how: str) -> None:
    assert ends[how].row.outcome == "failed", ends[how].log


@pytest.mark.parametrize(
    "more",
    [
        {"environment": {"A": "x\0--bind\0/\0/work"}},
        {"environment": {"A\0--bind": "x"}},
        {"environment": {"MADANG_LIMIT_S": "9"}},
        {"argv": ("x\0--bind",)},
        {"files": (InputFile("../job.json", b"{}"),)},
        {"files": (InputFile("/etc/cron.d/x", b"x"),)},
        {"files": (InputFile("a", b"x"), InputFile("a/b", b"x"))},
        {"account": "a\n#SBATCH --time=9"},
        {"gpu_type": "cpu --exclusive"},
        {"limit_s": 10**12},
    ],
    ids=str,
)
def test_an_order_that_would_say_more_than_it_may_is_refused(rig: Rig, more: dict[str, Any]) -> None:
    with pytest.raises(Rejected):
        rig.submit("true", **more)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_where_a_cgroup_counts_memory_a_job_may_have_it_without_a_process(machine: str) -> None:
    strict, counted = (calls.program(counted=counted, machine=machine) for counted in (False, True))
    assert len(strict) - len(counted) == 4 * 2 * 8  # a question and an answer for each of four calls
    assert calls.program(counted=False, machine="a machine of its own") == b""
