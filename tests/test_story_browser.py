"""The story in a real browser: eight steps, each through its own page, by the people whose step it is.

One site lives through the whole file, on a database of its own; a step is skipped when an earlier one failed. Every
page that the story comes by is looked at in Korean and English, wide and on a phone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Sum
from django.utils.timezone import localdate, localtime
from playwright.sync_api import expect
from pytest_django.live_server_helper import LiveServer

from madang.calls.models import Application, ApplicationState, Call
from madang.catalog.models import Resource
from madang.demo import cast, reference
from madang.engines.local import Sandbox
from madang.facilities.compute.host import SHIPPED
from madang.grants.models import Allocation, Grant
from madang.identity.business_number import check_digit
from madang.identity.models import Organization, Person
from madang.jobs.models import Job
from madang.ledger import queries as ledger
from madang.outcomes.models import Outcome
from madang.web.tests.browser import browser_context_args, browser_type_launch_args  # noqa: F401
from madang.web.tests.worker import work
from madang.workflow.moment import now
from tests.story.desk import PASSWORD, Desk, said
from tests.story.looks import Looks
from tests.story.site import Site, address_in, code_in, engine_at_work, letter, pictures, sql

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

HOUR = 3600
CODE = "compute-2026-1"
COMPANY, ENGLISH, NUMBER = "빛고을로보틱스", "Bitgoeul Robotics", "312860001" + check_digit("312860001")
LATE = "무등바이오"
PROJECT = "제조 현장의 불량을 찾는 시각 모델 학습"
LEAD, MEMBER, TARDY = "lead@bitgoeul.example", "researcher@bitgoeul.example", "lead@mudeung.example"
STAFF = {key: email for key, (_name, email, _role) in cast.PEOPLE.items()}
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n"


@pytest.fixture(scope="module")
def site(copies: Any, django_db_blocker: Any, browser: Any) -> Iterator[Site]:
    name = f"{copies.plain}_story"
    with django_db_blocker.unblock():
        copies.make(name, copies.plain)
        try:
            with copies.using(name):
                server = LiveServer("localhost")
                site = Site(server.url, browser, Looks(pictures()))
                try:
                    yield site
                finally:
                    site.close()
                    server.stop()
        finally:
            copies.drop(name)


def paper(name: str) -> dict[str, Any]:
    return {"name": name, "mimeType": "application/pdf", "buffer": PDF}


def at(moment: Any) -> str:
    """As a field for date and time takes it."""
    return localtime(moment).strftime("%Y-%m-%dT%H:%M")


def test_0_an_empty_site_asks_for_its_first_operator(site: Site) -> None:
    with site.step(0):
        stranger = site.desk("stranger")
        stranger.go("/setup/")
        stranger.look("setup", picture="setup")
        people = reference.build(lambda _: None)
        for person in people.values():
            person.set_password(PASSWORD)
            person.save(update_fields=["password"])
        stranger.go("/")
        stranger.look("home")
        stranger.follow(said("Log in"), within="header")
        stranger.look("login")


def test_1_an_officer_writes_a_call_sees_what_is_missing_and_publishes_it(site: Site) -> None:
    with site.step(1):
        officer = site.desk("officer")
        officer.log_in(STAFF["officer"])
        officer.look("officer's page, nothing waits")
        officer.follow(said("Write a call"), within="#content")
        officer.look("new call")
        write_basics(officer)
        write_lines(officer)
        write_discounts(officer)
        write_form(officer)
        write_criteria(officer)
        write_rules(officer)
        officer.look("call ready to publish")
        officer.reads(said("Ready to publish"))
        officer.confirm(said("Publish"))
        assert officer.path == f"/calls/{CODE}/manage/"
        officer.reads(said("The call is published. Everybody can read it now."))
        officer.look("call managed, open")
        officer.go("/calls/managed/")
        officer.look("managed calls")
        stranger = site.desk("stranger")
        stranger.go("/")
        stranger.look("home with an open call", picture="home")


def write_basics(officer: Desk) -> None:
    moment, today = now(), localdate()
    officer.press(said("Save and go on"))
    officer.looks.here(officer.page, "new call, refused")
    expect(officer.page.locator(".error-summary")).to_be_focused()
    officer.fill(
        program=str(sql("SELECT id FROM programs_program WHERE code = %s", "compute-2025")),
        code=CODE,
        title_ko="2026년 인공지능 컴퓨팅 자원 지원 공고",
        title_en="AI computing support call 2026",
        text_ko="국가AI데이터센터의 GPU와 저장공간을 인공지능 제품과 서비스를 개발하는 기업에 지원합니다.\n\n"
        "선정된 과제는 협약을 맺은 날부터 바로 사용할 수 있으며, 이용료는 아래의 감면을 적용합니다.",
        text_en="GPUs and storage of the national AI data center are lent to companies that develop AI products and "
        "services.\n\nA project that is selected can use them from the day of its agreement, at the discounts below.",
        opens_at=at(moment - timedelta(hours=1)),
        closes_at=at(moment + timedelta(days=14)),
        announces_at=at(moment + timedelta(days=28)),
        use_from=today.isoformat(),
        use_until=(today + timedelta(days=99)).isoformat(),
        budget_krw="2000000000",
        most_awards="50",
    )
    officer.press(said("Save and go on"))
    assert officer.path == f"/calls/{CODE}/manage/edit/lines/"


def add(officer: Desk, button: str) -> int:
    """Add a row by its button; the place of the new row."""
    rows = officer.page.locator("#rows > fieldset.card")
    before = rows.count()
    officer.press(button, stay=True)
    expect(rows).to_have_count(before + 1)
    return before


def write_lines(officer: Desk) -> None:
    officer.look("lines, empty")
    for code, most, total in (("h100", "2000", "20000"), ("project-storage", "10", "500")):
        resource = Resource.objects.get(code=code)
        officer.page.locator("#add-kind").select_option(str(resource.pk))
        row = add(officer, said("Add this line"))
        officer.fill(**{f"r{row}__most": most, f"r{row}__total": total})
    officer.press(said("Save"))
    officer.look("lines on offer")
    officer.follow(said("Check and publish"), within="#content .tabs")
    officer.reads(said("This has to be there before the call can be published"))
    missing = officer.page.locator("#content .alert li").all_inner_texts()
    assert missing == [
        said("The points of all criteria make 100. Now they make %(points)s.", points=0),
        said("The form needs at least one question."),
    ]
    officer.look("call that lacks something")
    officer.go(f"/calls/{CODE}/manage/edit/discounts/")


def write_discounts(officer: Desk) -> None:
    from madang.calls.models import DiscountRule

    row = add(officer, said_choice(DiscountRule.REGION))
    officer.fill(**{f"r{row}__name_ko": "광주 소재 기업", f"r{row}__name_en": "Company in Gwangju"})
    officer.fill(**{f"r{row}__value": "29", f"r{row}__percent": "50"})
    row = add(officer, said_choice(DiscountRule.YOUTH))
    officer.fill(
        **{f"r{row}__name_ko": "청년 창업기업", f"r{row}__name_en": "Youth start-up", f"r{row}__percent": "50"}
    )
    officer.press(said("Save"))
    officer.look("discounts")
    officer.press(said("Save and go on"))
    assert officer.path.endswith("/edit/form/")


def said_choice(choice: Any) -> str:
    from django.utils.translation import override

    with override("ko"):
        return str(choice.label)


def write_form(officer: Desk) -> None:
    row = add(officer, said("Several lines of text"))
    officer.fill(
        **{
            f"r{row}__label_ko": "무엇을 개발합니까?",
            f"r{row}__label_en": "What do you develop?",
            f"r{row}__required": True,
        }
    )
    row = add(officer, said("Yes or no"))
    officer.fill(
        **{
            f"r{row}__label_ko": "개인정보를 학습에 사용합니까?",
            f"r{row}__label_en": "Do you train on personal data?",
            f"r{row}__code": "personal",
        }
    )
    row = add(officer, said("One line of text"))
    officer.fill(
        **{
            f"r{row}__label_ko": "개인정보를 어떻게 비식별 처리합니까?",
            f"r{row}__label_en": "How are people made unrecognizable?",
            f"r{row}__code": "masking",
            f"r{row}__required": True,
            f"r{row}__depends_on": "personal",
            f"r{row}__depends_in": "yes",
        }
    )
    row = add(officer, said("Document (file)"))
    officer.fill(
        **{
            f"r{row}__label_ko": "사업계획서",
            f"r{row}__label_en": "Project plan",
            f"r{row}__code": "plan",
            f"r{row}__required": True,
        }
    )
    officer.press(said("Save"))
    officer.look("form of the call")
    officer.press(said("Save and go on"))
    assert officer.path.endswith("/edit/criteria/")


def write_criteria(officer: Desk) -> None:
    for ko, en, points, least in (
        ("필요성", "Need", "40", "20"),
        ("기술력", "Technology", "30", "0"),
        ("사업성", "Market", "30", "0"),
    ):
        row = add(officer, said("Criterion"))
        officer.fill(
            **{f"r{row}__name_ko": ko, f"r{row}__name_en": en, f"r{row}__points": points, f"r{row}__least": least}
        )
    expect(officer.page.locator("#sum")).to_contain_text("100")
    officer.press(said("Save"))
    officer.look("criteria")
    officer.press(said("Save and go on"))
    assert officer.path.endswith("/edit/rules/")


def write_rules(officer: Desk) -> None:
    from madang.calls.models import RuleKind

    for kind, value, ko, en in (
        (RuleKind.ORGANIZATION_KIND, ["sme", "startup"], "제3조 1항: 중소기업과 창업기업", "Art. 3-1: small companies"),
        (RuleKind.FOUNDED_WITHIN, "7", "제3조 2항: 설립 7년 이내", "Art. 3-2: founded within 7 years"),
        (RuleKind.NO_DOUBLE_FUNDING, None, "제5조: 중복지원 제한", "Art. 5: no double support"),
    ):
        row = add(officer, said_choice(kind))
        officer.fill(**{f"r{row}__citation_ko": ko, f"r{row}__citation_en": en})
        if value is not None:
            known = {v for v in value if v in officer.text()} if isinstance(value, list) else value
            officer.fill(**{f"r{row}__value": sorted(known) if isinstance(known, set) else known})
    officer.press(said("Save"))
    officer.look("eligibility rules")
    officer.press(said("Save and go on"))
    assert officer.path.endswith("/manage/preview/")


def test_2_a_company_applies_and_one_second_after_the_deadline_another_is_refused(site: Site) -> None:
    with site.step(2):
        lead = site.desk("lead")
        find_call(lead)
        sign_up(lead, LEAD, "한빛나")
        register(lead)
        draft(lead)
        hand_in(lead)
        tardy = site.desk("tardy")
        tardy.go("/accounts/signup/")
        sign_up(tardy, TARDY, "오늦음")
        register_another(tardy)
        too_late(tardy)


def find_call(lead: Desk) -> None:
    lead.go("/")
    lead.menu("/calls/")
    lead.look("calls")
    lead.follow("2026년 인공지능 컴퓨팅 자원 지원 공고")
    assert lead.path == f"/calls/{CODE}/"
    lead.look("call", picture="call")
    lead.menu("/catalog/")
    lead.look("catalog", picture="catalog")
    lead.follow("H100 파티션")
    lead.look("resource")
    lead.menu("/programs/")
    lead.look("programs")
    lead.follow(said("Sign up"), within="header")
    lead.look("sign-up")


def sign_up(desk: Desk, email: str, name: str) -> None:
    """At the page for it: a name, an address, a password; then the code that the letter brings."""
    desk.fill(email=email, password1=PASSWORD, name=name)
    desk.press(said("Sign up"))
    desk.look("code from the letter")
    desk.fill(code=code_in(letter(email)))
    with desk.page.expect_navigation():
        desk.page.keyboard.press("Enter")


def register(lead: Desk) -> None:
    assert lead.path == "/my/"
    lead.look("my page without an organization")
    lead.follow(said("Register an organization"), within="#content")
    lead.look("register an organization")
    wrong = NUMBER[:-1] + str((int(NUMBER[-1]) + 1) % 10)
    lead.fill(name_ko=COMPANY, name_en=ENGLISH, kind="sme", region="29", representative="한빛나", business_number=wrong)
    lead.press(said("Register"))
    hint = said("Ten digits, with or without dashes, such as 220-81-62517.")
    refusal = said("This is no valid business registration number. Check the digits.")
    field = lead.page.locator("[name=business_number]")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(f"{hint} {refusal}")
    lead.looks.here(lead.page, "a wrong business number")
    assert not Organization.objects.filter(name_ko=COMPANY).exists()
    lead.fill(business_number=f"{NUMBER[:3]}-{NUMBER[3:5]}-{NUMBER[5:]}")
    lead.press(said("Register"))
    assert Organization.objects.get(name_ko=COMPANY).business_number == NUMBER
    lead.look("organization")


def draft(lead: Desk) -> None:
    lead.go(f"/calls/{CODE}/")
    lead.look("call, to apply")
    lead.follow(said("Apply"), within="#content")
    lead.look("begin an application")
    lead.press(said("Begin for %(name)s", name=COMPANY))
    fill_application(lead, "2000", "10")
    lead.press(said("Save draft"))
    lead.reads(said("The draft is saved. It isn't submitted yet."))
    lead.page.reload()
    assert lead.page.locator("#id_title").input_value() == PROJECT
    lead.looks.here(lead.page, "draft with its condition")
    lead.look("application form", picture="apply")
    lead.go("/applications/")
    lead.look("my applications")
    lead.page.go_back()


def fill_application(desk: Desk, hours: str, terabytes: str) -> None:
    """All that the form asks; the question that depends on another appears while one writes."""
    lines = {line.resource.code: line.pk for line in Call.objects.get(code=CODE).lines.select_related("resource")}
    for code, amount, what in (("h100", hours, "모델 학습"), ("project-storage", terabytes, "학습 자료 보관")):
        desk.fill(**{f"line__{lines[code]}__amount": amount, f"line__{lines[code]}__purpose": what})
    desk.fill(title=PROJECT, q__q1="공정 사진에서 불량을 찾는 모델을 만들어 검사 시간을 절반으로 줄입니다.")
    hidden = desk.page.locator("[name=q-masking]")
    expect(hidden).to_have_count(0)
    desk.fill(q__personal="yes")
    expect(hidden).to_have_count(1)
    desk.fill(q__masking="얼굴과 이름표를 지운 뒤 저장합니다.")
    desk.fill(q__plan=paper(f"{COMPANY}_사업계획서.pdf"))


def hand_in(lead: Desk) -> None:
    lead.press(said("Check and go on to submit"))
    lead.look("application, to submit")
    lead.press(said("Submit"))
    lead.looks.here(lead.page, "submission without confirmation")
    lead.reads(said("Please confirm this before you submit."))
    lead.fill(sure=True)
    lead.press(said("Submit"))
    application = Application.objects.get(organization__name_ko=COMPANY)
    assert application.state == ApplicationState.SUBMITTED
    lead.reads(application.receipt_number)
    lead.reads(said("unchanged since then"))
    lead.look("receipt", picture="receipt")


def register_another(tardy: Desk) -> None:
    tardy.go("/organization/new/")
    number = "410870002" + check_digit("410870002")
    tardy.fill(name_ko=LATE, kind="sme", region="29", business_number=number, founded_on="2024-03-02")
    tardy.press(said("Register"))


def too_late(tardy: Desk) -> None:
    """Everything is ready, and the deadline comes while the last button waits to be pressed."""
    tardy.go(f"/calls/{CODE}/apply/")
    tardy.press(said("Begin for %(name)s", name=LATE))
    fill_application(tardy, "100", "1")
    tardy.press(said("Check and go on to submit"))
    tardy.fill(sure=True)
    sql(
        "UPDATE calls_call SET closes_at = date_trunc('second', clock_timestamp()) + interval '2 s' WHERE code = %s",
        CODE,
    )
    deadline = Call.objects.get(code=CODE).closes_at
    while now() < deadline + timedelta(seconds=1):
        time.sleep(0.1)
    tardy.press(said("Submit"))
    tardy.looks.here(tardy.page, "submission after the deadline")
    tardy.reads(said("This draft can not be submitted"))
    tardy.reads(f"{localtime(deadline):%Y-%m-%d %H:%M:%S}")
    assert Application.objects.get(organization__name_ko=LATE).state == ApplicationState.DRAFT
    tardy.go(f"/calls/{CODE}/")
    tardy.look("call, closed")
    tardy.go("/applications/")
    tardy.follow(PROJECT)
    tardy.reads(said("This draft can not be submitted"))
    tardy.look("draft after the deadline")


def test_3_the_officer_screens_and_two_reviewers_score_without_knowing_who_applies(site: Site) -> None:
    with site.step(3):
        officer = site.desk("officer")
        screen(officer)
        assign(officer)
        review(site, "reviewer-1", (35, 26, 24), "공정 사진의 출처와 규모가 분명합니다.", first=True)
        review(site, "reviewer-2", (30, 28, 22), "검사 시간을 줄이는 효과가 큽니다.", first=False)
        officer.go(f"/calls/{CODE}/manage/assignment/")
        officer.look("reviews are in")


def screen(officer: Desk) -> None:
    officer.go("/my/")
    officer.look("officer's page, something waits")
    officer.follow(said("Check eligibility"), within="#content")
    officer.go(f"/calls/{CODE}/manage/")
    officer.look("call managed, closed")
    officer.follow(said("Check eligibility"), within="#content")
    officer.look("applications of the call")
    assert LATE not in officer.text()
    officer.follow(PROJECT)
    officer.look("screening", picture="screening")
    badges = officer.page.locator("section[aria-labelledby=rules] .badge").all_inner_texts()
    assert badges == [said("met"), said("not known"), said("met")]
    cards = officer.page.locator(
        "section[aria-labelledby=rules] > section.card, section[aria-labelledby=rules] > .card"
    )
    rule = cards.nth(1)
    rule.locator("summary").click()
    rule.get_by_role("radio", name=said("met"), exact=True).check()
    rule.get_by_role("textbox").fill("사업자등록증으로 2023년 5월 설립을 확인했습니다.")
    with officer.page.expect_navigation():
        rule.get_by_role("button", name=said("Keep this answer")).click()
    officer.reads("사업자등록증으로 2023년 5월 설립을 확인했습니다.")
    officer.confirm(said("Find eligible"), discounts_confirmed="yes", reason="")
    officer.reads(said("The application is found eligible."))
    officer.look("screened")


def assign(officer: Desk) -> None:
    officer.go(f"/calls/{CODE}/manage/")
    officer.confirm(said("Begin the evaluation"))
    officer.go(f"/calls/{CODE}/manage/assignment/")
    officer.look("reviewers to assign")
    officer.press(said("Assign all"))
    for key in ("reviewer-1", "reviewer-2"):
        officer.reads(cast.PEOPLE[key][0])
    officer.look("reviewers assigned")


def review(site: Site, who: str, points: tuple[int, int, int], comment: str, *, first: bool) -> None:
    reviewer = site.desk(who)
    reviewer.log_in(STAFF[who])
    blind(reviewer)
    reviewer.look("reviewer's page")
    reviewer.menu("/reviews/")
    blind(reviewer)
    reviewer.look("reviews")
    reviewer.follow(PROJECT)
    blind(reviewer)
    reviewer.look("review", picture="review")
    fields = reviewer.page.locator("#score-form input[type=number]")
    fields.first.focus()
    for n, value in enumerate(points):
        expect(fields.nth(n)).to_be_focused()
        reviewer.page.keyboard.type(str(value))
        reviewer.page.keyboard.press("Tab")
    expect(reviewer.page.locator("#score-form")).to_contain_text(str(sum(points)))
    if first:
        reviewer.press(said("Submit the review"))
        reviewer.looks.here(reviewer.page, "review without a comment")
        blind(reviewer)
    reviewer.fill(comment=comment)
    reviewer.press(said("Submit the review"))
    assert reviewer.path == "/reviews/"
    blind(reviewer)
    reviewer.look("reviews, submitted")
    reviewer.follow(PROJECT)
    blind(reviewer)


def blind(reviewer: Desk) -> None:
    """Nowhere on the page, not in what isn't shown either, and not in the name of a file."""
    text = reviewer.text()
    dashed = f"{NUMBER[:3]}-{NUMBER[3:5]}-{NUMBER[5:]}"
    assert [word for word in (COMPANY, ENGLISH, NUMBER, dashed, "한빛나", LEAD) if word in text] == []


