"""What keepers of the catalog type. Amounts are asked for in the unit that people use, and kept in the smallest one."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import validate_slug
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from madang.catalog.models import UNIT, Kind, Place, Resource, Sector
from madang.identity.models import Organization
from madang.web import amounts
from madang.web.forms import Day, Form, TextField, WholeNumber

# unit → how much of it one hour of one of these offers, and what the form asks for
CAPACITY: dict[str, tuple[int, Any, Any]] = {
    "gpu_second": (3600, _("Number of GPUs"), _("One GPU offers one GPU-hour an hour.")),
    "mb_hour": (1_000_000, _("Capacity (TB)"), _("Terabytes that can be lent at once.")),
    "minute": (60, _("Number at once"), _("How many can be used at the same time. One for a single instrument.")),
}


def capacity_of(resource: Resource) -> tuple[Any, str] | None:
    """What a resource can offer as the form asks for it: the label and the number. None where it isn't known."""
    if resource.capacity_per_hour is None or resource.unit not in CAPACITY:
        return None
    factor, label, _help = CAPACITY[resource.unit]
    return label, f"{resource.capacity_per_hour // factor:,}"


class CodeField(TextField):
    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("label", _("Code"))
        kwargs.setdefault("max_length", 60)
        kwargs.setdefault("help_text", _("Part of the address: letters from a to z, digits and “-”. It stays."))
        super().__init__(validators=[validate_slug], **kwargs)


class PlaceForm(Form):
    code = CodeField(max_length=40)
    name_ko = TextField(label=_("Name (Korean)"), max_length=120)
    name_en = TextField(label=_("Name (English)"), max_length=120)
    note_ko = TextField(label=_("Note (Korean)"), max_length=300, required=False)
    note_en = TextField(label=_("Note (English)"), max_length=300, required=False)


class ResourceForm(Form):
    """A resource of one kind: the form asks only what that kind has."""

    code = CodeField()
    name_ko = TextField(label=_("Name (Korean)"), max_length=160)
    name_en = TextField(label=_("Name (English)"), max_length=160)
    owner = forms.ModelChoiceField(label=_("Owner"), queryset=Organization.objects.none())
    place = forms.ModelChoiceField(label=_("Place"), queryset=Place.objects.none(), required=False)
    sector = forms.ChoiceField(label=_("Sector"), choices=Sector.choices, required=False)
    resource_class = TextField(
        label=_("GPU class"),
        max_length=40,
        help_text=_("Such as H100. GPU-hours of one class are never added to those of another."),
    )
    capacity = WholeNumber(required=False, max_value=10_000_000, min_value=1)
    about_ko = TextField(label=_("Description (Korean)"), max_length=4000, lines=True, required=False)
    about_en = TextField(label=_("Description (English)"), max_length=4000, lines=True, required=False)
    source = TextField(
        label=_("Source"), max_length=300, required=False, help_text=_("Where these facts come from, and of when.")
    )

    def __init__(self, *args: Any, kind: Kind, resource: Resource | None = None, **kwargs: Any) -> None:
        self.unit = UNIT[kind]
        if resource is not None:
            kwargs["initial"] = {name: getattr(resource, name) for name in self.base_fields if name != "capacity"}
            if resource.capacity_per_hour is not None and self.unit in CAPACITY:
                kwargs["initial"]["capacity"] = resource.capacity_per_hour // CAPACITY[self.unit][0]
        super().__init__(*args, **kwargs)
        # A tenant can't own what the site lends; anybody else can.
        owners = Organization.objects.exclude(kind="sme").order_by("id")
        self.fields["owner"].queryset = owners  # type: ignore[attr-defined]
        self.fields["place"].queryset = Place.objects.order_by("id")  # type: ignore[attr-defined]
        if kind != Kind.COMPUTE:
            del self.fields["resource_class"]
        if self.unit in CAPACITY:
            _factor, self.fields["capacity"].label, self.fields["capacity"].help_text = CAPACITY[self.unit]
        else:
            del self.fields["capacity"]
        if resource is not None:
            for fixed in ("code", "resource_class"):
                self.fields.pop(fixed, None)

    def facts(self) -> dict[str, Any]:
        """What the verbs take, with the capacity in the smallest unit an hour."""
        facts = dict(self.cleaned_data)
        if "capacity" in self.fields:
            given = facts.pop("capacity")
            facts["capacity_per_hour"] = None if given is None else given * CAPACITY[self.unit][0]
        return facts


class RateForm(Form):
    """The list price from a day on."""

    price_krw = WholeNumber(label=_("Price (KRW)"), max_value=10**12)
    per = WholeNumber(min_value=1, max_value=10**9, initial=1)
    starts_on = Day(label=_("Valid from"), help_text=_("The rate before it ends on the day before."))
    basis_ko = TextField(
        label=_("Basis (Korean)"), max_length=300, help_text=_("The decision or regulation that sets this price.")
    )
    basis_en = TextField(label=_("Basis (English)"), max_length=300, required=False)

    def __init__(self, *args: Any, resource: Resource, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unit = resource.unit
        self.fields["per"].label = gettext("For how many %(unit)s") % {"unit": amounts.unit_name(self.unit)}

    def facts(self) -> dict[str, Any]:
        facts = dict(self.cleaned_data)
        facts["per_amount"] = amounts.smallest(facts.pop("per"), self.unit)
        return facts

    def refuse(self, refused: Any) -> None:
        if "per_amount" in refused.errors:
            refused.errors["per"] = refused.errors.pop("per_amount")
        super().refuse(refused)


class ReasonForm(Form):
    reason = TextField(label=_("Reason"), max_length=300)
