"""The short form. Nothing in it depends on how fast the machine is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from psycopg import conninfo

from madang.engines.local import Sandbox
from madang.server.postgres import binaries
from madang.server.tests.site import environment

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.sandbox, pytest.mark.xdist_group("killed again and again")]


@pytest.fixture(scope="module")
def tables(copies: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the migrations made of this run's own database, as SQL: migrating another one takes ten times as long.

    Nothing where the run has another server, on which the roles may have other names.
    """
    owner, application = (os.environ[name] for name in ("DATABASE_OWNER_URL", "DATABASE_URL"))
    if [conninfo.conninfo_to_dict(url)["user"] for url in (owner, application)] != ["madang_owner", "madang"]:
        return {}
    made = tmp_path_factory.mktemp("fault") / "tables.sql"
    address = conninfo.make_conninfo(owner, dbname=copies.plain)
    command = [binaries()[0] / "pg_dump", "--schema-only", f"--file={made}", address]
    done = subprocess.run(command, capture_output=True, check=False)
    return {} if done.returncode else {"TABLES": str(made)}


@pytest.fixture(scope="module")
def figures(tables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    if reason := Sandbox().probe:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("fault")
    with ThreadPoolExecutor() as pool:  # the snapshot waits for most of its time
        snapshot, killed = pool.map(lambda parts: short(parts, folder, tables), ["snapshot", "server life"])
    return snapshot | killed


def short(parts: str, folder: Path, tables: dict[str, str]) -> dict[str, float]:
    """What these parts counted, on a server of their own."""
    found = folder / f"{parts}.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.fault", "--short"],
        env=environment(JSON=str(found), PARTS=parts, **tables),
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    assert found.exists(), done.stderr
    return {row["name"]: row["value"] for row in json.loads(found.read_text())}


def test_the_server_and_those_who_work_are_killed_while_answers_are_under_way(figures):
    assert figures["rounds"] >= 13
    assert figures["acknowledged"] > 100
    assert figures["ambiguous"] > 0


@pytest.mark.parametrize("what", ["lost", "overspent", "double charged", "forgotten holds", "taken twice", "drift"])
def test_a_kill_leaves_nothing(figures, what):
    assert figures[what] == 0


def test_a_transaction_that_stays_open_stops_nobody_else(figures):
    assert figures["transaction open s"] >= 10
    assert figures["holds and settlements meanwhile"] > 100
