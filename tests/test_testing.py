"""No test is lost between collecting and running."""

from __future__ import annotations

import pytest

from madang import testing


def test_two_tests_of_one_id_end_the_run(request: pytest.FixtureRequest) -> None:
    twin = pytest.Function.from_parent(request.node.parent, name=request.node.name)
    with pytest.raises(pytest.UsageError, match=request.node.name):
        testing.pytest_collection_modifyitems([request.node, twin])


def test_the_id_of_a_test_ends_in_its_name(request: pytest.FixtureRequest) -> None:
    operation = pytest.Function.from_parent(
        request.node.parent, name=f"{request.node.name}[GET /jobs]", originalname=request.node.name
    )
    assert operation.nodeid == request.node.nodeid
    testing.pytest_itemcollected(operation)
    assert operation.nodeid == f"{request.node.nodeid}[GET /jobs]"
