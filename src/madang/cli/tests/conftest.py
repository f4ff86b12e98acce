"""The command against a real server: the pages' own process answers, nothing is replaced."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from madang.cli import app
from madang.facilities.compute.tests import make
from madang.grants.models import Allocation
from madang.identity import actions as people
from madang.identity.models import Person
from madang.jobs import engines
from madang.jobs.models import Job
from madang.jobs.tests import make as jobs


@dataclass
class Terminal:
    """What one person has: a home of their own, and the environment that is set in `environment`."""

    home: Path
    url: str
    environment: dict[str, str | None] = field(default_factory=dict)

    def __call__(self, *words: str, typed: str | None = None, **more: str | None) -> Result:
        environment: dict[str, str | None] = {
            "HOME": str(self.home), "XDG_CONFIG_HOME": None, "MADANG_URL": self.url, "MADANG_TOKEN": None,
            **self.environment, **more,
        }  # fmt: skip
        return CliRunner().invoke(app, list(words), input=typed, env=environment, prog_name="madang")

    def json(self, *words: str) -> Any:
        answer = self(*words, "--json")
        assert answer.exit_code == 0, answer.stderr
        return json.loads(answer.stdout)

    @property
    def login(self) -> Path:
        return self.home / ".config/madang/login.json"


@pytest.fixture
def terminal(tmp_path: Path, live_server: Any) -> Terminal:
    """Of somebody who has not logged in."""
    home = tmp_path / "home"
    home.mkdir()
    return Terminal(home, live_server.url)


@dataclass
class World:
    """Ten GPU-hours, who holds them, and the terminal of who holds them."""

    allocation: Allocation
    holder: Person
    token: str
    type: Terminal
    script: Path

    def job(self, **facts: Any) -> Job:
        return make.job(self.allocation, **facts)


@pytest.fixture
def world(terminal: Terminal, tmp_path: Path, settings: Any) -> Any:
    settings.RUNS_ROOT = tmp_path / "runs"
    engines._built.clear()
    row = make.allocation()
    holder = jobs.holder(row)
    _row, token = people.make_token(holder, name="test", days=1)
    terminal.environment["MADANG_TOKEN"] = token
    script = tmp_path / "train.sh"
    script.write_text("#!/bin/sh\necho done\n")
    yield World(row, holder, token, terminal, script)
    engines._built.clear()
