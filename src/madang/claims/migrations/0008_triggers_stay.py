"""No verb has to put `pgtrigger.ignore` back: no trigger asks for it (see `madang.workflow.apps`). And who names no list of
things takes none of them, and isn't looking for its parts for ever."""

from django.db import migrations

from madang.workflow.install import install


class Migration(migrations.Migration):
    dependencies = [("claims", "0007_wholes")]
    operations = [install("claims", ["leaves"])]
