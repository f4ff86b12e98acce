"""What is sent and answered. Read from the rows and views of this room by attribute."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from ninja import Field, Schema

from madang.calls.models import (
    Answer,
    Application,
    ApplicationState,
    AssignmentState,
    CallState,
    Decision,
    DiscountRule,
    Outcome,
    OverrunPolicy,
    RuleKind,
    Stage,
)
from madang.web.api import BIG, Amount, Day, In, Instant, Line, Ref, Slug, Text, Whole

Code = Annotated[Slug, Field(max_length=40)]
Small = Annotated[int, Field(ge=0, le=32_767)]
Short = Annotated[Line, Field(max_length=120)]
Why = Annotated[Text, Field(min_length=1, max_length=600)]
Reasoned = Annotated[Text, Field(min_length=1, max_length=2000)]
Value = bool | Annotated[Whole, Field(ge=-BIG, le=BIG)] | Annotated[str, Field(max_length=20_000)] | None
Answers = Annotated[dict[str, Value], Field(max_length=100)]


class CallIn(In):
    program: Slug
    code: Annotated[Code, Field(min_length=1)]
    title_ko: Annotated[Line, Field(min_length=1)]
    title_en: Line = ""
    text_ko: Text = ""
    text_en: Text = ""
    opens_at: Instant
    closes_at: Instant
    announces_at: Instant | None = None
    use_from: Day
    use_until: Day
    budget_krw: Amount
    most_awards: Annotated[Whole, Field(ge=0, le=100_000)]
    reviews_wanted: Annotated[Whole, Field(ge=0, le=20)] = 2
    blind: bool = True
    days_to_accept: Annotated[Whole, Field(ge=1, le=365)] = 14
    overrun: OverrunPolicy = OverrunPolicy.WARN


class CallChange(In):
    """Only what is named changes."""

    code: Annotated[Code, Field(min_length=1)] | None = None
    title_ko: Annotated[Line, Field(min_length=1)] | None = None
    title_en: Line | None = None
    text_ko: Text | None = None
    text_en: Text | None = None
    opens_at: Instant | None = None
    closes_at: Instant | None = None
    announces_at: Instant | None = None
    use_from: Day | None = None
    use_until: Day | None = None
    budget_krw: Amount | None = None
    most_awards: Annotated[Whole, Field(ge=0, le=100_000)] | None = None
    reviews_wanted: Annotated[Whole, Field(ge=0, le=20)] | None = None
    blind: bool | None = None
    days_to_accept: Annotated[Whole, Field(ge=1, le=365)] | None = None
    overrun: OverrunPolicy | None = None


class LineIn(In):
    resource: Slug
    most: Annotated[Amount, Field(ge=1)]
    total: Annotated[Amount, Field(ge=1)]
    note_ko: Annotated[Line, Field(max_length=300)] = ""
    note_en: Annotated[Line, Field(max_length=300)] = ""


class DiscountIn(In):
    name_ko: Annotated[Short, Field(min_length=1)]
    name_en: Short = ""
    percent: Annotated[Whole, Field(ge=1, le=100)]
    rule: DiscountRule
    value: Annotated[str, Field(max_length=20)] = ""


class CriterionIn(In):
    code: Annotated[Code, Field(min_length=1)]
    name_ko: Annotated[Short, Field(min_length=1)]
    name_en: Short = ""
    hint_ko: Annotated[Line, Field(max_length=400)] = ""
    hint_en: Annotated[Line, Field(max_length=400)] = ""
    points: Annotated[Whole, Field(ge=1, le=1000)]
    least: Annotated[Whole, Field(ge=0, le=1000)] = 0


class RuleIn(In):
    """`value` is a list: kinds of organizations, regions, a number of years, the code of a file; or empty."""

    kind: RuleKind
    value: Annotated[list[Annotated[Whole, Field(ge=0, le=1000)] | Code], Field(max_length=50)] = []
    citation_ko: Annotated[Line, Field(min_length=1, max_length=300)]
    citation_en: Annotated[Line, Field(max_length=300)] = ""


class ChoiceIn(In):
    value: Code
    label_ko: Line
    label_en: Line = ""


class ConditionIn(In):
    field: Code
    values: Annotated[list[bool | Code], Field(max_length=100, alias="in")]


class FieldIn(In):
    """A question: line, text, number, choice, day, yes or file."""

    code: Code
    type: Annotated[str, Field(max_length=10)]
    label_ko: Annotated[Line, Field(max_length=300)]
    label_en: Annotated[Line, Field(max_length=300)] = ""
    hint_ko: Annotated[Line, Field(max_length=600)] = ""
    hint_en: Annotated[Line, Field(max_length=600)] = ""
    required: bool = False
    least: Annotated[Whole, Field(ge=-BIG, le=BIG)] | None = None
    most: Annotated[Whole, Field(ge=-BIG, le=BIG)] | None = None
    choices: Annotated[list[ChoiceIn], Field(max_length=100)] | None = None
    shown_if: ConditionIn | None = None
    identity: bool | None = None
    kinds: Annotated[list[Annotated[str, Field(max_length=10)]], Field(max_length=20)] | None = None


class ExtensionIn(In):
    organization: Ref
    until: Instant
    reason: Annotated[Why, Field(max_length=300)]


class Reason(In):
    reason: Why


class AskedIn(In):
    amount: Amount | None = None
    essential: bool = True
    purpose: Annotated[Text, Field(max_length=600)] = ""


class DraftIn(In):
    """What isn't named stays; an empty value, or an amount of 0, takes it out. `saves` is the counter that was read."""

    title: Line | None = None
    answers: Answers | None = None
    lines: Annotated[dict[Slug, AskedIn], Field(max_length=50)] | None = None
    saves: Annotated[Whole, Field(ge=0, le=2**31 - 1)] | None = None


