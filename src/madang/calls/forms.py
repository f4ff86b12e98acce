"""What applicants, officers and reviewers fill in. The forms of the call notice itself are in `forms_call`."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from madang.calls import file_kinds, measure
from madang.calls.models import Call, Outcome
from madang.web.days import LONG_AGO
from madang.web.forms import Day, Form, Instant, TextField, Upload, WholeNumber
from madang.workflow.errors import Refused

YES_NO = [("yes", gettext_lazy("Yes")), ("no", gettext_lazy("No"))]
FEW = 6  # so many choices are all shown; more become a list to pick from


class DraftForm(Form):
    """A form that can be saved half done. What is required is marked as such; the verb that submits insists on it."""

    use_required_attribute = False

    def add_error(self, field: str | None, error: Any) -> None:
        if getattr(error, "code", None) == "required" and field and not self.fields[field].widget.is_hidden:
            self.cleaned_data[field] = None
            return
        super().add_error(field, error)


class AmountField(forms.DecimalField):
    """An amount in the unit that people use; `cleaned_data` has it in the smallest one."""

    def __init__(self, *, unit: str, call: Call, **kwargs: Any) -> None:
        self.unit, self.call = unit, call
        super().__init__(
            min_value=Decimal(0),
            max_value=Decimal(2**52 // measure.size(unit, call)) or Decimal(1),
            decimal_places=6,
            widget=forms.NumberInput(attrs={"step": "any", "min": "0", "inputmode": "decimal"}),
            **kwargs,
        )

    def clean(self, value: Any) -> Any:
        number = super().clean(value)
        return None if number is None else measure.smallest(number, self.unit, self.call)

    def prepare_value(self, value: Any) -> Any:
        return measure.figure(value, self.unit, self.call) if isinstance(value, int) else value


class YesNo(forms.TypedChoiceField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            choices=YES_NO,
            coerce=lambda value: value == "yes",
            empty_value=None,
            widget=forms.RadioSelect,
            **kwargs,
        )

    def prepare_value(self, value: Any) -> Any:
        return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


def question(field: Any) -> forms.Field:
    """The form field for one question of a call (a FieldView). The verb that saves it decides what it may hold."""
    common: dict[str, Any] = {
        "label": field.label,
        "required": field.required,
        "help_text": field.hint,
        "initial": field.value,
    }
    match field.type:
        case "text":
            return TextField(lines=True, max_length=field.most or 20_000, **common)
        case "number":
            return WholeNumber(min_value=-(2**53), **common)
        case "choice":
            few = len(field.choices) <= FEW
            choices = list(field.choices) if few else [("", _("Choose…")), *field.choices]
            return forms.ChoiceField(choices=choices, widget=forms.RadioSelect if few else forms.Select, **common)
        case "day":
            return Day(since=LONG_AGO, **common)
        case "yes" if field.required:  # must be agreed to
            return forms.BooleanField(**common)
        case "yes":
            return YesNo(**common)
        case "file":
            hint = f"{field.hint} {file_kinds.said(field.kinds)}".strip()
            upload = Upload(**{**common, "initial": None, "help_text": hint})
            upload.widget.attrs["accept"] = file_kinds.accept(field.kinds)
            return upload
        case _:
            return TextField(max_length=field.most or 200, **common)


class ApplicationForm(DraftForm):
    """The draft of an application. Nothing has to be complete to be saved: what is missing is said at submission.

    `view` is a TenantApplication. `only` are the codes that a requested supplement reopened; None means everything.
    """

    saves = WholeNumber(widget=forms.HiddenInput)

    def __init__(self, *args: Any, view: Any, only: Collection[str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.view = view
        self.fields["saves"].initial = view.saves
        self.whole = only is None
        self.questions = [field for field in view.fields if field.shown and (only is None or field.code in only)]
        self.lines = list(view.lines) if self.whole else []
        if self.whole:
            self.fields["title"] = TextField(
                label=_("Project title"), max_length=200, initial=view.title, help_text=_("One line that says it all.")
            )
        for line in self.lines:
            name = f"line-{line.call_line.pk}"
            self.fields[f"{name}-amount"] = AmountField(
                unit=line.unit,
                call=view.call,
                required=False,
                initial=line.amount,
                label=_("Amount in %(unit)s") % {"unit": measure.unit_name(line.unit)},
                help_text=_("At most %(most)s for one application.")
                % {"most": measure.in_words(line.most, line.unit, view.call)},
            )
            self.fields[f"{name}-essential"] = forms.TypedChoiceField(
                label=_("Essential or optional"),
                choices=[
                    ("yes", _("Essential line: without it the project is not possible")),
                    ("no", _("Optional line: the project is possible with less of it, or none")),
                ],
                coerce=lambda value: value == "yes",
                widget=forms.RadioSelect,
                initial="no" if line.amount and not line.essential else "yes",
            )
            self.fields[f"{name}-purpose"] = TextField(
                label=_("What for"), lines=True, max_length=600, required=False, initial=line.purpose
            )
            self.fields[f"{name}-purpose"].widget.attrs["rows"] = 2
        for field in self.questions:
            self.fields[f"q-{field.code}"] = question(field)

    def refuse(self, refused: Refused) -> None:
        """The verbs name what is wrong as `title`, the code of a question, or `line-<id>`."""
        if not refused.errors:
            self.add_error(None, refused.message)
        for key, message in refused.errors.items():
            names = [name for name in (key, f"q-{key}", f"{key}-amount") if name in self.fields]
            self.add_error(names[0] if names else None, message)

    def draft(self) -> dict[str, Any]:
        """What `save_draft` takes."""
        data = self.cleaned_data
        return {
            "title": (data.get("title") or "") if self.whole else None,
            "answers": {
                field.code: self._plain(data.get(f"q-{field.code}")) for field in self.questions if field.type != "file"
            },
            "lines": {
                line.call_line.pk: {
                    "amount": data.get(f"line-{line.call_line.pk}-amount") or 0,
                    "essential": data.get(f"line-{line.call_line.pk}-essential") is not False,
                    "purpose": data.get(f"line-{line.call_line.pk}-purpose") or "",
                }
                for line in self.lines
            }
            if self.whole
            else None,
            "saves": data["saves"],
        }

    def uploads(self) -> dict[str, Any]:
        """The files that came along, by the code of their question."""
        files = {
            field.code: self.cleaned_data.get(f"q-{field.code}") for field in self.questions if field.type == "file"
        }
        return {code: file for code, file in files.items() if file}

    @staticmethod
    def _plain(value: Any) -> Any:
        return value.isoformat() if hasattr(value, "isoformat") else value


class ReasonForm(Form):
    """Why. `label` says for what."""

    def __init__(
        self, *args: Any, label: str | Promise = "", most: int = 300, required: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"] = TextField(label=label or _("Reason"), lines=True, max_length=most, required=required)
        self.fields["reason"].widget.attrs["rows"] = 3


class EligibleForm(ReasonForm):
    """Finding eligible. Where discounts fit what is declared, the officer has to say whether those facts were checked.

    `discounts` are (name with percent, declared fact) pairs.
    """

    def __init__(self, *args: Any, discounts: Collection[tuple[str, str]] = (), **kwargs: Any) -> None:
        super().__init__(*args, **{"label": _("Note (kept in the log)"), "required": False, **kwargs})
        if discounts:
            self.fields["discounts_confirmed"] = forms.TypedChoiceField(
                label=_("Are the facts confirmed that the discount rests on?"),
                help_text="; ".join(f"{name}: {fact}" for name, fact in discounts),
                choices=[
                    ("yes", _("Yes, by the documents: the discount is given")),
                    ("no", _("No: eligible without a reduction")),
                ],
                coerce=lambda value: value == "yes",
                widget=forms.RadioSelect,
            )
            self.order_fields(["discounts_confirmed", "reason"])


class AnswerForm(Form):
    """A person's answer to an eligibility rule, in place of the machine's."""

    answer = forms.ChoiceField(
        label=gettext_lazy("Answer"),
        choices=[("pass", gettext_lazy("met")), ("fail", gettext_lazy("not met"))],
        widget=forms.RadioSelect,
    )
    reason = TextField(label=gettext_lazy("Reason"), max_length=600)


class SupplementForm(Form):
    """Which answers have to be completed, until when, and why. Nothing else is reopened."""

    codes = forms.MultipleChoiceField(
        label=gettext_lazy("What to complete or correct"), widget=forms.CheckboxSelectMultiple
    )
    reason = TextField(label=gettext_lazy("What has to be completed"), lines=True, max_length=600)
    days = WholeNumber(label=gettext_lazy("Days to answer"), min_value=1, max_value=60, initial=7)

    def __init__(self, *args: Any, questions: Collection[Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["codes"].choices = [(field.code, field.label) for field in questions]  # type: ignore[attr-defined]
        self.fields["reason"].widget.attrs["rows"] = 3


class ExtensionForm(Form):
    """A later deadline for one applicant."""

    until = Instant(label=gettext_lazy("New deadline"), help_text=gettext_lazy("Asia/Seoul, to the minute."))
    reason = TextField(label=gettext_lazy("Reason"), max_length=300)


class ExtensionOfForm(ExtensionForm):
    """The same for an applicant that the officer names by its number, since drafts aren't shown to officers."""

    business_number = TextField(
        label=gettext_lazy("Business registration number"), max_length=12, help_text="000-00-00000"
    )
    field_order = ("business_number", "until", "reason")

    def clean_business_number(self) -> str:
        return "".join(sign for sign in self.cleaned_data["business_number"] if sign.isdigit())


