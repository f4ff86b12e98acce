"""The eligibility check: what the machine finds, what a person says to it, and what follows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.utils.translation import gettext as _

from madang.calls import conflicts, discounts, eligibility, letters
from madang.calls.actions.calls import require_officer, said_why
from madang.calls.locks import lock
from madang.calls.models import (
    Answer,
    Application,
    ApplicationState,
    Call,
    CallState,
    Decision,
    EligibilityAnswer,
    EligibilityRule,
    Submission,
    application_moves,
)
from madang.calls.when import require_closed
from madang.identity.models import Organization, Person
from madang.workflow.errors import Missing, Refused, Stale
from madang.workflow.log import act
from madang.workflow.moment import now


def check_eligibility(actor: Person, *, application: Application) -> list[EligibilityAnswer]:
    """Ask the machine again: the organization may have changed since it applied. Returns what is new."""
    call = _require_screener(actor, application)
    with act(actor, "check_eligibility", on=application) as said:
        _lock_for_screening(call, application)
        new = machine_answers(application)
        said["changed"] = len(new)
    return new


def machine_answers(application: Application, *, all: bool = False) -> list[EligibilityAnswer]:
    """Store what the machine says of each rule. Where it says what it said before, only with `all`: so a person's
    answer stands until the facts change. Inside a transaction; Application with its call."""
    submission = application.submissions.order_by("-id").first()
    documents = set(submission.content["documents"]) if submission else set()
    facts = eligibility.facts_of(application, documents)
    before: dict[int, EligibilityAnswer] = {}
    for row in application.eligibility.filter(person=None).order_by("id"):
        before[row.rule_id] = row
    new = []
    for rule in application.call.rules.all():
        answer, detail = eligibility.answer(rule, facts)
        last = before.get(rule.pk)
        if all or last is None or (last.answer, last.detail) != (answer, detail):
            new.append(EligibilityAnswer(application=application, rule=rule, answer=answer, detail=detail))
    return EligibilityAnswer.objects.bulk_create(new)


def answer_rule(
    actor: Person, *, application: Application, rule: EligibilityRule | int, answer: str, reason: str
) -> EligibilityAnswer:
    """Overrule the machine on one rule, with a reason that is kept."""
    call = _require_screener(actor, application)
    reason = said_why(reason)
    if answer not in (Answer.PASS, Answer.FAIL):
        raise Refused(_("A person says whether the rule is met or not."), field="answer")
    id = rule if isinstance(rule, int) else rule.pk
    found = call.rules.filter(pk=id).first()
    if found is None:
        raise Missing(_("This call has no such rule."))
    with act(actor, "answer_rule", on=application, reason=reason, rule=id, answer=answer):
        _lock_for_screening(call, application)
        return EligibilityAnswer.objects.create(
            application=application, rule=found, answer=answer, person=actor, reason=reason
        )


def find_eligible(
    actor: Person, *, application: Application, reason: str = "", discounts_confirmed: bool = True
) -> Application:
    """Let the application through to its review. Every rule has to stand at met.

    `discounts_confirmed` says that the facts hold which the organization declares and a discount of the call rests on:
    those discounts are kept on the application. Without it, it is eligible without reduction.
    """
    call = _require_screener(actor, application)
    with act(actor, "find_eligible", on=application, reason=reason.strip()[:600]) as said:
        _lock_for_screening(call, application)
        latest = {row.rule_id: row.answer for row in application.eligibility.order_by("id")}
        if open_ones := eligibility.unsettled(call, latest):
            raise Refused(
                _("%(count)s rules aren't met, the first: %(rule)s. Overrule them with a reason, or go no further.")
                % {"count": len(open_ones), "rule": open_ones[0].citation},
                errors={f"rule-{rule.pk}": _("not met") for rule in open_ones},
            )
        application_moves.move(application, "find_eligible")
        organization = Organization.objects.get(pk=application.organization_id)
        fitting = discounts.fitting(call.discounts.all(), organization)
        application.confirmed_discounts = [row.pk for row in fitting] if discounts_confirmed else []
        application.save(update_fields=["confirmed_discounts"])
        said["discounts"] = [row.name_ko for row in fitting]
        said["discounts_confirmed"] = bool(fitting) and discounts_confirmed
    return application


def find_ineligible(actor: Person, *, application: Application, reason: str) -> Application:
    """The application goes no further. The applicant is told the reason."""
    call = _require_screener(actor, application)
    reason = said_why(reason)
    with act(actor, "find_ineligible", on=application, reason=reason):
        _lock_for_screening(call, application)
        application_moves.move(application, "find_ineligible")
        Decision.objects.filter(application=application, final_at=None).delete()
        application.supplement = {}
        application.save(update_fields=["supplement"])
        letters.ineligible(application, reason)
    return application


def request_supplement(
    actor: Person, *, application: Application, codes: Sequence[str], reason: str, days: int = 7
) -> Application:
    """Ask for more: only the named questions open again, for so many days. What was submitted stays beside it."""
    call = _require_screener(actor, application)
    reason = said_why(reason)
    if not 1 <= days <= 60:
        raise Refused(_("Between 1 and 60 days."), field="days")
    known = {spec["code"] for spec in application.form.fields}
    if not codes or not set(codes) <= known:
        raise Refused(_("Name the questions of the form that open again."), field="codes")
    with act(actor, "request_supplement", on=application, reason=reason, codes=sorted(set(codes))):
        _lock_for_screening(call, application)
        application_moves.move(application, "request_supplement")
        until = now() + timedelta(days=days)
        application.supplement = {"codes": sorted(set(codes)), "reason": reason, "until": until.isoformat()}
        # The draft may have run ahead after the last submission; the supplement continues from what was submitted.
        content = Submission.objects.filter(application=application).latest("id").content
        application.draft_title, application.answers = content["title"], content["answers"]
        application.asked = {
            str(line["line"]): {name: line[name] for name in ("amount", "essential", "purpose")}
            for line in content["lines"]
        }
        application.saves += 1
        application.save(update_fields=["supplement", "draft_title", "answers", "asked", "saves"])
        letters.supplement(application, until, reason)
    return application


def _require_screener(actor: Person, application: Application) -> Call:
    call = application.call
    require_officer(actor, call)
    conflicts.require_none(actor, application.organization_id)
    return call


def _lock_for_screening(call: Call, application: Application) -> None:
    lock(application)
    if application.state == ApplicationState.DRAFT:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    if call.state not in (CallState.PUBLISHED, CallState.EVALUATING):
        raise Stale(_("The results of this call are out. Nothing is checked any more."))
    require_closed(call, application.organization_id, now())
