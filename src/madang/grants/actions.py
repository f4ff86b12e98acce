"""From the announced decision to the open package, and to its end. What a verb opens or frees, it does in one
transaction: the agreement, the accounts and postings of the ledger, the facilities."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from madang.calls import actions as calls
from madang.calls import conflicts, sums
from madang.calls.locks import lock
from madang.calls.models import Application, ApplicationState, Call, CallState, OverrunPolicy, application_moves
from madang.catalog.models import Rate, ResourceState
from madang.grants import letters, rules
from madang.grants.facility import facility_of
from madang.grants.models import (
    Allocation,
    AllocationState,
    Grant,
    GrantState,
    allocation_moves,
    grant_moves,
)
from madang.grants.queries import agreement_of, decided, missing, reserve_list, told_of_overrun_today, with_meters
from madang.identity.access import access_of, require, require_member
from madang.identity.models import Person, Role
from madang.ledger import actions as ledger
from madang.ledger.models import Period
from madang.workflow.errors import Refused, Stale
from madang.workflow.log import act
from madang.workflow.moment import now

logger = logging.getLogger(__name__)


def announce(actor: Person, *, call: Call) -> list[Grant]:
    """Make the results of a call final, and offer an agreement to everybody who was selected: all or nothing."""
    require(actor, Role.OFFICER, program=call.program_id)
    with transaction.atomic():
        calls.announce(actor, call=call)
        chosen = decided(call, ApplicationState.SELECTED)
        moment = now()
        rates = rules.rates_for(chosen, moment.astimezone(rules.SEOUL).date())
        return [_offer(actor, application, rules.awards_of(application), rates, moment) for application in chosen]


def promote(actor: Person, *, application: Application, amounts: Mapping[int, int] | None = None) -> Grant:
    """Offer what somebody gave back to the next on the reserve list.

    `amounts` by application line; without it what the decision awarded, or else what was asked. Refused out of turn,
    and where it would exceed what the call has for all awards together.
    """
    call = application.call
    require(actor, Role.OFFICER, program=call.program_id)
    conflicts.require_none(actor, application.organization_id)
    with act(actor, "promote", on=application):
        lock(call)
        if call.state != CallState.ANNOUNCED:
            raise Stale(_("The results of this call aren't announced yet."))
        application_moves.move(application, "promote")
        waiting = reserve_list(call)
        (chosen,) = (a for a in decided(call, ApplicationState.SELECTED) if a.pk == application.pk)
        if waiting and _turn(waiting[0]) < _turn(chosen):
            raise Refused(
                _("“%(title)s” is first on the reserve list.")
                % {"title": waiting[0].title or waiting[0].receipt_number}
            )
        asked = {line.pk: line.amount for line in chosen.lines.all()}
        awarded = {id: amount for id, amount in (amounts or rules.awards_of(chosen) or asked).items() if amount > 0}
        _check_award(call, chosen, awarded)
        moment = now()
        rates = rules.rates_for([chosen], moment.astimezone(rules.SEOUL).date())
        return _offer(actor, chosen, awarded, rates, moment)


def _turn(application: Application) -> tuple[int, int]:
    decision = getattr(application, "decision", None)
    rank = decision.rank if decision is not None and decision.rank is not None else 2**31
    return rank, application.receipt or 0


def _check_award(call: Call, application: Application, amounts: Mapping[int, int]) -> None:
    """What a call can still give: awards, the total of each line, the budget by list value."""
    lines = {line.pk: line for line in application.lines.all()}
    if not amounts or not set(amounts) <= set(lines):
        raise Refused(_("Say how much of which line is awarded."), field="amounts")
    live = Allocation.objects.filter(
        grant__application__call=call, grant__state__in=[GrantState.OFFERED, GrantState.ACTIVE, GrantState.CLOSED]
    ).select_related("line")
    given = list(live)
    if len({row.grant_id for row in given}) >= call.most_awards:
        raise Refused(_("All %(most)s awards of this call are given.") % {"most": call.most_awards})
    errors = {}
    for id, amount in amounts.items():
        offer = lines[id].call_line
        left = offer.total - sum(row.amount for row in given if row.line.call_line_id == offer.pk)
        if amount > min(offer.most, lines[id].amount, left):
            errors[f"line-{id}"] = _("There isn't that much left of “%(resource)s”.") % {
                "resource": offer.resource.name
            }
    if errors:
        raise Refused(_("The call has less left than this."), errors=errors)
    sums.require_essential(lines.values(), amounts)
    rates = rules.rates_for([application], now().astimezone(rules.SEOUL).date())
    value = sum(row.list_krw or 0 for row in given)
    value += sum(row.list_krw or 0 for row in rules.allocations_of(application, amounts, rates))
    if value > call.budget_krw:
        raise Refused(_("The call's budget doesn't cover this."))


def _offer(
    actor: Person, application: Application, amounts: Mapping[int, int], rates: Mapping[int, Rate], moment: datetime
) -> Grant:
    """One grant with its agreement and promised allocations. The caller holds the call's row lock."""
    call = application.call
    allocations = rules.allocations_of(application, amounts, rates)
    if not allocations:
        raise Refused(
            _("“%(title)s” is selected, but nothing is awarded to it.")
            % {"title": application.title or application.receipt_number}
        )
    with act(actor, "offer") as said:
        grant = Grant.objects.create(
            application=application,
            organization=application.organization,
            program_id=call.program_id,
            number=rules.next_number(call),
            title=application.title or application.receipt_number,
            starts_at=rules.midnight(call.use.lower),
            ends_at=rules.midnight(call.use.upper),
            accept_by=rules.accept_until(call, moment),
        )
        said["on"] = grant
        for allocation in allocations:
            allocation.grant = grant
            allocation.save()
            _check_feasible(allocation)
            facility_of(allocation.resource.kind).hold(allocation.line, grant.accept_by)
        rules.draw_up(grant, allocations, version=1)
        letters.offer(grant)
    return grant


