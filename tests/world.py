"""One site with two companies that must never learn of each other, and everybody who works there.

Everything that is a company's own bears its mark (names, e-mails, titles, answers, files, scripts, logs), so that a
leak is found by looking for the mark in whatever the site answers. What is public (programs, calls, resources) bears
none.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils.timezone import localdate

from madang.calls import actions as calls
from madang.calls.models import Application, Assignment, Call
from madang.catalog.models import Resource
from madang.catalog.tests import make as catalog
from madang.engines.base import Outcome, RunKey, UsageRow
from madang.facilities.compute import actions as compute
from madang.facilities.compute import sessions
from madang.facilities.compute.models import ProjectFile, Session, SessionKind
from madang.grants import actions as grants
from madang.grants.models import Allocation, Grant
from madang.grants.queries import agreement_of
from madang.identity import actions as identity
from madang.identity.models import ApiToken, Invitation, Membership, Organization, Person, Role
from madang.identity.tests import make as people
from madang.jobs import actions as jobs
from madang.jobs import maintenance
from madang.jobs.models import Job, Maintenance
from madang.outcomes import actions as outcomes
from madang.outcomes.models import Outcome as OutcomeRow
from madang.planning.models import Plan
from madang.planning.tests import make as planning
from madang.programs import actions as programs
from madang.programs.models import Indicator, Program, Purse, ReferenceFigure, Source
from madang.programs.tests import make as program_make
from madang.workflow.moment import now

HOUR = 3600
TB_DAY = 24_000_000
FORM = [
    {"code": "goal", "type": "text", "label_ko": "목표", "label_en": "Goal", "required": True},
    {"code": "people", "type": "number", "label_ko": "인원", "label_en": "People", "least": 0, "most": 1000},
    {"code": "starts", "type": "day", "label_ko": "시작일", "label_en": "Start"},
    {
        "code": "stage",
        "type": "choice",
        "label_ko": "단계",
        "label_en": "Stage",
        "choices": [{"value": "early", "label_ko": "초기"}, {"value": "late", "label_ko": "후기"}],
    },
    {"code": "agreed", "type": "yes", "label_ko": "동의", "label_en": "Agreed"},
    {"code": "plan", "type": "file", "label_ko": "계획서", "label_en": "Plan", "identity": False},
]
CRITERIA = [
    {"code": "plan", "name_ko": "계획", "name_en": "Plan", "points": 60, "least": 0},
    {"code": "team", "name_ko": "인력", "name_en": "Team", "points": 40, "least": 0},
]


@dataclass
class Tenant:
    """A company, and one of each thing that a company has. `mark` is in all that is its own."""

    mark: str
    organization: Organization
    lead: Person
    member: Person
    membership: Membership
    program: Program
    officer: Person
    steward: Person
    auditor: Person
    reviewer: Person
    compute: Resource
    storage: Resource
    token: ApiToken
    secret: str
    invitation: Invitation
    invited_by: str
    call: Call  # announced: the grant is active
    offered_call: Call  # announced: the agreement waits
    open_call: Call  # open: the application is a draft
    judged_call: Call  # under evaluation: a review is assigned
    draft_call: Call  # not published
    application: Application
    draft: Application
    judged: Application
    reserve: Application
    grant: Grant
    offered: Grant
    allocation: Allocation
    stored: Allocation
    job: Job  # ended, with a log and a file
    waiting: Job  # accepted, not handed over
    swept: Job  # a sweep, not handed over
    kept: ProjectFile
    session: Session  # not handed over
    maintenance: Maintenance  # to come, of all of its cluster
    outcome: OutcomeRow
    assignment: Assignment
    indicator: Indicator
    source: Source
    purse: Purse
    figure: ReferenceFigure
    plan: Plan  # the site's, not the company's: simulated
    file: str = "result.txt"
    more_calls: list[Call] = field(default_factory=list)  # where there are many rows: with thirty-odd applications each

    @property
    def marks(self) -> list[str]:
        """What must be in no answer to anybody who may not see this company. Compared without regard to case."""
        return [self.mark, self.organization.business_number, self.organization.business_number_written]

    @property
    def document(self) -> Any:
        return self.application.documents.order_by("id")[0]

    @property
    def submission(self) -> Any:
        return self.application.submissions.order_by("id")[0]

    @property
    def evidence(self) -> Any:
        return self.outcome.evidence.order_by("id")[0]


@dataclass
class World:
    operator: Person
    stranger: Person
    reviewer: Person  # a reviewer of the whole site to whom nothing is assigned
    executive: Person
    auditor: Person  # of the whole site
    steward: Person  # of the whole site
    a: Tenant
    b: Tenant
    tokens: dict[str, str] = field(default_factory=dict)  # API tokens by who holds them


def build() -> World:
    """Through the verbs that the pages call, but for the one thing that only a clock does: closing a call."""
    operator = people.operator()
    people.organization(operator, kind="agency", name_ko="사업단", name_en="Agency")
    site = {role: people.staff(role) for role in (Role.REVIEWER, Role.EXECUTIVE, Role.AUDITOR, Role.STEWARD)}
    kind(operator)
    a, b = _tenant("amberfox", operator), _tenant("bluewhale", operator)
    world = World(
        operator,
        people.person("나그네"),
        site[Role.REVIEWER],
        site[Role.EXECUTIVE],
        site[Role.AUDITOR],
        site[Role.STEWARD],
        a,
        b,
    )
    for name, person in (("tenant", a.lead), ("officer", a.officer), ("operator", operator), ("other", b.lead)):
        world.tokens[name] = identity.make_token(person, name="tests", days=30)[1]
    return world


def _tenant(mark: str, operator: Person) -> Tenant:
    program = program_make.program(actor=operator, about_ko="소개", about_en="About")
    officer, auditor, reviewer = (
        people.staff(role, "program", program.pk) for role in (Role.OFFICER, Role.AUDITOR, Role.REVIEWER)
    )
    lent = _resources(operator)
    steward = people.staff(Role.STEWARD, "resource", lent[0].pk)
    source = program_make.source(actor=operator)
    indicator = program_make.indicator(program, actor=operator)
    today = localdate()
    purse = programs.add_purse(operator, program=program, funding="city", amount_krw=10**9, source=source)
    figure = programs.record_figure(
        operator,
        key=f"figure-{program.pk}",
        label_ko="보도된 수",
        label_en="Published",
        value="77",
        source=source,
        program=program,
    )
    programs.set_target(
        operator,
        indicator=indicator,
        starts_on=today - timedelta(days=30),
        ends_on=today + timedelta(days=300),
        value=3600,
        basis_ko="계획",
    )
    lead = people.person(f"{mark} 대표", f"lead.{mark}@example.kr")
    organization = people.organization(
        lead,
        name_ko=f"{mark} 주식회사",
        name_en=f"{mark} Inc.",
        representative=f"{mark} 사장",
        founded_on=today - timedelta(days=900),
    )
    member = people.person(f"{mark} 연구원", f"member.{mark}@example.kr")
    invitation, secret = identity.invite(lead, organization=organization, email=member.email, role="member")
    membership = identity.accept_invitation(member, secret=secret)
    invitation, invited_by = identity.invite(
        lead, organization=organization, email=f"guest.{mark}@example.kr", role="member"
    )
    token, secret = identity.make_token(member, name=f"{mark} token", days=30)

    def application(call: Call, submit: bool = True) -> Application:
        return apply(call, organization, lead, mark, submit=submit)

    first = notice(officer, program, lent)
    mine = application(first)
    decided(officer, first, {mine: "selected"}, reviewer, mark)
    (grant,) = grants.announce(officer, call=again(first))
    agreement = agreement_of(grant)
    grants.accept(lead, grant=grant, version=agreement.version, signed_as=f"{mark} 사장")
    second = notice(officer, program, lent)
    promised = application(second)
    decided(officer, second, {promised: "selected"}, reviewer, mark)
    (offered,) = grants.announce(officer, call=again(second))
    third = notice(officer, program, lent)
    other = notice(officer, program, lent)
    kept = application(other)
    decided(officer, other, {kept: "reserve"}, reviewer, mark)
    grants.announce(officer, call=again(other))
    judged_call = notice(officer, program, lent)
    judged = application(judged_call)
    evaluating(officer, judged_call, [judged])
    assignment = calls.assign(officer, application=again(judged), reviewer=reviewer)
    calls.save_scores(
        reviewer, assignment=again(assignment), scores={"plan": 40}, comment=f"{mark}: 아직 쓰는 중입니다."
    )
    compute_allocation = grant.allocations.select_related("resource", "grant").get(resource=lent[0])
    text = f"# {mark}\n".encode()
    shelved = compute.add_file(member, grant=grant, path=f"{mark}.py", content=io.BytesIO(text), size=len(text))
    job, waiting = (run(member, compute_allocation, mark) for _ in range(2))
    swept = run(member, compute_allocation, mark, parameters=f"lr,name\n0.1,{mark}\n0.2,{mark}\n")
    ended(job, mark)
    session = sit(member, compute_allocation)
    outcome = outcomes.report(
        lead,
        grant=again(grant),
        kind="hire",
        amount=3,
        occurred_on=today,
        title=f"{mark} 채용",
        text=f"{mark} 연구 인력",
        evidence=[SimpleUploadedFile(f"{mark}-고용.pdf", f"{mark} evidence".encode(), "application/pdf")],
    )
    outcomes.verify(officer, outcome=outcome, level="2_evidence", reason=f"{mark} 고용보험 자료와 같음")
    return Tenant(
        mark=mark,
        organization=organization,
        lead=lead,
        member=member,
        membership=membership,
        program=program,
        officer=officer,
        steward=steward,
        auditor=auditor,
        reviewer=reviewer,
        compute=lent[0],
        storage=lent[1],
        token=token,
        secret=secret,
        invitation=invitation,
        invited_by=invited_by,
        call=again(first),
        offered_call=again(second),
        open_call=third,
        judged_call=again(judged_call),
        draft_call=notice(officer, program, lent, publish=False),
        application=again(mine),
        draft=application(third, submit=False),
        judged=again(judged),
        reserve=again(kept),
        grant=again(grant),
        offered=again(offered),
        allocation=again(compute_allocation),
        kept=shelved,
        stored=grant.allocations.get(resource=lent[1]),
        job=again(job),
        waiting=again(waiting),
        swept=again(swept),
        session=again(session),
        maintenance=closed_for(operator, lent[0]),
        outcome=again(outcome),
        assignment=again(assignment),
        indicator=indicator,
        source=source,
        purse=purse,
        figure=figure,
        plan=planning.simulated(operator),
    )


def again(row: Any) -> Any:
    return type(row)._base_manager.get(pk=row.pk)


def _resources(operator: Person) -> list[Resource]:
    """A partition on a cluster of its own (a cluster that can't keep users apart serves one organization), a volume."""
    lent = catalog.resource("compute", actor=operator)
    catalog.rate(lent)
    cluster = compute.add_cluster(operator, code=f"cluster-{lent.pk}", name_ko="집적", name_en="Cluster")
    compute.add_partition(
        operator,
        resource=lent,
        cluster=cluster,
        name=f"partition-{lent.pk}",
        gpu_type=f"h100-{lent.pk}",
        gpus=16,
        most_gpus=8,
        longest_s=86_400,
        declared=True,
    )
    return [lent, catalog.resource("storage", actor=operator)]


def closed_for(operator: Person, lent: Resource, days: int = 30) -> Maintenance:
    """Two hours of maintenance in so many days."""
    start = now() + timedelta(days=days)
    engine = again(lent).partition.cluster.code
    until = start + timedelta(hours=2)
    return maintenance.announce(operator, engine=engine, starts_at=start, ends_at=until, reason="점검")


def notice(officer: Person, program: Program, lent: list[Resource], *, publish: bool = True, **facts: Any) -> Call:
    """A call that is open since yesterday."""
    today = localdate()
    made = calls.make_call(
        officer,
        **{
            "program": program,
            "code": f"call-{uuid4().hex[:8]}",
            "title_ko": "컴퓨팅 자원 지원 공고",
            "title_en": "Compute call",
            "text_ko": "컴퓨팅 자원을 지원합니다.",
            "text_en": "Compute is lent.",
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
    most = {"compute": 200 * HOUR, "storage": 10 * TB_DAY}
    calls.set_lines(
        officer, call=made, lines=[{"resource": r, "most": most[r.kind], "total": most[r.kind]} for r in lent]
    )
    calls.set_discounts(
        officer,
        call=made,
        discounts=[{"name_ko": "광주 소재", "name_en": "Gwangju", "percent": 50, "rule": "region", "value": "29"}],
    )
    calls.set_criteria(officer, call=made, criteria=CRITERIA)
    calls.set_rules(
        officer, call=made, rules=[{"kind": "region", "value": ["29"], "citation_ko": "제2조", "citation_en": "§ 2"}]
    )
    calls.set_form(officer, call=made, fields=FORM)
    return calls.publish(officer, call=made) if publish else made


def apply(call: Call, organization: Organization, lead: Person, mark: str, *, submit: bool = True) -> Application:
    application = calls.start_application(lead, call=call, organization=organization)
    asked = {"compute": 100 * HOUR, "storage": 2 * TB_DAY}
    calls.save_draft(
        lead,
        application=application,
        title=f"{mark} 과제",
        answers={"goal": f"{mark} 모델을 학습합니다.", "people": 3, "stage": "early", "agreed": True},
        lines={
            line.pk: {"amount": asked[line.resource.kind], "essential": True, "purpose": f"{mark} 학습"}
            for line in call.lines.select_related("resource")
        },
    )
    plan = SimpleUploadedFile(f"{mark}-계획.pdf", f"%PDF-1.7 {mark} plan".encode())
    calls.add_document(lead, application=application, code="plan", file=plan)
    if submit:
        calls.submit(lead, application=application)
    return again(application)


def evaluating(officer: Person, call: Call, applications: list[Application]) -> None:
    Call.objects.filter(pk=call.pk).update(closes_at=now() - timedelta(minutes=1))
    for application in applications:
        calls.find_eligible(officer, application=again(application))
    calls.start_evaluation(officer, call=again(call))


def decided(
    officer: Person, call: Call, results: dict[Application, str], reviewer: Person, mark: str, award: int | None = None
) -> None:
    evaluating(officer, call, list(results))
    for application, result in results.items():
        assignment = calls.assign(officer, application=again(application), reviewer=reviewer)
        calls.score(
            reviewer, assignment=assignment, scores={"plan": 50, "team": 30}, comment=f"{mark}: 좋은 계획입니다."
        )
        calls.decide(officer, application=again(application), outcome=result, reason=f"{mark} 평가 결과에 따릅니다.")


def run(actor: Person, allocation: Allocation, mark: str, parameters: str = "") -> Job:
    return compute.submit(
        actor,
        uuid=uuid4(),
        allocation=allocation,
        name=f"{mark} 학습",
        script=f"#!/bin/sh\necho {mark}\n",
        arguments=[f"--name={mark}"],
        gpus=1,
        limit_s=600,
        parameters=parameters,
    )


def kind(operator: Person) -> SessionKind:
    """What both companies may start, for eight hours at most."""
    command, name = "/opt/jupyter/bin/jupyter-lab", "JupyterLab"
    facts = {"code": "jupyterlab", "name_ko": name, "name_en": name, "program": "jupyterlab", "command": command}
    return sessions.add_kind(operator, **facts, most_gpus=2, longest_s=8 * HOUR, idle_s=1800)


def sit(actor: Person, allocation: Allocation) -> Session:
    return sessions.start(
        actor, uuid=uuid4(), kind=sessions.kinds()[0], allocation=again(allocation), gpus=1, limit_s=600
    )


def ended(job: Job, mark: str) -> None:
    """The run is over, as its engine would report it, and left a log and a file."""
    moment = now()
    jobs.record_usage(
        job.engine,
        [
            UsageRow(
                key=RunKey(job.uuid),
                outcome=Outcome.COMPLETED,
                account="none",
                budget="none",
                machine=job.engine,
                gpu_type=job.gpu_type,
                gpus=job.gpus,
                declared=True,
                submitted_at=job.submitted_at,
                started_at=moment - timedelta(seconds=90),
                ended_at=moment,
                gpu_seconds=90,
                exit_code=0,
            )
        ],
    )
    folder = Path(settings.RUNS_ROOT) / job.engine / str(job.uuid) / "0" / "1"
    (folder / "work").mkdir(parents=True)
    (folder / "out.log").write_text(f"{mark} accuracy 0.97\n")
    (folder / "work" / "result.txt").write_text(f"{mark} result\n")


def zip_of_zips() -> bytes:
    """A small archive of archives: whoever unpacks what is handed in finds out."""
    content = b"0" * 1000
    for depth in range(5):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for n in range(4):
                archive.writestr(f"{depth}-{n}.zip" if depth else f"{n}.txt", content)
        content = buffer.getvalue()
    return content


def enlarge(world: World, rows: int = 32) -> World:
    """Thirty-odd of everything that a page lists. Returns the same world, with the calls that were added."""
    a, operator = world.a, world.operator
    for n in range(rows):
        people.staff(Role.REVIEWER, "program", a.program.pk)
        program_make.source(actor=operator)
        program_make.indicator(a.program, actor=operator)
        closed_for(operator, a.compute, days=31 + n)
        identity.make_token(a.lead, name=f"token {n}", days=10)
        if n < 8:  # an organization has no more of them waiting than 20
            identity.invite(a.lead, organization=a.organization, email=f"guest{n}@example.kr", role="member")
    for call in (a.draft_call,):
        calls.set_criteria(
            a.officer,
            call=call,
            criteria=[
                {"code": f"c{n}", "name_ko": f"기준 {n}", "name_en": f"Criterion {n}", "points": 100 // 20, "least": 0}
                for n in range(20)
            ],
        )
    more = _more_of(world, rows)
    return replace(world, a=replace(world.a, more_calls=more))


def _more_of(world: World, rows: int) -> list[Call]:
    a, operator = world.a, world.operator
    lent = [a.compute, a.storage]
    evaluated, screened = notice(a.officer, a.program, lent, **PLENTY), notice(a.officer, a.program, lent, **PLENTY)
    announced = notice(a.officer, a.program, lent, **PLENTY)
    many: dict[str, list[Application]] = {"evaluated": [], "screened": [], "announced": []}
    for n in range(rows):
        lead = people.person(f"대표 {n}", f"lead{n}@example.kr")
        company = people.organization(lead, name_ko=f"기업 {n}", name_en=f"Company {n}")
        for name, call in (("evaluated", evaluated), ("screened", screened), ("announced", announced)):
            many[name].append(apply(call, company, lead, f"기업{n}"))
        people.member(a.organization)
        identity.register_organization(
            a.lead,
            name_ko=f"자회사 {n}",
            name_en=f"Subsidiary {n}",
            kind="sme",
            business_number=people.business_number(),
            region="29",
        )
        catalog.resource("instrument", actor=operator, sector="energy")
        program_make.program(actor=operator)
        run(a.member, again(a.allocation), f"작업 {n}")
        sit(a.member, a.allocation)
        outcomes.report(
            a.lead,
            grant=a.grant,
            kind="product",
            amount=1,
            occurred_on=localdate(),
            title=f"제품 {n}",
            evidence=[SimpleUploadedFile(f"{m}.pdf", f"{n}-{m}".encode()) for m in range(3)],
        )
    evaluating(a.officer, evaluated, many["evaluated"])
    for application in many["evaluated"]:
        assignment = calls.assign(a.officer, application=again(application), reviewer=a.reviewer)
        calls.score(a.reviewer, assignment=assignment, scores={"plan": 50, "team": 30}, comment="좋습니다.")
        some = {line.pk: HOUR for line in application.lines.all()}
        calls.decide(a.officer, application=again(application), outcome="selected", amounts=some, reason="좋습니다.")
    Call.objects.filter(pk=screened.pk).update(closes_at=now() - timedelta(minutes=1))
    decided(a.officer, announced, dict.fromkeys(many["announced"], "reserve"), a.reviewer, "여럿")
    grants.announce(a.officer, call=again(announced))
    _many_grants(a, rows)
    return [again(evaluated), again(screened), again(announced)]


PLENTY: dict[str, Any] = {"budget_krw": 10**14}


def _many_grants(a: Tenant, rows: int) -> None:
    """Calls, applications and grants of one company, as rows: through the verbs they would take half a minute."""
    copy: Callable[[Any], Any] = _copied
    for _n in range(rows):
        call = copy(a.call)(code=f"call-{uuid4().hex[:8]}")
        application = copy(a.application)(call=call)
        number = f"{a.grant.number}-{call.pk}"
        grant = copy(a.grant)(application=application, number=number)
        agreement = a.grant.agreements.get()
        copy(agreement)(grant=grant)
        line = copy(a.call.lines.all()[0])(call=call)
        asked = copy(a.application.lines.all()[0])(application=application, call_line=line)
        copy(a.allocation)(grant=grant, line=asked, account=None, state="promised")
        open_call = copy(a.open_call)(code=f"call-{uuid4().hex[:8]}")
        copy(a.draft)(call=open_call)


def _copied(row: Any) -> Callable[..., Any]:
    def make(**changed: Any) -> Any:
        new = again(row)
        new.pk, new._state.adding = None, True
        for name, value in changed.items():
            setattr(new, name, value)
        new.save()
        return new

    return make
