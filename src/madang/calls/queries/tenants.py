"""Applications as those who wrote them see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import OuterRef, Prefetch, Subquery
from django.utils.translation import gettext as _

from madang.calls import content
from madang.calls.models import (
    Application,
    ApplicationLine,
    ApplicationState,
    Call,
    CallLine,
    CallState,
    Decision,
    Extension,
    Stage,
    Submission,
)
from madang.calls.queries.shapes import (
    LineView,
    ReceiptView,
    Rows,
    TenantApplication,
    TenantRow,
    award_of,
    document_view,
    field_views,
    missing,
    submitted_documents,
    submitted_lines,
    why_canceled,
)
from madang.calls.when import CLOCK, clock_of, extended_until, later, require_writable
from madang.identity.access import access_of
from madang.identity.models import Role
from madang.workflow.errors import Refused
from madang.workflow.models import LogLine

_WHY_CANCELED = Subquery(
    LogLine.objects.filter(kind="calls.call", ref=OuterRef("call"), verb="cancel").order_by("-id").values("reason")[:1]
)
DECIDED = (ApplicationState.SELECTED, ApplicationState.RESERVE, ApplicationState.REJECTED)


def applications_of(person: Any, *, after: str | None = None, limit: int = 50) -> Rows[TenantRow]:
    """The applications of the person's organizations, the newest first."""
    mine = access_of(person).organizations
    if not mine:
        return Rows([])
    found = Application.objects.filter(organization__in=mine)
    if after and after.isascii() and after.isdigit() and len(after) < 19:
        found = found.filter(pk__lt=int(after))
    limit = min(max(limit, 1), 200)
    applications: list[Any] = list(
        found.select_related("call__program", "organization", "decision")
        .annotate(clock=CLOCK, extended=extended_until("call", "organization"), why_canceled=_WHY_CANCELED)
        .order_by("-id")[: limit + 1]
    )
    rows = []
    for application in applications[:limit]:
        moment = clock_of(application)
        until = later(application.call.closes_at, application.extended)
        canceled = application.call.state == CallState.CANCELED
        rows.append(
            TenantRow(
                application=application,
                stage=application.call.stage(moment),
                deadline=until,
                open=_open(application, application.call, until, moment),
                decision=_final(application),
                canceled_because=(application.why_canceled or "") if canceled else "",
            )
        )
    return Rows(rows, str(applications[limit - 1].pk) if len(applications) > limit else None)


def application_for_tenant(person: Any, application_id: int) -> TenantApplication:
    """One application with its draft, what it still lacks, and its receipts. Members only (Missing)."""
    application = _application(application_id)
    if application is None or not access_of(person).is_member(application.organization_id):
        raise missing()
    call, form = application.call, application.form
    moment = clock_of(application)
    extension = Extension.objects.filter(call=call, organization=application.organization_id).first()
    until = later(call.closes_at, extension.until if extension else None)
    documents = content.current(application.documents.order_by("id"))
    shown = {code: document_view(document) for code, document in documents.items()}
    offered = list(call.lines.all())
    rows = {row.call_line_id: row for row in application.lines.all()}
    decision = _final(application)
    submissions = list(application.submissions.select_related("submitted_by").order_by("-id"))
    for submission in submissions:
        submission.call = call
    is_open = _open(application, call, until, moment)
    return TenantApplication(
        application=application,
        call=call,
        organization=application.organization,
        stage=call.stage(moment),
        now=moment,
        deadline=until,
        extension=extension,
        can_edit=is_open,
        can_submit=is_open,
        can_withdraw=application.state in (ApplicationState.DRAFT, *_UNDECIDED) and call.state != CallState.ANNOUNCED,
        changed_since_submission=bool(submissions)
        and (content.changed(application, submissions[0].content) or _other_files(documents, submissions[0])),
        fields=field_views(form.fields, application.answers, shown),
        lines=[_drafted(application, line, rows.get(line.pk), decision) for line in offered],
        title=application.draft_title,
        saves=application.saves,
        missing=content.lacking(application, form, offered, documents) if is_open else {},
        supplement=application.supplement,
        submissions=submissions,
        decision=decision,
        ineligible_because=_why_ineligible(application),
        steps=_steps(application, call, moment),
        criteria=list(call.criteria.all()),
        documents=list(shown.values()),
        canceled_because=why_canceled(call),
    )


