"""The log of verbs. Append-only: the trigger refuses to change a line, and the application's role may not either."""

from __future__ import annotations

import pgtrigger
from django.db import models
from django.db.models.functions import Now


class LogLine(models.Model):
    """One verb that somebody did: `actor` did `verb` to (`kind`, `ref`), and why.

    `actor_id` is opaque here (this library knows no people); null is the system itself. `actor_name` is what the person
    was called then. `kind` is the label of the model ("calls.call"), `ref` its primary key. `detail` is small JSON.
    """

    at = models.DateTimeField(db_default=Now())
    actor_id = models.BigIntegerField(null=True)
    actor_name = models.CharField(max_length=200, blank=True)
    verb = models.CharField(max_length=60)
    kind = models.CharField(max_length=60)
    ref = models.BigIntegerField(null=True)
    before = models.CharField(max_length=40, blank=True)
    after = models.CharField(max_length=40, blank=True)
    reason = models.TextField(blank=True)
    detail = models.JSONField(default=dict)

    class Meta:
        indexes = [
            models.Index(fields=["kind", "ref", "id"], name="log_of_a_thing"),
            models.Index(fields=["actor_id", "id"], name="log_of_a_person"),
        ]
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]
