"""What doesn't need a mouse, and what doesn't need JavaScript: the way of a tenant, and the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect
from pytest_django.live_server_helper import LiveServer

from madang.web.tests.browser import browser_context_args, browser_type_launch_args  # noqa: F401
from tests.story.desk import Desk, said
from tests.story.looks import Looks
from tests.world import Tenant, World

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture
def address(world: World) -> Iterator[str]:
    server = LiveServer("localhost")
    yield server.url
    server.stop()


@pytest.fixture
def desk(browser: Any, address: str) -> Iterator[Desk]:
    desk = Desk(browser, address, Looks(None))
    yield desk
    desk.close()
    assert not desk.looks.faults, "\n".join(desk.looks.faults)


@pytest.fixture
def plain(browser: Any, address: str) -> Iterator[Desk]:
    """A browser that runs no scripts."""
    desk = Desk(browser, address, Looks(None), java_script_enabled=False)
    yield desk
    desk.close()


def test_a_tenant_comes_from_the_login_to_a_job_without_javascript(plain: Desk, world: World) -> None:
    a = world.a
    plain.log_in(a.lead.email)
    plain.follow(said("All applications"), within="#content")
    plain.page.locator(f"#content a[href='/applications/{a.draft.pk}/']").click()
    plain.page.locator(f"#content a[href='/applications/{a.draft.pk}/edit/']").first.click()
    plain.fill(title="자바스크립트 없이 쓴 과제")
    plain.press(said("Save draft"))
    plain.reads(said("The draft is saved. It isn't submitted yet."))
    a.draft.refresh_from_db()
    assert a.draft.draft_title == "자바스크립트 없이 쓴 과제"
    plain.press(said("Check and go on to submit"))
    assert plain.path == f"/applications/{a.draft.pk}/"
    plain.page.locator("header nav.menu a[href='/compute/jobs/']").click()
    plain.page.locator("#content a[href='/compute/jobs/new/']").first.click()
    plain.fill(gpus="2", limit_s="90", name="계산만")
    plain.press(said("Calculate"))
    expect(plain.page.locator("#choices .description dd").nth(1)).to_have_text("3 GPU-시간")  # after the partition
    assert plain.page.locator("[name=name]").input_value() == "계산만"
    plain.page.locator("header nav.menu a[href='/compute/jobs/']").click()
    plain.page.locator(f"#content a[href='/compute/jobs/{a.job.uuid}/']").first.click()
    plain.reads(f"{a.mark} accuracy 0.97")
    plain.page.locator("header details summary").first.click()
    plain.press(said("Log out"), within="header")


def test_every_verb_that_asks_once_more_opens_without_javascript(plain: Desk, world: World) -> None:
    a = world.a
    plain.log_in(a.officer.email)
    plain.go(f"/calls/{a.open_call.code}/manage/")
    plain.page.locator("details.confirm > summary").filter(has_text=said("Cancel the call")).click()
    expect(plain.page.get_by_role("button", name=said("Cancel the call"), exact=True)).to_be_visible()


def stop(desk: Desk) -> dict[str, Any]:
    """What the keyboard is on, and whether one sees that it is."""
    return desk.page.evaluate(
        """() => {
          const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
          return {
            id: at.id, name: at.name || "", text: at.textContent.trim(), href: at.getAttribute("href") || "",
            seen: box.width > 0 && box.height > 0 &&
              (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== "none"),
          };
        }"""
    )


def tab(desk: Desk, times: int = 1) -> dict[str, Any]:
    for _ in range(times):
        desk.page.keyboard.press("Tab")
    return stop(desk)


def test_the_keyboard_alone_passes_the_menu_and_reaches_everything_with_a_visible_focus(
    desk: Desk, world: World
) -> None:
    desk.log_in(world.a.lead.email)
    first = tab(desk)
    assert (first["href"], first["seen"]) == ("#content", True)
    desk.page.keyboard.press("Enter")
    assert stop(desk)["id"] == "content"
    desk.go("/my/")
    unseen, passed, menu = [], [], []
    for _ in range(60):
        here = tab(desk)
        if here["text"] and not here["seen"]:
            unseen.append(here)
        passed.append(here["href"])
        if desk.page.evaluate("!!document.activeElement.closest('nav.menu')"):
            menu.append(here["href"])
        if desk.page.evaluate("!!document.activeElement.closest('footer')"):
            break
    assert unseen == []
    assert menu == ["/my/", "/calls/", "/catalog/", "/programs/", "/grants/", "/compute/jobs/", "/board/"]
    assert f"/grants/{world.a.grant.number}/" in passed


def test_the_menu_of_a_person_opens_by_enter_and_closes_by_escape(desk: Desk, world: World) -> None:
    desk.log_in(world.a.lead.email)
    account = desk.page.locator("header .site-tools > details").first
    account.locator("summary").focus()
    desk.page.keyboard.press("Enter")
    expect(account).to_have_attribute("open", "")
    assert tab(desk)["href"] == "/people/me/"
    desk.page.keyboard.press("Escape")
    expect(account).not_to_have_attribute("open", "")
    expect(account.locator("summary")).to_be_focused()


def test_enter_in_a_field_submits_its_form_and_saves_the_draft_not_more(desk: Desk, world: World) -> None:
    a: Tenant = world.b
    desk.log_in(a.lead.email)
    desk.go(f"/applications/{a.draft.pk}/edit/")
    desk.page.locator("[name=title]").fill("엔터로 저장한 과제")
    with desk.page.expect_navigation():
        desk.page.locator("[name=title]").press("Enter")
    assert desk.path == f"/applications/{a.draft.pk}/edit/"
    a.draft.refresh_from_db()
    assert (a.draft.draft_title, a.draft.state) == ("엔터로 저장한 과제", "draft")


def test_the_keyboard_goes_to_what_is_wrong_with_a_form(desk: Desk, world: World) -> None:
    desk.log_in(world.a.lead.email)
    desk.go("/organization/new/")
    desk.page.locator("[name=name_ko]").press("Enter")
    expect(desk.page.locator(".error-summary")).to_be_focused()
    tab(desk)
    desk.page.keyboard.press("Enter")
    expect(desk.page.locator("[name=name_ko]")).to_be_focused()
