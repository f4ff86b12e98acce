"""What the pages of the shell ask: the home page, one person's page, the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Q
from django.urls import reverse
from django.utils.timezone import localdate
from django.utils.translation import gettext as _

from madang.calls import queries as calls
from madang.calls.models import AssignmentState, Call
from madang.catalog.models import Kind, Resource, ResourceState
from madang.grants import queries as grants
from madang.identity import queries as identity
from madang.identity.access import access_of
from madang.identity.models import Person, Role
from madang.insight import queries as insight
from madang.jobs import queries as jobs
from madang.outcomes import queries as outcomes
from madang.programs.models import Program

FEW = 5
MOST_FOUND = 20
MOST_WAITING = 200


@dataclass(frozen=True)
class Home:
    """What the site lends, by kind, and which calls can be answered now."""

    kinds: Sequence[dict[str, Any]]
    open_calls: Sequence[Any]


def home() -> Home:
    counted = dict(
        Resource.objects.filter(state=ResourceState.OPEN)
        .values_list("kind")
        .annotate(count=Count("id"))
        .order_by("kind")
    )
    kinds = [
        {"code": kind.value, "name": kind.label, "count": counted[kind.value], "icon": ICONS[kind]}
        for kind in Kind
        if kind.value in counted
    ]
    return Home(kinds, calls.public_calls(stage="open", limit=FEW).items)


ICONS = {
    Kind.COMPUTE: "chip",
    Kind.STORAGE: "disk",
    Kind.INSTRUMENT: "flask",
    Kind.SPACE: "building",
    Kind.SEAT: "people",
    Kind.DATASET: "file",
    Kind.FUND: "plus",
    Kind.MENTOR: "people",
    Kind.SITE: "globe",
    Kind.PERMIT: "check",
    Kind.EVALUATION: "chart",
}


@dataclass(frozen=True)
class Link:
    label: str
    text: str
    href: str


@dataclass(frozen=True)
class Waiting:
    """Something that waits for an officer: what to do, of which call, how many, since when."""

    label: str
    of: str
    count: int
    since: Any
    href: str


@dataclass
class My:
    """One screen: what I hold, what is left, what runs, what is due; and for staff, what waits for me, oldest first."""

    tenant: bool = False
    organizations: Sequence[Any] = ()
    applications: Sequence[Any] = ()
    grants: Sequence[Any] = ()
    jobs: Sequence[Any] = ()
    officer: bool = False
    queue: Sequence[Any] = ()
    outcomes: Sequence[Any] = ()
    board: Sequence[Any] = ()
    reviewer: bool = False
    unready: bool = False  # the operator still sets the site up
    reviews: Sequence[Any] = ()
    roles: Sequence[str] = field(default_factory=list)
    staff: Sequence[Link] = field(default_factory=list)


def my(person: Person) -> My:
    """The person's page. Only what belongs to a role that is held is asked for."""
    access = access_of(person)
    made = My(roles=sorted({role for role, _scope, _id in access.roles}))
    if access.organizations:
        made.tenant = True
        made.applications = calls.applications_of(person, limit=FEW).items
        made.grants = grants.grants_of(person, limit=FEW)
        made.jobs = jobs.jobs_of(person, limit=FEW).items
        # Whoever works for the agency belongs to it, and holds nothing: their page is their work.
        made.tenant = bool(made.applications or made.grants or not made.roles)
    if access.somewhere(Role.OFFICER):
        made.officer = True
        made.queue = [_waiting(item) for item in calls.officer_queue(person, limit=MOST_WAITING).items]
        made.outcomes = outcomes.queue(person, limit=FEW).rows
    if access.holds(Role.OPERATOR):
        made.unready = not identity.lends()
    if access.somewhere(Role.REVIEWER):
        made.reviewer = True
        queue = calls.review_queue(person, limit=MOST_WAITING).items
        made.reviews = [row for row in queue if row.state == AssignmentState.ASSIGNED]
    if access.somewhere(Role.EXECUTIVE):
        made.board = insight.board(person, localdate()).lines
    made.staff = _staff(set(made.roles))
    return made


def _waiting(item: Any) -> Waiting:
    label, page = {
        "publish": (_("Finish and publish the call"), "calls:manage"),
        "screen": (_("Check eligibility"), "calls:applications"),
        "start_evaluation": (_("Start the evaluation"), "calls:manage"),
        "assign": (_("Assign reviewers"), "calls:assign"),
        "reviews": (_("Wait for reviews"), "calls:manage"),
        "decide": (_("Decide"), "calls:decide"),
        "announce": (_("Announce the results"), "calls:decide"),
    }[item.kind]
    return Waiting(label, item.call.title, item.count, item.since, reverse(page, args=[item.call.code]))


def _staff(roles: set[str]) -> list[Link]:
    """Where each role works, beside the queue."""
    links = [
        (Role.EXECUTIVE, _("Board"), _("Promised beside done: H·I·D·E and the five conditions."), "insight:board"),
        (Role.EXECUTIVE, _("Capacity plans"), _("What each stage buys, and when the next is needed."), "planning:list"),
        (Role.OFFICER, _("Calls"), _("Write a call, screen, assign, decide."), "calls:managed"),
        (Role.OFFICER, _("Programs"), _("Money, indicators and targets."), "programs:list"),
        (Role.STEWARD, _("Resources"), _("What is lent, at which rate, and whether it is lent now."), "catalog:list"),
        (Role.OPERATOR, _("People and roles"), _("Who holds which role, and why."), "identity:people"),
        (Role.OPERATOR, _("Compute"), _("Clusters, partitions, and how the engine does."), "compute:health"),
        (Role.AUDITOR, _("Log"), _("Who did what, when and why."), "identity:log"),
        (Role.AUDITOR, _("Ledger"), _("What was granted, held, used, and the check of it."), "grants:ledger"),
    ]
    return [Link(label, text, reverse(page)) for role, label, text, page in links if role in roles]


@dataclass(frozen=True)
class Found:
    resources: list[Resource]
    calls: list[Call]
    programs: list[Program]

    @property
    def nothing(self) -> bool:
        return not (self.resources or self.calls or self.programs)


def search(asked: str) -> Found:
    """Public things whose name or text holds what was asked for."""

    def holding(*columns: str) -> Q:
        found = Q()
        for column in columns:
            found |= Q(**{f"{column}__icontains": asked})
        return found

    resources = Resource.objects.exclude(state=ResourceState.RETIRED).filter(
        holding("name_ko", "name_en", "about_ko", "about_en", "code")
    )
    published = Call.objects.exclude(published_at=None).filter(
        holding("title_ko", "title_en", "text_ko", "text_en", "code")
    )
    programs = Program.objects.filter(holding("name_ko", "name_en", "about_ko", "about_en", "code"))
    return Found(list(resources[:MOST_FOUND]), list(published[:MOST_FOUND]), list(programs[:MOST_FOUND]))
