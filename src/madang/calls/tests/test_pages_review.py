"""The reviewer's pages, and that nothing on them says who applies."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from madang.calls.models import Assignment, ScoreSheet
from madang.calls.tests import world as worlds

pytestmark = pytest.mark.django_db

WHO = ("빛고을", "Bitgoeul", "이대표", "한지원", "hi@secret-company.kr", "100-00", "등록증.pdf")


def assigned(world: worlds.World) -> Assignment:
    return world.mine.assignments.select_related("reviewer").order_by("id")[0]


def test_a_review_is_scored_as_a_draft_and_then_submitted(client: Client) -> None:
    world = worlds.reviewed_world(1)
    assignment = assigned(world)
    client.force_login(assignment.reviewer)
    address = reverse("calls:review", args=[assignment.pk])
    page = client.post(address, {"c-impact": "30", "c-ability": "", "c-need": "20", "do": "draft"})
    assert page.status_code == 302
    page = client.get(address)
    assert "100점 중 50점" in page.text
    page = client.post(address, {"c-impact": "30", "c-ability": "", "c-need": "20", "comment": "", "do": "submit"})
    assert page.status_code == 422
    assert 'id="id_c-ability_error"' in page.text
    assert not ScoreSheet.objects.exists()
    whole = {"c-impact": "30", "c-ability": "25", "c-need": "20", "comment": "타당합니다.", "do": "submit"}
    assert client.post(address, whole).status_code == 302
    assert ScoreSheet.objects.get().total == 75
    assert "75" in client.get(reverse("calls:reviews")).text


@pytest.mark.parametrize("points", ["41", "-1", "x", "1.5", "9" * 40])
def test_points_that_cannot_be_are_refused_at_their_field(client: Client, points: str) -> None:
    world = worlds.reviewed_world(1)
    assignment = assigned(world)
    client.force_login(assignment.reviewer)
    page = client.post(reverse("calls:review", args=[assignment.pk]), {"c-impact": points, "do": "draft"})
    assert page.status_code == 422
    assert 'id="id_c-impact_error"' in page.text


def test_the_total_is_shown_while_scoring(client: Client) -> None:
    world = worlds.reviewed_world(1)
    assignment = assigned(world)
    client.force_login(assignment.reviewer)
    page = client.post(
        reverse("calls:review", args=[assignment.pk]),
        {"c-impact": "33", "c-ability": "7", "c-need": "", "do": "autosave"},
        headers={"hx-request": "true"},
    )
    assert "100점 중 40점" in page.text
    assert Assignment.objects.get(pk=assignment.pk).draft["scores"]["impact"] == 33


def test_a_reviewer_recuses_with_a_reason_and_the_review_is_gone(client: Client) -> None:
    world = worlds.reviewed_world(1)
    assignment = assigned(world)
    client.force_login(assignment.reviewer)
    address = reverse("calls:recuse", args=[assignment.pk])
    assert client.get(address).status_code == 200
    assert client.post(address, {}).status_code == 422
    assert client.post(address, {"reason": "공동 연구자입니다."}).status_code == 302
    assert client.get(reverse("calls:review", args=[assignment.pk])).status_code == 404
    assert client.post(address, {"reason": "다시"}).status_code == 404


def test_only_whom_it_is_assigned_to_sees_a_review(client: Client) -> None:
    world = worlds.reviewed_world(1)
    assignment = assigned(world)
    others = [person for person in world.reviewers if not world.mine.assignments.filter(reviewer=person).exists()]
    for person in (*others, world.lead, world.stranger, world.officer):
        client.force_login(person)
        address = reverse("calls:review", args=[assignment.pk])
        for page in (client.get(address), client.post(address, {"c-impact": "1", "do": "draft"})):
            assert page.status_code == 404
            assert "불량 검출" not in page.text


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("scored", [False, True])
def test_a_crawl_of_the_reviewers_pages_never_learns_who_applies(client: Client, language: str, scored: bool) -> None:
    world = worlds.reviewed_world(2, scored=scored)
    reviewer = assigned(world).reviewer
    client.force_login(reviewer)
    client.cookies["django_language"] = language
    secrets = [*WHO, *(f"비밀 기업 {number}" for number in range(3)), "Secret 1", world.company.business_number]
    waiting, seen = ["/reviews/", "/calls/", reverse("calls:detail", args=[world.call.code])], set()
    while waiting:
        address = waiting.pop()
        if address in seen:
            continue
        seen.add(address)
        page: Any = client.get(address)
        body = b"".join(page.streaming_content).decode(errors="ignore") if page.streaming else page.text
        said = body + str(dict(page.headers))
        for secret in secrets:
            assert secret not in said, f"{secret} on {address}"
        for found in re.findall(r'(?:href|action|hx-post)="(/(?:reviews|calls|documents|applications)/[^"#?]*)', body):
            waiting.append(found)
    assert any(address.startswith("/documents/") for address in seen)
    assert sum(address.startswith("/reviews/") for address in seen) >= 2


def test_the_queue_takes_as_many_queries_for_thirty_reviews_as_for_one(
    client: Client, django_assert_max_num_queries: Any
) -> None:
    for number in (1, 30):
        world = worlds.reviewed_world(number, code=f"call-{number}")
        client.force_login(assigned(world).reviewer)
        with django_assert_max_num_queries(12):
            client.get(reverse("calls:reviews"))
        with django_assert_max_num_queries(12):
            client.get(reverse("calls:review", args=[assigned(world).pk]))
