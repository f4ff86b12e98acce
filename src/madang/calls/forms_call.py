"""What an officer fills in to make a call: its basics, and lists of rows that buttons add, remove and move."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django import forms
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from madang.calls import file_kinds, measure
from madang.calls.forms import AmountField
from madang.calls.models import Call, DiscountRule, OverrunPolicy, RuleKind
from madang.identity.models import OrganizationKind, Region
from madang.web.forms import Day, Form, Instant, TextField, WholeNumber
from madang.workflow.errors import Refused

MOST_ROWS = 60


class CallForm(Form):
    """The basics: why, what for, from when to when, with how much."""

    program = forms.TypedChoiceField(label=gettext_lazy("Program"), coerce=int)
    code = forms.SlugField(
        label=gettext_lazy("Code"),
        max_length=40,
        help_text=gettext_lazy("Part of the address and of every receipt number: small letters, digits and hyphens."),
    )
    title_ko = TextField(label=gettext_lazy("Title (Korean)"), max_length=200)
    title_en = TextField(label=gettext_lazy("Title (English)"), max_length=200, required=False)
    text_ko = TextField(label=gettext_lazy("Text of the notice (Korean)"), max_length=20_000, lines=True)
    text_en = TextField(
        label=gettext_lazy("Text of the notice (English)"), max_length=20_000, lines=True, required=False
    )
    opens_at = Instant(label=gettext_lazy("Opens at"))
    closes_at = Instant(label=gettext_lazy("Closes at"))
    announces_at = Instant(label=gettext_lazy("Results by"), required=False)
    use_from = Day(label=gettext_lazy("Use from"))
    use_until = Day(label=gettext_lazy("Use until (that day included)"))
    budget_krw = WholeNumber(label=gettext_lazy("Budget (KRW)"))
    most_awards = WholeNumber(label=gettext_lazy("Awards at most"), min_value=1, max_value=10_000)
    reviews_wanted = WholeNumber(label=gettext_lazy("Reviews per application"), min_value=1, max_value=20, initial=2)
    blind = forms.BooleanField(
        label=gettext_lazy("Blind review: reviewers don't learn who applies"), required=False, initial=True
    )
    days_to_accept = WholeNumber(
        label=gettext_lazy("Days to accept the agreement"), min_value=1, max_value=365, initial=14
    )
    overrun = forms.ChoiceField(
        label=gettext_lazy("After an overrun"),
        choices=OverrunPolicy.choices,
        initial=OverrunPolicy.WARN,
        help_text=gettext_lazy("What follows when more was used than an allocation covers: a part of the agreement."),
    )

    def __init__(self, *args: Any, programs: Mapping[int, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["program"].choices = list(programs.items())  # type: ignore[attr-defined]
        for name in ("text_ko", "text_en"):
            self.fields[name].widget.attrs["rows"] = 8

    @staticmethod
    def of(call: Call) -> dict[str, Any]:
        """The values of a call, as `initial`."""
        plain = (
            "program_id code title_ko title_en text_ko text_en opens_at closes_at announces_at budget_krw most_awards"
        )
        values = {
            name: getattr(call, name)
            for name in (*plain.split(), "reviews_wanted", "blind", "days_to_accept", "overrun")
        }
        values["program"] = values.pop("program_id")
        last = call.use.upper.fromordinal(call.use.upper.toordinal() - 1)
        return {**values, "use_from": call.use.lower, "use_until": last}


class RowForm(Form):
    """One row of a list. `kind` is what the row is about (a resource, a rule, a type), chosen when it is added."""

    use_required_attribute = False
    kind = forms.CharField(widget=forms.HiddenInput, max_length=60)
    label = ""
    first = ""  # the field that is looked at first

    def __init__(self, *args: Any, call: Call, kind: str, known: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.call, self.about, self.known = call, kind, known
        self.fields["kind"].initial = kind
        self.shape()

    def shape(self) -> None:
        """Leaves the fields that a row of this kind has."""

    def row(self) -> dict[str, Any]:
        """What the verb takes."""
        data = dict(self.cleaned_data)
        data.pop("kind")
        return data

    def visible(self) -> list[Any]:
        return self.visible_fields()


class LineRow(RowForm):
    """A resource on offer. `known`: {id: Resource}."""

    note_ko = TextField(label=gettext_lazy("Note (Korean)"), max_length=300, required=False)
    note_en = TextField(label=gettext_lazy("Note (English)"), max_length=300, required=False)
    first = "most"
    field_order = ("kind", "most", "total", "note_ko", "note_en")

    def shape(self) -> None:
        resource = self.known[self.about]
        self.label = resource.name
        unit = {"unit": measure.unit_name(resource.unit)}
        self.fields["most"] = AmountField(
            unit=resource.unit, call=self.call, label=_("At most for one application (%(unit)s)") % unit
        )
        self.fields["total"] = AmountField(
            unit=resource.unit, call=self.call, label=_("For all awards together (%(unit)s)") % unit
        )
        self.order_fields(self.field_order)

    def row(self) -> dict[str, Any]:
        return {**super().row(), "resource": int(self.about)}


class DiscountRow(RowForm):
    name_ko = TextField(label=gettext_lazy("Name (Korean)"), max_length=120)
    name_en = TextField(label=gettext_lazy("Name (English)"), max_length=120, required=False)
    percent = WholeNumber(label=gettext_lazy("Reduction (%)"), min_value=1, max_value=100)
    value = forms.ChoiceField(label=gettext_lazy("Which"))
    first = "name_ko"

    def shape(self) -> None:
        self.label = str(DiscountRule(self.about).label)
        choices = {DiscountRule.REGION: Region.choices, DiscountRule.KIND: OrganizationKind.choices}
        if self.about == DiscountRule.YOUTH:
            del self.fields["value"]
        else:
            self.fields["value"].choices = choices[DiscountRule(self.about)]  # type: ignore[attr-defined]

    def row(self) -> dict[str, Any]:
        return {"value": "", **super().row(), "rule": self.about}


class CriterionRow(RowForm):
    code = forms.SlugField(widget=forms.HiddenInput, max_length=40, required=False)
    name_ko = TextField(label=gettext_lazy("Name (Korean)"), max_length=120)
    name_en = TextField(label=gettext_lazy("Name (English)"), max_length=120, required=False)
    hint_ko = TextField(label=gettext_lazy("What to look at (Korean)"), max_length=400, required=False)
    hint_en = TextField(label=gettext_lazy("What to look at (English)"), max_length=400, required=False)
    points = WholeNumber(label=gettext_lazy("Points"), min_value=1, max_value=1000)
    least = WholeNumber(label=gettext_lazy("Minimum (below it: fail)"), max_value=1000, required=False, initial=0)
    first = "name_ko"

    def shape(self) -> None:
        self.label = _("Criterion")

    def row(self) -> dict[str, Any]:
        data = super().row()
        return {**data, "least": data["least"] or 0}


class RuleRow(RowForm):
    """`known`: the file questions of the call's form, {code: label}."""

    value = forms.Field(required=False)
    citation_ko = TextField(
        label=gettext_lazy("Passage of the notice (Korean)"),
        max_length=300,
    )
    citation_en = TextField(label=gettext_lazy("Passage of the notice (English)"), max_length=300, required=False)
    first = "citation_ko"

    def shape(self) -> None:
        self.label = str(RuleKind(self.about).label)
        many = {
            RuleKind.ORGANIZATION_KIND: (_("Kinds that may apply"), OrganizationKind.choices),
            RuleKind.REGION: (_("Regions that may apply"), Region.choices),
            RuleKind.DOCUMENT: (_("Documents that must be there"), list(self.known.items())),
        }
        kind = RuleKind(self.about)
        if kind in many:
            label, choices = many[kind]
            self.fields["value"] = forms.MultipleChoiceField(
                label=label, choices=choices, widget=forms.CheckboxSelectMultiple
            )
        elif kind == RuleKind.FOUNDED_WITHIN:
            self.fields["value"] = WholeNumber(
                label=_("Years since it was founded, at most"), min_value=1, max_value=100
            )
        else:
            del self.fields["value"]

    def row(self) -> dict[str, Any]:
        data = super().row()
        value = data.get("value", [])
        return {**data, "kind": self.about, "value": value if isinstance(value, list) else [value]}


