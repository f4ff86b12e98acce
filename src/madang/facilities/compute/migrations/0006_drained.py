"""Whether a machine of the local engine takes jobs: in schema.sql, and here for sites that were made before."""

from django.db import migrations

ADD = "ALTER TABLE engine_machine ADD COLUMN IF NOT EXISTS drained text NOT NULL DEFAULT ''"


class Migration(migrations.Migration):
    dependencies = [("compute", "0005_sessions")]
    operations = [migrations.RunSQL(ADD, migrations.RunSQL.noop)]
