from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from madang.catalog import actions
from madang.catalog.models import Place, Rate, Resource
from madang.catalog.tests import make
from madang.identity import actions as identity
from madang.identity.access import access_of
from madang.identity.models import Person
from madang.identity.tests import make as people
from madang.workflow.models import LogLine

pytestmark = pytest.mark.django_db


def as_(person: Person | None, language: str = "ko") -> Client:
    client = Client(headers={"accept-language": language})
    if person:
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.mark.parametrize("language", ["ko", "en"])
def test_everybody_reads_the_catalog_in_few_questions(language: str, django_assert_max_num_queries) -> None:
    place = actions.add_place(people.operator(), code="dc", name_ko="데이터센터", name_en="data center")
    for number in range(30):
        make.rate(make.resource("instrument", place=place), price_krw=number)
    pages = [reverse("catalog:list"), reverse("catalog:detail", args=[Resource.objects.latest("id").code])]
    pages += [
        f"{pages[0]}?{q}" for q in ("kind=x", "after=-5", "q=%E2%80%AE", "sector=moon", "after=99999999999999999999")
    ]
    for person in (None, people.operator(), people.lead_of(people.organization())):
        client = as_(person, language)
        for there in pages:
            with django_assert_max_num_queries(12):
                answer = client.get(there)
            said = answer.content.decode()
            assert (answer.status_code, len(re.findall(r"<h1[ >]", said))) == (200, 1)
            keeps = access_of(person).holds("operator") and there != pages[1]
            assert (reverse("catalog:kinds") in said) == keeps


def test_an_empty_catalog_says_what_to_do_first() -> None:
    there = reverse("catalog:list")
    assert reverse("catalog:kinds") not in as_(None).get(there).content.decode()
    assert reverse("catalog:kinds") in as_(people.operator()).get(there).content.decode()


def test_a_resource_is_added_edited_and_priced_by_forms_in_units_that_people_use() -> None:
    client, owner = as_(people.operator()), people.agency()
    body = {"code": "h100", "name_ko": "H100 파티션 🚀", "name_en": "H100", "owner": owner.pk, "resource_class": "H100"}
    assert client.get(reverse("catalog:kinds")).status_code == 200
    added = client.post(reverse("catalog:add", args=["compute"]), body | {"capacity": "16"})
    assert added.status_code == 302
    resource = Resource.objects.get()
    assert (resource.capacity_per_hour, resource.name_ko) == (57_600, "H100 파티션 🚀")
    again = client.post(reverse("catalog:add", args=["compute"]), body)
    assert (again.status_code, list(again.context["form"].errors)) == (422, ["code"])
    price = {"price_krw": "2000", "per": "1", "starts_on": "2025-01-01", "basis_ko": "의결"}
    assert client.post(reverse("catalog:rate", args=["h100"]), price).status_code == 302
    assert Rate.objects.get().per_amount == 3600
    twice = client.post(reverse("catalog:rate", args=["h100"]), price)
    assert (twice.status_code, list(twice.context["form"].errors)) == (422, ["starts_on"])
    assert "₩2,000" in as_(None).get(reverse("catalog:detail", args=["h100"])).content.decode()
    form = client.get(reverse("catalog:edit", args=["h100"])).context["form"]
    assert form["capacity"].value() == 16
    changed = {"name_ko": "H100", "name_en": "H100", "owner": owner.pk, "capacity": "8"}
    assert client.post(reverse("catalog:edit", args=["h100"]), changed).status_code == 302
    assert Resource.objects.get().capacity_per_hour == 8 * 3600


@pytest.mark.parametrize("kind", ["storage", "instrument", "space", "seat", "dataset", "fund", "mentor", "permit"])
def test_each_kind_has_its_form(kind: str) -> None:
    owner = people.agency()
    body = {"code": "one", "name_ko": "하나", "name_en": "one", "owner": owner.pk}
    client = as_(people.operator())
    assert client.get(reverse("catalog:add", args=[kind])).status_code == 200
    assert client.post(reverse("catalog:add", args=[kind]), body).status_code == 302
    assert client.get(reverse("catalog:rate", args=["one"])).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name_ko", "가" * 161),
        ("name_ko", "a\x00b"),
        ("name_en", "\u202eevil"),
        ("code", "한글"),
        ("code", "../../etc"),
        ("code", "new"),
        ("owner", "999999"),
        ("owner", "x"),
        ("place", "999999"),
        ("sector", "moon"),
        ("capacity", "-1"),
        ("capacity", "9" * 30),
        ("capacity", "many"),
        ("about_ko", "가" * 4001),
    ],
)
def test_bad_input_is_shown_at_its_field_and_nothing_is_added(field: str, value: str) -> None:
    body = {"code": "a", "name_ko": "가", "name_en": "a", "owner": people.agency().pk, "resource_class": "H100"}
    answer = as_(people.operator()).post(reverse("catalog:add", args=["compute"]), body | {field: value})
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, [field])
    assert Resource.objects.count() == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("price_krw", "-1"), ("price_krw", "1.5"), ("per", "0"), ("starts_on", "soon"), ("basis_ko", "")],
)
def test_a_bad_rate_is_shown_at_its_field(field: str, value: str) -> None:
    resource = make.resource()
    body = {"price_krw": "1", "per": "1", "starts_on": "2025-01-01", "basis_ko": "의결", field: value}
    answer = as_(people.operator()).post(reverse("catalog:rate", args=[resource.code]), body)
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, [field])
    assert Rate.objects.count() == 0


