"""A room's functions in the database, and the rights to them: the application's role may call the verbs and read the
tables, and no more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib.resources import files
from typing import Any

from django.db import migrations

from madang.workflow.protect import application_role


def install(
    room: str, sql: Sequence[str], *, verbs: Collection[str] = (), tables: str = "", sequences: str = ""
) -> migrations.RunPython:
    """The migration that runs these files of the room's `sql/`, in which {schema} stands for the schema's name.

    Nobody may call a function whose name begins with the room's, but the application's role may call the `verbs`, named
    here without that beginning. Of `tables` (as GRANT lists them) it may read and not write, and it may take numbers
    from `sequences`. Functions that exist are replaced and keep their rights, so that a later migration needs to name
    only the files that changed.
    """

    def forward(apps: Any, editor: Any) -> None:
        with editor.connection.cursor() as cursor:
            cursor.execute("SELECT quote_ident(current_schema())")
            (schema,) = cursor.fetchone()
        for name in sql:
            text = (files(f"madang.{room}") / "sql" / f"{name}.sql").read_text("utf-8").replace("{schema}", schema)
            editor.execute(text.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"), params=None)
        with editor.connection.cursor() as cursor:
            cursor.execute(
                "SELECT oid::regprocedure::text, substr(proname, length(%s) + 1) FROM pg_proc"
                " WHERE starts_with(proname, %s) AND pronamespace = current_schema()::regnamespace",
                [f"{room}_", f"{room}_"],
            )
            functions = cursor.fetchall()
        role = application_role(editor.connection)
        for signature, name in functions:
            editor.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
            if role and name in verbs:
                editor.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")
        if role and tables:
            editor.execute(f"REVOKE ALL ON {tables} FROM {role}")
            editor.execute(f"GRANT SELECT ON {tables} TO {role}")
        if role and sequences:
            editor.execute(f"GRANT USAGE ON SEQUENCE {sequences} TO {role}")

    return migrations.RunPython(forward, migrations.RunPython.noop)
