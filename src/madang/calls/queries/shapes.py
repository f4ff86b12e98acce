"""What the pages of this room are given to show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from django.utils.translation import gettext as _

from madang.calls import answers, eligibility, file_kinds
from madang.calls.models import (
    Answer,
    Application,
    ApplicationLine,
    ApplicationState,
    Assignment,
    Call,
    CallLine,
    CallState,
    Criterion,
    Decision,
    Discount,
    DiscountRule,
    Document,
    EligibilityAnswer,
    EligibilityRule,
    Extension,
    FormVersion,
    Outcome,
    RuleKind,
    ScoreSheet,
    Stage,
    Submission,
)
from madang.calls.ranking import Standing
from madang.catalog.models import Resource
from madang.identity.models import Organization, Person
from madang.workflow.errors import Missing
from madang.workflow.models import LogLine

T = TypeVar("T")


@dataclass(frozen=True)
class Rows(Generic[T]):
    """One page of a list; `next` is given back as `after` for the following one, None where there is none."""

    items: list[T]
    next: str | None = None


class Shown(NamedTuple):
    state: str
    label: str


def shown_as(application: Application, stage: Stage, *, open: bool) -> Shown:
    """The state as its applicants read it: a canceled call ends all, and a draft that came too late is no draft."""
    if stage == Stage.CANCELED:
        return Shown(stage, str(stage.label))
    if application.state == ApplicationState.DRAFT and not open:
        return Shown("not_submitted", _("not submitted"))
    return Shown(application.state, application.get_state_display())


@dataclass(frozen=True)
class DocumentView:
    id: int
    code: str
    name: str
    size: int
    digest: str
    added_at: datetime | None = None


@dataclass(frozen=True)
class FieldView:
    """A question, and what was answered. `text` is the answer in words."""

    code: str
    type: str
    label: str
    hint: str
    required: bool
    least: int | None
    most: int | None
    choices: list[tuple[str, str]]
    shown_if: dict[str, Any] | None
    shown: bool
    value: Any
    text: str
    document: DocumentView | None
    identity: bool
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class LineView:
    """Something on offer, and how much of it is asked for (None: nothing). Amounts in the smallest unit."""

    call_line: CallLine
    amount: int | None = None
    essential: bool = True
    purpose: str = ""
    line_id: int | None = None
    awarded: int | None = None

    @property
    def resource(self) -> Resource:
        return self.call_line.resource

    @property
    def unit(self) -> str:
        return self.call_line.resource.unit

    @property
    def most(self) -> int:
        return self.call_line.most

    @property
    def total(self) -> int:
        return self.call_line.total

    @property
    def note(self) -> str:
        return self.call_line.note


@dataclass(frozen=True)
class RuleView:
    """A rule, and the latest answer to it: the machine's, or with `person` and `reason` somebody's."""

    rule: EligibilityRule
    kind_text: str
    wanted: str
    answer: str | None = None
    answer_text: str = ""
    detail: str = ""
    person: Person | None = None
    reason: str = ""
    at: datetime | None = None

    @property
    def citation(self) -> str:
        return self.rule.citation


@dataclass(frozen=True)
class CallCard:
    call: Call
    stage: Stage
    now: datetime
    lines: list[CallLine]

    @property
    def days_left(self) -> int | None:
        """Whole days until the deadline, while it can be met."""
        return (self.call.closes_at - self.now).days if self.stage in (Stage.OPEN, Stage.UPCOMING) else None


@dataclass(frozen=True)
class CallDetail:
    call: Call
    stage: Stage
    now: datetime
    lines: list[CallLine]
    discounts: list[Discount]
    criteria: list[Criterion]
    rules: list[RuleView]
    fields: list[FieldView]
    form: FormVersion
    may_apply: list[Organization] = field(default_factory=list)
    applications: list[Application] = field(default_factory=list)
    extensions: dict[int, datetime] = field(default_factory=dict)
    canceled_because: str = ""


@dataclass(frozen=True)
class TenantRow:
    application: Application
    stage: Stage
    deadline: datetime
    open: bool
    decision: Decision | None
    canceled_because: str

    @property
    def shown(self) -> Shown:
        return shown_as(self.application, self.stage, open=self.open)


@dataclass(frozen=True)
class TenantApplication:
    application: Application
    call: Call
    organization: Organization
    stage: Stage
    now: datetime
    deadline: datetime
    extension: Extension | None
    can_edit: bool
    can_submit: bool
    can_withdraw: bool
    changed_since_submission: bool
    fields: list[FieldView]
    lines: list[LineView]
    title: str
    saves: int
    missing: dict[str, str]
    supplement: dict[str, Any]
    submissions: list[Submission]
    decision: Decision | None
    ineligible_because: str
    steps: list[tuple[str, str, str]]
    criteria: list[Criterion]
    documents: list[DocumentView]
    canceled_because: str

    @property
    def shown(self) -> Shown:
        return shown_as(self.application, self.stage, open=self.can_edit)


@dataclass(frozen=True)
class ReceiptView:
    submission: Submission
    application: Application
    call: Call
    organization: Organization
    number: str
    intact: bool
    fields: list[FieldView]
    lines: list[LineView]
    content: dict[str, Any]


@dataclass(frozen=True)
class ManagedCall:
    call: Call
    stage: Stage
    now: datetime
    counts: dict[str, int]


@dataclass(frozen=True)
class ManagedDetail:
    call: Call
    stage: Stage
    now: datetime
    lines: list[CallLine]
    discounts: list[Discount]
    criteria: list[Criterion]
    rules: list[RuleView]
    fields: list[FieldView]
    form: FormVersion
    counts: dict[str, int]
    submitted: int
    reviews_wanted: int
    reviews_assigned: int
    reviews_done: int
    decided: int
    verbs: list[str]
    problems: dict[str, str]
    extensions: list[Extension]


@dataclass(frozen=True)
class OfficerRow:
    application: Application
    eligibility: dict[str, int]
    reviews_done: int
    reviews_assigned: int
    standing: Standing | None
    decision: Decision | None


@dataclass(frozen=True)
class AssignmentView:
    assignment: Assignment
    latest: ScoreSheet | None

    @property
    def reviewer(self) -> Person:
        return self.assignment.reviewer

    @property
    def state(self) -> str:
        return self.assignment.state


@dataclass(frozen=True)
class DiscountView:
    """A discount of the call for one applicant: the declared fact it rests on, and whether an officer confirmed it.

    `confirmed` is None before the application is found eligible.
    """

    discount: Discount
    fact: str
    fits: bool
    confirmed: bool | None

    @property
    def label(self) -> str:
        return f"{self.discount.name} {self.discount.percent}%"


@dataclass(frozen=True)
class OfficerApplication:
    application: Application
    call: Call
    organization: Organization
    stage: Stage
    now: datetime
    deadline: datetime
    submission: Submission
    submissions: list[Submission]
    fields: list[FieldView]
    lines: list[LineView]
    documents: list[DocumentView]
    rules: list[RuleView]
    rule_history: list[EligibilityAnswer]
    assignments: list[AssignmentView]
    standing: Standing | None
    decision: Decision | None
    verbs: list[str]
    supplement: dict[str, Any]
    log: list[LogLine]
    discounts: list[DiscountView]


@dataclass(frozen=True)
class Candidate:
    person: Person
    load: int
    conflict: str
    assigned: bool


@dataclass(frozen=True)
class QueueItem:
    """Something that waits for an officer, since an instant."""

    kind: str
    call: Call
    application: Application | None
    count: int
    since: datetime


@dataclass(frozen=True)
class SheetRowLine:
    line_id: int
    call_line: CallLine
    asked: int
    awarded: int | None
    essential: bool

    @property
    def resource(self) -> Resource:
        return self.call_line.resource

    @property
    def unit(self) -> str:
        return self.call_line.resource.unit


@dataclass(frozen=True)
class SheetRow:
    """`standing`, `value_krw` and `discount` are None among proposals that are read without them."""

    application: Application
    standing: Standing | None
    decision: Decision | None
    lines: list[SheetRowLine]
    value_krw: int | None
    discount: Discount | None


@dataclass(frozen=True)
class SheetLine:
    call_line: CallLine
    asked: int
    awarded: int
    capacity: int | None
    capacity_left: int | None

    @property
    def resource(self) -> Resource:
        return self.call_line.resource

    @property
    def unit(self) -> str:
        return self.call_line.resource.unit

    @property
    def total(self) -> int:
        return self.call_line.total

    @property
    def left(self) -> int:
        return self.call_line.total - self.awarded


@dataclass(frozen=True)
class Sheet:
    """All that a decision rests on. `used_krw` is the list value of what is awarded and has a rate."""

    call: Call
    stage: Stage
    rows: list[SheetRow]
    lines: list[SheetLine]
    criteria: list[Criterion]
    used_krw: int
    unpriced: list[Resource]
    awards: int
    undecided: int
    waiting: int
    can_decide: bool
    can_announce: bool

    @property
    def budget_krw(self) -> int:
        return self.call.budget_krw

    @property
    def left_krw(self) -> int:
        return self.call.budget_krw - self.used_krw

    @property
    def most_awards(self) -> int:
        return self.call.most_awards

    @property
    def awards_left(self) -> int:
        return self.call.most_awards - self.awards


@dataclass(frozen=True)
class Proposals:
    """What is proposed in a call, without reviews and prices."""

    call: Call
    stage: Stage
    rows: list[SheetRow]
    lines: list[CallLine]

    @property
    def can_decide(self) -> bool:
        return self.call.state == CallState.EVALUATING

    def awarded(self, but: SheetRow | None, amounts: Mapping[int, int] | None) -> tuple[dict[int, int], int]:
        """(amount by call line, applications) of all that are selected; the one of `but` gets `amounts` (by application
        line) instead of what was proposed for it."""
        given: dict[int, int] = {}
        count = 0
        for row in self.rows:
            chosen = row.decision is not None and row.decision.outcome == Outcome.SELECTED
            its = {line.line_id: line.awarded or 0 for line in row.lines} if chosen else {}
            if but is not None and row.application.pk == but.application.pk:
                its = dict(amounts or {})
            count += any(its.values())
            for line in row.lines:
                given[line.call_line.pk] = given.get(line.call_line.pk, 0) + its.get(line.line_id, 0)
        return given, count


@dataclass(frozen=True)
class ReviewRow:
    assignment_id: int
    call: Call
    label: str
    title: str
    state: str
    total: int | None
    open: bool
    assigned_at: datetime


@dataclass(frozen=True)
class ReviewView:
    """What a reviewer may see. It holds no application, so that a page can't show more of it by accident."""

    assignment_id: int
    call: Call
    label: str
    title: str
    blind: bool
    organization: str
    fields: list[FieldView]
    lines: list[LineView]
    criteria: list[tuple[Criterion, int | None]]
    comment: str
    total: int | None
    most_total: int
    state: str
    sheets: list[ScoreSheet]
    can_score: bool


