"""What is read of grants. Scoped by who reads: another tenant's grant is Missing, as if it weren't there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Prefetch, Q, QuerySet, Sum
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext as _

from madang.calls.effect import Promise
from madang.calls.models import Application, ApplicationLine, ApplicationState, Call, CallLine
from madang.catalog.models import Kind, Resource
from madang.grants import rules
from madang.grants.models import Agreement, Allocation, AllocationState, Grant, GrantState, Meter
from madang.identity.access import access_of
from madang.identity.models import Person, Role, Scope
from madang.ledger import queries as ledger
from madang.ledger.models import Entry, Period, Seal
from madang.ledger.models import Kind as EntryKind
from madang.programs.models import Program
from madang.workflow.errors import Missing, NotAllowed
from madang.workflow.models import LogLine
from madang.workflow.moment import now

SEOUL = ZoneInfo("Asia/Seoul")
READERS = (Role.OFFICER, Role.AUDITOR)
PAGE = 30


def missing() -> Missing:
    return Missing(_("There is nothing here, or it isn't yours to see."))


def visible(person: Any) -> QuerySet[Grant]:
    """The grants of one's own organizations, and of the programs that one is an officer or an auditor of."""
    return overseen(person, own=True)


def overseen(person: Any, *, roles: Iterable[str] = READERS, own: bool = False) -> QuerySet[Grant]:
    """The grants of the programs that one holds such a role over; with `own` those of one's organizations, too."""
    access = access_of(person)
    programs: set[int] = set()
    for role in roles:
        over = access.programs(role)
        if over is None:
            return Grant.objects.all()
        programs |= over
    wanted = Q(program_id__in=programs)
    return Grant.objects.filter(wanted | Q(organization_id__in=list(access.organizations)) if own else wanted)


def oversees(person: Any) -> bool:
    """Whether this person reads grants of others, as an officer or an auditor."""
    return any(access_of(person).somewhere(role) for role in READERS)


def with_meters(allocations: Iterable[Allocation], *, whole: bool = True) -> list[Allocation]:
    """The same allocations, each with its meter, in three SQL statements; in one where it isn't to be `whole` and only
    says what is held and left. Before one opens, all of it is left."""
    rows = list(allocations)
    accounts = [row.account for row in rows if row.account is not None]
    balances = ledger.balances(accounts) if accounts else {}
    overruns = ledger.overruns(accounts) if accounts and whole else {}
    used = _used(accounts) if accounts and whole else {}
    for row in rows:
        balance = balances.get(row.account) if row.account is not None else None
        if balance is None or row.account is None:
            row.meter = Meter(left=row.amount)
        else:
            row.meter = Meter(balance.held, used.get(row.account, 0), balance.available, overruns.get(row.account, 0))
    return rows


def _used(accounts: list[int]) -> dict[int, int]:
    """What went from each account to where used amounts go, less what came back from there."""
    gone = Q(debit_id__in=accounts, credit__role__in=["consumed", "exchange"])
    back = Q(credit_id__in=accounts, debit__role__in=["consumed", "exchange"])
    flows = (
        Entry.objects.filter(gone | back)
        .exclude(kind=EntryKind.HOLD)
        .values_list("debit_id", "credit_id")
        .annotate(total=Sum("amount"))
    )
    used = dict.fromkeys(accounts, 0)
    for debit, credit, amount in flows:
        if debit in used:
            used[debit] += amount
        else:
            used[credit] -= amount
    return used


def _whole(grants: QuerySet[Grant]) -> QuerySet[Grant]:
    return grants.select_related("organization", "program", "application__call").prefetch_related(
        Prefetch("allocations", Allocation.objects.select_related("resource").order_by("id"))
    )


def _metered(grants: Iterable[Grant]) -> list[Grant]:
    rows = list(grants)
    with_meters(allocation for row in rows for allocation in row.allocations.all())
    return rows


def grants_of(person: Any, *, limit: int = PAGE) -> list[Grant]:
    """The newest grants of the person's own organizations, with allocations and their meters."""
    own = Grant.objects.filter(organization_id__in=list(access_of(person).organizations))
    return _metered(_whole(own).order_by("-id")[:limit])


