"""The engines of this site, as the jobs room asks for them, and what may run on them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from django.db.models import F
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

import madang
from madang.catalog.models import ResourceState
from madang.engines.base import Limits, LiveRun, Unavailable, UsageRow
from madang.engines.local import LocalEngine
from madang.engines.slurm import Commands, SlurmEngine
from madang.facilities.compute import shelf, storage
from madang.facilities.compute.clusters import account_of, members_of, runs_of, slurms
from madang.facilities.compute.models import Cluster, EngineKind, Partition, PosixAccount
from madang.grants.models import Allocation
from madang.jobs.checks import clean_script
from madang.jobs.engines import EngineWithFiles, Terms, Whose, Wish
from madang.jobs.models import Job, Watch
from madang.jobs.poller import live_budgets, usable
from madang.ledger.queries import balances
from madang.web.amounts import lasting_as_typed
from madang.workflow.errors import Refused
from madang.workflow.moment import now

OF_DJANGO = ("context", "cursor_factory", "prepare_threshold", "server_side_binding", "pool", "assume_role")
SHARE = 100 * 3600  # GPU-seconds of an award for one share in the order of the queue
SHIPPED = Path(madang.__file__).parent / "demo" / "train.py"


def connect() -> AbstractContextManager[psycopg.Connection[Any]]:
    """A connection of its own to the site's database: engines and dispatchers know no Django."""
    return psycopg.connect(**connection_facts())


def connection_facts() -> dict[str, Any]:
    """What libpq is told about the database, TLS and time limits included, without what only Django needs."""
    known = connection.get_connection_params()
    return {key: value for key, value in known.items() if key not in OF_DJANGO and value not in (None, "")}


@contextmanager
def inside() -> Iterator[psycopg.Connection[Any]]:
    """The connection of the open transaction, lent: what is written through it is done or undone with the rest."""
    connection.ensure_connection()
    assert connection.connection is not None
    yield connection.connection


class Site:
    """The host of all clusters of this site."""

    def names(self) -> Sequence[str]:
        return list(Cluster.objects.order_by("id").values_list("code", flat=True))

    def build(self, name: str) -> EngineWithFiles:
        if Cluster.objects.get(code=name).engine == EngineKind.LOCAL:
            return LocalEngine(connect, runs_of(name), name, least_free=settings.LEAST_FREE_BYTES)
        if name not in slurms():
            raise Unavailable("no_settings", f"MADANG_SLURM doesn't name the cluster {name}")
        slurm = slurms()[name]
        return SlurmEngine(connect, slurm.runs, name, Commands(slurm.conf), path=slurm.path, ports=slurm.session_ports)

    def partitions(self, name: str) -> Sequence[str]:
        return list(Partition.objects.filter(cluster__code=name).order_by("id").values_list("name", flat=True))

    def admit(self, wish: Wish) -> Terms:
        """What the form offers is what is let in: nothing here is checked only by a page."""
        partition = (
            Partition.objects.select_related("cluster", "resource")
            .filter(cluster__code=wish.engine, name=wish.partition)
            .first()
        )
        if partition is None or partition.resource_id != wish.allocation.resource_id:
            raise Refused(_("This allocation isn't for that partition."), field="partition")
        if partition.resource.state != ResourceState.OPEN:
            raise Refused(_("This partition takes no jobs for now."), field="allocation")
        errors = {}
        if wish.gpus > partition.most_gpus:
            errors["gpus"] = ngettext(
                "A job has at most %(most)s GPU here.", "A job has at most %(most)s GPUs here.", partition.most_gpus
            ) % {"most": partition.most_gpus}
        if wish.limit_s > partition.longest_s:
            limit = lasting_as_typed(partition.longest_minutes)
            errors["limit_s"] = _("The longest time limit here is %(limit)s.") % {"limit": limit}
        if wish.requeue and not partition.cluster.starts_again:
            errors["requeue"] = _("This cluster doesn't start a job again by itself.")
        if errors:
            raise Refused(" ".join(errors.values()), errors=errors)
        if wish.trusted:
            if not is_shipped(wish.script):
                raise Refused(_("Only the job that this software ships is trusted, and only in a demonstration."))
        else:
            _check_walls(wish, Watch.objects.filter(engine=wish.engine).first())
        shelf.keep_for(wish.allocation, wish.inputs)
        storage.check_room(wish.allocation.grant, wish.tasks * sum(entry.size for entry in wish.inputs))
        user = account_of(wish.actor, partition.cluster)
        return Terms(partition.gpu_type, partition.memory_mb * wish.gpus, 1, user)

    def source(self, allocation: Allocation, sha256: str) -> Path:
        return shelf.blob(allocation.grant_id, sha256)

    def budgets(self, name: str) -> list[Limits]:
        cluster = Cluster.objects.get(code=name)
        return budgets_of(cluster) if cluster.engine == EngineKind.SLURM else live_budgets(name)

    def whose(self, name: str, row: UsageRow | LiveRun) -> Whose | None:
        """By the user and the budget that Slurm itself has for a run: what its owner wrote on it says nothing."""
        user = PosixAccount.objects.filter(cluster__code=name, name=row.posix_user).select_related("person").first()
        number = row.budget.removeprefix("allocation-")
        if user is None or not number.isdigit() or len(number) > 18:
            return None
        allocation = (
            Allocation.objects.filter(pk=int(number), resource__partition__cluster__code=name, account__isnull=False)
            .select_related("grant", "resource__partition")
            .first()
        )
        return Whose(allocation, user.person, allocation.resource.partition.name) if allocation else None


