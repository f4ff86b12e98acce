"""The queue and the slots of the local engine, in its own tables: it knows no Django, and the schema is its own file."""

from django.db import migrations

from madang.engines.local import schema


def forward(apps, editor):
    editor.execute(schema(), params=None)


class Migration(migrations.Migration):
    dependencies = [("compute", "0001_initial")]
    operations = [migrations.RunPython(forward, migrations.RunPython.noop)]
