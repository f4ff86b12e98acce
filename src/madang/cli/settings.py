"""Which site, and with which token: the options, else the environment, else what `madang login` kept."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_URL = "http://localhost:8000"


@dataclass(frozen=True)
class Login:
    url: str = DEFAULT_URL
    token: str | None = None


def _file() -> Path:
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "madang" / "login.json"


def kept() -> Login:
    """`MADANG_URL` and `MADANG_TOKEN`, each before what was kept."""
    said = {}
    if _file().exists():
        said = json.loads(_file().read_text())
    url = os.environ.get("MADANG_URL") or said.get("url") or DEFAULT_URL
    # A token belongs to the site it was made on: it is never sent to another one.
    token = os.environ.get("MADANG_TOKEN") or (said.get("token") if said.get("url") == url else None)
    return Login(url.rstrip("/"), token)


def keep(login: Login) -> Path:
    """Write it down where only this user can read it."""
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
        json.dump({"url": login.url, "token": login.token}, file)
    return path


def forget() -> None:
    _file().unlink(missing_ok=True)