def test_4_the_officer_decides_with_less_of_one_line_and_announces(site: Site) -> None:
    with site.step(4):
        officer = site.desk("officer")
        officer.go("/my/")
        officer.go(f"/calls/{CODE}/manage/decisions/")
        officer.look("ranking")
        officer.follow(PROJECT)
        officer.look("decision", picture="decide", part="#proposal")
        application = Application.objects.get(organization__name_ko=COMPANY)
        line = application.lines.get(call_line__resource__code="h100")
        reason = "평가 결과에 따라 선정하되, 학습 규모를 고려하여 GPU 시간을 줄여 배정합니다."
        officer.fill(outcome="selected", reason=reason, **{f"line__{line.pk}": "99999"})
        officer.press(said("Save the proposal"))
        officer.looks.here(officer.page, "more awarded than asked")
        expect(officer.page.locator(f"[name=line-{line.pk}]")).to_have_attribute("aria-invalid", "true")
        officer.fill(**{f"line__{line.pk}": "1200"})
        officer.press(said("Save the proposal"))
        officer.look("decided")
        officer.go(f"/grants/announce/{CODE}/")
        officer.look("to announce")
        officer.press(said("Announce the results"))
        officer.look("announced")
        work()
        assert Application.objects.get(pk=application.pk).state == ApplicationState.SELECTED
        grant = Grant.objects.get(application=application)
        assert grant.number in letter(LEAD)
        assert sum(row.amount for row in grant.allocations.filter(resource__code="h100")) == 1200 * HOUR
        officer.go(f"/applications/{application.pk}/screening/")
        officer.look("application after the announcement")
        officer.go("/grants/")
        officer.look("grants of the officer")


