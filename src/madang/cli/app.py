from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from madang import __version__
from madang.cli import compare, compute, fit, ledger, operate, sessions, sweep, twin
from madang.cli.settings import DEFAULT_URL, Login, forget, keep, kept
from madang.cli.show import MISSING, Doing, answers, as_json, fail, out, plain, say, table
from madang.client import Client

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Madang: the software that a public AI cluster runs on.

    `up`, `demo`, `stop`, `ledger verify` and `twin` work on this machine.
    Everything else asks a site: `madang login` says which.

    Exit codes: 0 done, 1 refused by the site, 2 wrong use, 3 not allowed,
    4 not there, 5 no answer, 10 the job did not complete.""",
)

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
HomeFolder = Annotated[Path | None, typer.Option("--home", help="The folder of the site.", envvar="MADANG_HOME")]
Port = Annotated[int, typer.Option(help="The port to serve at.", min=1, max=65535)]


def _version(asked: bool) -> None:
    if asked:
        out.print(f"madang {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


@app.command(rich_help_panel="This machine")
def up(
    home: HomeFolder = None,
    port: Port = 8000,
    host: Annotated[
        str, typer.Option(help="The address to serve at; with another than this machine's, set MADANG_HOSTS, too.")
    ] = "127.0.0.1",
) -> None:
    """Start a site on this machine: its database, its worker, its engine and its pages."""
    from madang.server.home import Home
    from madang.server.up import Address
    from madang.server.up import up as start

    # What the processes say goes to the same terminal, so no spinner is drawn over it.
    start(Home(home), Address(host, port), lambda line, *, keep=False: say(line))


@app.command(rich_help_panel="This machine")
def demo(
    home: HomeFolder = None,
    port: Port = 8000,
    headless: Annotated[bool, typer.Option(help="Play the story, write the summary, and stop.")] = False,
    json: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write the summary of the story to this file.")
    ] = None,
) -> None:
    """Build the reference site, play one company's story from the call to the board, and serve it."""
    from madang.demo.play import demo as play

    with Doing() as doing:
        code = play(home, port, say=doing, headless=headless, summary=json, pause=doing.stop)
    raise typer.Exit(code)


@app.command(rich_help_panel="This machine")
def stop(home: HomeFolder = None) -> None:
    """Stop the site of this folder, and a database that a killed one left running."""
    from madang.server.home import default_home
    from madang.server.up import stop as end

    root = (home or default_home()).resolve()
    with Doing() as doing:
        stopped = end(root, doing)
    if not stopped:
        fail(f"nothing runs in {root}", MISSING)
    say(f"stopped what ran in {root}")


@app.command(rich_help_panel="A site")
@answers
def login(
    url: Annotated[str, typer.Option(help="The address of the site.")] = DEFAULT_URL,
    token: Annotated[
        str,
        typer.Option(help="A token from the page “API tokens”; asked for when it isn't given.", show_default=False),
    ] = "",
) -> None:
    """Keep the address of a site and a token for it."""
    url = url.rstrip("/")
    token = (token or typer.prompt("Token", hide_input=True)).strip()
    with Client(url, token) as site:
        me = site.get("/me")
    path = keep(Login(url, token))
    out.print(plain(f"{me['name']} at {url} (kept in {path})"), soft_wrap=True)


@app.command(rich_help_panel="A site")
def logout() -> None:
    """Forget the token."""
    forget()


@app.command(rich_help_panel="A site")
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
sessions.register(app)
operate.register(app)
ledger.register(app)
twin.register(app)
sweep.register(twin.twin)
fit.register(twin.twin)
compare.register(twin.twin)
