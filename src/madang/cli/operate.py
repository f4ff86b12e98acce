"""What operators do from the command line: drain nodes and let them take jobs again, plan maintenance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from madang.cli import complete
from madang.cli.compute import Json, here, site
from madang.cli.show import MISSING, USAGE, answers, as_json, fail, out, plain, table
from madang.client import Client

node = typer.Typer(no_args_is_help=True, help="The machines of a site's clusters, for those who operate them.")
maintenance = typer.Typer(no_args_is_help=True, help="When nodes are out of service, for those who operate them.")
STATES = ("idle", "mixed", "full", "draining", "drained", "maintenance", "down", "unknown")


def state_names(incomplete: str) -> list[str]:
    """For the completion of a shell."""
    return [state for state in STATES if state.startswith(incomplete)]


Cluster = Annotated[
    str | None, typer.Option(help="Which cluster, where it isn't clear.", autocompletion=complete.clusters)
]
Nodes = Annotated[list[str], typer.Argument(help="Their names.", autocompletion=complete.nodes)]
When = "2026-12-01 09:00 in this machine's time, 2026-12-01T09:00+09:00, or now."


def instant(written: str) -> datetime:
    """An instant as people write it; without a zone it is this machine's time.

    >>> instant("2026-12-01T09:00+09:00").isoformat()
    '2026-12-01T09:00:00+09:00'
    """
    if written == "now":
        return datetime.now().astimezone()
    try:
        return datetime.fromisoformat(written).astimezone()
    except ValueError:
        raise typer.BadParameter(f"{written}: write {When}") from None


Start = Annotated[datetime, typer.Option("--from", parser=instant, metavar="WHEN", help=f"From when: {When}")]
End = Annotated[datetime, typer.Option("--until", parser=instant, metavar="WHEN", help="Until when, as --from.")]


@node.command("list")
@answers
def nodes(
    state: Annotated[str | None, typer.Option(help="Only those in this state.", autocompletion=state_names)] = None,
    cluster: Cluster = None,
    json: Json = False,
) -> None:
    """The nodes with their states, and why those that take no jobs don't. An arrow leads to what was asked of one."""
    if state is not None and state not in STATES:
        fail(f"a state is one of {', '.join(STATES)}", USAGE)
    with site() as client:
        found = list(client.nodes(cluster=cluster, state=state))
    found.sort(key=lambda row: (row["cluster"], row["name"]))
    if json:
        as_json(found)
        return
    several = len({row["cluster"] for row in found}) > 1
    table(
        ["node", *(["cluster"] if several else []), "state", "GPUs", "partitions", "since", "why"],
        (
            [
                row["name"],
                *([row["cluster"]] if several else []),
                row["state"] + (f" → {row['wish']}" if row["wish"] else ""),
                f"{row['used']}/{row['gpus']} {row['gpu_type']}".rstrip(),
                ", ".join(row["partitions"]),
                here(row["changed_at"]),
                "" if row["takes_jobs"] else _why(row),
            ]
            for row in found
        ),
    )


def _why(row: dict[str, Any]) -> str:
    """The reason with who gave it and when, where the cluster says that."""
    who = " ".join(filter(None, (row["reason_by"], here(row["reason_at"]) if row["reason_at"] else "")))
    return row["reason"] + (f" ({who})" if who else "")


@node.command()
@answers
def drain(
    names: Nodes,
    reason: Annotated[str, typer.Option(help="Why, in a line: everybody who asks the cluster reads it.")],
    cluster: Cluster = None,
    json: Json = False,
) -> None:
    """Have nodes start nothing more; what runs there goes on. The cluster is told within seconds."""
    with site() as client:
        rows = _named(client, names, cluster)
        done = [client.drain(row["name"], cluster=row["cluster"], reason=reason) for row in rows]
    _said(done, "is being drained", json=json)


@node.command()
@answers
def resume(names: Nodes, cluster: Cluster = None, json: Json = False) -> None:
    """Have nodes take jobs again. The cluster is told within seconds."""
    with site() as client:
        rows = _named(client, names, cluster)
        done = [client.resume(row["name"], cluster=row["cluster"]) for row in rows]
    _said(done, "is being resumed", json=json)


