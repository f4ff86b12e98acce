"""Every address of the site, from the URL resolver and from the OpenAPI description, and where a tenant's things are.

An address with a parameter that isn't in the table below is an error of the test run: whoever adds one says here which
thing of a company it names, and with that it is walked by everybody who mustn't see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from django.urls import URLResolver, get_resolver, reverse
from django.utils.timezone import localdate, localtime

from tests.world import Tenant

Where = Callable[[Tenant], list[dict[str, Any]]]


def _calls(t: Tenant) -> list[dict[str, Any]]:
    return [{"code": c.code} for c in (t.call, t.offered_call, t.open_call, t.judged_call, t.draft_call, *t.more_calls)]


def _applications(t: Tenant) -> list[dict[str, Any]]:
    return [{"id": a.pk} for a in (t.application, t.draft, t.judged)]


def _grants(t: Tenant) -> list[dict[str, Any]]:
    return [{"number": g.number} for g in (t.grant, t.offered)]


def _allocations(t: Tenant) -> list[dict[str, Any]]:
    return [{"number": t.grant.number, "allocation": a.pk} for a in (t.allocation, t.stored)]


def _jobs(t: Tenant) -> list[dict[str, Any]]:
    return [{"uuid": j.uuid} for j in (t.job, t.waiting, t.swept, t.session.job)]


def _session(t: Tenant) -> list[dict[str, Any]]:
    return [{"uuid": t.session.job.uuid}]


def _program(t: Tenant) -> list[dict[str, Any]]:
    return [{"code": t.program.code}]


def _resource(t: Tenant) -> list[dict[str, Any]]:
    return [{"code": t.compute.code}]


def _outcome(t: Tenant) -> list[dict[str, Any]]:
    return [{"id": t.outcome.pk}]


def _role(t: Tenant) -> int:
    return t.officer.roles.get().pk


def _plan(t: Tenant) -> list[dict[str, Any]]:
    return [{"id": t.plan.pk}]


STEPS = ("basics", "lines", "discounts", "criteria", "rules", "form", "preview", "nothing")
PAGES: dict[str, Where] = {
    "account_reset_password_from_key": lambda t: [{"uidb36": "1", "key": "set-password"}],
    "mfa_remove_webauthn": lambda t: [{"pk": 1}],
    "mfa_edit_webauthn": lambda t: [{"pk": 1}],
    "catalog:add": lambda t: [{"kind": "compute"}, {"kind": "nothing"}],
    "catalog:detail": _resource,
    "catalog:edit": _resource,
    "catalog:rate": _resource,
    "catalog:move": lambda t: [{"code": t.compute.code, "verb": v} for v in ("pause", "resume", "retire", "nothing")],
    "programs:source-edit": lambda t: [{"code": t.source.code}],
    "programs:figure-edit": lambda t: [{"id": t.figure.pk}],
    "programs:purse-edit": lambda t: [{"id": t.purse.pk}],
    "programs:indicator-edit": lambda t: [{"code": t.indicator.code}],
    "programs:target": lambda t: [{"code": t.indicator.code}],
    "programs:detail": _program,
    "programs:edit": _program,
    "programs:purse-add": _program,
    "programs:indicator-add": _program,
    "grants:announce": lambda t: [{"code": c.code} for c in (t.judged_call, t.call, *t.more_calls)],
    "grants:reserve": lambda t: [{"code": c.code} for c in (t.reserve.call, *t.more_calls)],
    "grants:promote": lambda t: [{"code": t.reserve.call.code, "application": t.reserve.pk}],
    "grants:grant": _grants,
    "grants:agreement": _grants,
    "grants:decline": _grants,
    "grants:history": _grants,
    "grants:close": _grants,
    "grants:statement": _allocations,
    "grants:pause": _allocations,
    "grants:resume": _allocations,
    "grants:steward-pause": lambda t: [{"allocation": t.allocation.pk}, {"allocation": t.stored.pk}],
    "grants:steward-resume": lambda t: [{"allocation": t.allocation.pk}],
    "compute:partition": _resource,
    "compute:job": _jobs,
    "compute:log": _jobs,
    "compute:whole_log": _jobs,
    "compute:script": _jobs,
    "compute:file": lambda t: [{"uuid": t.job.uuid, "path": p} for p in (t.file, "../out.log")],
    "compute:cancel": lambda t: [{"uuid": t.waiting.uuid}],
    "compute:site_job": _jobs,
    "compute:end_job": lambda t: [{"uuid": t.waiting.uuid}],
    "compute:maintenance": lambda t: [{"id": t.maintenance.pk}],
    "compute:withdraw_maintenance": lambda t: [{"id": t.maintenance.pk}],
    "compute:template": lambda t: [{"code": "train-ddp"}],
    "compute:drop_template": lambda t: [{"code": "train-ddp"}],
    "compute:project_file": lambda t: [{"id": t.kept.pk}],
    "compute:delete_file": lambda t: [{"id": t.kept.pk}],
    "compute:delete_files": lambda t: [{"uuid": t.job.uuid}],
    "compute:session": _session,
    "compute:session_state": _session,
    "compute:session_open": _session,
    "compute:session_end": _session,
    "compute:session_offer": lambda t: [{"code": "jupyterlab", "verb": v} for v in ("withdraw", "offer", "nothing")],
    "outcomes:report": _grants,
    "outcomes:outcome": _outcome,
    "outcomes:correct": _outcome,
    "outcomes:verify": _outcome,
    "outcomes:return": _outcome,
    "outcomes:evidence": lambda t: [{"id": t.outcome.pk, "evidence": t.evidence.pk}],
    "insight:trace": lambda t: [{"code": t.indicator.code}],
    "planning:plan": _plan,
    "planning:edit": _plan,
    "planning:simulate": _plan,
    "planning:stop": _plan,
    "planning:state": _plan,
    "planning:download": _plan,
    "identity:organization": lambda t: [{"id": t.organization.pk}],
    "identity:organization-edit": lambda t: [{"id": t.organization.pk}],
    "identity:invite": lambda t: [{"id": t.organization.pk}],
    "identity:membership-role": lambda t: [{"id": t.membership.pk}],
    "identity:membership-end": lambda t: [{"id": t.membership.pk}],
    "identity:invitation-withdraw": lambda t: [{"id": t.invitation.pk}],
    # Whoever has the secret was invited. What is kept of it must open nothing.
    "identity:invitation": lambda t: [{"secret": t.invitation.digest}],
    "identity:person": lambda t: [{"id": t.member.pk}, {"id": t.lead.pk}],
    "identity:role-end": lambda t: [{"id": _role(t)}],
    "identity:token-revoke": lambda t: [{"id": t.token.pk}],
    "calls:detail": _calls,
    "calls:apply": _calls,
    "calls:manage": _calls,
    "calls:edit": _calls,
    "calls:edit-step": lambda t: [{"code": t.draft_call.code, "step": step} for step in STEPS],
    "calls:preview": _calls,
    "calls:applications": _calls,
    "calls:assign": _calls,
    "calls:decide": _calls,
    "calls:effect": _calls,
    "calls:application": _applications,
    "calls:application-edit": _applications,
    "calls:withdraw": _applications,
    "calls:document-remove": lambda t: [{"id": t.draft.pk, "code": "plan"}],
    "calls:application-officer": _applications,
    "calls:receipt": lambda t: [{"id": t.submission.pk}],
    "calls:document": lambda t: [{"id": t.document.pk}],
    "calls:review": lambda t: [{"id": t.assignment.pk}],
    "calls:recuse": lambda t: [{"id": t.assignment.pk}],
}
# What everybody may read, whoever made it.
PUBLIC = {
    "calls:apply",
    "account_reset_password_from_key",
    "calls:detail",
    "catalog:detail",
    "compute:partition",
    "compute:template",  # the same for everybody, to change by operators alone
    "insight:trace",
    "programs:detail",
    "programs:source-edit",  # sources are the whole site's: every officer may correct one
}

API: dict[str, Where] = {
    "/organizations/{id}": lambda t: [{"id": t.organization.pk}],
    "/invitations/{id}": lambda t: [{"id": t.invitation.pk}],
    "/memberships/{id}": lambda t: [{"id": t.membership.pk}],
    "/tokens/{id}": lambda t: [{"id": t.token.pk}],
    "/people/{id}": lambda t: [{"id": t.member.pk}],
    "/roles/{id}": lambda t: [{"id": _role(t)}],
    "/catalog/resources/{code}": _resource,
    "/catalog/resources/{code}/{verb}": PAGES["catalog:move"],
    "/programs/indicators/{code}": lambda t: [{"code": t.indicator.code}],
    "/programs/{code}": _program,
    "/calls/applications/{id}": _applications,
    "/calls/applications/{id}/documents/{field}": lambda t: [{"id": t.draft.pk, "field": "plan"}],
    "/calls/applications/{id}/rules/{rule}": lambda t: [{"id": t.judged.pk, "rule": t.judged_call.rules.all()[0].pk}],
    "/calls/documents/{id}": lambda t: [{"id": t.document.pk}],
    "/calls/submissions/{id}": lambda t: [{"id": t.submission.pk}],
    "/calls/reviews/{id}": lambda t: [{"id": t.assignment.pk}],
    "/calls/{code}": _calls,
    "/grants/allocations/{id}": lambda t: [{"id": t.allocation.pk}, {"id": t.stored.pk}],
    "/grants/announce/{code}": lambda t: [{"code": t.judged_call.code}],
    "/grants/promote/{application}": lambda t: [{"application": t.reserve.pk}],
    "/grants/{number}": _grants,
    "/compute/jobs/{uuid}": _jobs,
    "/compute/site-jobs/{uuid}": _jobs,
    "/compute/nodes/{cluster}/{name}": lambda t: [{"cluster": t.compute.partition.cluster.code, "name": "n1"}],
    "/compute/maintenance/{id}": lambda t: [{"id": t.maintenance.pk}],
    "/compute/jobs/{uuid}/files/{path}": PAGES["compute:file"],
    "/compute/project-files/{id}": lambda t: [{"id": t.kept.pk}],
    "/compute/sessions/{uuid}": _session,
    "/outcomes/report/{number}": _grants,
    "/outcomes/{id}": _outcome,
    "/outcomes/{id}/evidence/{evidence}": PAGES["outcomes:evidence"],
    "/board/{code}": PAGES["insight:trace"],
}
API_PUBLIC = {
    "/board/{code}",
    "/calls/{code}",
    "/catalog/resources/{code}",
    "/catalog/resources/{code}/rates",
    "/programs/{code}",
}


@dataclass(frozen=True)
class Address:
    """One place that can be asked: its name in the code, its path, and whether anybody may read it."""

    name: str
    path: str
    public: bool
    api: bool = False
    about: bool = False  # it names a thing


@cache
def pages() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(name, parameters) of every page in the URL configuration. The API is in its own description."""
    return tuple(_walk(get_resolver(), "", ()))


