import re

import pytest
from django.test import Client, RequestFactory, override_settings
from django.urls import reverse
from django.utils import translation

from madang.catalog.tests import make as catalog
from madang.identity.models import Person
from madang.identity.tests import make
from madang.portal.context import shell
from madang.web.middleware import PlainAnswers
from madang.workflow.errors import Missing, NotAllowed, Refused, Stale

PUBLIC = ["account_login", "account_signup", "account_reset_password"]


def in_language(language: str) -> Client:
    client = Client()
    client.cookies["django_language"] = language
    return client


@pytest.mark.django_db
@override_settings(DEMO=True)
@pytest.mark.parametrize(("language", "words"), [("ko", "화면 구성요소"), ("en", "Components")])
def test_all_components_stand_on_one_page_in_both_languages(language: str, words: str) -> None:
    response = in_language(language).get("/dev/components/")
    page = response.content.decode()
    assert response.status_code == 200
    assert f'<html lang="{language}"' in page
    assert words in page
    assert page.count("<h1") == 1
    assert "<c-" not in page


@pytest.mark.django_db
@override_settings(DEMO=True)
def test_the_sample_form_answers_422_and_says_what_was_wrong() -> None:
    response = Client().post("/dev/components/", {"name": "a\x00b"})
    assert response.status_code == 422
    assert "U+0000" in response.content.decode()


@pytest.mark.django_db
@override_settings(DEMO=False)
def test_the_component_page_exists_only_in_a_demonstration() -> None:
    assert Client().get("/dev/components/").status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_accounts_pages_are_in_the_shell_and_in_one_language(name: str, language: str) -> None:
    page = in_language(language).get(reverse(name)).content.decode()
    assert page.count("<h1") == 1
    assert 'class="skip"' in page
    body = re.sub(r"<script.*?</script>|<[^>]+>", " ", page[page.index("<main") :], flags=re.S)
    korean = re.search("[가-힣]", body.replace("마당", "")) is not None
    assert korean == (language == "ko")


@pytest.mark.django_db
def test_contrast_is_remembered_without_javascript_and_only_goes_back_into_this_site() -> None:
    client = Client()
    response = client.post(reverse("portal:contrast"), {"contrast": "high", "next": "/accounts/login/?a=1"})
    assert (response.status_code, response["Location"]) == (302, "/accounts/login/?a=1")
    assert 'data-krds-mode="high-contrast"' in client.get("/accounts/login/").content.decode()
    response = client.post(reverse("portal:contrast"), {"contrast": "normal", "next": "https://elsewhere.example/"})
    assert response["Location"] == "/"
    assert "data-krds-mode" not in client.get("/accounts/login/").content.decode()
    assert client.get(reverse("portal:contrast")).status_code == 405


@pytest.mark.django_db
def test_the_language_is_changed_by_a_plain_form() -> None:
    client = Client()
    assert '<html lang="ko"' in client.get("/accounts/login/").content.decode()
    client.post(reverse("set_language"), {"language": "en", "next": "/accounts/login/"})
    assert '<html lang="en"' in client.get("/accounts/login/").content.decode()


@pytest.mark.django_db
def test_an_address_that_leads_nowhere_says_what_to_do() -> None:
    response = Client().get("/no/such/page/")
    assert response.status_code == 404
    assert "찾으시는 화면이 없습니다" in response.content.decode()


@pytest.mark.django_db
def test_a_form_without_its_token_is_refused_in_words() -> None:
    response = Client(enforce_csrf_checks=True).post(reverse("portal:contrast"), {"contrast": "high"})
    assert response.status_code == 403
    assert "화면을 너무 오래 열어 두었습니다" in response.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("refusal", "status", "title"),
    [
        (NotAllowed("<b>officers only</b>"), 403, "이 작업을 할 권한이 없습니다"),
        (Missing("<b>not there</b>"), 404, "찾으시는 화면이 없습니다"),
        (Stale("<b>decided already</b>"), 409, "그사이에 상태가 바뀌었습니다"),
        (Refused("<b>too much</b>"), 422, "요청을 처리하지 못했습니다"),
    ],
)
def test_whatever_a_verb_refuses_becomes_a_page_that_says_so(refusal: Refused, status: int, title: str) -> None:
    from django.contrib.auth.models import AnonymousUser

    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    with translation.override("ko"):
        response = PlainAnswers(lambda request: None).process_exception(request, refusal)  # type: ignore[arg-type,return-value]
    assert response is not None
    page = response.content.decode()
    assert response.status_code == status
    assert title in page
    assert str(refusal.message).replace("<", "&lt;").replace(">", "&gt;") in page


@pytest.mark.django_db
def test_a_nul_byte_in_an_address_gets_a_page_and_not_an_error() -> None:
    assert Client().get("/?q=%00").status_code == 400


def test_when_everything_fails_there_is_still_a_page(rf: RequestFactory) -> None:
    from django.views.defaults import server_error

    with translation.override("ko"):
        response = server_error(rf.get("/"))
    assert response.status_code == 500
    assert "문제가 생겼습니다" in response.content.decode()


@pytest.mark.django_db
def test_somebody_who_is_logged_in_sees_their_name_and_the_way_out() -> None:
    client, person = Client(), make.person("이름이<아주>긴사람")
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    page = client.get("/no/such/page/").content.decode()
    assert "이름이&lt;아주&gt;긴사람" in page
    assert reverse("account_logout") in page


def menu_of(person: Person, at: str) -> dict[str, bool]:
    """Where the menu of an address leads, and whether that is here."""
    request = RequestFactory().get(at)
    request.user = person
    return {entry.href: entry.current for entry in shell(request)["shell"].menu}


@pytest.mark.django_db
def test_whoever_is_steward_of_something_finds_what_is_lent_of_it_in_the_menu() -> None:
    lent = reverse("grants:steward")
    for steward in (make.steward(), make.steward("resource", catalog.resource().pk)):
        client = in_language("ko")
        client.force_login(steward, backend="django.contrib.auth.backends.ModelBackend")
        assert f'<a href="{lent}" aria-current="page">자원 할당</a>' in client.get(lent).content.decode()
    for other in (make.officer(), make.reviewer(), make.organization().memberships.get().person):
        assert lent not in menu_of(other, "/")


@pytest.mark.django_db
def test_of_two_entries_that_lead_to_a_page_the_nearer_one_is_current() -> None:
    both = make.officer()
    make.actions.give_role(make.operator(), person=both, role="steward", scope="site", scope_id=0, reason="for a test")
    make.forget(both)
    for at in (reverse("grants:steward"), reverse("grants:list"), reverse("calls:managed")):
        assert [href for href, current in menu_of(both, at).items() if current] == [at]
    assert [href for href, current in menu_of(both, reverse("grants:ledger")).items() if current] == ["/grants/"]
    assert not any(menu_of(both, "/").values())
