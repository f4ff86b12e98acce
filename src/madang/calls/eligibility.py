"""Rules as data: each kind answers pass, fail or unknown from facts, and says which facts in words.

The facts are the organization as it is now, and what was submitted last. A person may overrule any answer with a
reason; that is an answer too, and the latest one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils.translation import gettext as _

from madang.calls.answers import said
from madang.calls.models import Answer, Application, Call, EligibilityRule, RuleKind
from madang.calls.when import SEOUL
from madang.identity.models import Organization, OrganizationKind, Region

Found = tuple[Answer, dict[str, Any]]


@dataclass(frozen=True)
class Facts:
    """What rules are checked against. `others` are the numbers of grants of the program that the organization has."""

    organization: Organization
    day: date
    documents: frozenset[str]
    others: tuple[str, ...]


_running: list[Callable[[Application], list[str]]] = [lambda application: []]


def ask_about_grants(of: Callable[[Application], list[str]]) -> None:
    """Whoever knows grants tells which of them run: `of(application)` gives the numbers of the applicant's other ones
    in the same program."""
    _running[0] = of


def facts_of(application: Application, documents: set[str]) -> Facts:
    """The facts as they are now. `documents` are the codes of the files of the latest submission."""
    return Facts(
        organization=Organization.objects.get(pk=application.organization_id),
        day=application.call.closes_at.astimezone(SEOUL).date(),
        documents=frozenset(documents),
        others=tuple(_running[0](application)),
    )


def answer(rule: EligibilityRule, facts: Facts) -> Found:
    """What the machine says of one rule."""
    return _CHECKS[RuleKind(rule.kind)](list(rule.value), facts)


def _kind(wanted: list[Any], facts: Facts) -> Found:
    kind = facts.organization.kind
    return (Answer.PASS if kind in wanted else Answer.FAIL), {"kind": kind}


def _region(wanted: list[Any], facts: Facts) -> Found:
    region = facts.organization.region
    return (Answer.PASS if region in wanted else Answer.FAIL), {"region": region}


def _founded(wanted: list[Any], facts: Facts) -> Found:
    founded, (years,) = facts.organization.founded_on, wanted
    detail = {"founded_on": founded.isoformat() if founded else None}
    if founded is None:
        return Answer.UNKNOWN, detail
    return (Answer.PASS if _later(founded, years) >= facts.day else Answer.FAIL), detail


def _document(wanted: list[Any], facts: Facts) -> Found:
    (code,) = wanted
    return (Answer.PASS if code in facts.documents else Answer.FAIL), {"code": code}


def _no_double_funding(_wanted: list[Any], facts: Facts) -> Found:
    return (Answer.FAIL if facts.others else Answer.PASS), {"others": list(facts.others)[:20]}


_CHECKS: dict[RuleKind, Callable[[list[Any], Facts], Found]] = {
    RuleKind.ORGANIZATION_KIND: _kind,
    RuleKind.REGION: _region,
    RuleKind.FOUNDED_WITHIN: _founded,
    RuleKind.DOCUMENT: _document,
    RuleKind.NO_DOUBLE_FUNDING: _no_double_funding,
}


def _later(day: date, years: int) -> date:
    """The same day so many years later; the 29th of February becomes the 1st of March."""
    try:
        return day.replace(year=min(day.year + years, 9999))
    except ValueError:
        return date(min(day.year + years, 9999), 3, 1)


def value_problem(kind: str, value: Any, *, files: set[str] | None = None) -> str:
    """What is wrong with the value of a rule; "" where nothing is. `files` are the codes of the form's files."""
    known: dict[str, Any] = {RuleKind.ORGANIZATION_KIND: OrganizationKind.values, RuleKind.REGION: Region.values}
    if not isinstance(value, list):
        return _("The value of a rule is a list.")
    if kind in known:
        fits = bool(value) and all(isinstance(one, str) and one in known[kind] for one in value)
        return "" if fits else _("Name at least one, and only those that exist.")
    if kind == RuleKind.FOUNDED_WITHIN:
        fits = len(value) == 1 and type(value[0]) is int and 1 <= value[0] <= 100
        return "" if fits else _("Name a number of years between 1 and 100.")
    if kind == RuleKind.DOCUMENT:
        fits = len(value) == 1 and isinstance(value[0], str) and len(value[0]) <= 40
        fits = fits and (files is None or value[0] in files)
        return "" if fits else _("Name one file that the form asks for.")
    return "" if value == [] else _("This rule has no value.")


def wanted_text(rule: EligibilityRule, labels: Mapping[str, str]) -> str:
    """What a rule asks for, in words. `labels` are the questions of the form by code."""
    value = list(rule.value)
    match rule.kind:
        case RuleKind.ORGANIZATION_KIND:
            return ", ".join(str(OrganizationKind(one).label) for one in value)
        case RuleKind.REGION:
            return ", ".join(str(Region(one).label) for one in value)
        case RuleKind.FOUNDED_WITHIN:
            return _("founded at most %(years)s years before the deadline") % {"years": value[0]}
        case RuleKind.DOCUMENT:
            return labels.get(value[0], value[0])
    return _("no other grant of this program at the same time")


def detail_text(rule: EligibilityRule, detail: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """The facts that an answer of the machine rests on, in words."""
    match rule.kind:
        case RuleKind.ORGANIZATION_KIND if "kind" in detail:
            return str(OrganizationKind(detail["kind"]).label)
        case RuleKind.REGION if "region" in detail:
            return str(Region(detail["region"]).label)
        case RuleKind.FOUNDED_WITHIN if "founded_on" in detail:
            if not detail["founded_on"]:
                return _("The organization hasn't said when it was founded.")
            return _("founded on %(day)s") % {"day": detail["founded_on"]}
        case RuleKind.DOCUMENT if "code" in detail:
            return labels.get(detail["code"], detail["code"])
        case RuleKind.NO_DOUBLE_FUNDING if detail.get("others"):
            return ", ".join(detail["others"])
    return ""


def labels_of(fields: list[dict[str, Any]]) -> dict[str, str]:
    return {spec["code"]: said(spec, "label") for spec in fields}


def unsettled(call: Call, latest: Mapping[int, str]) -> list[EligibilityRule]:
    """The rules of the call that don't stand at pass. `latest` is the latest answer by rule."""
    return [rule for rule in call.rules.all() if latest.get(rule.pk) != Answer.PASS]
