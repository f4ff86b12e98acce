"""What a hold didn't cover is one overrun, whatever its key. Of the overruns so far, those of a hold are named: it was settled
under the same key with all that it held, or it was freed and its late use came under its own key.

A record that comes again with its hold ends it; odd values are refused in words. Seals cover the records of use: those made
before go on standing, they are of entries alone. Days and months are of the zone of the function that books."""

import django.db.models.deletion
from django.db import migrations, models

from madang.workflow.install import install

FILES = ["accounts", "verbs", "batch", "corrections", "usage", "closing", "seals"]
GONE = "DROP FUNCTION IF EXISTS ledger_share(timestamptz, timestamptz, timestamp)"
NAMED = """
INSERT INTO ledger_excess (hold_id, entry_id)
SELECT s.hold_id, o.id FROM ledger_entry o
  JOIN ledger_entry s ON s.ext_key = o.ext_key AND s.source = o.source AND s.kind = 'settle' AND s.rev = o.rev
  JOIN ledger_entry h ON h.id = s.hold_id AND h.debit_id = o.concerns_id AND h.amount = s.amount
 WHERE o.kind = 'overrun' AND o.amount > 0 AND o.booked_at >= s.booked_at
ON CONFLICT DO NOTHING;
INSERT INTO ledger_excess (hold_id, entry_id)
SELECT h.id, o.id FROM ledger_entry o
  JOIN ledger_entry h ON h.ext_key = o.ext_key AND h.source = o.source AND h.kind = 'hold' AND h.rev = o.rev
                     AND h.debit_id = o.concerns_id AND h.credit_id = o.credit_id
  JOIN ledger_entry e ON e.hold_id = h.id AND e.kind IN ('release', 'expire') AND o.booked_at >= e.booked_at
 WHERE o.kind = 'overrun' AND o.amount > 0 AND NOT EXISTS (
         SELECT FROM ledger_entry c JOIN ledger_usage u ON u.entry_id = c.id
          WHERE c.ext_key = o.ext_key AND c.source = o.source AND c.kind IN ('charge', 'overrun') AND c.rev = o.rev)
ON CONFLICT DO NOTHING;
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0003_in_order")]
    operations = [
        migrations.CreateModel(
            name="Excess",
            fields=[
                ("hold", models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name="+", serialize=False, to="ledger.entry")),
                ("entry", models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="ledger.entry")),
            ],
        ),
        migrations.RunSQL(NAMED, migrations.RunSQL.noop),
        migrations.AddField("seal", "records", models.BigIntegerField(null=True)),
        install("ledger", FILES, verbs=["digest_records"], tables="ledger_excess"),
        migrations.RunSQL(GONE, migrations.RunSQL.noop),
    ]
