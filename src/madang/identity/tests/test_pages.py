"""Every page as every role: what it answers, what it must not say, and how much it asks of the database."""

from __future__ import annotations

import re

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse

from madang.identity import actions, queries
from madang.identity.models import ApiToken, Invitation, Membership, Organization, Person, RoleGrant
from madang.identity.tests import make
from madang.workflow.models import LogLine

pytestmark = pytest.mark.django_db
MOST_QUERIES = 12


def as_(person: Person | None, language: str = "ko") -> Client:
    client = Client(headers={"accept-language": language})
    if person:
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def house() -> dict[str, Person | Organization]:
    """Two organizations and one person of every role. What belongs to the first could leak."""
    mine = make.organization(make.person("나리드"), name_ko="비밀로보틱스", representative="비밀대표")
    other = make.organization(make.person("남리드"), name_ko="다른회사")
    make.member(mine)
    actions.invite(make.lead_of(mine), organization=mine, email="waiting@secret.kr")
    actions.make_token(make.lead_of(mine), name="비밀토큰", days=30)
    return {
        "mine": mine,
        "lead": make.lead_of(mine),
        "member": Person.objects.get(name="최회원"),
        "stranger": make.lead_of(other),
        "nobody": make.person("외톨이"),
        "operator": make.operator(),
        "officer": make.officer(),
        "reviewer": make.reviewer(),
        "steward": make.steward(),
        "executive": make.executive(),
        "auditor": make.auditor(),
    }


ROLES = [
    "anonymous", "lead", "member", "stranger", "nobody", "operator", "officer", "reviewer", "steward", "executive",
    "auditor",
]  # fmt: skip
SEEN_BY = {
    "organizations": set(ROLES) - {"anonymous"},
    "organization-new": set(ROLES) - {"anonymous"},
    "organization": {"lead", "member", "operator", "officer", "auditor"},
    "organization-edit": {"lead", "operator"},
    "membership-end": {"lead", "member", "operator"},
    "account": set(ROLES) - {"anonymous"},
    "tokens": set(ROLES) - {"anonymous"},
    "people": {"operator", "auditor"},
    "person": {"operator", "auditor"},
    "person-new": {"operator"},
    "role-end": {"operator"},
    "log": {"operator", "auditor"},
}


def address(name: str, house: dict) -> str:
    ids = {
        "organization": house["mine"].pk,
        "organization-edit": house["mine"].pk,
        "membership-end": Membership.objects.filter(organization=house["mine"]).latest("id").pk,
        "person": house["lead"].pk,
        "role-end": RoleGrant.objects.latest("id").pk,
    }
    return reverse(f"identity:{name}", args=[ids[name]] if name in ids else [])


@pytest.mark.parametrize("name", SEEN_BY)
def test_each_page_is_seen_by_whom_it_is_for_and_says_nothing_to_others(
    name: str, house: dict, django_assert_max_num_queries
) -> None:
    seen = set()
    there = address(name, house)
    for role in ROLES:
        client = as_(house.get(role))
        with django_assert_max_num_queries(MOST_QUERIES):
            answer = client.get(there)
        if answer.status_code == 200:
            seen.add(role)
            continue
        assert answer.status_code == 302 if role == "anonymous" else answer.status_code in (403, 404)
        said = answer.content.decode()
        secrets = ["비밀로보틱스", "비밀대표", "waiting@secret.kr", *([house["lead"].email] if role != "lead" else [])]
        assert [secret for secret in secrets if secret in said] == []
    assert seen == SEEN_BY[name]


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("name", SEEN_BY)
def test_each_page_has_one_heading_and_no_script_of_its_own(name: str, language: str, house: dict) -> None:
    said = as_(house["operator"], language).get(address(name, house)).content.decode()
    assert f'<html lang="{language}"' in said
    assert len(re.findall(r"<h1[ >]", said)) == 1
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>|\bon(?:click|submit|change)=|\bstyle=", said) == []


