from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from madang.identity import actions
from madang.identity.models import ApiToken, Invitation, Membership, Organization, Person, RoleGrant
from madang.identity.tests import make
from madang.workflow.models import LogLine

pytestmark = pytest.mark.django_db
V1 = "/api/v1"


def with_token(person: Person) -> Client:
    _row, token = actions.make_token(person, name="test", days=1)
    return Client(headers={"authorization": f"Bearer {token}"})


def post(client: Client, path: str, body: Any, method: str = "post") -> Any:
    return getattr(client, method)(f"{V1}{path}", body, content_type="application/json")


def test_a_token_says_who_asks() -> None:
    organization = make.organization()
    answer = with_token(make.lead_of(organization)).get(f"{V1}/me")
    assert answer.status_code == 200
    assert [m["organization_id"] for m in answer.json()["memberships"]] == [organization.pk]


def test_without_a_valid_token_or_a_session_nobody_asks() -> None:
    person = make.person()
    wrong = Client(headers={"authorization": "Bearer mdg_wrong"})
    wrong.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    assert [client.get(f"{V1}/me").status_code for client in (Client(), wrong)] == [401, 401]


def test_a_session_needs_its_csrf_token() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(make.person(), backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(f"{V1}/me").status_code in (200, 403)
    assert post(client, "/tokens", {"name": "x", "days": 1}).status_code == 403
    assert ApiToken.objects.count() == 0


def test_a_token_makes_no_token() -> None:
    client = with_token(make.person())
    assert post(client, "/tokens", {"name": "x", "days": 1}).status_code in (401, 403)
    assert ApiToken.objects.count() == 1


def test_a_company_registers_and_invites() -> None:
    founder, guest = make.person(), make.person(email="guest@example.kr")
    client = with_token(founder)
    body = {"name_ko": "새싹", "kind": "sme", "business_number": make.business_number(), "region": "29"}
    made = post(client, "/organizations", body)
    assert made.status_code == 201
    assert post(client, "/organizations", body).status_code == 422
    id = made.json()["id"]
    invited = post(client, f"/organizations/{id}/invitations", {"email": "guest@example.kr"})
    assert invited.status_code == 201
    assert set(invited.json()) == {"id", "email", "role", "expires_at"}
    assert client.get(f"{V1}/organizations/{id}/members").json()["items"][0]["email"] == founder.email
    assert with_token(guest).get(f"{V1}/organizations/{id}").status_code == 404


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name_ko", "가" * 121),
        ("name_ko", "a\u0000b"),
        ("name_ko", "a\u202eb"),
        ("name_ko", 7),
        ("name_ko", ""),
        ("business_number", "1234567890"),
        ("kind", "kingdom"),
        ("region", 29),
        ("founded_on", "yesterday"),
        ("is_youth_startup", "perhaps"),
    ],
)
def test_bad_input_names_its_field(field: str, value: Any) -> None:
    body = {"name_ko": "새싹", "kind": "sme", "business_number": make.business_number(), "region": "29", field: value}
    answer = post(with_token(make.person()), "/organizations", body)
    assert answer.status_code == 422
    assert field in str(answer.json()["where"])
    assert Organization.objects.count() == 0


def test_strangers_find_and_change_nothing_through_the_api() -> None:
    mine, other = make.organization(name_ko="비밀로보틱스"), make.organization()
    lead = make.lead_of(mine)
    make.member(mine)
    invitation, _secret = actions.invite(lead, organization=mine, email="waiting@secret.kr")
    token, _key = actions.make_token(lead, name="비밀토큰", days=1)
    membership = Membership.objects.filter(organization=mine).latest("id")
    role = RoleGrant.objects.filter(person=make.officer()).get()
    asks = [
        ("get", f"/organizations/{mine.pk}", None),
        ("get", f"/organizations/{mine.pk}/members", None),
        ("get", f"/organizations/{mine.pk}/invitations", None),
        ("patch", f"/organizations/{mine.pk}", {"name_ko": "남의 이름"}),
        ("post", f"/organizations/{mine.pk}/invitations", {"email": "x@example.kr"}),
        ("delete", f"/invitations/{invitation.pk}", None),
        ("patch", f"/memberships/{membership.pk}", {"role": "lead"}),
        ("delete", f"/memberships/{membership.pk}", None),
        ("delete", f"/tokens/{token.pk}", None),
        ("get", "/people", None),
        ("get", f"/people/{lead.pk}", None),
        ("post", "/people", {"name": "x", "email": "x@example.kr"}),
        ("post", f"/people/{lead.pk}/roles", {"role": "officer", "reason": "x"}),
        ("post", f"/roles/{role.pk}/end", {"reason": "x"}),
        ("get", "/log", None),
    ]
    clients = [with_token(p) for p in (make.lead_of(other), make.person(), make.reviewer(), make.executive())]
    lines = LogLine.objects.count()
    for client in clients:
        for method, path, body in asks:
            answer = post(client, path, body, method) if body else getattr(client, method)(f"{V1}{path}")
            assert answer.status_code in (403, 404), (method, path, answer.content)
            said = answer.content.decode()
            assert [w for w in ("비밀", "waiting@secret.kr", lead.email) if w in said] == []
        assert client.get(f"{V1}/tokens").json()["items"][0]["name"] == "test"
    assert LogLine.objects.count() == lines
    assert Invitation.objects.get(pk=invitation.pk).withdrawn_at is None


def test_the_operator_gives_and_ends_a_role() -> None:
    client, person = with_token(make.operator()), make.person()
    given = post(client, f"/people/{person.pk}/roles", {"role": "reviewer", "reason": "위촉"})
    assert given.status_code == 201
    assert post(client, f"/people/{person.pk}/roles", {"role": "reviewer", "reason": "위촉"}).status_code == 409
    ended = post(client, f"/roles/{given.json()['id']}/end", {"reason": "해촉"})
    assert ended.json()["until"] is not None


@pytest.mark.parametrize("query", ["after=-1", "after=99999999999999999999", "after=x", "role=king", "search=%00"])
def test_a_question_out_of_range_is_refused_and_named(query: str) -> None:
    assert with_token(make.operator()).get(f"{V1}/people?{query}").status_code in (400, 422)
