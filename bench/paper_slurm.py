"""Slurm on paper: it answers what the engine asks as Slurm does, and counts the questions. It runs nothing."""

from __future__ import annotations

import pwd
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from madang.engines.slurm import Commands

NODE = "NodeName=n-1 Gres=gpu:h100:8 GresUsed=gpu:h100:0 State=IDLE"


class Asked(psycopg.Cursor[Any]):
    """Counts the statements of every connection that is made with it."""

    statements = 0

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        Asked.statements += 1
        return super().execute(*args, **kwargs)

    def executemany(self, *args: Any, **kwargs: Any) -> Any:
        Asked.statements += 1
        return super().executemany(*args, **kwargs)


class Paper(Commands):
    """`ended` gives the rows of sacct that ended since an instant (seconds), `live` those of squeue; both as the engine
    names their fields."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))
        self.calls = 0
        self.ended: Callable[[int], list[list[str]]] = lambda since: []
        self.live: Callable[[], list[list[str]]] = list
        self.limits: dict[str, str] = {}
        self.shares: dict[str, str] = {}
        self.members: dict[tuple[str, str, str], str] = {}

    def account(self, user: str) -> pwd.struct_passwd:
        return pwd.getpwnam("nobody")

    def read(self, *command: str, stdin: str = "") -> str:
        self.calls += 1
        match command:
            case ("sacctmgr", "-nP", "show", "qos", *_):
                return "".join(f"{name}|DenyOnLimit,NoDecay|{to}|madang\n" for name, to in self.limits.items())
            case ("sacctmgr", "-nP", "show", "account", *_):
                return "".join(f"{name}|madang\n" for name in self.shares)
            case ("sacctmgr", "-nP", "show", "assoc", *_):
                accounts = (f"{name}|||{share}||||\n".replace("||||\n", "|||\n") for name, share in self.shares.items())
                users = (f"{'|'.join(who)}|1|{budgets}||\n" for who, budgets in self.members.items())
                return "".join([*accounts, *users])
            case ("scontrol", "-o", "show", "assoc_mgr", *_):
                return "".join(f"QOS={name}(1) GrpTRESMins={to}(0)\n" for name, to in self.limits.items())
            case ("scontrol", "-o", "-d", "show", "node"):
                return NODE + "\n"
            case ("sacct", *words):
                mark = next(word for word in words if word.startswith("--delimiter=")).partition("=")[2]
                since = datetime.strptime(words[words.index("-S") + 1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
                rows = self.ended(int(since.timestamp()))
                return "".join(mark.join([*row[:-1], "paper", row[-1]]) + "\n" for row in rows)
            case ("squeue", *words):
                form = words[words.index("-o") + 1]
                mark = form[: form.index("@", 1) + 1]
                rows = [] if "CANCELLED" in words else self.live()
                return "".join(mark + mark.join(row) + mark + "\n" for row in rows)
            case ("sdiag",):
                return "DBD Agent queue size: 0\n"
        return ""

    def write(self, *command: str) -> str:
        self.calls += 1
        words = dict(word.partition("=")[::2] for word in command if "=" in word)
        match command:
            case ("sacctmgr", "-iQ", "add", "qos", names, *_):
                self.limits |= dict.fromkeys(names.split(","), words["GrpTRESMins"] + "=0")
            case ("sacctmgr", "-iQ", "modify", "qos", *_):
                self.limits |= dict.fromkeys(words["name"].split(","), words["GrpTRESMins"])
            case ("sacctmgr", "-iQ", "add", "account", names, *_):
                self.shares |= dict.fromkeys(names.split(","), words["Fairshare"])
            case ("sacctmgr", "-iQ", "add", "user", names, *_):
                for name in names.split(","):
                    self.members[words["Account"], name, words["Partition"]] = words["QosLevel"]
        return ""
