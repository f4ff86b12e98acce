"""What every request of this room is asked first: who sends it, and how much."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from madang.identity.models import Person
from madang.workflow.errors import Refused

SLACK = 1024 * 1024  # the rest of the form

View = Callable[..., HttpResponse]


def who(request: HttpRequest) -> Person:
    """The person who asks, where the login has been checked before."""
    return cast(Person, request.user)


def bounded(view: View) -> View:
    """Look at the announced length first; only then let the check for forgery read the form. Outermost decorator."""
    inner = csrf_protect(view)

    @wraps(view)
    def outer(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdigit() or int(length) > settings.UPLOAD_LIMIT_BYTES + SLACK:
            raise Refused(
                _("This is too large: at most %(most)s MB can be sent.")
                % {"most": settings.UPLOAD_LIMIT_BYTES // 1024**2}
            )
        return inner(request, *args, **kwargs)

    return csrf_exempt(outer)
