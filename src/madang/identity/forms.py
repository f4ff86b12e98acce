"""What people type about themselves and their organizations."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from madang.identity import business_number as numbers
from madang.identity.models import OrganizationKind, Region, Role, Scope, TenantRole
from madang.identity.tokens import MOST_DAYS
from madang.web.days import LONG_AGO
from madang.web.forms import Day, Form, TextField, WholeNumber, unusable


class BusinessNumber(TextField):
    """Ten digits whose last one checks the others; the dashes are the reader's choice."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("label", _("Business registration number"))
        kwargs.setdefault("help_text", _("Ten digits, with or without dashes, such as 220-81-62517."))
        super().__init__(max_length=20, widget=forms.TextInput(attrs={"autocomplete": "off"}), **kwargs)

    def clean(self, value: Any) -> str:
        number = numbers.digits_of(super().clean(value))
        if number and not numbers.is_valid(number):
            raise ValidationError(_("This is no valid business registration number. Check the digits."))
        return number


class Email(forms.EmailField):
    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("label", _("E-mail"))
        super().__init__(max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"}), **kwargs)

    def clean(self, value: Any) -> str:
        email = str(super().clean(value)).lower()
        if unusable(email):
            raise ValidationError(_("This is no valid e-mail address."))
        return email


class OrganizationForm(Form):
    """Registering: what an application needs to know of its organization. Anything else can be asked later."""

    name_ko = TextField(
        label=_("Name (Korean)"), max_length=120, help_text=_("As on the business registration certificate.")
    )
    name_en = TextField(label=_("Name (English)"), max_length=120, required=False)
    business_number = BusinessNumber()
    kind = forms.ChoiceField(label=_("Kind of organization"), choices=OrganizationKind.choices)
    region = forms.ChoiceField(
        label=_("Region of the head office"),
        choices=Region.choices,
        initial=Region.GWANGJU,
        help_text=_("Some calls give a discount by region."),
    )
    representative = TextField(label=_("Representative"), max_length=80, required=False)
    founded_on = Day(since=LONG_AGO, label=_("Founded on"), required=False)
    is_youth_startup = forms.BooleanField(
        label=_("Youth start-up"),
        required=False,
        help_text=_("The representative is 39 or younger. An officer confirms this when checking eligibility."),
    )

    def __init__(self, *args: Any, agency: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not agency:
            kind = self.fields["kind"]
            kind.choices = [(value, label) for value, label in OrganizationKind.choices if value != "agency"]  # type: ignore[attr-defined]


class OrganizationFactsForm(OrganizationForm):
    """What a lead may change: not the number and not the kind."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["business_number"], self.fields["kind"]


class OrganizationCorrectionForm(OrganizationForm):
    """What the operator may correct, and why."""

    reason = TextField(label=_("Reason"), max_length=300)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, agency=True, **kwargs)


class InviteForm(Form):
    email = Email(help_text=_("We send a link that is valid for 14 days."))
    role = forms.ChoiceField(
        label=_("Role"),
        choices=TenantRole.choices,
        initial=TenantRole.MEMBER,
        help_text=_("Both apply, run jobs and report. A lead also accepts agreements, invites, and changes the facts."),
    )


class MembershipForm(Form):
    role = forms.ChoiceField(label=_("Role"), choices=TenantRole.choices)


class EndMembershipForm(Form):
    reason = TextField(label=_("Reason"), max_length=300, required=False)


class NameForm(Form):
    name = TextField(label=_("Name"), max_length=80)


class TokenForm(Form):
    name = TextField(label=_("Name"), max_length=80, help_text=_("Where it is used: “laptop”, “build server”."))
    days = WholeNumber(
        label=_("Valid for (days)"),
        min_value=1,
        max_value=MOST_DAYS,
        initial=90,
        help_text=format_lazy(_("At most {most} days."), most=MOST_DAYS),
    )


class PersonForm(Form):
    name = TextField(label=_("Name"), max_length=80)
    email = Email(help_text=_("A letter to it says where to choose a password and log in."))


class RoleForm(Form):
    """A role, over what, and why. The choices of `over` are “scope:id”."""

    role = forms.ChoiceField(label=_("Role"), choices=[("", "–"), *Role.choices])
    over = forms.ChoiceField(label=_("Over"))
    reason = TextField(
        label=_("Reason"), max_length=300, help_text=_("It stays in the log: an order, a decision, a stand-in.")
    )

    def __init__(self, *args: Any, names: dict[tuple[str, int], str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        over = self.fields["over"]
        assert isinstance(over, forms.ChoiceField)
        groups: dict[str, list[tuple[str, str]]] = {}
        for (scope, id), name in names.items():
            groups.setdefault(str(Scope(scope).label), []).append((f"{scope}:{id}", name))
        over.choices = [("site:0", Scope.SITE.label), *groups.items()]

    def scope(self) -> tuple[str, int]:
        scope, _colon, id = self.cleaned_data["over"].partition(":")
        return scope, int(id)

    def refuse(self, refused: Any) -> None:
        if "scope" in refused.errors:
            refused.errors["over"] = refused.errors.pop("scope")
        super().refuse(refused)


class EndRoleForm(Form):
    reason = TextField(label=_("Reason"), max_length=300)


class SetupForm(Form):
    """The first operator of an empty site."""

    token = TextField(
        label=_("Set-up token"), max_length=200, help_text=_("It was printed where the site was started.")
    )
    name = TextField(label=_("Name"), max_length=80)
    email = Email()
    password = forms.CharField(
        label=_("Password"),
        max_length=128,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("At least eight characters, and not one that is often used."),
    )

    def __init__(self, *args: Any, token: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not token:
            del self.fields["token"]


class AgencyForm(Form):
    """The second step of setting up: who runs the site."""

    name_ko = TextField(label=_("Name (Korean)"), max_length=120)
    name_en = TextField(label=_("Name (English)"), max_length=120, required=False)
    business_number = BusinessNumber()
    region = forms.ChoiceField(label=_("Region"), choices=Region.choices, initial=Region.GWANGJU)
