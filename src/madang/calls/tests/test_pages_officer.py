"""The officer's pages: writing a call, screening, assigning, deciding."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from madang.calls import actions
from madang.calls.models import Application, Assignment, Call, Decision, EligibilityAnswer, Extension
from madang.calls.tests import make
from madang.calls.tests import world as worlds
from madang.identity.access import forget
from madang.identity.tests import make as identity
from madang.programs.tests import make as programs

pytestmark = pytest.mark.django_db

BASICS = {
    "code": "spring-2026",
    "title_ko": "2026년 상반기 공고",
    "text_ko": "자원을 지원합니다.",
    "opens_at": "2027-03-02T09:00",
    "closes_at": "2027-03-31T14:00",
    "use_from": "2027-05-01",
    "use_until": "2027-10-31",
    "budget_krw": "100000000",
    "most_awards": "10",
    "reviews_wanted": "2",
    "days_to_accept": "14",
    "overrun": "pause",
    "blind": "on",
}


@pytest.fixture
def drafted(client: Client) -> worlds.World:
    world = worlds.open_world(0)
    world.call = worlds.draft_call(world.officer, code="draft-call")
    forget(world.officer)
    client.force_login(world.officer)
    return world


def test_a_call_is_begun_with_its_basics_and_stays_a_draft(client: Client) -> None:
    officer, program = identity.officer(), programs.program()
    client.force_login(officer)
    assert "2027" not in client.get(reverse("calls:new")).text
    page = client.post(reverse("calls:new"), {**BASICS, "program": program.pk})
    assert page.url == reverse("calls:edit-step", args=["spring-2026", "lines"])
    call = Call.objects.get()
    assert call.state == "draft"
    assert call.use.upper.isoformat() == "2027-11-01"
    assert call.overrun == "pause"
    assert client.post(reverse("calls:new"), {**BASICS, "program": program.pk}).status_code == 422


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("closes_at", "2027-03-01T09:00"),
        ("use_until", "2027-04-01"),
        ("budget_krw", "-1"),
        ("budget_krw", "9" * 30),
        ("code", "한글 코드"),
        ("title_ko", ""),
        ("program", "999999999"),
        ("opens_at", "내일"),
        ("text_ko", "a\x00"),
        ("most_awards", "0"),
    ],
)
def test_what_is_wrong_with_the_basics_is_said_at_the_field(client: Client, field: str, value: str) -> None:
    client.force_login(identity.officer())
    page = client.post(reverse("calls:new"), {**BASICS, "program": programs.program().pk, field: value})
    assert page.status_code == 422
    assert f'id="id_{field}_error"' in page.text
    assert not Call.objects.exists()


def test_rows_are_added_moved_and_removed_by_buttons_and_only_saving_keeps_them(
    client: Client, drafted: worlds.World
) -> None:
    address = reverse("calls:edit-step", args=["draft-call", "criteria"])
    data = {
        "rows": "2",
        "r0-kind": "criterion",
        "r0-name_ko": "하나",
        "r0-points": "60",
        "r1-kind": "criterion",
        "r1-name_ko": "둘",
        "r1-points": "사십",
    }
    page = client.post(address, {**data, "do": "add:criterion"})
    assert 'name="rows" value="3"' in page.text
    assert 'value="사십"' in page.text
    assert "배점 합계: 60점" in page.text
    page = client.post(address, {**data, "do": "down:0"})
    assert page.text.index('value="둘"') < page.text.index('value="하나"')
    page = client.post(address, {**data, "do": "remove:1"})
    assert 'value="둘"' not in page.text
    assert [row.code for row in drafted.call.criteria.all()] == ["impact", "ability", "need"]
    page = client.post(address, {**data, "do": "save"})
    assert page.status_code == 422
    assert 'id="id_r1-points_error"' in page.text
    page = client.post(address, {**data, "r1-points": "40", "r1-least": "10", "do": "next"})
    assert page.url == reverse("calls:edit-step", args=["draft-call", "rules"])
    assert [(row.name_ko, row.points, row.least) for row in drafted.call.criteria.all()] == [
        ("하나", 60, 0),
        ("둘", 40, 10),
    ]


def test_the_form_is_built_without_javascript(client: Client, drafted: worlds.World) -> None:
    address = reverse("calls:edit-step", args=["draft-call", "form"])
    for kind in ("line", "text", "number", "choice", "day", "yes", "file"):
        page = client.post(address, {"rows": "0", "do": f"add:{kind}"})
        assert 'name="r0-label_ko"' in page.text
    data = {
        "rows": "3",
        "r0-kind": "choice",
        "r0-code": "field",
        "r0-label_ko": "분야",
        "r0-choices": "car | 자동차 | Automotive\nenergy | 에너지",
        "r0-required": "on",
        "r1-kind": "line",
        "r1-label_ko": "차종",
        "r1-depends_on": "field",
        "r1-depends_in": "car",
        "r1-most": "50",
        "r2-kind": "file",
        "r2-label_ko": "사업계획서",
        "r2-kinds": ["pdf", "hwp"],
        "do": "save",
    }
    assert client.post(address, {**data, "r2-kinds": []}).status_code == 422
    assert client.post(address, data).status_code == 302
    fields = drafted.call.forms.latest("number").fields
    assert [(field["code"], field["type"]) for field in fields] == [("field", "choice"), ("q1", "line"), ("q2", "file")]
    assert fields[2]["kinds"] == ["pdf", "hwp"]
    assert fields[0]["choices"] == [
        {"value": "car", "label_ko": "자동차", "label_en": "Automotive"},
        {"value": "energy", "label_ko": "에너지"},
    ]
    assert fields[1]["shown_if"] == {"field": "field", "in": ["car"]}
    assert fields[2]["identity"] is False
    page = client.get(address)
    assert "car | 자동차 | Automotive" in page.text
    bad = client.post(address, {**data, "r0-choices": "No Good | "})
    assert bad.status_code == 422
    assert 'id="id_r0-choices_error"' in bad.text


def test_lines_are_offered_in_the_unit_of_people(client: Client, drafted: worlds.World) -> None:
    address = reverse("calls:edit-step", args=["draft-call", "lines"])
    gpu = drafted.call.lines.order_by("id")[0].resource
    data = {"rows": "1", "r0-kind": str(gpu.pk), "r0-most": "100.5", "r0-total": "1000", "do": "save"}
    assert client.post(address, data).status_code == 302
    line = drafted.call.lines.get()
    assert (line.most, line.total) == (361_800, 3_600_000)
    bad = client.post(address, {**data, "r0-total": "1"})
    assert bad.status_code == 422
    assert 'id="id_r0-total_error"' in bad.text
    assert client.post(address, {**data, "r0-kind": "999999"}).status_code in (302, 422)


def test_rules_and_discounts_are_kept_as_data(client: Client, drafted: worlds.World) -> None:
    data = {
        "rows": "3",
        "r0-kind": "region",
        "r0-value": "29",
        "r0-citation_ko": "제3조",
        "r1-kind": "founded_within",
        "r1-value": "7",
        "r1-citation_ko": "제4조",
        "r2-kind": "no_double_funding",
        "r2-citation_ko": "제6조",
        "do": "save",
    }
    address = reverse("calls:edit-step", args=["draft-call", "rules"])
    assert client.post(address, data).status_code == 302
    assert [(rule.kind, rule.value) for rule in drafted.call.rules.all()] == [
        ("region", ["29"]),
        ("founded_within", [7]),
        ("no_double_funding", []),
    ]
    assert client.get(address).status_code == 200
    page = client.post(address, {**data, "do": "up:1"})
    assert 'value="29"' in page.text
    data = {"rows": "1", "r0-kind": "youth", "r0-name_ko": "청년 창업기업", "r0-percent": "50", "do": "save"}
    assert client.post(reverse("calls:edit-step", args=["draft-call", "discounts"]), data).status_code == 302
    assert [(row.rule, row.percent) for row in drafted.call.discounts.all()] == [("youth", 50)]


def test_the_preview_lists_all_that_is_missing_and_publishing_is_refused_until_then(
    client: Client, drafted: worlds.World
) -> None:
    actions.set_criteria(drafted.officer, call=drafted.call, criteria=worlds.CRITERIA[:2])
    address = reverse("calls:preview", args=["draft-call"])
    page = client.get(address)
    assert "배점의 합은 100점" in page.text
    assert reverse("calls:edit-step", args=["draft-call", "criteria"]) in page.text
    assert client.post(address).status_code == 422
    actions.set_criteria(drafted.officer, call=drafted.call, criteria=worlds.CRITERIA)
    assert client.post(address).status_code == 302
    assert Call.objects.get(code="draft-call").state == "published"
    assert client.post(address).status_code == 409
    assert client.get(reverse("calls:edit", args=["draft-call"])).status_code == 302


def test_the_officer_sees_what_is_next_at_every_stage(client: Client) -> None:
    world = worlds.open_world(1)
    client.force_login(world.officer)
    address = reverse("calls:manage", args=[world.call.code])
    assert "마감까지 하실 일이 없습니다" in client.get(address).text
    worlds.shift(world.call, closes_at=timedelta(seconds=-1))
    assert "자격검토를 기다리는 신청이 1건" in client.get(address).text
    actions.find_eligible(world.officer, application=worlds.fresh(world).mine)
    assert "평가를 시작할 수 있습니다" in client.get(address).text
    assert client.post(address, {"do": "start_evaluation"}).url == reverse("calls:assign", args=[world.call.code])
    assert "평가위원이 부족한" in client.get(address).text
    assert client.post(address, {"do": "start_evaluation"}).status_code == 409


def test_an_extension_for_one_applicant_needs_its_number_a_later_instant_and_a_reason(client: Client) -> None:
    world = worlds.open_world(0)
    client.force_login(world.officer)
    address = reverse("calls:manage", args=[world.call.code])
    later = f"{(worlds.now() + timedelta(days=60)):%Y-%m-%dT%H:%M}"
    data = {"do": "extend", "business_number": world.company.business_number_written, "until": later, "reason": "장애"}
    assert client.post(address, {**data, "business_number": "000-00-00000"}).status_code == 422
    assert client.post(address, {**data, "until": "2020-01-01T00:00"}).status_code == 422
    assert client.post(address, data).status_code == 302
    assert Extension.objects.get().organization == world.company
    assert "장애" in client.get(address).text


def test_drafts_are_not_the_officers_to_see(client: Client) -> None:
    world = worlds.open_world(1, submitted=False)
    client.force_login(world.officer)
    assert "불량 검출" not in client.get(reverse("calls:applications", args=[world.call.code])).text
    assert client.get(reverse("calls:application-officer", args=[world.mine.pk])).status_code == 404


def test_a_rule_is_overridden_with_a_reason_and_the_application_found_eligible(client: Client) -> None:
    world = worlds.closed_world(1)
    client.force_login(world.officer)
    address = reverse("calls:application-officer", args=[world.mine.pk])
    rule = world.call.rules.all()[0]
    assert client.post(address, {"do": "answer", "rule": rule.pk, "answer": "fail"}).status_code == 422
    page = client.post(address, {"do": "answer", "rule": rule.pk, "answer": "fail", "reason": "폐업 확인"})
    assert page.status_code == 302
    assert EligibilityAnswer.objects.latest("id").reason == "폐업 확인"
    page = client.get(address)
    assert "폐업 확인" in page.text
    yes = {"do": "eligible", "discounts_confirmed": "yes"}
    assert client.post(address, yes).status_code == 422
    client.post(address, {"do": "answer", "rule": rule.pk, "answer": "pass", "reason": "정상 영업"})
    assert client.post(address, {**yes, "reason": ""}).status_code == 302
    assert Application.objects.get(pk=world.mine.pk).state == "eligible"
    assert client.post(address, {"do": "eligible"}).status_code in (409, 422)


def test_the_officer_says_whether_the_facts_behind_a_discount_hold(client: Client) -> None:
    world = worlds.closed_world(1)
    client.force_login(world.officer)
    address = reverse("calls:application-officer", args=[world.mine.pk])
    page = client.get(address).text
    assert page.count("광주 소재 기업 50%") == 2  # in the form, and beside the documents
    assert "기관이 적은 내용:</span> 광주" in page
    assert client.post(address, {"do": "eligible"}).status_code == 422
    assert Application.objects.get(pk=world.mine.pk).state == "submitted"
    assert client.post(address, {"do": "eligible", "discounts_confirmed": "no"}).status_code == 302
    assert Application.objects.get(pk=world.mine.pk).confirmed_discounts == []
    assert "확인되지 않음, 감면 없음" in client.get(address).text


def test_where_no_discount_fits_nothing_is_asked_about_it(client: Client) -> None:
    world = worlds.closed_world(1)
    world.company.region = "11"
    world.company.save()
    client.force_login(world.officer)
    address = reverse("calls:application-officer", args=[world.mine.pk])
    assert "discounts_confirmed" not in client.get(address).text
    assert client.post(address, {"do": "eligible"}).status_code == 302


def test_after_the_announcement_the_overview_counts_who_was_eligible_and_leads_to_the_reserve_list(
    client: Client,
) -> None:
    made, _application = make.ready_to_announce()
    client.force_login(made.officer)
    address = reverse("calls:manage", args=[made.call.code])
    reserve = reverse("grants:reserve", args=[made.call.code])
    assert reserve not in client.get(address).text
    actions.announce(made.officer, call=made.call)
    page = client.get(address)
    assert page.context["eligible"] == 1
    assert reserve in page.text


def test_a_supplement_and_an_ineligibility_carry_their_reasons(client: Client) -> None:
    world = worlds.closed_world(2)
    client.force_login(world.officer)
    first, second = (reverse("calls:application-officer", args=[row.pk]) for row in world.applications)
    data = {"do": "supplement", "codes": ["summary"], "reason": "자세히", "days": "5"}
    assert client.post(first, {**data, "codes": ["nonsense"]}).status_code == 422
    assert client.post(first, data).status_code == 302
    assert Application.objects.get(pk=world.mine.pk).supplement["codes"] == ["summary"]
    assert client.post(second, {"do": "ineligible"}).status_code == 422
    assert client.post(second, {"do": "ineligible", "reason": "대상이 아닙니다."}).status_code == 302
    assert "대상이 아닙니다." in client.get(second).text


def test_reviewers_are_assigned_at_once_and_by_hand(client: Client) -> None:
    world = worlds.closed_world(2)
    world.reviewers = [identity.reviewer() for _number in range(3)]
    forget(world.officer)
    for application in world.applications:
        actions.find_eligible(world.officer, application=application)
    actions.start_evaluation(world.officer, call=world.call)
    client.force_login(world.officer)
    address = reverse("calls:assign", args=[world.call.code])
    assert client.post(address, {"do": "all"}).status_code == 302
    assert Assignment.objects.count() == 4
    assert client.post(address, {"do": "all"}).status_code == 302
    assert Assignment.objects.count() == 4
    free = [person for person in world.reviewers if not world.mine.assignments.filter(reviewer=person).exists()]
    data = {"do": "one", "application": world.mine.pk, "reviewer": free[0].pk}
    assert client.post(address, data).status_code == 302
    assert client.post(address, data).status_code in (409, 422)
    assert client.post(address, {**data, "reviewer": world.lead.pk}).status_code == 404
    assert client.post(address, {**data, "application": "x"}).status_code == 404
    ended = world.mine.assignments.first()
    data = {"do": "recuse", "application": world.mine.pk, "assignment": ended.pk if ended else 0}
    assert client.post(address, {**data, "reason": ""}).status_code == 422
    assert client.post(address, {**data, "reason": "출장"}).status_code == 302


def test_a_reviewer_who_belongs_to_the_applicant_is_shown_as_a_conflict(client: Client) -> None:
    world = worlds.reviewed_world(1)
    insider = identity.staff("reviewer")
    _row, secret = actions_invite(world, insider.email)
    identity.actions.accept_invitation(insider, secret=secret)
    client.force_login(world.officer)
    page = client.get(reverse("calls:assign", args=[world.call.code]) + f"?application={world.mine.pk}")
    assert "제척" in page.text
    data = {"do": "one", "application": world.mine.pk, "reviewer": insider.pk}
    assert client.post(reverse("calls:assign", args=[world.call.code]), data).status_code == 422


def actions_invite(world: worlds.World, email: str) -> Any:
    return identity.actions.invite(world.lead, organization=world.company, email=email, role="member")


def test_a_proposal_is_saved_scaled_down_and_taken_back(client: Client) -> None:
    world = worlds.reviewed_world(2, scored=True)
    client.force_login(world.officer)
    address = reverse("calls:decide", args=[world.call.code])
    page = client.get(address)
    assert "75.5" in page.text or "77" in page.text
    gpu, store = world.mine.lines.order_by("call_line_id")
    data = {
        "application": world.mine.pk,
        "outcome": "selected",
        f"line-{gpu.pk}": "800",
        f"line-{store.pk}": "0",
        "reason": "예산에 맞추어 일부를 배정합니다.",
        "do": "next",
    }
    assert client.post(address, {**data, "reason": ""}).status_code == 422
    too_much = client.post(address, {**data, f"line-{gpu.pk}": "1001"})
    assert too_much.status_code == 422
    assert f'id="id_line-{gpu.pk}_error"' in too_much.text
    assert f"application={world.applications[1].pk}" in client.post(address, data).url
    decision = Decision.objects.get()
    assert {line.line_id: line.amount for line in decision.lines.all()} == {gpu.pk: 800 * 3600, store.pk: 0}
    page = client.get(address)
    assert "₩1,600,000" in page.text
    assert "800 GPU-시간" in page.text
    assert client.post(address, {"application": world.mine.pk, "do": "undo"}).status_code == 302
    assert not Decision.objects.exists()


def test_the_results_can_be_announced_from_the_page_once_everything_is_decided(client: Client) -> None:
    world = worlds.reviewed_world(1, scored=True)
    client.force_login(world.officer)
    address, announce = (
        reverse("calls:decide", args=[world.call.code]),
        reverse("grants:announce", args=[world.call.code]),
    )
    assert f'action="{announce}"' not in client.get(address).text
    actions.decide(world.officer, application=world.mine, outcome="rejected", amounts=None, reason="미흡합니다.")
    assert f'action="{announce}"' in client.get(address).text


@pytest.mark.parametrize(("language", "proposal", "result"), [("ko", "결정안", "결과"), ("en", "propos", "result")])
def test_what_was_proposed_is_a_result_once_it_is_announced(
    client: Client, language: str, proposal: str, result: str
) -> None:
    world = worlds.reviewed_world(1, scored=True)
    client.force_login(world.officer)
    client.cookies["django_language"] = language
    actions.decide(world.officer, application=world.mine, outcome="selected", amounts=None, reason="우수합니다.")
    addresses = [reverse(f"calls:{name}", args=[world.call.code]) for name in ("decide", "applications", "manage")]
    assert [proposal in client.get(address).text.lower() for address in addresses] == [True] * 3
    actions.announce(world.officer, call=world.call)
    for address in addresses:
        page = client.get(address).text.lower()
        assert (proposal in page, result in page) == (False, True), address


def test_an_officer_of_another_program_finds_nothing(client: Client) -> None:
    world = worlds.reviewed_world(1)
    other = identity.officer("program", programs.program().pk)
    client.force_login(other)
    for name in ("manage", "edit", "preview", "applications", "assign", "decide"):
        for page in (
            client.get(reverse(f"calls:{name}", args=[world.call.code])),
            client.post(reverse(f"calls:{name}", args=[world.call.code]), {"do": "all", "application": world.mine.pk}),
        ):
            assert page.status_code in (404, 405), name
            assert "불량 검출" not in page.text
    assert client.get(reverse("calls:application-officer", args=[world.mine.pk])).status_code == 404
    assert "2025년 고성능" not in client.get(reverse("calls:managed")).text
    assert "2025년 고성능" not in client.get(reverse("calls:new")).text


@pytest.mark.parametrize("name", ["applications", "assign", "decide", "manage", "managed"])
def test_the_officers_lists_take_as_many_queries_for_thirty_rows_as_for_one(
    client: Client, django_assert_max_num_queries: Any, name: str
) -> None:
    for number in (1, 30):
        world = worlds.reviewed_world(number, scored=True, code=f"call-{number}")
        client.force_login(world.officer)
        address = reverse(f"calls:{name}", args=[] if name == "managed" else [world.call.code])
        with django_assert_max_num_queries(12):
            page = client.get(address)
        assert page.status_code == 200


def test_one_application_takes_no_more_than_twelve_queries(client: Client, django_assert_max_num_queries: Any) -> None:
    world = worlds.reviewed_world(1, scored=True)
    client.force_login(world.officer)
    with django_assert_max_num_queries(12):
        client.get(reverse("calls:application-officer", args=[world.mine.pk]))


@pytest.mark.parametrize("step", ["basics", "lines", "discounts", "form", "criteria", "rules", "preview"])
def test_each_step_of_writing_a_call_takes_no_more_than_twelve_queries(
    client: Client, drafted: worlds.World, django_assert_max_num_queries: Any, step: str
) -> None:
    args = ["draft-call"] if step == "preview" else ["draft-call", step]
    with django_assert_max_num_queries(12):
        page = client.get(reverse("calls:preview" if step == "preview" else "calls:edit-step", args=args))
    assert page.status_code == 200
