"""What officers type about programs. Targets are typed in the unit that people use, and kept in the smallest one."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import validate_slug
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from madang.identity.access import access_of
from madang.identity.models import Person, Role
from madang.programs.models import Condition, Funding, Hide, Indicator, Measure, Program, Source
from madang.web import amounts
from madang.web.forms import Day, Form, TextField, WholeNumber


class CodeField(TextField):
    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("label", _("Code"))
        kwargs.setdefault("max_length", 60)
        kwargs.setdefault("help_text", _("Part of the address: letters from a to z, digits and “-”. It stays."))
        super().__init__(validators=[validate_slug], **kwargs)


def programs_of(actor: Person) -> Any:
    """The programs that the actor keeps."""
    access = access_of(actor)
    kept = None if access.holds(Role.OPERATOR) else access.programs(Role.OFFICER)
    rows = Program.objects.order_by("id")
    return rows if kept is None else rows.filter(pk__in=kept)


class ProgramForm(Form):
    code = CodeField()
    name_ko = TextField(label=_("Name (Korean)"), max_length=160)
    name_en = TextField(label=_("Name (English)"), max_length=160)
    about_ko = TextField(label=_("Description (Korean)"), max_length=4000, lines=True, required=False)
    about_en = TextField(label=_("Description (English)"), max_length=4000, lines=True, required=False)
    parent = forms.ModelChoiceField(
        label=_("Part of"),
        queryset=Program.objects.none(),
        required=False,
        help_text=_("The program that this one is a sub-program of."),
    )

    def __init__(self, *args: Any, actor: Person, program: Program | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        parents = programs_of(actor)
        if program is not None:
            del self.fields["code"]
            parents = parents.exclude(pk=program.pk)
            if program.parent_id:
                parents = parents | Program.objects.filter(pk=program.parent_id)
        self.fields["parent"].queryset = parents  # type: ignore[attr-defined]


class SourceForm(Form):
    code = CodeField(help_text=_("A short name for it, such as kmib-2025-08-18."))
    publisher = TextField(label=_("Publisher"), max_length=160)
    published = TextField(label=_("Day of publication"), max_length=40, help_text=_("A date, a month or a year."))
    subject = TextField(label=_("Subject"), max_length=300, required=False)

    def __init__(self, *args: Any, source: Source | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if source is not None:
            del self.fields["code"]


class WithSource(Form):
    """A form that says where its figure comes from."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["source"].queryset = Source.objects.order_by("code")  # type: ignore[attr-defined]


class PurseForm(WithSource):
    funding = forms.ChoiceField(label=_("Source of funds"), choices=Funding.choices)
    fiscal_year = WholeNumber(label=_("Fiscal year"), min_value=2000, max_value=2100, required=False)
    amount_krw = WholeNumber(label=_("Amount (KRW)"), max_value=10**15)
    source = forms.ModelChoiceField(label=_("Source"), queryset=Source.objects.none(), required=False)
    note_ko = TextField(label=_("Note (Korean)"), max_length=300, required=False)
    note_en = TextField(label=_("Note (English)"), max_length=300, required=False)


class IndicatorForm(Form):
    code = CodeField()
    name_ko = TextField(label=_("Name (Korean)"), max_length=160)
    name_en = TextField(label=_("Name (English)"), max_length=160)
    measure = forms.ChoiceField(label=_("Measure"), choices=Measure.choices)
    definition_ko = TextField(label=_("Definition (Korean)"), max_length=600, lines=True)
    definition_en = TextField(label=_("Definition (English)"), max_length=600, lines=True)
    hide = forms.ChoiceField(label=_("Part of the HIDE model"), choices=Hide.choices)
    condition = forms.ChoiceField(label=_("Condition"), choices=Condition.choices)
    more_is_better = forms.BooleanField(label=_("More is better"), required=False, initial=True)
    order = WholeNumber(
        label=_("Order"), max_value=32767, initial=0, help_text=_("The smallest comes first on the board.")
    )

    def __init__(self, *args: Any, indicator: Indicator | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if indicator is not None:
            del self.fields["code"]


class TargetForm(WithSource):
    starts_on = Day(label=_("From"))
    ends_on = Day(label=_("Until"))
    value = WholeNumber(label=_("Target"))
    basis_ko = TextField(label=_("Basis (Korean)"), max_length=300, help_text=_("The plan or decision that says so."))
    basis_en = TextField(label=_("Basis (English)"), max_length=300, required=False)
    source = forms.ModelChoiceField(label=_("Source"), queryset=Source.objects.none(), required=False)

    def __init__(self, *args: Any, indicator: Indicator, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unit = indicator.unit
        if self.unit:
            # What is kept must still fit its column after it is turned into the smallest unit.
            self.fields["value"] = WholeNumber(
                label=gettext("Target (%(unit)s)") % {"unit": amounts.unit_name(self.unit)},
                max_value=2**53 // amounts.smallest(1, self.unit),
            )

    def facts(self) -> dict[str, Any]:
        facts = dict(self.cleaned_data)
        if self.unit:
            facts["value"] = amounts.smallest(facts["value"], self.unit)
        return facts


class FigureForm(WithSource):
    key = CodeField(
        label=_("Key"), max_length=80, help_text=_("What it is about. Figures with one key stand together.")
    )
    label_ko = TextField(label=_("Name (Korean)"), max_length=200)
    label_en = TextField(label=_("Name (English)"), max_length=200)
    value = TextField(label=pgettext_lazy("published", "Figure"), max_length=80, help_text=_("As published."))
    number = forms.DecimalField(
        label=_("As a number"),
        max_digits=20,
        decimal_places=4,
        required=False,
        help_text=_("For charts. Leave it empty where there is none."),
    )
    unit_ko = TextField(label=_("Unit (Korean)"), max_length=40, required=False)
    unit_en = TextField(label=_("Unit (English)"), max_length=40, required=False)
    source = forms.ModelChoiceField(label=_("Source"), queryset=Source.objects.none())
    program = forms.ModelChoiceField(
        label=_("Program"), queryset=Program.objects.none(), required=False, empty_label=_("the whole site")
    )
    hide = forms.ChoiceField(label=_("Part of the HIDE model"), choices=[("", "–"), *Hide.choices], required=False)
    condition = forms.ChoiceField(label=_("Condition"), choices=[("", "–"), *Condition.choices], required=False)
    note_ko = TextField(label=_("Note (Korean)"), max_length=300, required=False)
    note_en = TextField(label=_("Note (English)"), max_length=300, required=False)

    def __init__(self, *args: Any, actor: Person, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["program"].queryset = programs_of(actor)  # type: ignore[attr-defined]


def initial(row: Any, form: type[Form]) -> dict[str, Any]:
    """What a form for changing `row` starts with."""
    return {name: getattr(row, name) for name in form.base_fields if hasattr(row, name)}