def test_pausing_by_the_form_wants_a_reason_and_works_once() -> None:
    resource, client = make.resource(), as_(people.operator())
    there = reverse("catalog:move", args=[resource.code, "pause"])
    assert client.get(there).status_code == 200
    assert client.post(there, {"reason": ""}).status_code == 422
    assert client.post(there, {"reason": "점검"}).status_code == 302
    assert client.post(there, {"reason": "점검"}).status_code in (409, 422)
    assert client.get(there).status_code == 409
    assert client.get(reverse("catalog:move", args=[resource.code, "explode"])).status_code == 404
    assert Resource.objects.get().state == "paused"


def test_a_place_is_added_by_the_form() -> None:
    client = as_(people.officer())
    body = {"code": "dc", "name_ko": "데이터센터", "name_en": "data center"}
    assert client.get(reverse("catalog:place")).status_code == 200
    assert client.post(reverse("catalog:place"), body).status_code == 302
    assert client.post(reverse("catalog:place"), body).status_code == 422
    assert Place.objects.count() == 1


def test_nobody_else_changes_the_catalog_by_page_or_api() -> None:
    mine, other = make.resource(), make.resource()
    rate = {"price_krw": 1, "per": 1, "starts_on": "2099-01-01", "basis_ko": "x"}
    pages = [
        (
            reverse("catalog:add", args=["storage"]),
            {"code": "x", "name_ko": "x", "name_en": "x", "owner": mine.owner_id},
        ),
        (reverse("catalog:edit", args=[mine.code]), {"name_ko": "x", "name_en": "x", "owner": mine.owner_id}),
        (reverse("catalog:rate", args=[mine.code]), rate),
        (reverse("catalog:move", args=[mine.code, "retire"]), {"reason": "x"}),
        (reverse("catalog:place"), {"code": "x", "name_ko": "x", "name_en": "x"}),
    ]
    calls = [
        ("post", f"/resources/{mine.code}/rates", {**{k: v for k, v in rate.items() if k != "per"}, "per_amount": 1}),
        ("post", f"/resources/{mine.code}/retire", {"reason": "x"}),
        ("patch", f"/resources/{mine.code}", {"name_ko": "x"}),
        ("post", "/places", {"code": "x", "name_ko": "x", "name_en": "x"}),
    ]
    strangers = [
        people.lead_of(people.organization()),
        people.steward("resource", other.pk),
        people.reviewer(),
        people.auditor(),
        people.executive(),
    ]
    tokens = [identity.make_token(person, name="t", days=1)[1] for person in strangers]
    lines = LogLine.objects.count()
    for person, token in zip(strangers, tokens, strict=True):
        for there, body in pages:
            assert as_(person).post(there, body).status_code == 403
            assert as_(person).get(there).status_code == 403
            assert as_(None).post(there, body).status_code == 302
        api = Client(headers={"authorization": f"Bearer {token}"})
        for method, path, body in calls:
            answer = getattr(api, method)(f"/api/v1/catalog{path}", body, content_type="application/json")
            assert answer.status_code == 403, (path, answer.content)
            assert (
                getattr(Client(), method)(f"/api/v1/catalog{path}", body, content_type="application/json").status_code
                == 401
            )
    assert LogLine.objects.count() == lines


def test_the_api_does_what_the_pages_do() -> None:
    owner, operator = people.agency(), people.operator()
    api = Client(headers={"authorization": f"Bearer {identity.make_token(operator, name='t', days=1)[1]}"})

    def post(path: str, body: dict) -> tuple[int, dict]:
        answer = api.post(f"/api/v1/catalog{path}", body, content_type="application/json")
        return answer.status_code, answer.json()

    body = {
        "kind": "compute",
        "code": "h100",
        "name_ko": "H100",
        "name_en": "H100",
        "owner_id": owner.pk,
        "resource_class": "h100",
    }
    assert post("/resources", body)[0] == 201
    assert post("/resources", body)[0] == 422
    start = actions.today().isoformat()
    rate = {"price_krw": 2000, "per_amount": 3600, "starts_on": start, "basis_ko": "의결"}
    assert post("/resources/h100/rates", rate)[0] == 201
    assert post("/resources/h100/rates", rate)[0] == 422
    later = (actions.today() + timedelta(days=9)).isoformat()
    assert post("/resources/h100/rates", rate | {"starts_on": later, "price_krw": 2500})[0] == 201
    anybody = Client().get("/api/v1/catalog/resources?kind=compute").json()
    assert [(r["code"], r["rate"]["price_krw"], r["rate"]["ends_before"]) for r in anybody["items"]] == [
        ("h100", 2000, later)
    ]
    assert len(Client().get("/api/v1/catalog/resources/h100/rates").json()["items"]) == 2
    changed = api.patch("/api/v1/catalog/resources/h100", {"name_ko": "새 이름"}, content_type="application/json")
    assert (changed.status_code, changed.json()["name_ko"], changed.json()["name_en"]) == (200, "새 이름", "H100")
    assert post("/resources/h100/pause", {"reason": "점검"})[1]["state"] == "paused"
    assert post("/resources/h100/pause", {"reason": "점검"})[0] == 409
    assert Client().get("/api/v1/catalog/resources/none").status_code == 404
    assert post("/resources", body | {"code": "x", "owner_id": 2**62})[0] == 404
    for wrong in (
        {"owner_id": 2**70},
        {"name_ko": "a\x00b"},
        {"capacity_per_hour": 2**60},
        {"kind": "rocket"},
        {"code": "a b"},
    ):
        assert post("/resources", body | {"code": "y"} | wrong)[0] == 422