def test_strangers_change_nothing(house: dict) -> None:
    mine = house["mine"]
    membership = Membership.objects.filter(organization=mine).latest("id")
    posts = [
        (reverse("identity:invite", args=[mine.pk]), {"email": "x@example.kr", "role": "member"}),
        (reverse("identity:organization-edit", args=[mine.pk]), {"name_ko": "남의 이름", "region": "11"}),
        (reverse("identity:membership-role", args=[membership.pk]), {"role": "lead"}),
        (reverse("identity:membership-end", args=[membership.pk]), {}),
        (reverse("identity:invitation-withdraw", args=[Invitation.objects.get(email="waiting@secret.kr").pk]), {}),
        (reverse("identity:token-revoke", args=[ApiToken.objects.get().pk]), {}),
        (reverse("identity:role-end", args=[RoleGrant.objects.latest("id").pk]), {"reason": "x"}),
        (reverse("identity:person", args=[house["nobody"].pk]), {"role": "officer", "over": "site:0", "reason": "x"}),
        (reverse("identity:person-new"), {"name": "x", "email": "x@example.kr"}),
    ]
    lines = LogLine.objects.count()
    for role in ("anonymous", "stranger", "nobody", "reviewer", "steward", "executive"):
        for there, body in posts:
            answer = as_(house.get(role)).post(there, body)
            assert answer.status_code == 302 if role == "anonymous" else answer.status_code in (403, 404), (role, there)
            if role == "anonymous":
                assert answer["location"].startswith("/accounts/login/")
    assert LogLine.objects.count() == lines


def test_a_verb_is_never_done_by_looking(house: dict) -> None:
    client = as_(house["lead"])
    invitation = Invitation.objects.get(email="waiting@secret.kr")
    for there in (
        reverse("identity:invitation-withdraw", args=[invitation.pk]),
        reverse("identity:token-revoke", args=[ApiToken.objects.get().pk]),
        reverse("identity:membership-role", args=[Membership.objects.latest("id").pk]),
    ):
        assert client.get(there).status_code == 405
    assert Client(enforce_csrf_checks=True).post(reverse("identity:organization-new")).status_code == 403


def test_registering_by_the_form() -> None:
    founder = make.person()
    number = make.business_number()
    body = {"name_ko": "새싹 🌱", "business_number": f"{number[:3]}-{number[3:5]}-{number[5:]}", "kind": "sme"}
    answer = as_(founder).post(reverse("identity:organization-new"), body | {"region": "29"})
    organization = Organization.objects.get()
    assert (answer.status_code, answer["location"]) == (302, f"/organization/{organization.pk}/")
    assert (organization.name_ko, organization.business_number) == ("새싹 🌱", number)
    again = as_(founder).post(reverse("identity:organization-new"), body | {"region": "29"})
    assert (again.status_code, Organization.objects.count()) == (422, 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name_ko", "가" * 121),
        ("name_ko", "회사\x00이름"),
        ("name_ko", "회사\u202e이름"),
        ("name_ko", ""),
        ("business_number", "123-45-67890"),
        ("business_number", "일이삼"),
        ("business_number", "1" * 1000),
        ("kind", "agency"),
        ("kind", "kingdom"),
        ("region", "99"),
        ("founded_on", "yesterday"),
        ("founded_on", "2999-01-01"),
        ("representative", "x" * 81),
    ],
)
def test_bad_input_is_shown_at_its_field_and_nothing_is_made(field: str, value: str) -> None:
    body = {"name_ko": "회사", "business_number": make.business_number(), "kind": "sme", "region": "29", field: value}
    answer = as_(make.person()).post(reverse("identity:organization-new"), body)
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [field]
    assert Organization.objects.count() == 0


def test_an_invitation_from_letter_to_member(house: dict, django_capture_on_commit_callbacks) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        there = reverse("identity:invite", args=[house["mine"].pk])
        as_(house["lead"]).post(there, {"email": house["nobody"].email, "role": "member"})
    path = re.search(r"/invitations/[^/\s]+/", mail.outbox[-1].body).group()
    assert "비밀로보틱스" in as_(None).get(path).content.decode()
    assert as_(house["stranger"]).post(path).status_code == 403
    assert as_(house["nobody"]).get(path).status_code == 200
    assert not Membership.objects.filter(person=house["nobody"]).exists()
    answers = [as_(house["nobody"]).post(path) for _click in range(2)]
    assert [a.status_code for a in answers] == [302, 302]
    assert Membership.objects.filter(person=house["nobody"]).count() == 1
    assert as_(None).get("/invitations/guess/").status_code == 404


