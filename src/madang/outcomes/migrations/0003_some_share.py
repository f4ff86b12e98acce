from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('outcomes', '0002_append_only'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='outcome',
            name='outcome_share',
        ),
        migrations.AddConstraint(
            model_name='outcome',
            constraint=models.CheckConstraint(condition=models.Q(('share_percent__gte', 1), ('share_percent__lte', 100)), name='outcome_share'),
        ),
    ]
