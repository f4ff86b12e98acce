"""Tables that the application's role may only add to. The second line behind the trigger that refuses changes, and the
only one against TRUNCATE: an owner can always write, which is why the application never is one."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import migrations


def application_role(connection: Any) -> str | None:
    """The quoted name of the application's role; None where it doesn't exist or is the one that migrates."""
    role = settings.APPLICATION_ROLE
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s AND rolname <> current_user)", [role])
        (there,) = cursor.fetchone()
    return connection.ops.quote_name(role) if there else None


def take_away(*tables: str, rights: str = "UPDATE, DELETE, TRUNCATE") -> migrations.RunPython:
    """The migration that takes `rights` on `tables` away from the application's role."""

    def forward(apps: Any, editor: Any) -> None:
        if role := application_role(editor.connection):
            for table in tables:
                editor.execute(f"REVOKE {rights} ON {editor.quote_name(table)} FROM {role}")

    return migrations.RunPython(forward, migrations.RunPython.noop)
