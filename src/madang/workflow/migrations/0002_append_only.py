from django.db import migrations

from madang.workflow.protect import take_away


class Migration(migrations.Migration):
    dependencies = [("workflow", "0001_initial")]
    operations = [take_away("workflow_logline")]
