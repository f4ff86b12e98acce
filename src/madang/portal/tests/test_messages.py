"""Every room says everything in Korean too, and what is compiled is what is written."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
TOOL = ROOT / "tools" / "messages.py"

pytestmark = pytest.mark.skipif(not TOOL.exists(), reason="an installed package brings no tools/")


def test_every_message_has_korean_and_every_catalog_is_compiled() -> None:
    done = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_message_without_korean_or_with_a_lost_placeholder_is_found(tmp_path: Path) -> None:
    room = tmp_path / "room"
    (room / "templates").mkdir(parents=True)
    (room / "views.py").write_text('from x import gettext as _\n_("Hello %(name)s")\n')
    (room / "templates" / "a.html").write_text(
        "<div>\n      {% if x %}\n   <c-card title=\"{% trans 'It is here' %}\">it's\n"
        " {% blocktrans count n=n %}{{ n }} job{% plural %}{{ n }} jobs{% endblocktrans %}</c-card>"
    )
    first = subprocess.run([sys.executable, TOOL, str(room)], capture_output=True, text=True, check=False)
    po = room / "locale" / "ko" / "LC_MESSAGES" / "django.po"
    assert first.returncode == 1
    assert [line for line in first.stdout.splitlines() if "no Korean" in line and "room" in line] == [
        line for message in ("%(n)s job", "Hello %(name)s", "It is here") for line in first.stdout.splitlines()
        if line.endswith(f"no Korean: {message!r}")
    ]  # fmt: skip

    text = po.read_text()
    text = text.replace('msgid "Hello %(name)s"\nmsgstr ""', 'msgid "Hello %(name)s"\nmsgstr "안녕하세요"')
    text = text.replace('msgid "It is here"\nmsgstr ""', 'msgid "It is here"\nmsgstr "여기 있습니다"')
    text = text.replace('msgstr[0] ""', 'msgstr[0] "작업 %(n)s건"')
    po.write_text(text)
    second = subprocess.run([sys.executable, TOOL, str(room)], capture_output=True, text=True, check=False)
    assert "placeholders differ: 'Hello %(name)s'" in second.stdout
    assert "no Korean" not in [line for line in second.stdout.splitlines() if str(room) in line]

    po.write_text(po.read_text().replace("안녕하세요", "안녕하세요, %(name)s 님"))
    subprocess.run([sys.executable, TOOL, str(room)], capture_output=True, text=True, check=False)
    before = po.read_bytes(), po.with_suffix(".mo").read_bytes()
    again = subprocess.run([sys.executable, TOOL, "--check", str(room)], capture_output=True, text=True, check=False)
    assert "3 messages, all in Korean" in again.stdout
    assert (po.read_bytes(), po.with_suffix(".mo").read_bytes()) == before