def test_5_the_company_accepts_the_agreement_and_its_allocations_open(site: Site) -> None:
    with site.step(5):
        lead = site.desk("lead")
        grant = Grant.objects.get()
        lead.go("/my/")
        lead.look("my page with an agreement")
        lead.follow(said("Read the agreement"), within="#content")
        lead.look("agreement", picture="agreement", part=".table-block")
        total = grant.allocations.aggregate(listed=Sum("list_krw"), reduction=Sum("reduction_krw"))
        assert total["listed"] == 2 * total["reduction"] > 0
        foot = lead.page.locator("#content table tfoot td").all_inner_texts()
        listed, half = f"{total['listed']:,}", f"{total['reduction']:,}"
        assert [re.sub(r"[^\d,]", "", cell) for cell in foot] == [listed, half, half]
        lead.press(said("Accept the agreement"))
        lead.looks.here(lead.page, "agreement without a signature")
        lead.fill(signed_as="한빛나 대표이사", read=True)
        lead.press(said("Accept the agreement"))
        lead.look("grant", picture="grant")
        for row in Allocation.objects.filter(grant=grant):
            balance = ledger.balances([row.account])[row.account]
            assert (row.state, balance.available, balance.held) == ("open", row.amount, 0)
        lead.go(f"/grants/{grant.number}/history/")
        lead.look("history of the grant")
        application = Application.objects.get(organization__name_ko=COMPANY)
        lead.go(f"/applications/{application.pk}/")
        lead.look("result")
        lead.go("/grants/")
        lead.look("grants of the company")


