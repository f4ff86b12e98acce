"""A call as the pages see it, brought to a stage by the verbs that people use."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from django.core.files.base import ContentFile

from madang.calls import actions
from madang.calls.models import Application, Call
from madang.catalog.models import Rate
from madang.catalog.tests import make as catalog
from madang.identity.access import forget
from madang.identity.models import Organization, Person
from madang.identity.tests import make as identity
from madang.programs.tests import make as programs
from madang.workflow.moment import now

FIELDS: list[dict[str, Any]] = [
    {
        "code": "summary",
        "type": "text",
        "label_ko": "과제 개요",
        "label_en": "Summary of the project",
        "hint_ko": "무엇을, 왜 만드는지 적어 주십시오.",
        "hint_en": "What you build, and why.",
        "required": True,
        "most": 2000,
    },
    {
        "code": "stage",
        "type": "choice",
        "label_ko": "개발 단계",
        "label_en": "Stage of development",
        "required": True,
        "choices": [
            {"value": "idea", "label_ko": "구상", "label_en": "Idea"},
            {"value": "trial", "label_ko": "시제품", "label_en": "Prototype"},
            {"value": "market", "label_ko": "상용화", "label_en": "On the market"},
        ],
    },
    {
        "code": "customers",
        "type": "number",
        "label_ko": "현재 고객 수",
        "label_en": "Number of customers",
        "required": True,
        "shown_if": {"field": "stage", "in": ["market"]},
    },
    {
        "code": "contact",
        "type": "line",
        "label_ko": "담당자 연락처",
        "label_en": "Contact",
        "required": True,
        "identity": True,
    },
    {"code": "starts", "type": "day", "label_ko": "시작 희망일", "label_en": "Wanted start"},
    {
        "code": "consent",
        "type": "yes",
        "label_ko": "개인정보 이용에 동의합니다.",
        "label_en": "I consent to the use of personal data.",
        "required": True,
    },
    {
        "code": "plan",
        "type": "file",
        "label_ko": "사업계획서",
        "label_en": "Business plan",
        "required": True,
        "identity": False,
    },
    {"code": "license", "type": "file", "label_ko": "사업자등록증", "label_en": "Business registration certificate"},
]
TEXT = """광주 인공지능 집적단지의 고성능 컴퓨팅 자원을 지원합니다.

