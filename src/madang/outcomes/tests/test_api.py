from __future__ import annotations

from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client

from madang.grants.tests import make as grants
from madang.identity import actions as identity_actions
from madang.identity.models import Person
from madang.outcomes.models import Outcome
from madang.outcomes.tests import make

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def files_of_this_test(settings: LazySettings, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path


def client(person: Person) -> Client:
    _token, secret = identity_actions.make_token(person, name="test", days=1)
    return Client(headers={"authorization": f"Bearer {secret}", "accept-language": "en"})


def test_an_outcome_is_reported_verified_and_downloaded_over_http() -> None:
    story = grants.granted()
    lead, officer = client(story.lead), client(story.officer)
    body = make.facts(evidence=[make.file(b"hired"), make.file()])
    answer = lead.post(f"/api/v1/outcomes/report/{story.grant.number}", body)
    assert answer.status_code == 200
    outcome = answer.json()
    assert (outcome["unit"], outcome["state"], len(outcome["evidence"])) == ("person", "reported", 2)
    path = f"/api/v1/outcomes/{outcome['id']}"
    judgement = {"level": "2_evidence", "reason": "재직증명 확인"}
    assert lead.post(f"{path}/verify", judgement, content_type="application/json").status_code == 403
    answer = officer.post(f"{path}/verify", judgement, content_type="application/json")
    assert (answer.status_code, answer.json()["level"]) == (200, "2_evidence")
    file = officer.get(f"{path}/evidence/{outcome['evidence'][0]['id']}")
    assert b"".join(file.streaming_content) == b"hired"  # type: ignore[attr-defined]
    queue = officer.get("/api/v1/outcomes/queue")
    assert queue.json() == {"items": [], "next": None}
    correction = make.facts(replaces=outcome["id"], amount=2)
    assert lead.post(f"/api/v1/outcomes/report/{story.grant.number}", correction).json()["replaces"] == outcome["id"]
    listed = lead.get("/api/v1/outcomes/", {"grant": story.grant.number}).json()["items"]
    assert [row["amount"] for row in listed] == [2]


def test_nobody_reaches_another_tenants_outcome_over_http() -> None:
    story, other = grants.granted(), grants.granted()
    outcome = make.reported(story, title="비밀 채용")
    stranger = client(other.lead)
    path = f"/api/v1/outcomes/{outcome.pk}"
    (evidence,) = outcome.evidence.all()
    for address in (path, f"{path}/evidence/{evidence.pk}"):
        assert stranger.get(address).status_code == 404
    for verb, body in (("verify", {"level": "2_evidence", "reason": "r"}), ("return", {"reason": "r"})):
        assert stranger.post(f"{path}/{verb}", body, content_type="application/json").status_code == 404
    assert stranger.post(f"/api/v1/outcomes/report/{story.grant.number}", make.facts()).status_code == 404
    mine = make.facts(replaces=outcome.pk)
    assert stranger.post(f"/api/v1/outcomes/report/{other.grant.number}", mine).status_code == 404
    assert "비밀 채용" not in stranger.get("/api/v1/outcomes/").content.decode()
    assert stranger.get("/api/v1/outcomes/queue").status_code == 403
    assert Outcome.objects.get().state == "reported"


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 0},
        {"amount": 10**30},
        {"occurred_on": "2999-01-01"},
        {"share_percent": 101},
        {"share_percent": 0},
        {"title": "a\x00b"},
        {"kind": "fame"},
        {"evidence": []},
        {"text": "x" * 4001},
    ],
)
def test_a_report_that_can_not_be_read_is_a_problem(changes: dict[str, Any]) -> None:
    story = grants.granted()
    answer = client(story.lead).post(f"/api/v1/outcomes/report/{story.grant.number}", make.facts(**changes))
    assert answer.status_code == 422
    assert next(iter(changes)) in str(answer.json()["where"])
    assert Outcome.objects.count() == 0
