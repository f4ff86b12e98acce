"""Grants for tests, by the verbs that the pages call: from the call's draft to the accepted agreement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count
from typing import Any

from madang.calls import actions as calls
from madang.calls.models import Application, Call
from madang.catalog.models import Resource
from madang.catalog.tests import make as catalog
from madang.grants import actions
from madang.grants.models import Allocation, Grant
from madang.grants.queries import agreement_of
from madang.identity.models import Organization, Person
from madang.identity.tests import make as identity
from madang.programs.models import Program
from madang.programs.tests import make as programs
from madang.workflow.moment import now

_number = count(1)
HOUR = 3600
TB_DAY = 24_000_000


@dataclass
class Story:
    """One company's way to its package, and everybody in it."""

    call: Call
    officer: Person
    organization: Organization
    lead: Person
    application: Application
    grant: Grant

    @property
    def compute(self) -> Allocation:
        return self._of("compute")

    @property
    def storage(self) -> Allocation:
        return self._of("storage")

    def _of(self, kind: str) -> Allocation:
        return self.grant.allocations.select_related("resource", "grant").get(resource__kind=kind)

    def again(self) -> Grant:
        return Grant.objects.get(pk=self.grant.pk)


def resources() -> list[Resource]:
    """The site's partition, with a rate of ₩2,000 a GPU-hour and room for many calls, and its volume without a rate."""
    compute = Resource.objects.filter(kind="compute", rates__isnull=False).first()
    if compute is None:
        compute = catalog.resource("compute", capacity_per_hour=1000 * HOUR)
        catalog.rate(compute, 2000)
    storage = Resource.objects.filter(kind="storage").first() or catalog.resource("storage")
    return [compute, storage]


def call(
    *,
    officer: Person | None = None,
    program: Program | None = None,
    lent: list[Resource] | None = None,
    percent: int | None = 50,
    rules: list[str] | None = None,
    **facts: Any,
) -> Call:
    """A published call, open since yesterday: compute and storage, half the price for applicants from Gwangju."""
    program = program or programs.program()
    officer = officer or identity.officer()
    number = next(_number)
    today = date.today()  # noqa: DTZ011  a day around now will do
    made = calls.make_call(
        officer,
        **{
            "program": program,
            "code": f"call-{number}",
            "title_ko": f"컴퓨팅 자원 지원 {number}차",
            "title_en": f"Compute call {number}",
            "text_ko": "컴퓨팅 자원을 지원합니다.",
            "opens_at": now() - timedelta(days=1),
            "closes_at": now() + timedelta(days=1),
            "use_from": today - timedelta(days=1),
            "use_until": today + timedelta(days=60),
            "budget_krw": 10_000_000_000,
            "most_awards": 50,
            "reviews_wanted": 1,
            **facts,
        },
    )
    lines = [{"resource": row, "most": 1000 * HOUR, "total": 20_000 * HOUR} for row in lent or resources()]
    for line in lines:
        if line["resource"].kind == "storage":
            line |= {"most": 10 * TB_DAY, "total": 1000 * TB_DAY}
    calls.set_lines(officer, call=made, lines=lines)
    if percent:
        calls.set_discounts(
            officer,
            call=made,
            discounts=[
                {
                    "name_ko": "광주 소재",
                    "name_en": "Based in Gwangju",
                    "percent": percent,
                    "rule": "region",
                    "value": "29",
                }
            ],
        )
    if rules:
        wanted = [{"kind": kind, "value": [], "citation_ko": "공고 제3조"} for kind in rules]
        calls.set_rules(officer, call=made, rules=wanted)
    calls.set_criteria(
        officer,
        call=made,
        criteria=[{"code": "plan", "name_ko": "계획", "name_en": "Plan", "points": 100, "least": 0}],
    )
    calls.set_form(officer, call=made, fields=[{"code": "goal", "type": "text", "label_ko": "목표", "required": True}])
    return calls.publish(officer, call=made)


def applied(call: Call, organization: Organization | None = None, amounts: dict[str, int] | None = None) -> Application:
    """A submitted application for 100 GPU-hours and 2 TB-days (or other amounts, by kind)."""
    organization = organization or identity.organization()
    lead = identity.lead_of(organization)
    asked = {"compute": 100 * HOUR, "storage": 2 * TB_DAY} if amounts is None else amounts
    application = calls.start_application(lead, call=call, organization=organization)
    lines = {
        line.pk: {"amount": asked[line.resource.kind], "essential": True, "purpose": "학습"}
        for line in call.lines.select_related("resource")
        if asked.get(line.resource.kind)
    }
    title = f"과제 {application.pk}"
    calls.save_draft(lead, application=application, title=title, answers={"goal": "더 나은 모델"}, lines=lines)
    calls.submit(lead, application=application)
    return Application.objects.select_related("call").get(pk=application.pk)


def closed(call: Call) -> Call:
    """The deadline is over: the only thing here that no verb does, because only the clock can."""
    Call.objects.filter(pk=call.pk).update(closes_at=now() - timedelta(minutes=1))
    return Call.objects.get(pk=call.pk)


def decided(officer: Person, call: Call, outcomes: dict[Application, str]) -> Call:
    """Every application screened, scored (the first best) and decided; nothing announced yet."""
    call = closed(call)
    for application in outcomes:
        application.call = call
        calls.find_eligible(officer, application=application)
    calls.start_evaluation(officer, call=call)
    reviewer = identity.reviewer()
    for points, application in zip(range(95, 0, -1), outcomes, strict=False):
        application.call = call
        assignment = calls.assign(officer, application=application, reviewer=reviewer)
        calls.score(reviewer, assignment=assignment, scores={"plan": points}, comment="좋은 계획입니다.")
    for application, outcome in outcomes.items():
        calls.decide(officer, application=application, outcome=outcome, reason="평가 결과에 따릅니다.")
    return Call.objects.select_related("program").get(pk=call.pk)


def offered(organization: Organization | None = None, amounts: dict[str, int] | None = None, **facts: Any) -> Story:
    """The results are announced; the agreement waits. `facts` go to `call`."""
    officer = facts.pop("officer", None) or identity.officer()
    notice = call(officer=officer, **facts)
    application = applied(notice, organization, amounts)
    notice = decided(officer, notice, {application: "selected"})
    (grant,) = actions.announce(officer, call=notice)
    lead = identity.lead_of(grant.organization)
    return Story(notice, officer, grant.organization, lead, application, grant)


def accepted(story: Story) -> Story:
    """The lead signs, and the allocations open."""
    agreement = agreement_of(story.grant)
    actions.accept(
        story.lead, grant=story.grant, version=agreement.version, digest=agreement.digest, signed_as="대표이사 이대표"
    )
    return story


def granted(organization: Organization | None = None, amounts: dict[str, int] | None = None, **facts: Any) -> Story:
    """An active grant with 100 GPU-hours (half price) and 2 TB-days of storage, both open."""
    return accepted(offered(organization, amounts, **facts))