def test_a_new_token_is_shown_once(house: dict) -> None:
    client = as_(house["nobody"])
    said = client.post(reverse("identity:tokens"), {"name": "laptop", "days": "30"})
    token = re.search(r"mdg_[-_\w]{40,}", said.content.decode()).group()
    assert "no-store" in said["cache-control"]
    assert token not in client.get(reverse("identity:tokens")).content.decode()
    assert ApiToken.objects.filter(person=house["nobody"]).count() == 1
    assert client.post(reverse("identity:tokens"), {"name": "laptop", "days": "366"}).status_code == 422


def test_reading_contact_data_of_others_is_recorded(house: dict) -> None:
    reads = LogLine.objects.filter(verb="read")
    as_(house["lead"]).get(reverse("identity:organization", args=[house["mine"].pk]))
    as_(house["operator"]).get(reverse("identity:person", args=[house["operator"].pk]))
    as_(house["auditor"]).get(reverse("identity:people"))
    assert reads.count() == 0
    as_(house["officer"]).get(reverse("identity:organization", args=[house["mine"].pk]))
    as_(house["auditor"]).get(reverse("identity:person", args=[house["lead"].pk]))
    assert list(reads.order_by("id").values_list("actor_id", "kind", "ref")) == [
        (house["officer"].pk, "identity.organization", house["mine"].pk),
        (house["auditor"].pk, "identity.person", house["lead"].pk),
    ]


def test_the_list_of_people_holds_no_addresses(house: dict) -> None:
    said = as_(house["auditor"]).get(reverse("identity:people"), {"q": "나리드"}).content.decode()
    assert "나리드" in said
    assert house["lead"].email not in said


def test_the_list_goes_on_where_it_ended(house: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "PAGE", 2)
    found, after = [], None
    while True:
        answer = as_(house["operator"]).get(reverse("identity:people"), {"after": after} if after else {})
        found += [person.pk for person in answer.context["rows"]]
        if (after := answer.context["after"]) is None:
            break
    assert found == list(Person.objects.order_by("id").values_list("id", flat=True))


def test_the_log_speaks_in_words_and_can_be_searched(house: dict) -> None:
    client = as_(house["auditor"])
    lines = client.get(reverse("identity:log"), {"who": "나리드", "kind": "identity.organization"}).context["lines"]
    ((line, said, href),) = lines
    assert href == reverse("identity:organization", args=[line.ref])
    assert said["who"] == "나리드"
    assert said["did"] == "등록"
    english = as_(house["auditor"], "en").get(reverse("identity:log"), {"kind": "identity.organization"})
    assert english.context["lines"][0][1]["did"] == "registered"


ODD = ["after=-1", "after=9999999999999999999999", "after=x", "q=%F0%9F%A4%96", "q=%E2%80%AE", "kind=nothing"]


@pytest.mark.parametrize("query", [*ODD, "role=king", "before=1e9", "q=" + "a" * 3000])
@pytest.mark.parametrize("name", ["people", "log", "organizations"])
def test_odd_addresses_are_answered(name: str, query: str, house: dict) -> None:
    assert as_(house["operator"]).get(f"{reverse(f'identity:{name}')}?{query}").status_code == 200


def test_roles_are_given_and_ended_by_the_form(house: dict) -> None:
    client = as_(house["operator"])
    there = reverse("identity:person", args=[house["nobody"].pk])
    body = {"role": "reviewer", "over": "site:0", "reason": "위촉"}
    assert client.post(there, body).status_code == 302
    again = client.post(there, body)
    assert (again.status_code, list(again.context["form"].errors)) == (422, ["role"])
    assert client.post(there, body | {"over": "program:999"}).status_code == 422
    grant = RoleGrant.objects.get(person=house["nobody"])
    assert client.post(reverse("identity:role-end", args=[grant.pk]), {"reason": ""}).status_code == 422
    assert client.post(reverse("identity:role-end", args=[grant.pk]), {"reason": "해촉"}).status_code == 302
    grant.refresh_from_db()
    assert grant.until is not None
