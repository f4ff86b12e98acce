from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from madang.server.processes import Child, Site
from madang.server.tests.site import alive, children, until

SLEEP = [sys.executable, "-S", "-c", "import time; print('awake', flush=True); time.sleep(600)"]
DEAF = [sys.executable, "-S", "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"]  # fmt: skip  # noqa: E501
PARENT = [
    sys.executable, "-S", "-c",
    "import subprocess, sys; print('awake', flush=True); subprocess.run([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])",  # noqa: E501
]  # fmt: skip


@pytest.fixture
def started(tmp_path):
    made: list[Site] = []

    def start(*commands: list[str]) -> Site:
        site = Site([Child(f"part{n}", words) for n, words in enumerate(commands)], dict(os.environ), log=tmp_path)
        made.append(site)
        site.start()
        for n in range(len(commands)):
            until((tmp_path / f"part{n}.log").read_text, 30)
        return site

    yield start
    for site in made:
        site.stop(1)


def test_what_ends_by_itself_is_started_again_and_its_own_processes_end_with_it(started, capsys):
    site = started(PARENT)
    (child,) = site.children
    first = child.process.pid
    until(lambda: children(first), 30)
    grandchild = children(first)[0]
    os.kill(first, signal.SIGKILL)
    until(lambda: site.watch_once() or (child.process and child.process.pid != first), 30)
    until(lambda: not alive(grandchild), 10)
    assert "part0 ended (-9)" in capsys.readouterr().err


def test_each_failure_waits_longer(started):
    site = started(SLEEP)
    (child,) = site.children
    pauses = []
    for _ in range(3):
        os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()
        site.watch_once()
        pauses.append(round(child.next_start - time.monotonic()))
        child.next_start = 0
        site.watch_once()
    assert pauses == [2, 4, 8]


def test_stopping_ends_what_does_not_listen(started):
    site = started(DEAF, SLEEP)
    pids = [child.process.pid for child in site.children]
    site.stop(1)
    assert [alive(pid) for pid in pids] == [False, False]


def test_what_must_be_looked_after_is_looked_after(started):
    site = started(SLEEP)
    looked = threading.Event()
    site.also = looked.set
    site.watch(until=looked.is_set)
    assert looked.is_set()
