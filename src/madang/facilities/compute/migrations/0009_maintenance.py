"""Maintenance of a machine of the local engine: in schema.sql, and here for sites that were made before."""

from django.db import migrations

ADD = """
CREATE TABLE IF NOT EXISTS engine_maintenance (
    machine         text NOT NULL,
    key             text NOT NULL,
    starts_at       timestamptz NOT NULL,
    ends_at         timestamptz NOT NULL,
    reason          text NOT NULL,
    partition       text NOT NULL,
    PRIMARY KEY (machine, key),
    CHECK (starts_at < ends_at)
)
"""


class Migration(migrations.Migration):
    dependencies = [("compute", "0008_marked")]
    operations = [migrations.RunSQL(ADD, migrations.RunSQL.noop)]
