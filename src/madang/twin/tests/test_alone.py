"""The twin is a library of its own: its examples run, and the core needs nothing but the standard library."""

from __future__ import annotations

import doctest
import subprocess
import sys
from importlib import import_module

import pytest

WITHOUT = """
import sys
sys.modules["numba"] = sys.modules["numpy"] = None
from pathlib import Path
import madang.twin as twin
trace = twin.read(Path(sys.argv[1]), gpus=4)
print(twin.simulate(trace, twin.Machine(4), "easy").engine, list(twin.simulate(trace, twin.Machine(4)).starts))
print([name for name in sys.modules if name.startswith("django")])
"""


@pytest.mark.parametrize("module", ["trace", "formats", "policies", "measure", "site", "calibrate", "fit"])
def test_the_examples_run(module):
    failed, tried = doctest.testmod(import_module(f"madang.twin.{module}"))
    assert (failed, tried > 0) == (0, True)


def test_without_numba_and_numpy_and_without_django_a_trace_is_read_and_simulated(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,submit,run,gpus\na,0,10,3\nb,1,10,4\nc,2,5,1\n", encoding="utf-8")
    said = subprocess.run([sys.executable, "-c", WITHOUT, path], capture_output=True, text=True, check=True)
    assert said.stdout == "plain [0, 10, 2]\n[]\n"
