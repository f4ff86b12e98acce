"""The API: the same verbs as the pages, each room's under its own name. What can't be done is answered by a Problem."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db import DataError
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError

from madang import __version__
from madang.calls.api import router as calls
from madang.catalog.api import router as catalog
from madang.facilities.compute.api import router as compute
from madang.grants.api import router as grants
from madang.identity.api import auth
from madang.identity.api import router as identity
from madang.insight.api import router as insight
from madang.outcomes.api import router as outcomes
from madang.programs.api import router as programs
from madang.web.api import PROBLEMS
from madang.workflow.errors import Refused
from madang.workflow.moment import now

api = NinjaAPI(
    title="Madang",
    version=__version__,
    description="What the pages can do, programs can do too. Log in with `Authorization: Bearer <token>`.",
    auth=auth,
    urls_namespace="api",
    openapi_extra={"info": {"license": {"name": "Apache-2.0"}}},
)


def problem(request: HttpRequest, status: int, title: Any, where: list[str] | None = None) -> HttpResponse:
    return api.create_response(request, {"title": str(title), "where": where or []}, status=status)


@api.exception_handler(Refused)
def refused(request: HttpRequest, error: Refused) -> HttpResponse:
    title = str(error.message) or "; ".join(str(message) for message in error.errors.values())
    return problem(request, error.status, title, sorted(error.errors))


@api.exception_handler(ValidationError)
def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    first = error.errors[0]
    # The last parts of a place are the field; the first ones are how the library got there.
    where = [
        ".".join(str(part) for part in e["loc"] if part not in ("body", "query", "path", "data")) for e in error.errors
    ]
    return problem(request, 422, f"{where[0]}: {first['msg']}", where)


@api.exception_handler(AuthenticationError)
def unknown(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    return problem(request, 401, _("Log in, or send a valid token."))


@api.exception_handler(HttpError)
def http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problem(request, error.status_code, error.message)


@api.exception_handler(Http404)
@api.exception_handler(ObjectDoesNotExist)
def missing(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(request, 404, _("There is nothing here, or it isn't yours to see."))


@api.exception_handler(PermissionDenied)
def denied(request: HttpRequest, error: PermissionDenied) -> HttpResponse:
    return problem(request, 403, _("This isn't yours to do."))


@api.exception_handler(DataError)
@api.exception_handler(json.JSONDecodeError)
def unusable(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(request, 400, _("A value is too large or of the wrong kind."))


class Clock(Schema):
    """The instant by which deadlines are decided, and what runs here."""

    now: datetime
    version: str


@api.get("/clock", response={200: Clock} | PROBLEMS, auth=None, tags=["site"], summary="The clock of the site")
def clock(request: HttpRequest) -> dict[str, Any]:
    return {"now": now(), "version": __version__}


for prefix, router in (
    ("", identity),
    ("/catalog", catalog),
    ("/programs", programs),
    ("/calls", calls),
    ("/grants", grants),
    ("/compute", compute),
    ("/outcomes", outcomes),
    ("/board", insight),
):
    api.add_router(prefix, router)