@dataclass(frozen=True)
class Slice:
    """One page of a list, newest first. `after` continues it; None where this is the end."""

    rows: list[Any]
    after: int | None


def grants_page(
    person: Any, *, program: str = "", state: str = "", search: str = "", after: int | None = None, limit: int = PAGE
) -> Slice:
    """The grants that this person may see, a page at a time; `after` is the id of the last one of the page before."""
    rows = visible(person)
    if program:
        rows = rows.filter(program__code=program)
    if state in GrantState.values:
        rows = rows.filter(state=state)
    if search:
        rows = rows.filter(
            Q(number__icontains=search)
            | Q(title__icontains=search)
            | Q(organization__name_ko__icontains=search)
            | Q(organization__name_en__icontains=search)
        )
    if after is not None:
        rows = rows.filter(id__lt=after)
    found = list(_whole(rows).order_by("-id")[: limit + 1])
    return Slice(_metered(found[:limit]), found[limit - 1].pk if len(found) > limit else None)


def programs_of_grants(person: Any) -> list[Program]:
    """What the list can be filtered by."""
    return list(Program.objects.filter(grants__in=visible(person)).distinct().order_by("name_ko"))


def grant_for(person: Any, number: str) -> Grant:
    """One grant with its allocations and their meters, if this person may see it; Missing otherwise."""
    grant = _whole(visible(person)).filter(number=number).first()
    if grant is None:
        raise missing()
    return _metered([grant])[0]


def agreement_of(grant: Grant) -> Agreement:
    """The newest version: the one to sign, or the one that was signed last."""
    agreement = grant.agreements.select_related("signed_by").order_by("-version").first()
    if agreement is None:
        raise missing()
    return agreement


def history(grant: Grant, *, limit: int = 100) -> list[LogLine]:
    """What was done about this grant and its allocations, newest first."""
    of_allocations = Q(kind="grants.allocation", ref__in=[a.pk for a in grant.allocations.all()])
    return list(LogLine.objects.filter(Q(kind="grants.grant", ref=grant.pk) | of_allocations).order_by("-id")[:limit])


def told_of_overrun_today(allocation: Allocation) -> bool:
    """Whether its lead and officers were told of an overrun since midnight in Seoul, by the database's clock."""
    midnight = rules.midnight(now().astimezone(SEOUL).date())
    told = LogLine.objects.filter(kind="grants.allocation", ref=allocation.pk, verb="overrun", at__gte=midnight)
    return told.exists()


def allocation_for(person: Any, allocation: int, number: str | None = None) -> Allocation:
    """One allocation with its meter, if this person may see its grant (the one with that number, where it is said)."""
    rows = Allocation.objects.filter(pk=min(allocation, 2**63 - 1), grant__in=visible(person))
    if number is not None:
        rows = rows.filter(grant__number=number)
    row = rows.select_related("resource__owner", "grant__organization", "grant__program").first()
    if row is None:
        raise missing()
    return with_meters([row])[0]


def kept_by(person: Any) -> Q:
    """Allocations of the resources that this person is a steward of. Raises NotAllowed for who is none."""
    access = access_of(person)
    if not access.somewhere(Role.STEWARD):
        raise NotAllowed(_("This page is for stewards."))
    if access.holds(Role.STEWARD):
        return Q()
    return Q(resource__in=[id for held, scope, id in access.roles if (held, scope) == (Role.STEWARD, Scope.RESOURCE)])


def allocations_lent(person: Any, *, after: int | None = None, limit: int = PAGE) -> Slice:
    """The allocations of a steward's resources, newest first, with meters; `after` is the id of the last one before."""
    rows = Allocation.objects.filter(kept_by(person)).select_related("resource", "grant__organization")
    if after is not None:
        rows = rows.filter(id__lt=after)
    found = list(rows.order_by("-id")[: limit + 1])
    return Slice(with_meters(found[:limit]), found[limit - 1].pk if len(found) > limit else None)


