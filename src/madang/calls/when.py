"""When an applicant may do what: the instants of a call, and the database's clock."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import DateTimeField, Func, OuterRef, Subquery
from django.utils.translation import gettext as _

from madang.calls.models import Application, ApplicationState, Call, CallState, Extension
from madang.workflow.errors import Refused, Stale

SEOUL = ZoneInfo("Asia/Seoul")


# What a query adds to a row, so that the clock and the extension cost no statement of their own.
CLOCK = Func(function="clock_timestamp", output_field=DateTimeField())


def extended_until(call: str, organization: str) -> Subquery:
    """The instant of the extension, by the names of the two columns of the outer query."""
    rows = Extension.objects.filter(call=OuterRef(call), organization=OuterRef(organization))
    return Subquery(rows.values("until")[:1])


def clock_of(row: Any) -> datetime:
    """The instant at which a row that was annotated with `clock=CLOCK` was read."""
    moment: datetime = row.clock
    return moment


def later(closes_at: datetime, extended: datetime | None) -> datetime:
    return max(closes_at, extended) if extended else closes_at


def seoul(instant: datetime) -> str:
    """An instant to the second, as a clock in Seoul shows it."""
    return f"{instant.astimezone(SEOUL):%Y-%m-%d %H:%M:%S}"


def deadline_of(call: Call, organization: int) -> datetime:
    """The instant from which on this organization can't submit any more."""
    extended = Extension.objects.filter(call=call, organization=organization).values_list("until", flat=True)
    return later(call.closes_at, extended.first())


def require_open(call: Call, organization: int, moment: datetime) -> None:
    """Raises Refused unless the organization may hand in an application for `call` at this instant."""
    if call.state == CallState.CANCELED:
        raise Refused(_("This call was canceled: nothing can be saved or submitted any more."))
    if call.state == CallState.DRAFT:
        raise Refused(_("This call takes no applications."))
    if call.state == CallState.PUBLISHED and moment < call.opens_at:
        raise Refused(_("This call opens on %(instant)s (Korean time).") % {"instant": seoul(call.opens_at)})
    until = deadline_of(call, organization)
    if moment >= until or call.state != CallState.PUBLISHED:
        raise Refused(
            _("The deadline was %(deadline)s (Korean time). It is %(now)s now: nothing can be handed in any more.")
            % {"deadline": seoul(until), "now": seoul(moment)}
        )


def require_writable(application: Application, call: Call, moment: datetime) -> None:
    """Raises unless the applicant may still change this application: before the deadline, or while asked to."""
    if application.state == ApplicationState.SUPPLEMENT and call.state != CallState.CANCELED:
        until = datetime.fromisoformat(application.supplement["until"])
        if moment >= until:
            raise Refused(
                _("The supplement was due on %(deadline)s (Korean time). Ask the officer of the call.")
                % {"deadline": seoul(until)}
            )
        return
    changing = (ApplicationState.DRAFT, ApplicationState.SUBMITTED, ApplicationState.SUPPLEMENT)
    if application.state not in changing:
        raise Stale(
            _("This application is “%(state)s”. It can't be changed any more.")
            % {"state": ApplicationState(application.state).label}
        )
    require_open(call, application.organization_id, moment)


def require_closed(call: Call, organization: int, moment: datetime) -> None:
    """Raises Refused while the applicant may still change what was submitted."""
    until = deadline_of(call, organization)
    if moment < until:
        raise Refused(
            _("The applicant may still change this until %(deadline)s (Korean time).") % {"deadline": seoul(until)}
        )
