"""The functions that write, and the rights to them: the application's role may call them and read, and no more."""

from importlib.resources import files

from django.db import migrations

from madang.workflow.protect import application_role

FILES = ["tables", "inner", "accounts", "verbs", "batch", "corrections", "usage", "closing", "seals"]
TABLES = (
    "ledger_commodity, ledger_account, ledger_balance, ledger_entry, ledger_period, ledger_seal, ledger_total,"
    " ledger_usage, ledger_usage_day, ledger_usage_month, ledger_import"
)
VERBS = [
    "make_commodity", "open_account", "grant", "hold", "settle", "release", "expire", "charge", "overrun",
    "refund", "transfer", "reclaim", "reverse", "close_month", "hold_batch", "charge_batch", "settle_batch",
    "stage", "meter", "seal", "digest", "month", "cut", "share",
]  # fmt: skip


def install(apps, editor):
    with editor.connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_schema())")
        (schema,) = cursor.fetchone()
    for name in FILES:
        text = (files("madang.ledger") / "sql" / f"{name}.sql").read_text("utf-8")
        editor.execute(text.replace("{schema}", schema), params=None)
    with editor.connection.cursor() as cursor:
        cursor.execute(
            r"SELECT oid::regprocedure::text, substr(proname, 8) FROM pg_proc"
            r" WHERE proname LIKE 'ledger\_%' AND pronamespace = current_schema()::regnamespace"
        )
        functions = cursor.fetchall()
    role = application_role(editor.connection)
    for signature, name in functions:
        editor.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        if role and name in VERBS:
            editor.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")
    if role:
        editor.execute(f"REVOKE ALL ON {TABLES}, ledger_leg FROM {role}")
        editor.execute(f"GRANT SELECT ON {TABLES}, ledger_leg TO {role}")
        # A staged record takes the number of its entry; a number alone writes nothing.
        editor.execute(f"GRANT USAGE ON SEQUENCE ledger_entry_id_seq TO {role}")


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_initial")]
    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
