"""Calls and applications for tests, made by the verbs that the pages call.

What passes is time: `deadline_passes` moves the deadline into the past, since a test doesn't wait for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count
from typing import Any

from django.core.files.base import ContentFile

from madang.calls import actions
from madang.calls.models import Application, ApplicationLine, Assignment, Call, Extension, Submission
from madang.catalog.models import Resource
from madang.catalog.tests import make as catalog
from madang.identity.models import Organization, Person
from madang.identity.tests import make as identity
from madang.programs.tests import make as programs
from madang.workflow.moment import now

_number = count(1)
HOUR = 3600  # GPU-seconds
CRITERIA = [
    {"code": "impact", "name_ko": "파급효과", "name_en": "Impact", "points": 60, "least": 20},
    {"code": "ability", "name_ko": "수행역량", "name_en": "Ability", "points": 40},
]
FORM: list[dict[str, Any]] = [
    {"code": "goal", "type": "text", "label_ko": "개발 목표", "label_en": "Goal", "required": True, "most": 500},
    {"code": "staff", "type": "number", "label_ko": "투입 인력", "label_en": "Staff", "least": 1, "most": 999},
    {"code": "partner", "type": "yes", "label_ko": "공동기관이 있습니까?", "label_en": "Is there a partner?"},
    {
        "code": "partner-name",
        "type": "line",
        "label_ko": "공동기관",
        "label_en": "Partner",
        "required": True,
        "identity": True,
        "shown_if": {"field": "partner", "in": [True]},
    },
    {"code": "plan", "type": "file", "label_ko": "사업계획서", "label_en": "Plan"},
]


@dataclass
class Round:
    """A published call, its officer, and what it lends."""

    call: Call
    officer: Person
    gpus: Resource
    storage: Resource


def draft(officer: Person | None = None, **facts: Any) -> Round:
    """A call that could be published: 1,000 GPU-hours at ₩2,000 each, storage without a rate."""
    officer = officer or identity.officer()
    number = next(_number)
    gpus = facts.pop("gpus", None) or catalog.resource()
    storage = catalog.resource("storage", capacity_per_hour=10_000_000)
    if not gpus.rates.exists():
        catalog.rate(gpus)
    moment = now()
    call = actions.make_call(
        officer,
        **{
            "program": facts.pop("program", None) or programs.program(),
            "code": f"call-{number}",
            "title_ko": f"컴퓨팅 자원 지원 공고 {number}",
            "title_en": f"Call for compute {number}",
            "text_ko": "인공지능 학습에 쓸 자원을 지원합니다.",
            "text_en": "We lend compute for AI.",
            "opens_at": moment - timedelta(days=1),
            "closes_at": moment + timedelta(days=7),
            "announces_at": moment + timedelta(days=30),
            "use_from": date(2030, 1, 1),
            "use_until": date(2030, 6, 30),
            "budget_krw": 2_000_000,
            "most_awards": 5,
            **facts,
        },
    )
    actions.set_lines(
        officer,
        call=call,
        lines=[
            {"resource": gpus, "most": 500 * HOUR, "total": 1000 * HOUR},
            {"resource": storage, "most": 24_000_000, "total": 240_000_000},
        ],
    )
    actions.set_criteria(officer, call=call, criteria=CRITERIA)
    actions.set_form(officer, call=call, fields=FORM)
    return Round(call, officer, gpus, storage)


def published(officer: Person | None = None, **facts: Any) -> Round:
    made = draft(officer, **facts)
    actions.publish(made.officer, call=made.call)
    return made


def drafted(call: Call, organization: Organization | None = None, hours: int = 100, **saved: Any) -> Application:
    """A draft that could be submitted, of a new organization if none is given."""
    organization = organization or identity.organization()
    lead = identity.lead_of(organization)
    application = actions.start_application(lead, call=call, organization=organization)
    line = call.lines.order_by("id")[0]
    return actions.save_draft(
        lead,
        application=application,
        **{
            "title": "불량 검출 모델 학습",
            "answers": {"goal": "용접 불량을 찾는 모델을 학습합니다."},
            "lines": {line.pk: {"amount": hours * HOUR, "essential": True, "purpose": "학습"}},
            **saved,
        },
    )


def applied(call: Call, organization: Organization | None = None, hours: int = 100, **saved: Any) -> Application:
    """A submitted application."""
    application = drafted(call, organization, hours, **saved)
    actions.submit(lead(application), application=application)
    return application


def lead(application: Application) -> Person:
    return identity.lead_of(application.organization)


def latest(application: Application) -> Submission:
    return application.submissions.latest("id")


def line(application: Application) -> ApplicationLine:
    """The line for GPU-hours."""
    return application.lines.order_by("call_line_id")[0]


def file(name: str = "plan.pdf", content: bytes = b"%PDF-1.7 a plan") -> ContentFile:
    return ContentFile(content, name=name)


def deadline_passes(call: Call, ago: timedelta = timedelta(seconds=1)) -> Call:
    """The deadline of everybody was so long ago."""
    moment = now() - ago
    Call.objects.filter(pk=call.pk).update(opens_at=moment - timedelta(days=10), closes_at=moment)
    Extension.objects.filter(call=call).update(until=moment)
    call.refresh_from_db()
    return call


def eligible(made: Round, *applications: Application) -> None:
    """The deadline passes, these are found eligible, and the evaluation starts."""
    deadline_passes(made.call)
    for application in applications:
        application.call = made.call
        actions.find_eligible(made.officer, application=application)
    actions.start_evaluation(made.officer, call=made.call)


def reviewed(made: Round, *applications: Application, points: tuple[int, int] = (50, 30)) -> list[Assignment]:
    """Two new reviewers each give these points to each of the applications."""
    assignments = []
    reviewers = [identity.reviewer() for _ in range(made.call.reviews_wanted)]
    for application in applications:
        application.call = made.call
        for reviewer in reviewers:
            assignment = actions.assign(made.officer, application=application, reviewer=reviewer)
            actions.score(
                reviewer,
                assignment=assignment,
                scores={"impact": points[0], "ability": points[1]},
                comment="목표가 분명합니다.",
            )
            assignments.append(assignment)
    return assignments


def selected(made: Round, *applications: Application, **decision: Any) -> None:
    """Eligible, reviewed, and proposed for an award of all that was asked."""
    eligible(made, *applications)
    reviewed(made, *applications)
    for application in applications:
        actions.decide(
            made.officer, **{"application": application, "outcome": "selected", "reason": "우수합니다.", **decision}
        )


def ready_to_announce(**facts: Any) -> tuple[Round, Application]:
    """A call with one application that is proposed for an award: what grants begin with."""
    made = published(**facts)
    application = applied(made.call)
    selected(made, application)
    return made, application
