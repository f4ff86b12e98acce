from django.db import migrations

from madang.workflow.protect import take_away


class Migration(migrations.Migration):
    """Claims are never deleted, and their history is never changed."""

    dependencies = [("claims", "0001_initial"), ("pghistory", "0007_auto_20250421_0444")]
    operations = [
        take_away("claims_claim", "claims_pool_claim", rights="DELETE, TRUNCATE"),
        take_away("claims_claimevent", "claims_poolclaimevent"),
    ]
