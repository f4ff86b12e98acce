"""The questions of a form as data, and what may be answered to them.

A form is a list of specs:

    {"code": "partner", "type": "choice", "label_ko": …, "label_en": …, "hint_ko": …, "hint_en": …, "required": true,
     "least": …, "most": …, "choices": [{"value", "label_ko", "label_en"}], "shown_if": {"field": …, "in": […]},
     "identity": true, "kinds": ["pdf"]}

Types are line, text, number (whole), choice, day, yes and file. `least` and `most` bound the signs of a line or a text
and the value of a number. A question with `shown_if` is asked only while an *earlier* choice or yes has one of those
answers. `identity` hides the answer from the reviewers of a blind call; a file is hidden unless it is false there.
`kinds` are the kinds of file that a file question takes (see `file_kinds`); without it, all of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

from django.utils.translation import get_language
from django.utils.translation import gettext as _

from madang.calls import file_kinds
from madang.web.days import LAST, LONG_AGO, usable
from madang.web.forms import OUT_OF_RANGE, unusable
from madang.workflow.errors import Refused

Spec = dict[str, Any]
TYPES = ("line", "text", "number", "choice", "day", "yes", "file")
MOST_FIELDS = 100
MOST_CHOICES = 100
SIGNS = {"line": (200, 1_000), "text": (4_000, 20_000)}  # unless said otherwise, and at the very most
BIG = 2**53
_CODE = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_TAKEN = {"title", "lines", "file", "saves", "answers"}  # names of other inputs on the same page


class Invalid(Exception):
    """One value is wrong; the message is for people."""


def said(spec: Mapping[str, Any], name: str) -> str:
    """`label` of a spec, or of a choice, in the language of the reader."""
    first, second = ("ko", "en") if (get_language() or "ko").startswith("ko") else ("en", "ko")
    return str(spec.get(f"{name}_{first}") or spec.get(f"{name}_{second}") or "")


def shown(fields: Sequence[Spec], answers: Mapping[str, Any]) -> set[str]:
    """The codes of the questions that are asked, given these answers."""
    seen: set[str] = set()
    types = {spec["code"]: spec["type"] for spec in fields}
    for spec in fields:
        condition = spec.get("shown_if")
        if condition:
            other = condition["field"]
            value = answers.get(other, False if types.get(other) == "yes" else None)
            if other not in seen or value not in condition["in"]:
                continue
        seen.add(spec["code"])
    return seen


def clean(
    fields: Sequence[Spec], raw: Mapping[str, Any], *, whole: bool = False, documents: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, str]]:
    """What was answered, tidied, and what is wrong with it by code.

    A draft may lack anything, but what it has must be of the right kind. `whole` is for submission: whatever is asked
    and required must be there (a required yes must be yes), and answers to what isn't asked are left out. `documents`
    are the codes of the files that were handed in.
    """
    specs = {spec["code"]: spec for spec in fields}
    cleaned: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for code, value in raw.items():
        spec = specs.get(code)
        if spec is None or spec["type"] == "file":
            errors[str(code)[:60]] = _("This is no question of this form.")
            continue
        try:
            value = _value(spec, value)
        except Invalid as invalid:
            errors[code] = str(invalid)
            continue
        if value is not None:
            cleaned[code] = value
    if whole:
        asked = shown(fields, cleaned)
        for code in asked - errors.keys():
            if specs[code].get("required") and not (code in documents or cleaned.get(code) not in (None, False)):
                errors[code] = _needed(specs[code])
        cleaned = {code: value for code, value in cleaned.items() if code in asked}
    return cleaned, errors


def written(spec: Mapping[str, Any], value: Any) -> str:
    """An answer as people read it."""
    if value is None:
        return ""
    if spec["type"] == "yes":
        return _("yes") if value else _("no")
    if spec["type"] == "choice":
        return next((said(choice, "label") for choice in spec["choices"] if choice["value"] == value), str(value))
    if spec["type"] == "number":
        return f"{value:,}"
    return str(value)


def hidden_from_reviewers(spec: Mapping[str, Any]) -> bool:
    """Whether a blind call keeps the answer from its reviewers. A file is kept unless the form says otherwise."""
    return spec.get("identity", spec["type"] == "file") is not False


def _needed(spec: Spec) -> str:
    if spec["type"] == "file":
        return _("A file is needed here.")
    return _("This must be agreed to.") if spec["type"] == "yes" else _("An answer is needed here.")


def _value(spec: Spec, value: Any) -> Any:
    """The value as it is kept; None where there is no answer. Raises Invalid."""
    kind = spec["type"]
    if kind == "yes":
        return _yes(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if kind == "number":
        return _number(spec, value)
    if not isinstance(value, str):
        raise Invalid(_("This must be text."))
    text = unicodedata.normalize("NFC", value).replace("\r\n", "\n").strip()
    if sign := unusable(text, lines=kind == "text"):
        raise Invalid(_("This holds a sign that can't be used here (%(sign)s).") % {"sign": sign})
    if kind == "choice":
        if text not in {choice["value"] for choice in spec["choices"]}:
            raise Invalid(_("This is none of the choices."))
        return text
    if kind == "day":
        try:
            day = date.fromisoformat(text)
        except ValueError:
            raise Invalid(_("This is no day. Write it like 2026-03-31.")) from None
        if not usable(day, since=LONG_AGO):
            raise Invalid(OUT_OF_RANGE % {"first": LONG_AGO, "last": LAST})
        return day.isoformat()
    most = spec.get("most") or SIGNS[kind][0]
    if len(text) > most:
        raise Invalid(
            _("This is too long: %(length)s of at most %(most)s signs.") % {"length": len(text), "most": most}
        )
    if len(text) < (spec.get("least") or 0):
        raise Invalid(
            _("This is too short: %(length)s of at least %(least)s signs.")
            % {"length": len(text), "least": spec["least"]}
        )
    return text


def _yes(value: Any) -> bool | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return value
    known = {"true": True, "on": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise Invalid(_("This must be yes or no."))


def _number(spec: Spec, value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9][0-9,]{0,25}", value.strip(), re.ASCII):
        value = int(value.replace(",", ""))
    if not isinstance(value, int) or isinstance(value, bool):
        raise Invalid(_("This must be a whole number."))
    least, most = spec.get("least", 0), spec.get("most", BIG)
    if not least <= value <= most:
        raise Invalid(_("This must be between %(least)s and %(most)s.") % {"least": f"{least:,}", "most": f"{most:,}"})
    return value


def check_spec(fields: Any) -> list[Spec]:
    """The specs, tidied. Raises Refused with an error for each wrong part, under "<index>.<key>"."""
    if not isinstance(fields, list) or len(fields) > MOST_FIELDS:
        raise Refused(_("A form has at most %(most)s questions.") % {"most": MOST_FIELDS}, field="fields")
    checked: list[Spec] = []
    errors: dict[str, str] = {}
    for index, raw in enumerate(fields):
        spec, wrong = _field(raw, checked)
        checked.append(spec)
        errors |= {f"{index}.{key}": message for key, message in wrong.items()}
    if errors:
        key, message = next(iter(errors.items()))
        raise Refused(
            _("Question %(number)s: %(message)s") % {"number": int(key.split(".")[0]) + 1, "message": message},
            errors=errors,
        )
    return checked


def _field(raw: Any, earlier: list[Spec]) -> tuple[Spec, dict[str, str]]:
    if not isinstance(raw, dict):
        return {"code": "", "type": "line"}, {"code": _("This is no question.")}
    wrong: dict[str, str] = {}
    code, kind = raw.get("code"), raw.get("type")
    if not isinstance(code, str) or not _CODE.fullmatch(code) or code in _TAKEN or code.startswith("line-"):
        wrong["code"] = _("A code begins with a small letter and has only small letters, digits, - and _.")
        code = ""
    elif any(spec["code"] == code for spec in earlier):
        wrong["code"] = _("This code is used twice.")
    if kind not in TYPES:
        wrong["type"] = _("This kind of question doesn't exist.")
        kind = "line"
    spec: Spec = {"code": code, "type": kind, "required": _flag(raw, "required", wrong) or False}
    for name, most in (("label_ko", 300), ("label_en", 300), ("hint_ko", 600), ("hint_en", 600)):
        if text := _short(raw.get(name), name, most, wrong):
            spec[name] = text
    if "label_ko" not in spec and "label_ko" not in wrong:
        wrong["label_ko"] = _("A question needs its Korean text.")
    if (identity := _flag(raw, "identity", wrong)) is not None:
        spec["identity"] = identity
    _bounds(raw, spec, wrong)
    if kind == "choice":
        spec["choices"] = _choices(raw.get("choices"), wrong)
    if kind == "file" and (kinds := raw.get("kinds")) is not None:
        if not isinstance(kinds, list) or not kinds or any(one not in file_kinds.KINDS for one in kinds):
            wrong["kinds"] = _("Choose at least one kind of file, of: %(kinds)s.") % {
                "kinds": file_kinds.said(file_kinds.KINDS)
            }
        else:
            spec["kinds"] = [one for one in file_kinds.KINDS if one in kinds]
    if raw.get("shown_if"):
        spec["shown_if"] = _condition(raw["shown_if"], earlier, wrong)
    return spec, wrong


def _flag(raw: Spec, name: str, wrong: dict[str, str]) -> bool | None:
    value = raw.get(name)
    if value is not None and not isinstance(value, bool):
        wrong[name] = _("This must be yes or no.")
        return None
    return value


def _short(value: Any, name: str, most: int, wrong: dict[str, str]) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most or unusable(value):
        wrong[name] = _("This must be one line of at most %(most)s signs.") % {"most": most}
        return ""
    return unicodedata.normalize("NFC", value).strip()


def _bounds(raw: Spec, spec: Spec, wrong: dict[str, str]) -> None:
    kind = spec["type"]
    lowest, highest = (-BIG, BIG) if kind == "number" else (0, SIGNS.get(kind, (0, BIG))[1])
    for name in ("least", "most"):
        value = raw.get(name)
        if value is None or kind not in ("line", "text", "number"):
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            wrong[name] = _("This must be between %(least)s and %(most)s.") % {"least": lowest, "most": highest}
        else:
            spec[name] = value
    if "least" in spec and "most" in spec and spec["least"] > spec["most"]:
        wrong["most"] = _("The most is less than the least.")


def _choices(raw: Any, wrong: dict[str, str]) -> list[dict[str, str]]:
    choices: list[dict[str, str]] = []
    if not isinstance(raw, list) or not 1 <= len(raw) <= MOST_CHOICES:
        wrong["choices"] = _("A choice needs between 1 and %(most)s answers to choose from.") % {"most": MOST_CHOICES}
        return choices
    for one in raw:
        value = one.get("value") if isinstance(one, dict) else None
        label = _short(one.get("label_ko"), "choices", 200, wrong) if isinstance(one, dict) else ""
        if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", value) or not label:
            wrong["choices"] = _("Each answer needs a short value (small letters, digits, - and _) and Korean text.")
            continue
        if any(choice["value"] == value for choice in choices):
            wrong["choices"] = _("Two answers have the same value.")
            continue
        choices.append({"value": value, "label_ko": label})
        if english := _short(one.get("label_en"), "choices", 200, wrong):
            choices[-1]["label_en"] = english
    return choices


def _condition(raw: Any, earlier: list[Spec], wrong: dict[str, str]) -> dict[str, Any]:
    message = _("A question can depend on an earlier choice or yes/no, and on answers that it has.")
    other = next((spec for spec in earlier if isinstance(raw, dict) and spec["code"] == raw.get("field")), None)
    values = raw.get("in") if isinstance(raw, dict) else None
    if other is None or other["type"] not in ("choice", "yes") or not isinstance(values, list) or not values:
        wrong["shown_if"] = message
        return {"field": "", "in": []}
    known: list[Any] = [True, False] if other["type"] == "yes" else [choice["value"] for choice in other["choices"]]
    if any(type(value) is not type(known[0]) or value not in known for value in values if known) or not known:
        wrong["shown_if"] = message
    return {"field": other["code"], "in": values}
