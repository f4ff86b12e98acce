"""The functions that write, and the rights to them: the application's role may call them and read, and no more."""

from importlib.resources import files

from django.db import migrations

from madang.workflow.protect import application_role

FILES = ["leaves", "claims", "pools"]
TABLES = "claims_leaf, claims_claim, claims_claimevent, claims_pool, claims_pool_claim, claims_poolclaimevent"
VERBS = [
    "make_leaf", "take", "confirm", "release", "move",
    "make_pool", "pool_peak", "pool_take", "pool_confirm", "pool_release", "pool_move", "pool_resize",
]  # fmt: skip


def install(apps, editor):
    with editor.connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_schema())")
        (schema,) = cursor.fetchone()
    for name in FILES:
        text = (files("madang.claims") / "sql" / f"{name}.sql").read_text("utf-8")
        editor.execute(text.replace("{schema}", schema), params=None)
    with editor.connection.cursor() as cursor:
        cursor.execute(
            r"SELECT oid::regprocedure::text, substr(proname, 8) FROM pg_proc"
            r" WHERE proname LIKE 'claims\_%' AND pronamespace = current_schema()::regnamespace"
        )
        functions = cursor.fetchall()
    role = application_role(editor.connection)
    for signature, name in functions:
        editor.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        if role and name in VERBS:
            editor.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")
    if role:
        editor.execute(f"REVOKE ALL ON {TABLES} FROM {role}")
        editor.execute(f"GRANT SELECT ON {TABLES} TO {role}")


class Migration(migrations.Migration):
    dependencies = [("claims", "0002_append_only")]
    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
