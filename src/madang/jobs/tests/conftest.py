import pytest

from madang.jobs.tests import make

paper = pytest.fixture(make.paper_host)
