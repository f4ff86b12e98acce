"""Applications, by those who write them."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import FileResponse, HttpRequest
from ninja import File, Path, Query, Router, Status
from ninja.files import UploadedFile

from madang.calls import actions, queries
from madang.calls.api import shapes
from madang.identity.access import me
from madang.web.api import PROBLEMS, bytes_of

router = Router()
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
After = Annotated[str | None, Query(max_length=80, description="the `next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=200)]


@router.get("/applications", response={200: shapes.TenantRowsOut} | PROBLEMS, summary="Your organizations' own")
def applications(request: HttpRequest, after: After = None, limit: Limit = 50) -> Any:
    return queries.applications_of(me(request), after=after, limit=limit)


@router.get("/applications/{id}", response={200: shapes.TenantOut} | PROBLEMS, summary="One of your applications")
def application(request: HttpRequest, id: Id) -> Any:
    return queries.application_for_tenant(me(request), id)


@router.patch("/applications/{id}", response={200: shapes.TenantOut} | PROBLEMS, summary="Save the draft")
def save_draft(request: HttpRequest, id: Id, body: shapes.DraftIn) -> Any:
    actions.save_draft(
        me(request),
        application=queries.own_application(me(request), id),
        title=body.title,
        answers=body.answers,
        lines={line: asked.dict() for line, asked in (body.lines or {}).items()},
        saves=body.saves,
    )
    return queries.application_for_tenant(me(request), id)


@router.post(
    "/applications/{id}/documents/{field}",
    response={201: shapes.DocumentOut} | PROBLEMS,
    summary="Hand in the file for one question",
)
def add_document(request: HttpRequest, id: Id, field: shapes.Code, file: Annotated[UploadedFile, File()]) -> Any:
    application = queries.own_application(me(request), id)
    return Status(201, actions.add_document(me(request), application=application, code=field, file=file))


@router.delete(
    "/applications/{id}/documents/{field}", response={204: None} | PROBLEMS, summary="Take a file out of the draft"
)
def remove_document(request: HttpRequest, id: Id, field: shapes.Code) -> Any:
    actions.remove_document(me(request), application=queries.own_application(me(request), id), code=field)
    return Status(204, None)


@router.post("/applications/{id}/submit", response={201: shapes.SubmissionOut} | PROBLEMS, summary="Hand it in")
def submit(request: HttpRequest, id: Id, body: shapes.SubmitIn) -> Any:
    """The database's clock decides. The same content again gives the receipt that is there."""
    application = queries.own_application(me(request), id)
    return Status(201, actions.submit(me(request), application=application, saves=body.saves))


@router.post("/applications/{id}/withdraw", response={200: shapes.TenantOut} | PROBLEMS, summary="Take it back")
def withdraw(request: HttpRequest, id: Id, body: shapes.WithdrawIn) -> Any:
    actions.withdraw(me(request), application=queries.own_application(me(request), id), reason=body.reason)
    return queries.application_for_tenant(me(request), id)


@router.get("/submissions/{id}", response={200: shapes.ReceiptOut} | PROBLEMS, summary="What was handed in, exactly")
def submission(request: HttpRequest, id: Id) -> Any:
    view = queries.receipt(me(request), id)
    row = view.submission
    return {
        "id": row.pk,
        "receipt": row.receipt,
        "number": view.number,
        "digest": row.digest,
        "submitted_at": row.submitted_at,
        "intact": view.intact,
        "content": view.content,
    }


@router.get(
    "/documents/{id}",
    response=PROBLEMS,
    summary="A file, as it was handed in",
    openapi_extra=bytes_of("application/octet-stream"),
)
def document(request: HttpRequest, id: Id) -> Any:
    found, name = actions.read_document(me(request), document=id)
    return FileResponse(
        found.file.open("rb"), as_attachment=True, filename=name, content_type="application/octet-stream"
    )
