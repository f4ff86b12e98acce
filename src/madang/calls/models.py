"""What a call and an application are made of. What was submitted, answered and scored is append-only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pgtrigger
from django.contrib.postgres.fields import DateRangeField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from madang.catalog.models import Resource
from madang.identity.models import Organization, Person
from madang.programs.models import Program
from madang.web.bilingual import said
from madang.web.days import instants, periods
from madang.workflow.history import tracked
from madang.workflow.machine import Machine, state_check


def append_only() -> list[pgtrigger.Trigger]:
    return [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]


class CallState(models.TextChoices):
    DRAFT = "draft", _("draft")
    PUBLISHED = "published", _("published")
    EVALUATING = "evaluating", _("under evaluation")
    ANNOUNCED = "announced", _("results announced")
    CANCELED = "canceled", _("canceled")


class OverrunPolicy(models.TextChoices):
    """What follows when more was used than an allocation covers. Everybody is told; the use itself is never refused."""

    WARN = "warn", _("tell the lead and the officers")
    PAUSE = "pause", _("tell them, and pause the allocation")
    CLOSE = "close", _("tell them, pause the allocation, and close it once nothing is held any more")


class Stage(models.TextChoices):
    """Where a published call stands by the clock. Nothing is written when an instant passes."""

    DRAFT = "draft", _("draft")
    UPCOMING = "upcoming", _("opens soon")
    OPEN = "open", _("open for applications")
    CLOSED = "closed", _("closed")
    EVALUATING = "evaluating", _("under evaluation")
    ANNOUNCED = "announced", _("results announced")
    CANCELED = "canceled", _("canceled")


call_moves = Machine(
    CallState,
    (CallState.DRAFT, "publish", CallState.PUBLISHED),
    (CallState.PUBLISHED, "start_evaluation", CallState.EVALUATING),
    (CallState.EVALUATING, "announce", CallState.ANNOUNCED),
    ((CallState.DRAFT, CallState.PUBLISHED), "cancel", CallState.CANCELED),
)


@tracked()
class Call(models.Model):
    """A call notice: to whom the site lends what, until when, and by which criteria it decides.

    `use` are the days on which what is granted may be used. `budget_krw` bounds the list value of all awards together.
    """

    program = models.ForeignKey(Program, models.PROTECT, related_name="calls", verbose_name=_("program"))
    code = models.SlugField(_("code"), max_length=40, unique=True)
    title_ko = models.CharField(_("title (Korean)"), max_length=200)
    title_en = models.CharField(_("title (English)"), max_length=200, blank=True)
    text_ko = models.TextField(_("text (Korean)"), max_length=20_000, blank=True)
    text_en = models.TextField(_("text (English)"), max_length=20_000, blank=True)
    opens_at = models.DateTimeField(_("opens at"))
    closes_at = models.DateTimeField(_("closes at"))
    announces_at = models.DateTimeField(_("results by"), null=True, blank=True)
    use = DateRangeField(_("days of use"))
    budget_krw = models.BigIntegerField(_("budget (KRW)"))
    most_awards = models.PositiveIntegerField(_("awards at most"))
    reviews_wanted = models.PositiveSmallIntegerField(_("reviews per application"), default=2)
    blind = models.BooleanField(_("blind review"), default=True)
    days_to_accept = models.PositiveSmallIntegerField(_("days to accept the agreement"), default=14)
    overrun = models.CharField(_("after an overrun"), max_length=10, choices=OverrunPolicy, default=OverrunPolicy.WARN)
    state = models.CharField(max_length=12, choices=CallState, default=CallState.DRAFT)
    made_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    made_at = models.DateTimeField(db_default=Now())
    published_at = models.DateTimeField(null=True)
    last_receipt = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-closes_at", "-id"]
        constraints = [
            state_check(CallState, "call_state_known"),
            models.CheckConstraint(name="call_closes_after_it_opens", condition=Q(closes_at__gt=F("opens_at"))),
            models.CheckConstraint(
                name="call_in_our_time",
                condition=instants("opens_at", "closes_at", "announces_at") & periods("use"),
            ),
            models.CheckConstraint(name="call_budget_not_negative", condition=Q(budget_krw__gte=0)),
            models.CheckConstraint(name="call_overrun_policy_known", condition=Q(overrun__in=OverrunPolicy.values)),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def title(self) -> str:
        return said(self, "title")

    @property
    def text(self) -> str:
        return said(self, "text")

    def stage(self, now: datetime) -> Stage:
        if self.state != CallState.PUBLISHED:
            return Stage(self.state)
        if now < self.opens_at:
            return Stage.UPCOMING
        return Stage.OPEN if now < self.closes_at else Stage.CLOSED


@tracked()
class CallLine(models.Model):
    """A resource on offer in a call: how much one application may ask for, and how much there is for all of them.

    Amounts are in the smallest unit of the resource.
    """

    call = models.ForeignKey(Call, models.CASCADE, related_name="lines")
    resource = models.ForeignKey(Resource, models.PROTECT, related_name="call_lines", verbose_name=_("resource"))
    most = models.BigIntegerField(_("at most, per application"))
    total = models.BigIntegerField(_("for all awards together"))
    note_ko = models.CharField(_("note (Korean)"), max_length=300, blank=True)
    note_en = models.CharField(_("note (English)"), max_length=300, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["call", "resource"], name="a_resource_once_in_a_call"),
            models.CheckConstraint(name="call_line_amounts", condition=Q(most__gt=0) & Q(total__gte=F("most"))),
        ]

    @property
    def note(self) -> str:
        return said(self, "note")


class DiscountRule(models.TextChoices):
    REGION = "region", _("head office in this region")
    YOUTH = "youth", _("youth start-up")
    KIND = "kind", _("this kind of organization")


@tracked()
class Discount(models.Model):
    """A reduction of the list price for some applicants. The largest that fits applies; they don't add up."""

    call = models.ForeignKey(Call, models.CASCADE, related_name="discounts")
    name_ko = models.CharField(_("name (Korean)"), max_length=120)
    name_en = models.CharField(_("name (English)"), max_length=120, blank=True)
    percent = models.PositiveSmallIntegerField(_("reduction (%)"))
    rule = models.CharField(_("for"), max_length=10, choices=DiscountRule)
    value = models.CharField(_("which"), max_length=20, blank=True)

    class Meta:
        ordering = ["-percent", "id"]
        constraints = [
            models.CheckConstraint(name="discount_percent", condition=Q(percent__gte=1) & Q(percent__lte=100)),
            models.CheckConstraint(name="discount_rule_known", condition=Q(rule__in=DiscountRule.values)),
        ]

    @property
    def name(self) -> str:
        return said(self, "name")


