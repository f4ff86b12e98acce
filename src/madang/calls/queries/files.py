"""Who may read which file."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from madang.calls import answers
from madang.calls.models import ApplicationState, AssignmentState, Document
from madang.calls.queries.shapes import missing
from madang.identity.access import access_of
from madang.identity.models import Role


def readable(person: Any, document: int) -> tuple[Document, str, bool]:
    """The file, the name to give it, and whether it is the reader's own organization's. Raises Missing.

    Members read all files of their organization. Officers read what was submitted, never what is only in a draft.
    Reviewers read what was submitted last and isn't hidden from them, in a blind call under a name that says nothing.
    """
    found = Document.objects.select_related("application__call", "application__form").filter(pk=document).first()
    if found is None:
        raise missing()
    application, call = found.application, found.application.call
    access = access_of(person)
    if access.is_member(application.organization_id):
        return found, found.name, True
    if access.holds(Role.OFFICER, program=call.program_id):
        contents = application.submissions.values_list("content", flat=True)
        if any(found.pk == one["id"] for content in contents for one in content["documents"].values()):
            return found, found.name, False
    if person.pk and application.state == ApplicationState.ELIGIBLE:
        reads = application.assignments.filter(reviewer=person.pk).exclude(state=AssignmentState.RECUSED)
        spec = next((spec for spec in application.form.fields if spec["code"] == found.code), None)
        last = application.submissions.last() if spec and reads.exists() else None
        if spec and last and last.content["documents"].get(found.code, {}).get("id") == found.pk:
            if not call.blind:
                return found, found.name, False
            if not answers.hidden_from_reviewers(spec):
                return found, neutral_name(found.code, found.name), False
    raise missing()


def neutral_name(code: str, name: str) -> str:
    """The name of a file in a blind call: what was asked for, and the kind of file.

    >>> neutral_name("plan", "Bitgoeul Robotics plan v3.pdf")
    'plan.pdf'
    """
    ending = PurePosixPath(name).suffix.lower()
    return f"{code}{ending if ending[1:].isalnum() and len(ending) <= 6 else ''}"