def _named(client: Client, names: Sequence[str], cluster: str | None) -> list[dict[str, Any]]:
    """The nodes of these names: all of them are found before anything is asked of one."""
    found = []
    for name in dict.fromkeys(names):
        rows = list(client.nodes(name=name, cluster=cluster))
        if not rows:
            fail(f"there is no node {name}: `madang node list` shows them", MISSING)
        if len(rows) > 1:
            of = " or ".join(row["cluster"] for row in rows)
            fail(f"several clusters have a node {name}, choose one: --cluster {of}", USAGE)
        found += rows
    return found


def _said(rows: list[dict[str, Any]], what: str, *, json: bool) -> None:
    if json:
        as_json(rows)
    else:
        for row in rows:
            out.print(plain(f"{row['name']} {what}"))


@maintenance.command("list")
@answers
def planned(json: Json = False) -> None:
    """What is to come or goes on, the next one first."""
    with site() as client:
        found = client.maintenance()
    if json:
        as_json(found)
        return
    table(
        ["number", "from", "until", "where", "reason", "told"],
        (
            [
                row["id"],
                here(row["starts_at"]),
                here(row["ends_at"]),
                _where(row),
                row["reason"],
                "yes" if row["taken_at"] else "not yet",
            ]
            for row in found
        ),
    )


def _where(row: dict[str, Any]) -> str:
    place = ", ".join(row["nodes"]) or row["partition"] or "all of it"
    return f"{row['cluster']}: {place}"


@maintenance.command()
@answers
def plan(
    starts_at: Start,
    ends_at: End,
    reason: Annotated[str, typer.Option(help="Why, in a line: tenants read it.")],
    names: Annotated[
        list[str] | None, typer.Argument(help="Only these nodes.", autocompletion=complete.nodes, metavar="[NODES]...")
    ] = None,
    partition: Annotated[
        str | None, typer.Option(help="Only the nodes of this partition.", autocompletion=complete.open_partitions)
    ] = None,
    cluster: Cluster = None,
    json: Json = False,
) -> None:
    """Announce that nodes are out of service; none named: all of a cluster. Jobs that would run into it wait."""
    with site() as client:
        row = client.plan_maintenance(
            cluster=cluster or _cluster(client, names or [], partition),
            partition=partition or "",
            nodes=names or [],
            starts_at=starts_at,
            ends_at=ends_at,
            reason=reason,
        )
    _announced(row, json=json)


def _cluster(client: Client, names: Sequence[str], partition: str | None) -> str:
    """The only cluster that the named place can be of."""
    if names:
        found = sorted({row["cluster"] for row in _named(client, names, None)})
    else:
        found = sorted({row["cluster"] for row in client.partitions() if partition in (None, row["partition"])})
    if len(found) != 1:
        several = f"choose one: --cluster {' or '.join(found)}" if found else "no cluster has such a place"
        fail(several, USAGE if found else MISSING)
    return found[0]


Number = Annotated[int, typer.Argument(min=1, help="Its number, from `madang maintenance list`.")]


@maintenance.command()
@answers
def change(
    number: Number,
    starts_at: Annotated[
        datetime | None, typer.Option("--from", parser=instant, metavar="WHEN", help="Another beginning.")
    ] = None,
    ends_at: Annotated[
        datetime | None, typer.Option("--until", parser=instant, metavar="WHEN", help="Another end.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Another reason.")] = None,
    json: Json = False,
) -> None:
    """Move a maintenance, lengthen or shorten it. Of one that has begun only the end and the reason change."""
    if (starts_at, ends_at, reason) == (None, None, None):
        fail("say what changes: --from, --until or --reason", USAGE)
    with site() as client:
        row = client.change_maintenance(number, starts_at=starts_at, ends_at=ends_at, reason=reason)
    _announced(row, json=json)


@maintenance.command()
@answers
def withdraw(number: Number, json: Json = False) -> None:
    """It isn't any more, also where it has begun: jobs start again within seconds."""
    with site() as client:
        row = client.withdraw_maintenance(number)
    if json:
        as_json(row)
    else:
        out.print(plain(f"{row['id']} is withdrawn"))


def _announced(row: dict[str, Any], *, json: bool) -> None:
    if json:
        as_json(row)
    else:
        when = f"{here(row['starts_at'])} to {here(row['ends_at'])}"
        out.print(plain(f"{row['id']} {_where(row)}, {when}"), soft_wrap=True)


def register(app: typer.Typer) -> None:
    app.add_typer(node, name="node", rich_help_panel="A site")
    app.add_typer(maintenance, name="maintenance", rich_help_panel="A site")
