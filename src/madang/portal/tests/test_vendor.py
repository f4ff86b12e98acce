import base64
import hashlib
import json
import re
from pathlib import Path

import madang.portal

VENDOR = Path(madang.portal.__file__).parent / "static" / "vendor"
SAID = json.loads((VENDOR / "VENDOR.json").read_text())


def test_every_file_of_others_is_the_one_that_was_taken_and_none_is_more() -> None:
    said = {
        f"{package}-{about['version']}/{name}": digest
        for package, about in SAID.items()
        for name, digest in about["files"].items()
    }
    there = {
        path.relative_to(VENDOR).as_posix(): "sha384-"
        + base64.b64encode(hashlib.sha384(path.read_bytes()).digest()).decode()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "VENDOR.json"
    }
    assert there == said


def test_every_package_says_its_license_and_keeps_its_notice() -> None:
    for package, about in SAID.items():
        assert about["license"], package
        assert {"LICENSE", "LICENSE.txt", "README.md"} & set(about["files"]), package


def test_no_style_asks_for_a_file_that_is_not_here_or_for_another_server() -> None:
    for path in [*VENDOR.rglob("*.css"), *VENDOR.parent.rglob("portal/*.css")]:
        text = path.read_text()
        assert "sourceMappingURL" not in text, path
        for target in re.findall(r"url\(['\"]?([^'\")]+)", text):
            assert not target.startswith(("http", "//")), (path, target)
            assert (path.parent / target).is_file(), (path, target)
        assert "@import" not in text, path


def test_only_the_token_file_names_a_color() -> None:
    for path in (VENDOR.parent / "portal").glob("*.css"):
        if path.name != "tokens.css":
            assert not re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(|hsla?\(", path.read_text()), path


def test_every_color_and_size_that_a_style_uses_is_defined() -> None:
    portal = sorted((VENDOR.parent / "portal").glob("*.css"))
    known = set(
        re.findall(r"(--[\w-]+)\s*:", "".join(path.read_text() for path in [*portal, *VENDOR.rglob("krds_tokens.css")]))
    )
    used = {name for path in portal for name in re.findall(r"var\((--[\w-]+)", path.read_text())}
    assert used - known == set()