@tracked()
class Criterion(models.Model):
    """What a reviewer scores: up to `points`; below `least` the application fails whatever its total (과락)."""

    call = models.ForeignKey(Call, models.CASCADE, related_name="criteria")
    code = models.SlugField(max_length=40)
    name_ko = models.CharField(_("name (Korean)"), max_length=120)
    name_en = models.CharField(_("name (English)"), max_length=120, blank=True)
    hint_ko = models.CharField(_("hint (Korean)"), max_length=400, blank=True)
    hint_en = models.CharField(_("hint (English)"), max_length=400, blank=True)
    points = models.PositiveSmallIntegerField(_("points"))
    least = models.PositiveSmallIntegerField(_("minimum"), default=0)
    order = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["order", "id"]
        constraints = [
            models.UniqueConstraint(fields=["call", "code"], name="a_criterion_once_in_a_call"),
            models.CheckConstraint(name="criterion_points", condition=Q(points__gte=1) & Q(least__lte=F("points"))),
        ]

    @property
    def name(self) -> str:
        return said(self, "name")

    @property
    def hint(self) -> str:
        return said(self, "hint")


class RuleKind(models.TextChoices):
    """What the machine can check by itself."""

    ORGANIZATION_KIND = "organization_kind", _("kind of organization")
    REGION = "region", _("region of the head office")
    FOUNDED_WITHIN = "founded_within", _("founded at most so many years ago")
    DOCUMENT = "document", _("document handed in")
    NO_DOUBLE_FUNDING = "no_double_funding", _("no other active grant of this program")


