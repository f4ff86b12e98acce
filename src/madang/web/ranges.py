"""Files as bytes, whole or from where a broken download stopped (RFC 9110, one range)."""

from __future__ import annotations

import os
import re
from typing import BinaryIO

from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def download(request: HttpRequest, file: BinaryIO, name: str) -> HttpResponseBase:
    """An open file as an attachment; the part of it that `Range` asks for, 416 where it has no such part.

    Its ETag is of its size and the time of its last change: with `If-Range` a file that was written since comes whole.
    Several ranges at once, or what is no range of bytes, count as none.
    """
    facts = os.fstat(file.fileno())
    etag, size = f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"', facts.st_size
    found = ONE_RANGE.fullmatch(request.headers.get("Range", ""))
    wanted = _part(found, size) if found and request.headers.get("If-Range", etag) == etag else (0, size)
    response: HttpResponseBase
    if wanted is None:
        file.close()
        response = HttpResponse(
            status=416, content_type="application/octet-stream", headers={"Content-Range": f"bytes */{size}"}
        )
    else:
        first, end = wanted
        file.seek(first)
        whole = (first, end) == (0, size)
        response = FileResponse(
            file if whole else _Piece(file, end - first),
            as_attachment=True,
            filename=name,
            content_type="application/octet-stream",
            status=200 if whole else 206,
        )
        response["Content-Length"] = str(end - first)
        if not whole:
            response["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
    response["ETag"], response["Accept-Ranges"] = etag, "bytes"
    return response


def _part(found: re.Match[str], size: int) -> tuple[int, int] | None:
    """(first, end) of what is asked for, end excluded; None where there is nothing of it."""
    first, last = found.groups()
    if not first and not last:
        return 0, size
    if not first:
        return (max(0, size - int(last)), size) if int(last) and size else None
    if last and int(last) < int(first):
        return 0, size
    return (int(first), min(size, int(last) + 1 if last else size)) if int(first) < size else None


class _Piece:
    """So many bytes of a file from where it stands."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self.file, self.left = file, length

    def read(self, size: int) -> bytes:
        data = self.file.read(min(size, self.left))
        self.left -= len(data)
        return data

    def close(self) -> None:
        self.file.close()
