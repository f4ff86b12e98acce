"""The files of projects over HTTP: announced, sent in parts, fetched from any byte on."""

from __future__ import annotations

from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema, Status

from madang.facilities.compute import actions, queries, shelf
from madang.facilities.compute.models import ProjectFile
from madang.identity.access import me
from madang.web.api import BIG, PROBLEMS, Amount, Id, In, Line, Slug, bytes_of
from madang.web.ranges import download
from madang.workflow.errors import Refused

router = Router()


class ProjectFileIn(In):
    """A file to come: `size` in bytes, `sha256` of all of it in hexadecimal. `grant` is the number of the grant."""

    grant: Slug
    path: Line
    size: Amount
    sha256: Annotated[str, Field(min_length=64, max_length=64)]


class ProjectFileOut(Schema):
    """`received` of its `size` bytes have come; jobs can use it once it is `ready`."""

    id: int
    grant: str
    path: str
    size: int
    sha256: str
    received: int
    ready: bool
    person: str
    begun_at: datetime
    ready_at: datetime | None


class ProjectFilesOut(Schema):
    items: list[ProjectFileOut]
    next: int | None = None


def project_file_out(row: ProjectFile) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in ("path", "size", "sha256", "received", "begun_at", "ready_at")},
        "id": row.pk,
        "grant": row.grant.number,
        "ready": row.ready_at is not None,
        "person": str(row.person),
    }


@router.get("/project-files", response={200: ProjectFilesOut} | PROBLEMS, summary="The files of your projects")
def project_files(request: HttpRequest, grant: Slug | None = None) -> dict[str, Any]:
    project = queries.project_for(request.user, grant) if grant else None
    return {"items": [project_file_out(row) for row in queries.project_files(request.user, grant=project)]}


@router.post(
    "/project-files",
    response={201: ProjectFileOut} | PROBLEMS,
    summary="Announce a file, or find how much of it has come",
)
def begin_file(request: HttpRequest, data: ProjectFileIn) -> Status[dict[str, Any]]:
    row = actions.begin_file(
        me(request),
        grant=queries.project_for(request.user, data.grant),
        path=data.path,
        size=data.size,
        sha256=data.sha256,
    )
    return Status(201, project_file_out(queries.project_file(request.user, row.pk)))


@router.get("/project-files/{id}", response={200: ProjectFileOut} | PROBLEMS, summary="One file of a project")
def project_file(request: HttpRequest, id: Id) -> dict[str, Any]:
    return project_file_out(queries.project_file(request.user, id))


@router.put(
    "/project-files/{id}/bytes",
    response={200: ProjectFileOut} | PROBLEMS,
    summary="The bytes of a file from an offset on",
    description="At most 32 MiB at once; with the last part it is compared with its SHA-256. 409 says what has come.",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
def put_bytes(request: HttpRequest, id: Id, offset: Annotated[int, Query(ge=0, le=BIG)]) -> dict[str, Any]:
    row = queries.project_file(request.user, id)
    with SpooledTemporaryFile(shelf.COPY) as part:
        while piece := request.read(shelf.COPY):
            part.write(piece)
            if part.tell() > shelf.PART:
                raise Refused(_("One part has at most %(most)s MB.") % {"most": shelf.PART // 1024**2}, field="bytes")
        part.seek(0)
        row = actions.receive(me(request), file=row, offset=offset, content=part)  # type: ignore[arg-type]
    return project_file_out(row)


@router.get(
    "/project-files/{id}/bytes",
    response=PROBLEMS,
    summary="A file of a project, as bytes",
    openapi_extra=bytes_of("application/octet-stream"),
)
def get_bytes(request: HttpRequest, id: Id) -> Any:
    row = queries.project_file(request.user, id)
    return download(request, queries.open_project_file(row), row.path.rsplit("/", 1)[-1])


@router.delete("/project-files/{id}", response={204: None} | PROBLEMS, summary="Delete a file of a project")
def delete_project_file(request: HttpRequest, id: Id) -> Status[None]:
    actions.delete_file(me(request), file=queries.project_file(request.user, id))
    return Status(204, None)
