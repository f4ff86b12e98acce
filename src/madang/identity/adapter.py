"""How the accounts package speaks on this site: as Madang, not as the name of a host."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.utils.translation import gettext as _


class Named:
    """What a letter says it comes from. Links in letters are made elsewhere: this is only ever read."""

    def __init__(self, name: str) -> None:
        self.name = self.domain = name

    def __str__(self) -> str:
        return self.name


class AccountAdapter(DefaultAccountAdapter):
    def render_mail(self, template_prefix: str, email: str, context: dict[str, Any], headers: Any = None) -> Any:
        named = {**context, "current_site": Named(_("Madang"))}
        return super().render_mail(template_prefix, email, named, headers)