def _walk(resolver: Any, space: str, above: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for pattern in resolver.url_patterns:
        parameters = (*above, *pattern.pattern.regex.groupindex)
        if isinstance(pattern, URLResolver):
            if pattern.namespace != "api":
                inner = f"{space}{pattern.namespace}:" if pattern.namespace else space
                yield from _walk(pattern, inner, parameters)
        else:
            assert pattern.name, f"{pattern.pattern} needs a name"
            yield f"{space}{pattern.name}", parameters


def page_addresses(tenant: Tenant) -> Iterator[Address]:
    for name, parameters in pages():
        if not parameters:
            yield Address(name, reverse(name), public=True)
            continue
        assert name in PAGES, f"tests/addresses.py doesn't say which things of a company the page {name} names"
        for kwargs in PAGES[name](tenant):
            yield Address(name, reverse(name, kwargs=kwargs), name in PUBLIC, about=True)


def mixed_addresses(own: Tenant, other: Tenant) -> Iterator[Address]:
    """Pages of two things: one's own first, and in it something of the other's."""
    for name, parameters in pages():
        if len(parameters) > 1 and name in PAGES:
            for mine, theirs in zip(PAGES[name](own), PAGES[name](other), strict=True):
                first = parameters[0]
                yield Address(name, reverse(name, kwargs={**theirs, first: mine[first]}), public=name in PUBLIC)


@cache
def description() -> dict[str, Any]:
    from madang.portal.api import api

    return api.get_openapi_schema()


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    """(path below /api/v1, {method: operation})."""
    for path, methods in description()["paths"].items():
        yield path.removeprefix("/api/v1"), methods


def api_addresses(tenant: Tenant) -> Iterator[tuple[Address, dict[str, Any]]]:
    for path, methods in operations():
        for kwargs in places_of(path, tenant):
            written = path
            for name, value in kwargs.items():
                written = written.replace(f"{{{name}}}", str(value))
            public = "{" not in path or path in API_PUBLIC
            yield Address(f"api {path}", f"/api/v1{written}", public, api=True), methods


def places_of(path: str, tenant: Tenant) -> list[dict[str, Any]]:
    if "{" not in path:
        return [{}]
    known = [prefix for prefix in API if path == prefix or path.startswith(f"{prefix}/")]
    best = max(known, key=len, default="")
    assert path.count("{") == best.count("{"), f"tests/addresses.py doesn't say which things the operation {path} names"
    return API[best](tenant)


def plausible(t: Tenant) -> dict[str, Any]:
    """A value for every name of an input that the site has: the things are this tenant's, the rest is harmless."""
    today, moment = localdate(), localtime()
    return {
        "organization": t.organization.pk,
        "allocation": t.allocation.pk,
        "application": t.judged.pk,
        "applications": t.judged.pk,
        "assignment": t.assignment.pk,
        "call": t.judged_call.pk,
        "cluster": t.compute.partition.cluster_id,
        "grant": t.grant.pk,
        "membership": t.membership.pk,
        "owner": t.organization.pk,
        "person": t.member.pk,
        "program": t.program.pk,
        "resource": t.compute.pk,
        "replaces": t.outcome.pk,
        "reviewer": t.reviewer.pk,
        "rule": t.call.rules.all()[0].pk,
        "source": t.source.pk,
        "scope_id": t.program.pk,
        "account": t.allocation.account,
        "digest": t.offered.agreements.all()[0].digest,
        "version": 1,
        "saves": t.draft.saves,
        "action": "save",
        "amount": 1,
        "amount_krw": 1000,
        "agree": "on",
        "agreed": "on",
        "amounts": "",
        "answer": "pass",
        "arguments": "",
        "basis_ko": "근거",
        "budget_krw": 1000,
        "business_number": "220-81-62517",
        "closes_at": f"{moment + timedelta(days=9):%Y-%m-%dT%H:%M}",
        "codes": "goal",
        "code": "new-code",
        "comment": "좋습니다.",
        "condition": "compute",
        "days": 30,
        "days_to_accept": 14,
        "definition_en": "defined",
        "definition_ko": "정의",
        "email": "somebody.new@example.kr",
        "ends_on": f"{today + timedelta(days=9)}",
        "funding": "city",
        "goal": "목표",
        "gpu_type": "h200",
        "gpus": 1,
        "hide": "I",
        "key": "some-figure",
        "kind": "hire",
        "label_en": "Label",
        "label_ko": "이름",
        "level": "2_evidence",
        "limit_s": 60,
        "longest": 60,
        "longest_s": 3600,
        "measure": "hires",
        "memory_mb": 1024,
        "most_awards": 1,
        "most_gpus": 1,
        "name": "이름",
        "name_en": "Name",
        "name_ko": "이름",
        "note_ko": "메모",
        "number": 1,
        "occurred_on": f"{today}",
        "opens_at": f"{moment:%Y-%m-%dT%H:%M}",
        "order": 1,
        "outcome": "selected",
        "password": "a yard for everybody",
        "password1": "a yard for everybody",
        "people": 3,
        "per_amount": 3600,
        "percent": 10,
        "plan": 50,
        "price_krw": 1000,
        "published": "2025",
        "publisher": "신문",
        "purpose": "학습",
        "reason": "까닭이 있습니다.",
        "region": "29",
        "representative": "대표",
        "reviews_wanted": 1,
        "role": "member",
        "scope": "site",
        "script": "#!/bin/sh\necho\n",
        "share_percent": 100,
        "signed_as": "대표",
        "starts_on": f"{today + timedelta(days=1)}",
        "subject": "주제",
        "team": 30,
        "text": "내용",
        "text_ko": "내용",
        "title": "제목",
        "title_ko": "제목",
        "until": f"{moment + timedelta(days=9):%Y-%m-%dT%H:%M}",
        "use_from": f"{today + timedelta(days=9)}",
        "use_until": f"{today + timedelta(days=99)}",
        "uuid": "0d7de9c0-3f5c-4d3b-9a54-4d8f3f0f9d11",
        "value": "29",
        "verb": "save",
    }


def sample(schema: dict[str, Any], known: dict[str, Any], name: str = "") -> Any:
    """A value that the description of an operation allows, with what is known of the name where that fits."""
    if "$ref" in schema:
        schema = description()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return sample(choices[0], known, name)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return {key: sample(inner, known, key) for key, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [sample(schema.get("items", {}), known, name)]
    if kind == "boolean":
        return True
    value = known.get(name)
    if kind in ("integer", "number"):
        return value if isinstance(value, int) else max(1, schema.get("minimum", 1))
    if kind == "string" and schema.get("format") == "date-time":
        return f"{value or known['until']}:00+09:00"
    if kind == "string" and schema.get("format") == "date":
        return str(value or known["use_from"])
    return "x" if value is None else str(value)


def body_of(operation: dict[str, Any], known: dict[str, Any]) -> tuple[str, Any] | None:
    """(content type, value) that the operation takes, or None."""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        return kind, sample(content["schema"], known)
    return None