def allocation_lent(person: Any, allocation: int) -> Allocation:
    """One allocation of a steward's resources with its meter; Missing where it is of another resource."""
    rows = Allocation.objects.filter(kept_by(person), pk=min(allocation, 2**63 - 1))
    row = rows.select_related("resource__owner", "grant__organization", "grant__program").first()
    if row is None:
        raise missing()
    return with_meters([row])[0]


def allocation_to_keep(person: Any, allocation: int) -> Allocation:
    """One allocation, for whoever may see its grant and for the steward of its resource."""
    try:
        return allocation_for(person, allocation)
    except Missing:
        if not access_of(person).somewhere(Role.STEWARD):
            raise
        return allocation_lent(person, allocation)


def allocations_for_jobs(person: Any, *, whole: bool = True) -> list[Allocation]:
    """What this person can run jobs on now: open compute allocations, on the days of use, with their meters (see
    `with_meters`)."""
    return with_meters(
        Allocation.objects.filter(
            resource__kind=Kind.COMPUTE,
            state=AllocationState.OPEN,
            grant__state=GrantState.ACTIVE,
            grant__organization_id__in=list(access_of(person).organizations),
            grant__starts_at__lte=Now(),
            grant__ends_at__gt=Now(),
        )
        .select_related("resource", "grant__organization", "grant__program")
        .order_by("grant_id", "id"),
        whole=whole,
    )


@dataclass(frozen=True)
class Posting:
    """One line of a statement. `change` is signed; `held` is what a hold sets aside, `over` an overrun: neither changes
    the balance."""

    entry: Entry
    change: int
    held: int
    over: int


def statement(allocation: Allocation, *, before: int | None = None, limit: int = 50) -> Slice:
    """The ledger's entries of an allocation that `allocation_for` has returned, newest first."""
    if allocation.account is None:
        return Slice([], None)
    found = ledger.entries(allocation.account, before=before, limit=limit + 1)
    rows = [
        Posting(
            entry,
            entry.effect_on(allocation.account),
            entry.amount if entry.kind == EntryKind.HOLD else 0,
            entry.amount if entry.kind == EntryKind.OVERRUN else 0,
        )
        for entry in found[:limit]
    ]
    return Slice(rows, found[limit - 1].pk if len(found) > limit else None)


@dataclass(frozen=True)
class Overrun:
    """An allocation of which more was used than it covers: how much in its smallest unit, and since when."""

    allocation: Allocation
    amount: int
    since: datetime


def overruns_for(person: Any, *, limit: int = 50) -> list[Overrun]:
    """The overruns on the active grants that this person oversees, the oldest first. For officers and auditors."""
    require_overseer(person)
    over = ledger.overrun_accounts()
    grants = overseen(person).filter(state=GrantState.ACTIVE)
    rows = Allocation.objects.filter(account__in=list(over), grant__in=grants)
    allocations = {row.account: row for row in rows.select_related("resource", "grant__organization")}
    return [Overrun(allocations[a], over[a].amount, over[a].since) for a in over if a in allocations][:limit]


@dataclass
class Totals:
    """One commodity, over the whole site, in its smallest unit. `resources` are those that are counted in it."""

    commodity: str
    unit: str
    granted: int
    held: int
    used: int
    overrun: int
    resources: list[Resource] = field(default_factory=list)

    @property
    def left(self) -> int:
        return self.granted - self.held - self.used


def ledger_totals(person: Any) -> list[Totals]:
    """What was granted, is held, was used and went over, by commodity. For officers and auditors."""
    require_overseer(person)
    shown = {
        row.commodity: Totals(row.code, row.unit, row.granted, row.held, row.used, row.overrun)
        for row in ledger.site_totals()
        if row.granted or row.used or row.overrun
    }
    for resource in Resource.objects.filter(commodity__in=list(shown)).order_by("id"):
        shown[resource.commodity].resources.append(resource)
    return list(shown.values())


def require_overseer(person: Any) -> None:
    if not oversees(person):
        raise NotAllowed(_("This page is for officers and auditors."))


@dataclass(frozen=True)
class Closed:
    """A month that was closed, and who closed it: empty where that was the system."""

    month: date
    closed_at: datetime
    closed_by: str