class SubmitIn(In):
    saves: Annotated[Whole, Field(ge=0, le=2**31 - 1)] | None = None


class StartIn(In):
    organization: Ref


class WithdrawIn(In):
    reason: Annotated[Text, Field(max_length=600)] = ""


class OverruleIn(In):
    answer: Answer
    reason: Why


class FindIn(In):
    """`discounts_confirmed`: the declared facts that a discount of the call rests on (region, youth start-up, kind)
    were checked. It is true unless you say otherwise; false finds the application eligible without any reduction.
    """

    reason: Annotated[Text, Field(max_length=600)] = ""
    discounts_confirmed: bool = True


class SupplementIn(In):
    codes: Annotated[list[Code], Field(min_length=1, max_length=100)]
    reason: Why
    days: Annotated[Whole, Field(ge=1, le=60)] = 7


class AssignIn(In):
    reviewer: Ref


class ScoresIn(In):
    scores: Annotated[dict[Slug, Annotated[Whole, Field(ge=0, le=1000)] | None], Field(max_length=50)]
    comment: Annotated[Text, Field(max_length=4000)] = ""


class DecisionIn(In):
    """`amounts` by line of the application; None awards all that was asked."""

    outcome: Outcome
    amounts: Annotated[dict[Slug, Amount], Field(max_length=50)] | None = None
    reason: Reasoned


class CallLineOut(Schema):
    id: int
    resource: str = Field(alias="resource.code")
    name_ko: str = Field(alias="resource.name_ko")
    name_en: str = Field(alias="resource.name_en")
    unit: str = Field(alias="resource.unit")
    most: int
    total: int
    note_ko: str
    note_en: str


class CallOut(Schema):
    id: int
    code: str
    program: str = Field(alias="program.code")
    title_ko: str
    title_en: str
    opens_at: datetime
    closes_at: datetime
    announces_at: datetime | None
    use_from: date = Field(alias="use.lower")
    use_before: date = Field(alias="use.upper")
    budget_krw: int
    most_awards: int
    reviews_wanted: int
    blind: bool
    days_to_accept: int
    overrun: OverrunPolicy
    state: CallState


class CardOut(Schema):
    call: CallOut
    stage: Stage
    now: datetime
    lines: list[CallLineOut]


class CardsOut(Schema):
    items: list[CardOut]
    next: str | None


class DiscountOut(Schema):
    name_ko: str
    name_en: str
    percent: int
    rule: DiscountRule
    value: str


class CriterionOut(Schema):
    code: str
    name_ko: str
    name_en: str
    hint_ko: str
    hint_en: str
    points: int
    least: int


class RuleOut(Schema):
    id: int
    kind: RuleKind
    value: list[int | str]
    citation_ko: str
    citation_en: str


