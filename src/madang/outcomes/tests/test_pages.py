from __future__ import annotations

from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse

from madang.grants.tests import make as grants
from madang.identity.models import Person
from madang.identity.tests import make as identity
from madang.outcomes.models import Outcome
from madang.outcomes.tests import make

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def files_of_this_test(settings: LazySettings, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path


def browser(person: Person, language: str = "ko") -> Client:
    client = Client(headers={"accept-language": language})
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def pages_of(outcome: Outcome) -> list[str]:
    (evidence,) = outcome.evidence.all()
    return [
        reverse("outcomes:outcome", args=[outcome.pk]),
        reverse("outcomes:evidence", args=[outcome.pk, evidence.pk]),
        reverse("outcomes:list") + f"?grant={outcome.grant.number}",
    ]


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_page_of_an_outcome_is_shown_to_its_holder_its_officer_and_the_auditor(language: str) -> None:
    story = grants.granted()
    outcome = make.reported(story)
    for person in (story.lead, story.officer, identity.auditor()):
        for page in [*pages_of(outcome), reverse("outcomes:list")]:
            assert (page, browser(person, language).get(page).status_code) == (page, 200)
    lead = browser(story.lead, language)
    for page in ("report", "correct"):
        target = story.grant.number if page == "report" else outcome.pk
        answer = lead.get(reverse(f"outcomes:{page}", args=[target]))
        assert answer.status_code == 200
        assert answer.content.decode().count("<h1") == 1


def test_nobody_sees_another_tenants_outcome() -> None:
    story, other = grants.granted(), grants.granted()
    outcome = make.reported(story, title="비밀 채용")
    elsewhere = identity.officer("program", other.call.program_id)
    for person in (other.lead, elsewhere, identity.reviewer()):
        client = browser(person)
        for page in [
            *pages_of(outcome),
            reverse("outcomes:report", args=[story.grant.number]),
            reverse("outcomes:correct", args=[outcome.pk]),
            reverse("outcomes:verify", args=[outcome.pk]),
            reverse("outcomes:return", args=[outcome.pk]),
        ]:
            for answer in (client.get(page), client.post(page, {"reason": "r", "level": "2_evidence"})):
                assert (page, answer.status_code in (404, 405)) == (page, True)
                assert "비밀 채용" not in answer.content.decode()
        assert "비밀 채용" not in client.get(reverse("outcomes:list")).content.decode()
    assert "비밀 채용" not in browser(elsewhere).get(reverse("outcomes:queue")).content.decode()
    assert Outcome.objects.get().state == "reported"


def test_a_lead_reports_on_the_page_with_two_files() -> None:
    story = grants.granted()
    page = reverse("outcomes:report", args=[story.grant.number])
    fields = make.facts(evidence=[make.file(), make.file(name="계약서.pdf")])
    answer = browser(story.lead).post(page, fields)
    outcome = Outcome.objects.get()
    assert (answer.status_code, answer["location"]) == (302, reverse("outcomes:outcome", args=[outcome.pk]))
    assert outcome.evidence.count() == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"evidence": []},
        {"amount": "many"},
        {"amount": "9" * 40},
        {"occurred_on": "2999-01-01"},
        {"occurred_on": "0000-00-00"},
        {"title": "x" * 201},
        {"title": "\u202eevil"},
        {"share_percent": "101"},
        {"share_percent": "0"},
        {"kind": "fame"},
    ],
)
def test_a_report_that_can_not_be_read_is_answered_at_the_field(changes: dict[str, Any]) -> None:
    story = grants.granted()
    page = reverse("outcomes:report", args=[story.grant.number])
    answer = browser(story.lead).post(page, make.facts(**changes))
    assert answer.status_code == 422
    assert set(answer.context["form"].errors) == set(changes)
    assert Outcome.objects.count() == 0


def test_an_officer_verifies_and_returns_on_the_page() -> None:
    story = grants.granted()
    client, outcome = browser(story.officer), make.reported(story)
    verify = reverse("outcomes:verify", args=[outcome.pk])
    assert client.post(verify, {"level": "", "reason": ""}).status_code == 422
    assert client.post(verify, {"level": "5_audit", "reason": "r"}).status_code == 422
    assert client.post(verify, {"level": "2_evidence", "reason": "재직증명 확인"}).status_code == 302
    assert Outcome.objects.get().level == "2_evidence"
    assert client.post(reverse("outcomes:return", args=[outcome.pk]), {"reason": "r"}).status_code == 422
    other = make.reported(story)
    assert client.post(reverse("outcomes:return", args=[other.pk]), {"reason": ""}).status_code == 422
    assert client.post(reverse("outcomes:return", args=[other.pk]), {"reason": "흐립니다."}).status_code == 302
    assert browser(story.lead).post(verify, {"level": "3_on_site", "reason": "r"}).status_code == 403


def test_evidence_comes_as_a_download_and_never_as_a_page() -> None:
    story = grants.granted()
    outcome = make.reported(story, evidence=[make.file(b"<script>", "x.html")])
    answer = browser(story.lead).get(pages_of(outcome)[1])
    assert answer["content-type"] == "application/octet-stream"
    assert answer["content-disposition"].startswith("attachment")
    assert answer["x-content-type-options"] == "nosniff"


def test_the_grants_page_shows_what_was_reported_and_the_way_to_report() -> None:
    story = grants.granted()
    page = reverse("grants:grant", args=[story.grant.number])
    report = reverse("outcomes:report", args=[story.grant.number])
    assert report in browser(story.lead).get(page).content.decode()
    assert report not in browser(story.officer).get(page).content.decode()
    make.reported(story)
    assert (
        reverse("outcomes:list") + f"?grant={story.grant.number}" in browser(story.officer).get(page).content.decode()
    )


def test_lists_ask_the_same_few_questions_with_one_row_and_with_thirty(django_assert_max_num_queries: Any) -> None:
    story = grants.granted()
    outcome = make.reported(story)
    for count in (1, 30):
        while Outcome.objects.count() < count:
            make.reported(story)
        for person in (story.lead, story.officer):
            for page in [*pages_of(outcome), reverse("outcomes:list"), reverse("outcomes:queue")]:
                if person is story.lead and "queue" in page:
                    continue
                client = browser(person)
                with django_assert_max_num_queries(12):
                    assert client.get(page).status_code == 200
