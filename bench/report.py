"""What a benchmark says in the end, and whether that is enough."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn


@dataclass(frozen=True)
class Figure:
    """A measured ratio or count, and the target that it has to reach, if it has one."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool:
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)

    def __str__(self) -> str:
        bounds = (("≥", self.at_least), ("≤", self.at_most))
        wanted = "".join(f" ({sign} {bound:g})" for sign, bound in bounds if bound is not None)
        value = f"{self.value:,}" if isinstance(self.value, int) else f"{self.value:.3g}"
        return f"{'' if self.met else 'SHORT: '}{self.name} {value}{wanted}"


def finish(figures: list[Figure]) -> NoReturn:
    """Print all in one line, write them to the file that `JSON` names, and exit with 1 where a target falls short."""
    if path := os.environ.get("JSON"):
        rows = [{**vars(figure), "met": figure.met} for figure in figures]
        Path(path).write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(" · ".join(str(figure) for figure in figures), flush=True)
    sys.exit(0 if all(figure.met for figure in figures) else 1)
