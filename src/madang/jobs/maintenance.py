"""Maintenance of the machines of an engine: announced, changed and withdrawn by operators, told to the engine by the
poller, and read by everybody whose jobs it concerns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.utils.translation import gettext as _

from madang.engines import base
from madang.engines.base import EngineError, Unavailable
from madang.identity.access import require
from madang.identity.models import Person, Role
from madang.jobs import engines
from madang.jobs.engines import EngineWithFiles
from madang.jobs.models import Job, Maintenance, Node, Watch
from madang.workflow.alone import alone
from madang.workflow.errors import Refused, Stale
from madang.workflow.log import act
from madang.workflow.moment import now

LONGEST = timedelta(days=60)
FARTHEST = timedelta(days=366)
LATE = timedelta(minutes=10)  # who writes "from now" isn't refused for the minutes that the writing took
COMPARED = timedelta(minutes=5)  # an engine is asked again what it has
AGAIN = timedelta(seconds=10)  # it is told again what it refused


@dataclass(frozen=True)
class Window:
    """A maintenance that is to come or goes on. `reaches` has (nodes out of service, nodes there) by partition, as the
    poller saw them; None where all of the engine is."""

    id: int
    starts_at: datetime
    ends_at: datetime
    reason: str
    partition: str
    nodes: tuple[str, ...]
    reaches: dict[str, tuple[int, int]] | None

    def on(self, partition: str) -> Reach | None:
        """What of it concerns the jobs of a partition."""
        out, there = (0, 0) if self.reaches is None else self.reaches.get(partition, (0, 0))
        if self.reaches is None or self.partition == partition or (out and out == there):
            return Reach(self, 0, 0)
        return Reach(self, out, there) if out else None


@dataclass(frozen=True)
class Reach:
    """A window as one partition sees it: `out` of `there` nodes, or all of them where both are 0."""

    window: Window
    out: int
    there: int

    @property
    def whole(self) -> bool:
        return not self.there

    def touches(self, job: Job) -> bool:
        """Whether a job that runs may still run when it begins."""
        return bool(job.started_at and job.started_at + timedelta(seconds=job.limit_s) > self.window.starts_at)


# In the row of the watch, which every page of computing reads anyway: a column of windows, the next one first.
COMING: Final = """
SELECT coalesce(jsonb_agg(jsonb_build_object('id', m.id, 'starts_at', m.starts_at, 'ends_at', m.ends_at,
    'reason', m.reason, 'partition', m.partition, 'nodes', m.nodes,
    'reaches', CASE WHEN m.partition = '' AND m.nodes = '[]' THEN NULL ELSE (
      SELECT coalesce(jsonb_object_agg(name, jsonb_build_array(out, there)), '{}') FROM (
        SELECT p.name, count(*) FILTER (WHERE hit.it) AS out, count(*) AS there
        FROM jobs_node n CROSS JOIN string_to_table(n.partitions, ',') AS p(name)
          CROSS JOIN LATERAL (
            SELECT m.nodes ? n.name OR m.partition = ANY(string_to_array(n.partitions, ',')) AS it) hit
        WHERE n.engine = m.engine GROUP BY p.name HAVING bool_or(hit.it)) touched) END
  ) ORDER BY m.starts_at, m.id), '[]')
FROM jobs_maintenance m
WHERE m.engine = jobs_watch.engine AND m.withdrawn_at IS NULL AND m.ends_at > clock_timestamp()
"""


def windows_of(watch: Watch | None) -> list[Window]:
    """The windows of a watch that was read by `queries.watches`, the next one first."""
    return [_window(row) for row in watch.coming] if watch else []


def _window(row: dict[str, Any]) -> Window:
    reaches = row["reaches"]
    return Window(
        id=row["id"],
        starts_at=datetime.fromisoformat(row["starts_at"]),
        ends_at=datetime.fromisoformat(row["ends_at"]),
        reason=row["reason"],
        partition=row["partition"],
        nodes=tuple(row["nodes"]),
        reaches=None if reaches is None else {name: (out, there) for name, (out, there) in reaches.items()},
    )


def reaching(watch: Watch | None, partition: str) -> list[Reach]:
    """The windows that concern the jobs of a partition, the next one first."""
    return [reach for window in windows_of(watch) if (reach := window.on(partition))]


def run_into(
    reaches: Iterable[Reach], begin: datetime, limit: timedelta, *, few: bool = False
) -> tuple[Reach | None, datetime]:
    """The first window of all nodes that a run of this limit would reach into, begun at `begin`; and when it could
    begin instead, at the earliest. Where only some nodes are out of service it may begin on the others, unless these
    are too `few` for it."""
    first = None
    for reach in reaches:
        window = reach.window
        if (reach.whole or few) and window.starts_at < begin + limit and window.ends_at > begin:
            first, begin = first or reach, window.ends_at
    return first, begin


# Of the nodes that take jobs: those that take none now are counted as closed already.
KEPT_FROM: Final = """
SELECT coalesce(sum(gpus), 0), coalesce(sum(least(used, gpus)), 0) FROM jobs_node
WHERE engine = %s AND %s = ANY(string_to_array(partitions, ',')) AND gpu_type = %s
  AND state IN ('idle', 'mixed', 'full')
  AND (name = ANY(%s) OR string_to_array(partitions, ',') && %s::text[])
