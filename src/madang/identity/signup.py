"""What the sign-up page asks beside e-mail and password."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from madang.web.forms import TextField


class SignupForm(forms.Form):
    name = TextField(label=_("Name"), max_length=80)

    def signup(self, request: HttpRequest, user: Any) -> None:
        user.name = self.cleaned_data["name"]
        user.save(update_fields=["name"])
