"""Files that are handed in: kept with the digest of what they hold, under a name that can be written down."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Sum
from django.utils.translation import gettext as _

from madang.calls import file_kinds
from madang.calls.models import Application, Document, document_path
from madang.identity.models import Person
from madang.web.forms import unusable
from madang.workflow.errors import Refused

MOST_TOGETHER = 200 * 1024**2  # bytes of one application


def clean_name(name: str) -> str:
    """The last part of the name, without what can't be written down, at most 120 signs, with its ending.

    >>> clean_name("../../계획서\\u202efdp.exe")
    '계획서fdp.exe'
    """
    name = PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/")).name
    name = "".join(sign for sign in name if not unusable(sign) and sign not in '<>:"|?*')
    name = re.sub(r"\s+", " ", name).strip(" .")
    stem, dot, ending = name.rpartition(".")
    if dot and stem and len(ending) <= 10:
        return f"{stem[: 119 - len(ending)]}.{ending}"
    return name[:120] or "document"


@contextmanager
def stored(application: Application, spec: Mapping[str, Any], file: File, actor: Person) -> Iterator[Document]:
    """A document that isn't saved yet, with its file in the store. Whatever goes wrong inside takes the file away.

    The file is read once, a piece at a time: its digest says where it is kept, so it is read before it is stored.
    """
    size, digest = 0, hashlib.sha256()
    for piece in file.chunks():
        if not size:
            file_kinds.check(file.name or "", piece, file_kinds.of(spec))
        size += len(piece)
        require_size(size)
        digest.update(piece)
    if not size:
        raise Refused(_("This file is empty."), field="file")
    document = Document(
        application=application,
        code=spec["code"],
        name=clean_name(file.name or ""),
        size=size,
        digest=digest.hexdigest(),
        added_by=actor,
    )
    file.seek(0)
    name = default_storage.save(document_path(document, ""), file)
    document.file.name = name
    try:
        yield document
    except BaseException:
        default_storage.delete(name)
        raise


def require_size(size: int) -> None:
    if size > settings.UPLOAD_LIMIT_BYTES:
        raise Refused(
            _("This file is too large: at most %(most)s MB.") % {"most": settings.UPLOAD_LIMIT_BYTES // 1024**2},
            field="file",
        )


def require_room(application: Application, size: int) -> None:
    """Raises Refused where all files of the application would take too much together."""
    there = application.documents.aggregate(sum=Sum("size"))["sum"] or 0
    if there + size > MOST_TOGETHER:
        raise Refused(
            _("All files of an application together have at most %(most)s MB.") % {"most": MOST_TOGETHER // 1024**2},
            field="file",
        )


def discard(document: Document) -> None:
    """Delete a document that was never submitted, and its file once that is certain. Inside a transaction."""
    name = document.file.name or ""
    document.delete()
    transaction.on_commit(lambda: default_storage.delete(name))
