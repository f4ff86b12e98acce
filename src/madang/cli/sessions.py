"""Interactive sessions from the command line: start one, see it starting, end it. A browser opens it."""

from __future__ import annotations

import re
import time
from itertools import islice
from typing import Annotated, Any
from uuid import UUID

import typer

from madang.cli import complete
from madang.cli.compute import Allocation, Json, Partition, _offer, here, hours, kind_of, seconds, site
from madang.cli.show import JOB_FAILED, MISSING, USAGE, answers, as_json, fail, out, plain, say, table
from madang.client import Client

session = typer.Typer(no_args_is_help=True, help="Interactive sessions: a notebook on your own allocation.")
SessionId = Annotated[
    str, typer.Argument(help="The uuid of the session, or the start of it.", autocompletion=complete.sessions)
]
RECENT = 100


def _session(client: Client, asked: str) -> dict[str, Any]:
    """The session with this uuid, or the only recent one that begins with it."""
    try:
        return client.session(str(UUID(asked)))
    except ValueError:
        pass
    if not re.fullmatch(r"[0-9a-f-]{4,36}", asked):
        fail("name a session by its uuid, or by at least four signs of the start of it", USAGE)
    found = [row for row in islice(client.sessions(limit=RECENT), RECENT) if row["uuid"].startswith(asked)]
    if len(found) != 1:
        fail(f"{len(found)} of the newest sessions begin with {asked}", MISSING)
    return found[0]


@session.command()
@answers
def kinds(json: Json = False) -> None:
    """What the site offers, and what a session of it has at most."""
    with site() as client:
        found = client.session_kinds()
    if json:
        as_json(found)
        return
    rows = ([k["code"], k["name"], k["most_gpus"], k["longest_s"] // 60, k["idle_s"] // 60] for k in found)
    table(["kind", "name", "GPUs", "minutes", "idle minutes"], rows)


@session.command()
@answers
def start(
    kind: Annotated[
        str, typer.Argument(help="Which kind; the only one where there is one.", autocompletion=complete.kinds)
    ] = "",
    gpus: Annotated[int, typer.Option(min=1, max=1024, help="How many GPUs.")] = 1,
    limit: Annotated[str, typer.Option("--time", help="Time limit: minutes, HH:MM:SS or D-HH:MM.")] = "02:00:00",
    allocation: Allocation = None,
    partition: Partition = None,
    use: Annotated[list[str] | None, typer.Option("--use", help="A file that the project keeps.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it can be opened.")] = False,
    json: Json = False,
) -> None:
    """Start a session. Prints the page to open it from."""
    limit_s = seconds(limit)
    with site() as client:
        if not kind:
            codes = [row["code"] for row in client.session_kinds()]
            if len(codes) != 1:
                fail(f"name the kind: {', '.join(codes) or 'this site offers none'}", USAGE)
            kind = codes[0]
        offer = _offer(client, allocation, partition, gpus)
        row = client.start_session(
            kind=kind, allocation=offer["allocation"], gpus=gpus, limit_s=limit_s, files=use or ()
        )
        while wait and row["state"] not in ("ready", "ended"):
            time.sleep(1)
            row = client.session(row["uuid"])
    if json:
        as_json(row)
    else:
        out.print(plain(row["url"]), soft_wrap=True)
        say(f"{row['state']}: {row['uuid']}, {hours(row['held'])} GPU-hours held. Open the page in a browser.")
    if row["state"] == "ended" and wait:
        fail(f"the session ended: {row['outcome']}. `madang logs {row['uuid'][:8]}` may say why", JOB_FAILED)


@session.command("list")
@answers
def listed(
    live: Annotated[bool, typer.Option("--live", help="Only those that haven't ended.")] = False, json: Json = False
) -> None:
    """The sessions of your organization, newest first: the last hundred."""
    with site() as client:
        found = list(islice(client.sessions(limit=RECENT, state="live" if live else ""), RECENT))
    if json:
        as_json(found)
        return
    table(
        ["uuid", "kind", "state", "GPUs", "GPU-hours", "submitted"],
        (
            [
                row["uuid"][:8],
                row["kind"],
                "ended: idle" if row["idle"] else row["state"],
                f"{row['gpus']} {kind_of(row)}",
                hours(row["used"]),
                here(row["submitted_at"]),
            ]
            for row in found
        ),
    )


@session.command()
@answers
def show(uuid: SessionId, json: Json = False) -> None:
    """One session: its state, what it has cost so far, and the page to open it from."""
    with site() as client:
        found = _session(client, uuid)
    if json:
        as_json(found)
    else:
        known = {key: value for key, value in found.items() if value not in ("", None)}
        table(["", ""], ([key, here(value) if key.endswith("_at") else value] for key, value in known.items()))


@session.command()
@answers
def end(uuid: SessionId, json: Json = False) -> None:
    """End a session. What it used until then is charged, the rest comes back."""
    with site() as client:
        found = client.end_session(_session(client, uuid)["uuid"])
    if json:
        as_json(found)
    else:
        out.print(plain(f"{found['uuid']} {found['outcome'] or 'is being ended'}"))


def register(app: typer.Typer) -> None:
    app.add_typer(session, name="session", rich_help_panel="Jobs")
