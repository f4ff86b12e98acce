"""Every page of the room, by the role that works on it, in both languages: no sentence is left in the other one."""

from __future__ import annotations

import html
import re

import pytest
from django.test import Client
from django.urls import reverse

from madang.calls import actions
from madang.calls.tests import world as worlds
from madang.identity.models import Person

pytestmark = pytest.mark.django_db

# What people wrote, or are called, and what the shell says in the other language on purpose.
DATA = (
    "산업용 로봇의 불량 검출 모델 1",
    "산업용 로봇의 불량 검출 모델 0",
    "빛고을로보틱스_계획서.pdf",
    "불량을 찾는 모델입니다.",
    "학습 데이터 보관",
    "모델 학습",
    "등록증.pdf",
    " · 담당자",
    "한지원",
    "이대표",
    "타당합니다.",
    "우수합니다.",
    "자세히 적어 주십시오.",
    "마당",
    "한국어",
)


def pages(world: worlds.World) -> list[tuple[Person | None, str]]:
    code, mine = world.call.code, world.mine
    calls = ("manage", "applications", "assign", "decide")
    drafts = [reverse("calls:edit-step", args=["draft-call", step]) for step in ("lines", "discounts", "form", "rules")]
    assignment = mine.assignments.select_related("reviewer").first()
    assert assignment is not None
    return [
        (None, reverse("calls:list")),
        (None, reverse("calls:list") + "?search=nothing-like-it"),
        (None, reverse("calls:detail", args=[code])),
        (world.lead, reverse("calls:detail", args=[code])),
        (world.stranger, reverse("calls:apply", args=[code])),
        (world.lead, reverse("calls:my-applications")),
        (world.stranger, reverse("calls:my-applications")),
        (world.lead, reverse("calls:application", args=[mine.pk])),
        (world.lead, reverse("calls:receipt", args=[mine.submissions.get().pk])),
        (world.officer, reverse("calls:managed")),
        (world.officer, reverse("calls:managed") + "?state=canceled"),
        (world.officer, reverse("calls:new")),
        (world.officer, reverse("calls:edit", args=["draft-call"])),
        *((world.officer, address) for address in drafts),
        (world.officer, reverse("calls:edit-step", args=["draft-call", "criteria"])),
        (world.officer, reverse("calls:preview", args=["draft-call"])),
        *((world.officer, reverse(f"calls:{name}", args=[code])) for name in calls),
        (world.officer, reverse("calls:assign", args=[code]) + f"?application={mine.pk}"),
        (world.officer, reverse("calls:application-officer", args=[mine.pk])),
        (assignment.reviewer, reverse("calls:reviews")),
        (assignment.reviewer, reverse("calls:review", args=[assignment.pk])),
        (assignment.reviewer, reverse("calls:recuse", args=[assignment.pk])),
    ]


def words(page: str) -> str:
    """What a reader sees or hears: text, labels, titles."""
    page = re.sub(r"<(script|style|textarea|select)\b.*?</\1>", " ", page, flags=re.DOTALL)
    heard = " ".join(re.findall(r'(?:aria-label|title|placeholder|alt)="([^"]*)"', page))
    text = html.unescape(re.sub(r"<[^>]*>", "|", page) + "|" + heard)
    for said in DATA:
        text = text.replace(said, "")
    return text


@pytest.mark.parametrize("scored", [False, True])
def test_no_page_leaves_a_sentence_in_the_other_language(client: Client, scored: bool) -> None:
    world = worlds.reviewed_world(2, scored=scored)
    worlds.draft_call(world.officer, code="draft-call")
    for person in Person.objects.all():
        Person.objects.filter(pk=person.pk).update(name=f"P{person.pk}")
    world.officer.refresh_from_db()
    if scored:
        actions.decide(world.officer, application=world.mine, outcome="selected", amounts=None, reason="우수합니다.")
    for person, address in pages(world):
        client.logout()
        if person:
            client.force_login(person)
        client.cookies["django_language"] = "en"
        page = client.get(address)
        assert page.status_code == 200, address
        assert re.findall(r"[^|]*[가-힣]+[^|]*", words(page.text)) == [], address
        client.cookies["django_language"] = "ko"
        korean = words(client.get(address).text)
        assert re.findall(r"[A-Za-z]{2,}(?: [A-Za-z’']{2,}){2,}", korean) == [], address


@pytest.mark.parametrize("stage", ["open", "draft", "supplement"])
def test_the_applicants_form_is_in_one_language_at_every_stage(client: Client, stage: str) -> None:
    world = worlds.open_world(1, submitted=stage != "draft")
    if stage == "supplement":
        world = worlds.closed_world(1, code="closing") if stage == "supplement" else world
        actions.request_supplement(
            world.officer, application=world.mine, codes=["summary", "plan"], reason="자세히 적어 주십시오."
        )
    client.force_login(world.lead)
    for name in ("application", "application-edit", "withdraw"):
        address = reverse(f"calls:{name}", args=[world.mine.pk])
        client.cookies["django_language"] = "en"
        english = words(client.get(address).text)
        assert re.findall(r"[^|]*[가-힣]+[^|]*", english) == [], name
        client.cookies["django_language"] = "ko"
        assert re.findall(r"[A-Za-z]{2,}(?: [A-Za-z’']{2,}){2,}", words(client.get(address).text)) == [], name
