"""Collect what the rooms say, keep their Korean, compile it.

    python tools/messages.py [folder …]           collect and compile; exits 1 where Korean is missing
    python tools/messages.py --check [folder …]   write nothing; exits 1 where a run would change something, too

A room is a folder of src/madang with an apps.py. Its catalog is locale/ko/LC_MESSAGES/django.po, and the compiled .mo
beside it is kept in the repository, so that nobody who runs Madang needs gettext.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import polib
from babel.messages.extract import extract

ROOT = Path(__file__).resolve().parent.parent
HOUSE = ROOT / "src" / "madang"
KEYWORDS: dict[str, tuple[int | tuple[int, str], ...] | None] = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
    "npgettext_lazy": ((1, "c"), 2, 3),
}
# No dates, no paths, no tool versions: the same sources always give the same file.
HEADER = {
    "Project-Id-Version": "Madang",
    "Language": "ko",
    "MIME-Version": "1.0",
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Transfer-Encoding": "8bit",
    "Plural-Forms": "nplurals=1; plural=0;",
}
HOLES = re.compile(r"%\((\w+)\)[sdif]|%[sd]|\{(\w*)\}")

Key = tuple[str | None, str]


def rooms() -> list[Path]:
    return sorted(apps.parent for apps in HOUSE.rglob("apps.py"))


def sources(room: Path) -> Iterator[Path]:
    """The Python files and templates of a room, without its tests, its migrations and rooms inside it."""
    inner = [other for other in rooms() if other != room and room in other.parents]
    for path in sorted(room.rglob("*")):
        parts = path.relative_to(room).parts
        if path.suffix not in {".py", ".html", ".txt"} or {"tests", "migrations", "static", "locale"} & set(parts[:-1]):
            continue
        if not any(other in path.parents for other in inner):
            yield path


def messages(path: Path) -> Iterator[tuple[str | None, str, str | None]]:
    """(context, message, plural) for each message of a file."""
    text = path.read_text()
    if path.suffix != ".py":
        from django.utils.translation.template import templatize

        # What is left of the page around the messages isn't Python: without its indentation it can be read as such.
        text = "\n".join(line.strip() for line in templatize(text, origin=str(path)).split("\n"))
    for _line, said, _comments, context in extract("python", io.BytesIO(text.encode()), KEYWORDS):
        first, plural = (said[0], said[1]) if isinstance(said, tuple) else (said, None)
        if first:
            yield context, first, plural


def collected(room: Path) -> dict[Key, polib.POEntry]:
    found: dict[Key, polib.POEntry] = {}
    for path in sources(room):
        place = (path.relative_to(room).as_posix(), "")
        for context, message, plural in messages(path):
            entry = found.setdefault((context, message), polib.POEntry(msgid=message, msgctxt=context))
            if plural:
                entry.msgid_plural = plural
            if place not in entry.occurrences:
                entry.occurrences.append(place)
            if re.search(r"%\(\w+\)|%[sd]", message):
                entry.flags = ["python-format"]
    return found


def merged(room: Path) -> polib.POFile:
    """The catalog as it should be: every message that is used, with the Korean it already had."""
    path = catalog(room)
    before = {(entry.msgctxt, entry.msgid): entry for entry in polib.pofile(str(path))} if path.exists() else {}
    file = polib.POFile(wrapwidth=110)
    file.metadata = dict(HEADER)
    for key, entry in sorted(collected(room).items(), key=lambda item: (item[0][1], item[0][0] or "")):
        old = before.get(key)
        korean = (old.msgstr or (old.msgstr_plural or {}).get(0, "")) if old else ""
        if entry.msgid_plural:
            entry.msgstr_plural = {0: korean}
        else:
            entry.msgstr = korean
        if old and old.tcomment:
            entry.tcomment = old.tcomment
        file.append(entry)
    return file


def catalog(room: Path) -> Path:
    return room / "locale" / "ko" / "LC_MESSAGES" / "django.po"


def korean_of(entry: polib.POEntry) -> str:
    return entry.msgstr_plural.get(0, "") if entry.msgid_plural else entry.msgstr


def wrong(file: polib.POFile) -> list[str]:
    """What lacks Korean, and Korean that lost or invented a placeholder."""
    lines = []
    for entry in file:
        korean = korean_of(entry)
        if not korean.strip():
            lines.append(f"no Korean: {entry.msgid!r}")
            continue
        wanted, given = (set(HOLES.findall(text)) for text in (entry.msgid_plural or entry.msgid, korean))
        if wanted != given:
            lines.append(f"placeholders differ: {entry.msgid!r} → {korean!r}")
        if entry.msgid.startswith("\n") != korean.startswith("\n"):
            lines.append(f"one starts with a new line, the other doesn't: {entry.msgid!r}")
    return lines


def compiled(file: polib.POFile) -> bytes:
    return file.to_binary()


def disagreements() -> list[str]:
    """One message, two rooms, two Korean texts: Django would show the first room's in both."""
    seen: dict[Key, tuple[str, Path]] = {}
    lines = []
    for room in rooms():
        if not catalog(room).exists():
            continue
        for entry in polib.pofile(str(catalog(room))):
            korean = korean_of(entry)
            other = seen.setdefault((entry.msgctxt, entry.msgid), (korean, room))
            if korean and other[0] and other[0] != korean:
                lines.append(
                    f"said in two ways: {entry.msgid!r} is {other[0]!r} in {other[1].name}, {korean!r} in {room.name}"
                )
    return lines


def main(arguments: list[str]) -> int:
    check = "--check" in arguments
    named = [Path(argument).resolve() for argument in arguments if not argument.startswith("-")]
    failed = False
    for room in named or rooms():
        file, path = merged(room), catalog(room)
        name = os.path.relpath(room, HOUSE)
        if not len(file) and not path.exists():
            continue
        changed = False
        for target, content in ((path, f"{file}\n".encode()), (path.with_suffix(".mo"), compiled(file))):
            if target.exists() and target.read_bytes() == content:
                continue
            changed = True
            if not check:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        lines = wrong(file)
        if check and changed:
            lines.append("the catalog is not up to date: run python tools/messages.py")
        failed |= bool(lines)
        for line in lines:
            print(f"{name}: {line}")
        if not lines:
            print(f"{name}: {len(file)} messages, all in Korean")
    for line in disagreements():
        print(line)
        failed = True
    return int(failed)


if __name__ == "__main__":
    from django.conf import settings

    settings.configure(USE_I18N=False)
    sys.exit(main(sys.argv[1:]))
