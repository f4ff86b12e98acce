"""The text of an agreement, made from its terms. Both have one digest: what is signed is all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.template.loader import render_to_string
from django.utils import translation

from madang.catalog.models import Resource
from madang.grants.models import Allocation, Grant
from madang.grants.terms import Price, total
from madang.web import amounts

SEOUL = ZoneInfo("Asia/Seoul")
REPORT_DAYS = 30  # after the last day of use, what came of it is to be reported


def terms_of(grant: Grant, allocations: Iterable[Allocation]) -> dict[str, Any]:
    """Everything that is agreed, as data: parties, days, and the line of each allocation with its price."""
    organization, call = grant.organization, grant.application.call
    lines = [line_of(allocation) for allocation in allocations]
    whole = total(Price(line["list_krw"], line["reduction_krw"]) for line in lines)
    owners = {a.resource.owner_id: a.resource.owner for a in allocations}
    last = grant.last_day
    return {
        "number": grant.number,
        "title": grant.title,
        "call": {"code": call.code, "title_ko": call.title_ko, "title_en": call.title_en or call.title_ko},
        "providers": [{"name_ko": o.name_ko, "name_en": o.name_en or o.name_ko} for o in owners.values()],
        "organization": {
            "name_ko": organization.name_ko,
            "name_en": organization.name_en or organization.name_ko,
            "business_number": organization.business_number_written,
        },
        "from": grant.starts_at.astimezone(SEOUL).date().isoformat(),
        "until": last.isoformat(),
        "overrun": call.overrun,
        "report_by": (last + timedelta(days=REPORT_DAYS)).isoformat(),
        "lines": lines,
        "total": _figures(whole),
    }


def line_of(allocation: Allocation) -> dict[str, Any]:
    resource: Resource = allocation.resource
    return {
        "resource": resource.code,
        "name_ko": resource.name_ko,
        "name_en": resource.name_en or resource.name_ko,
        "unit": resource.unit,
        "amount": allocation.amount,
        "discount_ko": allocation.discount_ko,
        "discount_en": allocation.discount_en or allocation.discount_ko,
        **_figures(Price(allocation.list_krw, allocation.reduction_krw)),
    }


def _figures(price: Price) -> dict[str, int | None]:
    return {
        "list_krw": price.list_krw,
        "reduction_krw": price.reduction_krw,
        "own_share_krw": price.own_share_krw,
    }


def digest_of(text_ko: str, text_en: str, terms: dict[str, Any]) -> str:
    """SHA-256 over both texts and the terms, in canonical JSON."""
    content = {"text_ko": text_ko, "text_en": text_en, "terms": terms}
    canonical = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def articles(text: str) -> list[tuple[str, str]]:
    """(heading, body) of each article: blocks between empty lines, the first line of each its heading."""
    blocks = (block.partition("\n") for block in text.split("\n\n"))
    return [(heading, body) for heading, _newline, body in blocks]


def text_of(terms: dict[str, Any], language: str) -> str:
    """The articles in one language ("ko" or "en")."""
    with translation.override(language):
        written = [
            f"{line[f'name_{language}']} ({amounts.written(line['amount'], line['unit'])})" for line in terms["lines"]
        ]
    reasons = sorted({line[f"discount_{language}"] for line in terms["lines"]} - {""})
    facts = {
        "terms": terms,
        "providers": ", ".join(provider[f"name_{language}"] for provider in terms["providers"]),
        "written": ", ".join(written),
        "reasons": ", ".join(reasons),
    }
    return render_to_string(f"grants/agreement_{language}.txt", facts).strip()
