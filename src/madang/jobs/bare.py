"""What people submitted to an engine past us, while it runs or waits. Once it has ended it is charged and a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from madang.engines.base import LiveRun
from madang.identity.access import access_of, require
from madang.identity.models import Role
from madang.jobs import engines
from madang.jobs.models import Bare

MOST = 5000  # on one engine: beyond it the newest aren't kept
FRESH = 200  # at one look so many are asked about whose they are
SHOWN = 30


class Shown(NamedTuple):
    """The newest of them; `more` says that there are others."""

    rows: list[Bare]
    more: bool


NONE = Shown([], False)
COLUMNS: Final = {
    "uuid": "uuid",
    **dict.fromkeys(("name", "posix_user", "partition", "gpu_type", "waits"), "text"),
    **dict.fromkeys(("gpus", "runs", "limit_s"), "int"),
    **dict.fromkeys(("submitted_at", "started_at", "expected_at"), "timestamptz"),
    **dict.fromkeys(("allocation_id", "person_id"), "bigint"),
}
CHANGING: Final = ("gpus", "runs", "limit_s", "waits", "started_at", "expected_at")
KEEP: Final = f"""
WITH gone AS (DELETE FROM jobs_bare WHERE engine = %s AND NOT uuid = ANY(%s))
INSERT INTO jobs_bare AS b (engine, {", ".join(COLUMNS)})
SELECT %s, s.* FROM unnest({", ".join(f"%s::{kind}[]" for kind in COLUMNS.values())}) s ({", ".join(COLUMNS)})
ON CONFLICT (uuid) DO UPDATE SET {", ".join(f"{name} = EXCLUDED.{name}" for name in CHANGING)}
WHERE ({", ".join(f"b.{name}" for name in CHANGING)}) IS DISTINCT FROM ({", ".join(f"EXCLUDED.{name}" for name in CHANGING)})
"""  # noqa: S608, E501


def keep(engine: str, seen: Sequence[LiveRun]) -> None:
    """Write down what of an engine's runs nobody submitted here, as a complete answer had it. The waiting tasks of an
    array are one row. Whose each is, is asked once."""
    many = Counter(run.key.job for run in seen if run.bare)
    runs = {run.key.job: run for run in reversed(seen) if run.bare}  # of an array, the first in the queue
    known: dict[UUID, tuple[int | None, int | None]] = {
        uuid: (allocation, person)
        for uuid, allocation, person in Bare.objects.filter(engine=engine).values_list("uuid", "allocation", "person")
    }
    if not (runs or known):
        return
    fresh = sorted(runs.keys() - known.keys(), key=lambda uuid: runs[uuid].submitted_at)
    for uuid in fresh[: min(FRESH, max(0, MOST - len(known)))]:
        whose = engines.whose(engine, runs[uuid])
        known[uuid] = (whose.allocation.pk, whose.person.pk) if whose else (None, None)
    rows = [
        (
            *(uuid, f"slurm-{run.engine_id}"[:80], run.posix_user[:40], run.partition[:60], run.gpu_type[:40]),
            *(run.reason[:40], run.gpus, many[uuid], run.limit_s),
            *(run.submitted_at, run.started_at, run.starts_at, *known[uuid]),
        )
        for uuid, run in sorted(runs.items())
        if uuid in known
    ]
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in COLUMNS]
    with connection.cursor() as cursor:
        cursor.execute(KEEP, [engine, [row[0] for row in rows], engine, *columns])


def of_members(person: Any, *, mine: bool = False, allocation: int | None = None) -> Shown:
    """Those of the person's own organizations, newest first; only their own, or of one allocation."""
    rows = Bare.objects.filter(allocation__grant__organization__in=list(access_of(person).organizations))
    wanted = Q(person=person) if mine else Q()
    wanted &= Q(allocation=allocation) if allocation is not None else Q()
    return _shown(rows.filter(wanted).select_related("allocation__resource", "person"))


def of_all(person: Any, *, engine: str = "", partition: str = "") -> Shown:
    """Those of everybody and of nobody, newest first, as operators see them."""
    require(person, Role.OPERATOR)
    rows = Bare.objects.select_related("allocation__grant__organization", "person")
    rows = rows.filter(engine=engine) if engine else rows
    return _shown(rows.filter(partition=partition) if partition else rows)


def _shown(rows: QuerySet[Bare]) -> Shown:
    found = list(rows[: SHOWN + 1])
    return Shown(found[:SHOWN], len(found) > SHOWN)
