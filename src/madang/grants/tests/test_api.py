from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from madang.grants.models import Grant
from madang.grants.tests import make
from madang.identity import actions as identity_actions
from madang.identity.models import Person
from madang.identity.tests import make as identity
from madang.programs.tests import make as programs

pytestmark = pytest.mark.django_db


class Api:
    """A program of this person: one token, JSON in and out."""

    def __init__(self, person: Person) -> None:
        _token, secret = identity_actions.make_token(person, name="test", days=1)
        self.client = Client(headers={"authorization": f"Bearer {secret}", "accept-language": "en"})

    def get(self, path: str) -> tuple[int, Any]:
        answer = self.client.get(f"/api/v1/grants{path}")
        return answer.status_code, answer.json()

    def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        answer = self.client.post(f"/api/v1/grants{path}", body or {}, content_type="application/json")
        return answer.status_code, answer.json()


def test_a_grant_is_accepted_over_http_and_its_meters_are_read() -> None:
    story = make.offered()
    api, number = Api(story.lead), story.grant.number
    _status, agreement = api.get(f"/{number}/agreement")
    body = {"version": agreement["version"], "digest": agreement["digest"], "signed_as": "대표이사 이대표"}
    stale, _problem = api.post(f"/{number}/accept", body | {"digest": "0" * 64})
    assert stale == 409
    for _click in range(2):
        status, grant = api.post(f"/{number}/accept", body)
        assert (status, grant["state"]) == (200, "active")
    meter = {"granted": 360_000, "held": 0, "used": 0, "left": 360_000, "overrun": 0}
    assert grant["allocations"][0]["meter"] == meter
    assert grant["allocations"][0]["own_share_krw"] == 100_000
    assert grant["allocations"][1]["own_share_krw"] is None
    status, usable = api.get("/allocations")
    assert [row["id"] for row in usable] == [story.compute.pk]
    status, statement = api.get(f"/allocations/{story.compute.pk}/entries")
    assert [(row["kind"], row["change"]) for row in statement["items"]] == [("grant", 360_000)]


def test_an_officer_announces_promotes_pauses_and_closes_over_http() -> None:
    officer = identity.officer()
    notice = make.call(officer=officer)
    first, second = make.applied(notice), make.applied(notice)
    make.decided(officer, notice, {first: "selected", second: "reserve"})
    api = Api(officer)
    status, grants = api.post(f"/announce/{notice.code}")
    assert (status, [row["application"] for row in grants]) == (200, [first.pk])
    assert api.post(f"/announce/{notice.code}")[0] == 409
    status, grant = api.post(f"/promote/{second.pk}")
    assert (status, grant["state"]) == (200, "offered")
    assert api.post(f"/promote/{second.pk}")[0] == 409
    story = make.Story(
        notice,
        officer,
        first.organization,
        identity.lead_of(first.organization),
        first,
        Grant.objects.get(application=first),
    )
    make.accepted(story)
    assert api.post(f"/allocations/{story.compute.pk}/pause", {"reason": "점검"})[1]["state"] == "paused"
    assert api.post(f"/allocations/{story.compute.pk}/resume", {"reason": "끝"})[1]["state"] == "open"
    assert api.post(f"/{story.grant.number}/close", {"reason": "끝"})[1]["state"] == "closed"
    status, ledger = api.get("/ledger")
    assert (status, ledger["differences"]) == (200, [])


def test_nobody_reaches_another_tenants_grant_over_http() -> None:
    story, other = make.granted(), make.granted()
    agreement = story.grant.agreements.get()
    elsewhere = identity.officer("program", programs.program().pk)
    signed, why = {"version": 1, "digest": agreement.digest, "signed_as": "x"}, {"reason": "r"}
    number, allocation = story.grant.number, story.compute.pk
    for person in (other.lead, identity.member(other.organization), elsewhere, identity.reviewer()):
        api = Api(person)
        for path in (f"/{number}", f"/{number}/agreement", f"/allocations/{allocation}/entries"):
            status, answer = api.get(path)
            assert (path, status) == (path, 404)
            assert story.grant.title not in str(answer)
        for path, body in (
            (f"/{number}/accept", signed),
            (f"/{number}/decline", why),
            (f"/{number}/close", why),
            (f"/allocations/{allocation}/pause", why),
            (f"/allocations/{allocation}/resume", why),
            (f"/announce/{story.call.code}", {}),
            (f"/promote/{story.application.pk}", {}),
        ):
            status, answer = api.post(path, body)
            assert (path, status) == (path, 404)
        assert story.grant.number not in str(api.get("/")[1])
    assert story.again().state == "active"


def test_what_the_api_can_not_read_is_a_problem_with_its_place() -> None:
    story = make.offered()
    api, number = Api(story.lead), story.grant.number
    good = {"version": 1, "digest": story.grant.agreements.get().digest, "signed_as": "이대표"}
    for field, value in (
        ("version", 0),
        ("version", 2**70),
        ("version", "one"),
        ("digest", "x"),
        ("signed_as", ""),
        ("signed_as", "a\x00b"),
        ("signed_as", "\u202eevil"),
        ("signed_as", "x" * 161),
    ):
        status, problem = api.post(f"/{number}/accept", good | {field: value})
        assert (field, value, status) == (field, value, 422)
        assert problem["where"] == [f"body.{field}"] or field in ".".join(problem["where"])
    for path in (f"/allocations/{2**70}/entries", "/?limit=0", "/?after=x", "/?state=lent", "/?limit=99999999999"):
        assert (path, api.get(path)[0]) == (path, 422)
    assert story.again().state == "offered"