@tracked()
class EligibilityRule(models.Model):
    """A rule as data, with the passage of the notice that it comes from. `value`: what it is compared with."""

    call = models.ForeignKey(Call, models.CASCADE, related_name="rules")
    kind = models.CharField(_("rule"), max_length=24, choices=RuleKind)
    value = models.JSONField(default=list, blank=True)
    citation_ko = models.CharField(_("passage of the notice (Korean)"), max_length=300)
    citation_en = models.CharField(_("passage of the notice (English)"), max_length=300, blank=True)
    order = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["order", "id"]
        constraints = [models.CheckConstraint(name="rule_kind_known", condition=Q(kind__in=RuleKind.values))]

    @property
    def citation(self) -> str:
        return said(self, "citation")


@tracked()
class FormVersion(models.Model):
    """The questions of a call. Frozen when the call is published; a later version never changes an older one.

    `fields` is a list of specs; `answers.py` says what is in one and checks it.
    """

    call = models.ForeignKey(Call, models.CASCADE, related_name="forms")
    number = models.PositiveSmallIntegerField()
    fields = models.JSONField(default=list)
    frozen_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["call", "number"], name="form_versions_are_numbered")]
        triggers = [
            pgtrigger.Protect(
                name="frozen_stays",
                operation=pgtrigger.Update | pgtrigger.Delete,
                condition=pgtrigger.Q(old__frozen_at__isnull=False),
            )
        ]


def receipt_number(call: Call, receipt: int) -> str:
    """As it is written on the receipt."""
    return f"{call.code.upper()}-{receipt:04d}"


class ApplicationState(models.TextChoices):
    DRAFT = "draft", _("draft")
    SUBMITTED = "submitted", _("submitted")
    SUPPLEMENT = "supplement", _("supplement requested")
    ELIGIBLE = "eligible", _("eligible")
    INELIGIBLE = "ineligible", _("ineligible")
    SELECTED = "selected", _("selected")
    RESERVE = "reserve", _("reserve list")
    REJECTED = "rejected", _("not selected")
    WITHDRAWN = "withdrawn", _("withdrawn")


_undecided = (
    ApplicationState.SUBMITTED,
    ApplicationState.SUPPLEMENT,
    ApplicationState.ELIGIBLE,
)
application_moves = Machine(
    ApplicationState,
    ((ApplicationState.DRAFT, ApplicationState.SUBMITTED), "submit", ApplicationState.SUBMITTED),
    ((ApplicationState.DRAFT, *_undecided), "withdraw", ApplicationState.WITHDRAWN),
    (ApplicationState.SUBMITTED, "request_supplement", ApplicationState.SUPPLEMENT),
    (ApplicationState.SUPPLEMENT, "supplement", ApplicationState.SUBMITTED),
    ((ApplicationState.SUBMITTED, ApplicationState.INELIGIBLE), "find_eligible", ApplicationState.ELIGIBLE),
    (
        (ApplicationState.SUBMITTED, ApplicationState.SUPPLEMENT, ApplicationState.ELIGIBLE),
        "find_ineligible",
        ApplicationState.INELIGIBLE,
    ),
    (ApplicationState.ELIGIBLE, "select", ApplicationState.SELECTED),
    (ApplicationState.ELIGIBLE, "put_on_reserve", ApplicationState.RESERVE),
    (ApplicationState.ELIGIBLE, "reject", ApplicationState.REJECTED),
    (ApplicationState.RESERVE, "promote", ApplicationState.SELECTED),
)


