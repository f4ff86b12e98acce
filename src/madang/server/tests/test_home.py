from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from madang.server.home import Home, default_home


def test_everything_inside_is_its_owners_alone(tmp_path):
    home = Home(tmp_path / "site")
    assert len(home.secret_key) > 60
    private = [home.files, home.runs, home.mail, home.log]
    assert [path.stat().st_mode & 0o777 for path in private] == [0o700] * 4
    assert (home.root / "secret-key").stat().st_mode & 0o777 == 0o600


def test_processes_that_start_together_have_one_secret_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: Home(tmp_path).secret_key, range(8)))
    assert len(set(keys)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret-key"]


def test_the_folder_is_named_by_the_environment_or_is_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setenv("MADANG_HOME", str(tmp_path / "named"))
    assert default_home() == tmp_path / "named"
    monkeypatch.delenv("MADANG_HOME")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_home() == tmp_path / "madang"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_home() == Path("/var/lib/madang")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another user")
def test_as_root_the_database_lies_where_its_user_can_reach_it(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert Home(closed).database.parent == Path("/var/lib/madang-postgres")
    assert not Home(closed).database.exists()
