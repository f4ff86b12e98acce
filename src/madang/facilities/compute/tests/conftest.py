import pytest

from madang.jobs import engines


@pytest.fixture(autouse=True)
def runs(settings, tmp_path):
    """The runs of one test are its own."""
    settings.RUNS_ROOT = tmp_path / "runs"
    engines._built.clear()
    yield settings.RUNS_ROOT
    engines._built.clear()
