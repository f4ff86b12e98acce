"""The functions that write, and the rights to them: the application's role may call them and read, and no more."""

from django.db import migrations

from madang.workflow.install import install

FILES = ["leaves", "claims", "pools"]
TABLES = "claims_leaf, claims_claim, claims_claimevent, claims_pool, claims_pool_claim, claims_poolclaimevent"
VERBS = [
    "make_leaf", "take", "confirm", "release", "move",
    "make_pool", "pool_peak", "pool_take", "pool_confirm", "pool_release", "pool_move", "pool_resize",
]  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [("claims", "0002_append_only")]
    operations = [install("claims", FILES, verbs=VERBS, tables=TABLES)]
