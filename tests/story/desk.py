"""A person at a browser: reads Korean, clicks what is written on buttons and links, types into fields."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, override, pgettext
from playwright.sync_api import Locator, Page, expect

from tests.story.looks import Looks

PASSWORD = "a yard for everybody"


def said(text: str, context: str = "", **values: Any) -> str:
    """What the pages say in Korean for this message."""
    with override("ko"):
        found = pgettext(context, text) if context else gettext(text)
        return found % values if values else found


class Desk:
    """One person's browser, with a session of its own."""

    def __init__(self, browser: Any, url: str, looks: Looks, **more: Any) -> None:
        self.url, self.looks = url, looks
        self.context = browser.new_context(
            base_url=url,
            locale="ko-KR",
            timezone_id="Asia/Seoul",
            viewport={"width": 1440, "height": 900},
            **more,
        )
        self.context.set_default_timeout(15_000)
        looks.watch(self.context)
        self.page: Page = self.context.new_page()

    def close(self) -> None:
        self.context.close()

    # where one is

    def go(self, path: str) -> None:
        answer = self.page.goto(path)
        assert answer is not None
        assert answer.status == 200, f"{path} answers {answer.status}"

    def look(self, name: str, *, picture: str = "", part: str = "") -> None:
        self.looks.at(self.page, name, picture=picture, part=part)

    def reads(self, text: str) -> None:
        expect(self.page.locator("#content")).to_contain_text(text)

    def heading(self) -> str:
        return self.page.locator("h1").inner_text()

    @property
    def path(self) -> str:
        return self.page.url.removeprefix(self.url).split("#")[0]

    def text(self) -> str:
        """All that the page holds, also what isn't shown."""
        return self.page.content()

    # what one does

    def follow(self, text: str, within: str = "body") -> None:
        """A link. The first of several with the same words leads to the same place."""
        with self.page.expect_navigation():
            self.page.locator(within).get_by_role("link", name=text, exact=True).first.click()

    def menu(self, path: str) -> None:
        """The entry of the main menu that leads there."""
        with self.page.expect_navigation():
            self.page.locator(f"header nav.menu a[href='{path}']").click()
        assert self.path == path, self.path

    def press(self, text: str, within: str = "#content", *, stay: bool = False) -> None:
        """A button. `stay`: it changes the page without leaving it."""
        button = self.page.locator(within).get_by_role("button", name=text, exact=True).locator("visible=true").first
        if stay:
            button.click()
            return
        with self.page.expect_navigation():
            button.click()

    def confirm(self, label: str, button: str = "", *, within: str = "#content", **fields: str) -> None:
        """A verb that asks once more: open it, fill in what it asks, and confirm."""
        summary = self.page.locator(f"{within} details.confirm > summary").filter(has_text=label).first
        summary.click()
        body = summary.locator("xpath=..")
        for name, value in fields.items():
            put(body.locator(f"[name='{name}']:not([type=hidden])"), value)
        with self.page.expect_navigation():
            body.get_by_role("button", name=button or label, exact=True).click()

    def fill(self, within: str = "#content", **fields: Any) -> None:
        """Type into fields, choose options, tick boxes. A name with - is written with __."""
        for name, value in fields.items():
            put(self.page.locator(f"{within} [name='{name.replace('__', '-')}']:not([type=hidden])"), value)

    # who one is

    def log_in(self, email: str) -> None:
        """By keyboard alone: the field, the next field, Enter."""
        self.go("/accounts/login/")
        self.page.locator("[name=login]").focus()
        self.page.keyboard.type(email)
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(PASSWORD)
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")
        assert self.path.startswith("/my/"), self.path


def put(field: Locator, value: Any) -> None:
    """`value` into a field of whatever kind."""
    first = field.first
    kind = first.evaluate("e => e.tagName === 'SELECT' ? 'select' : e.type")
    if kind == "radio":
        field.and_(field.page.locator(f"[value='{value}']")).check()
    elif kind == "checkbox":
        values = value if isinstance(value, list) else None
        if values is None:
            first.set_checked(bool(value))
        else:
            for one in values:
                field.and_(field.page.locator(f"[value='{one}']")).check()
    elif kind == "select":
        first.select_option(str(value))
    elif kind == "file":
        first.set_input_files(value)
    else:
        first.fill(str(value))