@tracked(exclude=("answers", "asked"))
class Application(models.Model):
    """Who asks for what. What was submitted is in `Submission` and never changes.

    `draft_title`, `answers` and `asked` are the draft: they may run ahead of what was submitted. `title` and the rows
    in `lines` are what was submitted last. `asked` is {call line id: {amount, essential, purpose}}. `receipt` is the
    number of the latest submission in its call; `saves` counts the saves of the draft, so that a page that is out of
    date can't overwrite what was saved since. `supplement` is {codes, reason, until} while one is asked for.
    `confirmed_discounts` are the ids of the discounts whose facts an officer confirmed when finding it eligible; none
    else reduces its price, whatever the organization says of itself later. None: it was never asked.
    """

    call = models.ForeignKey(Call, models.PROTECT, related_name="applications")
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="applications")
    form = models.ForeignKey(FormVersion, models.PROTECT, related_name="+")
    title = models.CharField(_("project title"), max_length=200, blank=True)
    draft_title = models.CharField(_("project title"), max_length=200, blank=True)
    answers = models.JSONField(default=dict)
    asked = models.JSONField(default=dict)
    supplement = models.JSONField(default=dict, blank=True)
    confirmed_discounts = models.JSONField(null=True, blank=True)
    saves = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=12, choices=ApplicationState, default=ApplicationState.DRAFT)
    receipt = models.PositiveIntegerField(null=True)
    submitted_at = models.DateTimeField(null=True)
    started_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    started_at = models.DateTimeField(db_default=Now())
    saved_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            state_check(ApplicationState, "application_state_known"),
            models.UniqueConstraint(
                fields=["call", "organization"],
                condition=~Q(state="withdrawn"),
                name="one_application_of_an_organization",
            ),
            models.CheckConstraint(
                name="submitted_has_a_receipt", condition=Q(state__in=["draft", "withdrawn"]) | Q(receipt__isnull=False)
            ),
        ]
        indexes = [models.Index(fields=["call", "receipt"], name="applications_by_receipt")]

    def __str__(self) -> str:
        return self.title or f"#{self.pk}"

    @property
    def receipt_number(self) -> str:
        return "" if self.receipt is None else receipt_number(self.call, self.receipt)


@tracked()
class ApplicationLine(models.Model):
    """How much of one resource on offer the application asks for, in its smallest unit."""

    application = models.ForeignKey(Application, models.CASCADE, related_name="lines")
    call_line = models.ForeignKey(CallLine, models.PROTECT, related_name="asked")
    amount = models.BigIntegerField(_("amount"))
    essential = models.BooleanField(_("essential"), default=True)
    purpose = models.CharField(_("what for"), max_length=600, blank=True)

    class Meta:
        ordering = ["call_line_id"]
        constraints = [
            models.UniqueConstraint(fields=["application", "call_line"], name="a_line_once_in_an_application"),
            models.CheckConstraint(name="asked_is_positive", condition=Q(amount__gt=0)),
        ]


def document_path(document: Any, name: str) -> str:
    return f"documents/{document.application_id}/{document.digest[:24]}"


class Document(models.Model):
    """A file handed in with an application, for the field `code` of its form.

    The newest one that wasn't removed counts. A file that was submitted stays, even when a newer one takes its place.
    """

    application = models.ForeignKey(Application, models.CASCADE, related_name="documents")
    code = models.SlugField(max_length=40)
    name = models.CharField(max_length=200)
    file = models.FileField(upload_to=document_path, max_length=200)
    size = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    added_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    added_at = models.DateTimeField(db_default=Now())
    removed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]


class Submission(models.Model):
    """What was submitted, exactly: its canonical content, the digest of that, the receipt number, the instant."""

    call = models.ForeignKey(Call, models.PROTECT, related_name="submissions")
    application = models.ForeignKey(Application, models.PROTECT, related_name="submissions")
    receipt = models.PositiveIntegerField()
    content = models.JSONField()
    digest = models.CharField(max_length=64)
    submitted_at = models.DateTimeField()
    submitted_by = models.ForeignKey(Person, models.PROTECT, related_name="+")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["call", "receipt"], name="receipt_numbers_are_given_once")]
        triggers = append_only()

    @property
    def number(self) -> str:
        return receipt_number(self.call, self.receipt)


@tracked()
class Extension(models.Model):
    """One applicant may submit until a later instant, for a reason that is kept."""

    call = models.ForeignKey(Call, models.PROTECT, related_name="extensions")
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    until = models.DateTimeField(_("until"))
    reason = models.CharField(_("reason"), max_length=300)
    given_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    given_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["call", "organization"], name="one_extension_of_an_applicant"),
            models.CheckConstraint(name="extension_in_our_time", condition=instants("until")),
        ]


