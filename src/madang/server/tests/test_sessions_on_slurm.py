"""Sessions on the nodes of a real Slurm, behind the real proxy: who comes in, who doesn't, and what it costs.

MADANG_JUPYTER and MADANG_TENSORBOARD name the real programs, as in `test_sessions_real`.
"""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from madang.engines.base import DOOR, Missing, Port, RunKey
from madang.engines.local.folders import place as folder_of
from madang.facilities.compute import host, queries, sessions
from madang.facilities.compute.models import PosixAccount, Session
from madang.facilities.compute.tests import make
from madang.facilities.compute.tests.test_on_slurm import over, place, slurm, told, until  # noqa: F401
from madang.identity.models import Person
from madang.jobs import actions, engines
from madang.jobs import queries as job_queries
from madang.jobs.models import Job
from madang.jobs.tests import make as jobs
from madang.ledger.verify import verify
from madang.server import sessions as proxies
from madang.server.tests.proxied import Running, browser
from madang.server.tests.test_door import LAB, free_ports
from madang.workflow.moment import now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("slurm")]
KNOCK = """import http.client, os, pwd, ssl, sys
anybody = ssl._create_unverified_context()
asked = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), timeout=10, context=anybody)
asked.request("GET", "/")
print(pwd.getpwuid(os.getuid()).pw_name, asked.getresponse().status)
"""
JUPYTER = os.environ.get("MADANG_JUPYTER") or ""
TENSORBOARD = os.environ.get("MADANG_TENSORBOARD") or ""


@pytest.fixture
def proxy(slurm, place, settings, monkeypatch):  # noqa: F811
    settings.SLURM[slurm.name]["session_ports"] = free_ports()
    engines._built.clear()
    monkeypatch.setattr(proxies, "LOOK_S", 0.3)
    with Running(settings) as running:
        yield running
    engines._built.clear()


def program(slurm: Any, text: str) -> str:  # noqa: F811
    """A program that every user of the nodes can start."""
    path = slurm.root / "programs" / uuid4().hex[:8] / "program"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def started(lead: Person, row: Any, command: str, **facts: Any) -> Session:
    session = make.session(row, lead, kind=make.kind(command=command, idle_s=60, **facts), limit_s=600)
    actions.hand_over(session.job)
    until(lambda: Session.objects.get(pk=session.pk).ready_at, 60)
    return Session.objects.select_related("job", "kind").get(pk=session.pk)


def as_user(name: str, *command: str) -> subprocess.CompletedProcess[str]:
    entry = pwd.getpwnam(name)
    switch = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    return subprocess.run([*switch, *command], capture_output=True, text=True, check=False)


def test_a_session_runs_on_a_node_is_opened_through_the_proxy_and_is_charged(slurm, place, proxy):  # noqa: F811
    row = make.allocation(place)
    told(row)
    lead = jobs.holder(row)
    session = started(lead, row, program(slurm, LAB.replace("#!/usr/bin/env python3", "#!/usr/bin/python3")))
    key = RunKey(session.job.uuid)
    way = engines.engine_named(slurm.name).way_in(key)
    assert isinstance(way, Port)
    assert (way.host, way.port in engines.engine_named(slurm.name).ports) == ("127.0.0.1", True)

    visitor = browser(proxy, lead, session)
    answer = visitor.get("/lab?x=1")
    assert (answer.status, '"/lab?x=1"' in answer.text) == (200, True)
    assert way.token not in answer.text
    assert queries.log_tail(session.job).text.startswith("up /")

    # Another tenant on the same node: its folder and its door are closed to them.
    other = jobs.holder(make.allocation(place))
    name = PosixAccount.objects.get(person=session.job.person).name
    stranger = host.account_of(other, place.cluster)
    subprocess.run(["useradd", "-M", "-N", stranger], check=True)
    try:
        door = folder_of(slurm.root / "runs", key) / DOOR
        assert stat.S_IMODE(door.stat().st_mode) == 0o600
        assert as_user(name, "cat", str(door)).returncode == 0
        assert "Permission denied" in as_user(stranger, "cat", str(door)).stderr
        asked = as_user(stranger, "/usr/bin/python3", "-c", KNOCK, str(way.port))
        assert asked.stdout == f"{stranger} 403\n", asked.stderr
    finally:
        subprocess.run(["userdel", stranger], check=True)

    sessions.end(lead, session=session)
    until(lambda: over(session.job))
    proxy.until(lambda: visitor.get("/").status == 403)
    job = Job.objects.get(pk=session.job_id)
    assert job.outcome == "cancelled"
    (run,) = job_queries.runs_of(job)
    assert run.gpu_seconds >= 1
    assert jobs.balance(row) == (0, run.gpu_seconds, row.amount - run.gpu_seconds)
    assert verify() == []
    with pytest.raises(Missing):
        engines.engine_named(slurm.name).way_in(key)


