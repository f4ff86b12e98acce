"""The pages that everybody sees."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from madang.calls.tests import world as worlds

pytestmark = pytest.mark.django_db


def test_a_visitor_sees_the_published_calls_and_no_draft(client: Client) -> None:
    world = worlds.open_world(0)
    worlds.draft_call(world.officer, code="secret-draft", title_ko="아직 비밀인 공고")
    page = client.get(reverse("calls:list"))
    assert "2025년 고성능 컴퓨팅" in page.text
    assert "아직 비밀인 공고" not in page.text
    assert client.get(reverse("calls:detail", args=["secret-draft"])).status_code == 404
    assert client.get(reverse("calls:manage", args=["secret-draft"])).status_code == 302


def test_open_calls_come_before_those_that_open_soon_and_the_closed_ones(client: Client) -> None:
    world = worlds.open_world(0)
    for code, name, opens, closes in (("soon", "곧 열리는 공고", 3, 90), ("past", "지난 공고", -9, -1)):
        call = worlds.draft_call(world.officer, code=code, title_ko=name)
        worlds.actions.publish(world.officer, call=call)
        worlds.shift(call, opens_at=timedelta(days=opens), closes_at=timedelta(days=closes))
    text = client.get(reverse("calls:list")).text
    places = [text.index(name) for name in ("2025년 고성능", "곧 열리는 공고", "지난 공고")]
    assert places == sorted(places)


def test_the_notice_says_what_how_much_until_when_and_by_which_criteria(client: Client) -> None:
    world = worlds.open_world(0)
    text = client.get(reverse("calls:detail", args=[world.call.code])).text
    for said in (
        "5,000 GPU-시간",
        "10 TB × 122일",
        "광주 소재 기업",
        "50%",
        "공고 제3조",
        "기대 효과",
        "₩2,000",
        "₩9,600,000,000",
    ):
        assert said in text
    assert f"{worlds.now().astimezone():%Y}" in text


def test_before_opening_and_after_the_deadline_the_page_says_so_instead_of_a_button(client: Client) -> None:
    world = worlds.open_world(0)
    client.force_login(world.lead)
    address = reverse("calls:detail", args=[world.call.code])
    button = reverse("calls:apply", args=[world.call.code])
    assert button in client.get(address).text
    worlds.shift(world.call, opens_at=timedelta(days=1))
    assert button not in client.get(address).text
    worlds.shift(world.call, opens_at=timedelta(days=-2), closes_at=timedelta(seconds=-1))
    page = client.get(address)
    assert button not in page.text
    assert "마감 시각은" in page.text


def test_the_list_takes_as_many_queries_for_thirty_calls_as_for_one(
    client: Client, django_assert_max_num_queries: Any
) -> None:
    world = worlds.open_world(0)
    client.force_login(world.lead)
    with django_assert_max_num_queries(12):
        client.get(reverse("calls:list"))
    for number in range(30):
        call = worlds.draft_call(world.officer, code=f"call-{number}")
        worlds.actions.publish(world.officer, call=call)
    with django_assert_max_num_queries(12):
        client.get(reverse("calls:list"))


def test_the_notice_takes_no_more_than_twelve_queries(client: Client, django_assert_max_num_queries: Any) -> None:
    world = worlds.open_world(1)
    client.force_login(world.lead)
    with django_assert_max_num_queries(12):
        client.get(reverse("calls:detail", args=[world.call.code]))


@pytest.mark.parametrize("search", ["%00", "a" * 5000, "' OR 1=1", "한글 공고", "‮"])
def test_strange_searches_are_answered(client: Client, search: str) -> None:
    worlds.open_world(0)
    assert client.get(reverse("calls:list") + f"?search={search}&after=x&stage=nonsense").status_code in (200, 400)
