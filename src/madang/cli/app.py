from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from madang import __version__
from madang.cli import compute
from madang.cli.settings import DEFAULT_URL, Login, forget, keep, kept
from madang.cli.show import answers, as_json, err, out, table
from madang.client import Client

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, help=__doc__)
app.info.help = "Madang: the software that a public AI cluster runs on."

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
HomeFolder = Annotated[Path | None, typer.Option("--home", help="The folder of the site.", envvar="MADANG_HOME")]
Port = Annotated[int, typer.Option(help="The port to serve at.", min=1, max=65535)]


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        out.print(f"madang {__version__}")
        raise typer.Exit


@app.command()
def up(home: HomeFolder = None, port: Port = 8000, host: str = "127.0.0.1") -> None:
    """Start a site on this machine: its database, its worker, its engine and its pages."""
    from madang.server.home import Home
    from madang.server.up import Address
    from madang.server.up import up as start

    start(Home(home), Address(host, port), lambda line: err.print(line))


@app.command()
def demo(
    home: HomeFolder = None,
    port: Port = 8000,
    headless: Annotated[bool, typer.Option(help="Play the story, write the summary, and stop.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write the summary of the story to this file.")] = None,
) -> None:
    """Build the reference site, play one company's story from the call to the board, and serve it."""
    from madang.demo.play import demo as play

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def say(line: str) -> None:
            progress.update(task, description=line)
            if not sys.stderr.isatty():
                err.print(line)

        code = play(home, port, say=say, headless=headless, summary=json, pause=progress.stop)
    raise typer.Exit(code)


@app.command()
@answers
def login(
    url: Annotated[str, typer.Option(help="The address of the site.")] = DEFAULT_URL,
    token: Annotated[str, typer.Option(help="A token from the page “API tokens”.", prompt=True, hide_input=True)] = "",
) -> None:
    """Keep the address of a site and a token for it."""
    with Client(url, token) as site:
        me = site.get("/me")
    path = keep(Login(url.rstrip("/"), token))
    out.print(f"{me['name']} at {url} (kept in {path})")


@app.command()
def logout() -> None:
    """Forget the token."""
    forget()


@app.command()
@answers
def whoami(json: Json = False) -> None:
    """Who the token belongs to."""
    with compute.site() as connected:
        me = connected.get("/me")
    if json:
        as_json(me)
    else:
        table(["name", "e-mail", "site"], [[me["name"], me["email"], kept().url]])


compute.register(app)
