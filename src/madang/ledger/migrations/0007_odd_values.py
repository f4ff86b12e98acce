"""What a bad caller may ask for and what the ledger makes of it."""

from django.db import migrations

from madang.workflow.install import install


class Migration(migrations.Migration):
    dependencies = [("ledger", "0006_records_sealed")]
    operations = [install("ledger", ["accounts", "verbs", "batch", "corrections", "usage", "closing"])]
