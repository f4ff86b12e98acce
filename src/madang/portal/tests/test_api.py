"""What every operation of the API answers when something is wrong: a Problem, whatever it was."""

from __future__ import annotations

import json
import logging
from typing import Any

import ninja
import pytest
from django.test import Client, override_settings

from madang.identity import actions
from madang.identity.models import Person
from madang.identity.tests import make
from madang.portal import api as site
from madang.web.api import In

pytestmark = pytest.mark.django_db


def asker(person: Person, **more: Any) -> Client:
    _row, token = actions.make_token(person, name="test", days=1)
    return Client(headers={"authorization": f"Bearer {token}", "accept-language": "en"}, **more)


def patched(client: Client, path: str, body: Any) -> Any:
    return client.patch(f"/api/v1{path}", json.dumps(body), content_type="application/json")


def test_each_field_has_its_message() -> None:
    answer = patched(asker(make.person()), "/me", {"name": "a\u202eb", "nmae": 1})
    assert answer.status_code == 422
    said = answer.json()
    assert said["where"] == list(said["errors"]) == ["name", "nmae"]
    assert said["errors"]["name"] == "holds a sign that can't be used here (U+202E)"
    assert said["title"] == f"name: {said['errors']['name']}"


@pytest.mark.parametrize("body", ["x", [], 5, True, None, {"nmae": "x"}, {"name": "\u3164"}])
def test_what_is_no_object_with_the_names_of_the_description_is_refused(body: Any) -> None:
    person = make.person()
    answer = patched(asker(person), "/me", body)
    assert answer.status_code == 422, answer.content
    assert answer.json()["errors"]
    before = person.name
    person.refresh_from_db()
    assert person.name == before


def test_a_refusal_of_a_verb_says_it_for_each_field(monkeypatch: pytest.MonkeyPatch) -> None:
    from madang.workflow.errors import Refused

    def refuse(*_args: Any, **_more: Any) -> None:
        raise Refused("no", errors={"b": "second", "a": "first"})

    monkeypatch.setattr(site, "now", refuse)
    said = Client().get("/api/v1/clock")
    assert said.status_code == 422
    assert said.json() == {"title": "no", "where": ["a", "b"], "errors": {"a": "first", "b": "second"}}


@override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1024**2)
def test_a_body_that_is_too_large_is_a_problem() -> None:
    answer = patched(asker(make.person()), "/me", {"name": "x" * 1024**2})
    assert answer.status_code == 413
    assert "1 MB" in answer.json()["title"]


def test_what_breaks_is_a_problem_and_is_recorded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fall(*_args: Any) -> None:
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr(site, "now", fall)
    with caplog.at_level(logging.ERROR):
        answer = Client(raise_request_exception=False).get("/api/v1/clock")
    assert answer.status_code == 500
    assert set(answer.json()) == {"title", "where", "errors"}
    assert "secret" not in answer.content.decode()
    assert "a secret of the inside" in caplog.text
    with pytest.raises(ZeroDivisionError):
        Client().get("/api/v1/clock")


def test_a_method_that_an_address_does_not_have_is_a_problem() -> None:
    answer = asker(make.person()).delete("/api/v1/clock")
    assert answer.status_code == 405
    assert answer.json()["title"]
    assert "GET" in answer["Allow"]


def test_everything_that_is_sent_is_read_strictly() -> None:
    """No body of any operation is read by attribute, or with names that nobody knows."""
    bodies = set()
    for _prefix, router in site.api._routers:
        for view in router.path_operations.values():
            for operation in view.operations:
                for model in operation.models:
                    if model.__ninja_param_source__ in ("body", "form"):
                        bodies |= shapes(model)
    assert len(bodies) > 40
    assert [shape.__name__ for shape in bodies if issubclass(shape, ninja.Schema) and not issubclass(shape, In)] == []


def shapes(kind: Any) -> set[Any]:
    """The shapes in an annotation, and in those."""
    from typing import get_args

    from pydantic import BaseModel

    found: set[Any] = set()
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        found.add(kind)
        for field in kind.model_fields.values():
            found |= shapes(field.annotation)
    for part in get_args(kind):
        found |= shapes(part)
    return found
