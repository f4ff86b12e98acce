from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the user whom root drops to can reach, which pytest's own isn't."""
    made = Path(tempfile.mkdtemp(prefix="madang-server-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)
