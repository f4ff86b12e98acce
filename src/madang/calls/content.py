"""What is submitted: gathered from a draft, checked as a whole, written in one canonical form, and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from madang.calls import answers
from madang.calls.models import Application, Call, CallLine, Document, FormVersion, Submission
from madang.identity.models import Organization
from madang.web.amounts import written

Content = dict[str, Any]


def canonical(content: Content) -> bytes:
    """The one way to write a content down: keys in order, no spaces, UTF-8. Holds no floats, so that it is exact."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def digest_of(content: Content) -> str:
    return hashlib.sha256(canonical(content)).hexdigest()


def intact(submission: Submission) -> bool:
    """Whether what is stored still is what was submitted."""
    return digest_of(submission.content) == submission.digest


def current(documents: Iterable[Document]) -> dict[str, Document]:
    """code → the document that counts: the newest one, unless it was removed. `documents` in the order they came."""
    newest = {document.code: document for document in documents}
    return {code: document for code, document in newest.items() if document.removed_at is None}


def lacking(
    application: Application, form: FormVersion, lines: Iterable[CallLine], documents: Mapping[str, Document]
) -> dict[str, str]:
    """What keeps the draft from being submitted, by title, "lines", "line-<id>" and code of the question."""
    errors: dict[str, str] = {}
    offered = {str(line.pk): line for line in lines}
    if not application.draft_title:
        errors["title"] = _("Give the project a title.")
    if offered and not application.asked:
        errors["lines"] = _("Ask for at least one thing that the call offers.")
    for id, asked in application.asked.items():
        if wrong := line_problem(offered.get(id), asked["amount"]):
            errors[f"line-{id}"] = wrong
    _cleaned, wrong_answers = answers.clean(form.fields, application.answers, whole=True, documents=set(documents))
    return errors | wrong_answers


def line_problem(line: CallLine | None, amount: int) -> str:
    """What is wrong with asking for `amount` of a line; "" where nothing is."""
    if line is None:
        return _("This call doesn't offer that.")
    if amount > line.most:
        return _("At most %(most)s per application.") % {"most": written(line.most, line.resource.unit)}
    return _("This must be more than nothing.") if amount <= 0 else ""


def gathered(
    application: Application,
    call: Call,
    form: FormVersion,
    lines: Iterable[CallLine],
    documents: Mapping[str, Document],
    organization: Organization,
) -> Content:
    """The content of a submission. The draft has been checked by `lacking`."""
    cleaned, _errors = answers.clean(form.fields, application.answers, whole=True, documents=set(documents))
    asked_for = answers.shown(form.fields, cleaned)
    return {
        "call": call.code,
        "form": form.number,
        "title": application.draft_title,
        "answers": cleaned,
        "lines": [
            {
                "line": line.pk,
                "resource": line.resource.code,
                "unit": line.resource.unit,
                "amount": asked["amount"],
                "essential": asked["essential"],
                "purpose": asked["purpose"],
            }
            for line in lines
            if (asked := application.asked.get(str(line.pk)))
        ],
        "documents": {
            code: {"id": document.pk, "name": document.name, "size": document.size, "digest": document.digest}
            for code, document in sorted(documents.items())
            if code in asked_for
        },
        "organization": {
            "name_ko": organization.name_ko,
            "name_en": organization.name_en,
            "kind": organization.kind,
            "business_number": organization.business_number,
            "representative": organization.representative,
            "region": organization.region,
            "founded_on": organization.founded_on.isoformat() if organization.founded_on else None,
            "is_youth_startup": organization.is_youth_startup,
        },
    }


def changed(application: Application, content: Content) -> bool:
    """Whether the draft has run ahead of what was submitted with this content."""
    asked = {str(line["line"]): {k: line[k] for k in ("amount", "essential", "purpose")} for line in content["lines"]}
    shown = {code: value for code, value in application.answers.items() if code in content["answers"]}
    extra = answers.shown(application.form.fields, application.answers) & (
        application.answers.keys() - content["answers"].keys()
    )
    return (
        application.draft_title != content["title"]
        or application.asked != asked
        or shown != content["answers"]
        or bool(extra)
    )
