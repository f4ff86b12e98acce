"""What was used in a month and what it costs, as FOCUS 1.2 says it: a table that tools for the costs of clouds read.

A row is what the ledger booked in the month about one allocation, of one kind, on one day. The entries are asked, not
the sums of use by the clock: use that is reported after a month was closed counts in the open one, so the file of a
closed month stays what it was, and its quantities add up to what the ledger says, exactly.

| FOCUS | here |
|---|---|
| billing account | the program |
| sub account | the grant; the organization is in x_OrganizationId and x_OrganizationName |
| billing period | the month in which the ledger booked it |
| charge period | the day on which the use ended, in Seoul |
| Usage | what was used, covered or not, less what was refunded; `Correction` where it belongs to a closed month |
| Purchase | what was granted, less what was reclaimed: without costs, so that no amount is counted twice |
| Adjustment | what was transferred between allocations |
| ListCost | the catalog's rate of the day; 0 where the resource has none |
| ContractedCost, EffectiveCost, BilledCost | the part of the own share that this use stands for, as agreed |
| x_AllocatedListCost, x_AllocatedOwnShare | of a purchase: the price of all that was granted, used or not |
| x_Reduction | ListCost - BilledCost, always; all of it where nothing covered the use |

The own share that an agreement names is of all that was granted, used or not: that is what the organization has agreed
to, and what x_AllocatedOwnShare says when it is granted (and takes back with what is reclaimed, which changes no
agreement). BilledCost spreads the same sum over what was used of it. They are never added: cost that was allocated and
cost that was used are two questions. Neither is an invoice, as no money is taken here.

Costs are whole won: list costs are rounded up and own shares down, as in the agreement. Columns that the specification
asks for under a condition, and that don't apply here (commitments, capacity reservations, other currencies,
tags), are left out, as it says. Names are the Korean ones, whoever asks: one file is the same for everybody.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import translation
from django.utils.translation import gettext as _

from madang.catalog.models import Kind, Rate
from madang.grants.models import Allocation
from madang.grants.queries import overseen
from madang.identity.access import access_of
from madang.identity.models import Region, Role
from madang.ledger.queries import Booked, booked_in
from madang.workflow.errors import NotAllowed, Refused

SEOUL = ZoneInfo("Asia/Seoul")
READERS = (Role.OFFICER, Role.AUDITOR, Role.EXECUTIVE)
TEXT, NUMBER, INSTANT = "VARCHAR", "DECIMAL(38, 9)", "TIMESTAMP"
# Name → type, in the order of the specification, then our own.
COLUMNS = {
    "AvailabilityZone": TEXT,
    "BilledCost": NUMBER,
    "BillingAccountId": TEXT,
    "BillingAccountName": TEXT,
    "BillingAccountType": TEXT,
    "BillingCurrency": TEXT,
    "BillingPeriodEnd": INSTANT,
    "BillingPeriodStart": INSTANT,
    "ChargeCategory": TEXT,
    "ChargeClass": TEXT,
    "ChargeDescription": TEXT,
    "ChargeFrequency": TEXT,
    "ChargePeriodEnd": INSTANT,
    "ChargePeriodStart": INSTANT,
    "ConsumedQuantity": NUMBER,
    "ConsumedUnit": TEXT,
    "ContractedCost": NUMBER,
    "ContractedUnitPrice": NUMBER,
    "EffectiveCost": NUMBER,
    "InvoiceId": TEXT,
    "InvoiceIssuerName": TEXT,
    "ListCost": NUMBER,
    "ListUnitPrice": NUMBER,
    "PricingCategory": TEXT,
    "PricingQuantity": NUMBER,
    "PricingUnit": TEXT,
    "ProviderName": TEXT,
    "PublisherName": TEXT,
    "RegionId": TEXT,
    "RegionName": TEXT,
    "ResourceId": TEXT,
    "ResourceName": TEXT,
    "ResourceType": TEXT,
    "ServiceCategory": TEXT,
    "ServiceName": TEXT,
    "ServiceSubcategory": TEXT,
    "SkuId": TEXT,
    "SkuMeter": TEXT,
    "SkuPriceDetails": TEXT,
    "SkuPriceId": TEXT,
    "SubAccountId": TEXT,
    "SubAccountName": TEXT,
    "SubAccountType": TEXT,
    "x_AllocatedListCost": NUMBER,
    "x_AllocatedOwnShare": NUMBER,
    "x_AllocationId": TEXT,
    "x_OrganizationId": TEXT,
    "x_OrganizationName": TEXT,
    "x_ProgramYear": TEXT,
    "x_Reduction": NUMBER,
    "x_ReductionReason": TEXT,
    "x_Region": TEXT,
    "x_Sector": TEXT,
}
Row = dict[str, Any]
SERVICE = {
    Kind.COMPUTE: ("Compute", "Other (Compute)", "GPU compute"),
    Kind.STORAGE: ("Storage", "File Storage", "Storage"),
    Kind.INSTRUMENT: ("Other", "Other (Other)", "Test instruments"),
    Kind.SPACE: ("Other", "Other (Other)", "Spaces"),
    Kind.SEAT: ("Other", "Other (Other)", "Academy"),
    Kind.DATASET: ("Analytics", "Other (Analytics)", "Datasets"),
    Kind.FUND: ("Other", "Other (Other)", "Funds"),
    Kind.MENTOR: ("Other", "Other (Other)", "Mentoring"),
    Kind.SITE: ("Other", "Other (Other)", "Demonstration sites"),
    Kind.PERMIT: ("Other", "Other (Other)", "Regulatory permits"),
    Kind.EVALUATION: ("AI and Machine Learning", "Other (AI and Machine Learning)", "Model evaluation"),
}
# Our smallest units, as the specification writes units; and the larger one that so many of them make.
UNITS = {
    "gpu_second": ("GPU-Seconds", {3600: "GPU-Hours"}),
    "mb_hour": ("MB-Hours", {24: "MB-Days", 1000: "GB-Hours", 24_000: "GB-Days", 24_000_000: "TB-Days"}),
    "minute": ("Minutes", {60: "Hours"}),
    "m2_day": ("Square Meter-Days", {}),
    "seat": ("Seats", {}),
    "access": ("Accesses", {}),
    "krw": ("Won", {}),
    "day": ("Days", {}),
    "case": ("Cases", {}),
    "run": ("Runs", {}),
}
USES = {"settle", "charge", "refund", "overrun"}
PURCHASES = {"grant", "reclaim"}
NINE = Decimal("0.000000001")


def may_export(person: Any) -> bool:
    access = access_of(person)
    return bool(access.organizations) or any(access.somewhere(role) for role in READERS)


def rows(person: Any, month: date) -> Iterator[Row]:
    """The rows of the month that begins on this day: of the programs that one oversees, and of one's own organizations.

    Three SQL statements, before the first row is given. NotAllowed for who has neither.
    """
    if not may_export(person):
        raise NotAllowed(_("There is nothing here that you could export."))
    month = month.replace(day=1)
    grants = overseen(person, roles=READERS, own=True)
    found = Allocation.objects.filter(grant__in=grants, account__isnull=False).select_related(
        "resource__owner", "resource__place", "grant__organization", "grant__program"
    )
    allocations = {row.account: row for row in found}
    booked = booked_in(month, [account for account in allocations if account is not None])
    rates: dict[int, list[Rate]] = {}
    for rate in Rate.objects.filter(resource__in={allocations[row.account].resource_id for row in booked}):
        rates.setdefault(rate.resource_id, []).append(rate)
    with translation.override("ko"):
        words = {
            "settle": _("use"),
            "refund": _("refund"),
            "overrun": _("use beyond the allocation"),
            "grant": _("granted"),
            "reclaim": _("reclaimed"),
            "transfer": _("transferred"),
        }
    words["charge"] = words["settle"]

    def row(what: Booked) -> Row:
        allocation = allocations[what.account]
        known = rates.get(allocation.resource_id, [])
        rate = next((rate for rate in known if what.day in rate.days), None)
        return _row(month, what, allocation, rate, words)

    return map(row, booked)


@dataclass(frozen=True)
class Cost:
    """In whole won, signed as the amount is: list = own + reduction."""

    list: int = 0
    own: int = 0

    @property
    def reduction(self) -> int:
        return self.list - self.own


def cost_of(booked: Booked, allocation: Allocation, rate: Rate | None) -> Cost:
    """What use costs. What was granted or moved costs nothing by itself."""
    if booked.kind not in USES:
        return Cost()
    sign, amount = (-1 if booked.amount < 0 else 1), abs(booked.amount)
    covered = booked.kind != "overrun"
    own = amount * (allocation.own_share_krw or 0) // allocation.amount if covered else 0
    return Cost(sign * (rate.price_of(amount) if rate else 0), sign * own)


def _row(month: date, booked: Booked, allocation: Allocation, rate: Rate | None, words: dict[str, str]) -> Row:
    grant, resource = allocation.grant, allocation.resource
    organization, owner, place = grant.organization, resource.owner, resource.place
    category, subcategory, service = SERVICE[Kind(resource.kind)]
    used, purchased = booked.kind in USES, booked.kind in PURCHASES
    cost = cost_of(booked, allocation, rate)
    unit, larger = UNITS[resource.unit]
    per = rate.per_amount if rate and used else 1
    covered = booked.kind != "overrun"
    agreed = Decimal((allocation.own_share_krw or 0) * per) / allocation.amount if used and covered else Decimal(0)
    reason = words["overrun"] if not covered else allocation.discount_ko
    next_month = (month + timedelta(days=31)).replace(day=1)
    row: Row = {
        "AvailabilityZone": place.code if place else None,
        "BilledCost": cost.own,
        "BillingAccountId": grant.program.code,
        "BillingAccountName": grant.program.name_ko,
        "BillingAccountType": "Program",
        "BillingCurrency": "KRW",
        "BillingPeriodEnd": _midnight(next_month),
        "BillingPeriodStart": _midnight(month),
        "ChargeCategory": "Usage" if used else "Purchase" if purchased else "Adjustment",
        "ChargeClass": "Correction" if booked.adjusts else None,
        "ChargeDescription": f"{resource.name_ko}: {words[booked.kind]}",
        "ChargeFrequency": "Usage-Based" if used else "One-Time",
        "ChargePeriodEnd": _midnight(booked.day + timedelta(days=1)),
        "ChargePeriodStart": _midnight(booked.day),
        "ConsumedQuantity": booked.amount if used else None,
        "ConsumedUnit": unit if used else None,
        "ContractedCost": cost.own,
        "ContractedUnitPrice": agreed.quantize(NINE) if used or purchased else None,
        "EffectiveCost": cost.own,
        "InvoiceId": None,
        "InvoiceIssuerName": owner.name_ko,
        "ListCost": cost.list,
        "ListUnitPrice": (rate.price_krw if rate and used else 0) if used or purchased else None,
        "PricingCategory": ("Standard" if covered else "Other") if used or purchased else None,
        "PricingQuantity": (Decimal(booked.amount) / per).quantize(NINE),
        "PricingUnit": unit if per == 1 else larger.get(per, f"{per} {unit}"),
        "ProviderName": owner.name_ko,
        "PublisherName": owner.name_ko,
        "RegionId": f"KR-{owner.region}",
        "RegionName": _region(owner.region),
        "ResourceId": resource.code,
        "ResourceName": resource.name_ko,
        "ResourceType": resource.kind,
        "ServiceCategory": category,
        "ServiceName": service,
        "ServiceSubcategory": subcategory,
        "SkuId": resource.code,
        "SkuMeter": unit,
        "SkuPriceDetails": None,
        "SkuPriceId": f"{resource.code}/{rate.pk if rate and used else 0}",
        "SubAccountId": grant.number,
        "SubAccountName": grant.title,
        "SubAccountType": "Grant",
        "x_AllocatedListCost": _part(allocation, allocation.list_krw, booked) if purchased else None,
        "x_AllocatedOwnShare": _part(allocation, allocation.own_share_krw, booked) if purchased else None,
        "x_AllocationId": str(allocation.pk),
        "x_OrganizationId": organization.business_number,
        "x_OrganizationName": organization.name_ko,
        "x_ProgramYear": str(booked.day.year),
        "x_Reduction": cost.reduction,
        "x_ReductionReason": reason if cost.reduction and reason else None,
        "x_Region": f"KR-{organization.region}",
        "x_Sector": resource.sector or None,
    }
    return row


def _part(allocation: Allocation, krw: int | None, booked: Booked) -> int | None:
    """The part of what the whole allocation costs that so much of it stands for."""
    if krw is None:
        return None
    part = abs(booked.amount) * krw // allocation.amount
    return part if booked.amount > 0 else -part


def _region(code: str) -> str:
    with translation.override("ko"):
        return str(Region(code).label)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), SEOUL).astimezone(UTC)


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(value)


def _safe(value: Any) -> str:
    """A spreadsheet takes a leading = + - @ of a text for a formula: a quote before it keeps it a text."""
    text = _written(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "-", "@") else text


class _Line:
    """What csv writes to: the line is given back instead."""

    def write(self, line: str) -> str:
        return line


def csv_lines(found: Iterable[Row], cell: Any = _safe) -> Iterator[str]:
    """The table as CSV, a line at a time. What has no value is empty."""
    table = csv.writer(_Line())
    yield table.writerow(COLUMNS)
    for row in found:
        yield table.writerow([cell(row[name]) for name in COLUMNS])


def parquet(found: Iterable[Row], folder: Path) -> Path:
    """The table as a Parquet file in `folder`. Refused where the extra that writes it isn't installed."""
    try:
        import duckdb
    except ImportError:
        raise Refused(
            _("This site can't write Parquet: its operator has to install the extra “data”. CSV holds the same."),
            field="format",
        ) from None
    source, target = folder / "focus.csv", folder / "focus.parquet"
    with source.open("w", encoding="utf-8", newline="") as file:
        file.writelines(csv_lines(found, _written))
    with duckdb.connect(config={"threads": 1}) as connection:
        read = (
            "read_csv(?, columns = ?, header = true, auto_detect = false, nullstr = '', delim = ',', quote = '\"',"
            " escape = '\"', timestampformat = '%Y-%m-%dT%H:%M:%SZ')"
        )
        connection.execute(f"CREATE TEMP TABLE focus AS FROM {read}", [str(source), COLUMNS])
        connection.execute("COPY focus TO $1 (FORMAT parquet, COMPRESSION zstd)", [str(target)])
    return target


def parquet_bytes(found: Iterable[Row]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return parquet(found, Path(folder)).read_bytes()
