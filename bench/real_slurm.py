"""A site of all its processes on a real Slurm of its own, and what one member does there with and without Madang."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.report import Figure

ROUNDS = int(os.environ.get("ROUNDS", "1"))
AT_ONCE = int(os.environ.get("AT_ONCE", "1000"))  # scripts of one command, and tasks of one array
ENDS = int(os.environ.get("ENDS", "100"))
SCRIPT = "#!/bin/sh\nsleep 1\n"
PREFIX = "mdbench-"


@dataclass
class Place:
    """The member `user` may submit to the only partition of `cluster`, by sbatch or by the command with `token`."""

    cluster: Any
    folder: Path
    url: str
    token: str
    user: str
    account: str
    budget: str
    allocation: int
    jobs: int = 0  # that the site will have a row of, once all have ended

    def sbatch(self, loop: str) -> float:
        """Seconds that a shell of the member takes for this; $SB is the call of sbatch."""
        words = f"--parsable --account={self.account} --qos={self.budget} --partition=h100 --nodes=1"
        words += " --gpus-per-node=h100:1 --mem=100M --time=1 --output=/dev/null"
        entry = pwd.getpwnam(self.user)
        become = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--init-groups", "--"]
        env = self.cluster.environment | {"SB": f"sbatch {words}", "HOME": "/"}
        return timed(lambda: run([*become, "sh", "-c", loop], env=env, cwd="/"))

    def madang(self, *words: str) -> float:
        """Seconds that the command takes, from its start to its end."""
        env = os.environ | {"MADANG_URL": self.url, "MADANG_TOKEN": self.token}
        return timed(lambda: run([str(Path(sys.executable).with_name("madang")), *words], env=env))

    def partition(self, state: str) -> None:
        self.cluster.command("scontrol", "update", "PartitionName=h100", f"State={state}")

    def clear(self) -> None:
        """Nothing waits or runs, here or there."""
        self.cluster.command("scancel", f"--user={self.user}")
        until(lambda: not self.cluster.command("squeue", "-h", "-o", "%A").split())
        until(lambda: _calm(self.jobs), 1200, every=1)
        time.sleep(5)  # of the accounting
        until(lambda: _calm(self.jobs), 1200, every=1)


def timed(what: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def run(command: list[str], **more: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(command[:6])}: {done.stderr[-500:]}")


def until(happened: Callable[[], Any], seconds: float = 600, every: float = 0.05) -> Any:
    end = time.monotonic() + seconds
    while not (found := happened()):
        if time.monotonic() > end:
            sys.exit(f"not within {seconds:.0f} s: {happened.__qualname__}")
        time.sleep(every)
    return found


@contextmanager
def place() -> Iterator[Place | None]:
    """Up for as long as it is measured; None where this machine can have no Slurm, which is said in one line."""
    from django.conf import settings

    from madang.engines.tests import clusters
    from madang.facilities.compute.models import PosixAccount
    from madang.server.processes import Site
    from madang.server.up import Address, processes, wait_for

    dev = clusters.load()
    cluster = dev.Cluster(Path("/var/lib/madang-slurm-bench"), clusters.free_ports(), "bench", dev.KINDS[:1])
    with tempfile.TemporaryDirectory(prefix="madang-bench-") as scripts, socket.socket() as free:
        try:
            cluster.up()
        except dev.NotHere as reason:
            print(f"skipped: no Slurm here: {reason}", flush=True)
            yield None
            return
        free.bind(("127.0.0.1", 0))
        address = Address(port=free.getsockname()[1])
        free.close()
        said = {"conf": str(cluster.conf), "runs": str(cluster.root / "runs"), "makes_users": PREFIX}
        settings.SLURM = {cluster.name: said}
        env = os.environ | {"MADANG_SLURM": json.dumps(settings.SLURM), "MADANG_URL": address.url}
        made = _member(cluster.name)
        site = Site(processes(address), env, log=Path(scripts))
        try:
            site.start()
            wait_for(address, site)
            until(_told)
            user = PosixAccount.objects.get(person=made[0]).name
            Path(scripts).chmod(0o755)
            row = made[1]
            accounts = f"grant-{row.grant_id}", f"allocation-{row.pk}"
            yield Place(cluster, Path(scripts), address.url, made[2], user, *accounts, row.pk)
        finally:
            site.stop()
            cluster.down(purge=True)
            for name in PosixAccount.objects.filter(name__startswith=PREFIX).values_list("name", flat=True):
                clusters.remove_user(name)


def _member(name: str) -> tuple[Any, Any, str]:
    """Somebody with ten thousand GPU-hours on it, and their token."""
    from madang.facilities.compute.tests import make
    from madang.identity import actions as people
    from madang.jobs.tests import make as jobs

    cluster = make.cluster(code=name, engine="slurm")
    wanted = {"gpu_type": "h100", "gpus": 16, "most_gpus": 8, "memory_mb": 100, "declared": False}
    row = make.allocation(make.partition(cluster, name="h100", **wanted), amount=36_000_000)
    _row, token = people.make_token(jobs.holder(row), name="bench", days=1)
    return jobs.holder(row), row, token


def _told() -> bool:
    from madang.jobs.models import Watch

    return Watch.objects.filter(engine="bench", budgets_at__isnull=False).exists()


def _calm(jobs: int) -> bool:
    """Whether all that has ended is booked."""
    from madang.facilities.compute import host
    from madang.jobs.models import Job, Run

    with host.connect() as conn:
        row = conn.execute("SELECT count(*) FROM slurm_run WHERE cluster = 'bench'").fetchone()
    there, runs = Job.objects.filter(engine="bench"), Run.objects.filter(job__engine="bench")
    ended = there.filter(state="ended").count()
    return ended >= jobs and there.count() == ended and row == (runs.count(),)


def _sent() -> int:
    """How many submissions Slurm has taken from us."""
    from madang.facilities.compute import host

    with host.connect() as conn:
        row = conn.execute("SELECT count(*) FROM slurm_send WHERE slurm_id IS NOT NULL").fetchone()
    return int(row[0]) if row else 0


def _until_sent(count: int) -> None:
    until(lambda: _sent() >= count)


def submissions(at: Place) -> list[Figure]:
    """Nothing starts meanwhile: what is measured is submitting alone."""
    files = []
    for n in range(AT_ONCE):
        file = at.folder / f"{n}.sh"
        file.write_text(SCRIPT)
        files.append(str(file))
    common = ["--time", "1", "--allocation", str(at.allocation)]
    bare, ours, had, one, array, arrays = ([] for _ in range(6))
    at.partition("DOWN")
    for _ in range(ROUNDS):
        bare.append(at.sbatch(f"for n in $(seq 0 {AT_ONCE - 1}); do $SB {at.folder}/$n.sh; done"))
        one.append(at.sbatch(f"$SB --array=0-{AT_ONCE - 1} {files[0]}"))  # its tasks never run: nobody hears of them
        at.jobs += AT_ONCE
        at.clear()
        before, begun = _sent(), time.perf_counter()
        ours.append(at.madang("submit", *files, *common))
        _until_sent(before + AT_ONCE)
        had.append(time.perf_counter() - begun)
        at.jobs += AT_ONCE
        at.clear()
        before, begun = _sent(), time.perf_counter()
        array.append(at.madang("submit", files[0], "--tasks", str(AT_ONCE), *common))
        _until_sent(before + 1)
        arrays.append(time.perf_counter() - begun)
        at.jobs += 1
        at.clear()
        print(
            f"sbatch {bare[-1]:.1f} s and {one[-1]:.2f} s for an array; madang {ours[-1]:.1f} s, with Slurm after"
            f" {had[-1]:.1f} s; array {array[-1]:.2f} s, with Slurm after {arrays[-1]:.2f} s",
            flush=True,
        )
    at.partition("UP")
    return [
        Figure(f"madang submit of {AT_ONCE:,} scripts/sbatch", median(ours) / median(bare), at_most=1.5),
        Figure("until Slurm has them/sbatch", median(had) / median(bare)),
        Figure(f"array of {AT_ONCE:,} with Slurm/sbatch of each", median(arrays) / median(bare), at_most=1.1),
        Figure("array with Slurm, s", median(arrays)),
    ]


def makespan(at: Place) -> list[Figure]:
    """From the command until the last task of an array has ended, with and without us."""
    from madang.jobs.models import Job

    file = at.folder / "task.sh"
    file.write_text(SCRIPT)

    def bare() -> None:
        at.sbatch(f"$SB --array=0-{AT_ONCE - 1} {file}")
        until(lambda: not at.cluster.command("squeue", "-h", "-t", "PD,R", "-o", "%A").split(), every=0.3)

    def ours() -> None:
        number = ["--allocation", str(at.allocation)]
        at.madang("submit", str(file), "--tasks", str(AT_ONCE), "--time", "1", *number)
        until(
            lambda: Job.objects.filter(bare=False, state="ended", tasks=AT_ONCE, used__gt=0).count() > known, every=0.3
        )

    known = Job.objects.filter(bare=False, state="ended", tasks=AT_ONCE, used__gt=0).count()
    without = timed(bare)
    at.jobs += AT_ONCE
    at.clear()
    with_us = timed(ours)
    at.jobs += 1
    at.clear()
    print(
        f"an array of {AT_ONCE:,} tasks of a second each: {without:.1f} s by sbatch, {with_us:.1f} s by us", flush=True
    )
    return [Figure(f"array of {AT_ONCE:,} until it is charged/until it has run by sbatch", with_us / without)]


def ends(at: Place) -> list[Figure]:
    """Seconds from Slurm's second of an end to when anybody reads the new balance; beside sacct's own lag."""
    from madang.client import Client
    from madang.jobs.models import Job, Run

    with Client(at.url, at.token) as client:
        scripts = [{"name": f"end {n}", "script": f"#!/bin/sh\nsleep {n % 7}\n"} for n in range(ENDS)]
        made = client.submit_each(allocation=at.allocation, scripts=scripts, limit_s=60)
        uuids, seen, used = {job["uuid"] for job in made}, dict[str, float](), 0
        while len(seen) < ENDS:
            ended = Job.objects.filter(uuid__in=uuids - seen.keys(), state="ended").values_list("uuid", flat=True)
            moment = time.time()
            seen |= dict.fromkeys(map(str, ended), moment)
            time.sleep(0.1)
        (offer,) = client.balance()
        used = sum(Job.objects.filter(bare=False).values_list("used", flat=True))
        assert offer["held"] == 0
    at_end = {str(run.job.uuid): run.ended_at.timestamp() for run in Run.objects.filter(job__uuid__in=uuids)}
    waits = sorted(seen[uuid] - end for uuid, end in at_end.items())
    print(f"from an end to its charge: median {median(waits):.1f} s, at most {waits[-1]:.1f} s; {used:,} charged")
    return [Figure("end to balance, p95 s", waits[int(0.95 * len(waits))], at_most=5)]
