"""What the shell around every page knows: who is there, where they may go, how they want to see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _

CONTRAST_COOKIE = "contrast"


@dataclass(frozen=True)
class Entry:
    label: str
    href: str
    current: bool = False
    count: int = 0


@dataclass
class Shell:
    here: str
    other_language: str
    high_contrast: bool
    demo: bool
    site: str = ""
    menu: list[Entry] = field(default_factory=list)
    account: list[Entry] = field(default_factory=list)
    foot: list[Entry] = field(default_factory=list)


def shell(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    known = bool(user and user.is_authenticated)
    made = Shell(
        here=request.get_full_path() if request.method == "GET" else request.path,
        other_language="en" if (get_language() or "ko").startswith("ko") else "ko",
        high_contrast=request.COOKIES.get(CONTRAST_COOKIE) == "high",
        demo=settings.DEMO,
    )
    if known:
        made.account = [
            Entry(label, href, current=request.path.startswith(href))
            for label, href in (
                (_("E-mail addresses"), reverse("account_email")),
                (_("Password"), reverse("account_change_password")),
                (_("Two-step verification"), reverse("mfa_index")),
            )
        ]
    return {"shell": made}