class AnsweredOut(Schema):
    rule: RuleOut
    answer: Answer | None
    detail: str
    by_person: bool
    reason: str
    at: datetime | None

    @staticmethod
    def resolve_by_person(view: Any) -> bool:
        return view.person is not None


class WholeCallOut(Schema):
    call: CallOut
    text_ko: str = Field(alias="call.text_ko")
    text_en: str = Field(alias="call.text_en")
    stage: Stage
    now: datetime
    lines: list[CallLineOut]
    discounts: list[DiscountOut]
    criteria: list[CriterionOut]
    rules: list[RuleOut]
    form: list[dict[str, Any]] = Field(alias="form.fields")

    @staticmethod
    def resolve_rules(view: Any) -> list[Any]:
        return [rule.rule for rule in view.rules]


class ManagedOut(WholeCallOut):
    counts: dict[str, int]
    submitted: int
    reviews_wanted: int
    reviews_assigned: int
    reviews_done: int
    decided: int
    verbs: list[str]
    problems: dict[str, str]


class ManagedRowOut(Schema):
    call: CallOut
    stage: Stage
    counts: dict[str, int]


class ManagedRowsOut(Schema):
    items: list[ManagedRowOut]
    next: str | None


class QueueOut(Schema):
    kind: str
    call: str = Field(alias="call.code")
    count: int
    since: datetime


class QueueRowsOut(Schema):
    items: list[QueueOut]
    next: str | None


class DocumentOut(Schema):
    id: int
    code: str
    name: str
    size: int
    digest: str


class FieldOut(Schema):
    code: str
    type: str
    label: str
    required: bool
    shown: bool
    value: bool | int | str | None
    document: DocumentOut | None


class AskedOut(Schema):
    line: int = Field(alias="call_line.id")
    resource: str = Field(alias="resource.code")
    unit: str
    most: int
    amount: int | None
    essential: bool
    purpose: str
    application_line: int | None = Field(alias="line_id")
    awarded: int | None


class SubmissionOut(Schema):
    id: int
    receipt: int
    number: str
    digest: str
    submitted_at: datetime


class ReceiptOut(SubmissionOut):
    intact: bool
    content: dict[str, Any]


class ApplicationOut(Schema):
    id: int
    call: str
    organization: int
    title: str
    state: ApplicationState
    receipt: str
    submitted_at: datetime | None

    @staticmethod
    def resolve_call(row: Application) -> str:
        return row.call.code

    @staticmethod
    def resolve_organization(row: Application) -> int:
        return row.organization_id

    @staticmethod
    def resolve_receipt(row: Application) -> str:
        return row.receipt_number


class DecisionOut(Schema):
    outcome: Outcome
    score: Decimal | None
    rank: int | None
    reason: str
    final: bool

    @staticmethod
    def resolve_final(row: Decision) -> bool:
        return row.final_at is not None


class TenantRowOut(Schema):
    application: ApplicationOut
    stage: Stage
    deadline: datetime
    open: bool
    decision: DecisionOut | None


class TenantRowsOut(Schema):
    items: list[TenantRowOut]
    next: str | None


class TenantOut(Schema):
    """A draft as it stands. `missing` is what a submission would still lack, by input."""

    application: ApplicationOut
    title: str
    saves: int
    stage: Stage
    now: datetime
    deadline: datetime
    can_edit: bool
    can_submit: bool
    can_withdraw: bool
    changed_since_submission: bool
    fields: list[FieldOut]
    lines: list[AskedOut]
    missing: dict[str, str]
    supplement: dict[str, Any]
    submissions: list[SubmissionOut]
    decision: DecisionOut | None


class StandingOut(Schema):
    score: Decimal | None
    rank: int | None
    below_minimum: list[str]
    done: int
    wanted: int
    by_criterion: dict[str, Decimal | None]

    @staticmethod
    def resolve_below_minimum(standing: Any) -> list[str]:
        return [criterion.code for criterion in standing.fails]


class AssignmentOut(Schema):
    id: int = Field(alias="assignment.id")
    reviewer: int = Field(alias="assignment.reviewer_id")
    state: AssignmentState = Field(alias="assignment.state")
    total: int | None

    @staticmethod
    def resolve_total(view: Any) -> int | None:
        return view.latest.total if view.latest else None


