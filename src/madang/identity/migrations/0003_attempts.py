from django.db import migrations

# As Django's `createcachetable` makes it: what CACHES in the settings names.
TABLE = """
CREATE TABLE identity_attempt (cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL);
CREATE INDEX identity_attempt_expires ON identity_attempt (expires);
"""


class Migration(migrations.Migration):
    dependencies = [("identity", "0002_in_our_time")]

    operations = [migrations.RunSQL(TABLE, "DROP TABLE identity_attempt")]
