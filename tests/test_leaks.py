"""Every address × every method × everybody, with another company's things in it: nothing is seen or changed."""

from __future__ import annotations

from typing import Any

import pytest

from tests import addresses
from tests.addresses import Address, api_addresses, body_of, mixed_addresses, page_addresses, plausible
from tests.asking import (
    METHODS,
    Answer,
    Visitor,
    around_tenant,
    attached,
    changed,
    insiders,
    leaks,
    of_tenant,
    roles,
    rows_now,
)
from tests.forms_seen import SeenForm, forms_of, sent
from tests.world import World

OUTSIDERS = (
    "anonymous", "stranger", "lead", "member", "officer", "reviewer", "unassigned-reviewer", "steward", "auditor"
)  # fmt: skip
INSIDERS = (
    "its-lead", "its-officer", "its-reviewer", "its-steward", "its-auditor", "site-auditor", "executive", "operator"
)  # fmt: skip


def asked(
    visitor: Visitor, address: Address, methods: dict[str, Any], known: dict[str, Any], verbs: tuple[str, ...] = METHODS
) -> Any:
    """Every method of an address, with nothing and with plausible content: (method, answer)."""
    for method in verbs:
        operation = methods.get(method.lower())
        if method in ("GET", "HEAD"):
            yield method, visitor.ask(method, address.path)
        elif address.api:
            yield (
                method,
                visitor.ask(method, address.path, {}, "application/json")
                if method != "DELETE"
                else (visitor.ask(method, address.path)),
            )
            if operation and (body := body_of(operation, known)):
                kind, content = body
                kind = "application/json" if kind == "application/json" else None
                yield f"{method} filled", visitor.ask(method, address.path, content, kind)
        else:
            yield method, visitor.ask(method, address.path, {})
            if method == "POST":
                yield "POST filled", visitor.ask("POST", address.path, known)
        if address.name.startswith(("account_", "mfa_")) or address.name == "identity:setup":
            visitor.log_in()


def report(problems: list[str]) -> None:
    found = [problem for problem in problems if problem]
    assert not found, "\n".join([f"{len(found)} problems", *found[:60]])


def all_of(world: World) -> list[tuple[Address, dict[str, Any]]]:
    """Pages that end a session come last."""
    pages = [(address, {}) for address in page_addresses(world.b)]
    return sorted([*pages, *api_addresses(world.b)], key=lambda pair: pair[0].name.startswith(("account_", "mfa_")))


def wrong(address: Address, method: str, answer: Answer, marks: list[str], *, outside: bool) -> str:
    where = f"{method} {address.path} ({address.name}) → {answer.status}"
    if answer.status >= 500:
        return f"{where}: {answer.error}"
    if outside and (found := leaks(answer, marks)):
        return f"{where} shows: …{found}…"
    if outside and not address.public and answer.status < 300 and method != "OPTIONS":
        return f"{where}: it should not open"
    return ""


def shown(where: str, answer: Answer, world: World) -> str:
    found = leaks(answer, world.b.marks)
    return f"{where} shows …{found}…" if found else ""


@pytest.mark.parametrize("who", OUTSIDERS)
def test_nobody_sees_or_changes_anything_of_another_tenant(fresh: World, who: str) -> None:
    visitor, known = Visitor(roles(fresh)[who]), plausible(fresh.b)
    before, guarded, owned = rows_now(), around_tenant(fresh.b), of_tenant(fresh.b)
    problems = []
    for address, methods in all_of(fresh):
        for method, answer in asked(visitor, address, methods, known):
            problems.append(wrong(address, method, answer, fresh.b.marks, outside=True))
    problems += changed(before, guarded) + attached(before, owned)
    report(problems)


@pytest.mark.parametrize("who", INSIDERS)
def test_no_address_fails_for_those_who_may_see_a_part_of_it(fresh: World, who: str) -> None:
    visitor, known = Visitor(insiders(fresh)[who]), plausible(fresh.b)
    problems = []
    for address, methods in all_of(fresh):
        verbs = METHODS if address.api else ("GET", "POST")
        for method, answer in asked(visitor, address, methods, known, verbs):
            problems.append(wrong(address, method, answer, [], outside=False))
    report(problems)


