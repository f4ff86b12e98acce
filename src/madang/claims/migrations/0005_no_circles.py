"""Two transactions that want what the other has don't wait for the server to find them in a deadlock."""

from django.db import migrations

from madang.workflow.install import install


class Migration(migrations.Migration):
    dependencies = [("claims", "0004_limits")]
    operations = [install("claims", ["leaves", "pools"])]
