"""The API does what its description says, whatever is sent: as a member of a company, and as an officer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from ninja import Schema
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from madang.identity.models import ApiToken
from madang.wsgi import application
from tests.addresses import API_PUBLIC, api_addresses, places_of
from tests.world import World

pytestmark = [pytest.mark.xdist_group("openapi")]
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
QUICK = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", application)
schema.config.phases.coverage.enabled = False
turn = count()


@pytest.fixture
def tokens(world: World) -> Iterator[dict[str, str]]:
    """What the operations of an earlier test may have revoked is valid again."""
    yield world.tokens
    ApiToken.objects.update(revoked_at=None)


def ask(case: Any, world: World, token: str) -> None:
    """Every second time about things that are there: one's own, or the other company's."""
    number = next(turn)
    if case.path_parameters and number % 2:
        places = places_of(case.operation.path.removeprefix("/api/v1"), (world.a, world.b)[number % 4 == 3])
        case.path_parameters.update({name: str(value) for name, value in places[number // 4 % len(places)].items()})
    case.call_and_validate(checks=CHECKS, headers={"Authorization": f"Bearer {token}"})


@schema.parametrize()
@QUICK
def test_a_tenant_gets_what_the_description_says(case: Any, world: World, tokens: dict[str, str]) -> None:
    ask(case, world, tokens["tenant"])


@schema.parametrize()
@QUICK
def test_an_officer_gets_what_the_description_says(case: Any, world: World, tokens: dict[str, str]) -> None:
    ask(case, world, tokens["officer"])


def test_without_a_token_nothing_that_needs_one_answers(world: World) -> None:
    from django.test import Client

    opened = set()
    for address, methods in api_addresses(world.a):
        for method in methods:
            answer = getattr(Client(raise_request_exception=False), method)(
                address.path, content_type="application/json"
            )
            assert answer.status_code < 500, (method, address)
            if answer.status_code != 401:
                opened.add((method, address.name.removeprefix("api ")))
    assert {method for method, _path in opened} == {"get"}
    assert {path for _method, path in opened if "{" in path} <= API_PUBLIC


PUBLIC = {
    "/board/{code}",
    "/calls/{code}",
    "/catalog/resources/{code}",
    "/catalog/resources/{code}/rates",
    "/programs/{code}",
}


def test_every_name_in_the_description_is_of_one_shape() -> None:
    """Two rooms that call different things by one name would describe one of them wrongly."""
    shapes: dict[str, set[str]] = {}
    waiting = list(Schema.__subclasses__())
    while waiting:
        shape = waiting.pop()
        waiting += shape.__subclasses__()
        if shape.__module__.startswith("madang."):
            shapes.setdefault(shape.__name__, set()).add(json.dumps(shape.model_json_schema(), sort_keys=True))
    assert len(shapes) > 50
    assert [name for name, different in shapes.items() if len(different) > 1] == []
