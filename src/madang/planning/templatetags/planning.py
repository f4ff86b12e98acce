"""How the shapes of demand are written."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.translation import gettext as _

from madang.planning.forms import SHAPE

register = template.Library()


@register.filter
def shape(program: dict[str, Any]) -> str:
    """Where the jobs of a plan's program are from."""
    if "fitted" in program:
        facts = {"runs": f"{program['runs']:,}", "day": program["of"]}
        return _("as the %(runs)s latest jobs here, up to %(day)s") % facts
    return str(dict(SHAPE).get(program["shape"], program["shape"]))