def budgets_of(cluster: Cluster) -> list[Limits]:
    """Accounts, budgets and members of every allocation that was ever opened on a Slurm cluster, in a fixed number of
    statements.

    What an allocation may still use counts what is held for it: Slurm adds what it has counted itself.
    """
    rows = list(
        Allocation.objects.filter(resource__partition__cluster=cluster, opened_at__isnull=False, account__isnull=False)
        .select_related("grant")
        .annotate(partition=F("resource__partition__name"))
        .order_by("id")
    )
    moment, left = now(), balances([row.account for row in rows if row.account])
    members = members_of(cluster, {row.grant.organization_id for row in rows})
    shares = Counter[int]()
    for row in rows:
        shares[row.grant_id] += max(1, row.amount // SHARE)
    return [
        Limits(
            account=f"grant-{row.grant_id}",
            budget=f"allocation-{row.pk}",
            open=usable(row, moment),
            gpu_seconds=left[row.account].credited - left[row.account].debited,
            members=tuple(members.get(row.grant.organization_id, ())),
            partitions=(row.partition,),
            share=shares[row.grant_id],
        )
        for row in rows
        if row.account
    ]


def _check_walls(wish: Wish, watch: Watch | None) -> None:
    """Other people's code runs only in a sandbox, and beside another organization's only where they are kept apart."""
    health = watch.health if watch else {}
    if health and not health.get("sandbox") and health.get("lag_s") is not None:
        raise Refused(_("This machine has no sandbox: it runs only its operator's own jobs."), field="script")
    if health.get("kept_apart"):
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('madang tenant of ' || %s, 0))", [wish.engine])
    others = Job.objects.filter(engine=wish.engine, trusted=False).exclude(
        allocation__grant__organization=wish.allocation.grant.organization_id
    )
    if others.exists():
        raise Refused(
            _(
                "This cluster can't keep organizations apart, and another one already uses it. "
                "Ask the operator of the site for another cluster."
            ),
            field="allocation",
        )


def is_shipped(script: str) -> bool:
    """Whether this is, to the letter, the job of the demonstration, and a demonstration runs."""
    return bool(settings.DEMO) and hashlib.sha256(clean_script(script).encode()).hexdigest() == _shipped_digest()


@cache
def _shipped_digest() -> str:
    return hashlib.sha256(clean_script(SHIPPED.read_text()).encode()).hexdigest()


site = Site()
