"""Fifteen ways out of a job, each tried on something that is really there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg import conninfo

from madang.engines.base import Missing, RunKey
from madang.engines.local import shim
from madang.engines.tests.conftest import SHARED_SANDBOX

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(bool(SHARED_SANDBOX.probe), reason=SHARED_SANDBOX.probe),
]
PYTHON = "#!/usr/bin/env python3\nimport os, socket, sys, ctypes\n"


@pytest.fixture
def targets(tmp_path):
    """What a job would like to have, with the name of each."""
    secret = tmp_path / "settings.env"
    secret.write_text("SECRET\n")
    server = socket.create_server(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind("\0madang-test-" + tmp_path.name)
    unix.listen()
    address = conninfo.conninfo_to_dict(os.environ["DATABASE_OWNER_URL"])
    folder, database_port = address.get("host") or "/var/run/postgresql", address.get("port") or 5432
    yield {
        "secret": str(secret),
        "port": server.getsockname()[1],
        "abstract": "\0madang-test-" + tmp_path.name,
        "postgres": f"{folder}/.s.PGSQL.{database_port}",
        "pid": os.getpid(),
        "home": str(Path.home()),
        "repository": str(Path(__file__).parents[4]),
    }
    server.close()
    unix.close()


READS = {
    "the site's settings": "print(open({secret!r}).read())",
    "the password file": "print(open('/etc/shadow').read())",
    "the users of the machine": "assert len(open('/etc/passwd').readlines()) > 2",
    "the home": "assert set(os.listdir({home!r})) - {{'.pyenv', '.local'}}",
    "the code of the site": "assert os.listdir({repository!r} + '/src')",
    "another run": "assert len(os.listdir('/work/..')) and os.listdir({other!r})",
    "the database's socket": "socket.socket(socket.AF_UNIX).connect({postgres!r})",
    "an abstract socket": "socket.socket(socket.AF_UNIX).connect({abstract!r})",
    "a port of the machine": "socket.create_connection(('127.0.0.1', {port}), 2)",
    "the network": "assert any(n != 'lo' for _, n in socket.if_nameindex())",
    "our environment": "print(open('/proc/{pid}/environ').read())",
    "a disk": "assert [n for n in os.listdir('/dev') if n.startswith(('vd', 'sd', 'nvme', 'mem', 'kmsg'))]",
    "the site's Python": "open('/opt/python/owned', 'w')",
    "the system": "open('/usr/bin/owned', 'w')",
    "the root folder": "open('/owned', 'w')",
    "its own script": "open('/madang/script', 'a')",
    "the kernel's settings": "open('/proc/sys/kernel/core_pattern', 'r+')",
    "a kernel trigger": "open('/proc/sysrq-trigger', 'w')",
    "a process outside": "os.kill({pid}, 0)",
    "a device of its own": "os.mknod('/work/disk', 0o60666, os.makedev(254, 0))",
    "namespaces of its own": "assert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "a mount": "assert ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0",
    "another user": "os.setuid(0)",
    "the cgroups": "assert os.listdir('/sys/fs/cgroup')",
}


@pytest.mark.parametrize("what", READS)
def test_a_job_cannot_reach(make_rig, targets, what):
    rig = make_rig()
    if what == "the database's socket" and not Path(targets["postgres"]).exists():
        pytest.skip("the database has no socket on this machine")
    other = rig.submit("echo SECRET > out")
    rig.ended(other)
    line = READS[what].format(**targets, other=str(rig.folder(other)))
    job = rig.submit(f"{PYTHON}print('tried', flush=True)\n{line}\nprint('REACHED')\n")
    row = rig.ended(job)
    log = rig.log(job)
    assert (row.outcome, row.exit_code) == ("failed", 1), log
    assert log.startswith(b"tried\nTraceback"), log
    assert b"REACHED" not in log
    assert b"SECRET" not in log


def test_a_job_cannot_fill_the_memory_of_the_machine(make_rig):
    """Its /tmp is full before that; or, where the machine is slow, the watch over its memory was faster."""
    rig = make_rig()
    job = rig.submit(f"{PYTHON}open('/tmp/x', 'wb').write(bytes(3 << 20) * 100)\nprint('REACHED')\n")
    row = rig.ended(job)
    assert (row.outcome, row.exit_code) in [("failed", 1), ("out_of_memory", 137)], rig.log(job)
    assert b"REACHED" not in rig.log(job)


def test_the_sites_python_and_its_libraries_are_there(make_rig):
    rig = make_rig()
    job = rig.submit("#!/usr/bin/env python3\nimport sys, psycopg\nprint(sys.version_info[:2] , psycopg.__version__)\n")
    assert rig.ended(job).outcome == "completed", rig.log(job)
    assert rig.log(job).decode().startswith(str(sys.version_info[:2]))


def test_a_sandbox_that_does_not_start_is_said_and_costs_nothing(make_rig):
    rig = make_rig()
    rig.dispatcher.sandbox = type(SHARED_SANDBOX)(readonly=[Path("/nowhere/at/all")])
    rig.dispatcher.sandbox.__dict__["probe"] = ""  # it worked when the dispatcher started
    job = rig.submit("echo never")
    row = rig.ended(job)
    assert (row.outcome, row.started_at, row.gpu_seconds) == ("failed", None, 0)
    assert "sandbox did not start" in row.reason
    assert b"bwrap: " in rig.log(job)


def test_links_that_a_job_leaves_behind_lead_nowhere(make_rig, tmp_path):
    rig = make_rig()
    (tmp_path / "secret").write_text("SECRET")
    script = (
        f"ln -s {tmp_path} dir; ln -s {tmp_path}/secret link; mkfifo pipe; mkdir d; ln -s ../../.. d/up; echo ok > good"
    )
    job = rig.submit(script)
    assert rig.ended(job).outcome == "completed", rig.log(job)
    key = RunKey(job)
    assert [entry.path for entry in rig.engine.files(key)] == ["good"]
    for path in ("dir/secret", "link", "pipe", "d", "d/up/job.json", "../job.json", "/etc/passwd", "", "good/", "a\0b"):
        with pytest.raises(Missing):
            rig.engine.open_file(key, path)


def on_a_small_disk(tmp_path, script, sources):
    """How such a job ended on a disk of its own, of one megabyte, and what that disk said then."""
    orders = {
        "sources": sources,
        "command": ["/place/script"],
        "sandboxed": False,
        "options": [],
        "scope": [],
        "calls": "",
        "environment": {"PATH": "/usr/bin:/bin"},
        "limit_s": 60,
        "warn_s": 1,
        "grace_s": 1,
        "memory_mb": 512,
        "address_space": 0,
        "log_bytes": 1 << 20,
        "file_bytes": 1 << 30,
        "processes": 100,
    }
    (tmp_path / "job.json").write_text(json.dumps(orders))
    (tmp_path / "script").write_text(f"#!/bin/sh\n{script}")
    (tmp_path / "script").chmod(0o700)
    steps = "cp /given/job.json /given/script /place && mkdir /place/work && python3 -I -S /shim.py /place"
    steps += " && cat /place/exit.json && df /place"
    command = ["bwrap", "--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"]
    command += ["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev"]
    command += ["--tmpfs", "/tmp", "--size", str(1 << 20), "--tmpfs", "/place"]
    command += ["--ro-bind", str(tmp_path), "/given", "--ro-bind", shim.__file__, "/shim.py", "sh", "-c", steps]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    end, _rest = json.JSONDecoder().raw_decode(done.stdout)
    return end, done.stdout


def test_a_job_that_fills_the_disk_is_said_to_have_ended(tmp_path):
    """The process beside the job has room for its end all the same."""
    fill = "i=0; while printf x > small$i; do i=$((i + 1)); done 2>/dev/null\n"
    end, said = on_a_small_disk(tmp_path, f"head -c 2000000 /dev/zero > large\n{fill}exit 7\n", [])
    assert (end["exit"], end["why"], end["error"]) == (7, None, "")
    assert "100%" in said


def test_an_input_larger_than_the_disk_is_a_run_that_could_not_start_and_leaves_the_disk_empty(tmp_path):
    (tmp_path / "large").write_bytes(bytes(2_000_000))
    end, said = on_a_small_disk(tmp_path, "echo ran\n", [("in/large", "/given/large")])
    assert (end["started"], end["exit"], end["error"]) == (None, None, "could not start: No space left on device")
    assert "100%" not in said