class ConfirmForm(Form):
    """What an applicant confirms when submitting."""

    saves = WholeNumber(widget=forms.HiddenInput)
    sure = forms.BooleanField(
        label=gettext_lazy(
            "I have checked what is above. It is true and complete, and I may submit it for my organization."
        ),
        error_messages={"required": gettext_lazy("Please confirm this before you submit.")},
    )


class ScoreForm(DraftForm):
    """The scores of one review. A draft may have gaps; the verb that submits refuses them."""

    comment = TextField(
        label=gettext_lazy("Overall comment"),
        lines=True,
        max_length=4000,
        help_text=gettext_lazy("The officer reads it. Don't write who you are or who you think the applicant is."),
    )

    def __init__(self, *args: Any, view: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.criteria = view.criteria
        self.fields["comment"].initial = view.comment
        for criterion, points in view.criteria:
            least = (
                " "
                + _("Where the mean of all reviews is below %(least)s points here, the application fails.")
                % {"least": criterion.least}
                if criterion.least
                else ""
            )
            self.fields[f"c-{criterion.code}"] = WholeNumber(
                label=criterion.name,
                max_value=criterion.points,
                initial=points,
                help_text=f"{criterion.hint}{least}".strip(),
                widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
            )

    def refuse(self, refused: Refused) -> None:
        if not refused.errors:
            self.add_error(None, refused.message)
        for key, message in refused.errors.items():
            names = [name for name in (key, f"c-{key}") if name in self.fields]
            self.add_error(names[0] if names else None, message)

    def scores(self) -> dict[str, int | None]:
        return {criterion.code: self.cleaned_data.get(f"c-{criterion.code}") for criterion, _points in self.criteria}

    def total(self) -> int:
        return sum(points for points in self.scores().values() if points)


class DecisionForm(Form):
    """The proposal for one application: outcome, amounts by line, and the reason that the applicant will read."""

    use_required_attribute = False

    outcome = forms.ChoiceField(
        label=gettext_lazy("Result"), choices=Outcome.choices, widget=forms.RadioSelect, required=True
    )

    def __init__(self, *args: Any, row: Any, call: Call, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.row = row
        if row.decision:
            self.fields["outcome"].initial = row.decision.outcome
        for line in row.lines:
            self.fields[f"line-{line.line_id}"] = AmountField(
                unit=line.unit,
                call=call,
                required=False,
                initial=line.asked if line.awarded is None else line.awarded,
                label=_("%(resource)s: award in %(unit)s")
                % {"resource": line.resource.name, "unit": measure.unit_name(line.unit)},
                help_text=(
                    _("Essential line. Asked: %(asked)s") if line.essential else _("Optional line. Asked: %(asked)s")
                )
                % {"asked": measure.in_words(line.asked, line.unit, call)},
            )
        self.fields["reason"] = TextField(
            label=_("Reason for the applicant"),
            lines=True,
            max_length=2000,
            initial=row.decision.reason if row.decision else "",
        )

    def amounts(self) -> dict[int, int]:
        return {line.line_id: self.cleaned_data.get(f"line-{line.line_id}") or 0 for line in self.row.lines}

    def refuse(self, refused: Refused) -> None:
        if "amounts" in refused.errors:
            refused = Refused(
                refused.message, errors={key: text for key, text in refused.errors.items() if key != "amounts"}
            )
            self.add_error(None, refused.message)
            if not refused.errors:
                return
        super().refuse(refused)


class EffectForm(DecisionForm):
    """The same proposal while it is still written: only its amounts have to be right, and count unless the result is
    another than “selected”."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("outcome", "reason"):
            self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        for line in self.row.lines:
            if (said.get(f"line-{line.line_id}") or 0) > line.asked:
                asked = measure.in_words(line.asked, line.unit, line.call_line.call)
                self.add_error(f"line-{line.line_id}", _("Only %(asked)s was asked for.") % {"asked": asked})
        for name in ("outcome", "reason"):
            self.fields[name].required = True  # as the form is shown again, to be saved
        return said

    def counted(self) -> dict[int, int]:
        """What it would award, by application line."""
        return self.amounts() if self.cleaned_data["outcome"] in ("", Outcome.SELECTED) else {}
