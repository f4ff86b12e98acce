from __future__ import annotations

import pytest

from madang.facilities.compute.text import plain, whole


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"plain\n", "plain\n"),
        (b"\x1b[31mred\x1b[0m and \x1b[1;32mgreen\x1b[m", "red and green"),
        (b"\x1b]0;a title\x07text", "text"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"10%\r50%\r100%\ndone\r\n", "100%\ndone\n"),
        (b"bell\x07 back\x08 nul\x00", "bell back nul"),
        ("한글 🚀\n".encode(), "한글 🚀\n"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("turned \u202eoff".encode(), "turned off"),
        (b"<script>alert(1)</script>", "<script>alert(1)</script>"),
        (b"\x1b", ""),
        (b"tab\there", "tab\there"),
    ],
)
def test_a_log_is_shown_without_what_would_move_the_cursor(data, shown):
    assert plain(data).replace("\x1b", "") == shown


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_character_is_never_cut_in_two(cut):
    data = "가나🚀é".encode()
    assert "가나🚀é".startswith(whole(data[:cut]).decode())


def test_broken_bytes_are_not_waited_for():
    assert whole(b"abc\xff") == b"abc\xff"
    assert whole(b"") == b""