def closed_months(person: Any, *, limit: int = 24) -> list[Closed]:
    """The newest closed months. For officers and auditors. Two SQL statements."""
    require_overseer(person)
    rows = list(Period.objects.order_by("-month")[:limit])
    names = dict(Person.objects.filter(pk__in=[row.closed_by for row in rows]).values_list("pk", "name"))
    return [Closed(row.month, row.closed_at, names.get(row.closed_by or 0, "")) for row in rows]


def seals(person: Any, *, limit: int = 14) -> list[Seal]:
    """The newest seals. For officers and auditors."""
    require_overseer(person)
    return list(Seal.objects.order_by("-day")[:limit])


def call_for_officer(person: Any, code: str) -> Call:
    """A call whose results this person may announce."""
    call = Call.objects.select_related("program").filter(code=code).first()
    if call is None or not access_of(person).holds(Role.OFFICER, program=call.program_id):
        raise missing()
    return call


def decided(call: Call, *states: str) -> list[Application]:
    """The applications of a call in these states with their awards, best rank first."""
    return list(
        Application.objects.filter(call=call, state__in=states)
        .select_related("organization", "decision", "call")
        .prefetch_related(
            "call__discounts",
            Prefetch("lines", ApplicationLine.objects.select_related("award")),
            Prefetch("lines__call_line", CallLine.objects.select_related("call", "resource__owner")),
        )
        .order_by("decision__rank", "receipt", "id")
    )


def waiting(call: Call) -> list[Application]:
    """Everybody whose decision goes out when this call is announced."""
    return decided(call, ApplicationState.ELIGIBLE)


def grants_of_call(call: Call) -> list[Grant]:
    """What became of the offers of a call, with meters."""
    return _metered(_whole(Grant.objects.filter(application__call=call)).order_by("id"))


def reserve_list(call: Call) -> list[Application]:
    """Who would be next, best rank first."""
    return decided(call, ApplicationState.RESERVE)


def others_running(application: Application) -> list[str]:
    """The numbers of the applicant's other grants of the same program that wait for an agreement or run."""
    return list(
        Grant.objects.filter(
            organization_id=application.organization_id,
            program_id=application.call.program_id,
            state__in=[GrantState.OFFERED, GrantState.ACTIVE],
        )
        .exclude(application=application)
        .order_by("id")
        .values_list("number", flat=True)
    )


def grant_places(person: Any, ids: Collection[int]) -> dict[int, str]:
    numbers = visible(person).filter(pk__in=ids).values_list("pk", "number")
    return {id: reverse("grants:grant", args=[number]) for id, number in numbers}


def allocation_places(person: Any, ids: Collection[int]) -> dict[int, str]:
    numbers = Allocation.objects.filter(pk__in=ids, grant__in=visible(person)).values_list("pk", "grant__number")
    return {id: reverse("grants:statement", args=[number, id]) for id, number in numbers}


def promises(call: Call, resources: Sequence[int]) -> list[Promise]:
    """What agreements that are offered or accepted may still use of these resources on the call's days of use, but for
    those of the call itself. Two SQL statements.
    """
    found = list(
        Allocation.objects.filter(
            resource__in=resources,
            grant__state__in=[GrantState.OFFERED, GrantState.ACTIVE],
            grant__starts_at__lt=rules.midnight(call.use.upper),
            grant__ends_at__gt=rules.midnight(call.use.lower),
        )
        .exclude(state=AllocationState.CLOSED)
        .exclude(grant__application__call=call)
        .order_by("id")
        .values_list("resource_id", "amount", "account", "grant__starts_at", "grant__ends_at")
    )
    accounts = [account for _resource, _amount, account, _first, _end in found if account is not None]
    balances = ledger.balances(accounts) if accounts else {}
    return [
        Promise(
            resource,
            amount if account is None else max(0, balances[account].available + balances[account].held),
            first.astimezone(SEOUL).date(),
            (end - timedelta(seconds=1)).astimezone(SEOUL).date() + timedelta(days=1),
        )
        for resource, amount, account, first, end in found
    ]
