"""The form, and the fields, that every page uses. What people type is cleaned in one place."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.forms.renderers import DjangoTemplates
from django.template.loader import get_template
from django.utils.translation import gettext_lazy as _

from madang.web.days import FIRST, LAST, usable
from madang.workflow.errors import Refused

# Right-to-left *text* is welcome. What turns the direction of its surroundings around is a way to forge a name.
_TURNING = {
    "\u202a",
    "\u202b",
    "\u202c",
    "\u202d",
    "\u202e",
    "\u2066",
    "\u2067",
    "\u2068",
    "\u2069",
    "\u200e",
    "\u200f",
}


# Letters by their category that are drawn as nothing.
_BLANK = {"\u115f", "\u1160", "\u2800", "\u3164", "\uffa0"}


OUT_OF_RANGE = _("Between %(first)s and %(last)s.")


def visible(value: str) -> bool:
    """Whether anything in `value` can be seen."""
    return any(
        sign not in _BLANK and unicodedata.category(sign) not in {"Cc", "Cf", "Mn", "Zl", "Zp", "Zs"} for sign in value
    )


def unusable(value: str, *, lines: bool = False) -> str | None:
    """What in `value` can't be kept, named for people; None where all of it can. `lines` allows line breaks."""
    for sign in value:
        if lines and sign in "\n\r\t":
            continue
        if not lines and sign in "\u2028\u2029":
            return f"U+{ord(sign):04X}"
        if sign in _TURNING or unicodedata.category(sign) in {"Cc", "Cs", "Co", "Cn"}:
            return f"U+{ord(sign):04X}"
    return None


class TextField(forms.CharField):
    """One line of text, or with `lines=True` several. Always bounded; NUL and other control signs are refused."""

    def __init__(self, *, max_length: int = 200, lines: bool = False, **kwargs: Any) -> None:
        self.lines = lines
        if lines:
            kwargs.setdefault("widget", forms.Textarea(attrs={"rows": 5}))
        super().__init__(max_length=max_length, **kwargs)

    def to_python(self, value: Any) -> str:
        text = unicodedata.normalize("NFC", super().to_python(value) or "")
        if sign := unusable(text, lines=self.lines):
            raise ValidationError(_("This holds a sign that can't be used here (%(sign)s)."), params={"sign": sign})
        if text and not self.lines and not visible(text):
            raise ValidationError(_("This holds no visible sign."))
        return text.replace("\r\n", "\n")


class WholeNumber(forms.IntegerField):
    """A whole number that the database can hold."""

    def __init__(self, *, min_value: int = 0, max_value: int = 2**53, **kwargs: Any) -> None:
        super().__init__(min_value=min_value, max_value=max_value, **kwargs)


class Instant(forms.DateTimeField):
    """A date and a time to the minute, in Asia/Seoul."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"))
        kwargs.setdefault("input_formats", ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"])
        super().__init__(**kwargs)

    def validate(self, value: datetime | None) -> None:
        super().validate(value)
        _require_usable(value, FIRST)


class Day(forms.DateField):
    """A day, not before `since`."""

    def __init__(self, *, since: date = FIRST, **kwargs: Any) -> None:
        kwargs.setdefault("widget", forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))
        super().__init__(**kwargs)
        self.since = since

    def validate(self, value: date | None) -> None:
        super().validate(value)
        _require_usable(value, self.since)


def _require_usable(value: date | datetime | None, since: date) -> None:
    if value and not usable(value, since=since):
        raise ValidationError(OUT_OF_RANGE % {"first": since, "last": LAST})


class Month(forms.DateField):
    """A month, as its first day. Browsers without a picker of months show a line of text."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", forms.DateInput(attrs={"type": "month", "placeholder": "2026-11"}, format="%Y-%m"))
        kwargs.setdefault("input_formats", ["%Y-%m"])
        kwargs.setdefault("error_messages", {"invalid": _("Write a month like 2026-11.")})
        super().__init__(**kwargs)

    def validate(self, value: Any) -> None:
        super().validate(value)
        if value and not 2000 <= value.year < 9999:
            raise ValidationError(self.error_messages["invalid"], code="invalid")


class Upload(forms.FileField):
    """A file no larger than the site allows, with a name that can be written down."""

    def clean(self, data: Any, initial: Any = None) -> UploadedFile | None:
        file = super().clean(data, initial)
        if file:
            if file.size > settings.UPLOAD_LIMIT_BYTES:
                raise ValidationError(
                    _("This file is too large: at most %(most)s MB."),
                    params={"most": settings.UPLOAD_LIMIT_BYTES // 1024**2},
                )
            if unusable(file.name):
                raise ValidationError(_("The name of this file holds a sign that can't be used."))
        return file


class _Several(forms.FileInput):
    allow_multiple_selected = True


class Uploads(Upload):
    """Several files at once, `most` of them, each as `Upload` wants it; its value is their list."""

    widget = _Several

    def __init__(self, *, most: int = 100, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.most = most

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:  # type: ignore[override]
        given = (data if isinstance(data, list | tuple) else [data]) or [None]
        if len(given) > self.most:
            raise ValidationError(_("At most %(most)s files."), params={"most": self.most})
        cleaned = [super(Uploads, self).clean(file, initial) for file in given]
        return [file for file in cleaned if file]


class Renderer(DjangoTemplates):
    """Forms and fields through the components of the pages; widgets as Django brings them."""

    form_template_name = "web/form.html"
    field_template_name = "web/field.html"

    def get_template(self, template_name: str) -> Any:
        return get_template(template_name) if template_name.startswith("web/") else super().get_template(template_name)


class Form(forms.Form):
    """A form whose verbs may refuse: `with form.refusals(): actions.verb(…)` puts the refusal at its field."""

    required_css_class = "required"
    default_renderer = Renderer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field, forms.ModelChoiceField) and field.empty_label == "---------":
                field.empty_label = "–"

    @contextmanager
    def refusals(self) -> Iterator[None]:
        try:
            yield
        except Refused as refused:
            if refused.status in (403, 404):
                raise
            self.refuse(refused)

    def refuse(self, refused: Refused) -> None:
        for field, message in refused.errors.items():
            self.add_error(field if field in self.fields else None, message)
        if not refused.errors:
            self.add_error(None, refused.message)
