"""What a call consists of. Each verb replaces the whole list, and only while the call is a draft."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.db import models
from django.utils.translation import gettext as _

from madang.calls import answers, eligibility, publishing
from madang.calls.actions.calls import require_officer
from madang.calls.locks import lock
from madang.calls.models import (
    Call,
    CallLine,
    Criterion,
    Discount,
    DiscountRule,
    EligibilityRule,
    FormVersion,
)
from madang.catalog.models import Resource
from madang.identity.models import OrganizationKind, Person, Region
from madang.identity.rows import write
from madang.workflow.errors import Refused
from madang.workflow.log import act

Row = TypeVar("Row", bound=models.Model)
MOST = 50


def set_lines(actor: Person, *, call: Call, lines: Sequence[Mapping[str, Any]]) -> list[CallLine]:
    """What can be asked for: {resource, most, total, note_ko, note_en}; amounts in the resource's smallest unit."""

    def one(line: Mapping[str, Any]) -> tuple[CallLine, dict[str, Any]]:
        resource = line.get("resource")
        if not isinstance(resource, Resource):
            resource = Resource.objects.filter(pk=resource).first() if isinstance(resource, int) else None
        if resource is None:
            raise Refused(_("There is no such resource."), field="resource")
        most, total = line.get("most"), line.get("total")
        for name, amount in (("most", most), ("total", total)):
            if not isinstance(amount, int) or not 0 < amount <= answers.BIG:
                raise Refused(_("This must be more than nothing."), field=name)
        if (total or 0) < (most or 0):
            raise Refused(_("Not less than one application may ask for."), field="total")
        return CallLine(call=call, resource=resource), {"most": most, "total": total, **_texts(line, "note")}

    return _replaced(actor, call, "set_lines", call.lines, lines, one)


def set_discounts(actor: Person, *, call: Call, discounts: Sequence[Mapping[str, Any]]) -> list[Discount]:
    """Reductions of the list price: {name_ko, name_en, percent, rule, value}."""

    def one(discount: Mapping[str, Any]) -> tuple[Discount, dict[str, Any]]:
        rule, value = discount.get("rule"), discount.get("value") or ""
        which: dict[Any, list[str]] = {DiscountRule.REGION: Region.values, DiscountRule.KIND: OrganizationKind.values}
        known = which.get(rule, [""])
        if value not in known:
            raise Refused(_("Name one that exists."), field="value")
        percent = discount.get("percent")
        if not isinstance(percent, int) or not 1 <= percent <= 100:
            raise Refused(_("Between 1 and 100."), field="percent")
        return Discount(call=call), {"percent": percent, "rule": rule, "value": value, **_texts(discount, "name")}

    return _replaced(actor, call, "set_discounts", call.discounts, discounts, one)


def set_criteria(actor: Person, *, call: Call, criteria: Sequence[Mapping[str, Any]]) -> list[Criterion]:
    """What reviewers score: {code, name_ko, name_en, hint_ko, hint_en, points, least}."""

    def one(criterion: Mapping[str, Any]) -> tuple[Criterion, dict[str, Any]]:
        points, least = criterion.get("points"), criterion.get("least") or 0
        if not isinstance(points, int) or not 1 <= points <= 1000:
            raise Refused(_("Between 1 and 1000."), field="points")
        if not isinstance(least, int) or not 0 <= least <= points:
            raise Refused(_("The minimum is at most the points."), field="least")
        facts = {"code": criterion.get("code"), "points": points, "least": least}
        return Criterion(call=call), {**facts, **_texts(criterion, "name"), **_texts(criterion, "hint")}

    return _replaced(actor, call, "set_criteria", call.criteria, criteria, one, ordered=True)


def set_rules(actor: Person, *, call: Call, rules: Sequence[Mapping[str, Any]]) -> list[EligibilityRule]:
    """Who may apply: {kind, value, citation_ko, citation_en}; `value` is a list."""

    def one(rule: Mapping[str, Any]) -> tuple[EligibilityRule, dict[str, Any]]:
        kind, value = rule.get("kind") or "", rule.get("value")
        if problem := eligibility.value_problem(kind, value):
            raise Refused(problem, field="value")
        return EligibilityRule(call=call, value=value), {"kind": kind, **_texts(rule, "citation")}

    return _replaced(actor, call, "set_rules", call.rules, rules, one, ordered=True)


def set_form(actor: Person, *, call: Call, fields: Any) -> FormVersion:
    """The questions, as `answers` describes them."""
    require_officer(actor, call)
    specs = answers.check_spec(fields)
    with act(actor, "set_form", on=call):
        lock(call)
        publishing.require_draft(call)
        form, _new = FormVersion.objects.update_or_create(call=call, number=1, defaults={"fields": specs})
    return form


def _texts(row: Mapping[str, Any], name: str) -> dict[str, str]:
    return {f"{name}_{tongue}": (row.get(f"{name}_{tongue}") or "").strip() for tongue in ("ko", "en")}


def _replaced(
    actor: Person,
    call: Call,
    verb: str,
    there: Any,
    rows: Sequence[Mapping[str, Any]],
    one: Callable[[Mapping[str, Any]], tuple[Row, dict[str, Any]]],
    *,
    ordered: bool = False,
) -> list[Row]:
    """All rows or none: every wrong input of every row is named, as "<index>.<name>"."""
    require_officer(actor, call)
    if len(rows) > MOST:
        raise Refused(_("At most %(most)s rows.") % {"most": MOST})
    errors: dict[str, Any] = {}
    made: list[Row] = []
    with act(actor, verb, on=call, count=len(rows)):
        lock(call)
        publishing.require_draft(call)
        there.all().delete()
        for index, given in enumerate(rows):
            try:
                row, facts = one(given)
                made.append(write(row, **facts, **({"order": index} if ordered else {})))
            except Refused as refused:
                named = refused.errors or {"": refused.message}
                errors |= {f"{index}.{name}".rstrip("."): message for name, message in named.items()}
        if errors:
            raise Refused(_("Check what is marked."), errors=errors)
    return made
