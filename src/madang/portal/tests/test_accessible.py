"""What a machine can check of how pages look and read: axe, overflow, the console, and the keyboard."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from django.test import Client

from madang.identity.tests import make
from madang.web.tests.axe import violations

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OPEN = ["/dev/components/", "/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/no/such/page/"]
OWN = [
    "/accounts/email/",
    "/accounts/2fa/",
    "/accounts/2fa/totp/activate/",
    "/accounts/2fa/webauthn/add/",
    "/accounts/reauthenticate/",
    "/accounts/password/change/",
    "/accounts/logout/",
]


@pytest.fixture(autouse=True)
def a_demonstration(settings: Any) -> None:
    settings.DEMO = True


def as_person(page: Any, live_server: Any) -> None:
    client = Client()
    somebody = make.person("김하늘")
    client.post("/accounts/login/", {"login": somebody.email, "password": make.PASSWORD})
    client.post("/accounts/reauthenticate/", {"password": make.PASSWORD})  # what guards the account asks once more
    session = client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])


def problems(page: Any, url: str, width: int) -> list[Any]:
    said: list[Any] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(url)
    page.wait_for_load_state("networkidle")
    said = [text for text in said if "status of 404" not in text]
    over = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    if over > 0:
        said.append(f"{over} px too wide at {width}")
    said += [(found["id"], found["nodes"][0]["target"]) for found in violations(page)]
    return said


@pytest.mark.parametrize("path", OPEN)
def test_open_pages_have_no_fault_that_a_machine_finds(path: str, page: Any, live_server: Any) -> None:
    for language in ("ko", "en"):
        for width, contrast in ((1440, "normal"), (390, "high"), (320, "normal")):
            page.context.add_cookies(
                [
                    {"name": "django_language", "value": language, "url": live_server.url},
                    {"name": "contrast", "value": contrast, "url": live_server.url},
                ]
            )
            assert problems(page, live_server.url + path, width) == []


@pytest.mark.parametrize("path", OWN)
def test_account_pages_have_no_fault_that_a_machine_finds(path: str, page: Any, live_server: Any) -> None:
    as_person(page, live_server)
    for language, width in (("ko", 1440), ("en", 390)):
        page.context.add_cookies([{"name": "django_language", "value": language, "url": live_server.url}])
        assert problems(page, live_server.url + path, width) == []
        assert page.url == live_server.url + path


def test_the_first_stop_of_the_keyboard_leads_past_the_menu(page: Any, live_server: Any) -> None:
    page.goto(live_server.url + "/dev/components/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_a_wrong_form_takes_the_reader_to_what_is_wrong(page: Any, live_server: Any) -> None:
    page.goto(live_server.url + "/dev/components/")
    page.locator("form.form button[type=submit]").click()
    page.wait_for_selector(".error-summary")
    assert page.evaluate("document.activeElement.className") == "error-summary"
    page.locator(".error-summary a").first.click()
    assert page.evaluate("document.activeElement.id") == "id_name"
    assert [found["id"] for found in violations(page)] == []


def test_the_menu_of_a_phone_opens_without_javascript(browser: Any, live_server: Any) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800}, locale="ko-KR")
    page = context.new_page()
    page.goto(live_server.url + "/dev/components/")
    page.locator(".menu-phone > summary").click()
    page.locator(".menu-phone button[name=contrast]").click()
    assert page.locator("html[data-krds-mode=high-contrast]").count() == 1
    context.close()


def test_a_chart_is_drawn_and_its_table_stays(page: Any, live_server: Any) -> None:
    page.goto(live_server.url + "/dev/components/")
    page.wait_for_selector(".chart svg")
    assert page.locator(".figure table tbody tr").count() == 4


def darkness(page: Any, table: Any, edge: str) -> float:
    """How dark the outermost pixels of a table are at that edge, in the padding of its first row: 0 is white."""
    table.evaluate("element => element.scrollIntoView({block: 'center', behavior: 'instant'})")
    box, row = table.bounding_box(), table.locator("tbody tr").first.bounding_box()
    left = box["x"] if edge == "left" else box["x"] + box["width"] - 2
    strip = {"x": left, "y": row["y"] + 3, "width": 2, "height": 4}
    picture = base64.b64encode(page.screenshot(clip=strip)).decode()
    reader = page.context.new_page()
    light: float = reader.evaluate(
        """async picture => {
            const image = new Image();
            image.src = 'data:image/png;base64,' + picture;
            await image.decode();
            const context = document.createElement('canvas').getContext('2d');
            context.drawImage(image, 0, 0);
            return context.getImageData(0, 0, 2, 4).data.reduce((sum, value) => sum + value, 0) / 32;
        }""",
        picture,
    )
    reader.close()
    return 255 - light


def test_a_table_that_is_too_wide_shows_on_which_side_it_goes_on(page: Any, live_server: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(live_server.url + "/dev/components/")
    table = page.locator(".table-scroll").first
    assert (table.get_attribute("tabindex"), bool(table.get_attribute("aria-label"))) == ("0", True)
    most = table.evaluate("element => element.scrollWidth - element.clientWidth")
    assert most > 20
    seen = {}
    for at in (0, most // 2, most):
        table.evaluate("(element, at) => { element.scrollLeft = at }", at)
        seen[at] = [darkness(page, table, edge) > 20 for edge in ("left", "right")]
    assert seen == {0: [False, True], most // 2: [True, True], most: [True, False]}
    page.set_viewport_size({"width": 1440, "height": 900})
    assert [darkness(page, table, edge) > 20 for edge in ("left", "right")] == [False, False]
