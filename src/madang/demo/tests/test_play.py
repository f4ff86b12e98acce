from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from madang.demo import play
from madang.server.home import Home

TOLD = {
    "ok": True,
    "url": "http://localhost:8000",
    "built_s": 1.0,
    "steps": [
        {"step": "The officer publishes the call", "what": "2025년 고성능 컴퓨팅 자원 지원 공고 " * 3, "seconds": 1.25,
         "link": "/calls/gpu-2025-1/", "ok": True},
        {"step": "A member runs a real training job", "what": "[bold]not markup[/bold]", "seconds": 61.0,
         "link": "/compute/jobs/0702f437-4508-473f-bbcb-023817f88fa2/", "ok": False},
    ],
    "people": [{"role": "officer", "name": "김담당", "email": "officer@agency.example"}],
}  # fmt: skip


def shown(width: int) -> list[str]:
    console = Console(width=width, file=StringIO(), highlight=False)
    play.show(TOLD, console)
    play.show_people(TOLD, console)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 129, 200])
def test_the_story_fits_the_terminal_and_its_links_stay_whole(width):
    from rich.cells import cell_len

    lines = shown(width)
    assert max(cell_len(line) for line in lines) <= width
    text = "\n".join(lines)
    for words in ("1 ✓", "2 ✗", "[bold]not markup[/bold]", *(step["link"] for step in TOLD["steps"])):
        assert words in text
    assert text.count("http://localhost:8000") == 1  # where to log in


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_says_whether_every_result_was_checked(tmp_path, ok, code):
    summary, console = tmp_path / "summary.json", Console(width=80, file=StringIO())
    assert play.tell({**TOLD, "ok": ok}, console, Home(tmp_path), summary) == code
    assert json.loads(summary.read_text()) == {**TOLD, "ok": ok}
    assert ("ended early" in console.file.getvalue()) is not ok
    assert TOLD["url"] not in console.file.getvalue()  # nobody can log in before the site is left to serve


def test_a_demonstration_has_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("MADANG_HOME", str(tmp_path))
    assert play._default() == tmp_path
    monkeypatch.delenv("MADANG_HOME")
    monkeypatch.setattr(play, "default_home", lambda: Path("/var/lib/madang"))
    assert play._default() == Path("/var/lib/madang-demo")