class DeclaredOut(Schema):
    """A discount for one applicant: the declared fact, and whether an officer confirmed it (null: not yet asked)."""

    name_ko: str = Field(alias="discount.name_ko")
    name_en: str = Field(alias="discount.name_en")
    percent: int = Field(alias="discount.percent")
    fact: str
    confirmed: bool | None


class OfficerOut(Schema):
    application: ApplicationOut
    organization_ko: str = Field(alias="organization.name_ko")
    organization_en: str = Field(alias="organization.name_en")
    stage: Stage
    deadline: datetime
    submission: SubmissionOut
    fields: list[FieldOut]
    lines: list[AskedOut]
    documents: list[DocumentOut]
    rules: list[AnsweredOut]
    assignments: list[AssignmentOut]
    standing: StandingOut | None
    decision: DecisionOut | None
    discounts: list[DeclaredOut]
    verbs: list[str]
    supplement: dict[str, Any]


class OfficerRowOut(Schema):
    application: ApplicationOut
    organization_ko: str = Field(alias="application.organization.name_ko")
    organization_en: str = Field(alias="application.organization.name_en")
    eligibility: dict[str, int]
    reviews_done: int
    reviews_assigned: int
    standing: StandingOut | None
    decision: DecisionOut | None


class OfficerRowsOut(Schema):
    items: list[OfficerRowOut]
    next: str | None


class CandidateOut(Schema):
    id: int = Field(alias="person.id")
    name: str = Field(alias="person.name")
    load: int
    conflict: bool
    assigned: bool

    @staticmethod
    def resolve_conflict(candidate: Any) -> bool:
        return bool(candidate.conflict)


class SheetRowLineOut(Schema):
    application_line: int = Field(alias="line_id")
    resource: str = Field(alias="resource.code")
    unit: str
    asked: int
    awarded: int | None
    essential: bool


class SheetRowOut(Schema):
    application: ApplicationOut
    organization_ko: str = Field(alias="application.organization.name_ko")
    standing: StandingOut
    decision: DecisionOut | None
    lines: list[SheetRowLineOut]
    value_krw: int | None


class SheetLineOut(Schema):
    resource: str = Field(alias="resource.code")
    unit: str
    total: int
    asked: int
    awarded: int
    left: int
    capacity: int | None
    capacity_left: int | None


class SheetOut(Schema):
    rows: list[SheetRowOut]
    lines: list[SheetLineOut]
    budget_krw: int
    used_krw: int
    left_krw: int
    unpriced: list[str]
    most_awards: int
    awards: int
    undecided: int
    waiting: int
    can_decide: bool
    can_announce: bool

    @staticmethod
    def resolve_unpriced(sheet: Any) -> list[str]:
        return [resource.code for resource in sheet.unpriced]


class ReviewRowOut(Schema):
    id: int = Field(alias="assignment_id")
    call: str = Field(alias="call.code")
    label: str
    title: str
    state: AssignmentState
    total: int | None
    open: bool


class ReviewRowsOut(Schema):
    items: list[ReviewRowOut]
    next: str | None


class ReviewLineOut(Schema):
    resource: str = Field(alias="resource.code")
    unit: str
    amount: int | None
    essential: bool
    purpose: str


class ReviewFieldOut(Schema):
    code: str
    label: str
    text: str
    document: int | None

    @staticmethod
    def resolve_document(view: Any) -> int | None:
        return view.document.id if view.document else None


class SheetHandedIn(Schema):
    scores: dict[str, int]
    total: int
    comment: str
    at: datetime


class ReviewOut(Schema):
    id: int = Field(alias="assignment_id")
    call: str = Field(alias="call.code")
    label: str
    title: str
    organization: str
    fields: list[ReviewFieldOut]
    lines: list[ReviewLineOut]
    criteria: list[CriterionOut]
    scores: dict[str, int | None]
    comment: str
    state: AssignmentState
    sheets: list[SheetHandedIn]
    can_score: bool

    @staticmethod
    def resolve_criteria(view: Any) -> list[Any]:
        return [criterion for criterion, _points in view.criteria]

    @staticmethod
    def resolve_scores(view: Any) -> dict[str, int | None]:
        return {criterion.code: points for criterion, points in view.criteria}
