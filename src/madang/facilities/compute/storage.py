"""What the runs of a grant hold on the disk, its quota, and what it costs: measured, sampled, charged."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from pathlib import Path

from django.db import transaction
from django.db.models import Q, Sum
from django.utils.translation import gettext as _

from madang.catalog.models import Kind
from madang.engines.local import folders
from madang.facilities.compute.clusters import runs_of
from madang.facilities.compute.models import Folder, ProjectFile, StorageSample
from madang.grants import actions as grants
from madang.grants.models import Allocation, AllocationState, Grant
from madang.jobs.models import Job
from madang.ledger.usage import Record, meter
from madang.workflow.errors import Refused
from madang.workflow.moment import now

MB = 1_000_000
MB_HOUR = MB * 3600  # byte-seconds
WITHOUT_STORAGE_MB = 10_000  # what a grant without storage may leave on the disk
SETTLED = timedelta(minutes=1)  # after its end, a run's folder no longer changes
SOURCE = "storage"
logger = logging.getLogger(__name__)


def quota_mb(allocation: Allocation, grant: Grant) -> int:
    """An allocation is MB-hours over the days of use; the quota is what may be held all that time."""
    hours = max(1, int((grant.ends_at - grant.starts_at).total_seconds() // 3600))
    return max(1, allocation.amount // hours)


def of_grant(grant: Grant) -> Allocation | None:
    """The open storage of a grant, if it has one."""
    return (
        Allocation.objects.filter(grant=grant, resource__kind=Kind.STORAGE, state=AllocationState.OPEN)
        .order_by("id")
        .first()
    )


def held_bytes(grant: Grant) -> int:
    """What its runs hold, as last measured, and the files of the project, those that are still coming included."""
    runs = Folder.objects.filter(job__allocation__grant=grant).aggregate(total=Sum("bytes"))["total"]
    kept = ProjectFile.objects.filter(grant=grant).aggregate(total=Sum("size"))["total"]
    return int(runs or 0) + int(kept or 0)


def room(grant: Grant) -> tuple[int, int]:
    """(bytes held, bytes that may be held)."""
    allocation = of_grant(grant)
    return held_bytes(grant), (quota_mb(allocation, grant) if allocation else WITHOUT_STORAGE_MB) * MB


def check_room(grant: Grant, more: int = 0, *, field: str = "allocation") -> None:
    """Raises Refused where the storage of the grant is full, or `more` bytes are too many for it: a job that can't
    write its result shouldn't start."""
    held, most = room(grant)
    if more and held + more > most:
        raise Refused(
            _(
                "There isn't enough storage: this needs %(more)s MB, and %(held)s of %(most)s MB are held. "
                "Delete files that you no longer need."
            )
            % {"more": f"{-(-more // MB):,}", "held": f"{held // MB:,}", "most": f"{most // MB:,}"},
            field=field,
        )
    if held >= most:
        raise Refused(
            _(
                "The storage of this grant is full: %(held)s of %(most)s MB. "
                "Delete the files of jobs that you no longer need."
            )
            % {"held": f"{held // MB:,}", "most": f"{most // MB:,}"},
            field=field,
        )


def folder_of(job: Job) -> Path:
    return runs_of(job.engine) / str(job.uuid)


def measure() -> int:
    """Measure the folders that may have changed. How many were."""
    measured = 0
    jobs = Job.objects.filter(told_at__isnull=False).filter(Q(folder=None) | Q(folder__final=False))
    for job in jobs.select_related("folder").defer("script").order_by("id").iterator(chunk_size=500):
        try:
            _measure(job)
            measured += 1
        except Exception:
            logger.exception("the folder of job %s could not be measured", job.uuid)
    return measured


def _measure(job: Job) -> None:
    """Measure one folder, after trying again to remove what its holder wanted gone and still isn't."""
    folder: Folder | None = getattr(job, "folder", None)
    done = job.ended_at is not None and job.ended_at + SETTLED < now()
    if folder and folder.deleted_at:
        done = remove_files(job) and done
    Folder.objects.update_or_create(job=job, defaults={"bytes": size_of(folder_of(job)), "final": done})


def free(job: Job) -> None:
    """Remove the files of a job whose holder wants them gone. It holds what it held until they are."""
    try:
        if remove_files(job):
            Folder.objects.filter(job=job).update(bytes=size_of(folder_of(job)))
    except Exception:
        logger.exception("the files of job %s could not be removed; the next measuring tries again", job.uuid)


def is_going(job: Job) -> bool:
    """Whether its holder wanted the files of a job gone and they aren't yet."""
    there = next(folder_of(job).glob("*/*/work"), None) is not None
    return there and Folder.objects.filter(job=job, deleted_at__isnull=False).exists()


def sample() -> int:
    """Charge every open storage for what it held since it was last looked at. How many samples were written."""
    rows = Allocation.objects.filter(
        resource__kind=Kind.STORAGE, state__in=[AllocationState.OPEN, AllocationState.PAUSED]
    )
    written = 0
    for allocation in rows.select_related("grant", "resource").order_by("id"):
        try:
            written += charge(allocation)
        except Exception:
            logger.exception("the storage of allocation %s could not be charged", allocation.pk)
    return written


@transaction.atomic
def charge(allocation: Allocation) -> bool:
    """One sample: what was held since the one before is charged, or booked as an overrun where it isn't covered.

    The time between is charged at what was held at its start. Nothing is written while nothing changes; time adds up.
    """
    Allocation.objects.select_for_update(of=("self",)).get(pk=allocation.pk)
    last = StorageSample.objects.filter(allocation=allocation).order_by("-id").first()
    moment, held = now(), held_bytes(allocation.grant)
    owed = last.carry + last.bytes * int((moment - last.at).total_seconds()) if last else 0
    amount, carry = divmod(owed, MB_HOUR)
    if last and not amount and held == last.bytes:
        return False
    if last and amount:
        _book(allocation, amount, last=last, until=moment)
    StorageSample.objects.create(allocation=allocation, at=moment, bytes=held, charged_mb_hours=amount, carry=carry)
    return True


def _book(allocation: Allocation, amount: int, *, last: StorageSample, until: datetime) -> None:
    assert allocation.account is not None
    record = Record(
        key=f"{allocation.pk}#{last.pk}",
        account=allocation.account,
        resource=allocation.resource_id,
        submitted_at=last.at,
        started_at=last.at,
        ended_at=until,
        amount=amount,
        wall_s=int((until - last.at).total_seconds()),
        raw={"bytes": last.bytes},
    )
    came = meter([record], source=SOURCE, reason="storage held")
    for _key, refused in came.refused:
        raise refused
    if came.overrun:
        grants.overran(allocation)


def size_of(path: Path) -> int:
    """Bytes on the disk of everything below `path`; no link is followed, and what can't be read counts nothing."""
    return folders.size(path)


def remove_files(job: Job) -> bool:
    """Remove the work folders of an ended job; no link is followed. Its log stays. Whether all of them are gone."""
    gone = True
    for work in folder_of(job).glob("*/*/work"):
        try:
            folders.remove(work)
        except OSError as error:
            gone = False
            logger.warning("the files of job %s could not all be removed: %s", job.uuid, error)
    return gone
