"""The days and months of records by the zone of the function that books them, which needn't be named for each instant."""

from django.db import migrations

from madang.workflow.install import install


class Migration(migrations.Migration):
    dependencies = [("ledger", "0007_odd_values")]
    operations = [
        install("ledger", ["usage"]),
        migrations.RunSQL(
            "DROP FUNCTION IF EXISTS ledger_share(timestamptz, timestamptz, timestamp)", migrations.RunSQL.noop
        ),
    ]
