"""The text of an agreement, made from its terms. Text and terms together have one digest: what is signed is all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

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
    last = grant.ends_at.astimezone(SEOUL).date() - timedelta(days=1)
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


def _written(terms: dict[str, Any], language: str) -> list[str]:
    with translation.override(language):
        return [
            f"{line[f'name_{language}']} {amounts.written(line['amount'], line['unit'])}" for line in terms["lines"]
        ]


def text_ko(terms: dict[str, Any]) -> str:
    providers = ", ".join(p["name_ko"] for p in terms["providers"])
    organization, money = terms["organization"], terms["total"]
    if money["list_krw"] is None:
        fee = "이 협약으로 받는 자원에는 이용료가 없습니다."
    else:
        reasons = sorted({line["discount_ko"] for line in terms["lines"] if line["discount_ko"]})
        reason = f"({', '.join(reasons)})" if reasons else ""
        fee = (
            f"이용료는 정가 ₩{money['list_krw']:,}에서 감면 ₩{money['reduction_krw']:,}{reason}을 뺀 "
            f"자부담 ₩{money['own_share_krw']:,}입니다. 요율이 없는 항목에는 이용료가 없습니다."
        )
    return "\n\n".join(
        [
            f"제1조(목적)\n이 협약은 공고 「{terms['call']['title_ko']}」에서 선정된 과제 「{terms['title']}」에 전담기관 "
            f"{providers}이(가) 자원을 지원하고, 수행기관 {organization['name_ko']}(사업자등록번호 "
            f"{organization['business_number']})이(가) 이를 사용하고 성과를 보고하는 데 필요한 사항을 정합니다.",
            f"제2조(협약 기간)\n협약 기간은 {terms['from']}부터 {terms['until']}까지이며, 할당량은 이 기간에만 쓸 수 있습니다.",
            f"제3조(지원 내용)\n전담기관은 다음 자원을 지원합니다: {'; '.join(_written(terms, 'ko'))}. 항목별 할당량과 금액은 "
            "아래 표와 같습니다. 할당량은 이 협약에 서명하는 즉시 원장에 부여됩니다.",
            f"제4조(이용료와 자부담)\n{fee}",
            "제5조(사용)\n자원은 과제의 목적으로만 쓰며, 다른 기관에 넘기거나 빌려줄 수 없습니다. 사용 전에 사용 예정량을 "
            "임시 확보하고, 실제 사용량만 확정하며, 나머지는 돌려드립니다. 임시 확보한 양을 넘는 사용은 초과 사용으로 "
            "원장에 따로 기입합니다. 협약 기간이 끝나면 남은 할당량은 회수합니다.",
            "제6조(성과 보고)\n수행기관은 신규고용, 매출, 제품·서비스, 특허, 투자유치 등의 성과를 증빙과 함께 보고하며, 늦어도 "
            f"{terms['report_by']}까지 보고를 마칩니다. 전담기관은 증빙을 확인하고 결과를 성과지표에 반영합니다.",
            "제7조(정보 보호)\n수행기관은 개인정보 보호법 등 관계 법령을 지키고, 접근 권한을 제3자와 함께 쓰지 않습니다. "
            "전담기관은 수행기관의 자료와 결과를 허락 없이 공개하지 않습니다.",
            "제8조(정지와 해약)\n거짓으로 신청했거나 목적 외로 사용하면 전담기관은 사유를 적어 할당을 정지하거나 협약을 "
            "해약할 수 있습니다. 수행기관은 언제든지 사용을 멈추고 해약을 요청할 수 있습니다.",
            "제9조(협약변경)\n이 협약은 새로운 판에 서명해야만 바뀝니다. 이전 판은 그대로 보존합니다.",
            "제10조(효력)\n이 협약은 수행기관을 대표할 권한이 있는 사람이 서명한 때부터 효력이 있습니다.",
        ]
    )


def text_en(terms: dict[str, Any]) -> str:
    providers = ", ".join(p["name_en"] for p in terms["providers"])
    organization, money = terms["organization"], terms["total"]
    if money["list_krw"] is None:
        fee = "There is no usage fee for the resources under this agreement."
    else:
        reasons = sorted({line["discount_en"] for line in terms["lines"] if line["discount_en"]})
        reason = f" ({', '.join(reasons)})" if reasons else ""
        fee = (
            f"The usage fee is the list price of ₩{money['list_krw']:,} less a reduction of "
            f"₩{money['reduction_krw']:,}{reason}: an own share of ₩{money['own_share_krw']:,}. A line without a rate "
            "has no usage fee."
        )
    return "\n\n".join(
        [
            f"Article 1 (Purpose)\nUnder the call “{terms['call']['title_en']}”, {providers} (the managing agency) supports "
            f"the project “{terms['title']}” of {organization['name_en']}, business registration number "
            f"{organization['business_number']} (the performing organization). This agreement says what is lent, how it is "
            "used and how its outcomes are reported.",
            f"Article 2 (Period)\nThe agreement runs from {terms['from']} until {terms['until']}. What is allocated can be used "
            "on these days only.",
            f"Article 3 (Support)\nThe managing agency lends: {'; '.join(_written(terms, 'en'))}. The table below gives the "
            "amount and the price of each line. The amounts are granted in the ledger as soon as this agreement is signed.",
            f"Article 4 (Usage fee and own share)\n{fee}",
            "Article 5 (Use)\nThe resources serve the purpose of the project only, and can't be passed on to others. Before a "
            "use, the most that it may take is held; what was really used is settled, and the rest is released. What goes "
            "beyond a hold is entered in the ledger as an overrun. What is left at the end of the period is reclaimed.",
            "Article 6 (Reporting)\nThe performing organization reports outcomes (new hires, revenue, products and services, "
            f"patents, investment raised) with evidence, and has done so by {terms['report_by']} at the latest. The managing "
            "agency checks the evidence and counts what it has verified.",
            "Article 7 (Protection of information)\nThe performing organization keeps the Personal Information Protection Act "
            "and other law, and shares its access with nobody. The managing agency publishes neither the data nor the "
            "results of the performing organization without its consent.",
            "Article 8 (Suspension and termination)\nAfter a false application or off-purpose use, the managing agency may "
            "suspend an allocation or terminate the agreement, and states the reason. The performing organization may stop "
            "and ask for termination at any time.",
            "Article 9 (Amendment)\nThis agreement changes only by a newer version that is signed. Earlier versions are kept.",
            "Article 10 (Effect)\nThis agreement takes effect when a person who may represent the performing organization "
            "signs it.",
        ]
    )
