"""The late use of a hold that was freed counts once, whether a record or a late settlement tells of it, or both do."""

from django.db import migrations

from madang.workflow.install import install


class Migration(migrations.Migration):
    dependencies = [("ledger", "0004_excess")]
    operations = [install("ledger", ["verbs", "usage"])]
