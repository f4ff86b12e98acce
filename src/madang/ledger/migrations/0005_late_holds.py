"""A record that comes again, now with its hold, ends it."""

from django.db import migrations

from madang.workflow.install import install


class Migration(migrations.Migration):
    dependencies = [("ledger", "0004_excess")]
    operations = [install("ledger", ["usage"])]
