"""The world of these tests is built once for a run, in a database of its own, and copied for whoever changes it.

A copy is committed for real: verbs run in transactions of their own, what comes after the commit happens, and an error
of the database is one, as on a site. The databases of other tests never see any of it.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.db import ProgrammingError, connection
from django.test import override_settings
from django.test.utils import setup_databases, teardown_databases

from madang.twin import effect
from tests import world as worlds

SITE = connection.settings_dict["NAME"]  # before the tests have a database of their own


@pytest.fixture(autouse=True)
def _few_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page is asked for hundreds of times: the twin simulates few jobs then."""
    monkeypatch.setattr(effect, "JOBS", 5000)


def _gone(cursor: Any, name: str) -> None:
    try:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    except ProgrammingError:  # autovacuum is at work there, which only a plain one can end
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')


@dataclass
class Copies:
    """Copies of databases and of the files that belong to them."""

    plain: str
    folder: Path
    made: list[str] = field(default_factory=list)

    def make(self, name: str, of: str) -> None:
        connection.close()
        with connection._nodb_cursor() as cursor:  # type: ignore[attr-defined]
            _gone(cursor, name)
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
                [of],
            )
            cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{of}"')
        self.made.append(name)
        if (self.folder / of).exists():
            shutil.copytree(self.folder / of, self.folder / name, dirs_exist_ok=True)

    def drop(self, name: str) -> None:
        connection.close()
        with connection._nodb_cursor() as cursor:  # type: ignore[attr-defined]
            _gone(cursor, name)
        self.made.remove(name)
        shutil.rmtree(self.folder / name, ignore_errors=True)

    @contextmanager
    def using(self, name: str) -> Iterator[None]:
        """Everything inside reads and writes that database, and the files beside it."""
        from madang.jobs import engines

        before = connection.settings_dict["NAME"]
        connection.close()
        connection.settings_dict["NAME"] = name
        refusals = logging.getLogger("django.request")  # thousands of refusals are what these tests want to see
        level = refusals.level
        refusals.setLevel(logging.CRITICAL)
        files = self.folder / name
        engines._built.clear()
        try:
            with override_settings(MEDIA_ROOT=files / "files", RUNS_ROOT=files / "runs"):
                yield
        finally:
            refusals.setLevel(level)
            connection.close()
            connection.settings_dict["NAME"] = before
            engines._built.clear()


@pytest.fixture(scope="session")
def copies(
    django_db_setup: None,
    django_db_keepdb: bool,
    django_db_createdb: bool,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Copies]:
    made = None
    with django_db_blocker.unblock():
        if connection.settings_dict["NAME"] == SITE:  # no test with the marker django_db was chosen
            made = setup_databases(verbosity=0, interactive=False, keepdb=django_db_keepdb and not django_db_createdb)
        assert connection.settings_dict["NAME"] != SITE
        copies = Copies(connection.settings_dict["NAME"], tmp_path_factory.mktemp("site"))
    yield copies
    with django_db_blocker.unblock():
        for name in list(copies.made):
            copies.drop(name)
        if made and not django_db_keepdb:
            teardown_databases(made, verbosity=0)


@pytest.fixture(scope="session")
def built(copies: Copies, django_db_blocker: Any) -> tuple[str, worlds.World]:
    """The database that holds the world, never changed after it is built, and what is where in it."""
    name = f"{copies.plain}_world"
    with django_db_blocker.unblock():
        copies.make(name, copies.plain)
        with copies.using(name):
            world = worlds.build()
    return name, world


@pytest.fixture(scope="session")
def built_large(copies: Copies, built: tuple[str, worlds.World], django_db_blocker: Any) -> tuple[str, worlds.World]:
    """The same with thirty-odd of everything that a page lists."""
    name = f"{copies.plain}_large"
    with django_db_blocker.unblock():
        copies.make(name, built[0])
        with copies.using(name):
            world = worlds.enlarge(built[1])
    return name, world


@contextmanager
def copied(copies: Copies, source: tuple[str, worlds.World], suffix: str, blocker: Any) -> Iterator[worlds.World]:
    name = f"{copies.plain}_{suffix}"
    with blocker.unblock():
        copies.make(name, source[0])
        try:
            with copies.using(name):
                yield source[1]
        finally:
            copies.drop(name)


@pytest.fixture(scope="module")
def world(
    copies: Copies, built: tuple[str, worlds.World], django_db_blocker: Any, request: pytest.FixtureRequest
) -> Iterator[worlds.World]:
    """The world, for tests that change nothing that another one of the module minds."""
    with copied(copies, built, request.module.__name__.rpartition("test_")[2], django_db_blocker) as world:
        yield world


@pytest.fixture
def fresh(copies: Copies, built: tuple[str, worlds.World], django_db_blocker: Any) -> Iterator[worlds.World]:
    """The world, for one test alone."""
    with copied(copies, built, "fresh", django_db_blocker) as world:
        yield world
