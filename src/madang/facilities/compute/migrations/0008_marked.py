"""When a run of Slurm ended by its own marks: in schema.sql, and here for sites that were made before."""

from django.db import migrations

ADD = "ALTER TABLE slurm_run ADD COLUMN IF NOT EXISTS marked_at timestamptz"


class Migration(migrations.Migration):
    dependencies = [("compute", "0007_tensorboard")]
    operations = [migrations.RunSQL(ADD, migrations.RunSQL.noop)]
