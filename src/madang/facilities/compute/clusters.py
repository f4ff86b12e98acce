"""What the settings say of the clusters of this site, and under which names people work on them.

A local cluster needs no settings. A Slurm cluster is named in MADANG_SLURM, by the name that Slurm itself has for it:
whoever runs the server says where its slurm.conf and its shared folder are, as a page could say it for anybody.

    MADANG_SLURM={"gwangju": {"conf": "/etc/slurm/slurm.conf", "runs": "/shared/madang"}}
"""

from __future__ import annotations

import pwd
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from madang.engines.slurm.commands import PATH
from madang.facilities.compute.models import Cluster, EngineKind, Partition, PosixAccount
from madang.grants.models import Allocation
from madang.identity.models import Membership, Person
from madang.workflow.errors import Refused

FIRST_UID = 20_000  # of the users that are made here


@dataclass(frozen=True)
class Slurm:
    """`conf` is the cluster's slurm.conf, `runs` a folder that all of its nodes see under this path. `makes_users`: how
    the names of posix users begin that are made here, for a cluster on this machine alone; empty where the site's
    directory has them. `path` is where jobs look for programs. `session_ports`: the ports of the nodes at which this
    machine, and nobody else, reaches interactive sessions; without any, none run there."""

    conf: Path
    runs: Path
    makes_users: str = ""
    path: str = PATH
    session_ports: range = range(0)


def slurms() -> dict[str, Slurm]:
    """Every Slurm cluster that the settings name."""
    return {
        name: Slurm(
            Path(said["conf"]),
            Path(said["runs"]),
            said.get("makes_users", ""),
            said.get("path", PATH),
            _ports(name, said.get("session_ports", "")),
        )
        for name, said in settings.SLURM.items()
    }


def _ports(cluster: str, said: object) -> range:
    """Of "41000-41999", the last included; none of an empty text."""
    if not said:
        return range(0)
    first, _, last = str(said).partition("-")
    if not (re.fullmatch(r"\d{4,5}-\d{4,5}", str(said)) and 1024 <= int(first) <= int(last) <= 65_535):
        raise ImproperlyConfigured(
            f'MADANG_SLURM: session_ports of {cluster} is {said!r}, and not like "41000-41999" (from 1024 to 65535)'
        )
    return range(int(first), int(last) + 1)


def session_ports(cluster: Cluster) -> range:
    """The ports of its nodes at which sessions are reached; none on this machine, which has them reached otherwise."""
    slurm = slurms().get(cluster.code)
    return slurm.session_ports if slurm and cluster.engine == EngineKind.SLURM else range(0)


def has_sessions(cluster: Cluster) -> bool:
    return cluster.engine == EngineKind.LOCAL or bool(session_ports(cluster))


def sbatch(partition: Partition, allocation: Allocation) -> str:
    """How its holder submits to the cluster past us, by the names that it was told; empty where nobody can."""
    if partition.cluster.engine != EngineKind.SLURM:
        return ""
    whose = f"--account=grant-{allocation.grant_id} --qos=allocation-{allocation.pk} --partition={partition.name}"
    return f"sbatch {whose} --nodes=1 --gpus-per-node={partition.gpu_type}:1 --time=01:00:00 job.sh"


def runs_of(cluster: str) -> Path:
    """The folder that holds the runs of a cluster."""
    slurm = slurms().get(cluster)
    return slurm.runs if slurm else Path(settings.RUNS_ROOT) / cluster


def account_of(person: Person, cluster: Cluster) -> str:
    """The posix user that a person's jobs run as. Refused where the site's directory hasn't given one yet."""
    if cluster.engine == EngineKind.LOCAL:
        return f"person-{person.pk}"
    row = PosixAccount.objects.filter(person=person, cluster=cluster).first()
    if row is None:
        if not (prefix := slurms()[cluster.code].makes_users):
            raise Refused(
                _("You have no account on this cluster yet. Ask the operator of the site for one."), field="allocation"
            )
        row, _made = PosixAccount.objects.get_or_create(
            person=person, cluster=cluster, defaults={"name": f"{prefix}{person.pk}"}
        )
    return row.name


def with_directory() -> list[Cluster]:
    """The Slurm clusters whose posix users come from the site's directory, and are told to us by an operator."""
    names = [name for name, slurm in slurms().items() if not slurm.makes_users]
    return list(Cluster.objects.filter(engine=EngineKind.SLURM, code__in=names).order_by("id"))


def members_of(cluster: Cluster, organizations: Iterable[int]) -> dict[int, list[str]]:
    """The posix users of each organization's members of today, by organization; in two queries. Where users are made
    here, every member has one."""
    now = Membership.objects.filter(organization__in=list(organizations), until=None)
    people = list(now.order_by("organization_id", "person_id").values_list("organization_id", "person_id"))
    names = dict(PosixAccount.objects.filter(cluster=cluster).values_list("person_id", "name"))
    if prefix := slurms()[cluster.code].makes_users:
        fresh = sorted({person for _organization, person in people} - names.keys())
        PosixAccount.objects.bulk_create(
            (PosixAccount(person_id=person, cluster=cluster, name=f"{prefix}{person}") for person in fresh),
            ignore_conflicts=True,
        )
        names |= {person: f"{prefix}{person}" for person in fresh}
        for name in names.values():
            _make_user(name)
    found: dict[int, list[str]] = {}
    for organization, person in people:
        if person in names:
            found.setdefault(organization, []).append(names[person])
    return found


def _make_user(name: str) -> None:
    """A posix user of this machine who can't log in, unless there is one."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        taken = {entry.pw_uid for entry in pwd.getpwall()}
        uid = next(uid for uid in range(FIRST_UID, 60_000) if uid not in taken)
        command = ["useradd", "--uid", str(uid), "--no-create-home", "--home-dir", "/nonexistent"]
        subprocess.run([*command, "--shell", "/bin/sh", name], check=False, capture_output=True)