"""


def kept_from(
    engine: str, partition: str, gpu_type: str, reaches: Iterable[Reach], begin: datetime, limit: timedelta
) -> tuple[int, int]:
    """(GPUs, how many of them are busy) of the nodes on which a run of this limit, begun at `begin`, would reach into a
    window that holds only some nodes of the partition. One statement, and none where there is no such window."""
    windows = [
        reach.window
        for reach in reaches
        if not reach.whole and reach.window.starts_at < begin + limit and reach.window.ends_at > begin
    ]
    if not windows:
        return 0, 0
    names = sorted({name for window in windows for name in window.nodes})
    partitions = sorted({window.partition for window in windows if window.partition})
    with connection.cursor() as cursor:
        cursor.execute(KEPT_FROM, [engine, partition, gpu_type, names, partitions])
        gpus, busy = cursor.fetchone()
    return gpus, busy


def announce(
    actor: Person,
    *,
    engine: str,
    partition: str = "",
    nodes: Sequence[str] = (),
    starts_at: datetime,
    ends_at: datetime,
    reason: str,
) -> Maintenance:
    """Say that all nodes of an engine, those of a partition or those named are out of service for a time, in whole
    minutes. What runs there goes on; what would run into it waits. The engine is told at the poller's next look."""
    require(actor, Role.OPERATOR)
    starts_at, ends_at = _minute(starts_at), _minute(ends_at)
    reason, errors = _reason(reason), _times(starts_at, ends_at, now())
    if not reason:
        errors["reason"] = _("Say why, in a line: tenants read it.")
    if engine not in engines.names():
        errors["engine"] = _("There is no such cluster.")
    elif partition and partition not in engines.partitions(engine):
        errors["partition"] = _("This cluster has no such partition.")
    there = dict(Node.objects.filter(engine=engine).values_list("name", "partitions"))
    nodes = sorted(set(nodes))
    if wrong := _strange(nodes, there, partition):
        errors["nodes"] = wrong
    if errors:
        raise Refused(" ".join(errors.values()), errors=errors)
    if nodes:  # a narrower place than their partition, and no narrower one than all
        partition, nodes = "", [] if len(nodes) == len(there) else nodes
    with act(actor, "announce", reason=reason) as said:
        alone(f"maintenance of {engine}")
        row = Maintenance(
            engine=engine,
            partition=partition,
            nodes=list(nodes),
            starts_at=starts_at,
            ends_at=ends_at,
            reason=reason,
            announced_by=actor,
        )
        _refuse_overlap(row, starts_at, ends_at, there)
        row.save()
        Watch.objects.get_or_create(engine=engine)  # what everybody reads it from, also before the first look
        said |= {"on": row, "from": starts_at.isoformat(), "until": ends_at.isoformat()}
    return row


def change(actor: Person, *, window: Maintenance, starts_at: datetime, ends_at: datetime, reason: str) -> Maintenance:
    """Move, lengthen or shorten it, or say the reason anew. One that has begun keeps its beginning."""
    require(actor, Role.OPERATOR)
    reason, starts_at, ends_at = _reason(reason), _minute(starts_at), _minute(ends_at)
    with act(actor, "change", on=window, reason=reason) as said:
        moment = _lock(window)
        errors = _times(starts_at, ends_at, moment, begun=window.starts_at if window.starts_at <= moment else None)
        if not reason:
            errors["reason"] = _("Say why, in a line: tenants read it.")
        if errors:
            raise Refused(" ".join(errors.values()), errors=errors)
        there = dict(Node.objects.filter(engine=window.engine).values_list("name", "partitions"))
        _refuse_overlap(window, starts_at, ends_at, there)
        window.starts_at, window.ends_at, window.reason, window.taken_at = starts_at, ends_at, reason, None
        window.save(update_fields=["starts_at", "ends_at", "reason", "taken_at"])
        said |= {"from": starts_at.isoformat(), "until": ends_at.isoformat()}
    return window


