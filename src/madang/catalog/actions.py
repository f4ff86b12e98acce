"""Places, resources, rates. Kept by the operator, by officers of the whole site, and each resource by its steward."""

from __future__ import annotations

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from django.db.backends.postgresql.psycopg_any import DateRange
from django.utils.translation import gettext as _

from madang.catalog.models import UNIT, Kind, Place, Rate, Resource, resource_moves
from madang.identity.access import access_of
from madang.identity.models import Organization, Person, Role
from madang.identity.rows import lock, write
from madang.ledger import actions as ledger
from madang.workflow.errors import NotAllowed, Refused
from madang.workflow.log import act
from madang.workflow.moment import now

SEOUL = ZoneInfo("Asia/Seoul")


# A code is part of an address: these are taken by pages.
TAKEN = {"new", "places"}


def today() -> date:
    """The day it is in Seoul, by the database's clock."""
    return now().astimezone(SEOUL).date()


def may_keep(actor: Any, resource: int | None = None) -> bool:
    """Whether the actor keeps the whole catalog, or at least this resource of it."""
    access = access_of(actor)
    return access.holds(Role.OPERATOR) or access.holds(Role.OFFICER) or access.holds(Role.STEWARD, resource=resource)


def add_place(actor: Person, *, code: str, name_ko: str, name_en: str, note_ko: str = "", note_en: str = "") -> Place:
    _require_keeper(actor)
    with act(actor, "add") as said:
        place = said["on"] = write(
            Place(), code=code, name_ko=name_ko, name_en=name_en, note_ko=note_ko, note_en=note_en
        )
    return place


def add_resource(
    actor: Person,
    *,
    kind: str,
    code: str,
    name_ko: str,
    name_en: str,
    owner: Organization,
    place: Place | None = None,
    sector: str = "",
    resource_class: str = "",
    capacity_per_hour: int | None = None,
    about_ko: str = "",
    about_en: str = "",
    source: str = "",
) -> Resource:
    """Something new that is lent, and what its use is counted in: a commodity of the ledger, shared by all resources of
    one class, with the site's own accounts."""
    _require_keeper(actor)
    if kind not in Kind.values:
        raise Refused(_("This kind doesn't exist."), field="kind")
    if code in TAKEN:
        raise Refused(_("This code can't be used. Choose another one."), field="code")
    with act(actor, "add") as said:
        resource = said["on"] = write(
            Resource(commodity=0),
            kind=kind,
            code=code,
            name_ko=name_ko,
            name_en=name_en,
            owner=owner,
            place=place,
            sector=sector,
            resource_class=resource_class,
            capacity_per_hour=capacity_per_hour,
            about_ko=about_ko,
            about_en=about_en,
            source=source,
        )
        write(resource, commodity=_commodity(resource))
    return resource


def edit_resource(actor: Person, *, resource: Resource, **facts: Any) -> Resource:
    """Change what is said of a resource. What it is counted in stays: its kind, code and class are for good."""
    _require_keeper(actor, resource)
    if fixed := {"kind", "code", "resource_class", "commodity", "state"} & facts.keys():
        raise Refused(_("This can't be changed later. Retire the resource and add another one."), field=fixed.pop())
    with act(actor, "edit", on=resource):
        lock(resource)
        write(resource, **facts)
    return resource


def set_rate(
    actor: Person,
    *,
    resource: Resource,
    price_krw: int,
    per_amount: int,
    starts_on: date,
    basis_ko: str,
    basis_en: str = "",
) -> Rate:
    """The list price from a day on: `price_krw` for every `per_amount` smallest units. The rate before it ends there.

    What was charged before stays as it was, so that a rate can't start before the one that is in force, nor in the past
    once there is one.
    """
    _require_keeper(actor, resource)
    with act(actor, "set_rate", on=resource, price_krw=price_krw, per_amount=per_amount) as said:
        lock(resource)
        last = resource.rates.order_by("-days").first()
        if last is not None:
            if starts_on <= last.days.lower:
                raise Refused(
                    _("There is a rate from %(day)s already. A new one has to start after it.")
                    % {"day": last.days.lower.isoformat()},
                    field="starts_on",
                )
            if starts_on < today():
                raise Refused(_("A new rate can't start in the past."), field="starts_on")
            write(last, days=DateRange(last.days.lower, starts_on))
        rate = write(
            Rate(),
            resource=resource,
            price_krw=price_krw,
            per_amount=per_amount,
            days=DateRange(starts_on, None),
            basis_ko=basis_ko,
            basis_en=basis_en,
        )
        said["starts_on"] = starts_on.isoformat()
    return rate


def pause(actor: Person, *, resource: Resource, reason: str) -> Resource:
    """Not lent for now; what was granted stays granted."""
    return _move(actor, resource, "pause", reason)


def resume(actor: Person, *, resource: Resource, reason: str) -> Resource:
    return _move(actor, resource, "resume", reason)


def retire(actor: Person, *, resource: Resource, reason: str) -> Resource:
    """Never lent again. It stays in the records."""
    return _move(actor, resource, "retire", reason)


def _move(actor: Person, resource: Resource, verb: str, reason: str) -> Resource:
    _require_keeper(actor, resource)
    if not reason.strip():
        raise Refused(_("Say why."), field="reason")
    with act(actor, verb, on=resource, reason=reason.strip()):
        resource_moves.move(resource, verb)
    return resource


def _require_keeper(actor: Person, resource: Resource | None = None) -> None:
    if not may_keep(actor, resource.pk if resource else None):
        raise NotAllowed(_("Only the operator, an officer of the whole site or the steward can do this."))


def _commodity(resource: Resource) -> int:
    unit = UNIT[Kind(resource.kind)]
    name = resource.resource_class or resource.code
    commodity = ledger.commodity(code=f"{unit}:{name}", unit=unit, resource_class=name)
    for role in ("pool", "consumed", "overrun"):
        ledger.site_account(commodity=commodity, role=role)
    return commodity
