"""What a job wrote, made safe to show: no control sequences, no half characters, progress bars as their last state."""

from __future__ import annotations

import re
import unicodedata

# CSI, OSC (to BEL or ST), other strings of a terminal, and two-character escapes.
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)"
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_TURNING = dict.fromkeys(map(ord, "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"))


def whole(data: bytes) -> bytes:
    """`data` without a character that its end has cut in two: at most three bytes shorter."""
    starts = ((0b110, 5, 2), (0b1110, 4, 3), (0b11110, 3, 4))  # mark, shift, length
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0b1100_0000 == 0b1000_0000:
            continue
        length = next((n for mark, shift, n in starts if byte >> shift == mark), 1)
        return data[:-back] if length > back else data
    return data


def plain(data: bytes) -> str:
    """As a reader sees it on a terminal, more or less. Not yet escaped for a page: the template does that."""
    text = _SEQUENCES.sub("", data.decode("utf-8", errors="replace")).replace("\r\n", "\n")
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")]
    return "".join(
        sign for sign in "\n".join(lines).translate(_TURNING) if sign in "\n\t" or unicodedata.category(sign) != "Cc"
    )
