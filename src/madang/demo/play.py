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
from rich.text import Text

from madang.demo.cast import ADDRESSES
from madang.server.home import Home, default_home
from madang.server.up import Address, Say, running, serve

WIDE = 130  # columns of a terminal from which on the story has one line a step


def demo(
    home: Path | None, port: int, *, say: Say, headless: bool, summary: Path | None, pause: Callable[[], None]
) -> int:
    """Build, play, print and, unless headless, serve until Ctrl-C. 0 only if every step's result was checked.

    `summary`: where the story is written as JSON. `pause` is called before anything is printed for good.
    """
    where = Home(home or _default())
    address = Address(port=port)
    settings = {"MADANG_DEMO": "1", "MADANG_DEMO_PEOPLE": ",".join(ADDRESSES), "MADANG_URL": address.url}
    with running(where, address, say, quiet=True, **settings) as (site, env):
        os.environ.update(env)
        told = _play(address.url, say, site.watch_once)
        pause()
        console = Console(highlight=False)
        code = tell(told, console, where, summary)
        if code == 0 and not headless:
            show_people(told, console)
            sys.stdout.write(f"\nMadang serves at {address.url}  (Ctrl-C stops it; its logs are in {where.log})\n")
            sys.stdout.flush()
            serve(site)
    return code


def _default() -> Path:
    """A folder of its own: a demonstration never touches a real site."""
    usual = default_home()
    return usual if os.environ.get("MADANG_HOME") else usual.with_name(usual.name + "-demo")


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


def tell(told: dict[str, Any], console: Console, home: Home, summary: Path | None) -> int:
    """Print the story, write its summary. The exit code: 0 only if every step's result was checked and right."""
    show(told, console)
    if summary:
        summary.write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    if told["ok"]:
        return 0
    console.print(Text(f"\nThe story ended early. What the site said: {home.log}", style="red"), soft_wrap=True)
    return 1


def show(told: dict[str, Any], console: Console) -> None:
    """The story, for a terminal of any width."""
    wide = console.width >= WIDE
    table = Table(title="One company's story", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("step" if wide else "step, what happened, link", overflow="fold")
    if wide:
        table.add_column("what happened", overflow="fold")
        table.add_column("link", overflow="fold")
    table.add_column("s", justify="right")
    for number, step in enumerate(told["steps"], 1):
        mark = Text(f"{number} ✓", style="green") if step["ok"] else Text(f"{number} ✗", style="red")
        title, what = Text(step["step"], style="bold"), Text(step["what"])
        link = Text(step["link"], style=f"link {told['url']}{step['link']}")
        cells = [title, what, link] if wide else [Text("\n").join([title, what, link])]
        table.add_row(mark, *cells, f"{step['seconds']:.1f}")
    console.print()
    console.print(table)


def show_people(told: dict[str, Any], console: Console) -> None:
    """Who can be logged in as, and where."""
    console.print()
    people = Table(title="Log in as one of them, with one click", title_justify="left", box=None, pad_edge=False)
    for column in ("role", "name", "e-mail"):
        people.add_column(column)
    for person in told["people"]:
        people.add_row(*(Text(person[key]) for key in ("role", "name", "email")))
    console.print(people)
    console.print(f"\n{told['url']}/accounts/login/")