def _check_feasible(allocation: Allocation) -> None:
    resource = allocation.resource
    if resource.state == ResourceState.RETIRED:
        raise Refused(_("“%(resource)s” is no longer lent.") % {"resource": resource.name})
    for finding in facility_of(resource.kind).feasibility(allocation.line):
        if finding.blocking:
            raise Refused(finding.text)


def accept(actor: Person, *, grant: Grant, version: int, signed_as: str, digest: str | None = None) -> Grant:
    """Sign the agreement that the lead has read, and open the package. A second click by the same person is harmless.

    `version` and `digest` are those of the text that was shown: Stale where it isn't the newest any more.
    """
    require_member(actor, grant.organization_id, lead=True)
    with transaction.atomic():
        grant.refresh_from_db(from_queryset=Grant.objects.select_for_update(of=("self",)))
        agreement = agreement_of(grant)
        if grant.state == GrantState.ACTIVE and (agreement.signed_by_id, agreement.version) == (actor.pk, version):
            return grant
        with act(actor, "accept", on=grant, version=version, signed_as=signed_as):
            moment = now()
            if grant.state == GrantState.OFFERED and moment > grant.accept_by:
                raise Refused(
                    _("The agreement could be accepted until %(instant)s. It has lapsed.")
                    % {"instant": grant.accept_by.astimezone(rules.SEOUL).strftime("%Y-%m-%d %H:%M")}
                )
            grant_moves.move(grant, "accept")
            if version != agreement.version or (digest is not None and digest != agreement.digest):
                raise Stale(_("There is a newer version of this agreement. Read it before you accept it."))
            if not signed_as.strip():
                raise Refused(_("Write the name of the person who signs."), field="signed_as")
            agreement.signed_by, agreement.signed_at, agreement.signed_as = actor, moment, signed_as.strip()
            agreement.save(update_fields=["signed_by", "signed_at", "signed_as"])
            grant.accepted_at = moment
            grant.save(update_fields=["accepted_at"])
            for allocation in grant.allocations.select_related("resource", "line", "grant").order_by("id"):
                _open(actor, allocation, moment)
    return grant


def _open(actor: Person, allocation: Allocation, moment: datetime) -> None:
    """The account, the posting that fills it, and what the kind's facility needs."""
    commodity = allocation.resource.commodity
    allocation.account = ledger.open_account(
        commodity=commodity, owner_type="allocation", owner_id=allocation.pk, role="allocation", limited=True
    )
    allocation.opened_at = moment
    allocation.save(update_fields=["account", "opened_at"])
    allocation_moves.move(allocation, "open")
    ledger.grant(
        pool=ledger.site_account(commodity=commodity, role="pool"),
        account=allocation.account,
        amount=allocation.amount,
        source="grants",
        key=f"{allocation.pk}",
        actor=actor.pk,
        reason=allocation.grant.number,
    )
    facility_of(allocation.resource.kind).open(allocation)


