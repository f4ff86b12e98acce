"""The forms of a page as a browser sees them, and what somebody would send with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any


@dataclass
class SeenForm:
    """`fields` are {name: value that the page put there}, `files` the names of file inputs, `kinds` {name: type}."""

    page: str
    action: str
    method: str
    fields: dict[str, Any] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def filled(self, known: dict[str, Any]) -> dict[str, Any]:
        """What was there, and where nothing was a plausible value."""
        data = dict(self.fields)
        for name, value in data.items():
            if value in ("", None):
                kind = self.kinds.get(name, "text")
                last = name.rpartition("-")[2]
                if self.choices.get(name):
                    data[name] = self.choices[name][0]
                elif kind in ("checkbox", "radio"):
                    continue
                else:
                    data[name] = known.get(name, known.get(last, 1 if kind == "number" else ""))
        return {name: value for name, value in data.items() if value is not None}


class _Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.found: list[SeenForm] = []
        self.named: dict[str, SeenForm] = {}
        self.form: SeenForm | None = None
        self.select: str | None = None
        self.area: str | None = None

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in pairs}
        if tag == "form":
            self.form = SeenForm(self.page, given.get("action") or self.page, given.get("method", "get").lower())
            self.found.append(self.form)
            self.named[given.get("id", "")] = self.form
        if "form" in given and given["form"] in self.named:  # an input beside its form
            inside, self.form = self.form, self.named[given["form"]]
            self._control(tag, given)
            self.form = inside
        else:
            self._control(tag, given)

    def _control(self, tag: str, given: dict[str, str]) -> None:
        name = given.get("name", "")
        if self.form is None or "disabled" in given:
            return
        if tag == "input" and name:
            self._input(name, given)
        elif tag == "select" and name:
            self.select = name
            self.form.fields.setdefault(name, None)
            self.form.choices[name] = []
            self.form.kinds[name] = "select"
        elif tag == "option" and self.select:
            if given.get("value"):
                self.form.choices[self.select].append(given["value"])
            if "selected" in given:
                self.form.fields[self.select] = given.get("value", "")
        elif tag == "textarea" and name:
            self.area = name
            self.form.fields[name] = ""
            self.form.kinds[name] = "textarea"
        elif tag == "button" and name and given.get("type", "submit") == "submit":
            self.form.buttons.append((name, given.get("value", "")))

    def _input(self, name: str, given: dict[str, str]) -> None:
        assert self.form is not None
        kind = given.get("type", "text")
        self.form.kinds[name] = kind
        if kind == "file":
            self.form.files.append(name)
        elif kind in ("radio", "checkbox"):
            self.form.choices.setdefault(name, []).append(given.get("value", "on"))
            self.form.fields.setdefault(name, None)
            if "checked" in given:
                self.form.fields[name] = given.get("value", "on")
        elif kind == "submit":
            self.form.buttons.append((name, given.get("value", "")))
        else:
            self.form.fields[name] = given.get("value", "")

    def handle_data(self, data: str) -> None:
        if self.form is not None and self.area:
            self.form.fields[self.area] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.form = None
        elif tag == "select":
            self.select = None
        elif tag == "textarea" and self.form is not None and self.area:
            self.form.fields[self.area] = self.form.fields[self.area].removeprefix("\n")
            self.area = None


def forms_of(page: str, html: str) -> list[SeenForm]:
    """Every form that changes something. The shell's own (language, log-out) are left out."""
    reader = _Reader(page)
    reader.feed(html)
    ours = []
    for form in reader.found:
        form.fields.pop("csrfmiddlewaretoken", None)
        if (
            form.method == "post"
            and form.action.startswith("/")
            and not form.action.startswith(("/i18n/", "/accounts/logout"))
        ):
            ours.append(form)
    return ours


def sent(form: SeenForm, known: dict[str, Any]) -> list[dict[str, Any]]:
    """The form filled in, once for each of its buttons."""
    data = form.filled(known)
    return [{**data, name: value} for name, value in form.buttons] or [data]