def test_6_a_member_runs_a_real_training_job_and_what_it_did_not_use_is_back(site: Site) -> None:
    pytest.importorskip("sklearn", reason="the job trains with scikit-learn, which the extra `demo` brings")
    if reason := Sandbox().probe:
        pytest.skip(f"jobs of other people run in a sandbox only: {reason}")
    with site.step(6):
        member = site.desk("member")
        join(site.desk("lead"), member)
        grant = Grant.objects.get()
        allocation = grant.allocations.get(resource__code="h100")
        job = submit(member, allocation)
        with engine_at_work():
            work()
            watch(member, job)
        settled(member, job, allocation)


def join(lead: Desk, member: Desk) -> None:
    """By invitation: the letter, a new account, the link once more."""
    organization = Organization.objects.get(name_ko=COMPANY)
    lead.go(f"/organization/{organization.pk}/")
    lead.fill(email=MEMBER, role="member")
    lead.press(said("Send the invitation"))
    lead.look("organization with an invitation")
    link = address_in(letter(MEMBER))
    member.go(link)
    member.look("invitation")
    member.follow(said("Sign up"), within="#content")
    sign_up(member, MEMBER, "정연구")
    member.go(link)
    member.press(said("Accept the invitation"))
    assert organization.memberships.filter(person__email=MEMBER, until=None).count() == 1


