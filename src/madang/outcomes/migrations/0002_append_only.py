from django.db import migrations

from madang.workflow.protect import take_away


class Migration(migrations.Migration):
    dependencies = [("outcomes", "0001_initial")]
    operations = [take_away("outcomes_evidence", "outcomes_verification")]
