from django.db import migrations

# What was stopped has no exit code of its own (see `actions.own_exit_code`); the runs keep what their engines said.
FORGET = """
UPDATE jobs_task SET exit_code = NULL WHERE exit_code IS NOT NULL AND outcome NOT IN ('completed', 'failed');
UPDATE jobs_job SET exit_code = NULL WHERE exit_code IS NOT NULL AND outcome NOT IN ('completed', 'failed');
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0011_node_reason")]

    operations = [migrations.RunSQL(FORGET, migrations.RunSQL.noop)]
