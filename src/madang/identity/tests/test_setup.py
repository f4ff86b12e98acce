import pytest
from django.test import Client
from django.urls import reverse

from madang.identity import actions
from madang.identity.models import Organization, Person, Role, RoleGrant
from madang.identity.tests import make

pytestmark = pytest.mark.django_db
STEPS = (
    *("programs:add", "catalog:kinds", "compute:add_cluster", "compute:add_partition", "identity:people"),
    "calls:new",
)
BODY = {"name": "박운영", "email": "boss@example.kr", "password": make.PASSWORD}


def test_setting_up_walks_from_an_empty_site_to_what_to_do_next() -> None:
    client, there = Client(), reverse("identity:setup")
    assert client.get(there).status_code == 200
    assert client.post(there, BODY).status_code == 302
    assert RoleGrant.objects.get().role == "operator"
    agency = {"name_ko": "사업단", "business_number": "123-45-67890", "region": "29"}
    wrong = client.post(there, agency)
    assert (wrong.status_code, list(wrong.context["form"].errors)) == (422, ["business_number"])
    assert client.post(there, agency | {"business_number": make.business_number()}).status_code == 302
    assert Organization.objects.get().kind == "agency"
    page = client.get(there)
    links = [reverse(name) for name in STEPS]
    # A new call is offered to an officer alone; before there is one, somebody is given the role.
    assert [f'href="{link}"' in page.content.decode() for link in links] == [True] * 5 + [False]
    assert client.get("/my/").content.decode().count(f'href="{there}"') == 1
    # The operator can take every step but the last: calls are an officer's.
    assert [client.get(link).status_code for link in links] == [200, 200, 200, 200, 200, 403]
    assert page.context["officer"] is False
    me = Person.objects.get()
    actions.give_role(me, person=me, role=Role.OFFICER, reason="겸임")
    page = client.get(there)
    assert page.context["officer"] is True
    assert f'href="{links[-1]}"' in page.content.decode()
    assert [name for name, done in page.context["done"].items() if done] == ["officer"]
    assert client.get(links[-1]).status_code == 200


def test_once_somebody_is_there_nobody_else_sets_up() -> None:
    make.operator()
    for client in (Client(), Client()):
        assert client.get(reverse("identity:setup")).status_code == 404
        assert client.post(reverse("identity:setup"), BODY).status_code == 404
    stranger = Client()
    stranger.force_login(make.person(), backend="django.contrib.auth.backends.ModelBackend")
    assert stranger.post(reverse("identity:setup"), BODY).status_code == 404
    assert not Person.objects.filter(email="boss@example.kr").exists()


def test_the_printed_token_is_needed_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MADANG_SETUP_TOKEN", "the printed one")
    client = Client()
    for token in ("", "guessed", "열쇠"):
        answer = client.post(reverse("identity:setup"), BODY | {"token": token})
        assert (answer.status_code, list(answer.context["form"].errors)) == (422, ["token"])
    assert Person.objects.count() == 0
    assert client.post(reverse("identity:setup"), BODY | {"token": "the printed one"}).status_code == 302
