"""`madang demo` on a real Slurm, as `make demo ENGINE=slurm` plays it: its job runs there, and is charged once."""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from madang.engines.tests import clusters
from madang.server.tests.site import TestSite, madang, site, until

pytest.importorskip("sklearn", reason="the extra demo is not installed")
pytestmark = pytest.mark.xdist_group("slurm")
RUNS = """
SELECT j.state, j.outcome, j.engine, j.posix_user, j.held, j.used, r.gpu_seconds, r.outcome,
  (SELECT count(*) FROM ledger_entry e WHERE e.ext_key = r.key AND e.kind = 'settle'),
  (SELECT coalesce(sum(amount), 0) FROM ledger_entry e WHERE e.ext_key = r.key)
FROM jobs_job j JOIN jobs_run r ON r.job_id = j.id
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Any, str]]:
    """A Slurm of its own, and what a server is told of it; or a skip with the reason."""
    if os.environ.get("SLURM") == "0":
        pytest.skip("no Slurm here: SLURM=0 in the environment")
    if not clusters.SCRIPT.exists():
        pytest.skip("no dev/slurm.py: this is not a checkout")
    dev = clusters.load()
    made = dev.Cluster(Path(f"/var/lib/madang-slurm-demo-{os.getpid()}"), clusters.free_ports(200), "story")
    try:
        made.up()
        python = made.lend_python(Path(sys.prefix))
    except (dev.NotHere, dev.Broken) as reason:
        made.down(purge=True)
        pytest.skip(f"no Slurm here: {reason}")
    said = {"conf": str(made.conf), "runs": str(made.root / "runs"), "makes_users": f"mdd{os.getpid()}x"}
    try:
        yield made, json.dumps({made.name: said | {"path": f"{python}:/usr/local/bin:/usr/bin:/bin"}})
    finally:
        made.down(purge=True)
        for entry in pwd.getpwall():
            if entry.pw_name.startswith(said["makes_users"]):
                clusters.remove_user(entry.pw_name)


@pytest.fixture
def place() -> Iterator[TestSite]:
    with site() as made:
        yield made


def asked(place: TestSite, question: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(place.urls()["DATABASE_URL"]) as conn:
        return conn.execute(question).fetchall()  # type: ignore[arg-type]


def test_the_story_is_played_on_slurm_and_its_job_is_charged_once_also_when_the_site_comes_back(
    cluster, place, tmp_path
):
    slurm, setting = cluster
    summary = tmp_path / "summary.json"
    words = ["demo", "--headless", "--json", str(summary), "--home", str(place.root), "--port", str(place.port)]
    played = madang(*words, seconds=900, COLUMNS="80", MADANG_SLURM=setting)
    assert played.returncode == 0, played.stdout + played.stderr
    told = json.loads(summary.read_text())
    assert (told["ok"], [step["ok"] for step in told["steps"]]) == (True, [True] * 8)
    assert float(told["steps"][5]["what"].split()[1].rstrip(";")) > 0.95
    assert "without a sandbox" not in told["steps"][5]["what"]
    assert "Traceback" not in played.stderr

    ran = slurm.command("sacct", "-anPXD", "-S", "now-1hours", "--format=State,ElapsedRaw,User,QOS")
    ((state, seconds, user, budget),) = (line.split("|") for line in ran.splitlines())
    assert (state, budget.startswith("allocation-")) == ("COMPLETED", True)

    place.start(MADANG_SLURM=setting)
    try:
        since = asked(place, "SELECT now()")[0][0]
        seen = "SELECT count(*) FROM jobs_watch WHERE answered_at > %s AND error = ''"
        with psycopg.connect(place.urls()["DATABASE_URL"], autocommit=True) as conn:
            until(lambda: conn.execute(seen, [since]).fetchone()[0], why="the cluster wasn't asked again")
        used = int(seconds)
        assert asked(place, RUNS) == [("ended", "completed", slurm.name, user, 0, used, used, "completed", 1, used)]
    finally:
        place.end()
    counted = madang("ledger", "verify", "--json", "--home", str(place.root))
    assert (counted.returncode, json.loads(counted.stdout)) == (0, []), counted.stderr