def submit(member: Desk, allocation: Allocation) -> Job:
    member.go("/my/")
    member.follow(said("Submit a job"), within="#content")
    member.look("new job", picture="job-new")
    held = member.page.locator("#choices .description")
    member.fill(gpus="2", limit_s="30")
    member.page.locator("[name=name]").focus()
    expect(held).to_contain_text(said("Held at most"))
    expect(held.locator("dd").nth(1)).to_have_text("1 GPU-시간")  # after the partition
    member.press(said("Submit a job"))
    member.looks.here(member.page, "job without a script")
    member.fill(gpus="1", limit_s="10", name="불량 판별 모델 학습", arguments="--rounds 2", file=str(SHIPPED))
    member.press(said("Submit a job"))
    job = Job.objects.get()
    assert member.path == f"/compute/jobs/{job.uuid}/"
    balance = ledger.balances([allocation.account])[allocation.account]
    assert (job.held, balance.held) == (600, 600)
    member.look("job that waits")
    return job


def watch(member: Desk, job: Job) -> None:
    """Without loading the page again: the log grows, the state changes, the files appear."""
    log = member.page.locator("#log")
    expect(log).to_contain_text("loading scikit-learn", timeout=60_000)
    expect(log).to_contain_text("wrote model.pkl", timeout=90_000)
    expect(member.page.locator("#job-facts")).to_contain_text(said("Ended at"), timeout=30_000)
    expect(member.page.locator("#job-files tbody tr")).to_have_count(3)
    expect(member.page.locator("#efficiency")).to_be_visible()
    for gone in ("Cancel the job", "Nothing written yet. Without JavaScript, load the page again to see more."):
        expect(member.page.get_by_text(said(gone))).to_have_count(0)
    with member.page.expect_download() as coming:
        member.page.get_by_role("link", name="metrics.json").click()
    assert '"accuracy"' in Path(coming.value.path()).read_text()
    member.look("job", picture="job", part="#job-facts")


