"""The business registration number (사업자등록번호): ten digits, the last of which checks the others.

The first nine digits weighted 1 3 7 1 3 7 1 3 5, the tens of the ninth product, and the last digit add up to a multiple
of ten.
"""

from __future__ import annotations

import re

WEIGHTS = (1, 3, 7, 1, 3, 7, 1, 3, 5)


def digits_of(written: str) -> str:
    """The number without the dashes and blanks that people write; whatever else was there stays, and isn't valid.

    >>> digits_of("220-81-62517")
    '2208162517'
    """
    return re.sub(r"[\s\-‐‑–—]", "", written)


def check_digit(nine: str) -> str:
    """
    >>> check_digit("220816251")
    '7'
    """
    total = sum(int(digit) * weight for digit, weight in zip(nine, WEIGHTS, strict=True)) + int(nine[8]) * 5 // 10
    return str(-total % 10)


def is_valid(number: str) -> bool:
    """Whether `number`, ten digits without dashes, is one that the tax office could have given.

    >>> is_valid("2208162517"), is_valid("2208162518")
    (True, False)
    """
    return bool(re.fullmatch(r"[0-9]{10}", number)) and number[9] == check_digit(number[:9])
