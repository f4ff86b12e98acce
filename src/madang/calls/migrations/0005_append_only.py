from django.db import migrations

from madang.workflow.protect import take_away


class Migration(migrations.Migration):
    dependencies = [("calls", "0004_drafts_beside_what_was_submitted")]

    operations = [take_away("calls_submission", "calls_eligibilityanswer", "calls_scoresheet")]