def why_canceled(call: Call) -> str:
    """The reason that the officer gave, where the call is canceled."""
    if call.state != CallState.CANCELED:
        return ""
    line = LogLine.objects.filter(kind="calls.call", ref=call.pk, verb="cancel").last()
    return line.reason if line else ""


def missing() -> Missing:
    return Missing(_("There is nothing here, or it isn't yours to see."))


def document_view(document: Document) -> DocumentView:
    return DocumentView(document.pk, document.code, document.name, document.size, document.digest, document.added_at)


def submitted_documents(content: Mapping[str, Any]) -> dict[str, DocumentView]:
    """The files of a submission, as it names them."""
    return {
        code: DocumentView(one["id"], code, one["name"], one["size"], one["digest"])
        for code, one in content["documents"].items()
    }


def field_views(
    specs: Sequence[answers.Spec], given: Mapping[str, Any], documents: Mapping[str, DocumentView] | None = None
) -> list[FieldView]:
    documents = documents or {}
    asked = answers.shown(specs, given)
    return [
        FieldView(
            code=spec["code"],
            type=spec["type"],
            label=answers.said(spec, "label"),
            hint=answers.said(spec, "hint"),
            required=spec.get("required", False),
            least=spec.get("least"),
            most=spec.get("most") or answers.SIGNS.get(spec["type"], (None,))[0],
            choices=[(choice["value"], answers.said(choice, "label")) for choice in spec.get("choices", [])],
            shown_if=spec.get("shown_if"),
            shown=spec["code"] in asked,
            value=given.get(spec["code"]),
            text=answers.written(spec, given.get(spec["code"])),
            document=documents.get(spec["code"]),
            identity=answers.hidden_from_reviewers(spec),
            kinds=file_kinds.of(spec) if spec["type"] == "file" else (),
        )
        for spec in specs
    ]


