"""See that the browser tests have a Chromium and the sandbox tests a bubblewrap, where that can be had without asking.

Prints one line for each that is missing. Never fails: without them those tests are skipped, with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """The Chromium to test with: `MADANG_CHROMIUM`, else the first one in the PATH."""
    if named := os.environ.get("MADANG_CHROMIUM"):
        return named if Path(named).exists() else None
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


def install(packages: list[str]) -> str:
    """An empty text where apt-get installed them, otherwise the reason why not."""
    if os.geteuid() != 0:
        return "installing needs root"
    if not shutil.which("apt-get"):
        return "there is no apt-get"
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages]
    for attempt in (["apt-get", "update", "-qq"], command):
        try:
            done = subprocess.run(attempt, env=quiet, capture_output=True, text=True, timeout=600)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["apt-get failed"])[-1]


def main() -> None:
    missing = {}
    if not chromium():
        missing["chromium"] = "browser tests will be skipped"
    if not shutil.which("bwrap"):
        missing["bubblewrap"] = "sandbox tests will be skipped"
    if not missing:
        return
    print(f"Looking for {' and '.join(missing)} …", flush=True)
    reason = install(list(missing))
    for name, consequence in missing.items():
        there = chromium() if name == "chromium" else shutil.which("bwrap")
        if not there:
            print(f"No {name} ({reason or 'not found after installing'}): {consequence}.")


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        print(f"Could not look for a browser: {error}")
    sys.exit(0)
