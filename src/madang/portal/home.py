"""The pages that everybody starts from: home, my page, search, and what a demonstration adds."""

from __future__ import annotations

from datetime import UTC
from email import policy
from email.parser import BytesParser
from pathlib import Path

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from madang.identity.access import me
from madang.identity.models import Person
from madang.identity.queries import site_is_empty
from madang.portal import queries
from madang.web.forms import unusable


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What shall we lend you? On a site without people: the set-up instead."""
    if not request.user.is_authenticated and site_is_empty():
        return redirect("identity:setup")
    return render(request, "portal/home.html", {"home": queries.home()})


@login_required
@require_safe
def my(request: HttpRequest) -> HttpResponse:
    return render(request, "portal/my.html", {"my": queries.my(me(request))})


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    asked = request.GET.get("q", "").strip()[:100]
    if unusable(asked):
        asked = ""
    return render(request, "portal/search.html", {"asked": asked, "found": queries.search(asked) if asked else None})


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200 where pages can be served: the database answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok", content_type="text/plain")


@require_POST
def demo_login(request: HttpRequest) -> HttpResponse:
    """One click, one role. Only a demonstration has this, and only for its own people: never for who signed up."""
    if not settings.DEMO:
        raise Http404
    asked = request.POST.get("person", "")
    if not asked.isdecimal() or len(asked) > 18:
        raise Http404
    person = get_object_or_404(Person, pk=int(asked), is_active=True, email__in=settings.DEMO_PEOPLE)
    login(request, person, backend="django.contrib.auth.backends.ModelBackend")
    return redirect("portal:my")


@require_safe
def mail(request: HttpRequest) -> HttpResponse:
    """The letters that a demonstration would have sent, newest first."""
    if not settings.DEMO:
        raise Http404
    letters = []
    for path in sorted(Path(settings.EMAIL_FILE_PATH).glob("*.log"), reverse=True)[:30]:
        for part in path.read_bytes().split(b"-" * 79)[::-1]:
            if part.strip():
                letter = BytesParser(policy=policy.default).parsebytes(part.lstrip())
                body = letter.get_body(("plain",))
                at = letter["date"].datetime.replace(tzinfo=UTC)
                letters.append({"to": letter["to"], "subject": letter["subject"], "at": at,
                                "text": body.get_content() if body else ""})  # fmt: skip
    return render(request, "portal/mail.html", {"letters": letters[:50]})
