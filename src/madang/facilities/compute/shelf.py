"""The shelf of a project: files that its people keep for their jobs, on this machine's disk by what they hold.

A file comes in parts, so that a broken line costs one part and not all of it. Only when all of it is there and its
SHA-256 is what was announced it gets its name, and takes the place of an older file of that name. A job names files by
their content: it is given what was there when it was submitted, whatever happens to the name afterwards.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from madang.facilities.compute.models import ProjectFile
from madang.grants.models import Allocation, Grant
from madang.jobs.engines import Input
from madang.jobs.models import LIVE, Job
from madang.workflow.alone import alone
from madang.workflow.errors import Refused
from madang.workflow.moment import now

PART = 32 * 1024 * 1024  # bytes that come in one request at most
UNFINISHED = timedelta(days=1)  # so long an upload waits to be gone on with
COPY = 1024 * 1024
logger = logging.getLogger(__name__)


def root() -> Path:
    return Path(settings.RUNS_ROOT) / ".projects"  # no cluster is called so


def blob(grant: int, sha256: str) -> Path:
    """Where the content lies. Each grant has its own, so that nobody learns what another one keeps."""
    return root() / str(grant) / sha256


def part(file: ProjectFile) -> Path:
    """Where it gathers while it comes."""
    return root() / str(file.grant_id) / f"{file.pk}.part"


def append(file: ProjectFile, source: BinaryIO) -> int:
    """Write what `source` holds behind what is there. Bytes written; Refused where that is more than was announced.

    The row must be locked. What a transaction that failed has left behind `received` is overwritten.
    """
    target = part(file)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.truncate(file.received)
        out.seek(file.received)
        shutil.copyfileobj(source, out, COPY)
        written = out.tell() - file.received
    if file.received + written > file.size:
        raise Refused(_("More has come than the file was said to hold. Nothing of this part was kept."), field="size")
    return written


def is_as_announced(file: ProjectFile) -> bool:
    """Whether what has come is what was announced; reads all of it."""
    with part(file).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256


def digest(source: BinaryIO) -> str:
    source.seek(0)
    found = hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]
    source.seek(0)
    return found


def settle(file: ProjectFile) -> None:
    """It is whole: it gets its name, and an older one of that name is gone. Its row and its grant must be locked."""
    if file.received:
        part(file).replace(blob(file.grant_id, file.sha256))
    else:
        target = blob(file.grant_id, file.sha256)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.touch(mode=0o600)
    ProjectFile.objects.filter(grant=file.grant_id, path=file.path, ready_at__isnull=False).exclude(pk=file.pk).delete()
    file.ready_at = now()
    file.save(update_fields=["received", "ready_at"])


def locked(grant: int) -> None:
    """Nobody else adds or tidies files of this grant until the end of the transaction."""
    alone(f"files of {grant}")


def named(grant: Grant, names: Sequence[str]) -> list[Input]:
    """The files of these names, as a job is given them. Refused at `files` where one isn't there."""
    rows = {row.path: row for row in ProjectFile.objects.filter(grant=grant, path__in=names, ready_at__isnull=False)}
    if absent := [name for name in names if name not in rows]:
        raise Refused(
            _("The project has no file “%(name)s”. Upload it first.") % {"name": absent[0][:100]}, field="files"
        )
    return [Input(rows[name].path, rows[name].sha256, rows[name].size) for name in names]


def keep_for(allocation: Allocation, inputs: Sequence[Input]) -> None:
    """Keep these files until the job that asks for them is a row. Refused where one was deleted or replaced since."""
    if not inputs:
        return
    rows = ProjectFile.objects.select_for_update(no_key=True).filter(
        grant=allocation.grant_id, sha256__in={entry.sha256 for entry in inputs}, ready_at__isnull=False
    )
    there = {(row.path, row.sha256) for row in rows.order_by("id")}
    if gone := [entry.path for entry in inputs if (entry.path, entry.sha256) not in there]:
        raise Refused(_("The file “%(name)s” was deleted or replaced just now.") % {"name": gone[0]}, field="files")


@transaction.atomic
def tidy(grant: int) -> int:
    """Remove what no file of the shelf and no live job needs. How many files went from the disk."""
    locked(grant)
    old = ProjectFile.objects.filter(grant=grant, ready_at=None, begun_at__lt=now() - UNFINISHED)
    old.delete()
    # In this order: a job is there before the row that it needed can go.
    rows = list(ProjectFile.objects.filter(grant=grant).values_list("pk", "sha256"))
    needed = {sha256 for _pk, sha256 in rows} | {f"{pk}.part" for pk, _sha256 in rows}
    live = Job.objects.filter(allocation__grant=grant, state__in=LIVE).exclude(inputs=[])
    needed |= {sha256 for inputs in live.values_list("inputs", flat=True) for _path, sha256, _size in inputs}
    folder, removed = root() / str(grant), 0
    for name in os.listdir(folder) if folder.is_dir() else ():
        if name not in needed:
            (folder / name).unlink(missing_ok=True)
            removed += 1
    return removed


def tidy_all() -> None:
    for name in os.listdir(root()) if root().is_dir() else ():
        try:
            tidy(int(name))
        except Exception:
            logger.exception("the files of grant %s could not be tidied up", name)
