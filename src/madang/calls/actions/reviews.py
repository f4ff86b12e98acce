"""Who reviews what, and what they score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Count
from django.utils.translation import gettext as _

from madang.calls import assignment as assigning
from madang.calls import conflicts, letters
from madang.calls.actions.calls import require_officer, said_why
from madang.calls.locks import lock
from madang.calls.models import (
    Application,
    ApplicationState,
    Assignment,
    AssignmentState,
    Call,
    CallState,
    ScoreSheet,
    assignment_moves,
)
from madang.calls.pool import pool
from madang.identity.access import access_of
from madang.identity.models import Person, Role
from madang.web.forms import unusable
from madang.workflow.errors import Missing, NotAllowed, Refused, Stale
from madang.workflow.log import act

LONGEST_COMMENT = 4000


def assign(actor: Person, *, application: Application, reviewer: Person | None) -> Assignment:
    """Give one application to one reviewer (None is nobody of the pool).

    Refused where there is a conflict of interest; nobody can waive that.
    """
    call = application.call
    _require_assigner(actor, application)
    if reviewer is None:
        raise Refused(_("This person is no reviewer of this program."), field="reviewer")
    with act(actor, "assign", reviewer=reviewer.pk) as said:
        _lock_for_review(call, application)
        if not access_of(reviewer).holds(Role.REVIEWER, program=call.program_id) or not reviewer.is_active:
            raise Refused(_("This person is no reviewer of this program."), field="reviewer")
        if conflicts.found([application.organization_id], [reviewer.pk]):
            raise Refused(conflicts.BELONGS, field="reviewer")
        if Assignment.objects.filter(application=application, reviewer=reviewer).exists():
            raise Stale(_("This reviewer has, or had, this application already."), field="reviewer")
        assignment = said["on"] = Assignment.objects.create(
            application=application, reviewer=reviewer, assigned_by=actor
        )
        letters.assigned(call, [assignment])
    return assignment


def assign_all(actor: Person, *, call: Call) -> list[Assignment]:
    """Give every eligible application as many reviewers as the call wants, loads even, conflicts absent.

    What is assigned stays. Returns the new ones; refused, with the applications named, where there are too few.
    """
    require_officer(actor, call)
    with act(actor, "assign_all", on=call) as said:
        lock(call)
        _require_reviewing(call)
        eligible = list(call.applications.filter(state=ApplicationState.ELIGIBLE).order_by("id"))
        made = _filled(actor, call, eligible)
        said["count"] = len(made)
    return made


def recuse(actor: Person, *, assignment: Assignment, reason: str) -> Assignment | None:
    """The reviewer steps back, or an officer takes the review away. Returns who takes over, if somebody can."""
    application = assignment.application
    call = application.call
    if assignment.reviewer_id != actor.pk:
        if not access_of(actor).holds(Role.OFFICER, program=call.program_id):
            raise Missing(_("There is nothing here, or it isn't yours to see."))
        conflicts.require_none(actor, application.organization_id)
    reason = said_why(reason, most=300)
    with act(actor, "recuse", on=assignment, reason=reason) as said:
        lock(call)
        assignment_moves.move(assignment, "recuse")
        assignment.reason = reason
        assignment.save(update_fields=["reason"])
        application.refresh_from_db()
        if application.state != ApplicationState.ELIGIBLE or call.state not in _REVIEWING:
            return None
        try:
            replacement = next(iter(_filled(assignment.assigned_by, call, [application])), None)
        except Refused:
            replacement = None
        said["replaced_by"] = replacement.reviewer_id if replacement else None
    return replacement


def save_scores(actor: Person, *, assignment: Assignment, scores: Mapping[str, Any], comment: str = "") -> Assignment:
    """Keep an unfinished review. Only the reviewer sees it; it counts for nothing."""
    _require_reviewer(actor, assignment)
    with act(actor, "save_scores", on=assignment):
        call = _lock_scored(assignment)
        lock(assignment)
        checked, errors = _scores(call, scores)
        comment = _comment(comment, errors)
        if errors:
            raise Refused(_("Check what is marked."), errors=errors)
        assignment.draft = {"scores": checked, "comment": comment}
        assignment.save(update_fields=["draft"])
    return assignment


def score(actor: Person, *, assignment: Assignment, scores: Mapping[str, Any], comment: str) -> ScoreSheet:
    """Hand in a whole review. Handed in again it is a correction; the earlier sheet stays."""
    _require_reviewer(actor, assignment)
    with act(actor, "score", on=assignment):
        call = _lock_scored(assignment)
        checked, errors = _scores(call, scores)
        for criterion in call.criteria.all():
            if criterion.code not in checked:
                errors.setdefault(criterion.code, _("Give points. Nothing is not the same as 0."))
        comment = _comment(comment, errors)
        if not comment:
            errors.setdefault("comment", _("Say in a few words why."))
        if errors:
            raise Refused(_("The review isn't complete."), errors=errors)
        assignment_moves.move(assignment, "score")
        last = assignment.sheets.last()
        if last is not None and (last.scores, last.comment) == (checked, comment):
            return last  # the second of two clicks
        assignment.draft = {}
        assignment.save(update_fields=["draft"])
        return ScoreSheet.objects.create(
            assignment=assignment, scores=checked, total=sum(checked.values()), comment=comment
        )


_REVIEWING = (CallState.PUBLISHED, CallState.EVALUATING)


def _require_assigner(actor: Person, application: Application) -> None:
    require_officer(actor, application.call)
    conflicts.require_none(actor, application.organization_id)


def _require_reviewing(call: Call) -> None:
    if call.state not in _REVIEWING:
        raise Stale(_("Reviewers are assigned before the results are out."))


def _lock_for_review(call: Call, application: Application) -> None:
    lock(call)
    lock(application)
    _require_reviewing(call)
    if application.state != ApplicationState.ELIGIBLE:
        raise Stale(_("Only an eligible application is reviewed."))


def _filled(actor: Person, call: Call, applications: Iterable[Application]) -> list[Assignment]:
    """New assignments so that each application has as many as the call wants. The call is locked."""
    by_id = {application.pk: application for application in applications}
    reviewers = [person.pk for person in pool(call)]
    excluded = conflicts.found({a.organization_id for a in by_id.values()}, reviewers)
    had: dict[int, set[int]] = {id: set() for id in by_id}
    active: dict[int, int] = dict.fromkeys(by_id, 0)
    for application, reviewer, state in Assignment.objects.filter(application__in=by_id).values_list(
        "application_id", "reviewer_id", "state"
    ):
        had[application].add(reviewer)
        active[application] += state != AssignmentState.RECUSED
    load = dict.fromkeys(reviewers, 0) | dict(
        Assignment.objects.filter(application__call=call, reviewer__in=reviewers)
        .exclude(state=AssignmentState.RECUSED)
        .order_by()
        .values_list("reviewer_id")
        .annotate(Count("id"))
    )
    need = {id: max(0, call.reviews_wanted - active[id]) for id in by_id}
    allowed = {
        id: [r for r in reviewers if r not in had[id] and (by_id[id].organization_id, r) not in excluded]
        for id in by_id
    }
    try:
        pairs = assigning.assign(need, allowed, load)
    except assigning.TooFew as few:
        named = ", ".join(by_id[id].receipt_number for id in sorted(few.short)[:5])
        raise Refused(
            _("%(count)s applications have too few possible reviewers (%(named)s). Give more people the role.")
            % {"count": len(few.short), "named": named},
            errors={f"application-{id}": _("%(n)s possible") % {"n": n} for id, n in few.short.items()},
        ) from None
    made = Assignment.objects.bulk_create(
        Assignment(application=by_id[application], reviewer_id=reviewer, assigned_by=actor)
        for application, reviewer in pairs
    )
    letters.assigned(call, made)
    return made


def _require_reviewer(actor: Person, assignment: Assignment) -> None:
    if assignment.reviewer_id != actor.pk:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    application = assignment.application
    if conflicts.found([application.organization_id], [actor.pk]):
        raise NotAllowed(_("You belong, or belonged, to the applicant. Step back from this review."))


def _lock_scored(assignment: Assignment) -> Call:
    """The call, locked so that results aren't announced meanwhile. Raises Stale when there is nothing to score."""
    application = assignment.application
    call = application.call
    lock(call)
    application.refresh_from_db(fields=["state"])
    if call.state != CallState.EVALUATING or application.state != ApplicationState.ELIGIBLE:
        raise Stale(_("This application isn't under review now."))
    assignment.refresh_from_db(fields=["state"])
    if assignment.state == AssignmentState.RECUSED:
        raise Stale(_("This review was handed to somebody else."))
    return call


def _scores(call: Call, scores: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, Any]]:
    """The points that are given, and what is wrong with them, by criterion. None is: not given yet."""
    criteria = {criterion.code: criterion for criterion in call.criteria.all()}
    checked: dict[str, int] = {}
    errors: dict[str, Any] = {}
    for code, points in scores.items():
        criterion = criteria.get(code)
        if criterion is None:
            errors[str(code)[:60]] = _("This call has no such criterion.")
        elif points is None:
            continue
        elif type(points) is not int or not 0 <= points <= criterion.points:
            errors[code] = _("A whole number between 0 and %(points)s.") % {"points": criterion.points}
        else:
            checked[code] = points
    return checked, errors


def _comment(comment: str, errors: dict[str, Any]) -> str:
    comment = comment.replace("\r\n", "\n").strip()
    if len(comment) > LONGEST_COMMENT:
        errors["comment"] = _("At most %(most)s signs.") % {"most": LONGEST_COMMENT}
    elif sign := unusable(comment, lines=True):
        errors["comment"] = _("This holds a sign that can't be used here (%(sign)s).") % {"sign": sign}
    return comment
