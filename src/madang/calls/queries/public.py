"""Calls as everybody sees them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db.models import DateField, Func, JSONField, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.functions import JSONObject
from django.urls import reverse

from madang.calls.models import Application, ApplicationState, Call, CallLine, CallState, Extension, Stage
from madang.calls.publishing import form_of
from madang.calls.queries.shapes import CallCard, CallDetail, Rows, field_views, missing, rule_views, why_canceled
from madang.calls.when import CLOCK, clock_of
from madang.catalog.models import Rate
from madang.catalog.offers import Offer
from madang.identity.access import access_of
from madang.identity.models import Organization
from madang.workflow.moment import now

LINES = Prefetch("lines", CallLine.objects.select_related("resource"))
# The list price on the first day of use comes along with each line, as {price_krw, per_amount, basis_ko, basis_en}.
_RATE = Rate.objects.filter(
    resource=OuterRef("resource"),
    days__contains=Func(OuterRef("call__use"), function="lower", output_field=DateField()),
).values(found=JSONObject(**{name: name for name in ("price_krw", "per_amount", "basis_ko", "basis_en")}))
PRICED_LINES = Prefetch(
    "lines", CallLine.objects.select_related("resource").annotate(rate=Subquery(_RATE[:1], output_field=JSONField()))
)


def public_calls(*, stage: str = "", search: str = "", after: str | None = None, limit: int = 20) -> Rows[CallCard]:
    """The calls that were published, the latest deadline first."""
    moment = now()
    found = Call.objects.filter(published_at__isnull=False).select_related("program")
    if stage:
        found = at_stage(found, stage, moment)
    for word in search.split()[:5]:
        found = found.filter(Q(title_ko__icontains=word) | Q(title_en__icontains=word) | Q(code__icontains=word))
    page = page_of(found.prefetch_related(LINES), after, limit)
    cards = [CallCard(call, call.stage(moment), moment, list(call.lines.all())) for call in page.items]
    return Rows(cards, page.next)


def offers_of(resource: int) -> list[Offer]:
    """The calls that lend this resource and take applications now, for the page of the resource."""
    lending = Call.objects.filter(published_at__isnull=False, lines__resource_id=resource)
    return [
        Offer(call.title, reverse("calls:detail", args=[call.code]), call.closes_at)
        for call in at_stage(lending, Stage.OPEN, now())
    ]


def public_call(person: Any, code: str) -> CallDetail:
    """One call with all that its notice says, and what the organizations of `person` have in it."""
    call = whole(code)
    if call is None or call.published_at is None:
        raise missing()
    form = form_of(call)
    fields = form.fields
    mine = access_of(person).organizations
    organizations: list[Any] = []
    applications: list[Application] = []
    if mine:
        until = Extension.objects.filter(call=call, organization=OuterRef("pk")).values("until")[:1]
        organizations = list(Organization.objects.filter(pk__in=mine).annotate(until=Subquery(until)).order_by("id"))
        there = call.applications.filter(organization__in=mine).exclude(state=ApplicationState.WITHDRAWN)
        applications = list(there.order_by("id"))
    by_id = {organization.pk: organization for organization in organizations}
    for application in applications:
        application.call, application.organization = call, by_id[application.organization_id]
    moment = clock_of(call)
    return CallDetail(
        call=call,
        stage=call.stage(moment),
        now=moment,
        lines=list(call.lines.all()),
        discounts=list(call.discounts.all()),
        criteria=list(call.criteria.all()),
        rules=rule_views(call.rules.all(), fields),
        fields=field_views(fields, {}),
        form=form,
        may_apply=organizations,
        applications=applications,
        extensions={one.pk: one.until for one in organizations if one.until},
        canceled_because=why_canceled(call),
    )


def whole(code: str) -> Call | None:
    """A call with everything that hangs on it."""
    return (
        Call.objects.select_related("program")
        .prefetch_related(PRICED_LINES, "discounts", "criteria", "rules", "forms")
        .annotate(clock=CLOCK)
        .filter(code=code)
        .first()
    )


def at_stage(found: QuerySet[Call], stage: str, moment: datetime) -> QuerySet[Call]:
    """Those that stand there at this instant."""
    published = found.filter(state=CallState.PUBLISHED)
    match stage:
        case Stage.UPCOMING:
            return published.filter(opens_at__gt=moment)
        case Stage.OPEN:
            return published.filter(opens_at__lte=moment, closes_at__gt=moment)
        case Stage.CLOSED:
            return published.filter(closes_at__lte=moment)
    return found.filter(state=stage) if stage in CallState.values else found.none()


def page_of(found: QuerySet[Call], after: str | None, limit: int) -> Rows[Call]:
    """The calls after the one that `after` names (its deadline and id), the latest deadline first."""
    try:
        instant, _tilde, id = (after or "").partition("~")
        at, last = datetime.fromisoformat(instant), int(id)
        found = found.filter(Q(closes_at__lt=at) | Q(closes_at=at, pk__lt=last))
    except ValueError:
        pass  # no page, or a made-up one: the first
    limit = min(max(limit, 1), 200)
    rows = list(found.order_by("-closes_at", "-id")[: limit + 1])
    if len(rows) <= limit:
        return Rows(rows)
    last_row = rows[limit - 1]
    return Rows(rows[:limit], f"{last_row.closes_at.isoformat()}~{last_row.pk}")


def call_places(_person: Any, ids: Collection[int]) -> dict[int, str]:
    codes = Call.objects.filter(pk__in=ids, published_at__isnull=False).values_list("pk", "code")
    return {id: reverse("calls:detail", args=[code]) for id, code in codes}
