"""Whatever is typed, sent or uploaded: a clear answer below 500, and nothing half done."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection

from tests.addresses import api_addresses, body_of, description, operations, page_addresses, pages, plausible
from tests.asking import Visitor, rows_now, tables
from tests.forms_seen import SeenForm, forms_of, sent
from tests.world import World

pytestmark = [pytest.mark.xdist_group("input")]
BAD: dict[str, Any] = {
    "a wrong type": "not what was asked for",
    "a huge number": "9" * 40,
    "a number below nothing": "-1",
    "no number": "NaN",
    "digits of another script": "١٢",
    "a text that is too long": "가" * 30_000,
    "NUL": "na\x00me",
    "a turned direction": "txt.\u202eexe",
    "lines in a line": "one\r\ntwo",
    "nothing but blanks": "   ",
}
FAR = ("0001-01-01", "0026-03-31", "1799-12-31", "2100-01-03", "9999-12-31")
GARBAGE = ("xx", "-1", "9" * 40, "١٢", "²", "1e400", "'\"<>&;%", "🎉", "\u202e", "a" * 5000,
           "0001-01-01", "9999-12-31", "0001-01-01T00:00:00+14:00~1", "9999-12-31T23:59:59-11:00~1~check")  # fmt: skip
ASKED = (
    "after", "allocation", "application", "before", "from", "grant", "kind", "limit", "live", "offset", "on", "page",
    "program", "q", "resource", "role", "search", "sector", "stage", "state", "token", "who", "whose", "minutes",
    "gpus", "calculate",
)  # fmt: skip


def visitors(world: World) -> dict[str, Visitor]:
    """Everybody who fills in forms."""
    a = world.a
    return {
        "lead": Visitor(a.lead),
        "officer": Visitor(a.officer),
        "reviewer": Visitor(a.reviewer),
        "operator": Visitor(world.operator),
    }


@pytest.fixture(scope="module")
def forms(world: World) -> list[tuple[str, SeenForm]]:
    """Each form once, and who sees it."""
    found: dict[tuple[str, tuple[str, ...]], tuple[str, SeenForm]] = {}
    for who, visitor in visitors(world).items():
        for address in page_addresses(world.a):
            if address.name.startswith(("account_", "mfa_")):
                continue
            for form in forms_of(address.path, visitor.ask("GET", address.path).body):
                found.setdefault((address.name, (form.action, *sorted(form.fields))), (who, form))
    return list(found.values())


Forms = list[tuple[str, SeenForm]]


def report(problems: list[str]) -> None:
    found = [problem for problem in problems if problem]
    assert not found, "\n".join([f"{len(found)} problems", *found[:60]])


def wanted(form: SeenForm) -> str:
    return form.action.partition("?")[0]


def test_no_form_fails_on_any_value_of_any_field(forms: Forms, fresh: World) -> None:
    problems, known, asked, people = [], plausible(fresh.a), 0, visitors(fresh)
    for who, form in forms:
        visitor = people[who]
        names = [
            name for name in form.fields if form.kinds.get(name) != "hidden" or name in ("saves", "uuid", "version")
        ]
        for label, bad in BAD.items():
            answer = visitor.ask("POST", wanted(form), {**sent(form, known)[0], **dict.fromkeys(names, bad)})
            asked += 1
            if answer.status >= 500:
                problems.append(f"{label} in all of {wanted(form)} as {who}: {answer.status} {answer.error}")
        for name in names:
            for label in ("a turned direction", "a huge number"):
                data = {**sent(form, known)[0], name: BAD[label]}
                answer = visitor.ask("POST", wanted(form), data)
                asked += 1
                if answer.status >= 500:
                    problems.append(f"{label} in {name} of {wanted(form)} as {who}: {answer.status} {answer.error}")
    assert asked > 500
    problems += [f"a turned direction was kept in {place}" for place in kept("\u202e")]
    report(problems)


def kept(sign: str) -> list[str]:
    """The tables that hold this sign anywhere."""
    found = []
    with connection.cursor() as cursor:
        for model in tables():
            table = model._meta.db_table
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE %s', [f"%{sign}%"])
            if cursor.fetchone()[0]:
                found.append(table)
    return found


def test_what_is_refused_at_a_field_is_said_there_and_nothing_is_done(forms: Forms, fresh: World) -> None:
    """NUL in each text field, all else being right: 422, the field is marked, not a row differs."""
    problems, known, refused, people = [], plausible(fresh.a), 0, visitors(fresh)
    for who, form in forms:
        visitor = people[who]
        for name, kind in form.kinds.items():
            if kind not in ("text", "textarea", "email"):
                continue
            before = rows_now()
            answer = visitor.ask("POST", wanted(form), {**sent(form, known)[0], name: BAD["NUL"]})
            where = f"NUL in {name} of {wanted(form)} as {who}: {answer.status}"
            if answer.status < 400:
                problems.append(f"{where}, accepted" if rows_now() != before or kept("na") == [] else "")
            else:
                refused += 1
                if rows_now() != before:
                    problems.append(f"{where}, and yet something changed")
                if answer.status == 422 and 'aria-invalid="true"' not in answer.body:
                    problems.append(f"{where}, and no field is marked")
    assert refused > 20
    report(problems)


def test_no_form_takes_a_day_far_from_ours(forms: Forms, fresh: World) -> None:
    problems, known, people, asked = [], plausible(fresh.a), visitors(fresh), 0
    before = rows_now()
    for who, form in forms:
        for name, kind in form.kinds.items():
            if kind not in ("date", "datetime-local"):
                continue
            for day in FAR:
                value = f"{day}T00:00" if kind == "datetime-local" else day
                answer = people[who].ask("POST", wanted(form), {**sent(form, known)[0], name: value})
                asked += 1
                if not 400 <= answer.status < 500:
                    problems.append(f"{value} in {name} of {wanted(form)} as {who}: {answer.status} {answer.error}")
    assert asked > 40
    assert rows_now() == before, "something was kept"
    report(problems)


def test_no_operation_takes_a_day_far_from_ours(fresh: World) -> None:
    problems, known, people, asked = [], plausible(fresh.a), visitors(fresh), 0
    before = rows_now()
    for address, methods in api_addresses(fresh.a):
        for method, operation in methods.items():
            body = body_of(operation, known)
            if body is None or not isinstance(body[1], dict):
                continue
            schema = operation["requestBody"]["content"][body[0]]["schema"]
            for name, zones in dated(schema).items():
                for value in [f"{day}{zone}" for day in FAR for zone in zones]:
                    data = {**body[1], name: value}
                    given = (json.dumps(data), "application/json") if "json" in body[0] else (data,)
                    for who in ("lead", "officer", "operator"):
                        answer = people[who].ask(method.upper(), address.path, *given)
                        asked += 1
                        if not 400 <= answer.status < 500:
                            problems.append(f"{value} as {name} of {method} {address.path}: {answer.status}")
    assert asked > 200
    assert rows_now() == before, "something was kept"
    report(problems)


def dated(schema: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """{name: how values of it end} of what holds a day, or an instant, in it."""
    if "$ref" in schema:
        schema = description()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    found = {}
    for name, inner in schema.get("properties", {}).items():
        formats = {choice.get("format") for choice in [inner, *inner.get("anyOf", [])]}
        if "date" in formats:
            found[name] = ("",)
        elif "date-time" in formats:
            found[name] = ("T23:59:59", "T23:59:59Z", "T00:00:00+14:00", "T23:59:59-11:00")
    return found


def test_no_operation_fails_on_any_value_of_any_field(fresh: World) -> None:
    problems, known = [], plausible(fresh.a)
    values: list[Any] = [None, [], {}, True, -1, 10**30, 1.5, "", "x" * 100_000, "na\x00me", "a\u202eb", [[[]]], "NaN"]
    for who, visitor in visitors(fresh).items():
        if who == "reviewer":
            continue
        for address, methods in api_addresses(fresh.a):
            for method, operation in methods.items():
                body = body_of(operation, known)
                if body is None or body[0] != "application/json" or not isinstance(body[1], dict):
                    continue
                attempts = [{**body[1], name: value} for name in body[1] for value in values]
                attempts += [dict.fromkeys(body[1], value) for value in values]
                for data in attempts[:: 1 if who == "lead" else 5]:
                    answer = visitor.ask(method.upper(), address.path, json.dumps(data), "application/json")
                    if answer.status >= 500:
                        problems.append(f"{method} {address.path} {str(data)[:150]} as {who}: {answer.error}")
                for raw in (b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 5000, b'{"a": 1e999}'):
                    answer = visitor.ask(method.upper(), address.path, raw, "application/json")
                    if answer.status >= 500:
                        problems.append(f"{method} {address.path} {raw[:20]!r} as {who}: {answer.error}")
    problems += [f"a turned direction was kept in {place}" for place in kept("\u202e")]
    report(problems)


def test_no_address_fails_on_garbage_in_its_query(world: World) -> None:
    """As the first of these for whom it opens."""
    people, problems = visitors(world), []
    for address in page_addresses(world.a):
        if address.name.startswith(("account_", "mfa_")):
            continue
        opens = (name for name in people if people[name].ask("GET", address.path).status == 200)
        who = next(opens, "lead")
        for value in GARBAGE[: 3 if address.about else None]:
            answer = people[who].ask("GET", address.path, dict.fromkeys(ASKED, value))
            if answer.status >= 500:
                problems.append(f"{address.path} {value[:20]!r} as {who}: {answer.error}")
        for value in ("xx", "9" * 40, "²"):
            answer = people[who].ask("GET", address.path, {"after": value})
            if answer.status >= 500:
                problems.append(f"{address.path} after={value[:20]!r} as {who}: {answer.error}")
        answer = people[who].ask("GET", f"{address.path}?after=%00&q=%00")
        if answer.status >= 500:
            problems.append(f"{address.path} NUL as {who}: {answer.error}")
    report(problems)


@pytest.mark.parametrize("who", ["lead", "officer"])
def test_no_operation_fails_on_garbage_in_its_query(world: World, who: str) -> None:
    visitor, problems = visitors(world)[who], []
    for address, methods in api_addresses(world.a):
        if "get" not in methods:
            continue
        names = [p["name"] for p in methods["get"].get("parameters", []) if p["in"] == "query"]
        for name in names:
            for value in GARBAGE:
                answer = visitor.ask("GET", address.path, {name: value})
                if answer.status >= 500:
                    problems.append(f"{address.path}?{name}={value[:20]!r}: {answer.error}")
        answer = visitor.ask("GET", f"{address.path}?{'&'.join(f'{name}=%00' for name in names)}")
        if answer.status >= 500:
            problems.append(f"{address.path} NUL: {answer.error}")
    report(problems)


def test_a_broken_multipart_is_refused_by_everything(fresh: World) -> None:
    problems = []
    bodies = (
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1',
        b"",
        b'--x\r\nContent-Disposition: form-data; name="evidence"; filename="a\x00b"\r\n\r\n1\r\n--x--\r\n',
        b"--y--",
    )
    for who, visitor in visitors(fresh).items():
        for path in [a.path for a in page_addresses(fresh.a) if not a.name.startswith(("account_", "mfa_"))]:
            for number, body in enumerate(bodies):
                kind = "multipart/form-data; boundary=x" if number != 1 else "multipart/form-data"
                answer = visitor.ask("POST", path, body, kind)
                if answer.status >= 500:
                    problems.append(f"{path} {body[:40]!r} as {who}: {answer.error}")
                if answer.status in (403, 404, 405):
                    break  # it would not get further with another body either
    for path, methods in operations():
        body = methods.get("post", {}).get("requestBody", {}).get("content", {})
        if "multipart/form-data" in body:
            address = next(a for a, _m in api_addresses(fresh.a) if a.name == f"api {path}")
            for raw in bodies:
                answer = visitors(fresh)["lead"].ask("POST", address.path, raw, "multipart/form-data; boundary=x")
                if answer.status >= 500:
                    problems.append(f"{path} {raw[:40]!r}: {answer.error}")
    report(problems)


def test_the_forms_of_the_site_were_seen(forms: Forms) -> None:
    assert len({wanted(form) for _who, form in forms}) > 40
    assert len(pages()) > 100
