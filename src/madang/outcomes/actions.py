"""What came of a grant: reported by its holder with evidence, verified by an officer, corrected by a newer report."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.files.base import File
from django.utils.translation import gettext as _

from madang.grants.models import Grant, GrantState
from madang.identity.access import access_of, require, require_member
from madang.identity.models import Person, Role
from madang.outcomes import letters
from madang.outcomes.models import (
    OUTCOME_MOST,
    OUTCOME_UNIT,
    Evidence,
    Level,
    Outcome,
    OutcomeKind,
    OutcomeState,
    Verification,
    outcome_moves,
)
from madang.web.forms import unusable
from madang.workflow.errors import NotAllowed, Refused, Stale
from madang.workflow.log import act
from madang.workflow.moment import now

SEOUL = ZoneInfo("Asia/Seoul")
MOST_FILES = 10


def first_day(grant: Grant) -> date:
    """The first day on which something can have come of the grant."""
    start = grant.starts_at if grant.accepted_at is None else min(grant.starts_at, grant.accepted_at)
    return start.astimezone(SEOUL).date()


def report(
    actor: Person,
    *,
    grant: Grant,
    kind: str,
    amount: int,
    occurred_on: date,
    title: str,
    text: str = "",
    share_percent: int = 100,
    evidence: Sequence[File[Any]],
    replaces: Outcome | None = None,
) -> Outcome:
    """Say what came of a grant: `amount` in the unit of its kind (people, KRW, pieces), with a file or more to show it.

    `replaces` names the report that this one corrects: it stays, marked as replaced. The same report a second time is a
    second click: it is the one that is there.
    """
    require_member(actor, grant.organization_id)
    if grant.state not in (GrantState.ACTIVE, GrantState.CLOSED):
        raise Stale(_("Outcomes can be reported once the agreement is accepted."))
    if replaces is not None and replaces.grant_id != grant.pk:
        raise Refused(_("A correction belongs to the same grant."))
    files = _checked(grant, kind, amount, occurred_on, title, share_percent, evidence)
    kept: list[Evidence] = []
    try:
        with act(actor, "correct" if replaces else "report") as said:
            Grant.objects.select_for_update(of=("self",)).get(pk=grant.pk)
            same = Outcome.objects.filter(
                grant=grant,
                reported_by=actor,
                state=OutcomeState.REPORTED,
                kind=kind,
                amount=amount,
                occurred_on=occurred_on,
                title=title.strip(),
                text=text.strip(),
                share_percent=share_percent,
                replaces=replaces,
            )
            for outcome in same.prefetch_related("evidence"):
                if {row.digest for row in outcome.evidence.all()} == files.keys():
                    said["on"], said["again"] = outcome, True
                    return outcome
            if replaces is not None:
                outcome_moves.move(replaces, "replace")
                said["replaces"] = replaces.pk
            outcome = Outcome.objects.create(
                grant=grant,
                organization_id=grant.organization_id,
                kind=kind,
                amount=amount,
                occurred_on=occurred_on,
                title=title.strip(),
                text=text.strip(),
                share_percent=share_percent,
                replaces=replaces,
                reported_by=actor,
            )
            said["on"] = outcome
            for digest, file in files.items():
                row = Evidence(outcome=outcome, name=file.name or "", size=file.size, digest=digest, added_by=actor)
                row.file.save(file.name or digest, file, save=False)
                kept.append(row)
                row.save()
    except Exception:
        for row in kept:  # nothing is half done: without its row, a file is nobody's
            row.file.delete(save=False)
        raise
    return outcome


def _checked(
    grant: Grant,
    kind: str,
    amount: int,
    occurred_on: date,
    title: str,
    share_percent: int,
    evidence: Sequence[File[Any]],
) -> dict[str, File[Any]]:
    """The files by digest, each once. All that is wrong is said at once."""
    errors: dict[str, Any] = {}
    most = OUTCOME_MOST[OUTCOME_UNIT[OutcomeKind(kind)]] if kind in OutcomeKind.values else 0
    if not most:
        errors["kind"] = _("There is no such kind of outcome.")
    elif not 1 <= amount <= most:
        errors["amount"] = _("At least 1, and at most %(most)s in one report.") % {"most": f"{most:,}"}
    today, first = now().astimezone(SEOUL).date(), first_day(grant)
    if occurred_on > today:
        errors["occurred_on"] = _("This day is still to come. Report it once it has happened.")
    elif occurred_on < first:
        errors["occurred_on"] = _("The grant began on %(day)s: nothing came of it before.") % {"day": first}
    if not title.strip():
        errors["title"] = _("Give it a title.")
    if not 1 <= share_percent <= 100:
        errors["share_percent"] = _("Between 1 and 100.")
    if problem := _unfit(evidence):
        errors["evidence"] = problem
    if errors:
        raise Refused(_("The report can't be filed like this."), errors=errors)
    return {digest_of(file): file for file in evidence}


def _unfit(evidence: Sequence[File[Any]]) -> str | None:
    if not evidence:
        return _("Add at least one file that shows it.")
    if len(evidence) > MOST_FILES:
        return _("At most %(most)s files.") % {"most": MOST_FILES}
    for file in evidence:
        name = file.name or ""
        if not file.size:
            return _("The file “%(name)s” is empty.") % {"name": name[:80]}
        if file.size > settings.UPLOAD_LIMIT_BYTES:
            most = settings.UPLOAD_LIMIT_BYTES // 1024**2
            return _("A file is too large: at most %(most)s MB each.") % {"most": most}
        if not name or len(name) > 200 or unusable(name):
            return _("A file has a name that can't be used.")
    return None


def digest_of(file: File[Any]) -> str:
    """SHA-256 of the content, in hexadecimal."""
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()


def verify(actor: Person, *, outcome: Outcome, level: str, reason: str) -> Outcome:
    """Confirm an outcome at a level of the ladder. Later only upward; the level “audit” is for auditors."""
    _require_judge(actor, outcome, level)
    if level not in Level.values or level == Level.SELF:
        raise Refused(_("Choose how closely it was checked."), field="level")
    if not reason.strip():
        raise Refused(_("Say what was checked."), field="reason")
    with act(actor, "verify", on=outcome, reason=reason.strip(), level=level):
        outcome_moves.move(outcome, "verify")
        if level <= outcome.level:  # the codes of the levels sort as the ladder does
            raise Stale(_("It is verified at this level already, or at a higher one."))
        outcome.level = level
        outcome.save(update_fields=["level"])
        Verification.objects.create(outcome=outcome, level=level, accepted=True, reason=reason.strip(), person=actor)
        letters.verified(outcome, reason.strip())
    return outcome


def return_(actor: Person, *, outcome: Outcome, reason: str) -> Outcome:
    """Give a report back to its holder, who can correct it."""
    _require_judge(actor, outcome, Level.SELF)
    if not reason.strip():
        raise Refused(_("Say what is missing."), field="reason")
    with act(actor, "return", on=outcome, reason=reason.strip()):
        outcome_moves.move(outcome, "return")
        Verification.objects.create(
            outcome=outcome, level=Level.SELF, accepted=False, reason=reason.strip(), person=actor
        )
        letters.returned(outcome, reason.strip())
    return outcome


def _require_judge(actor: Person, outcome: Outcome, level: str) -> None:
    role = Role.AUDITOR if level == Level.AUDIT else Role.OFFICER
    require(actor, role, program=outcome.grant.program_id)
    if access_of(actor).is_member(outcome.organization_id):
        raise NotAllowed(_("You belong to this organization: somebody else has to check this."))


def may_judge(person: Any, outcome: Outcome) -> bool:
    """Whether this person may verify it now: what the page asks before it shows the form."""
    access, program = access_of(person), outcome.grant.program_id
    return (
        outcome.state in (OutcomeState.REPORTED, OutcomeState.VERIFIED)
        and (access.holds(Role.OFFICER, program=program) or access.holds(Role.AUDITOR, program=program))
        and not access.is_member(outcome.organization_id)
    )