def decline(actor: Person, *, grant: Grant, reason: str) -> Grant:
    """Say no to the offer: everything that was set aside for it is free again."""
    require_member(actor, grant.organization_id, lead=True)
    if not reason.strip():
        raise Refused(_("Say why."), field="reason")
    with act(actor, "decline", on=grant, reason=reason.strip()):
        grant_moves.move(grant, "decline")
        _let_go(grant)
    return grant


def lapse_overdue() -> list[Grant]:
    """The system's verb: offers whose last day is over, by the database's clock, lapse. Each in its own transaction."""
    lapsed = []
    for grant in Grant.objects.filter(state=GrantState.OFFERED, accept_by__lt=now()).order_by("id"):
        try:
            with act(None, "lapse", on=grant):
                grant_moves.move(grant, "lapse")
                _let_go(grant)
        except Stale:  # accepted, or declined, in this very moment
            logger.info("grant %s was dealt with before it lapsed", grant.number)
        else:
            lapsed.append(grant)
    return lapsed


def _let_go(grant: Grant) -> None:
    """An offer that nobody signed: the promised allocations end, and facilities free what they set aside."""
    for allocation in grant.allocations.select_related("resource", "line").order_by("id"):
        facility_of(allocation.resource.kind).release(allocation.line)
        allocation_moves.move(allocation, "close")


def close(actor: Person, *, grant: Grant, reason: str) -> Grant:
    """End an active grant: facilities close, what is left goes back to the pools. Refused while something is held."""
    require(actor, Role.OFFICER, program=grant.program_id)
    if not reason.strip():
        raise Refused(_("Say why."), field="reason")
    with act(actor, "close", on=grant, reason=reason.strip()):
        grant_moves.move(grant, "close")
        live = grant.allocations.exclude(state=AllocationState.CLOSED)
        allocations = list(live.select_related("resource", "line", "grant").order_by("id"))
        for allocation in allocations:
            _stop(allocation)
        for allocation in with_meters(allocations):
            if allocation.meter.held:
                raise Refused(
                    _("Something still runs on “%(resource)s”. Cancel it, or wait until it has ended.")
                    % {"resource": allocation.resource.name}
                )
            _reclaim(actor, allocation, reason.strip())
        grant.closed_at = now()
        grant.save(update_fields=["closed_at"])
    return grant


def _stop(allocation: Allocation) -> None:
    facility_of(allocation.resource.kind).close(allocation)
    if allocation.closes_when_free:
        allocation.closes_when_free = False
        allocation.save(update_fields=["closes_when_free"])
    allocation_moves.move(allocation, "close")


def _reclaim(actor: Person | None, allocation: Allocation, reason: str) -> None:
    """What is left of a closed allocation goes back to the pool."""
    if allocation.account is not None and allocation.meter.left:
        ledger.reclaim(
            account=allocation.account,
            pool=ledger.site_account(commodity=allocation.resource.commodity, role="pool"),
            amount=allocation.meter.left,
            source="grants",
            key=f"{allocation.pk}:close",
            actor=actor.pk if actor else None,
            reason=reason,
        )


def close_month(actor: Person, *, month: date, reason: str) -> Period:
    """Close the month of that day, and every one before it: late use then books into the open month. There is no way
    back. By an officer of the whole site. MonthNotOver while it runs, Stale where it is closed already."""
    require(actor, Role.OFFICER)
    if not reason.strip():
        raise Refused(_("Say why."), field="reason")
    month = month.replace(day=1)
    with act(actor, "close_month", reason=reason.strip(), month=month.isoformat()):
        if Period.objects.filter(month__gte=month).exists():
            raise Stale(_("This month is closed already."), field="month")
        ledger.close_month(month=month, actor=actor.pk)
    return Period.objects.get(month=month)


def pause_allocation(actor: Person, *, allocation: Allocation, reason: str) -> Allocation:
    """No new use until it is resumed. By an officer of the program, or the steward of the resource."""
    _require_keeper(actor, allocation)
    if not reason.strip():
        raise Refused(_("Say why."), field="reason")
    with act(actor, "pause", on=allocation, reason=reason.strip()):
        allocation_moves.move(allocation, "pause")
        facility_of(allocation.resource.kind).pause(allocation, reason.strip())
    return allocation


