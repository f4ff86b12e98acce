"""Job templates: scripts to start from. Some are shipped with this software; a site changes, adds and hides."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from madang.facilities.compute.models import JobTemplate
from madang.web.bilingual import said
from madang.workflow.errors import Missing

SHIPPED = Path(__file__).parent / "shipped"


@dataclass(frozen=True)
class Recipe:
    """What a job starts from: `limit_s` in seconds, `parameters` a table as CSV, `needs` the files that its script
    looks for; with `requeue` it may be started again. `shipped`: this software has one of this code; `own`: the site's,
    which stands in its place."""

    code: str
    name_ko: str
    name_en: str
    text_ko: str
    text_en: str
    script: str
    gpus: int
    limit_s: int
    tasks: int = 1
    parameters: str = ""
    needs: tuple[str, ...] = ()
    requeue: bool = False
    hidden: bool = False
    shipped: bool = False
    own: bool = False

    @property
    def name(self) -> str:
        return said(self, "name")

    @property
    def text(self) -> str:
        return said(self, "text")

    @property
    def minutes(self) -> int:
        return self.limit_s // 60


FIELDS = (
    "name_ko",
    "name_en",
    "text_ko",
    "text_en",
    "script",
    "gpus",
    "limit_s",
    "tasks",
    "parameters",
    "requeue",
    "hidden",
)


@cache
def shipped() -> dict[str, Recipe]:
    found: list[dict[str, Any]] = tomllib.loads((SHIPPED / "templates.toml").read_text())["template"]
    return {
        row["code"]: Recipe(
            **{name: value for name, value in row.items() if name not in ("minutes", "needs")},
            limit_s=row["minutes"] * 60,
            needs=tuple(row["needs"]),
            script=(SHIPPED / f"{row['code']}.sh").read_text(),
            shipped=True,
        )
        for row in found
    }


def recipes(*, hidden: bool = False) -> list[Recipe]:
    """Every template of the site, those shipped first; with `hidden`, also those that are kept from tenants."""
    ours = {
        row.code: Recipe(
            row.code,
            **{name: getattr(row, name) for name in FIELDS},
            needs=tuple(row.needs),
            shipped=row.code in shipped(),
            own=True,
        )
        for row in JobTemplate.objects.order_by("id")
    }
    found = [ours.pop(code, recipe) for code, recipe in shipped().items()] + list(ours.values())
    return [recipe for recipe in found if hidden or not recipe.hidden]


def chosen(offered: Sequence[Recipe], code: str) -> Recipe:
    """The one of this code; Missing where there is none."""
    found = next((recipe for recipe in offered if recipe.code == code), None)
    if found is None:
        raise Missing(_("There is nothing here, or it isn't yours to see."))
    return found
