from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from madang.cli.show import MISSING, REFUSED, Doing, as_json, fail, say, table

app = typer.Typer(no_args_is_help=True, help="The ledger: count it again.")


@app.command()
def verify(
    home: Annotated[Path | None, typer.Option("--home", help="The folder of the site.", envvar="MADANG_HOME")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")] = False,
) -> None:
    """Count every balance, sum and seal of this machine's site again, and name what differs.

    Works alone, whether the site runs or not. Exits with 1 where anything differs.
    """
    from madang.server.home import Home, default_home
    from madang.server.verify import verify as count

    root = (home or default_home()).resolve()
    if not root.is_dir() or not any(root.iterdir()):
        fail(f"there is no site in {root}", MISSING)
    with Doing() as doing:
        problems = count(Home(root), doing)
    if json:
        as_json([vars(problem) for problem in problems])
    elif problems:
        rows = [[problem.check, problem.where, problem.stored, problem.counted] for problem in problems]
        table(["check", "where", "stands there", "is counted"], rows)
    if problems:
        fail(f"the ledger does not add up; first: {problems[0]}", REFUSED)
    say("the ledger adds up: balances, named rows, sums and seals")
