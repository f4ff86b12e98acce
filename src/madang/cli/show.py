"""How the command says things: tables for people, JSON for programs, one exit code for each way it can go."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Collection, Iterable
from functools import wraps
from typing import Any, NoReturn, ParamSpec, Self, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from madang.client import Problem

DONE, REFUSED, USAGE, NOT_ALLOWED, MISSING, NO_ANSWER, JOB_FAILED = 0, 1, 2, 3, 4, 5, 10
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

P = ParamSpec("P")
R = TypeVar("R")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(value: Any) -> Text:
    """What a site says, as text that can't steer the terminal."""
    return Text(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", "" if value is None else str(value)))


def as_json(value: Any) -> None:
    """On stdout. What could steer a terminal is written as JSON's own escape, so nothing is lost."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write(_CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def say(line: str, style: str = "") -> None:
    """A line for people, on stderr: what a program reads is on stdout."""
    text = plain(line)
    text.stylize(style)
    err.print(text, soft_wrap=True)


def table(columns: Iterable[str], rows: Iterable[Iterable[Any]], *, whole: Collection[str] = ()) -> None:
    """`whole`: columns that stay on one line, where the terminal isn't so narrow that they would be cut off."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in whole and out.width >= 80)
    for row in rows:
        made.add_row(*(plain(cell) for cell in row))
    out.print(made)


def fail(message: str, code: int) -> NoReturn:
    err.print(Text("madang: ", style="red") + plain(message), soft_wrap=True)
    raise typer.Exit(code)


class Doing:
    """What is being done now: a spinner with one line that changes, or plain lines where nobody watches a terminal."""

    def __init__(self) -> None:
        self._watched = err.is_terminal
        columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
        self._spinner = Progress(*columns, console=err, transient=True)
        self._task = self._spinner.add_task("starting", total=None)
        self._last = ""

    def __enter__(self) -> Self:
        if self._watched:
            self._spinner.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._watched:
            self._spinner.stop()

    def __call__(self, line: str, *, keep: bool = False) -> None:
        """`keep`: it stays on the screen."""
        if keep:
            say(line, style="yellow" if line.startswith("Warning") else "")
        elif self._watched:
            self._spinner.update(self._task, description=plain(line).plain)
        elif (same := re.sub(r"[\d.]+", "", line)) != self._last:  # a countdown is one line, not a hundred
            say(line)
            self._last = same


def _lines(problem: Problem) -> list[str]:
    """What was refused, then what is wrong at each field: a title that only says one of these again is left out."""
    fields = [f"{name}: {what}" for name, what in problem.errors.items()]
    return fields if problem.title in (*fields, *problem.errors.values()) else [problem.title, *fields]


def answers(command: Callable[P, R]) -> Callable[P, R]:
    """A Problem becomes a line on stderr and an exit code; for programs also JSON on stdout, as the API says it."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except Problem as problem:
            code = {0: NO_ANSWER, 401: NOT_ALLOWED, 403: NOT_ALLOWED, 404: MISSING}.get(problem.status, REFUSED)
            hint = " Run `madang login` first." if problem.status == 401 else ""
            if kwargs.get("json"):
                as_json({name: getattr(problem, name) for name in ("status", "title", "where", "errors")})
            fail("\n  ".join(_lines(problem)) + hint, code)

    return run
