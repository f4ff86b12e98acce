from django.db import migrations

from madang.workflow.protect import take_away


class Migration(migrations.Migration):
    dependencies = [("calls", "0001_initial")]

    operations = [take_away("calls_submission", "calls_eligibilityanswer", "calls_scoresheet")]