@pytest.mark.parametrize("who", ["lead", "officer", "reviewer", "steward"])
def test_nobody_reaches_another_tenants_things_through_ones_own_pages(fresh: World, who: str) -> None:
    """One's own address, with the ids of the other company's things in what is sent."""
    visitor, known = Visitor(roles(fresh)[who]), plausible(fresh.b)
    before, guarded, owned = rows_now(), around_tenant(fresh.b), of_tenant(fresh.b)
    problems = []
    own = [*((address, {}) for address in page_addresses(fresh.a)), *api_addresses(fresh.a)]
    own += [(address, {}) for address in mixed_addresses(fresh.a, fresh.b)]
    for address, methods in own:
        if address.name.startswith(("account_", "mfa_")):
            continue
        for verb in ("save", "assign", "decide", "next") if address.name.startswith("calls:") else ("save",):
            answer = visitor.ask("POST", address.path, {**known, "do": verb})
            problems.append(wrong(address, f"POST {verb}", answer, fresh.b.marks, outside=False))
            problems.append(shown(f"POST {address.path}", answer, fresh))
        for method, operation in methods.items():
            if body := body_of(operation, known):
                kind = "application/json" if body[0] == "application/json" else None
                answer = visitor.ask(method.upper(), address.path, body[1], kind)
                problems.append(wrong(address, method, answer, [], outside=False))
                problems.append(shown(f"{method} {address.path}", answer, fresh))
    problems += changed(before, guarded) + attached(before, owned)
    report(problems)


@pytest.fixture(scope="module")
def theirs(world: World) -> list[SeenForm]:
    """Every form that the other company, and those who deal with it, see on pages about it."""
    forms = {}
    for name in ("its-lead", "its-officer", "its-reviewer", "operator"):
        insider = Visitor(insiders(world)[name])
        for address in page_addresses(world.b):
            if address.about:
                for form in forms_of(address.path, insider.ask("GET", address.path).body):
                    forms[(form.action, str(sorted(form.fields)))] = form
    return list(forms.values())


@pytest.mark.parametrize("who", ["anonymous", "stranger", "lead", "officer", "unassigned-reviewer", "auditor"])
def test_what_the_pages_of_a_tenant_send_does_nothing_for_others(
    theirs: list[SeenForm], fresh: World, who: str
) -> None:
    assert len(theirs) > 20
    visitor, known = Visitor(roles(fresh)[who]), plausible(fresh.b)
    before, guarded, owned = rows_now(), around_tenant(fresh.b), of_tenant(fresh.b)
    problems = []
    for form in theirs:
        for data in sent(form, known):
            answer = visitor.ask("POST", form.action.partition("?")[0], data)
            where = f"POST {form.action} {data}"
            problems.append(f"{where} → {answer.status} {answer.error}" if answer.status >= 500 else "")
    problems += changed(before, guarded) + attached(before, owned)
    report(problems)


def test_a_blind_reviewer_never_learns_who_applied(fresh: World) -> None:
    tenant = fresh.b
    visitor = Visitor(tenant.reviewer)
    marks = [tenant.organization.name_ko, tenant.organization.name_en, tenant.lead.email, tenant.member.email]
    marks += [tenant.organization.business_number, tenant.organization.business_number_written]
    marks += [tenant.organization.representative, tenant.lead.name]
    problems = []
    for address, _methods in all_of(fresh):
        answer = visitor.ask("GET", address.path)
        if found := leaks(answer, marks):
            problems.append(f"{address.path} ({address.name}) shows …{found}…")
    assert visitor.ask("GET", f"/reviews/{tenant.assignment.pk}/").status == 200
    report(problems)


def test_what_is_not_there_and_what_is_not_yours_look_the_same(fresh: World) -> None:
    visitor = Visitor(fresh.a.lead)
    for address in page_addresses(fresh.b):
        if address.public:
            continue
        theirs = visitor.ask("GET", address.path).status
        assert theirs in (302, 403, 404, 405), address
    for path in ("/grants/nothing-there/", "/applications/999999/", "/organization/999999/", "/outcomes/999999/"):
        assert visitor.ask("GET", path).status == 404


def test_every_parameter_of_every_address_is_in_the_table(fresh: World) -> None:
    known = set(addresses.PAGES)
    assert known - {name for name, parameters in addresses.pages() if parameters} == set()
    assert len(list(page_addresses(fresh.a))) > 100
    list(api_addresses(fresh.a))
