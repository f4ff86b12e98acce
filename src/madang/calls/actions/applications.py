"""What an applicant does: begin, save, hand in files, submit, withdraw."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.files.base import File
from django.utils.translation import gettext as _

from madang.calls import content, documents, letters
from madang.calls.actions.screening import machine_answers
from madang.calls.answers import clean
from madang.calls.locks import lock
from madang.calls.models import (
    Application,
    ApplicationLine,
    ApplicationState,
    Call,
    CallState,
    Decision,
    Document,
    Submission,
    application_moves,
)
from madang.calls.publishing import form_of
from madang.calls.queries.files import readable
from madang.calls.when import require_open, require_writable
from madang.identity.access import require_member
from madang.identity.models import Organization, Person
from madang.web.forms import unusable
from madang.workflow.errors import Missing, Refused, Stale
from madang.workflow.log import act, read_of
from madang.workflow.moment import now

LONGEST_TITLE = 200
LONGEST_PURPOSE = 600


def start_application(actor: Person, *, call: Call, organization: Organization) -> Application:
    """The organization's application for this call: a new one, or the one that is there."""
    require_member(actor, organization.pk)
    if call.state == CallState.DRAFT:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    there = call.applications.exclude(state=ApplicationState.WITHDRAWN).filter(organization=organization)
    if application := there.first():
        return application
    with act(actor, "start") as said:
        lock(call)  # so that two clicks begin one application
        require_open(call, organization.pk, now())
        application = said["on"] = there.first() or Application.objects.create(
            call=call, organization=organization, form=form_of(call), started_by=actor
        )
    return application


def save_draft(
    actor: Person,
    *,
    application: Application,
    title: str | None = None,
    answers: Mapping[str, Any] | None = None,
    lines: Mapping[Any, Mapping[str, Any]] | None = None,
    saves: int | None = None,
) -> Application:
    """Keep what was written so far. What isn't named stays; an empty value, or an amount of 0, takes it out.

    `saves` is the counter that the page was made with; when somebody saved since, nothing is overwritten (Stale).
    `lines` are {call line id: {amount, essential, purpose}}, amounts in the smallest unit of the resource.
    """
    require_member(actor, application.organization_id)
    with act(actor, "save", on=application):
        _lock_writable(application, saves)
        before = (application.draft_title, dict(application.answers), dict(application.asked))
        errors: dict[str, str] = {}
        if title is not None:
            application.draft_title = _title(title, errors)
        _merge_answers(application, answers or {}, errors)
        _merge_lines(application, lines or {}, errors)
        if application.state == ApplicationState.SUPPLEMENT:
            _only_what_reopened(application, before, errors)
        if errors:
            raise Refused(_("Not saved: check what is marked."), errors=errors)
        if application.receipt is None:
            application.title = application.draft_title
        application.saves += 1
        application.saved_at = now()
        application.save(update_fields=["title", "draft_title", "answers", "asked", "saves", "saved_at"])
    return application


def add_document(actor: Person, *, application: Application, code: str, file: File) -> Document:
    """Hand in the file for one question. A newer file takes the place of an older one."""
    require_member(actor, application.organization_id)
    spec = _file_field(application, code)
    require_writable(application, application.call, now())
    documents.require_size(file.size or 0)
    with documents.stored(application, spec, file, actor) as document, act(actor, "add_document") as said:
        _lock_writable(application, None)
        _require_reopened(application, code)
        _take_away(application, code)
        documents.require_room(application, document.size)
        document.save()
        said["on"] = document
    return document


def remove_document(actor: Person, *, application: Application, code: str) -> None:
    """Take a file out of the draft. What was submitted keeps it."""
    require_member(actor, application.organization_id)
    _file_field(application, code)
    with act(actor, "remove_document", on=application, code=code):
        _lock_writable(application, None)
        _require_reopened(application, code)
        _take_away(application, code)


def submit(actor: Person, *, application: Application, saves: int | None = None) -> Submission:
    """Hand the application in, as it was saved last. The database's clock decides whether it is in time.

    The receipt number is taken under the call's row lock, in the transaction that stores the submission: numbers are in
    the order of submission and have no gaps. Submitted again before the deadline, it is a newer version with its own
    receipt; the same content again is a second click and gives the receipt that is there.
    """
    require_member(actor, application.organization_id)
    call = application.call
    with act(actor, "submit", on=application) as said:
        lock(call)
        moment = _lock_writable(application, saves, call)
        organization = Organization.objects.get(pk=application.organization_id)
        lines = list(call.lines.select_related("resource"))
        there = content.current(application.documents.order_by("id"))
        if errors := content.lacking(application, application.form, lines, there):
            raise Refused(_("This can't be submitted yet: check what is marked."), errors=errors)
        whole = content.gathered(application, call, application.form, lines, there, organization)
        digest = content.digest_of(whole)
        last = application.submissions.last()
        if application.state == ApplicationState.SUBMITTED and last is not None and last.digest == digest:
            return last
        verb = "supplement" if application.state == ApplicationState.SUPPLEMENT else "submit"
        call.last_receipt += 1
        call.save(update_fields=["last_receipt"])
        submission = Submission.objects.create(
            call=call,
            application=application,
            receipt=call.last_receipt,
            content=whole,
            digest=digest,
            submitted_at=moment,
            submitted_by=actor,
        )
        application.title = application.draft_title
        application.receipt, application.submitted_at = submission.receipt, moment
        application.supplement = {}
        application.save(update_fields=["title", "receipt", "submitted_at", "supplement"])
        application_moves.move(application, verb)
        _keep_lines(application)
        machine_answers(application, all=verb == "submit")
        said["receipt"] = submission.receipt
        letters.receipt(application, submission)
    return submission


