"""The API: the same verbs as the pages, each room's under its own name. What can't be done is answered by a Problem."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import (
    BadRequest,
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.core.signals import got_request_exception
from django.db import DataError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
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
from madang.insight.api import costs
from madang.insight.api import router as insight
from madang.outcomes.api import router as outcomes
from madang.programs.api import router as programs
from madang.web.api import PROBLEMS, wrong
from madang.workflow.errors import Refused
from madang.workflow.moment import now

log = logging.getLogger(__name__)
api = NinjaAPI(
    title="Madang",
    version=__version__,
    description="What the pages can do, programs can do too. Log in with `Authorization: Bearer <token>`.",
    auth=auth,
    urls_namespace="api",
    openapi_extra={"info": {"license": {"name": "Apache-2.0"}}},
)


def problem(request: HttpRequest, status: int, title: Any, errors: dict[str, str] | None = None) -> HttpResponse:
    found = errors or {}
    return api.create_response(request, {"title": str(title), "where": list(found), "errors": found}, status=status)


@api.exception_handler(Refused)
def refused(request: HttpRequest, error: Refused) -> HttpResponse:
    errors = {name: str(error.errors[name]) for name in sorted(error.errors)}
    return problem(request, error.status, str(error.message) or "; ".join(errors.values()), errors)


@api.exception_handler(ValidationError)
def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    errors: dict[str, str] = {}
    for found in error.errors:
        # The last parts of a place are the field; the first ones are how the library got there.
        place = ".".join(str(part) for part in found["loc"] if part not in ("body", "query", "path", "data"))
        # Without a place it is about all that was sent: where that is missing, the body was empty.
        nothing = not place and found["type"] == "missing"
        errors.setdefault(place, _("Nothing was sent: an object in JSON is needed.") if nothing else wrong(found))
    place, message = next(iter(errors.items()))
    return problem(request, 422, f"{place}: {message}" if place else message, errors)


@api.exception_handler(AuthenticationError)
def unknown(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    return problem(request, 401, _("Log in, or send a valid token."))


@api.exception_handler(HttpError)
def http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    # Of its own, the library answers with 400 to what isn't JSON, and in English.
    message = _("What was sent can't be read.") if error.status_code == 400 else error.message
    return problem(request, error.status_code, message)


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


@api.exception_handler(RequestDataTooBig)
def too_big(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024**2
    return problem(request, 413, _("This is too large: at most %(most)s MB. Nothing was done.") % {"most": most})


@api.exception_handler(BadRequest)
@api.exception_handler(MultiPartParserError)
@api.exception_handler(SuspiciousOperation)
@api.exception_handler(UnreadablePostError)
def unreadable(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(request, 400, _("What was sent can't be read."))


@api.exception_handler(Exception)
def broken(request: HttpRequest, error: Exception) -> HttpResponse:
    """As Django does it, with an answer for programs: the signal is what tests, and reporters of errors, listen to."""
    if settings.DEBUG_PROPAGATE_EXCEPTIONS:
        raise error
    log.exception("%s %s failed", request.method, request.path)
    got_request_exception.send(sender=None, request=request)
    return problem(request, 500, _("Something went wrong here. It was recorded."))


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
    ("/insight", costs),
):
    api.add_router(prefix, router)
