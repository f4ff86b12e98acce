"""What reviewers see: what is assigned to them, and of that no more than they may know."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.models import Case, OuterRef, Prefetch, Q, Subquery, Value, When

from madang.calls import blind
from madang.calls.models import (
    Application,
    ApplicationState,
    Assignment,
    AssignmentState,
    CallLine,
    CallState,
    ScoreSheet,
    Submission,
)
from madang.calls.queries.files import neutral_name
from madang.calls.queries.shapes import (
    FieldView,
    LineView,
    ReviewRow,
    ReviewView,
    Rows,
    field_views,
    missing,
    submitted_documents,
    submitted_lines,
)
from madang.identity.models import Organization

_OPEN = Q(application__call__state=CallState.EVALUATING, application__state=ApplicationState.ELIGIBLE)
_TURN = Case(
    When(_OPEN & Q(state=AssignmentState.ASSIGNED), then=Value(0)),
    When(_OPEN, then=Value(1)),
    When(state=AssignmentState.ASSIGNED, then=Value(2)),
    default=Value(3),
)


def review_queue(person: Any, *, after: str | None = None, limit: int = 50) -> Rows[ReviewRow]:
    """What is assigned to the person, what can and isn't scored yet first. Two SQL statements."""
    if not person.pk:
        return Rows([])
    latest = ScoreSheet.objects.filter(assignment=OuterRef("pk")).order_by("-id")
    found = (
        Assignment.objects.filter(reviewer=person.pk)
        .exclude(state=AssignmentState.RECUSED)
        .exclude(application__state=ApplicationState.WITHDRAWN)
        .annotate(turn=_TURN)
    )
    try:
        turn, _tilde, id = (after or "").partition("~")
        place, last = int(turn), int(id)
        found = found.filter(Q(turn__gt=place) | Q(turn=place, pk__gt=last))
    except ValueError:
        pass  # no page, or a made-up one: the first
    limit = min(max(limit, 1), 200)
    page: list[Any] = list(
        found.select_related("application__call__program", "application__organization")
        .annotate(total=Subquery(latest.values("total")[:1]))
        .order_by("turn", "pk")[: limit + 1]
    )
    assignments = page[:limit]
    contents: dict[int, Any] = dict(
        Submission.objects.filter(application__in=[row.application_id for row in assignments])
        .order_by("application_id", "-id")
        .distinct("application_id")
        .values_list("application_id", "content__organization")
    )
    rows = []
    for row in assignments:
        application = row.application
        call = application.call
        title = application.title
        if call.blind:
            title = blind.covered(title, _names(contents.get(application.pk), application.organization))
        rows.append(
            ReviewRow(
                assignment_id=row.pk,
                call=call,
                label=application.receipt_number,
                title=title,
                state=row.state,
                total=row.total,
                open=_open(application),
                assigned_at=row.assigned_at,
            )
        )
    last_row = assignments[-1] if len(page) > limit else None
    return Rows(rows, f"{last_row.turn}~{last_row.pk}" if last_row else None)


def review(person: Any, assignment_id: int) -> ReviewView:
    """One review, for whom it is assigned to (Missing). In a blind call without a trace of the applicant."""
    assignment = (
        Assignment.objects.select_related(
            "application__call__program", "application__form", "application__organization"
        )
        .prefetch_related(
            Prefetch("application__call__lines", CallLine.objects.select_related("resource")),
            "application__call__criteria",
            "sheets",
        )
        .filter(pk=assignment_id, reviewer=person.pk)
        .exclude(state=AssignmentState.RECUSED)
        .exclude(application__state=ApplicationState.WITHDRAWN)
        .first()
        if person.pk
        else None
    )
    if assignment is None:
        raise missing()
    application = assignment.application
    call = application.call
    content = Submission.objects.filter(application=application).latest("id").content
    fields = field_views(application.form.fields, content["answers"], submitted_documents(content))
    fields = [field for field in fields if field.shown]
    lines = submitted_lines(content, call.lines.all())
    title = content["title"]
    if call.blind:
        names = _names(content["organization"], application.organization)
        fields = [_covered(field, names) for field in fields if not field.identity]
        lines = [
            LineView(line.call_line, line.amount, line.essential, blind.covered(line.purpose, names)) for line in lines
        ]
        title = blind.covered(title, names)
    sheets = sorted(assignment.sheets.all(), key=lambda sheet: -sheet.pk)
    latest = sheets[0] if sheets else None
    scores = assignment.draft.get("scores") or (latest.scores if latest else {})
    criteria = list(call.criteria.all())
    return ReviewView(
        assignment_id=assignment.pk,
        call=call,
        label=application.receipt_number,
        title=title,
        blind=call.blind,
        organization="" if call.blind else application.organization.name,
        fields=fields,
        lines=lines,
        criteria=[(criterion, scores.get(criterion.code)) for criterion in criteria],
        comment=assignment.draft.get("comment") or (latest.comment if latest else ""),
        total=latest.total if latest else None,
        most_total=sum(criterion.points for criterion in criteria),
        state=assignment.state,
        sheets=sheets,
        can_score=_open(application),
    )


def _open(application: Application) -> bool:
    return application.call.state == CallState.EVALUATING and application.state == ApplicationState.ELIGIBLE


def _names(snapshot: Any, organization: Organization) -> list[str]:
    """What the applicant was called when it submitted, and what it is called now."""
    present = {
        "name_ko": organization.name_ko,
        "name_en": organization.name_en,
        "business_number": organization.business_number,
        "representative": organization.representative,
    }
    names = {*blind.names_of(present), *(blind.names_of(snapshot) if snapshot else ())}
    return sorted(names, key=lambda name: (-len(name), name))


def _covered(field: FieldView, names: list[str]) -> FieldView:
    document = field.document
    if document is not None:
        document = replace(document, name=neutral_name(document.code, document.name), digest="")
    if field.type not in ("line", "text") or field.value is None:
        return replace(field, document=document)
    text = blind.covered(field.value, names)
    return replace(field, document=document, value=text, text=text)