class Answer(models.TextChoices):
    PASS = "pass", _("met")
    FAIL = "fail", _("not met")
    UNKNOWN = "unknown", _("not known")


class EligibilityAnswer(models.Model):
    """What the machine, or a person with a reason, says about one rule for one application. The latest one counts."""

    application = models.ForeignKey(Application, models.PROTECT, related_name="eligibility")
    rule = models.ForeignKey(EligibilityRule, models.PROTECT, related_name="+")
    answer = models.CharField(max_length=8, choices=Answer)
    detail = models.JSONField(default=dict)
    person = models.ForeignKey(Person, models.PROTECT, null=True, related_name="+")
    reason = models.CharField(_("reason"), max_length=600, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(name="answer_known", condition=Q(answer__in=Answer.values)),
            models.CheckConstraint(name="a_person_gives_a_reason", condition=Q(person=None) | ~Q(reason="")),
        ]
        triggers = append_only()


class AssignmentState(models.TextChoices):
    ASSIGNED = "assigned", _("assigned")
    SCORED = "scored", _("scored")
    RECUSED = "recused", _("recused")


assignment_moves = Machine(
    AssignmentState,
    ((AssignmentState.ASSIGNED, AssignmentState.SCORED), "score", AssignmentState.SCORED),
    (AssignmentState.ASSIGNED, "recuse", AssignmentState.RECUSED),
)


@tracked(exclude=("draft",))
class Assignment(models.Model):
    """One reviewer is to score one application. `draft` holds unfinished scores."""

    application = models.ForeignKey(Application, models.PROTECT, related_name="assignments")
    reviewer = models.ForeignKey(Person, models.PROTECT, related_name="assignments")
    state = models.CharField(max_length=10, choices=AssignmentState, default=AssignmentState.ASSIGNED)
    draft = models.JSONField(default=dict)
    assigned_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    assigned_at = models.DateTimeField(db_default=Now())
    reason = models.CharField(_("reason"), max_length=300, blank=True)

    class Meta:
        constraints = [
            state_check(AssignmentState, "assignment_state_known"),
            models.UniqueConstraint(fields=["application", "reviewer"], name="a_reviewer_once_per_application"),
        ]


class ScoreSheet(models.Model):
    """The scores of one review: {criterion code: points}. A correction is a newer sheet; the latest one counts."""

    assignment = models.ForeignKey(Assignment, models.PROTECT, related_name="sheets")
    scores = models.JSONField()
    total = models.PositiveSmallIntegerField()
    comment = models.TextField(_("overall comment"), max_length=4000)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        triggers = append_only()


class Outcome(models.TextChoices):
    SELECTED = "selected", _("selected")
    RESERVE = "reserve", _("reserve list")
    REJECTED = "rejected", _("not selected")


@tracked()
class Decision(models.Model):
    """What the officer proposes for one application, and, once the call is announced, what was decided."""

    application = models.OneToOneField(Application, models.PROTECT, related_name="decision")
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome)
    score = models.DecimalField(_("score"), max_digits=6, decimal_places=2, null=True)
    rank = models.PositiveIntegerField(_("rank"), null=True)
    reason = models.TextField(_("reason for the applicant"), max_length=2000)
    decided_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(db_default=Now())
    final_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(name="outcome_known", condition=Q(outcome__in=Outcome.values))]
        triggers = [
            pgtrigger.Protect(
                name="final_stays",
                operation=pgtrigger.Update | pgtrigger.Delete,
                condition=pgtrigger.Q(old__final_at__isnull=False),
            )
        ]


@tracked()
class DecisionLine(models.Model):
    """How much of a line is awarded: all that was asked, less, or nothing."""

    decision = models.ForeignKey(Decision, models.CASCADE, related_name="lines")
    line = models.OneToOneField(ApplicationLine, models.PROTECT, related_name="award")
    amount = models.BigIntegerField(_("awarded"))

    class Meta:
        constraints = [models.CheckConstraint(name="award_not_negative", condition=Q(amount__gte=0))]
