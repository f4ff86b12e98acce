"""Asking the site as somebody, and looking at the answer as an attacker would."""

from __future__ import annotations

import html
import traceback
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from django.apps import apps
from django.db import connection, models
from django.test import Client

from tests.world import Tenant, World

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
FORM = "application/x-www-form-urlencoded"


@dataclass
class Answer:
    status: int
    text: str  # body and headers, without what was asked itself
    body: str
    response: Any
    error: str = ""


@dataclass
class Visitor:
    """A browser, logged in as somebody or nobody."""

    person: Any = None
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    def __post_init__(self) -> None:
        self.log_in()

    def log_in(self) -> None:
        if self.person is not None:
            self.client.force_login(self.person, backend="django.contrib.auth.backends.ModelBackend")

    def ask(self, method: str, path: str, data: Any = None, kind: str | None = None, **more: Any) -> Answer:
        given: dict[str, Any] = {"data": data} if data is not None else {}
        if kind:
            given["content_type"] = kind
        elif method in ("PUT", "PATCH", "DELETE") and data is not None:
            given["content_type"] = "application/json"
        response = getattr(self.client, method.lower())(path, **given, **more)
        raw = b"".join(response.streaming_content) if response.streaming else response.content
        body = raw.decode(errors="replace")
        headers = "\n".join(f"{name}: {value}" for name, value in response.items())
        text = html.unescape(f"{headers}\n{body}")
        for asked in {path, quote(path), unquote(path), quote(path, safe="")}:
            if len(asked) > 1:
                text = text.replace(asked, "")
        error = ""
        if response.status_code >= 500 and getattr(response, "exc_info", None):
            kind_, value, trace = response.exc_info
            ours = [f for f in traceback.extract_tb(trace) if "/madang/" in f.filename] or traceback.extract_tb(trace)
            spot = ours[-1]
            where = f"{spot.filename.rpartition('/madang/')[2]}:{spot.lineno}"
            error = f"{kind_.__name__}: {str(value)[:160]!r} at {where}"
        return Answer(response.status_code, text, body, response, error)


def leaks(answer: Answer, marks: list[str]) -> str:
    """The first mark in the answer with what is around it, or nothing."""
    low = answer.text.lower()
    for mark in marks:
        if (at := low.find(mark.lower())) >= 0:
            return " ".join(answer.text[max(0, at - 80) : at + 60].split())
    return ""


OWN_LOG = {"LogLine", "Session", "EmailConfirmation", "Context"}


def tables() -> list[type[models.Model]]:
    """What is stored of the domain: not the history of rows, not sessions."""
    found = []
    for model in apps.get_models():
        names = {base.__name__ for base in model.__mro__}
        label = model._meta.app_label
        if model.__name__ in OWN_LOG or "Event" in names or model.__name__.endswith("Event") or model._meta.proxy:
            continue
        if not model._meta.managed or label in ("sessions", "procrastinate", "pghistory", "contenttypes"):
            continue
        found.append(model)
    return found


Rows = dict[type[models.Model], dict[Any, str]]


def rows_now() -> Rows:
    """{model: {primary key: digest of the row}} of everything. A key of several columns is a tuple."""
    found: Rows = {}
    with connection.cursor() as cursor:
        for model in tables():
            keys = ", ".join(f'"{field.column}"' for field in model._meta.pk_fields)
            cursor.execute(f'SELECT md5(t::text), {keys} FROM "{model._meta.db_table}" t')
            found[model] = {row[1] if len(row) == 2 else row[1:]: row[0] for row in cursor.fetchall()}
    return found


def belongings(start: dict[type[models.Model], set[Any]]) -> dict[type[models.Model], set[Any]]:
    """The rows of `start` and every row that refers to one of them, and so on."""
    owned = {model: set(keys) for model, keys in start.items()}
    grew = True
    while grew:
        grew = False
        for model in tables():
            for column in model._meta.concrete_fields:
                target = column.related_model if isinstance(column, models.ForeignKey) else None
                keys = owned.get(target) if target is not None else None
                if not keys:
                    continue
                new = set(
                    model._base_manager.filter(**{f"{column.attname}__in": keys}).values_list("pk", flat=True)
                ) - owned.setdefault(model, set())
                if new:
                    owned[model] |= new
                    grew = True
    return owned


def of_tenant(tenant: Tenant) -> dict[type[models.Model], set[Any]]:
    """What belongs to the company and to its people."""
    return belongings(
        {
            type(tenant.organization): {tenant.organization.pk},
            type(tenant.lead): {tenant.lead.pk, tenant.member.pk},
        }
    )


def around_tenant(tenant: Tenant) -> dict[type[models.Model], set[Any]]:
    """The same with the program that lends to it and what it lends: nobody from outside changes that either."""
    return belongings(
        {
            type(tenant.organization): {tenant.organization.pk},
            type(tenant.lead): {tenant.lead.pk, tenant.member.pk},
            type(tenant.program): {tenant.program.pk},
            type(tenant.compute): {tenant.compute.pk, tenant.storage.pk},
        }
    )


def changed(before: Rows, guarded: dict[type[models.Model], set[Any]]) -> list[str]:
    """Guarded rows that are different or gone now."""
    after = rows_now()
    return [
        f"{model.__name__} {key} {'changed' if key in after[model] else 'deleted'}"
        for model, keys in guarded.items()
        for key in keys
        if before[model].get(key) != after[model].get(key)
    ]


def attached(before: Rows, owned: dict[type[models.Model], set[Any]]) -> list[str]:
    """New rows that refer to something of the tenant."""
    found = []
    for model, rows in rows_now().items():
        new = rows.keys() - before[model].keys()
        for column in model._meta.concrete_fields if new else ():
            target = column.related_model if isinstance(column, models.ForeignKey) else None
            if target in owned:
                bad = model._base_manager.filter(pk__in=new, **{f"{column.attname}__in": owned[target]})
                rows_ = bad.values_list("pk", flat=True)
                found += [f"{model.__name__} {key} refers to {target.__name__} by {column.name}" for key in rows_]
    return found


def roles(world: World) -> dict[str, Any]:
    """Everybody who may not see anything of tenant B."""
    return {
        "anonymous": None,
        "stranger": world.stranger,
        "lead": world.a.lead,
        "member": world.a.member,
        "officer": world.a.officer,
        "reviewer": world.a.reviewer,
        "unassigned-reviewer": world.reviewer,
        "steward": world.a.steward,
        "auditor": world.a.auditor,
    }


def insiders(world: World) -> dict[str, Any]:
    """Everybody who may see at least a part of it."""
    return {
        "its-lead": world.b.lead,
        "its-member": world.b.member,
        "its-officer": world.b.officer,
        "its-reviewer": world.b.reviewer,
        "its-steward": world.b.steward,
        "its-auditor": world.b.auditor,
        "site-steward": world.steward,
        "site-auditor": world.auditor,
        "executive": world.executive,
        "operator": world.operator,
    }
