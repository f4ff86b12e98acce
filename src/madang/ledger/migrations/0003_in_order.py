"""Balances are locked before entries, everywhere; and an amount is one that sums can hold: ten years of a hundred petabytes,
counted by the megabyte and hour, are within it."""

from django.db import migrations

from madang.workflow.install import install

LIMIT = """
ALTER DOMAIN ledger_amount ADD CONSTRAINT ledger_amount_not_beyond CHECK (VALUE <= 10000000000000000)
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0002_functions")]
    operations = [
        migrations.RunSQL(LIMIT, "ALTER DOMAIN ledger_amount DROP CONSTRAINT ledger_amount_not_beyond"),
        install("ledger", ["inner", "verbs", "batch", "corrections", "usage", "closing", "seals"]),
    ]
