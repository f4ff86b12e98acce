"""The page of a plan in a real browser: change a stage, see the answer, stop a run, compare, and take it away."""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import expect

from madang.identity.tests import make as people
from madang.planning.tests import make
from madang.web.tests.axe import violations
from madang.web.tests.browser import browser_context_args, browser_type_launch_args  # noqa: F401
from madang.web.tests.worker import work

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture
def desk(page: Any, live_server: Any) -> Any:
    """The browser of an executive, with two simulated plans on the site."""
    boss = people.executive()
    make.simulated(boss, name="작게", gpus=16, stages=[])
    make.simulated(boss)
    client = Client()
    client.force_login(boss)
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}
    page.context.add_cookies([cookie])
    page.said = []
    page.on("console", lambda message: page.said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.goto(f"{live_server.url}/plans/")
    page.get_by_role("link", name="두 배").click()
    return page


def used(page: Any) -> list[str]:
    """Utilization by quarter, as the table says."""
    page.wait_for_selector("#waits-chart-title")
    rows = page.locator("figure:has(#waits-chart-title) tbody tr")
    return [rows.nth(n).locator("td").nth(2).inner_text() for n in range(rows.count())]


def test_a_changed_stage_is_simulated_and_its_answer_is_seen_and_taken_away(desk, tmp_path):
    page = desk
    before = used(page)
    page.get_by_role("link", name="수정").click()
    page.get_by_label("도입일").first.fill("2027-02-01")
    page.locator("[name=gpus_1]").fill("480")
    page.get_by_role("button", name="저장하고 모의하기").press("Enter")

    expect(page.locator("progress")).to_be_visible()
    expect(page.get_by_text("바뀌기 전")).to_be_visible()
    page.get_by_role("button", name="중지").click()
    expect(page.get_by_text("모의를 중지했습니다").first).to_be_visible()
    assert used(page) == before

    page.get_by_role("button", name="다시 모의하기").click()
    expect(page.locator("progress")).to_be_visible()
    worker = threading.Thread(target=work)
    worker.start()
    expect(page.locator("progress")).to_have_count(0, timeout=60_000)  # by itself, as the page asks again
    worker.join()
    after = used(page)
    assert after[0] == before[0]
    assert float(after[1].rstrip("%")) < float(before[1].rstrip("%")) / 2

    page.get_by_label("작게").check()
    page.get_by_role("button", name="보기").click()
    expect(page.get_by_role("table", name="계획 비교").get_by_role("link", name="작게")).to_be_visible()

    with page.expect_download() as table:
        page.get_by_role("link", name="내려받기(CSV)").click()
    assert "2027-04-02,slipped" in Path(table.value.path()).read_text("utf-8-sig")
    figure = page.locator("figure:has(#waits-chart-title)")
    with page.expect_download() as picture:
        figure.get_by_role("button", name="그림으로 저장").press("Enter")
    assert picture.value.suggested_filename.endswith(".png")
    data = Path(picture.value.path()).read_bytes()
    assert (data[:8], struct.unpack(">II", data[16:24])) == (b"\x89PNG\r\n\x1a\n", (2400, 1280))
    assert len(data) > 20_000  # and not an empty sheet
    assert page.said == []


def test_on_paper_everything_is_open_and_nothing_is_to_be_pressed(desk):
    page = desk
    page.wait_for_selector(".chart svg")
    page.evaluate("window.print = () => { window.printed = true }")
    page.get_by_role("button", name="인쇄·PDF").press("Enter")
    assert page.evaluate("window.printed")

    page.emulate_media(media="print")
    page.set_viewport_size({"width": 680, "height": 960})
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("main details:not([open])").count() == 0
    assert page.locator("main :is(button, input, .button):visible").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    charts = page.locator(".chart svg")
    sizes = [(box["width"], box["height"]) for n in range(charts.count()) if (box := charts.nth(n).bounding_box())]
    assert len(sizes) == 4
    assert all(width == 600 and height > 200 for width, height in sizes)
    assert page.pdf(format="A4")[:5] == b"%PDF-"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("main details[open]").count() == 0


@pytest.mark.parametrize(("language", "width"), [("ko", 1440), ("en", 390)])
def test_the_page_has_no_fault_that_a_machine_finds(desk, live_server, language, width):
    page = desk
    page.context.add_cookies([{"name": "django_language", "value": language, "url": live_server.url}])
    page.set_viewport_size({"width": width, "height": 900})
    page.reload()
    page.wait_for_selector(".chart svg")
    page.locator("details.more > summary").press("Enter")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert [(found["id"], found["nodes"][0]["target"]) for found in violations(page)] == []
