"""`madang demo`: the reference site on this machine, the story of one company, and then the site to walk around in."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from madang.server.home import Home
from madang.server.up import Address, running, serve

Say = Callable[[str], None]


def demo(
    home: Path | None, port: int, *, say: Say, headless: bool, summary: Path | None, pause: Callable[[], None]
) -> int:
    """Build, play, print and, unless headless, serve until Ctrl-C. 0 only if every step's result was checked."""
    where = Home(home or _default())
    address = Address(port=port)
    with running(where, address, say, MADANG_DEMO="1") as (site, env):
        os.environ.update(env)
        told = _play(address.url, say, site.watch_once)
        pause()
        _print(told, address.url)
        if summary:
            summary.write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        if not told["ok"]:
            return 1
        if not headless:
            sys.stderr.write(f"\nMadang serves at {address.url}  (Ctrl-C stops it)\n")
            serve(site)
    return 0


def _default() -> Path:
    """A folder of its own: a demonstration never touches a real site."""
    if home := os.environ.get("MADANG_HOME"):
        return Path(home)
    from madang.server.home import default_home

    usual = default_home()
    return usual.with_name(usual.name + "-demo")


def _play(url: str, say: Say, watch: Callable[[], None]) -> dict[str, Any]:
    import django

    django.setup()
    from madang.demo.reference import build
    from madang.demo.story import Story

    began = time.monotonic()
    people = build(say)
    built = time.monotonic() - began
    story = Story(url, people, say, watch)
    steps = story.play()
    return {
        "ok": all(step["ok"] for step in steps) and len(steps) == story.LENGTH,
        "url": url,
        "built_s": round(built, 1),
        "steps": steps,
        "people": [{"role": role, "name": person.name, "email": person.email} for role, person in story.people.items()],
    }


def _print(told: dict[str, Any], url: str) -> None:
    console = Console(highlight=False)
    table = Table(title="One company's story", title_justify="left", box=None, pad_edge=False)
    for column, right in (("", True), ("step", False), ("what happened", False), ("s", True), ("link", False)):
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for number, step in enumerate(told["steps"], 1):
        mark = "[green]✓[/]" if step["ok"] else "[red]✗[/]"
        table.add_row(f"{number} {mark}", step["step"], step["what"], f"{step['seconds']:.1f}", url + step["link"])
    console.print()
    console.print(table)
    console.print()
    people = Table(title="Log in as one of them, with one click", title_justify="left", box=None, pad_edge=False)
    for column in ("role", "name", "e-mail"):
        people.add_column(column)
    for person in told["people"]:
        people.add_row(person["role"], person["name"], person["email"])
    console.print(people)
    console.print(f"\n{url}/accounts/login/")
