"""Whatever a verb refuses, and whatever input the database can't hold, gets a page that says so."""

from __future__ import annotations

from collections.abc import Callable

from django.db import DataError
from django.http import HttpRequest, HttpResponse
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
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, Refused):
            return self.page(request, error, status=error.status)
        if isinstance(error, DataError):
            return self.page(request, Refused(_("A value is too large or of the wrong kind.")), status=400)
        return None

    def page(self, request: HttpRequest, refused: Refused, *, status: int) -> HttpResponse:
        return render(request, "web/refused.html", {"refused": refused, "status": status}, status=status)