class QuestionRow(RowForm):
    """One question of the form. `known`: earlier choice and yes/no questions, {code: label}."""

    code = forms.CharField(
        label=gettext_lazy("Code"),
        max_length=40,
        required=False,
    )
    label_ko = TextField(label=gettext_lazy("Question (Korean)"), max_length=300)
    label_en = TextField(label=gettext_lazy("Question (English)"), max_length=300, required=False)
    hint_ko = TextField(label=gettext_lazy("Help text (Korean)"), max_length=600, required=False)
    hint_en = TextField(label=gettext_lazy("Help text (English)"), max_length=600, required=False)
    least = WholeNumber(label=gettext_lazy("At least"), required=False, min_value=-(2**53))
    most = WholeNumber(label=gettext_lazy("At most"), required=False, min_value=-(2**53))
    choices = TextField(
        label=gettext_lazy("Answers to choose from"),
        lines=True,
        max_length=20_000,
        help_text=gettext_lazy("One a line: value | Korean | English. The value is a short word in small letters."),
    )
    depends_on = forms.ChoiceField(label=gettext_lazy("Ask only if this question"), required=False)
    depends_in = TextField(
        label=gettext_lazy("has one of these answers"),
        required=False,
        max_length=400,
    )
    kinds = forms.MultipleChoiceField(
        label=gettext_lazy("Kinds of file"),
        choices=[(kind, kind.upper()) for kind in file_kinds.KINDS],
        initial=list(file_kinds.KINDS),
        widget=forms.CheckboxSelectMultiple,
    )
    required = forms.BooleanField(label=gettext_lazy("Must be answered"), required=False)
    identity = forms.BooleanField(
        label=gettext_lazy("Hide from reviewers: the answer says who applies"), required=False
    )
    first = "label_ko"
    BOUNDS: ClassVar[dict[str, tuple[Any, Any]]] = {
        "line": (gettext_lazy("Signs, at least"), gettext_lazy("Signs, at most")),
        "text": (gettext_lazy("Signs, at least"), gettext_lazy("Signs, at most")),
        "number": (gettext_lazy("Smallest number"), gettext_lazy("Largest number")),
    }

    def shape(self) -> None:
        self.label = str(QUESTION_TYPES[self.about])
        if self.about in self.BOUNDS:
            self.fields["least"].label, self.fields["most"].label = self.BOUNDS[self.about]
        else:
            del self.fields["least"], self.fields["most"]
        if self.about == "choice":
            self.fields["choices"].widget.attrs["rows"] = 4
        else:
            del self.fields["choices"]
        if self.about == "file":
            self.fields["identity"].initial = True
        else:
            del self.fields["kinds"]
        if self.about == "yes":
            self.fields["required"].label = _("Must be agreed to")
        if self.known:
            self.fields["depends_on"].choices = [("", _("– always ask –")), *self.known.items()]  # type: ignore[attr-defined]
        else:
            del self.fields["depends_on"], self.fields["depends_in"]

    def row(self) -> dict[str, Any]:
        data = super().row()
        names = ["code", "label_ko", "label_en", "hint_ko", "hint_en", "required", "identity", "least", "most", "kinds"]
        spec = {name: data[name] for name in names if data.get(name) not in (None, "")}
        spec["type"] = self.about
        if self.about == "choice":
            spec["choices"] = [self._choice(line) for line in data["choices"].splitlines() if line.strip()]
        if data.get("depends_on"):
            values = [value.strip() for value in data["depends_in"].split(",") if value.strip()]
            yes_no = {"yes": True, "no": False, "예": True, "아니요": False}
            plain = all(value in yes_no for value in values)
            spec["shown_if"] = {
                "field": data["depends_on"],
                "in": [yes_no[value] for value in values] if plain else values,
            }
        return spec

    @staticmethod
    def _choice(line: str) -> dict[str, str]:
        parts = [part.strip() for part in line.split("|")]
        if len(parts) == 1:
            parts = [slugify(parts[0]) or parts[0], parts[0]]
        return {"value": parts[0], "label_ko": parts[1], "label_en": parts[2] if len(parts) > 2 else ""}

    def add_error(self, field: str | None, error: Any) -> None:
        super().add_error({"shown_if": "depends_on", "type": None}.get(field or "", field), error)

    @staticmethod
    def of(spec: Mapping[str, Any]) -> dict[str, Any]:
        """A spec as `initial` of its row."""
        row = {**spec, "kind": spec["type"], "identity": spec.get("identity", spec["type"] == "file")}
        if spec["type"] == "file":
            row["kinds"] = list(file_kinds.of(spec))
        if "choices" in spec:
            parts = [(c["value"], c["label_ko"], c.get("label_en", "")) for c in spec["choices"]]
            row["choices"] = "\n".join(" | ".join(part for part in three if part) for three in parts)
        if condition := spec.get("shown_if"):
            words = {True: "yes", False: "no"}
            row["depends_on"] = condition["field"]
            row["depends_in"] = ", ".join(words[v] if isinstance(v, bool) else str(v) for v in condition["in"])
        return row


