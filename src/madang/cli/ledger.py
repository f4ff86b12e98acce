"""The ledger of a site, from a terminal."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import typer

from madang.cli import compute
from madang.cli.show import MISSING, REFUSED, Doing, answers, as_json, fail, out, plain, say
from madang.cli.show import table as as_table

ledger = typer.Typer(
    no_args_is_help=True, help="The ledger of a site: what was used, what it costs, and whether it adds up."
)


@ledger.command()
@answers
def export(
    month: Annotated[str, typer.Option(help="The month, like 2026-11.", show_default=False)],
    to: Annotated[Path, typer.Option("--out", dir_okay=False, help="The file to write.", show_default=False)],
    format: Annotated[Literal["csv", "parquet"], typer.Option(help="How it is written.")] = "csv",
) -> None:
    """Write what was used in a month and what it costs to a file, as FOCUS 1.2."""
    with compute.site() as client:
        for _size in client.download("/insight/focus", to, month=month, format=format):
            pass
    out.print(plain(str(to)), soft_wrap=True)


@ledger.command()
def verify(
    home: Annotated[Path | None, typer.Option("--home", help="The folder of the site.", envvar="MADANG_HOME")] = None,
    kept: Annotated[
        list[str] | None,
        typer.Option(
            help="A day and the digest of its seal, kept elsewhere: 2026-11-27:3fa…, the same still stands there."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")] = False,
) -> None:
    """Count every balance, sum and seal of this machine's site again, and name what differs.

    Works alone, whether the site runs or not. Prints the last seal's day and digest: keep it elsewhere, and give it
    back with --kept another time. Exits with 1 where anything differs.
    """
    from madang.server.home import Home, default_home
    from madang.server.verify import verify as count

    digests = dict(_kept(written) for written in kept or ())
    root = (home or default_home()).resolve()
    if not root.is_dir() or not any(root.iterdir()):
        fail(f"there is no site in {root}", MISSING)
    with Doing() as doing:
        problems, seal = count(Home(root), doing, digests)
    (say if json else out.print)(f"last seal: {seal.day}:{seal.digest}" if seal else "no day is sealed yet")
    if json:
        as_json([vars(problem) for problem in problems])
    elif problems:
        rows = [[problem.check, problem.where, problem.stored, problem.counted] for problem in problems]
        as_table(["check", "where", "stands there", "is counted"], rows)
    if problems:
        fail(f"the ledger does not add up; first: {problems[0]}", REFUSED)
    say("the ledger adds up: balances, named rows, sums and seals")


def _kept(written: str) -> tuple[date, str]:
    day, _, digest = written.partition(":")
    try:
        found = date.fromisoformat(day)
    except ValueError:
        found = None
    if found is None or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise typer.BadParameter(f"{written}: write a day, a colon and the 64 signs of a digest")
    return found, digest


def register(app: typer.Typer) -> None:
    app.add_typer(ledger, name="ledger", rich_help_panel="A site")
