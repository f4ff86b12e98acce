"""Which site, and with which token: the environment, else what `madang login` kept."""

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
    said = _said()
    url = (os.environ.get("MADANG_URL") or said.url).rstrip("/")
    # A token belongs to the site it was made on: it is never sent to another one.
    token = os.environ.get("MADANG_TOKEN") or (said.token if said.url == url else None)
    return Login(url, token)


def _said() -> Login:
    """What was kept; as if nothing had been where it can't be read."""
    try:
        found = json.loads(_file().read_text())
        return Login(str(found["url"]).rstrip("/"), str(found["token"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return Login()


def keep(login: Login) -> Path:
    """Write it down where only this user can read it, whatever was there before."""
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        json.dump({"url": login.url, "token": login.token}, file)
    draft.replace(path)
    return path


def forget() -> None:
    _file().unlink(missing_ok=True)