def resume_allocation(actor: Person, *, allocation: Allocation, reason: str) -> Allocation:
    _require_keeper(actor, allocation)
    if not reason.strip():
        raise Refused(_("Say why."), field="reason")
    with act(actor, "resume", on=allocation, reason=reason.strip()):
        if allocation.closes_when_free:
            allocation.closes_when_free = False
            allocation.save(update_fields=["closes_when_free"])
        allocation_moves.move(allocation, "resume")
        facility_of(allocation.resource.kind).resume(allocation)
    return allocation


def overran(allocation: Allocation) -> None:
    """More was just booked than the allocation covers: have its policy followed. Call it where that is booked, in the
    same transaction.

    It only defers. To pause takes locks on the allocation and on its jobs, and whoever books holds the balance, which
    those who have these locks wait for.
    """
    from madang.grants import tasks

    tasks.follow_overrun.defer(allocation=allocation.pk)


def follow_overrun(allocation: Allocation) -> Allocation:
    """The system's verb: what the call says of an overrun, done as often as it is asked and told once a day.

    The lead and the officers get a letter. Under `pause` and `close` the allocation is paused, again where somebody
    resumed it and it overran again; under `close` it closes once nothing is held on it.
    """
    with transaction.atomic():
        rows = Allocation.objects.select_related("grant__application__call", "grant__organization", "resource", "line")
        allocation = rows.select_for_update(of=("self",)).get(pk=allocation.pk)
        (allocation,) = with_meters([allocation])
        policy = allocation.grant.application.call.overrun
        if allocation.meter.overrun and not told_of_overrun_today(allocation):
            with act(None, "overrun", on=allocation, policy=policy, overrun=allocation.meter.overrun):
                letters.overrun(allocation, policy)
        if allocation.meter.overrun and policy != OverrunPolicy.WARN and allocation.state == AllocationState.OPEN:
            with act(None, "pause_overrun", on=allocation, policy=policy):
                allocation_moves.move(allocation, "pause")
                facility_of(allocation.resource.kind).pause(allocation, "overrun")
                allocation.closes_when_free = policy == OverrunPolicy.CLOSE
                allocation.save(update_fields=["closes_when_free"])
    if allocation.closes_when_free:
        _close_if_free(allocation)
    return allocation


def close_free() -> list[Allocation]:
    """The system's verb: allocations that close after an overrun, and on which nothing is held any more."""
    waiting = Allocation.objects.filter(closes_when_free=True).select_related("grant", "resource", "line")
    return [allocation for allocation in waiting.order_by("id") if _close_if_free(allocation)]


def _close_if_free(allocation: Allocation) -> bool:
    """Refused by its facility, or still held: it is asked again later."""
    try:
        with act(None, "close_overrun", on=allocation):
            allocation.refresh_from_db(from_queryset=Allocation.objects.select_for_update(of=("self",)))
            (allocation,) = with_meters([allocation])
            if not allocation.closes_when_free or allocation.meter.held:
                raise Stale(_("Something is still held on this allocation."))
            _stop(allocation)
            (allocation,) = with_meters([allocation])
            _reclaim(None, allocation, "overrun")
    except Refused as refused:
        logger.info("allocation %s doesn't close yet: %s", allocation.pk, refused)
        return False
    return True


def _require_keeper(actor: Person, allocation: Allocation) -> None:
    access = access_of(actor)
    if access.holds(Role.OFFICER, program=allocation.grant.program_id):
        return
    if access.holds(Role.STEWARD, resource=allocation.resource_id):
        return
    if not access.is_member(allocation.grant.organization_id):
        raise missing()
    require(actor, Role.OFFICER, program=allocation.grant.program_id)


def may_keep(person: Any, allocation: Allocation) -> bool:
    """Whether this person may pause and resume it: what the page asks before it shows the buttons."""
    access = access_of(person)
    return allocation.state in (AllocationState.OPEN, AllocationState.PAUSED) and (
        access.holds(Role.OFFICER, program=allocation.grant.program_id)
        or access.holds(Role.STEWARD, resource=allocation.resource_id)
    )
