"""The functions that write, and the rights to them: the application's role may call them and read, and no more."""

from django.db import migrations

from madang.workflow.install import install

FILES = ["tables", "inner", "accounts", "verbs", "batch", "corrections", "usage", "closing", "seals"]
TABLES = (
    "ledger_commodity, ledger_account, ledger_balance, ledger_entry, ledger_period, ledger_seal, ledger_total,"
    " ledger_usage, ledger_usage_day, ledger_usage_month, ledger_import"
)
VERBS = [
    "make_commodity", "open_account", "grant", "hold", "settle", "release", "expire", "charge", "overrun",
    "refund", "transfer", "reclaim", "reverse", "close_month", "hold_batch", "charge_batch", "settle_batch",
    "stage", "open_months", "meter", "seal", "digest", "month", "cut",
]  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_initial")]
    operations = [
        # A staged record takes the number of its entry; a number alone writes nothing.
        install("ledger", FILES, verbs=VERBS, tables=f"{TABLES}, ledger_leg", sequences="ledger_entry_id_seq"),
    ]
