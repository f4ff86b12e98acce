"""The verbs of a call: written, published, evaluated, announced. For the officer of its program."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from django.db.backends.postgresql.psycopg_any import DateRange
from django.utils.translation import gettext as _

from madang.calls import letters, publishing, sums
from madang.calls.locks import lock
from madang.calls.models import (
    Application,
    ApplicationState,
    Call,
    Decision,
    Extension,
    FormVersion,
    Outcome,
    OverrunPolicy,
    application_moves,
    call_moves,
)
from madang.calls.when import SEOUL, seoul
from madang.identity.access import require
from madang.identity.models import Organization, Person, Role
from madang.identity.rows import write
from madang.programs.models import Program
from madang.workflow.errors import Refused, Stale
from madang.workflow.log import act
from madang.workflow.moment import now

TAKEN = {"new", "managed", "queue", "applications", "submissions", "documents", "reviews"}  # parts of addresses
LONGEST_USE = timedelta(days=3660)


def require_officer(actor: Person, call: Call) -> None:
    require(actor, Role.OFFICER, program=call.program_id)


def make_call(
    actor: Person,
    *,
    program: Program,
    code: str,
    title_ko: str,
    text_ko: str = "",
    opens_at: datetime,
    closes_at: datetime,
    use_from: date,
    use_until: date,
    budget_krw: int,
    most_awards: int,
    title_en: str = "",
    text_en: str = "",
    announces_at: datetime | None = None,
    reviews_wanted: int = 2,
    blind: bool = True,
    days_to_accept: int = 14,
    overrun: str = OverrunPolicy.WARN,
) -> Call:
    """A draft of a call, which only officers see. `use_until` is the last day of use."""
    require(actor, Role.OFFICER, program=program.pk)
    with act(actor, "make") as said:
        call = said["on"] = _written(
            Call(program=program, made_by=actor),
            code=code,
            title_ko=title_ko,
            title_en=title_en,
            text_ko=text_ko,
            text_en=text_en,
            opens_at=opens_at,
            closes_at=closes_at,
            announces_at=announces_at,
            use_from=use_from,
            use_until=use_until,
            budget_krw=budget_krw,
            most_awards=most_awards,
            reviews_wanted=reviews_wanted,
            blind=blind,
            days_to_accept=days_to_accept,
            overrun=overrun,
        )
        FormVersion.objects.create(call=call, number=1, fields=[])
    return call


def edit_call(actor: Person, *, call: Call, **facts: Any) -> Call:
    """Change a draft: any of what `make_call` takes, but for the program."""
    require_officer(actor, call)
    with act(actor, "edit", on=call):
        lock(call)
        publishing.require_draft(call)
        _written(call, **facts)
    return call


def publish(actor: Person, *, call: Call) -> Call:
    """Show the call to everybody and freeze it: from now on only its clock runs. Refused with all that is missing."""
    require_officer(actor, call)
    with act(actor, "publish", on=call):
        lock(call)
        publishing.require_draft(call)
        lines = list(call.lines.select_related("resource").order_by("resource_id"))
        publishing.lock_resources(lines)
        moment = now()
        if errors := publishing.problems(call, lines, moment):
            raise Refused(_("The call can't be published yet."), errors=errors)
        call_moves.move(call, "publish")
        write(call, published_at=moment)
        call.forms.filter(frozen_at=None).update(frozen_at=moment)
    return call


def cancel(actor: Person, *, call: Call, reason: str) -> Call:
    """Call it off, before its evaluation begins. What was submitted stays as it is."""
    require_officer(actor, call)
    reason = said_why(reason)
    with act(actor, "cancel", on=call, reason=reason):
        call_moves.move(call, "cancel")
        letters.canceled(call, reason)
    return call


def give_extension(actor: Person, *, call: Call, organization: Organization, until: datetime, reason: str) -> Extension:
    """Let one applicant submit until a later instant. Given again, the new instant counts; the history keeps both."""
    require_officer(actor, call)
    reason = said_why(reason, most=300)
    until = _instant(until)
    with act(actor, "extend", on=call, reason=reason, organization=organization.pk, until=until.isoformat()):
        lock(call)
        if call.state != "published":
            raise Stale(_("Only a published call that isn't evaluated yet has a deadline to extend."))
        if until <= max(call.closes_at, now()):
            raise Refused(
                _("An extension ends after the deadline (%(deadline)s) and after now.")
                % {"deadline": seoul(call.closes_at)},
                field="until",
            )
        extension, _new = Extension.objects.update_or_create(
            call=call, organization=organization, defaults={"until": until, "reason": reason, "given_by": actor}
        )
    return extension


def start_evaluation(actor: Person, *, call: Call) -> Call:
    """Close the books: after the deadline, and after the last extension of it."""
    require_officer(actor, call)
    with act(actor, "start_evaluation", on=call):
        lock(call)
        last = max([call.closes_at, *call.extensions.values_list("until", flat=True)])
        if call.state == "published" and now() < last:
            raise Refused(
                _("Applications are taken until %(deadline)s (Korean time). The evaluation starts after that.")
                % {"deadline": seoul(last)}
            )
        call_moves.move(call, "start_evaluation")
    return call


def announce(actor: Person, *, call: Call) -> list[Decision]:
    """Make every decision of the call final. Returns the selected ones, best rank first.

    It is the inner half of announcing results: whoever opens grants calls it, in the transaction that offers them.
    """
    require_officer(actor, call)
    moves = {Outcome.SELECTED: "select", Outcome.RESERVE: "put_on_reserve", Outcome.REJECTED: "reject"}
    with act(actor, "announce", on=call):
        lock(call)
        waiting = call.applications.filter(state__in=[ApplicationState.SUBMITTED, ApplicationState.SUPPLEMENT])
        if count := waiting.count():
            raise Refused(_("%(count)s applications still wait for their eligibility check.") % {"count": count})
        eligible: list[Application] = list(
            call.applications.filter(state=ApplicationState.ELIGIBLE)
            .select_related("decision", "call")
            .select_for_update(of=("self",))
            .order_by("id")
        )
        if undecided := sum(1 for application in eligible if not hasattr(application, "decision")):
            raise Refused(_("%(count)s applications have no decision yet.") % {"count": undecided})
        standings = sums.rank_again(call)
        sums.require_within(call)
        call_moves.move(call, "announce")
        for application in eligible:
            outcome = Outcome(application.decision.outcome)
            if outcome != Outcome.REJECTED:
                sums.require_worthy(application, standings[application.pk])
            application_moves.move(application, moves[outcome])
        Decision.objects.filter(application__in=eligible).update(final_at=now())
        letters.results(call, [application.decision for application in eligible])
        final = Decision.objects.filter(application__call=call, outcome=Outcome.SELECTED, final_at__isnull=False)
        return list(final.select_related("application").prefetch_related("lines").order_by("rank", "id"))


def said_why(reason: str, *, most: int = 600) -> str:
    """A reason is needed, and has room. Raises Refused at "reason"."""
    reason = reason.strip()
    if not reason:
        raise Refused(_("Say why."), field="reason")
    if len(reason) > most:
        raise Refused(_("At most %(most)s signs.") % {"most": most}, field="reason")
    return reason


def _written(call: Call, **facts: Any) -> Call:
    """The facts on the call, checked against each other."""
    known = {f.name for f in Call._meta.concrete_fields} - {
        "id", "program", "use", "state", "made_by", "made_at", "published_at", "last_receipt"
    }  # fmt: skip
    if unknown := facts.keys() - known - {"use_from", "use_until"}:
        raise TypeError(f"a call has no {sorted(unknown)}")
    if facts.get("code") in TAKEN:
        raise Refused(_("This code can't be used. Choose another one."), field="code")
    use = call.use or DateRange(None, None)
    first = facts.pop("use_from", use.lower)
    last = facts.pop("use_until", use.upper - timedelta(days=1) if use.upper else None)
    facts |= {name: _instant(facts[name]) for name in ("opens_at", "closes_at", "announces_at") if facts.get(name)}
    errors = {
        name: _("At most %(most)s signs.") % {"most": 20_000}
        for name in ("text_ko", "text_en")
        if len(facts.get(name, "")) > 20_000
    }
    opens, closes = facts.get("opens_at", call.opens_at), facts.get("closes_at", call.closes_at)
    if closes <= opens:
        errors["closes_at"] = _("A call closes after it opens.")
    if last < first:
        errors["use_until"] = _("The last day of use comes after the first.")
    elif last - first > LONGEST_USE or last.year > 9000:
        errors["use_until"] = _("Days of use are at most ten years.")
    if not 1 <= facts.get("days_to_accept", 14) <= 365:
        errors["days_to_accept"] = _("Between 1 and 365 days.")
    if facts.get("overrun", OverrunPolicy.WARN) not in OverrunPolicy.values:
        errors["overrun"] = _("Choose one of those that there are.")
    if facts.get("reviews_wanted", 2) > 20:
        errors["reviews_wanted"] = _("At most 20 reviews of one application.")
    if facts.get("budget_krw", 0) < 0:
        errors["budget_krw"] = _("Not less than nothing.")
    if errors:
        raise Refused(_("Check what is marked."), errors=errors)
    return write(call, **facts, use=DateRange(first, last + timedelta(days=1)))


def _instant(value: datetime) -> datetime:
    """What is said without a zone is said in Korea."""
    return value if value.tzinfo else value.replace(tzinfo=SEOUL)