def settled(member: Desk, job: Job, allocation: Allocation) -> None:
    from madang.web.amounts import written

    job.refresh_from_db()
    balance = ledger.balances([allocation.account])[allocation.account]
    assert (job.outcome, job.held, balance.held) == ("completed", 0, 0)
    assert 0 < job.used < 600
    assert (balance.available, balance.debited) == (allocation.amount - job.used, job.used)
    assert ledger.check() == []
    from django.utils.translation import override

    with override("ko"):
        used, left = written(job.used, "gpu_second"), written(balance.available, "gpu_second")
        outcome = job.get_outcome_display()
    facts = member.page.locator("#job-facts")
    expect(facts).to_contain_text(outcome)
    expect(facts).to_contain_text(used)
    number = allocation.grant.number
    member.go(f"/grants/{number}/allocations/{allocation.pk}/")
    member.look("statement")
    member.reads(left)
    member.go(f"/grants/{number}/")
    member.reads(left)
    member.look("grant in use")
    member.go("/compute/jobs/")
    member.look("jobs")
    member.go("/compute/")
    member.look("partitions")
    member.go("/compute/partitions/h100/")
    member.look("partition")
    member.go("/my/")
    member.look("my page", picture="my")


def test_7_the_company_reports_a_hire_with_evidence_and_the_officer_verifies_it(site: Site) -> None:
    with site.step(7, after=5):
        lead = site.desk("lead")
        grant = Grant.objects.get()
        lead.go("/my/")
        lead.follow(said("Report an outcome"), within="#content")
        lead.look("report an outcome")
        lead.press(said("Report"))
        lead.looks.here(lead.page, "report that lacks everything")
        lead.fill(
            kind="hire",
            title="시각 모델 연구원 2명 채용",
            amount="2",
            occurred_on=localdate().isoformat(),
            text="지원받은 GPU로 학습한 모델을 제품에 넣기 위해 연구원 2명을 새로 채용했습니다.",
            evidence=paper("고용보험_가입확인서.pdf"),
        )
        lead.press(said("Report"))
        outcome = Outcome.objects.get(grant=grant)
        lead.reads("고용보험_가입확인서.pdf")
        lead.look("outcome reported")
        officer = site.desk("officer")
        officer.go("/outcomes/queue/")
        officer.look("outcomes to verify")
        officer.follow(outcome.title)
        officer.look("outcome", picture="outcome")
        with officer.page.expect_download() as coming:
            officer.page.get_by_role("link", name="고용보험_가입확인서.pdf").click()
        assert Path(coming.value.path()).read_bytes() == PDF
        officer.fill(level="2_evidence", reason="고용보험 가입자 명부에서 2명의 취득일을 확인했습니다.")
        officer.press(said("Verify"))
        officer.look("outcome verified")
        outcome.refresh_from_db()
        assert (outcome.state, outcome.level) == ("verified", "2_evidence")
        officer.go("/outcomes/")
        officer.look("outcomes")


