"""A real Slurm on this machine, for development and tests: `python dev/slurm.py up`, and `down` when it is done with.

Controller, accounting on MariaDB, munge, and several slurmd that pretend to have eight GPUs each. It needs root on
Debian or Ubuntu, and neither systemd nor containers. Everything of one cluster lies below one folder and listens on
loopback, so that clusters with different folders and ports stand side by side. `up` starts only what doesn't run.

Only for one trusted machine: proctrack/linuxproc confines nothing, and the GPUs are links to /dev/null.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("slurm-wlm", "slurmdbd", "slurm-wlm-mysql-plugin", "munge", "mariadb-server")
NOT_HERE = 3  # exit status: this machine can't have one; the reason is one line on stderr
GPUS = 8
CPUS = 64
MEMORY_MB = 512_000
POLICY = Path("/usr/sbin/policy-rc.d")


class NotHere(Exception):
    """This machine can't run a cluster; says why in one line."""


class Broken(Exception):
    """It should have worked; says what to look at."""


@dataclass(frozen=True)
class Kind:
    """Nodes of one sort, which are a partition of the same name."""

    name: str
    nodes: int
    gpu_type: str = ""
    gpus: int = GPUS


KINDS = (Kind("h100", 2, "h100"), Kind("a100", 2, "a100"), Kind("cpu", 1))
SMALL = Kind("small", 1, "small", 3)  # three GPUs are enough to have somebody wait


