"""What the shell around every page knows: who is there, where they may go, how they want to see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from madang.identity.access import Access, access_of
from madang.identity.models import Person, Role

CONTRAST_COOKIE = "contrast"
# Menu entries, and the pages below them whose address doesn't begin with theirs: how the names of those pages begin.
BELOW = (
    ("calls:managed", ("calls:new", "calls:manage", "calls:edit", "calls:preview", "calls:applications", "calls:assign",
                       "calls:decide", "calls:application-officer", "grants:announce", "grants:reserve",
                       "grants:promote")),
    ("grants:list", ("outcomes:", "grants:")),
    ("grants:ledger", ("grants:",)),
    ("compute:jobs", ("compute:",)),
    ("compute:health", ("compute:",)),
    ("portal:my", ("calls:my-applications", "calls:application", "calls:withdraw", "calls:receipt", "identity:account",
                   "identity:organization", "identity:token", "account_", "mfa_")),
)  # fmt: skip


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
        here=_here(request),
        other_language="en" if (get_language() or "ko").startswith("ko") else "ko",
        high_contrast=request.COOKIES.get(CONTRAST_COOKIE) == "high",
        demo=settings.DEMO,
    )
    access = access_of(user)
    menu = _menu(known, access)
    belongs = _belongs(request, [page for _label, page in menu])
    made.menu = _entries(belongs or request.path, [(label, reverse(page)) for label, page in menu])
    made.foot = [
        Entry(_("Board"), reverse("insight:board")),
        Entry(_("API"), reverse("api:openapi-view")),
    ]
    if known:
        account = [
            (_("My account"), reverse("identity:account")),
            (_("E-mail addresses"), reverse("account_email")),
            (_("Password"), reverse("account_change_password")),
            (_("Two-step verification"), reverse("mfa_index")),
            (_("API tokens"), reverse("identity:tokens")),
        ]
        made.account = _entries(request.path, account)
    if settings.DEMO:
        made.foot.append(Entry(_("Letters"), reverse("portal:mail")))
    return {"shell": made, **_demo_people(request)}


def _here(request: HttpRequest) -> str:
    """Where a button in the header comes back to. What answers a form may have no page: then the page of the form."""
    if request.method in ("GET", "HEAD"):
        return request.get_full_path()
    form = urlsplit(request.headers.get("referer", ""))
    return form._replace(scheme="", netloc="").geturl() if form.netloc == request.get_host() else request.path


def _entries(path: str, links: list[tuple[str, str]]) -> list[Entry]:
    """One page may lie below another: the nearest of those that lead to `path` is the current one."""
    nearest = max((href for _label, href in links if path.startswith(href)), key=len, default="")
    return [Entry(label, href, current=href == nearest) for label, href in links]


def _belongs(request: HttpRequest, pages: list[str]) -> str:
    """The address of the menu entry that this page belongs to by its name; empty where its address says it."""
    name = request.resolver_match.view_name if request.resolver_match else ""
    if name in pages:
        return ""
    return next((reverse(page) for page, names in BELOW if page in pages and name.startswith(names)), "")


def _menu(known: bool, access: Access) -> list[tuple[str, str]]:
    """The public entries, and where this person works."""
    entries = []
    if known:
        entries.append((_("My page"), "portal:my"))
    entries += [(_("Calls"), "calls:list"), (_("Resources"), "catalog:list"), (_("Programs"), "programs:list")]
    work = [
        (Role.OFFICER, _("Manage calls"), "calls:managed"),
        (Role.OFFICER, _("Grants"), "grants:list"),
        (Role.REVIEWER, _("Reviews"), "calls:reviews"),
        (Role.EXECUTIVE, _("Plans"), "planning:list"),
        (Role.OPERATOR, _("Plans"), "planning:list"),
        (Role.OPERATOR, _("People"), "identity:people"),
        (Role.OPERATOR, _("Compute"), "compute:health"),
        (Role.STEWARD, _("Compute"), "compute:partitions"),
        (Role.STEWARD, _("Allocations"), "grants:steward"),
        (Role.AUDITOR, _("Log"), "identity:log"),
        (Role.AUDITOR, _("Ledger"), "grants:ledger"),
    ]
    entries += dict.fromkeys((label, page) for role, label, page in work if access.somewhere(role))
    # The agency's own people belong to an organization too, but it isn't a tenant of itself.
    if access.organizations and not (access.somewhere(Role.OFFICER) or access.somewhere(Role.OPERATOR)):
        entries += [(_("Grants"), "grants:list"), (_("Jobs"), "compute:jobs")]
    return [*entries, (_("Board"), "insight:board")]


def _demo_people(request: HttpRequest) -> dict[str, Any]:
    """The people of a demonstration, one per role, for the login page alone."""
    if not settings.DEMO or request.path != reverse("account_login"):
        return {}
    people: list[dict[str, Any]] = []
    rows = Person.objects.filter(is_active=True, email__in=settings.DEMO_PEOPLE)
    for person in rows.prefetch_related("roles", "memberships__organization").order_by("id"):
        roles = [grant.get_role_display() for grant in person.roles.all() if grant.until is None]
        seats = [seat for seat in person.memberships.all() if seat.until is None]
        if not roles and seats:
            roles = [seats[0].get_role_display()]
        people.append(
            {
                "id": person.pk,
                "name": person.name,
                "role": ", ".join(roles) or _("no role yet"),
                "organization": seats[0].organization.name if seats else "",
            }
        )
    return {"demo_people": people}
