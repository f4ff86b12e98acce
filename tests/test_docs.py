"""What README, CONTRIBUTING and docs/ say is so: links lead somewhere, commands and addresses exist, examples run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import typer.main
from django.db import connection
from django.urls import Resolver404, get_resolver, resolve

from madang.catalog.tests import make as catalog
from madang.cli import app
from madang.facilities.compute import host
from madang.facilities.compute.tests import make as compute
from madang.identity import actions as identity
from madang.jobs import engines
from madang.jobs.tests import make as jobs

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
TRANSLATED = sorted((DOCS / "ko").rglob("*.md"))
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^|[`(]|/bin/)madang +([a-z]+)([^`\n]*)", re.MULTILINE)
ADDRESS = re.compile(
    r"`(?:GET |POST )?(/[^`\s]*(?: of [^`]*)?)`|https?://(?:madang\.example|localhost:8000)(/[^\s\"`)]*)"
)
MARKED = re.compile(r"<!-- run -->\n```(\w+)\n(.*?)```", re.DOTALL)
# Of the machine, not of the site.
FOLDERS = ("/usr", "/etc", "/var", "/opt", "/run", "/home", "/tmp", "/work", "/proc")


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def headings(file: Path) -> set[str]:
    """The anchors of a page, as the usual viewers make them."""
    lines = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("file", PAGES, ids=name)
def test_every_link_and_picture_leads_somewhere(file: Path) -> None:
    lost = []
    for target in LINK.findall(file.read_text("utf-8")):
        path, _hash, anchor = target.partition("#")
        if "://" in path:
            continue
        there = (file.parent / path).resolve() if path else file
        if not there.is_relative_to(ROOT) or not there.exists() or (anchor and anchor not in headings(there)):
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize("file", PAGES, ids=name)
def test_every_command_that_is_named_exists_with_its_options(file: Path) -> None:
    root = typer.main.get_command(app)
    commands = root.commands  # type: ignore[attr-defined]
    unknown = []
    for command, rest in COMMAND.findall(file.read_text("utf-8")):
        ours = rest.partition(" -- ")[0]
        options = set(re.findall(r"(?<!\S)(--?[a-z][a-z-]*)", ours.split("#")[0]))
        known, named = {"--help"}, commands.get(command)
        if subcommands := getattr(named, "commands", None):
            named = subcommands.get(ours.split()[0] if ours.split() else "")
        if named:
            known |= {option for parameter in named.params for option in parameter.opts}
        if not named or not options <= known:
            unknown.append(f"madang {command}{rest}")
    assert unknown == []


def addresses(file: Path) -> Iterator[str]:
    for quoted, whole in ADDRESS.findall(file.read_text("utf-8")):
        path = (quoted or whole).partition("?")[0]
        if path and not path.startswith(FOLDERS):
            yield path


@pytest.mark.parametrize("file", PAGES, ids=name)
def test_every_address_that_is_named_is_one_of_the_site(file: Path) -> None:
    assert get_resolver().url_patterns
    lost = []
    for path in addresses(file):
        filled = re.sub(r"<[^>]*>|\{[^}]*\}", "1", path)
        try:
            resolve(filled)
        except Resolver404:
            lost.append(path)
    assert lost == []


@pytest.mark.parametrize("file", TRANSLATED, ids=name)
def test_a_translation_has_the_same_parts_and_pictures(file: Path) -> None:
    def shape(text: str) -> list[str]:
        parts = re.findall(r"^(?:(#+) |!\[[^\]]*\]\([./]*pictures/(\S+?)\.(?:ko|en)\.|(\|---))", text, re.MULTILINE)
        return ["".join(part) for part in parts]

    assert shape(file.read_text("utf-8")) == shape((DOCS / file.relative_to(DOCS / "ko")).read_text("utf-8"))


@pytest.mark.parametrize("file", PAGES, ids=name)
def test_a_page_shows_pictures_of_its_own_language(file: Path) -> None:
    shown = [target for target in LINK.findall(file.read_text("utf-8")) if "pictures/" in target]
    other = ".en." if file in TRANSLATED else ".ko."
    if file.name != "README.md":
        assert [target for target in shown if other in target] == []


@pytest.mark.parametrize("file", PAGES, ids=name)
def test_a_page_has_one_title_and_skips_no_level(file: Path) -> None:
    levels = [len(signs) for signs in re.findall(r"^(#+) ", outside_code(file), re.MULTILINE)]
    assert levels[:1] == [1]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def outside_code(file: Path) -> str:
    return re.sub(r"```.*?```", "", file.read_text("utf-8"), flags=re.DOTALL)


# --- the examples ------------------------------------------------------------------------------------------------


@pytest.fixture
def tenant(transactional_db, settings, tmp_path, live_server):
    """The secret of somebody who holds ten GPU-hours on a running site."""
    settings.RUNS_ROOT = tmp_path / "runs"
    engines._built.clear()
    where = compute.partition()
    catalog.rate(where.resource)
    row = compute.allocation(where)
    _token, secret = identity.make_token(jobs.holder(row), name="docs", days=1)
    yield secret
    engines._built.clear()


def examples(language: str) -> list[str]:
    found = [text for tongue, text in MARKED.findall((DOCS / "developer.md").read_text("utf-8")) if tongue == language]
    assert found
    return found


def filled(text: str, url: str, secret: str) -> str:
    return text.replace("https://madang.example", url).replace("mdg_…", secret)


def test_the_examples_in_python_run(tenant, live_server, capsys) -> None:
    for text in examples("python"):
        exec(compile(filled(text, live_server.url, tenant), "docs/developer.md", "exec"), {"__name__": "docs"})
    said = capsys.readouterr().out
    assert "10.0 GPU-hours left of" in said
    assert "accepted 600 GPU-seconds held" in said
    assert "422" in said


def test_the_examples_of_the_command_line_run(tenant, live_server, tmp_path) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    (tmp_path / "train.py").write_text("#!/usr/bin/env python3\nprint('hello')\n")
    # A refusal is an exit code here, as it is not without -f.
    text = filled("".join(examples("sh")), live_server.url, tenant).replace("curl -s", "curl -sf")
    done = subprocess.run(
        ["sh", "-e", "-c", text],
        cwd=tmp_path,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "COLUMNS": "200",
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "10.00" in done.stdout
    assert "train.py" in done.stdout
    assert '"version"' in done.stdout


@pytest.mark.django_db
def test_the_alarm_of_the_operator_names_who_keeps_a_transaction_open() -> None:
    (alarm,) = re.findall(r"```sql\n(SELECT .*?);\n```", (DOCS / "operator/README.md").read_text("utf-8"), re.DOTALL)
    with connection.cursor() as cursor, host.connect() as forgotten:
        forgotten.execute("SELECT 'forgotten'")
        mine = str(forgotten.info.backend_pid)
        cursor.execute(alarm)
        assert [row for row in cursor.fetchall() if row[1] == mine] == []
        cursor.execute(alarm.replace("10 minutes", "0 minutes"))
        (row,) = [row for row in cursor.fetchall() if row[1] == mine]
    assert row[0].startswith("open for 00:00:")
    assert row[3] == "SELECT 'forgotten'"
