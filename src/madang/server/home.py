"""The folder of one site: its secret key, its files, its runs, its private database."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path


def default_home() -> Path:
    """`MADANG_HOME`, else the place where the system keeps data of this user's programs."""
    if home := os.environ.get("MADANG_HOME"):
        return Path(home).resolve()
    if os.geteuid() == 0:
        return Path("/var/lib/madang")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "madang"


class Home:
    """Paths below one folder; what is inside is made when first asked for, private to its owner."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or default_home()).resolve()
        self.root.mkdir(parents=True, exist_ok=True)

    @property
    def files(self) -> Path:
        return self._folder("files")

    @property
    def runs(self) -> Path:
        return self._folder("runs")

    @property
    def mail(self) -> Path:
        return self._folder("mail")

    @property
    def log(self) -> Path:
        return self._folder("log")

    @property
    def secret_key(self) -> str:
        """Made once, whole or not at all: several processes may ask for it first."""
        path = self.root / "secret-key"
        if not path.exists():
            draft = self.root / f"secret-key.{secrets.token_hex(8)}"
            with open(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(50))
            with suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        return path.read_text()

    @property
    def database(self) -> Path:
        """Where the private PostgreSQL lives. As root it runs as another user, who must be able to reach its folder:
        then it goes below /var/lib, under a name made from this home's path, and nobody's folder is opened up."""
        inside = self.root / "postgres"
        if os.geteuid() != 0 or all(p.stat().st_mode & 0o001 for p in (self.root, *self.root.parents)):
            return inside
        return Path("/var/lib/madang-postgres") / hashlib.sha256(str(self.root).encode()).hexdigest()[:12]

    def _folder(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path