기업이 바로 모델을 학습할 수 있도록 GPU와 저장공간을 함께 빌려드립니다."""
CRITERIA = [
    {"code": "impact", "name_ko": "기대 효과", "name_en": "Expected impact", "points": 40, "least": 20},
    {"code": "ability", "name_ko": "수행 역량", "name_en": "Ability", "points": 30, "least": 0},
    {"code": "need", "name_ko": "자원 필요성", "name_en": "Need for the resource", "points": 30, "least": 0},
]


@dataclass
class World:
    officer: Person
    call: Call
    lead: Person
    company: Organization
    stranger: Person
    other: Organization
    reviewers: list[Person] = field(default_factory=list)
    applications: list[Application] = field(default_factory=list)

    @property
    def mine(self) -> Application:
        return self.applications[0]


def draft_call(officer: Person, code: str = "gpu-2025", **facts: Any) -> Call:
    program = programs.program(name_ko="고성능 컴퓨팅 지원", name_en="Compute for companies")
    gpu = catalog.resource(name_ko="H100 파티션", name_en="H100 partition")
    if not Rate.objects.exists():
        catalog.rate(gpu)
    store = catalog.resource("storage", name_ko="공용 저장공간", name_en="Shared storage")
    moment = now()
    forget(officer)
    call = actions.make_call(
        officer,
        **{
            "program": program,
            "code": code,
            "title_ko": "2025년 고성능 컴퓨팅 자원 지원 공고",
            "title_en": "Call for compute 2025",
            "text_ko": TEXT,
            "text_en": "We lend compute of the AI cluster in Gwangju.",
            "opens_at": moment + timedelta(days=1),
            "closes_at": moment + timedelta(days=30),
            "announces_at": moment + timedelta(days=60),
            "use_from": date(2026, 9, 1),
            "use_until": date(2026, 12, 31),
            "budget_krw": 9_600_000_000,
            "most_awards": 50,
            **facts,
        },
    )
    actions.set_lines(
        officer,
        call=call,
        lines=[
            {"resource": gpu, "most": 5000 * 3600, "total": 20_000 * 3600, "note_ko": "80 GB", "note_en": "80 GB"},
            {"resource": store, "most": 10 * 10**6 * 24 * 122, "total": 100 * 10**6 * 24 * 122},
        ],
    )
    region = {
        "name_ko": "광주 소재 기업",
        "name_en": "Companies in Gwangju",
        "percent": 50,
        "rule": "region",
        "value": "29",
    }
    actions.set_discounts(officer, call=call, discounts=[region])
    actions.set_form(officer, call=call, fields=FIELDS)
    actions.set_criteria(officer, call=call, criteria=CRITERIA)
    actions.set_rules(
        officer,
        call=call,
        rules=[
            {
                "kind": "organization_kind",
                "value": ["sme", "university"],
                "citation_ko": "공고 제3조: 중소기업, 대학",
                "citation_en": "Article 3: SMEs and universities",
            },
            {
                "kind": "document",
                "value": ["plan"],
                "citation_ko": "공고 제5조: 사업계획서 제출",
                "citation_en": "Article 5: a business plan",
            },
        ],
    )
    return Call.objects.get(pk=call.pk)


def shift(call: Call, **by: timedelta) -> Call:
    """Moves instants of the call relative to the present moment, as if time had passed."""
    moment = now()
    Call.objects.filter(pk=call.pk).update(**{name: moment + delta for name, delta in by.items()})
    return Call.objects.select_related("program").get(pk=call.pk)


def draft_of(
    lead: Person, call: Call, company: Organization, title: str = "산업용 로봇의 불량 검출 모델"
) -> Application:
    """A complete draft."""
    forget(lead)
    application = actions.start_application(lead, call=call, organization=company)
    gpu, store = call.lines.order_by("id")
    actions.save_draft(
        lead,
        application=application,
        title=title,
        answers={
            "summary": "불량을 찾는 모델입니다.",
            "stage": "trial",
            "contact": "hi@secret-company.kr",
            "consent": True,
        },
        lines={
            gpu.pk: {"amount": 1000 * 3600, "essential": True, "purpose": "모델 학습"},
            store.pk: {"amount": 5 * 10**6 * 24 * 122, "essential": False, "purpose": "학습 데이터 보관"},
        },
        saves=application.saves,
    )
    for code, name in (("plan", "빛고을로보틱스_계획서.pdf"), ("license", "등록증.pdf")):
        actions.add_document(lead, application=application, code=code, file=ContentFile(b"%PDF-1.4 plan", name=name))
    return Application.objects.get(pk=application.pk)


def open_world(applications: int = 1, submitted: bool = True, **facts: Any) -> World:
    """An open call, and applications of as many companies."""
    officer = identity.officer()
    call = draft_call(officer, **facts)
    actions.publish(officer, call=call)
    call = shift(call, opens_at=timedelta(days=-1), closes_at=timedelta(days=9))
    lead, stranger = identity.person("한지원"), identity.person("남궁별")
    company = identity.organization(lead)
    other = identity.organization(stranger, name_ko="다른 회사", name_en="Other company")
    world = World(officer, call, lead, company, stranger, other)
    for number in range(applications):
        person, organization = (lead, company) if number == 0 else (identity.person(f"신청자 {number}"), None)
        organization = organization or identity.organization(
            person, name_ko=f"비밀 기업 {number}", name_en=f"Secret {number}"
        )
        application = draft_of(person, call, organization, f"산업용 로봇의 불량 검출 모델 {number}")
        if submitted:
            actions.submit(person, application=application)
        world.applications.append(Application.objects.get(pk=application.pk))
    return world


def closed_world(applications: int = 1, **facts: Any) -> World:
    world = open_world(applications, **facts)
    world.call = shift(world.call, closes_at=timedelta(minutes=-1))
    return fresh(world)


def reviewed_world(applications: int = 1, scored: bool = False, **facts: Any) -> World:
    """Everything eligible and assigned to two of three reviewers; with `scored`, reviewed as well."""
    world = closed_world(applications, **facts)
    world.reviewers = [identity.reviewer() for _number in range(3)]
    forget(world.officer)
    for application in world.applications:
        actions.find_eligible(world.officer, application=application)
    actions.start_evaluation(world.officer, call=world.call)
    world.call = Call.objects.select_related("program").get(pk=world.call.pk)
    assignments = actions.assign_all(world.officer, call=world.call)
    if scored:
        for number, assignment in enumerate(assignments):
            scores = {"impact": 30 + number % 5, "ability": 25, "need": 20}
            actions.score(assignment.reviewer, assignment=assignment, scores=scores, comment="타당합니다.")
    return fresh(world)


def fresh(world: World) -> World:
    world.applications = [
        Application.objects.select_related("call", "organization").get(pk=row.pk) for row in world.applications
    ]
    return world
