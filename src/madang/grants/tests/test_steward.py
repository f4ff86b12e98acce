from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from madang.catalog.models import Resource
from madang.catalog.tests import make as catalog
from madang.grants.tests import make
from madang.grants.tests.test_api import Api
from madang.identity.models import Person
from madang.identity.tests import make as identity
from madang.workflow.models import LogLine

pytestmark = pytest.mark.django_db
LIST = "/grants/steward/"


def browser(person: Person) -> Client:
    client = Client(headers={"accept-language": "ko"})
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def steward_of(resource: Resource) -> Person:
    return identity.steward("resource", resource.pk)


def two_companies() -> tuple[make.Story, make.Story]:
    """One has the resource of the steward, the other has another one."""
    mine = make.granted(identity.organization(name_ko="우리 회사"), {"compute": make.HOUR})
    other = catalog.resource()
    theirs = make.granted(
        identity.organization(name_ko="다른 회사"), {"compute": make.HOUR}, lent=[other], program=mine.call.program
    )
    return mine, theirs


def test_a_steward_sees_what_is_lent_of_the_own_resource_and_nothing_else() -> None:
    mine, theirs = two_companies()
    page = browser(steward_of(mine.compute.resource)).get(LIST).content.decode()
    assert mine.grant.number in page
    assert "우리 회사" in page
    for leak in (theirs.grant.number, "다른 회사", mine.lead.name, mine.lead.email, mine.grant.title, "이대표", "₩"):
        assert leak not in page


def test_a_steward_of_the_site_sees_all_of_it_and_others_see_no_list() -> None:
    mine, theirs = two_companies()
    page = browser(identity.steward()).get(LIST).content.decode()
    assert mine.grant.number in page
    assert theirs.grant.number in page
    for person in (mine.lead, mine.officer, identity.reviewer()):
        assert browser(person).get(LIST).status_code == 403


def test_a_steward_pauses_and_resumes_with_a_reason_and_comes_back_to_the_list() -> None:
    mine, _theirs = two_companies()
    client = browser(steward_of(mine.compute.resource))
    pause, resume = (reverse(f"grants:steward-{verb}", args=[mine.compute.pk]) for verb in ("pause", "resume"))
    assert client.post(pause, {"reason": ""}).status_code == 422
    assert mine.compute.state == "open"
    answer = client.post(pause, {"reason": "점검"})
    assert (answer.status_code, answer.headers["location"]) == (302, LIST)
    assert mine.compute.state == "paused"
    assert LogLine.objects.get(verb="pause").reason == "점검"
    assert client.post(resume, {"reason": "점검 완료"}).status_code == 302
    assert mine.compute.state == "open"


def test_nobody_pauses_what_another_steward_looks_after() -> None:
    mine, theirs = two_companies()
    for person in (steward_of(mine.compute.resource), theirs.lead, identity.reviewer()):
        client = browser(person)
        for verb in ("pause", "resume"):
            address = reverse(f"grants:steward-{verb}", args=[theirs.compute.pk])
            assert client.post(address, {"reason": "점검"}).status_code in (403, 404)
    assert theirs.compute.state == "open"


def test_the_list_takes_no_more_queries_when_there_is_more(django_assert_max_num_queries: Any) -> None:
    steward = identity.steward()
    client = browser(steward)
    for _round in range(2):
        make.granted()
        with django_assert_max_num_queries(12):
            assert client.get(LIST).status_code == 200


def test_a_steward_does_the_same_over_http() -> None:
    mine, theirs = two_companies()
    client = browser(steward_of(mine.compute.resource))
    page = client.get("/api/v1/grants/allocations/lent").json()
    assert [(row["id"], row["organization_ko"]) for row in page["items"]] == [(mine.compute.pk, "우리 회사")]
    assert set(page["items"][0]).isdisjoint({"list_krw", "own_share_krw", "title"})
    assert client.get(f"/api/v1/grants/{mine.grant.number}").status_code == 404
    program = Api(steward_of(theirs.compute.resource))
    for allocation, expected in ((mine.compute, 404), (theirs.compute, 200)):
        status, answer = program.post(f"/allocations/{allocation.pk}/pause", {"reason": "점검"})
        assert status == expected
        assert "우리 회사" not in str(answer)
    assert (mine.compute.state, theirs.compute.state) == ("open", "paused")
