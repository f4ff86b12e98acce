"""Korean particles, which follow the last sound of the word before them."""

from __future__ import annotations

FIRST, LAST, FINALS = 0xAC00, 0xD7A3, 28  # a syllable is FIRST + ... + its final consonant
RIEUL = 8
DIGITS = {"0": 21, "1": RIEUL, "3": 16, "6": 1, "7": RIEUL, "8": RIEUL}  # as they are read: 영, 일, 삼, 육, 칠, 팔
LETTERS = {"L": RIEUL, "M": 16, "N": 4, "R": RIEUL}  # read by their names: 엘, 엠, 엔, 알


def particle(word: str, pair: str) -> str:
    """The one of `pair` (the one after a consonant first) that fits: "사업단", "이/가" → "이".

    >>> particle("주식회사", "으로/로")
    '로'
    """
    closed, open = pair.split("/")
    sign = next((sign for sign in reversed(word) if sign.isalnum()), "")
    if FIRST <= ord(sign or " ") <= LAST:
        final = (ord(sign) - FIRST) % FINALS
    else:
        final = DIGITS.get(sign) or LETTERS.get(sign.upper(), 0)
    return open if not final or (final == RIEUL and closed == "으로") else closed
