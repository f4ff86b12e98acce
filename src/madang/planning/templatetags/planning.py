"""How the shapes of demand are written."""

from __future__ import annotations

from django import template

from madang.planning.forms import SHAPE

register = template.Library()


@register.filter
def shape(name: str) -> str:
    return str(dict(SHAPE).get(name, name))
