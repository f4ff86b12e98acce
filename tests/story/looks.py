"""Every page of the story is looked at once in each language: axe, width, console; some are kept as pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from madang.web.tests.axe import violations

LANGUAGES = ("ko", "en")
WIDE, PHONE = (1440, 900), (390, 844)
# A form that was refused answers 422, a page that isn't yours 404: the browser notes both, and neither is a fault.
ANSWERS = re.compile(r"the server responded with a status of (403|404|409|422)")
# htmx tells of a request that a newer one, or another page, took the place of. One that failed is told by other words.
LEFT = re.compile("htmx:(sendAbort|afterRequest),")

# A chart takes the new width of its place a frame later.
SETTLED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


class Looks:
    """`faults` is what is wrong, in words; `seen` are the names of the pages that were looked at, each once."""

    def __init__(self, pictures: Path | None) -> None:
        self.pictures = pictures
        self.faults: list[str] = []
        self.seen: list[str] = []
        self._tabs: dict[Any, Any] = {}

    def watch(self, context: Any) -> None:
        """The console of every page of this browser, where violations of the content security policy are told too."""
        context.on("response", self._answer)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.faults.append(f"{error.page.url}: {error.error}"))

    def at(self, page: Any, name: str, *, picture: str = "", part: str = "") -> None:
        """Open the same address once more in each language, beside `page`, and look. `part` is what a picture shows."""
        if name in self.seen:
            return
        self.seen.append(name)
        here = page.url.split("#")[0]
        tab = self._beside(page)
        for language in LANGUAGES:
            speak(page.context, here, language)
            tab.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
            answer = tab.goto(here)
            self._expect(name, tab.url == here and answer.status == 200, f"{here} leads to {tab.url} ({answer.status})")
            if tab.locator("[data-chart]").count():
                tab.wait_for_selector("[data-chart] svg")
            shown = tab.evaluate("document.documentElement.lang")
            self._expect(name, shown == language, f"speaks {shown}, not {language}")
            for width, height in (WIDE, PHONE):
                tab.set_viewport_size({"width": width, "height": height})
                self._judge(tab, f"{name}.{language}.{width}", axe=language == "ko" or width == WIDE[0])
                if picture:
                    self._keep(tab, f"{picture}.{language}.{width}", part)
        tab.goto("about:blank")  # some pages go on asking the server
        speak(page.context, here, "ko")

    def _beside(self, page: Any) -> Any:
        """One more tab of this browser. It is kept: a new one costs as much as loading a page twice."""
        if page.context not in self._tabs:
            self._tabs[page.context] = page.context.new_page()
        return self._tabs[page.context]

    def here(self, page: Any, name: str) -> None:
        """Look at the page as it stands: the answer to a form that was refused has no address to open again."""
        if name not in self.seen:
            self.seen.append(name)
            self._judge(page, name)

    def _judge(self, page: Any, where: str, *, axe: bool = True) -> None:
        """The width always; axe takes long, and what it finds on a phone doesn't depend on the language."""
        over = page.evaluate(SETTLED + ".then(() => document.documentElement.scrollWidth - window.innerWidth)")
        self._expect(where, over <= 0, f"{over} px too wide")
        for found in violations(page) if axe else []:
            nodes = [node["target"] for node in found["nodes"]][:3]
            self.faults.append(f"{where}: axe {found['id']} ({found['help']}) at {nodes}")

    def _keep(self, page: Any, name: str, part: str) -> None:
        if self.pictures is None:
            return
        page.evaluate("document.fonts.ready")
        if part:
            page.locator(part).first.evaluate(
                "element => window.scrollTo(0, element.getBoundingClientRect().top + scrollY - 24)"
            )
        page.screenshot(path=self.pictures / f"{name}.png", animations="disabled", caret="hide")

    def _expect(self, where: str, right: bool, text: str) -> None:
        if not right:
            self.faults.append(f"{where}: {text}")

    def _answer(self, answer: Any) -> None:
        if answer.status >= 500:
            self.faults.append(f"{answer.url} answers {answer.status}")

    def _console(self, message: Any) -> None:
        if message.type == "error" and not ANSWERS.search(message.text) and not LEFT.match(message.text):
            self.faults.append(f"{message.page.url if message.page else ''}: {message.text}")


def speak(context: Any, url: str, language: str) -> None:
    """As the button in the header does, for the whole site of this address."""
    context.add_cookies([{"name": "django_language", "value": language, "url": urljoin(url, "/")}])
