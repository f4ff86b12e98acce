"""Copy what the pages need from npm packages into the repository, so that users and CI need no Node.

    cd frontend && npm ci --ignore-scripts && cd .. && python tools/vendor.py

Only the files named here are taken. Each package gets a folder <name>-<version>/ with its license notices; VENDOR.json
says version, license and the sha384 of every file, and a test compares.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "frontend" / "node_modules"
TARGET = ROOT / "src" / "madang" / "portal" / "static" / "vendor"
SOURCE_MAP = re.compile(rb"\n?(//[#@]|/\*[#@])\s*sourceMappingURL=[^\n]*")

# package → files: where in the package → name in our folder
WANTED = {
    "krds-uiux": {"resources/css/token/krds_tokens.css": "krds_tokens.css", "README.md": "README.md"},
    "echarts": {
        "dist/echarts.min.js": "echarts.min.js",
        "i18n/langKO.js": "langKO.js",
        "LICENSE": "LICENSE",
        "NOTICE": "NOTICE",
        "licenses/LICENSE-d3": "LICENSE-d3",
    },
    "pretendard-gov": {
        "dist/web/variable/pretendardvariable-gov-dynamic-subset.css": "pretendard-gov.css",
        "dist/web/variable/woff2-dynamic-subset/*": "woff2-dynamic-subset/",
        "dist/LICENSE.txt": "LICENSE.txt",
    },
}
NOTICES = {
    "krds-uiux": "ISC, and the terms of use of KRDS (https://www.krds.go.kr/html/site/utility/utility_06.html)",
    "echarts": "Apache-2.0; embeds zrender (BSD-3-Clause), tslib (0BSD) and parts of d3 (BSD-3-Clause)",
    "pretendard-gov": "OFL-1.1",
}


def sha384(content: bytes) -> str:
    return "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode()


def copied(package: str) -> dict[str, object]:
    source = PACKAGES / package
    about = json.loads((source / "package.json").read_text())
    folder = TARGET / f"{package}-{about['version']}"
    hashes: dict[str, str] = {}
    for pattern, name in WANTED[package].items():
        found = sorted(source.glob(pattern))
        if not found:
            sys.exit(f"{package} has no {pattern}")
        for path in found:
            content = path.read_bytes()
            if path.suffix in {".js", ".css"}:
                content = SOURCE_MAP.sub(b"", content)
            target = folder / (f"{name}{path.name}" if name.endswith("/") else name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            hashes[target.relative_to(folder).as_posix()] = sha384(content)
    return {"version": about["version"], "license": NOTICES[package], "files": dict(sorted(hashes.items()))}


def main() -> None:
    if not PACKAGES.is_dir():
        sys.exit("First: cd frontend && npm ci --ignore-scripts")
    shutil.rmtree(TARGET, ignore_errors=True)
    said = {package: copied(package) for package in WANTED}
    (TARGET / "VENDOR.json").write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    for package, about in said.items():
        print(f"{package} {about['version']}: {len(about['files'])} files")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
