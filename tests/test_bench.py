"""The Slurm of paper that `make bench-compute` measures on answers the engine as a real one does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench.paper_slurm import Asked, Paper
from bench.report import Figure
from madang.engines.base import START, Limits
from madang.engines.slurm import SlurmEngine
from madang.facilities.compute import host

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def paper(tmp_path: Path) -> Any:
    made = Paper()
    facts: dict[str, Any] = host.connection_facts() | {"cursor_factory": Asked}
    return SlurmEngine(lambda: psycopg.connect(**facts), tmp_path, "paper", made), made


def test_budgets_on_paper_are_made_found_again_and_changed_and_each_question_is_counted(paper: Any) -> None:
    engine, slurm = paper
    wanted = [Limits(f"g-{n}", f"b-{n}", members=("kim",), partitions=("h100",), gpu_seconds=3600) for n in range(3)]
    assert len(engine.sync(wanted, apply=True).missing) == 9
    slurm.calls = Asked.statements = 0
    calm = engine.sync(wanted, apply=True)
    assert (calm.missing, calm.changed, slurm.calls, Asked.statements) == ((), (), 3, 1)
    raised = [*wanted[1:], Limits("g-0", "b-0", members=("kim",), partitions=("h100",), gpu_seconds=7200)]
    assert engine.sync(raised, apply=True).changed == ("b-0",)
    assert slurm.limits == {"b-0": "gres/gpu=120", "b-1": "gres/gpu=60", "b-2": "gres/gpu=60"}


def test_runs_that_ended_on_paper_are_reported_once_however_often_they_are_said(paper: Any) -> None:
    engine, slurm = paper
    end = int(time.time())
    times = [str(end - 60), str(end - 10), str(end), "10", "COMPLETED", "0:0", "gres/gpu:h100=1,gres/gpu=1"]
    rows = [[str(n), str(n), str(n), *times, "n-1", "1", "g", "b", "kim", "h100", "a\nb"] for n in range(1, 4)]
    slurm.ended = lambda since: rows
    page = engine.usage(START)
    assert [(row.gpu_seconds, row.posix_user, row.bare) for row in page.rows] == [(10, "kim", True)] * 3
    assert engine.usage(page.next).rows == ()  # found to be known
    assert engine.usage(page.next).rows == ()  # and not read again
    rows[0] = [*rows[0][:5], str(end + 5), "15", *rows[0][7:]]
    (changed,) = engine.usage(page.next).rows
    assert (changed.engine_run, changed.gpu_seconds) == (page.rows[0].engine_run, 15)


@pytest.mark.parametrize(("value", "met"), [(0.9, True), (1.0, True), (1.1, False)])
def test_a_figure_that_falls_short_says_so(value: float, met: bool) -> None:
    figure = Figure("x", value, at_most=1)
    assert (figure.met, str(figure).startswith("SHORT: ")) == (met, not met)
