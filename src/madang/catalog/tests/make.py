"""Resources for tests, added by the verbs that the pages call."""

from __future__ import annotations

from datetime import date
from itertools import count
from typing import Any

from madang.catalog import actions
from madang.catalog.models import Rate, Resource
from madang.identity.models import Organization
from madang.identity.tests import make

_number = count(1)


def resource(kind: str = "compute", **facts: Any) -> Resource:
    """A partition of 16 GPUs, or something else that the site's agency owns."""
    number = next(_number)
    compute = {"resource_class": f"h100-{number}", "capacity_per_hour": 16 * 3600} if kind == "compute" else {}
    owner = facts.pop("owner", None) or Organization.objects.filter(kind="agency").first() or make.agency()
    return actions.add_resource(
        facts.pop("actor", None) or make.operator(),
        kind=kind,
        owner=owner,
        **{
            "code": f"{kind}-{number}",
            "name_ko": f"자원 {number}",
            "name_en": f"Resource {number}",
            "source": "test",
            **compute,
            **facts,
        },
    )


def rate(resource: Resource, price_krw: int = 2000, per_amount: int = 3600, starts_on: date = date(2025, 1, 1)) -> Rate:
    """₩2,000 a GPU-hour since the first day of 2025."""
    return actions.set_rate(
        make.operator(),
        resource=resource,
        price_krw=price_krw,
        per_amount=per_amount,
        starts_on=starts_on,
        basis_ko="운영위원회 의결",
        basis_en="decision of the steering committee",
    )
