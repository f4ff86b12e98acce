"""How an applicant's name is covered in what the reviewers of a blind call read.

Reviewers are shown nothing that could tell the applicant but the answers that the form lets through. What an applicant
wrote there about itself is covered here: its names, its number, its representative.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

COVER = "●●●"
_KOREAN_FORMS = r"주식회사|유한회사|유한책임회사|재단법인|사단법인|\(주\)|㈜|\(유\)|\(재\)|\(사\)"
_FORMS = re.compile(_KOREAN_FORMS + r"|\bco\.?,? *ltd\.?|\binc\.?$|\bcorp\.?$", re.IGNORECASE)


def names_of(organization: Mapping[str, Any]) -> list[str]:
    """By what an organization, as it stands in a submission, can be told. Longest first."""
    number = organization["business_number"]
    names = {number, f"{number[:3]}-{number[3:5]}-{number[5:]}"}
    for name in (organization["name_ko"], organization["name_en"]):
        names |= {name.strip(), _FORMS.sub("", name).strip(" ,.")}
    if len(organization["representative"]) >= 3:  # a shorter one is a part of too many words
        names.add(organization["representative"])
    return sorted((name for name in names if len(name) >= 2), key=lambda name: (-len(name), name))


def covered(text: str, names: Iterable[str]) -> str:
    """The text with every one of the names covered, however it is spaced and cased.

    >>> covered("(주)빛고을 AI and bitgoeul ai train", ["빛고을AI", "Bitgoeul AI", "AI"])
    '(주)●●● and ●●● train'
    """
    for name in names:
        parts = re.sub(r"\s+", "", name)
        pattern = r"\s*".join(re.escape(sign) for sign in parts)
        if parts[0].isascii() and parts[0].isalnum():
            pattern = r"(?<![A-Za-z0-9])" + pattern
        if parts[-1].isascii() and parts[-1].isalnum():
            pattern += r"(?![A-Za-z0-9])"
        text = re.sub(pattern, COVER, text, flags=re.IGNORECASE)
    return text
