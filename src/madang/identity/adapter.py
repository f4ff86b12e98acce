"""The letters of the accounts package, in the words of this site."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.core.mail import EmailMessage

from madang.identity import letters


class AccountAdapter(DefaultAccountAdapter):
    def render_mail(self, template_prefix: str, email: str, context: dict[str, Any], headers: Any = None) -> Any:
        subject, text = letters.of_account(template_prefix.rpartition("/")[2], context)
        return EmailMessage(self.format_email_subject(subject), text, self.get_from_email(), [email], headers=headers)
