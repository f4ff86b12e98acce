"""The pytest plugin of the project: one PostgreSQL for the whole test run.

It is the server that `DATABASE_OWNER_URL` names, else a private one that is gone afterwards. A plugin and not a
conftest, because Django's settings are read before the first conftest is.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from madang.server.postgres import Postgres

_private: list[Postgres] = []

os.environ.setdefault("MADANG_HOME", str(Path(tempfile.gettempdir()) / f"madang-test-home-{os.getuid()}"))
os.environ.setdefault("MADANG_SECRET_KEY", "only for tests")
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # synchronous Playwright beside the ORM

if "DATABASE_OWNER_URL" not in os.environ and "PYTEST_XDIST_WORKER" not in os.environ:
    server = Postgres(Path(tempfile.mkdtemp(prefix="madang-test-")))
    # Nothing here outlives the run, so nothing needs to reach the disk.
    app, owner = server.start(60, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
    os.environ["DATABASE_URL"], os.environ["DATABASE_OWNER_URL"] = app, owner
    _private.append(server)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Modules of one `xdist_group` run one after another on one worker.

    pytest-xdist 3.8 writes the group into the id of a test, which pytest 9.2 no longer lets it: the mark would be lost
    without a word. So the module is asked.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]

    class ByModule(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(config.rootpath / nodeid.partition("::")[0]) or str(super()._split_scope(nodeid))

    return ByModule(config, log)


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test's id ends in its name.

    Schemathesis 4.32 tells operations apart by the name alone, from which pytest 9.2 no longer makes the id.
    """
    if not item.nodeid.endswith(f"::{item.name}") and item.parent:
        name, _bracket, rest = item.name.partition("[")
        item._id = item.parent.id.child(name).with_params(rest.removesuffix("]"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of several tests with one id, pytest-xdist would run one and lose the others without a word."""
    if several := [name for name, times in Counter(item.nodeid for item in items).items() if times > 1]:
        raise pytest.UsageError(f"several tests have this id: {', '.join(several)}")


@cache
def _group(module: Path) -> str:
    found = re.search(r"^pytestmark = .*xdist_group\(\"([^\"]+)\"\)", module.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else ""


def pytest_unconfigure() -> None:
    for server in _private:
        server.stop()
        shutil.rmtree(server.root, ignore_errors=True)
    _private.clear()
