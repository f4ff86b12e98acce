"""Whatever a verb refuses, and whatever input the database can't hold, gets a page that says so."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.db import DataError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from madang.workflow.errors import Refused


def plainly(status: int) -> str:
    """What a status means, for whoever gets nothing else."""
    if status == 403:
        return _("This isn't yours to do.")
    if status == 404:
        return _("There is nothing here, or it isn't yours to see.")
    if status == 405:
        return _("This address doesn't answer to this method.")
    return _("Something went wrong here. It was recorded.") if status >= 500 else _("What was sent can't be read.")


class PlainAnswers:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # A NUL byte is in no name and in no search: it only ever comes to break something.
        if "\x00" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            return self.page(request, Refused(_("The address holds a character that can't be used.")), status=400)
        # Nobody reads a body without a length here: what came in pieces would be taken for nothing at all.
        if request.META.get("HTTP_TRANSFER_ENCODING") and not request.META.get("CONTENT_LENGTH"):
            return self.page(request, Refused(_("Say its length (Content-Length).")), status=411)
        # The announced length is looked at before anything reads the body: what is too large is never received.
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdecimal() or int(length) > settings.REQUEST_LIMIT_BYTES:
            most = settings.UPLOAD_LIMIT_BYTES // 1024**2
            too_large = _("This is too large: a file has at most %(most)s MB. Nothing was saved.") % {"most": most}
            return self.page(request, Refused(too_large), status=413)
        response = self.get_response(request)
        page = response.headers.get("Content-Type", "").startswith("text/html")
        if response.status_code >= 400 and page and (request.path.startswith("/api/") or response.status_code == 405):
            # An address that the API doesn't have, or what failed before it was reached: whoever asked is a program.
            # And Django says nothing to whoever opens the address of a button.
            answer = self.page(request, Refused(plainly(response.status_code)), status=response.status_code)
            if allowed := response.headers.get("Allow"):
                answer.headers["Allow"] = allowed
            return answer
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, Refused):
            return self.page(request, error, status=error.status)
        if isinstance(error, DataError):
            return self.page(request, Refused(_("A value is too large or of the wrong kind.")), status=400)
        return None

    def page(self, request: HttpRequest, refused: Refused, *, status: int) -> HttpResponse:
        if request.path.startswith("/api/"):
            errors = {name: str(refused.errors[name]) for name in sorted(refused.errors)}
            return JsonResponse({"title": str(refused), "where": list(errors), "errors": errors}, status=status)
        return render(request, "web/refused.html", {"refused": refused, "status": status}, status=status)