def withdraw(actor: Person, *, application: Application, reason: str = "") -> Application:
    """Take the application back, until it is decided. Its receipts stay; a new application may be begun."""
    require_member(actor, application.organization_id)
    with act(actor, "withdraw", on=application, reason=reason.strip()[:600]):
        lock(application.call)
        application_moves.move(application, "withdraw")
        Decision.objects.filter(application=application, final_at=None).delete()
    return application


def read_document(actor: Person, *, document: int) -> tuple[Document, str]:
    """A file for whoever may read it, and the name to give it. Somebody else's reading is recorded."""
    found, name, own = readable(actor, document)
    if not own:
        read_of(actor, found, "document of an application")
    return found, name


def _lock_writable(application: Application, saves: int | None, call: Call | None = None) -> datetime:
    """Lock the application, for an applicant who may change it at the instant that is returned."""
    lock(application)
    moment = now()
    require_writable(application, call or Call.objects.get(pk=application.call_id), moment)
    if saves is not None and saves != application.saves:
        raise Stale(_("Somebody of your organization saved this application since you opened the page. Load it again."))
    return moment


def _title(title: str, errors: dict[str, str]) -> str:
    title = title.strip()
    if len(title) > LONGEST_TITLE:
        errors["title"] = _("At most %(most)s signs.") % {"most": LONGEST_TITLE}
    elif sign := unusable(title):
        errors["title"] = _("This holds a sign that can't be used here (%(sign)s).") % {"sign": sign}
    return title


def _merge_answers(application: Application, new: Mapping[str, Any], errors: dict[str, str]) -> None:
    cleaned, wrong = clean(application.form.fields, new)
    errors |= wrong
    kept = {code: value for code, value in application.answers.items() if code not in new}
    application.answers = kept | cleaned


def _merge_lines(application: Application, new: Mapping[Any, Mapping[str, Any]], errors: dict[str, str]) -> None:
    if not new:
        return
    offered = {str(line.pk): line for line in application.call.lines.select_related("resource")}
    asked = dict(application.asked)
    for id, line in ((str(id)[:20], line) for id, line in new.items()):
        amount, purpose = line.get("amount"), (line.get("purpose") or "").strip()
        if id not in offered and id not in asked:
            errors[f"line-{id}"] = content.line_problem(None, 0)
            continue
        if not amount:
            asked.pop(id, None)
            continue
        if type(amount) is not int:
            errors[f"line-{id}"] = _("This must be a whole number.")
        elif wrong := content.line_problem(offered.get(id), amount):
            errors[f"line-{id}"] = wrong
        elif len(purpose) > LONGEST_PURPOSE or unusable(purpose, lines=True):
            errors[f"line-{id}"] = _("Say what for in at most %(most)s signs.") % {"most": LONGEST_PURPOSE}
        else:
            asked[id] = {"amount": amount, "essential": bool(line.get("essential", True)), "purpose": purpose}
    application.asked = asked


def _only_what_reopened(application: Application, before: tuple[Any, ...], errors: dict[str, str]) -> None:
    """While a supplement is asked for, only the questions that it names may change."""
    title, old, asked = before
    closed = _("Only the questions that the officer asked about can be changed now.")
    if application.draft_title != title:
        errors["title"] = closed
    if application.asked != asked:
        errors["lines"] = closed
    for code in old.keys() | application.answers.keys():
        if code not in application.supplement["codes"] and old.get(code) != application.answers.get(code):
            errors.setdefault(code, closed)


def _require_reopened(application: Application, code: str) -> None:
    if application.state == ApplicationState.SUPPLEMENT and code not in application.supplement["codes"]:
        raise Refused(_("Only the questions that the officer asked about can be changed now."), field="file")


def _file_field(application: Application, code: str) -> dict[str, Any]:
    for spec in application.form.fields:
        if spec["code"] == code and spec["type"] == "file":
            return dict(spec)
    raise Refused(_("The form asks for no such file."), field="file")


def _take_away(application: Application, code: str) -> None:
    """The file that counts for this question no longer does. It is deleted unless it was submitted."""
    there = content.current(application.documents.order_by("id")).get(code)
    if there is None:
        return
    submitted = {
        document["id"]
        for one in application.submissions.values_list("content", flat=True)
        for document in one["documents"].values()
    }
    if there.pk in submitted:
        there.removed_at = now()
        there.save(update_fields=["removed_at"])
    else:
        documents.discard(there)


def _keep_lines(application: Application) -> None:
    """The rows of the lines are what was submitted last."""
    for id, asked in application.asked.items():
        ApplicationLine.objects.update_or_create(application=application, call_line_id=int(id), defaults=asked)
    application.lines.exclude(call_line__in=[int(id) for id in application.asked]).delete()
