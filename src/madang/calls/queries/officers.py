"""One application as the officers of its program see it."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Count, OuterRef, Prefetch, Q
from django.db.models.functions import JSONObject

from madang.calls import conflicts, discounts, ranking
from madang.calls.models import (
    Application,
    ApplicationLine,
    ApplicationState,
    AssignmentState,
    CallState,
    Discount,
    EligibilityAnswer,
    ScoreSheet,
    application_moves,
)
from madang.calls.pool import pool
from madang.calls.queries.shapes import (
    AssignmentView,
    Candidate,
    DiscountView,
    LineView,
    OfficerApplication,
    award_of,
    field_views,
    missing,
    rule_views,
    submitted_documents,
)
from madang.calls.when import CLOCK, clock_of, extended_until, later
from madang.identity.access import access_of
from madang.identity.models import Role
from madang.workflow.models import LogLine

_OFFERED: Any = ArraySubquery(
    Discount.objects.filter(call=OuterRef("call")).values(
        row=JSONObject(**{name: name for name in ("id", "name_ko", "name_en", "percent", "rule", "value")})
    )
)


def application_for_officer(person: Any, application_id: int) -> OfficerApplication:
    """What was handed in, what was found about it, who reviews it. Never a draft. Eight SQL statements."""
    application: Any = (
        Application.objects.select_related("call__program", "organization", "form", "decision")
        .prefetch_related(
            Prefetch("lines", ApplicationLine.objects.select_related("call_line__resource", "award")),
            Prefetch("eligibility", EligibilityAnswer.objects.select_related("rule", "person").order_by("id")),
            "call__criteria",
        )
        .annotate(clock=CLOCK, extended=extended_until("call", "organization"), offered=_OFFERED)
        .filter(pk=application_id, receipt__isnull=False)
        .first()
    )
    if application is None or not access_of(person).holds(Role.OFFICER, program=application.call.program_id):
        raise missing()
    call, decision = application.call, getattr(application, "decision", None)
    submissions = list(application.submissions.select_related("submitted_by").order_by("-id"))
    for submission in submissions:
        submission.call = call
    content = submissions[0].content
    answers = list(application.eligibility.all())
    rules = {row.rule_id: row.rule for row in answers}
    assignments = _assignments(application)
    moment = clock_of(application)
    until = later(call.closes_at, application.extended)
    documents = submitted_documents(content)
    return OfficerApplication(
        application=application,
        call=call,
        organization=application.organization,
        stage=call.stage(moment),
        now=moment,
        deadline=until,
        submission=submissions[0],
        submissions=submissions,
        fields=field_views(application.form.fields, content["answers"], documents),
        lines=[
            LineView(row.call_line, row.amount, row.essential, row.purpose, row.pk, award_of(row) if decision else None)
            for row in application.lines.all()
        ],
        documents=list(documents.values()),
        rules=rule_views(
            sorted(rules.values(), key=lambda rule: (rule.order, rule.pk)),
            application.form.fields,
            {row.rule_id: row for row in answers},
            {row.rule_id: row for row in answers if row.person_id is None},
        ),
        rule_history=answers,
        assignments=assignments,
        standing=_standing(application, assignments),
        decision=decision,
        verbs=_verbs(application, until <= moment),
        supplement=application.supplement,
        log=list(LogLine.objects.filter(kind="calls.application", ref=application.pk).order_by("-id")[:50]),
        discounts=_discounts(application),
    )


def _discounts(application: Any) -> list[DiscountView]:
    """Those that fit what is declared now, and those that were confirmed."""
    organization, known = application.organization, application.confirmed_discounts
    settled = known is not None and application.state not in (
        ApplicationState.SUBMITTED,
        ApplicationState.SUPPLEMENT,
        ApplicationState.INELIGIBLE,
    )
    views = []
    for offered in application.offered:
        row = Discount(**offered)
        fits = discounts.fits(row, organization)
        confirmed = row.pk in (known or []) if settled else None
        if fits or confirmed:
            views.append(DiscountView(row, discounts.declared(row, organization), fits, confirmed))
    return views


def reviewers_for(person: Any, application_id: int) -> list[Candidate]:
    """The pool of reviewers for one application: who carries how much in its call, who has a conflict of interest."""
    application = Application.objects.select_related("call").filter(pk=application_id, receipt__isnull=False).first()
    if application is None or not access_of(person).holds(Role.OFFICER, program=application.call.program_id):
        raise missing()
    call = application.call
    people = pool(call)
    excluded = conflicts.found([application.organization_id], [reviewer.pk for reviewer in people])
    active = ~Q(assignments__state=AssignmentState.RECUSED)
    loads = (
        call.applications.order_by()
        .filter(assignments__reviewer__in=people)
        .values_list("assignments__reviewer")
        .annotate(n=Count("assignments", filter=active))
    )
    load = dict(loads)
    has = set(application.assignments.values_list("reviewer_id", flat=True))
    return [
        Candidate(
            person=reviewer,
            load=load.get(reviewer.pk, 0),
            conflict=str(conflicts.BELONGS) if (application.organization_id, reviewer.pk) in excluded else "",
            assigned=reviewer.pk in has,
        )
        for reviewer in people
    ]


def _assignments(application: Application) -> list[AssignmentView]:
    rows = application.assignments.select_related("reviewer").order_by("id")
    latest = ScoreSheet.objects.order_by("assignment_id", "-id").distinct("assignment_id")
    views = []
    for row in rows.prefetch_related(Prefetch("sheets", latest, to_attr="newest")):
        newest: list[ScoreSheet] = row.newest
        views.append(AssignmentView(row, newest[0] if newest else None))
    return views


def _standing(application: Application, assignments: list[AssignmentView]) -> ranking.Standing:
    """How it stands by itself; the rank, which needs all others, is that of the decision."""
    call = application.call
    sheets = [(application.pk, view.latest.scores) for view in assignments if view.latest and view.state == "scored"]
    receipts = {application.pk: application.receipt or 0}
    alone = ranking.standings(list(call.criteria.all()), call.reviews_wanted, receipts, sheets)[application.pk]
    decision = getattr(application, "decision", None)
    return ranking.Standing(**{**vars(alone), "rank": decision.rank if decision else None})


def _verbs(application: Application, closed: bool) -> list[str]:
    """What an officer can do now, by state and clock."""
    call, state = application.call, application.state
    if not closed or call.state not in (CallState.PUBLISHED, CallState.EVALUATING):
        return []
    moves = set(application_moves.verbs(state))
    verbs: list[str] = [v for v in ("find_eligible", "find_ineligible", "request_supplement") if v in moves]
    if state in (ApplicationState.SUBMITTED, ApplicationState.SUPPLEMENT):
        verbs.insert(0, "check_eligibility")
    if state == ApplicationState.ELIGIBLE:
        verbs += ["assign", "decide"] if call.state == CallState.EVALUATING else ["assign"]
    return verbs
