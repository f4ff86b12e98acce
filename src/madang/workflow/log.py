from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pghistory
from django.db import models, transaction

from madang.workflow.models import LogLine


@contextmanager
def act(
    actor: Any, verb: str, *, on: models.Model | None = None, reason: str = "", **detail: Any
) -> Iterator[dict[str, Any]]:
    """The one transaction of a verb.

    Everything inside is done or nothing is. The log line is written last, about `on`, or about the row that the verb
    put into the yielded mapping under "on" because it made it. Whatever else is put there is kept as detail. `actor`
    is a person with `id` and `name`, or None for the system.

    A verb that finds itself done already says so with "again", and nothing is written: its line stands there once.
    """
    said: dict[str, Any] = {"on": on, **detail}
    who, name = (None, "") if actor is None else (actor.pk, str(actor))
    before = getattr(on, "state", "") or ""
    with transaction.atomic(), pghistory.context(actor=who, verb=verb, reason=reason):
        yield said
        row = said.pop("on")
        if said.pop("again", False):
            return
        LogLine.objects.create(
            actor_id=who,
            actor_name=name[:200],
            verb=verb,
            kind=row._meta.label_lower if row is not None else "",
            ref=row.pk if row is not None else None,
            before=before,
            after=getattr(row, "state", "") or "",
            reason=reason,
            detail=said,
        )


@contextmanager
def act_on_many(actor: Any, verb: str) -> Iterator[dict[models.Model, Mapping[str, Any]]]:
    """As `act`, of the same verb done to many rows: a log line for each row that is put into the yielded mapping, with
    its detail. The lines are written in one statement, and without the state that each row had before."""
    lines: dict[models.Model, Mapping[str, Any]] = {}
    who, name = (None, "") if actor is None else (actor.pk, str(actor))
    with transaction.atomic(), pghistory.context(actor=who, verb=verb, reason=""):
        yield lines
        LogLine.objects.bulk_create(
            LogLine(
                actor_id=who,
                actor_name=name[:200],
                verb=verb,
                kind=row._meta.label_lower,
                ref=row.pk,
                before="",
                after=getattr(row, "state", "") or "",
                reason="",
                detail=detail,
            )
            for row, detail in lines.items()
        )


def note(actor: Any, verb: str, *, on: models.Model | None = None, reason: str = "", **detail: Any) -> None:
    """A log line without a change of its own, in whatever transaction is open."""
    with act(actor, verb, on=on, reason=reason, **detail):
        pass


def read_of(actor: Any, on: models.Model, what: str) -> None:
    """Reading personal data is recorded too: `what` says which ("contact of the applicant")."""
    note(actor, "read", on=on, what=what)