def award_of(row: ApplicationLine) -> int | None:
    """What is awarded of a line, once there is a decision; for rows that were read with their `award`."""
    award = getattr(row, "award", None)
    return award.amount if award else None


def submitted_lines(
    content: Mapping[str, Any], offered: Iterable[CallLine], rows: Iterable[ApplicationLine] = ()
) -> list[LineView]:
    """What a submission asks for, in the order of the call; `rows` say which line of the application that is."""
    asked = {line["line"]: line for line in content["lines"]}
    there = {row.call_line_id: row for row in rows}
    return [
        LineView(
            call_line=line,
            amount=asked[line.pk]["amount"],
            essential=asked[line.pk]["essential"],
            purpose=asked[line.pk]["purpose"],
            line_id=there[line.pk].pk if line.pk in there else None,
        )
        for line in offered
        if line.pk in asked
    ]


def rule_views(
    rules: Iterable[EligibilityRule],
    specs: list[answers.Spec],
    latest: Mapping[int, EligibilityAnswer] | None = None,
    machine: Mapping[int, EligibilityAnswer] | None = None,
) -> list[RuleView]:
    """`latest` is the latest answer by rule, `machine` the machine's own, whose facts are shown beside a person's."""
    labels = eligibility.labels_of(specs)
    views = []
    for rule in rules:
        row = (latest or {}).get(rule.pk)
        facts = (machine or {}).get(rule.pk)
        views.append(
            RuleView(
                rule=rule,
                kind_text=str(RuleKind(rule.kind).label),
                wanted=eligibility.wanted_text(rule, labels),
                answer=row.answer if row else None,
                answer_text=str(Answer(row.answer).label) if row else "",
                detail=eligibility.detail_text(rule, facts.detail, labels) if facts else "",
                person=row.person if row else None,
                reason=row.reason if row else "",
                at=row.at if row else None,
            )
        )
    return views


def fitting(discounts: Iterable[Discount], organization: Organization) -> Discount | None:
    """The largest reduction that the organization gets; the first of equal ones."""
    facts = {
        DiscountRule.REGION: organization.region,
        DiscountRule.KIND: organization.kind,
        DiscountRule.YOUTH: "" if organization.is_youth_startup else None,
    }
    fits = [discount for discount in discounts if facts[DiscountRule(discount.rule)] == discount.value]
    return min(fits, key=lambda discount: (-discount.percent, discount.pk), default=None)
