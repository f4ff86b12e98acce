"""What every operation of the API answers when something is wrong: a Problem, whatever it was."""

from __future__ import annotations

import http.client
import json
import logging
from typing import Any
from urllib.parse import urlsplit

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


def test_what_the_description_refuses_is_said_in_the_language_of_the_request() -> None:
    """Each kind of error that its own words are made for, with what it was about: an empty one, a missing one …"""
    _row, token = actions.make_token(make.person(), name="test", days=1)
    headers = {"authorization": f"Bearer {token}"}
    bodies: list[Any] = [
        {"name": "", "script": "x", "limit_s": 1.5, "gpus": "2", "allocation": 2**70, "files": "a", "uuid": "x",
         "no": 1},
        {"name": "x" * 81, "script": 5, "limit_s": 0, "gpus": 1025, "allocation": True, "files": ["a"] * 1001},
        {"arguments": [None]}, [], None,
    ]  # fmt: skip

    def said(language: str) -> list[dict[str, str]]:
        client = Client(headers={**headers, "accept-language": language})
        sent = [client.post("/api/v1/compute/jobs", json.dumps(body), "application/json") for body in bodies]
        sent.append(client.generic("POST", "/api/v1/compute/jobs", b"", "application/json"))
        sent.append(client.get("/api/v1/compute/jobs", {"whose": "theirs", "limit": "x", "after": "9" * 30}))
        assert {answer.status_code for answer in sent} == {422}
        return [answer.json()["errors"] for answer in sent]

    english, korean = said("en"), said("ko")
    assert english[0] == {
        "name": "At least 1 character is needed.",
        "script": "At least 2 characters are needed.",
        "limit_s": "It must be a whole number.",
        "gpus": "It must be a whole number.",
        "allocation": "It must be at most 9223372036854775807.",
        "files": "It must be a list.",
        "uuid": "It must be a UUID.",
        "no": "There is no input of this name.",
    }
    assert english[1]["gpus"] == "It must be at most 1024."
    assert english[2]["arguments.0"] == "It must be a text."
    assert english[2]["name"] == "It is required."
    assert english[5] == {"": "Nothing was sent: an object in JSON is needed."}
    assert english[6]["whose"] == "It must be one of these: 'organization', 'mine'."
    assert [list(errors) for errors in korean] == [list(errors) for errors in english]
    messages = [message for errors in korean for message in errors.values()]
    assert [message for message in messages if not any("가" <= sign <= "힣" for sign in message)] == []


def test_what_is_no_json_is_refused_in_the_language_of_the_request() -> None:
    client = asker(make.person())
    sent = client.patch("/api/v1/me", "{", content_type="application/json")
    assert (sent.status_code, sent.json()["title"]) == (400, "What was sent can't be read.")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/compute/jobs"), ("PUT", "/compute/project-files/1/bytes?offset=0")]
)
def test_a_body_in_chunks_is_asked_for_its_length(live_server: Any, method: str, path: str) -> None:
    _row, token = actions.make_token(make.person(), name="test", days=1)
    address = urlsplit(live_server.url)
    there = http.client.HTTPConnection(str(address.hostname), address.port)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept-Language": "en"}
    there.request(method, f"/api/v1{path}", body=iter([b"{}"]), headers=headers, encode_chunked=True)
    answer = there.getresponse()
    assert (answer.status, json.load(answer)["title"]) == (411, "Say its length (Content-Length).")
    there.close()


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
