"""What the verbs of this room have in common: the instants of a grant, its number, its prices, its agreement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from madang.calls.models import Application, Call
from madang.catalog import queries as catalog
from madang.catalog.models import Rate
from madang.grants import agreement, terms
from madang.grants.models import Agreement, Allocation, Grant

SEOUL = ZoneInfo("Asia/Seoul")


def midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, SEOUL)


def last_second(day: date) -> datetime:
    return datetime.combine(day, time(23, 59, 59), SEOUL)


def accept_until(call: Call, now: datetime) -> datetime:
    """The end of the last day on which an agreement that is offered now can be signed."""
    return last_second(now.astimezone(SEOUL).date() + timedelta(days=call.days_to_accept))


def next_number(call: Call) -> str:
    """Numbers have no gaps: the caller holds the call's row lock, and no grant is ever deleted."""
    return f"{call.code.upper()}-G{Grant.objects.filter(application__call=call).count() + 1:03d}"


def awards_of(application: Application) -> dict[int, int]:
    """Application line id → awarded amount, as decided; lines that got nothing are left out."""
    lines = ((line, getattr(line, "award", None)) for line in application.lines.all())
    return {line.pk: award.amount for line, award in lines if award is not None and award.amount > 0}


def rates_for(applications: Iterable[Application], day: date) -> dict[int, Rate]:
    """The rates on `day` of every resource that these applications ask for."""
    return catalog.rates_on({line.call_line.resource_id for a in applications for line in a.lines.all()}, day)


def allocations_of(
    application: Application, amounts: Mapping[int, int], rates: Mapping[int, Rate], grant: Grant | None = None
) -> list[Allocation]:
    """The allocations, not saved yet, that award `amounts` (by application line) at these rates."""
    discount = terms.best(application.call.discounts.all(), application.organization, application.confirmed_discounts)
    rows = []
    for line in application.lines.all():
        if (amount := amounts.get(line.pk, 0)) <= 0:
            continue
        resource = line.call_line.resource
        priced = terms.price(amount, rates.get(resource.pk), discount)
        reduced = discount if priced.reduction_krw else None
        rows.append(
            Allocation(
                grant=grant,
                line=line,
                resource=resource,
                amount=amount,
                list_krw=priced.list_krw,
                reduction_krw=priced.reduction_krw,
                discount_ko=f"{reduced.name_ko} {reduced.percent}%" if reduced else "",
                discount_en=f"{reduced.name_en or reduced.name_ko} {reduced.percent}%" if reduced else "",
            )
        )
    return rows


def draw_up(grant: Grant, allocations: Iterable[Allocation], version: int) -> Agreement:
    """Write the text of a version of the agreement from the terms, and its digest."""
    agreed = agreement.terms_of(grant, list(allocations))
    korean, english = agreement.text_of(agreed, "ko"), agreement.text_of(agreed, "en")
    return Agreement.objects.create(
        grant=grant,
        version=version,
        text_ko=korean,
        text_en=english,
        terms=agreed,
        digest=agreement.digest_of(korean, english, agreed),
    )
