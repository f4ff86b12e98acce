"""What is taken as a whole gets no new part, and nobody can switch the history of claims off."""

from django.db import migrations

from madang.workflow.install import install


class Migration(migrations.Migration):
    dependencies = [("claims", "0006_long_histories")]
    operations = [install("claims", ["leaves", "claims", "pools"])]
