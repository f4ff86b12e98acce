from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from madang.grants.models import GrantState
from madang.programs.models import Program
from madang.web.forms import Form, Month, TextField, WholeNumber


class AcceptForm(Form):
    version = WholeNumber(min_value=1, max_value=32_767, widget=forms.HiddenInput)
    digest = TextField(max_length=64, widget=forms.HiddenInput)
    signed_as = TextField(
        label=_("Signed as"),
        max_length=160,
        help_text=_("The name and position of the person who signs for your organization."),
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    read = forms.BooleanField(
        label=_("I have read the agreement, may sign for my organization, and accept it."),
        error_messages={"required": _("Confirm that you have read the agreement.")},
    )


class ReasonForm(Form):
    """Why something is declined, closed, paused or resumed. The reason is kept, and shown to the other side."""

    reason = TextField(label=_("Reason"), max_length=600, lines=True)


class MonthForm(Form):
    """Which month of the ledger is closed, and why. That there is no way back is confirmed."""

    month = Month(label=_("Month"), help_text=_("Every month before it is closed, too."))
    reason = TextField(label=_("Reason"), max_length=600, lines=True)
    final = forms.BooleanField(
        label=_("I know that a closed month can't be opened again."),
        error_messages={"required": _("Confirm that you know it.")},
    )


class FilterForm(Form):
    """What the list of grants can be narrowed to. An unusable value narrows nothing."""

    search = TextField(label=_("Search"), max_length=100, required=False)
    program = forms.ChoiceField(label=_("Program"), required=False)
    state = forms.ChoiceField(label=_("State"), required=False)

    def __init__(self, *args: Any, programs: list[Program], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        every = ("", _("all"))
        self.declared("program").choices = [every, *((p.code, p.name) for p in programs)]
        self.declared("state").choices = [every, *GrantState.choices]

    def declared(self, name: str) -> forms.ChoiceField:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        return field

    def chosen(self) -> dict[str, str]:
        self.is_valid()
        return {name: self.cleaned_data.get(name) or "" for name in ("search", "program", "state")}