def withdraw(actor: Person, *, window: Maintenance) -> Maintenance:
    """It isn't any more, also where it has begun: jobs start again."""
    require(actor, Role.OPERATOR)
    with act(actor, "withdraw", on=window):
        window.withdrawn_at = _lock(window)
        window.save(update_fields=["withdrawn_at"])
    return window


def _lock(window: Maintenance) -> datetime:
    """Take the row as it is now, and the moment. Stale where it is withdrawn or over."""
    alone(f"maintenance of {window.engine}")
    window.refresh_from_db(from_queryset=Maintenance.objects.select_for_update(of=("self",)))
    moment = now()
    if window.withdrawn_at:
        raise Stale(_("This maintenance was withdrawn."))
    if window.ends_at <= moment:
        raise Stale(_("This maintenance is over."))
    return moment


def _minute(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0)


def _reason(text: str) -> str:
    return " ".join(text.split())[:200]


def _times(starts_at: datetime, ends_at: datetime, moment: datetime, begun: datetime | None = None) -> dict[str, str]:
    """What is wrong with these times, by field."""
    errors = {}
    if begun and starts_at != _minute(begun):
        errors["starts_at"] = _("It has begun: only its end and its reason can be changed.")
    elif not begun and starts_at < moment - LATE:
        errors["starts_at"] = _("This is in the past.")
    elif starts_at > moment + FARTHEST:
        errors["starts_at"] = _("At most a year ahead.")
    if ends_at <= starts_at:
        errors["ends_at"] = _("It ends before it begins.")
    elif ends_at <= moment:
        errors["ends_at"] = _("This is in the past.")
    elif ends_at - starts_at > LONGEST:
        errors["ends_at"] = _("A maintenance lasts at most %(days)s days.") % {"days": LONGEST.days}
    return errors


def _strange(nodes: Sequence[str], there: dict[str, str], partition: str) -> str:
    """What is wrong with these names."""
    if unknown := [name for name in nodes if name not in there]:
        return _("There are no such nodes: %(names)s") % {"names": _some(unknown)}
    of_others = [name for name in nodes if partition and partition not in there[name].split(",")]
    if of_others:
        return _("These nodes are not of this partition: %(names)s") % {"names": _some(of_others)}
    return ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(name[:80] for name in names[:10]) + (" …" if len(names) > 10 else "")


def _refuse_overlap(row: Maintenance, starts_at: datetime, ends_at: datetime, there: dict[str, str]) -> None:
    """One node is announced once for a time: who reads of two doesn't know what holds."""
    others = Maintenance.objects.filter(
        engine=row.engine, withdrawn_at=None, starts_at__lt=ends_at, ends_at__gt=starts_at
    )
    for other in others.exclude(pk=row.pk):
        if _meet(_place(row, there), _place(other, there)):
            said = _(
                "It overlaps with the maintenance “%(reason)s” of the same nodes. Change that one, or withdraw it."
            )
            raise Refused(said % {"reason": other.reason}, field="starts_at")


def _place(row: Maintenance, there: dict[str, str]) -> set[str] | None:
    """The nodes of a maintenance, and the partition itself where its nodes don't say theirs; None for all."""
    if row.partition:
        return {f"of {row.partition}", *(name for name, of in there.items() if row.partition in of.split(","))}
    return set(row.nodes) or None


def _meet(one: set[str] | None, other: set[str] | None) -> bool:
    return one is None or other is None or not one.isdisjoint(other)


def tell(watch: Watch, engine: EngineWithFiles) -> None:
    """Have the engine have what is announced: when that has changed, and every few minutes while there is any. One
    statement where there is nothing to tell."""
    moment = watch.asked_at or now()
    rows = list(Maintenance.objects.filter(engine=watch.engine, withdrawn_at=None, ends_at__gt=moment))
    wanted = [
        base.Maintenance(str(row.pk), row.starts_at, row.ends_at, row.reason, row.partition, tuple(row.nodes))
        for row in rows
    ]
    digest = hashlib.sha256(repr(wanted).encode()).hexdigest()
    if digest == watch.windows and watch.windows_at:
        wait = AGAIN if watch.windows_held else COMPARED if rows else None
        if wait is None or moment - watch.windows_at < wait:
            return
    try:
        held = engine.maintain(wanted).held
    except Unavailable:
        raise
    except EngineError as refused:
        held = refused.message
    watch.windows, watch.windows_at, watch.windows_held = digest, moment, held[:400]
    if not held:
        for row in rows:
            if row.taken_at is None:  # and not changed since it was read
                same = Maintenance.objects.filter(pk=row.pk, starts_at=row.starts_at, ends_at=row.ends_at)
                same.update(taken_at=moment)