QUESTION_TYPES = {
    "line": gettext_lazy("One line of text"),
    "text": gettext_lazy("Several lines of text"),
    "number": gettext_lazy("Whole number"),
    "choice": gettext_lazy("Choice"),
    "day": gettext_lazy("Date"),
    "yes": gettext_lazy("Yes or no"),
    "file": gettext_lazy("Document (file)"),
}


class Rows:
    """A list of rows of one page. Rows are in the posted data as `r<index>-<name>`, their number as `rows`.

    A button says what to do: `add:<kind>`, `remove:<index>`, `up:<index>`, `down:<index>`, or `save`. All but the last
    change only the page that is shown again; nothing is saved before `save`.
    """

    def __init__(self, row: type[RowForm], *, call: Call, known: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
        self.row, self.call, self.known, self.kinds = row, call, known, kinds
        self.forms: list[RowForm] = []
        self.errors: list[str] = []
        self.changed = False

    def show(self, rows: Sequence[Mapping[str, Any]], *, look_at: int | None = None) -> Rows:
        """Unbound rows with these values."""
        rows = [self._tidy(dict(row)) for row in rows]
        self.forms = [
            self.row(
                prefix=f"r{at}", initial=dict(row), call=self.call, kind=str(row["kind"]), known=self._known(rows, at)
            )
            for at, row in enumerate(rows)
            if str(row.get("kind")) in self.kinds
        ]
        if look_at is not None and look_at < len(self.forms):
            form = self.forms[look_at]
            form.fields[form.first].widget.attrs["autofocus"] = True
        return self

    def read(self, data: Any) -> Rows:
        """Bound rows, as posted."""
        raw = self._raw(data)
        self.forms = [
            self.row(data, prefix=f"r{at}", call=self.call, kind=row["kind"], known=self._known(raw, at))
            for at, row in enumerate(raw)
            if row["kind"] in self.kinds
        ]
        return self

    def rearrange(self, data: Any, verb: str) -> Rows:
        """The rows as posted, with one of them added, removed or moved. What was typed stays as it was typed."""
        rows = self._raw(data)
        what, _colon, which = verb.partition(":")
        at = int(which) if which.isdecimal() and len(which) < 4 else -1
        look_at: int | None = None
        if what == "add":
            kind = which or str(data.get("kind", ""))
            if kind in self.kinds and len(rows) < MOST_ROWS:
                rows.append({"kind": kind})
                look_at = len(rows) - 1
        elif what == "remove" and 0 <= at < len(rows):
            del rows[at]
        elif what == "up" and 0 < at < len(rows):
            rows[at - 1], rows[at] = rows[at], rows[at - 1]
            look_at = at - 1
        elif what == "down" and 0 <= at < len(rows) - 1:
            rows[at + 1], rows[at] = rows[at], rows[at + 1]
            look_at = at + 1
        self.changed = what in ("add", "remove", "up", "down")
        return self.show(rows, look_at=look_at)

    def is_valid(self) -> bool:
        return all([form.is_valid() for form in self.forms])

    def values(self) -> list[dict[str, Any]]:
        return [form.row() for form in self.forms]

    def refuse(self, refused: Refused) -> None:
        """Puts each error at the row and field that it names ("2.points"); the rest above the list."""
        left = []
        for key, message in refused.errors.items():
            found = re.fullmatch(r"(\d+)\.(\w+)", key)
            if found and int(found[1]) < len(self.forms):
                form = self.forms[int(found[1])]
                form.add_error(found[2] if found[2] in form.fields or found[2] == "shown_if" else None, message)
            else:
                left.append(str(message))
        self.errors = left or ([] if refused.errors else [str(refused.message)])

    @property
    def total(self) -> int:
        """The sum of the points, as far as they are numbers."""
        return sum(int(value) for form in self.forms if str(value := form["points"].value() or "").isdecimal())

    @property
    def full(self) -> bool:
        return len(self.forms) >= MOST_ROWS

    def _known(self, rows: Sequence[Mapping[str, Any]], at: int) -> Mapping[str, Any]:
        if self.row is not QuestionRow:
            return self.known
        return {
            str(row["code"]): f"{row.get('label_ko') or row['code']} ({row['code']})"
            for row in rows[:at]
            if row.get("kind") in ("choice", "yes") and row.get("code")
        }

    def _tidy(self, row: dict[str, Any]) -> dict[str, Any]:
        several = ("organization_kind", "region", "document")
        if self.row is RuleRow and row.get("kind") in several and isinstance(row.get("value"), str):
            row["value"] = [row["value"]]
        return row

    def _raw(self, data: Any) -> list[dict[str, Any]]:
        number = str(data.get("rows", "0"))
        count = min(int(number), MOST_ROWS) if number.isdecimal() and len(number) < 4 else 0
        rows: list[dict[str, Any]] = [{} for _index in range(count)]
        for name in data:
            found = re.fullmatch(r"r(\d{1,3})-(\w+)", name)
            if found and int(found[1]) < count:
                several = data.getlist(name)
                listed = found[2] == "kinds" or (found[2] == "value" and len(several) > 1)
                rows[int(found[1])][found[2]] = several if listed else several[-1]
        unticked = {"required": False, "identity": False, "kinds": []} if self.row is QuestionRow else {}
        return [{"kind": "", **unticked, **row} for row in rows]