def test_a_run_that_points_at_a_port_outside_of_the_range_leads_nowhere(slurm, place, proxy):  # noqa: F811
    """As a job would that wants the proxy to speak for it to something else on its node."""
    row = make.allocation(place)
    told(row)
    text = '#!/bin/sh\nprintf \'{"port": 22, "certificate": "%064d", "token": "%043d"}\' 0 0 > ../door\nsleep 30\n'
    job = make.job(row, script=text, limit_s=60)
    actions.hand_over(job)
    key, engine = RunKey(job.uuid), engines.engine_named(slurm.name)
    until(lambda: (folder_of(slurm.root / "runs", key) / DOOR).exists())
    assert engine.door(key)[0] == 22
    with pytest.raises(Missing, match="port 22"):
        engine.way_in(key)
    engine.cancel(job.uuid)
    over(job)


def packages_of(command: str) -> Path:
    return next(Path(command).parent.parent.glob("lib/python3.*/site-packages"))


@pytest.mark.skipif(not JUPYTER, reason="MADANG_JUPYTER doesn't name a JupyterLab")
def test_a_real_notebook_computes_as_its_person_on_the_node_and_ends_when_idle(slurm, place, proxy):  # noqa: F811
    packages, share = packages_of(JUPYTER), Path(JUPYTER).parent.parent / "share" / "jupyter"
    lab = (
        f'#!/bin/sh\nexport PYTHONPATH="$PYTHONPATH:{packages}" JUPYTER_PATH={share}\n'
        f'exec /usr/bin/{packages.parent.name} -m jupyterlab --LabApp.app_dir={share}/lab "$@"\n'
    )
    row = make.allocation(place)
    told(row)
    lead = jobs.holder(row)
    session = started(lead, row, program(slurm, lab))
    visitor = browser(proxy, lead, session)
    assert "JupyterLab" in visitor.get("/lab").text
    name = PosixAccount.objects.get(person=lead).name
    said = visitor.run("import os, pwd; print(6 * 7, pwd.getpwuid(os.getuid()).pw_name, os.environ['MADANG_GPUS'])")
    assert said == f"42 {name} 1\n"
    kernels = visitor.run("import glob; print(glob.glob('/tmp/session-*/jupyter/kernel-*-ipc-1') != [])")
    assert kernels == "True\n"  # no port that other users of the node could listen at
    assert "other users of this machine could come in" in visitor.run("import debugpy")
    assert '"disabledExtensions": ["@jupyterlab/debugger-extension"]' in visitor.get("/lab").text

    for _ in range(2):
        proxy.look()  # what was done until now is written down
    Session.objects.update(active_at=now() - timedelta(seconds=61))
    until(lambda: Job.objects.get(pk=session.job_id).cancel_asked_at)
    job = over(session.job)
    assert (job.outcome, Session.objects.get(pk=session.pk).idle_at is None) == ("cancelled", False)
    log = queries.log_tail(job).text
    assert not [secret for secret in visitor.cookies.values() if secret in log]
    assert verify() == []


@pytest.mark.skipif(not TENSORBOARD, reason="MADANG_TENSORBOARD doesn't name a TensorBoard")
def test_a_real_tensorboard_shows_what_lies_in_its_folder_on_the_node(slurm, place, proxy):  # noqa: F811
    packages = packages_of(TENSORBOARD)
    command = Path(program(slurm, ""))
    (command.parent / "python3").write_text(
        f'#!/bin/sh\nPYTHONPATH={packages} exec /usr/bin/{packages.parent.name} "$@"\n'
    )
    (command.parent / "python3").chmod(0o755)
    row = make.allocation(place)
    told(row)
    lead = jobs.holder(row)
    session = started(lead, row, str(command), program="tensorboard")
    visitor = browser(proxy, lead, session)
    assert "TensorBoard" in visitor.get("/").text
    assert visitor.get("/data/runs").text.strip() == "[]"
    sessions.end(lead, session=session)
    assert over(session.job).outcome == "cancelled"
