"""axe-core in a page: put into a document once, and asked for nothing but what is wrong."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT

# All that axe finds in order is twice the work: the lists of it are made for each element and sent here.
RUN = "axe.run({resultTypes: ['violations']}).then(found => found.violations)"


def violations(page: Any) -> list[dict[str, Any]]:
    """What axe finds wrong with the page as it stands: `id`, `help` and `nodes` of each."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE_SCRIPT)
    found: list[dict[str, Any]] = page.evaluate(RUN)
    return found
