"""What those who applied are told when a call is canceled."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from madang.calls import actions
from madang.calls.models import Application, Submission
from madang.calls.tests import world as worlds
from madang.web.tests import letters

pytestmark = pytest.mark.django_db
WHY = "추경에서 예산이 줄었습니다."


@pytest.fixture
def world() -> worlds.World:
    made = worlds.open_world(1)
    actions.cancel(made.officer, call=made.call, reason=WHY)
    return made


def test_everybody_who_applied_gets_a_letter_with_the_reason(world: worlds.World) -> None:
    (letter,) = letters.to(world.lead, "취소")
    assert letter["text"].count(WHY) == 2
    assert letter["text"].count(reverse("calls:application", args=[world.mine.pk])) == 2


def test_the_pages_of_those_who_applied_say_that_it_is_canceled_and_why(client: Client, world: worlds.World) -> None:
    client.force_login(world.lead)
    for address in (
        reverse("calls:my-applications"),
        reverse("calls:application", args=[world.mine.pk]),
        reverse("calls:detail", args=[world.call.code]),
    ):
        page = client.get(address).text
        assert WHY in page
        assert "공고가 취소되었습니다" in page
    assert "취소" in client.get("/my/").text


def test_submitting_again_from_a_page_opened_before_says_that_the_call_is_canceled(
    client: Client, world: worlds.World
) -> None:
    client.force_login(world.lead)
    before = Submission.objects.count()
    page = client.post(
        reverse("calls:application", args=[world.mine.pk]), {"saves": Application.objects.get().saves, "sure": "on"}
    )
    assert page.status_code == 422
    assert "제출하지 못했습니다" in page.text
    assert "공고가 취소되어" in page.text
    assert Submission.objects.count() == before


@pytest.mark.parametrize("do", ["save", "autosave"])
def test_saving_a_form_opened_before_says_that_the_call_is_canceled(
    client: Client, world: worlds.World, do: str
) -> None:
    client.force_login(world.lead)
    address = reverse("calls:application-edit", args=[world.mine.pk])
    page = client.post(address, {"saves": world.mine.saves, "title": "새 제목", "do": do}, follow=True)
    assert "저장" in page.text
    assert "공고가 취소되어" in page.text
    assert Application.objects.get().draft_title != "새 제목"