@dataclass
class Cluster:
    """One cluster: `root` holds all of it, `port` is the first of the 100 ports that it uses on loopback.

    `impatient` shortens what waits for dead nodes and processes, for tests. Methods raise NotHere or Broken.
    """

    root: Path
    port: int = 16_800
    name: str = "madang"
    kinds: Sequence[Kind] = KINDS
    impatient: bool = False
    host: str = field(init=False, default="localhost")
    prefix: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        self.root = self.root.absolute()
        self.etc, self.run, self.logs = self.root / "etc", self.root / "run", self.root / "log"
        self.conf = self.etc / "slurm.conf"
        self.socket = self.run / "munge" / "socket"
        self.mysql = self.run / "mysql" / "socket"

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "SLURM_CONF": str(self.conf)}

    @property
    def nodes(self) -> list[str]:
        return [f"{kind.name}-{n}" for kind in self.kinds for n in range(1, kind.nodes + 1)]

    # ── up ──

    def up(self) -> None:
        """Start what isn't running, and return when all nodes answer."""
        require_machine()
        install()
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.set_inheritable(lock.fileno(), False)
            self._address()
            self._folders()
            self._configure()
            self._munge()
            self._database()
            self._accounting()
            self.start_controller()
            for node in self.nodes:
                self.start_node(node)
            self._until(60, "the nodes", self._all_answer)

    def _address(self) -> None:
        """With NoInAddrAny a daemon binds to what its host name means. Where that isn't loopback, the daemons get a
        host name of their own."""
        try:
            here = socket.gethostbyname(socket.gethostname())
        except OSError:
            here = ""
        if here.startswith("127."):
            self.host = socket.gethostname().split(".")[0]
            return
        self.prefix = ("unshare", "--uts", "--", "sh", "-c", 'hostname localhost && exec "$@"', "sh")
        if subprocess.run([*self.prefix, "true"], capture_output=True).returncode:
            raise NotHere("the host name isn't loopback's, and a host name for the daemons alone is not allowed here")

    def _folders(self) -> None:
        owners = {
            "etc": "root",
            "run": "root",
            "log": "root",
            "spool": "root",
            "dev": "root",
            "runs": "root",
            "run/munge": "munge",
            "log/munge": "munge",
            "state/munge": "munge",
            "run/slurm": "slurm",
            "log/slurm": "slurm",
            "state/slurm": "slurm",
            "run/mysql": "mysql",
            "mysql": "mysql",
        }
        self.root.chmod(0o755)  # munged refuses folders that others may write to
        for name, owner in owners.items():
            folder = self.root / name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.chown(folder, owner)
        for private in ("log/munge", "state/munge", "state/slurm", "mysql"):
            (self.root / private).chmod(0o700)
        for node in self.nodes:
            (self.root / "spool" / node).mkdir(exist_ok=True)
        for gpu in range(GPUS):
            device = self.root / "dev" / f"nvidia{gpu}"
            if not device.is_symlink():
                device.symlink_to("/dev/null")  # Slurm gives jobs only what is a character device

    def _configure(self) -> None:
        key, password = self.etc / "munge.key", self.etc / "database.password"
        if not key.exists():
            _write(key, secrets.token_bytes(128), "munge", 0o400)
        if not password.exists():
            _write(password, secrets.token_urlsafe(18).encode(), "root", 0o400)
        _write(self.etc / "gres.conf", self._gres().encode())
        _write(self.etc / "cgroup.conf", b"CgroupPlugin=autodetect\n")
        _write(self.etc / "my.cnf", self._my_cnf().encode())
        _write(self.etc / "slurmdbd.conf", self._slurmdbd(password.read_text()).encode(), "slurm", 0o600)
        _write(self.conf, self._slurm().encode())

    def _slurm(self) -> str:
        types = sorted({kind.gpu_type for kind in self.kinds if kind.gpu_type})
        lines = [
            f"ClusterName={self.name}",
            f"SlurmctldHost={self.host}(127.0.0.1)",
            f"SlurmctldPort={self.port + 1}",
            "SlurmUser=slurm",
            "AuthType=auth/munge",
            "CredType=cred/munge",
            # A requeued job waits cred_expire + 1 s before it may start again: 120 s where nothing is said.
            f"AuthInfo=socket={self.socket},cred_expire={15 if self.impatient else 30}",
            "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny",
            f"StateSaveLocation={self.root}/state/slurm",
            f"SlurmdSpoolDir={self.root}/spool/%n",
            f"SlurmctldPidFile={self.run}/slurm/slurmctld.pid",
            f"SlurmdPidFile={self.run}/slurm/slurmd.%n.pid",
            f"SlurmctldLogFile={self.logs}/slurm/slurmctld.log",
            f"SlurmdLogFile={self.logs}/slurm/slurmd.%n.log",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SwitchType=switch/none",
            "MpiDefault=none",
            "JobAcctGatherType=jobacct_gather/linux",
            "JobAcctGatherFrequency=task=5",
            "SlurmdParameters=config_overrides",  # CPUs and memory are invented
            "GresTypes=gpu",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory",
            "SchedulerType=sched/backfill",
            "SchedulerParameters=bf_interval=5,bf_continue,default_queue_depth=1000,batch_sched_delay=0,"
            "sched_min_interval=100000",
            # Without it a job that can never run is accepted and waits for ever.
            "EnforcePartLimits=ALL",
            "PriorityType=priority/multifactor",
            "PriorityWeightFairshare=100000",
            "PriorityWeightQOS=50000",
            "PriorityWeightAge=10000",
            "PreemptType=preempt/qos",
            "PreemptMode=REQUEUE",
            "JobRequeue=1",
            "ReturnToService=2",
            "SlurmctldTimeout=30",
            f"SlurmdTimeout={10 if self.impatient else 30}",
            "InactiveLimit=0",
            f"KillWait={2 if self.impatient else 5}",
            f"MinJobAge={60 if self.impatient else 300}",
            "MaxJobCount=100000",
            "MaxArraySize=10001",
            "AccountingStorageType=accounting_storage/slurmdbd",
            "AccountingStorageHost=127.0.0.1",
            f"AccountingStoragePort={self.port + 2}",
            f"AccountingStoragePass={self.socket}",
            "AccountingStorageTRES=" + ",".join(["gres/gpu", *(f"gres/gpu:{kind}" for kind in types)]),
            "AccountingStorageEnforce=associations,limits,qos,safe",
            "AccountingStoreFlags=job_comment",
            "PrivateData=jobs,usage,users,accounts",  # tenants don't see each other
        ]
        first = self.port + 10
        for kind in self.kinds:
            lines.append(
                f"NodeName={kind.name}-[1-{kind.nodes}] NodeHostname={self.host} NodeAddr=127.0.0.1"
                f" Port=[{first}-{first + kind.nodes - 1}] CPUs={CPUS} Boards=1 SocketsPerBoard=2"
                f" CoresPerSocket={CPUS // 2} ThreadsPerCore=1 RealMemory={MEMORY_MB} State=UNKNOWN"
                + (f" Gres=gpu:{kind.gpu_type}:{kind.gpus}" if kind.gpu_type else "")
            )
            first += kind.nodes
        for kind in self.kinds:
            lines.append(
                f"PartitionName={kind.name} Nodes={kind.name}-[1-{kind.nodes}] State=UP MaxTime=7-0 DefaultTime=60"
                f" DefMemPerCPU=1000 Default={'YES' if kind is self.kinds[0] else 'NO'}"
            )
        return "\n".join(lines) + "\n"

    def _gres(self) -> str:
        lines = ["AutoDetect=off"]
        for kind in self.kinds:
            if kind.gpu_type:
                devices = f"{self.root}/dev/nvidia[0-{kind.gpus - 1}]"
                lines.append(f"NodeName={kind.name}-[1-{kind.nodes}] Name=gpu Type={kind.gpu_type} File={devices}")
        return "\n".join(lines) + "\n"

    def _my_cnf(self) -> str:
        return f"""[mariadbd]
datadir={self.root}/mysql
socket={self.mysql}
pid-file={self.run}/mysql/pid
log-error={self.run}/mysql/log
bind-address=127.0.0.1
port={self.port + 3}
user=mysql
skip-log-bin
skip-name-resolve
innodb_buffer_pool_size=64M
innodb_log_file_size=32M
innodb_lock_wait_timeout=900
innodb_flush_log_at_trx_commit=2
performance_schema=off
"""

    def _slurmdbd(self, password: str) -> str:
        return f"""AuthType=auth/munge
AuthInfo=socket={self.socket}
DbdHost={self.host}
DbdAddr=127.0.0.1
DbdPort={self.port + 2}
CommunicationParameters=NoInAddrAny
SlurmUser=slurm
LogFile={self.logs}/slurm/slurmdbd.log
PidFile={self.run}/slurm/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={self.port + 3}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm
PrivateData=jobs,usage,users,accounts
"""

    def _munge(self) -> None:
        if self.alive("munge/pid"):
            return
        for old in self.socket.parent.glob("socket*"):
            old.unlink()
        command = [
            *("munged", f"--key-file={self.etc}/munge.key", f"--socket={self.socket}"),
            *(f"--pid-file={self.run}/munge/pid", f"--log-file={self.logs}/munge/log"),
            *(f"--seed-file={self.root}/state/munge/seed", "--num-threads=4"),
        ]
        self._start([*_as("munge"), *command])
        self._until(20, "munged", lambda: self._try(["munge", "-n", "-S", str(self.socket), "-o", "/dev/null"]))

    def _database(self) -> None:
        if not (self.root / "mysql" / "mysql").exists():
            made = subprocess.run(
                ["mariadb-install-db", f"--defaults-file={self.etc}/my.cnf", "--user=mysql", "--skip-test-db"],
                capture_output=True,
                text=True,
            )
            if made.returncode:
                raise Broken(f"mariadb-install-db: {made.stdout[-300:]}{made.stderr[-300:]}")
        ask = ["mariadb", "--no-defaults", f"--socket={self.mysql}", "-uroot", "-e"]
        if not self.alive("mysql/pid"):
            subprocess.Popen(
                ["mariadbd", f"--defaults-file={self.etc}/my.cnf"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._until(90, "MariaDB", lambda: self._try([*ask, "select 1"]))
        password = (self.etc / "database.password").read_text()
        user = "slurm@'127.0.0.1'"
        said = f"create database if not exists slurm; create user if not exists {user}; "
        said += f"alter user {user} identified by '{password}'; grant all on slurm.* to {user};"
        if not self._try([*ask, said]):
            raise Broken(f"MariaDB does not take the accounting's user: see {self.run}/mysql/log")

    def _accounting(self) -> None:
        self.start_accounting()
        if self.name not in self.command("sacctmgr", "-nP", "list", "cluster", "format=cluster").split():
            self.command("sacctmgr", "-iQ", "add", "cluster", self.name)

    def start_accounting(self) -> None:
        if not self.alive("slurm/slurmdbd.pid"):
            self._start([*self.prefix, "slurmdbd"])
            self._until(60, "slurmdbd", lambda: self._try(["sacctmgr", "-n", "list", "cluster"]))

    def start_controller(self) -> None:
        if not self.alive("slurm/slurmctld.pid"):
            self._start([*self.prefix, "slurmctld", "-f", str(self.conf)])
            self._until(60, "slurmctld", lambda: self._try(["scontrol", "ping"]))

    def start_node(self, node: str) -> None:
        if not self.alive(f"slurm/slurmd.{node}.pid"):
            self._start([*self.prefix, "slurmd", "-f", str(self.conf), "-N", node])

    def _all_answer(self) -> bool:
        states = self.command("sinfo", "-h", "-N", "-o", "%T").split()
        fine = ("idle", "mixed", "allocated", "completing", "drained", "draining", "reserved")
        return bool(states) and all(state in fine for state in states)

    def lend_python(self, environment: Path) -> Path:
        """A folder with a `python3` that has the packages of a virtual environment, for the users of jobs. Their own
        rights decide: an interpreter in somebody's home is out of their reach, one of the system stands in for it."""
        own = (environment / "bin" / "python3").resolve()
        packages = next(environment.absolute().glob("lib/python3.*/site-packages"))
        version = packages.parent.name
        found = [place for place in (own, Path("/usr/bin") / version) if place.exists() and _open_to_all(place)]
        if not found or not _open_to_all(packages):
            raise Broken(f"jobs can't reach {own} or {packages}: put the checkout where every user may read")
        python = self.root / "bin" / "python3"
        python.parent.mkdir(exist_ok=True)
        _write(python, f'#!/bin/sh\nPYTHONPATH={packages} exec {found[0]} "$@"\n'.encode(), mode=0o755)
        return python.parent

    # ── down ──

    def down(self, *, purge: bool = False) -> None:
        """Stop everything that `up` started. With `purge`, end the jobs and remove the folder too."""
        if not self.etc.exists():
            return
        if purge and self.alive("slurm/slurmctld.pid"):
            self._end_jobs()
        for pid in [*self.run.glob("slurm/slurmd.*.pid"), self.run / "slurm" / "slurmctld.pid"]:
            self.stop(str(pid.relative_to(self.run)))
        for pid_file in ("slurm/slurmdbd.pid", "mysql/pid", "munge/pid"):
            self.stop(pid_file)
        if purge:
            shutil.rmtree(self.root)

    def _end_jobs(self) -> None:
        """Processes of a job outlive slurmd, so they are ended while it is there."""
        try:
            self._try(["scancel", "--state=PENDING"])
            jobs = self.command("squeue", "-h", "-o", "%A").split()
            if jobs:
                self._try(["scancel", *jobs])
                self._until(20, "the end of the jobs", lambda: not self.command("squeue", "-h", "-o", "%A").split())
        except Broken:
            pass

    def alive(self, pid_file: str) -> int:
        """The process of a pid file below run/, or 0."""
        try:
            pid = int((self.run / pid_file).read_text())
            command = Path(f"/proc/{pid}/comm").read_text().strip()
        except (OSError, ValueError):
            return 0
        return pid if command in ("slurmctld", "slurmd", "slurmdbd", "mariadbd", "munged") else 0

    def stop(self, pid_file: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End one daemon and wait until it is gone."""
        pid = self.alive(pid_file)
        if pid:
            os.kill(pid, how)
            deadline = time.monotonic() + 20
            while self.alive(pid_file) == pid:
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.05)
        (self.run / pid_file).unlink(missing_ok=True)

    # ── small things ──

    def command(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise Broken(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-300:]}")
        return done.stdout

    def _try(self, command: Sequence[str]) -> bool:
        return not subprocess.run(
            command, env=self.environment, capture_output=True, stdin=subprocess.DEVNULL
        ).returncode

    def _start(self, command: Sequence[str]) -> None:
        """A daemon that goes to the background by itself. Its output goes to a file: it may keep the descriptor."""
        with (self.root / "start.log").open("a+") as log:
            done = subprocess.run(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
        if done.returncode:
            raise Broken(f"{' '.join(command)} ended with {done.returncode}: see {self.root}/start.log and log/")

    def _until(self, seconds: float, what: str, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > deadline:
                raise Broken(f"{what} took longer than {seconds:.0f} s: see {self.logs}")
            time.sleep(0.05)


def require_machine() -> None:
    """Raise NotHere unless this is root on Debian or Ubuntu."""
    if os.geteuid() != 0:
        raise NotHere("a cluster needs root: it starts jobs as the users that they belong to")
    if not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        raise NotHere("a cluster needs Debian or Ubuntu: its packages come from there")
    if not os.access("/sys", os.R_OK) or not Path("/sys/devices").exists():
        raise NotHere("a cluster needs /sys, which is not mounted here")


def lacking(packages: Sequence[str] = PACKAGES) -> list[str]:
    """The packages that are not installed."""
    asked = subprocess.run(["dpkg-query", "-W", "-f=${Package} ${Status}\n", *packages], capture_output=True, text=True)
    there = {line.split()[0] for line in asked.stdout.splitlines() if line.endswith("ok installed")}
    return [package for package in packages if package not in there]


def install(packages: Sequence[str] = PACKAGES) -> None:
    """Install what is lacking, without letting the packages start daemons of their own."""
    wanted = lacking(packages)
    if not wanted:
        return
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "-q", "update"],
            ["apt-get", "-q", "install", "-y", "--no-install-recommends", *wanted],
        ):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            if done.returncode:
                last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
                raise NotHere(f"{' '.join(command[:3])} failed: {''.join(last)[:200]}")
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)


def _as(user: str) -> tuple[str, ...]:
    entry = pwd.getpwnam(user)
    return ("setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", "--")


def _open_to_all(path: Path) -> bool:
    """Whether every user may get there."""
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))


def _write(path: Path, content: bytes, owner: str = "root", mode: int = 0o644) -> None:
    """Replace a file at once, so that a daemon never reads half of it."""
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(content)
    shutil.chown(fresh, owner)
    fresh.chmod(mode)
    fresh.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("verb", choices=["up", "down"])
    parser.add_argument("--root", type=Path, default=Path("/var/lib/madang-slurm"), help="the cluster's folder")
    parser.add_argument("--port", type=int, default=16_800, help="the first of its 100 ports on loopback")
    parser.add_argument("--name", default="madang", help="what the cluster is called")
    parser.add_argument("--impatient", action="store_true", help="short timeouts, for tests")
    parser.add_argument("--python", type=Path, help="up: lend jobs the Python of this virtual environment")
    parser.add_argument("--purge", action="store_true", help="down: end the jobs and remove the folder")
    given = parser.parse_args()
    cluster = Cluster(given.root, given.port, given.name, impatient=given.impatient)
    started = time.monotonic()
    try:
        if given.verb == "up":
            cluster.up()
            # As Madang's setting MADANG_SLURM is written.
            said = {"conf": str(cluster.conf), "runs": str(cluster.root / "runs"), "makes_users": "madang"}
            said["session_ports"] = "41000-41999"
            if given.python:
                said["path"] = f"{cluster.lend_python(given.python)}:/usr/local/bin:/usr/bin:/bin"
            print(json.dumps({cluster.name: said}))
            print(f"up after {time.monotonic() - started:.1f} s; export SLURM_CONF={cluster.conf}", file=sys.stderr)
        else:
            require_machine()
            cluster.down(purge=given.purge)
    except NotHere as reason:
        print(f"no Slurm here: {reason}", file=sys.stderr)
        return NOT_HERE
    except Broken as reason:
        print(f"the cluster did not come up: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
