"""FOCUS 1.2 as far as it can be checked on a table: https://focus.finops.org/focus-specification/v1-2/

Its columns with level (Mandatory, Recommended, Conditional), whether they may be null, and type; its allowed values;
and the rules that tie columns to each other.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

COLUMNS = """
AvailabilityZone R null String
BilledCost M - Decimal
BillingAccountId M - String
BillingAccountName M null String
BillingAccountType C - String
BillingCurrency M - String
BillingPeriodEnd M - Date/Time
BillingPeriodStart M - Date/Time
CapacityReservationId C null String
CapacityReservationStatus C null String
ChargeCategory M - String
ChargeClass M null String
ChargeDescription M null String
ChargeFrequency R - String
ChargePeriodEnd M - Date/Time
ChargePeriodStart M - Date/Time
CommitmentDiscountCategory C null String
CommitmentDiscountId C null String
CommitmentDiscountName C null String
CommitmentDiscountQuantity C null Decimal
CommitmentDiscountStatus C null String
CommitmentDiscountType C null String
CommitmentDiscountUnit C null String
ConsumedQuantity C null Decimal
ConsumedUnit C null String
ContractedCost M - Decimal
ContractedUnitPrice C null Decimal
EffectiveCost M - Decimal
InvoiceId R null String
InvoiceIssuerName M - String
ListCost M - Decimal
ListUnitPrice C null Decimal
PricingCategory C null String
PricingCurrency C null String
PricingCurrencyContractedUnitPrice C null Decimal
PricingCurrencyEffectiveCost C null Decimal
PricingCurrencyListUnitPrice C null Decimal
PricingQuantity M null Decimal
PricingUnit M null String
ProviderName M - String
PublisherName M - String
RegionId C null String
RegionName C null String
ResourceId C null String
ResourceName C null String
ResourceType C null String
ServiceCategory M - String
ServiceName M - String
ServiceSubcategory R - String
SkuId C null String
SkuMeter C null String
SkuPriceDetails C null JSON
SkuPriceId C null String
SubAccountId C null String
SubAccountName C null String
SubAccountType C null String
Tags C null JSON
"""
SPEC = {
    name: (level, nullable == "null", type) for name, level, nullable, type in map(str.split, COLUMNS.split("\n")[1:-1])
}
ALLOWED = {
    "BillingCurrency": {"KRW"},
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"Standard", "Dynamic", "Committed", "Other"},
}
SERVICES = {
    ("AI and Machine Learning", "Other (AI and Machine Learning)"),
    ("Analytics", "Other (Analytics)"),
    ("Compute", "Other (Compute)"),
    ("Storage", "File Storage"),
    ("Other", "Other (Other)"),
}
INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
NUMBER = re.compile(r"-?\d+(\.\d+)?")
PRICED = ("SkuId", "SkuPriceId", "ListUnitPrice", "ContractedUnitPrice", "PricingCategory", "PricingQuantity")


def problems(table: list[dict[str, str]], columns: list[str]) -> list[str]:
    """What is wrong with a table as it is read from CSV: an empty cell is null."""
    ours = [name for name in columns if not name.startswith("x_")]
    found = [f"{name} is missing" for name, (level, *_) in SPEC.items() if level == "M" and name not in columns]
    found += [f"{name} is no column of FOCUS" for name in ours if name not in SPEC]
    if ours != sorted(ours, key=list(SPEC).index) or columns[: len(ours)] != ours:
        found.append("the columns are in another order")
    for number, row in enumerate(table):
        found += [f"row {number}: {what}" for what in _wrong(row)]
    return found


def _wrong(row: dict[str, str]) -> list[str]:
    found = []
    for name, value in row.items():
        _level, nullable, type = SPEC.get(name, ("", True, ""))
        if not value:
            if not nullable:
                found.append(f"{name} is null")
            continue
        if type == "Date/Time" and not INSTANT.fullmatch(value):
            found.append(f"{name} is no instant in UTC: {value}")
        if type == "Decimal" and not NUMBER.fullmatch(value):
            found.append(f"{name} is no number: {value}")
        if name in ALLOWED and value not in ALLOWED[name]:
            found.append(f"{name} can't be {value}")
    if (row["ServiceCategory"], row["ServiceSubcategory"]) not in SERVICES:
        found.append("no such service category and subcategory")
    return found + _untied(row)


def _untied(row: dict[str, str]) -> list[str]:
    usage, charged = row["ChargeCategory"] == "Usage", row["ChargeCategory"] in ("Usage", "Purchase")
    rules = {
        "ConsumedQuantity stands on usage alone": bool(row["ConsumedQuantity"]) == usage,
        "a quantity has a unit": bool(row["ConsumedQuantity"]) == bool(row["ConsumedUnit"])
        and bool(row["PricingQuantity"]) == bool(row["PricingUnit"]),
        "usage and purchases are priced": not charged or row["ChargeClass"] != "" or all(row[name] for name in PRICED),
        "a purchase isn't usage-based": row["ChargeCategory"] != "Purchase" or row["ChargeFrequency"] != "Usage-Based",
        "a purchase that covers future use has no effective cost": row["ChargeCategory"] != "Purchase"
        or _number(row, "EffectiveCost") == 0,
        "what isn't priced costs the same by every name": row["ListUnitPrice"] != ""
        or row["ListCost"] == row["ContractedCost"] == row["BilledCost"],
        "unit prices aren't negative": not any(
            row[name].startswith("-") for name in ("ListUnitPrice", "ContractedUnitPrice")
        ),
        "list cost is price times quantity": _close(row, "ListUnitPrice", "ListCost"),
        "contracted cost is price times quantity": _close(row, "ContractedUnitPrice", "ContractedCost"),
        "periods begin before they end": row["ChargePeriodStart"] < row["ChargePeriodEnd"]
        and row["BillingPeriodStart"] < row["BillingPeriodEnd"],
        "what has an id has a type": bool(row["SubAccountId"]) == bool(row["SubAccountType"])
        and bool(row["ResourceId"]) == bool(row["ResourceType"]),
    }
    return [rule for rule, kept in rules.items() if not kept]


def _number(row: dict[str, str], name: str) -> Decimal:
    try:
        return Decimal(row[name] or 0)
    except InvalidOperation:
        return Decimal("NaN")


def _close(row: dict[str, str], price: str, cost: str) -> bool:
    """To the won: KRW has nothing smaller."""
    if row["ChargeClass"] or not row[price]:
        return True
    difference = _number(row, price) * _number(row, "PricingQuantity") - _number(row, cost)
    return not difference.is_nan() and abs(difference) < Decimal("1.001")
