from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from madang.outcomes.actions import MOST_FILES
from madang.outcomes.models import Level, OutcomeKind
from madang.web.forms import Day, Form, TextField, Uploads, WholeNumber


class ReportForm(Form):
    kind = forms.ChoiceField(label=_("Kind"), choices=OutcomeKind.choices, widget=forms.RadioSelect)
    title = TextField(label=_("Title"), max_length=200, help_text=_("In one line, as you would tell the press."))
    amount = WholeNumber(
        label=_("Amount"),
        min_value=1,
        help_text=_("New hires in people, revenue and investment in KRW, products and patents in pieces."),
    )
    occurred_on = Day(label=_("Day"), help_text=_("When it happened, not when it was noticed."))
    share_percent = WholeNumber(
        label=_("Share that the support brought about (%)"),
        min_value=1,
        max_value=100,
        initial=100,
        help_text=_("100 if it would not have happened without the support."),
    )
    text = TextField(label=_("Description"), max_length=4000, lines=True, required=False)
    evidence = Uploads(
        label=_("Evidence"),
        most=MOST_FILES,
        help_text=_(
            "At least one file that shows it: a certificate of employment, a tax invoice, a patent certificate. "
            "Only your organization, officers and auditors can open it."
        ),
    )


class VerifyForm(Form):
    level = forms.ChoiceField(label=_("Level"), widget=forms.RadioSelect)
    reason = TextField(label=_("What was checked"), max_length=2000, lines=True)

    def __init__(self, *args: Any, above: str = Level.SELF, audit: bool, officer: bool, **kwargs: Any) -> None:
        """`above`: the level it has. Officers give the levels below the audit, auditors the audit."""
        super().__init__(*args, **kwargs)
        field = self.fields["level"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [
            (value, label)
            for value, label in Level.choices
            if value > above and (audit if value == Level.AUDIT else officer)
        ]


class ReturnForm(Form):
    reason = TextField(label=_("What is missing"), max_length=2000, lines=True)
