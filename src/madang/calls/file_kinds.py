"""Which kinds of file a document of an application may be: by the ending of its name, and by how its content begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from madang.workflow.errors import Refused

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OLE = (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"HWP Document File")
BEGINNINGS: dict[str, tuple[bytes, ...]] = {
    "pdf": (b"%PDF-",),
    "hwp": _OLE,
    "hwpx": _ZIP,
    "docx": _ZIP,
    "xlsx": _ZIP,
    "pptx": _ZIP,
    "jpg": (b"\xff\xd8\xff",),
    "png": (b"\x89PNG\r\n\x1a\n",),
    "zip": _ZIP,
}
KINDS = tuple(BEGINNINGS)


def of(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """What this question takes: everything, unless its form names less."""
    return tuple(kind for kind in KINDS if kind in spec["kinds"]) if spec.get("kinds") else KINDS


def said(kinds: tuple[str, ...]) -> str:
    return ", ".join(kinds).upper()


def accept(kinds: tuple[str, ...]) -> str:
    """As a file input takes it."""
    return ",".join(f".{kind}" for kind in (*kinds, *(("jpeg",) if "jpg" in kinds else ())))


def check(name: str, beginning: bytes, kinds: tuple[str, ...]) -> None:
    """Raises Refused for a name or a content that is of none of these kinds."""
    ending = name.rpartition(".")[2].lower()
    kind = "jpg" if ending == "jpeg" else ending
    if kind not in kinds:
        wrong = _("This kind of file isn't taken here. Choose one of: %(kinds)s.") % {"kinds": said(kinds)}
    elif not beginning.startswith(BEGINNINGS[kind]):
        wrong = _("The content of this file isn't %(kind)s, as its name says.") % {"kind": kind.upper()}
    else:
        return
    raise Refused(wrong, field="file")
