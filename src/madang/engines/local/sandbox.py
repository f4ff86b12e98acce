"""The walls around a job: bubblewrap's argument list, and whether this machine can build them.

Inside: /usr and the site's Python read-only, /work (the run's own folder) and a bounded /tmp writable, no network, no
other process, user 1000, no capability, no way to make namespaces, and the system calls that `calls` leaves. Not there:
/home, /root, /etc but a few files, /run, /sys, other runs.

Not done: where the dispatcher runs as root, the job is root's process outside (read-only /proc keeps it from the
kernel's settings). Run the dispatcher as an ordinary user.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from madang.engines.local import calls
from madang.engines.local.shim import handed, options_file

SITE = "/opt/python"
SCRIPT = "/madang/script"
_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "nsswitch.conf")
_OWN_ETC = {
    "passwd": "root:x:0:0:root:/:/bin/false\njob:x:1000:1000:job:/work:/bin/sh\n",
    "group": "root:x:0:\njob:x:1000:\n",
    "hosts": "127.0.0.1 localhost job\n::1 localhost\n",
}


@dataclass
class Sandbox:
    """`readonly`: more folders that jobs may read, at their own path. `python`: the environment jobs find on PATH."""

    readonly: Sequence[Path] = ()
    python: Path | None = field(default_factory=lambda: Path(sys.prefix))
    base: Path | None = field(default_factory=lambda: Path(sys.base_prefix))

    @cached_property
    def probe(self) -> str:
        """Empty when the sandbox works here, else the reason why not, to be shown."""
        if not shutil.which("bwrap"):
            return "bubblewrap (bwrap) is not installed"
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            (place / "work").mkdir()
            write_script(place, "#!/bin/sh\ntest $(id -u) = 1000\n")
            try:
                self.write_etc(place)
                done = self._try(place)
            except (OSError, subprocess.SubprocessError) as error:
                return f"bubblewrap does not start: {error}"
        said = done.stderr.decode(errors="replace").strip()[-300:]
        return "" if done.returncode == 0 else f"bubblewrap does not work here: {said or done.returncode}"

    def _try(self, place: Path, before: Sequence[str] = ()) -> subprocess.CompletedProcess[bytes]:
        options = self.options(place, place / "etc", {"PATH": "/usr/bin:/bin"}, 64, [])
        rules = calls.program(counted=False)
        with options_file(options) as args, handed(rules) as filtered:
            fds = [args.fileno(), filtered.fileno()]
            seccomp = ["--seccomp", str(fds[1])] if rules else []
            return subprocess.run(
                [*before, "bwrap", "--args", str(fds[0]), *seccomp, "--", SCRIPT],
                pass_fds=fds,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=20,
            )

    @cached_property
    def scope(self) -> tuple[str, ...]:
        """The start of a command that runs in a memory-limited cgroup of its own, where systemd can do that."""
        if not Path("/run/systemd/system").is_dir() or not shutil.which("systemd-run") or self.probe:
            return ()
        manager = () if os.geteuid() == 0 else ("--user",)
        command = ("systemd-run", *manager, "--scope", "--quiet", "--collect")
        limits = ("-p", "MemoryMax=256M", "-p", "MemorySwapMax=0", "-p", "TasksMax=64")
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            (place / "work").mkdir()
            write_script(place, "#!/bin/sh\ntrue\n")
            try:
                self.write_etc(place)
                return command if self._try(place, [*command, *limits, "--"]).returncode == 0 else ()
            except (OSError, subprocess.SubprocessError):
                return ()

    @cached_property
    def _features(self) -> str:
        return subprocess.run(["bwrap", "--help"], capture_output=True, text=True, timeout=20).stdout

    @cached_property
    def has_own_python(self) -> bool:
        return self.python is not None and not self.python.is_relative_to("/usr")

    @property
    def path(self) -> str:
        """PATH inside."""
        return f"{SITE}/bin:/usr/local/bin:/usr/bin:/bin" if self.has_own_python else "/usr/local/bin:/usr/bin:/bin"

    @property
    def bare_path(self) -> str:
        """PATH of a trusted job that runs without a sandbox."""
        return f"{self.python}/bin:/usr/local/bin:/usr/bin:/bin" if self.python else "/usr/local/bin:/usr/bin:/bin"

    def write_etc(self, runs: Path) -> None:
        """Put the few files of /etc that are ours below `runs`/etc."""
        folder = runs / "etc"
        folder.mkdir(exist_ok=True)
        for name, text in _OWN_ETC.items():
            if not (folder / name).exists():
                (folder / name).write_text(text)

    def options(
        self, place: Path, etc: Path, environment: Mapping[str, str], memory_mb: int, minors: Sequence[int]
    ) -> list[str]:
        """bwrap's options for the run in `place`, which holds `work` and `script`. `minors`: /dev/nvidia<n> to show."""
        size = ("--size", str(max(64, memory_mb // 2) << 20)) if "--size" in self._features else ()
        out = ["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"]
        out += ["--cap-drop", "ALL", "--hostname", "job", "--uid", "1000", "--gid", "1000"]
        if "--disable-userns" in self._features:
            out.append("--disable-userns")
        # Its first process holds the sandbox together: a job has nothing to open there.
        out += ["--proc", "/proc", "--tmpfs", "/proc/1", "--remount-ro", "/proc/1", *_still(minors)]
        out += ["--dev", "/dev", *size, "--tmpfs", "/dev/shm"]  # noqa: S108
        out += ["--ro-bind", "/usr", "/usr"]
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            host = Path("/", name)
            if host.is_symlink():
                out += ["--symlink", os.readlink(host), f"/{name}"]
            elif host.is_dir():
                out += ["--ro-bind", f"/{name}", f"/{name}"]
        for name in _ETC:
            out += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        for name in _OWN_ETC:
            out += ["--ro-bind", str(etc / name), f"/etc/{name}"]
        # /tmp and /work come before the binds: a site may keep its Python below either.
        out += [*size, "--tmpfs", "/tmp", "--bind", str(place / "work"), "/work"]  # noqa: S108
        if self.has_own_python and self.python:
            out += ["--ro-bind", str(self.python), SITE]
        for folder in [self.base, *self.readonly]:
            if folder and not folder.is_relative_to("/usr"):
                out += ["--ro-bind", str(folder), str(folder)]
        out += ["--ro-bind", str(place / "script"), SCRIPT]
        if minors:
            for device in ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", *(f"nvidia{n}" for n in minors)):
                out += ["--dev-bind-try", f"/dev/{device}", f"/dev/{device}"]
            out += ["--ro-bind-try", "/sys/bus/pci", "/sys/bus/pci", "--ro-bind-try", "/sys/devices", "/sys/devices"]
        out += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/work"]
        for name, value in environment.items():
            out += ["--setenv", name, value]
        return out


def _still(minors: Sequence[int]) -> list[str]:
    """bwrap's options that keep the kernel's settings from a job, whoever it is outside: /proc can't be written to.

    CUDA won't start where a thread can't name itself in /proc/self/task: a job with GPUs may write to its own
    processes, and everything else in /proc is bound over itself, read-only.
    """
    if not minors:
        return ["--remount-ro", "/proc"]
    entries = sorted(path for path in Path("/proc").iterdir() if not path.name.isdigit() and not path.is_symlink())
    return [word for entry in entries for word in ("--ro-bind-try", str(entry), str(entry))]


def write_script(place: Path, text: str) -> None:
    """The executable `place`/script. Written under another name: a file open for writing can't be executed."""
    draft = place / "script.new"
    draft.write_bytes(text.encode())
    draft.chmod(0o500)
    draft.rename(place / "script")
