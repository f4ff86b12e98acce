"""Seals cover records of use. Those made before go on standing: they are of entries alone."""

from django.db import migrations, models

from madang.workflow.install import install


class Migration(migrations.Migration):
    dependencies = [("ledger", "0005_late_holds")]
    operations = [
        migrations.AddField("seal", "records", models.BigIntegerField(null=True)),
        install("ledger", ["seals"], verbs=["digest_records"]),
    ]
