"""How waits, shares and shapes are written."""

from __future__ import annotations

from django import template
from django.utils.translation import gettext as _

from madang.planning.forms import SHAPE

register = template.Library()


@register.filter
def wait(seconds: float) -> str:
    """
    >>> wait(5400)
    '1.5 h'
    """
    if seconds < 60:
        return _("%(n)d s") % {"n": round(seconds)}
    if seconds < 3600:
        return _("%(n)d min") % {"n": round(seconds / 60)}
    if seconds < 72 * 3600:
        return _("%(n)s h") % {"n": f"{seconds / 3600:.1f}"}
    return _("%(n)s d") % {"n": f"{seconds / 86_400:,.1f}"}


@register.filter
def share(value: float) -> str:
    return f"{value * 100:.1f}%"


@register.filter
def shape(name: str) -> str:
    return str(dict(SHAPE).get(name, name))
