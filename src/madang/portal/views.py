"""The views of the shell itself."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.timezone import now
from django.utils.translation import pgettext, pgettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from madang.portal.context import CONTRAST_COOKIE
from madang.web.forms import Day, Form, Instant, TextField, Upload, WholeNumber

YEAR = 365 * 24 * 3600


@require_POST
def contrast(request: HttpRequest) -> HttpResponse:
    """Remember in a cookie how strong the contrast should be, and go back to the page."""
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        back = "/"
    response = HttpResponseRedirect(back)
    if request.POST.get("contrast") == "high":
        response.set_cookie(CONTRAST_COOKIE, "high", max_age=YEAR, samesite="Lax", secure=settings.HTTPS, httponly=True)
    else:
        response.delete_cookie(CONTRAST_COOKIE, samesite="Lax")
    return response


class Sample(Form):
    """One field of each kind, for the page that shows the components."""

    name = TextField(label=pgettext_lazy("sample", "Name of the project"), max_length=60)
    plan = TextField(
        label=pgettext_lazy("sample", "Project plan"),
        lines=True,
        required=False,
        max_length=2000,
        help_text=pgettext_lazy("sample", "What will you build, and what do you need the GPUs for?"),
    )
    amount = WholeNumber(label=pgettext_lazy("sample", "GPU-hours"), max_value=10_000)
    begin = Day(label=pgettext_lazy("sample", "First day"), required=False)
    deadline = Instant(label=pgettext_lazy("sample", "Deadline"), required=False)
    kind = forms.ChoiceField(
        label=pgettext_lazy("sample", "Kind"), choices=[("gpu", "H100"), ("storage", "Object storage")], required=False
    )
    mode = forms.ChoiceField(
        label=pgettext_lazy("sample", "How will you use it?"),
        choices=[
            ("self", pgettext_lazy("sample", "We run it ourselves")),
            ("help", pgettext_lazy("sample", "We need help")),
        ],
        widget=forms.RadioSelect,
    )
    areas = forms.MultipleChoiceField(
        label=pgettext_lazy("sample", "Fields"),
        choices=[
            ("car", pgettext_lazy("sample", "Mobility")),
            ("energy", pgettext_lazy("sample", "Energy")),
            ("care", pgettext_lazy("sample", "Care")),
        ],
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )
    evidence = Upload(label=pgettext_lazy("sample", "Evidence"), required=False)
    agreed = forms.BooleanField(label=pgettext_lazy("sample", "I agree to the use of personal data."))


@require_http_methods(["GET", "POST"])
def components(request: HttpRequest) -> HttpResponse:
    """All components on one page. Only where a demonstration runs."""
    if not settings.DEMO:
        raise Http404
    form = Sample(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        messages.success(request, pgettext("sample", "Saved."))
    steps = [
        {"label": pgettext("sample", "Draft"), "state": "done"},
        {"label": pgettext("sample", "Submitted"), "state": "done", "hint": "2025-06-20"},
        {"label": pgettext("sample", "Review"), "state": "current"},
        {"label": pgettext("sample", "Decision"), "state": "todo"},
    ]
    context: dict[str, Any] = {"form": form, "steps": steps, "now": now(), "option": chart_sample()}
    return render(request, "portal/components.html", context, status=422 if form.errors else 200)


def chart_sample() -> dict[str, Any]:
    return {
        "xAxis": {"type": "category", "data": ["4월", "5월", "6월", "7월"]},
        "yAxis": {"type": "value"},
        "series": [
            {"type": "bar", "name": "H100", "data": [320, 610, 580, 740]},
            {"type": "bar", "name": "A100", "data": [120, 180, 240, 210]},
        ],
        "legend": {},
    }