def test_8_the_board_shows_it_and_each_number_leads_to_its_rows(site: Site) -> None:
    with site.step(8, after=7):
        executive = site.desk("executive")
        executive.log_in(STAFF["executive"])
        executive.look("executive's page")
        executive.menu("/board/")
        executive.look("board", picture="board")
        number = Grant.objects.get().number
        ran = [("jobs", "1", number), ("gpu-hours", "", number)] if Job.objects.exists() else []
        for code, done, what in (
            ("hires", "2", "시각 모델 연구원 2명 채용"),
            ("projects", "1", number),
            ("companies", "1", COMPANY),
            *ran,
        ):
            executive.go("/board/")
            link = executive.page.locator(f"#content table a[href^='/board/{code}/']").first
            expect(link).to_contain_text(done)
            with executive.page.expect_navigation():
                link.click()
            rows = executive.page.locator("section[aria-labelledby=rows] tbody tr")
            assert rows.count()
            assert [row for row in rows.all_inner_texts() if what not in row] == []
            executive.look(f"rows behind {code}")


def test_9_who_keeps_the_site_sees_people_and_the_log(site: Site) -> None:
    with site.step(9, after=8):
        operator = site.desk("operator")
        operator.log_in(STAFF["operator"])
        operator.look("operator's page")
        operator.menu("/people/")
        operator.look("people", picture="people")
        operator.follow(cast.PEOPLE["officer"][0])
        operator.look("person")
        operator.go("/compute/health/")
        operator.look("health of the engines")
        auditor = site.desk("auditor")
        auditor.log_in(STAFF["auditor"])
        auditor.menu("/people/log/")
        auditor.look("log", picture="log")
        auditor.menu("/grants/ledger/")
        auditor.look("ledger")
        assert Person.objects.filter(email__in=[LEAD, MEMBER, TARDY]).count() >= 2
