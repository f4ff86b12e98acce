"""Whatever a verb refuses, and whatever input the database can't hold, gets a page that says so."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.db import DataError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from madang.workflow.errors import Refused


class PlainAnswers:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # A NUL byte is in no name and in no search: it only ever comes to break something.
        if "\x00" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            return self.page(request, Refused(_("The address holds a character that can't be used.")), status=400)
        # The announced length is looked at before anything reads the body: what is too large is never received.
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdecimal() or int(length) > settings.REQUEST_LIMIT_BYTES:
            most = settings.UPLOAD_LIMIT_BYTES // 1024**2
            too_large = _("This is too large: a file has at most %(most)s MB. Nothing was saved.") % {"most": most}
            return self.page(request, Refused(too_large), status=413)
        response = self.get_response(request)
        page = response.headers.get("Content-Type", "").startswith("text/html")
        if response.status_code == 404 and page and request.path.startswith("/api/"):
            # An address that the API doesn't have: whoever asked is a program.
            return self.page(request, Refused(_("There is nothing here, or it isn't yours to see.")), status=404)
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, Refused):
            return self.page(request, error, status=error.status)
        if isinstance(error, DataError):
            return self.page(request, Refused(_("A value is too large or of the wrong kind.")), status=400)
        return None

    def page(self, request: HttpRequest, refused: Refused, *, status: int) -> HttpResponse:
        if request.path.startswith("/api/"):
            return JsonResponse({"title": str(refused), "where": sorted(refused.errors)}, status=status)
        return render(request, "web/refused.html", {"refused": refused, "status": status}, status=status)
