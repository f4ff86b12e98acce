"""The applicant's pages, from the first draft to the result."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from madang.calls import actions
from madang.calls.models import Application, Submission
from madang.calls.tests import world as worlds
from madang.identity.tests import make as identity

pytestmark = pytest.mark.django_db


def posted(world: worlds.World, application: Application, **changes: Any) -> dict[str, Any]:
    """What the form of a complete draft posts."""
    gpu, store = world.call.lines.order_by("id")
    return {
        "saves": application.saves,
        "title": "로봇 시각 모델",
        "q-summary": "불량을 찾습니다.",
        "q-stage": "trial",
        "q-contact": "hi@secret-company.kr",
        "q-starts": "2026-09-02",
        "q-consent": "on",
        f"line-{gpu.pk}-amount": "1500.5",
        f"line-{gpu.pk}-essential": "yes",
        f"line-{gpu.pk}-purpose": "학습",
        f"line-{store.pk}-amount": "2",
        f"line-{store.pk}-essential": "no",
        **changes,
    }


def test_one_button_begins_an_application_and_a_second_press_opens_the_same(client: Client) -> None:
    world = worlds.open_world(0)
    client.force_login(world.lead)
    address = reverse("calls:apply", args=[world.call.code])
    assert "빛고을 로보틱스" in client.get(address).text
    for _press in range(2):
        page = client.post(address, {"organization": world.company.pk})
    application = Application.objects.get()
    assert page.url == reverse("calls:application-edit", args=[application.pk])


def test_nobody_begins_an_application_for_somebody_elses_organization(client: Client) -> None:
    world = worlds.open_world(0)
    client.force_login(world.lead)
    page = client.post(reverse("calls:apply", args=[world.call.code]), {"organization": world.other.pk})
    assert page.status_code == 404
    assert not Application.objects.exists()
    assert "다른 회사" not in page.text


def test_amounts_are_written_as_people_say_them_and_kept_in_the_smallest_unit(client: Client) -> None:
    world = worlds.open_world(1, submitted=False)
    client.force_login(world.lead)
    address = reverse("calls:application-edit", args=[world.mine.pk])
    assert client.post(address, posted(world, world.mine)).status_code == 302
    gpu, store = world.call.lines.order_by("id")
    saved = Application.objects.get(pk=world.mine.pk)
    assert saved.asked[str(gpu.pk)]["amount"] == 1500 * 3600 + 1800
    assert saved.asked[str(store.pk)] == {"amount": 2 * 10**6 * 24 * 122, "essential": False, "purpose": ""}
    assert 'value="1500.5"' in client.get(address).text


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("line-amount", "99999", "최대 5,000 GPU-시간"),
        ("line-amount", "NaN", "숫자"),
        ("line-amount", "-1", "0"),
        ("line-amount", "1e400", ""),
        ("q-stage", "nonsense", "nonsense"),
        ("q-starts", "어제", "날짜"),
        ("q-summary", "a\x00b", ""),
        ("q-summary", "가" * 2001, "2000"),
        ("title", "뒤집힌 \u202e이름", "U+202E"),
        ("title", "가" * 201, "200"),
        ("saves", "x", ""),
    ],
)
def test_what_cannot_be_kept_is_said_at_its_field_and_nothing_is_saved(
    client: Client, field: str, value: str, said: str
) -> None:
    world = worlds.open_world(1, submitted=False)
    client.force_login(world.lead)
    name = f"line-{world.call.lines.order_by('id')[0].pk}-amount" if field == "line-amount" else field
    page = client.post(
        reverse("calls:application-edit", args=[world.mine.pk]), posted(world, world.mine, **{name: value})
    )
    assert page.status_code == 422
    assert f'id="id_{name}_error"' in page.text or field == "saves"
    assert said in page.text
    assert Application.objects.get(pk=world.mine.pk).saves == world.mine.saves


def test_a_question_that_depends_on_an_answer_appears_when_it_is_given(client: Client) -> None:
    world = worlds.open_world(1, submitted=False)
    client.force_login(world.lead)
    address = reverse("calls:application-edit", args=[world.mine.pk])
    assert "현재 고객 수" not in client.get(address).text
    client.post(address, posted(world, world.mine, **{"q-stage": "market"}))
    page = client.get(address)
    assert "현재 고객 수" in page.text
    assert f"{address}#id_q-customers" in page.text


def test_the_draft_saves_itself_and_brings_the_questions_that_follow(client: Client) -> None:
    world = worlds.open_world(1, submitted=False)
    client.force_login(world.lead)
    address = reverse("calls:application-edit", args=[world.mine.pk])
    asked = "summary,stage,contact,starts,consent,plan,license"
    data = posted(world, world.mine, do="autosave", asked=asked)
    page = client.post(address, data, headers={"hx-request": "true"})
    assert page.status_code == 200
    assert f'name="saves" value="{world.mine.saves + 1}"' in page.text
    assert 'id="questions"' not in page.text
    page = client.post(address, {**data, "saves": world.mine.saves + 1, "q-stage": "market"})
    assert 'id="questions"' in page.text
    assert "현재 고객 수" in page.text


def test_a_button_pressed_while_the_draft_was_saving_itself_is_no_conflict(client: Client) -> None:
    world = worlds.open_world(1, submitted=False)
    client.force_login(world.lead)
    address = reverse("calls:application-edit", args=[world.mine.pk])
    client.post(address, posted(world, world.mine, do="autosave"))
    page = client.post(address, posted(world, world.mine, title="마지막 이름"))
    assert page.status_code == 302
    assert Application.objects.get(pk=world.mine.pk).draft_title == "마지막 이름"


def test_a_stale_form_keeps_what_was_written_and_says_what_to_do(client: Client) -> None:
    world = worlds.open_world(1, submitted=False)
    old = world.mine.saves
    actions.save_draft(world.lead, application=world.mine, title="동료가 먼저", saves=None)
    client.force_login(world.lead)
    address = reverse("calls:application-edit", args=[world.mine.pk])
    page = client.post(address, posted(world, world.mine, saves=old))
    assert page.status_code == 409
    assert "로봇 시각 모델" in page.text
    assert "다시 저장해 주십시오" in page.text
    assert Application.objects.get(pk=world.mine.pk).draft_title == "동료가 먼저"
    now = Application.objects.get(pk=world.mine.pk).saves
    assert f'name="saves" value="{now}"' in page.text
    assert client.post(address, posted(world, world.mine, saves=now)).status_code == 302


def test_a_file_is_handed_in_replaced_downloaded_and_removed(client: Client) -> None:
    world = worlds.open_world(1, submitted=False)
    client.force_login(world.lead)
    address = reverse("calls:application-edit", args=[world.mine.pk])
    file = SimpleUploadedFile("새 계획서.pdf", b"%PDF-1.7 new", content_type="text/html")
    assert client.post(address, posted(world, world.mine, **{"q-plan": file})).status_code == 302
    assert "새 계획서.pdf" in client.get(address).text
    newest = world.mine.documents.filter(code="plan", removed_at=None).latest("id")
    page = client.get(reverse("calls:document", args=[newest.pk]))
    assert page.headers["Content-Disposition"].startswith("attachment")
    assert page.headers["Content-Type"] == "application/octet-stream"
    assert b"".join(page.streaming_content) == b"%PDF-1.7 new"
    client.post(reverse("calls:document-remove", args=[world.mine.pk, "plan"]))
    assert "새 계획서.pdf" not in client.get(address).text


def test_a_file_that_is_too_large_is_refused_at_its_field_and_the_rest_is_not_half_saved(
    client: Client, settings: Any
) -> None:
    world = worlds.open_world(1, submitted=False)
    settings.UPLOAD_LIMIT_BYTES = 10
    client.force_login(world.lead)
    file = SimpleUploadedFile("큰 파일.pdf", b"%PDF-1.7 " + b"x" * 100)
    address = reverse("calls:application-edit", args=[world.mine.pk])
    page = client.post(address, posted(world, world.mine, **{"q-plan": file}))
    assert page.status_code == 422
    assert 'id="id_q-plan_error"' in page.text
    assert Application.objects.get(pk=world.mine.pk).saves == world.mine.saves


def test_what_is_missing_is_listed_with_a_link_to_each_field_and_submitting_is_refused(client: Client) -> None:
    world = worlds.open_world(0)
    application = actions.start_application(world.lead, call=world.call, organization=world.company)
    client.force_login(world.lead)
    address = reverse("calls:application", args=[application.pk])
    page = client.get(address)
    form = reverse("calls:application-edit", args=[application.pk])
    for place in ("#id_title", "#lines", "#id_q-summary", "#id_q-stage_group", "#id_q-consent", "#id_q-plan"):
        assert f'href="{form}{place}"' in page.text
    assert "과제 개요: 답변을 적어 주십시오." in page.text
    page = client.post(address, {"saves": application.saves, "sure": "on"})
    assert page.status_code == 422
    assert not Submission.objects.exists()


def test_submission_gives_a_receipt_and_a_double_click_gives_the_same_one(client: Client) -> None:
    world = worlds.open_world(1, submitted=False)
    client.force_login(world.lead)
    address = reverse("calls:application", args=[world.mine.pk])
    assert client.post(address, {"saves": world.mine.saves}).status_code == 422
    pages = [client.post(address, {"saves": world.mine.saves, "sure": "on"}) for _press in range(2)]
    submission = Submission.objects.get()
    assert [page.url for page in pages] == [reverse("calls:receipt", args=[submission.pk])] * 2
    text = client.get(pages[0].url).text
    for said in ("GPU-2025-0001", submission.digest[:8], "접수 후 변경 없음", "한지원", "1,000 GPU-시간"):
        assert said in text


def test_one_second_after_the_deadline_nothing_can_be_submitted_and_the_page_says_why(client: Client) -> None:
    world = worlds.open_world(1, submitted=False)
    worlds.shift(world.call, closes_at=timedelta(seconds=-1))
    client.force_login(world.lead)
    address = reverse("calls:application", args=[world.mine.pk])
    page = client.post(address, {"saves": world.mine.saves, "sure": "on"})
    assert page.status_code == 422
    assert "마감 시각은" in page.text
    assert not Submission.objects.exists()
    assert client.get(reverse("calls:application-edit", args=[world.mine.pk])).status_code == 302


def test_an_application_is_withdrawn_with_a_reason(client: Client) -> None:
    world = worlds.open_world(1)
    client.force_login(world.lead)
    address = reverse("calls:withdraw", args=[world.mine.pk])
    assert client.post(address, {}).status_code == 422
    assert client.post(address, {"reason": "사업 계획이 바뀌었습니다."}).status_code == 302
    assert Application.objects.get(pk=world.mine.pk).state == "withdrawn"
    assert client.post(address, {"reason": "다시"}).status_code in (302, 409, 422)


def test_a_draft_that_came_too_late_is_called_not_submitted_and_has_no_receipt(client: Client) -> None:
    world = worlds.open_world(1, submitted=False)
    client.force_login(world.lead)
    address = reverse("calls:application", args=[world.mine.pk])
    pages = [address, reverse("calls:my-applications"), reverse("portal:my")]
    assert all("작성 중" in client.get(page).text for page in pages)
    assert "접수증은 기록에" not in client.get(address).text
    worlds.shift(world.call, closes_at=timedelta(seconds=-1))
    for page in [*pages, reverse("calls:detail", args=[world.call.code])]:
        assert "미제출" in client.get(page).text
        assert "작성 중" not in client.get(page).text


def test_while_a_supplement_is_asked_for_only_what_was_named_can_be_changed(client: Client) -> None:
    world = worlds.closed_world(1)
    actions.request_supplement(
        world.officer, application=world.mine, codes=["summary"], reason="더 자세히 적어 주십시오."
    )
    client.force_login(world.lead)
    address = reverse("calls:application-edit", args=[world.mine.pk])
    page = client.get(address)
    assert "더 자세히 적어 주십시오." in page.text
    assert 'name="q-summary"' in page.text
    for closed in ('name="title"', 'name="q-contact"', "-amount"):
        assert closed not in page.text
    saves = Application.objects.get(pk=world.mine.pk).saves
    assert client.post(address, {"saves": saves, "q-summary": "자세한 개요", "q-contact": "x"}).status_code == 302
    saved = Application.objects.get(pk=world.mine.pk)
    assert saved.answers["summary"] == "자세한 개요"
    assert saved.answers["contact"] == "hi@secret-company.kr"
    page = client.post(reverse("calls:application", args=[world.mine.pk]), {"saves": saved.saves, "sure": "on"})
    assert page.status_code == 302
    assert Application.objects.get(pk=world.mine.pk).state == "submitted"


def test_the_result_is_shown_with_its_reason_only_once_it_is_announced(client: Client) -> None:
    world = worlds.reviewed_world(1, scored=True)
    actions.decide(world.officer, application=world.mine, outcome="selected", amounts=None, reason="우수합니다.")
    client.force_login(world.lead)
    address = reverse("calls:application", args=[world.mine.pk])
    assert "우수합니다." not in client.get(address).text
    actions.announce(world.officer, call=world.call)
    page = client.get(address)
    assert "우수합니다." in page.text
    assert "선정" in page.text


def test_another_tenant_finds_nothing_of_it_anywhere(client: Client) -> None:
    world = worlds.open_world(1)
    submission = world.mine.submissions.get()
    document = world.mine.documents.first()
    client.force_login(world.stranger)
    addresses = [
        *(reverse(f"calls:{name}", args=[world.mine.pk]) for name in ("application", "application-edit", "withdraw")),
        reverse("calls:application-officer", args=[world.mine.pk]),
        reverse("calls:receipt", args=[submission.pk]),
        reverse("calls:document", args=[document.pk if document else 0]),
        reverse("calls:document-remove", args=[world.mine.pk, "plan"]),
        *(reverse(f"calls:{name}", args=[world.call.code]) for name in ("manage", "applications", "assign", "decide")),
        reverse("calls:review", args=[1]),
        reverse("calls:application", args=[2**63]),
    ]
    for address in addresses:
        for page in (client.get(address), client.post(address, {"reason": "x", "saves": 0, "sure": "on"})):
            assert page.status_code in (404, 405), address
            for secret in ("불량 검출", "빛고을 로보틱스", "hi@secret-company.kr", "GPU-2025-0001"):
                assert secret not in page.text, address
    assert "불량 검출" not in client.get(reverse("calls:my-applications")).text
    assert "빛고을" not in client.get(reverse("calls:detail", args=[world.call.code])).text


def test_without_a_login_the_pages_ask_for_one(client: Client) -> None:
    world = worlds.open_world(1)
    for address in (
        reverse("calls:my-applications"),
        reverse("calls:application", args=[world.mine.pk]),
        reverse("calls:apply", args=[world.call.code]),
        reverse("calls:reviews"),
        reverse("calls:managed"),
        reverse("calls:new"),
    ):
        page = client.get(address)
        assert page.status_code == 302
        assert page.url.startswith(reverse("account_login"))


def test_my_applications_take_as_many_queries_for_thirty_as_for_one(
    client: Client, django_assert_max_num_queries: Any
) -> None:
    world = worlds.open_world(1)
    client.force_login(world.lead)
    with django_assert_max_num_queries(12):
        client.get(reverse("calls:my-applications"))
    for number in range(30):
        company = identity.organization(world.lead, name_ko=f"자회사 {number}")
        actions.start_application(identity.lead_of(company), call=world.call, organization=company)
    with django_assert_max_num_queries(12):
        page = client.get(reverse("calls:my-applications"))
    assert page.text.count("자회사") == 30


@pytest.mark.parametrize("name", ["application", "application-edit"])
def test_an_application_takes_no_more_than_twelve_queries(
    client: Client, django_assert_max_num_queries: Any, name: str
) -> None:
    world = worlds.open_world(1)
    client.force_login(world.lead)
    with django_assert_max_num_queries(12):
        client.get(reverse(f"calls:{name}", args=[world.mine.pk]))


def test_a_receipt_takes_no_more_than_twelve_queries(client: Client, django_assert_max_num_queries: Any) -> None:
    world = worlds.open_world(1)
    client.force_login(world.lead)
    with django_assert_max_num_queries(12):
        client.get(reverse("calls:receipt", args=[world.mine.submissions.get().pk]))