def closed_because(view: TenantApplication) -> str:
    """Why the applicant can't change it any more; nothing where it can be changed."""
    try:
        require_writable(view.application, view.call, view.now)
    except Refused as refused:
        return str(refused)
    return ""


def receipt(person: Any, submission_id: int) -> ReceiptView:
    """One submission exactly as it was handed in: for members, and for officers of the program."""
    submission = (
        Submission.objects.select_related(
            "submitted_by", "call__program", "application__organization", "application__form"
        )
        .prefetch_related(Prefetch("call__lines", CallLine.objects.select_related("resource")), "application__lines")
        .filter(pk=submission_id)
        .first()
    )
    access = access_of(person)
    if submission is None or not (
        access.is_member(submission.application.organization_id)
        or access.holds(Role.OFFICER, program=submission.call.program_id)
    ):
        raise missing()
    application, call = submission.application, submission.call
    said = submission.content
    return ReceiptView(
        submission=submission,
        application=application,
        call=call,
        organization=application.organization,
        number=submission.number,
        intact=content.intact(submission),
        fields=field_views(application.form.fields, said["answers"], submitted_documents(said)),
        lines=submitted_lines(said, call.lines.all(), application.lines.all()),
        content=said,
    )


_UNDECIDED = (ApplicationState.SUBMITTED, ApplicationState.SUPPLEMENT, ApplicationState.ELIGIBLE)


def _application(id: int) -> Application | None:
    return (
        Application.objects.select_related("call__program", "organization", "form", "decision")
        .prefetch_related(
            Prefetch("call__lines", CallLine.objects.select_related("resource")),
            Prefetch("lines", ApplicationLine.objects.select_related("award")),
            "call__criteria",
        )
        .annotate(clock=CLOCK)
        .filter(pk=id)
        .first()
    )


def _open(application: Application, call: Call, until: datetime, moment: datetime) -> bool:
    """Whether the applicant can still change it, as `when.require_writable` decides it."""
    if application.state == ApplicationState.SUPPLEMENT and call.state != CallState.CANCELED:
        return moment < datetime.fromisoformat(application.supplement["until"])
    return (
        application.state in (ApplicationState.DRAFT, ApplicationState.SUBMITTED)
        and call.state == CallState.PUBLISHED
        and call.opens_at <= moment < until
    )


def _final(application: Application) -> Decision | None:
    """The decision, once it is announced. A proposal is nobody's to see but the officers'."""
    decision = getattr(application, "decision", None)
    return decision if decision is not None and decision.final_at else None


def _other_files(documents: dict[str, Any], submission: Submission) -> bool:
    there = {code: document.pk for code, document in documents.items()}
    return there != {code: one["id"] for code, one in submission.content["documents"].items()}


def _drafted(
    application: Application, line: CallLine, row: ApplicationLine | None, decision: Decision | None
) -> LineView:
    asked = application.asked.get(str(line.pk))
    if asked is None:
        return LineView(line)
    awarded = award_of(row) if row and decision else None
    return LineView(line, asked["amount"], asked["essential"], asked["purpose"], row.pk if row else None, awarded)


def _why_ineligible(application: Application) -> str:
    if application.state != ApplicationState.INELIGIBLE:
        return ""
    line = LogLine.objects.filter(kind="calls.application", ref=application.pk, verb="find_ineligible").last()
    return line.reason if line else ""


def _steps(application: Application, call: Call, moment: datetime) -> list[tuple[str, str, str]]:
    """Where the application stands on its way, for the applicant."""
    names = [
        ("draft", _("written")),
        ("submitted", _("submitted")),
        ("eligibility", _("eligibility check")),
        ("review", _("review")),
        ("decision", _("result")),
    ]
    state = application.state
    at = {ApplicationState.DRAFT: 0, ApplicationState.INELIGIBLE: 2, ApplicationState.WITHDRAWN: 0}.get(
        ApplicationState(state), 4
    )
    if state in (ApplicationState.SUBMITTED, ApplicationState.SUPPLEMENT):
        at = 1 if call.stage(moment) == Stage.OPEN and state == ApplicationState.SUBMITTED else 2
    elif state == ApplicationState.ELIGIBLE:
        at = 3
    elif state in DECIDED:
        at = 5
    return [
        (key, label, "done" if place < at else "current" if place == at else "todo")
        for place, (key, label) in enumerate(names)
    ]
