"""What was booked before overruns said of which hold they are."""

from __future__ import annotations

from importlib import import_module

import pytest
from django.db import connection

from madang.ledger import actions as ledger
from madang.ledger.models import Excess
from madang.ledger.tests.make import books, named
from madang.ledger.tests.test_usage import SOURCE, record
from madang.ledger.usage import meter
from madang.ledger.verify import verify

pytestmark = pytest.mark.django_db
NAMED = import_module("madang.ledger.migrations.0004_excess").NAMED


def test_the_migration_names_the_overruns_that_are_of_a_hold_and_no_others():
    b = books(granted=1_000)
    over = {"account": b.mine, "sink": b.used, "amount": 5}
    ledger.settle(hold=b.hold(20), used=25, **named())
    meter([record(b, "metered", 25, hold=b.hold(20))], source=SOURCE)
    late = named()
    held = b.hold(20, **late)
    ledger.release(hold=held, **named())
    ledger.settle(hold=held, used=5, **late)
    for used in (19, 20):  # beside a settlement, before and without one
        both = named()
        ledger.overrun(**over, **both)
        ledger.settle(hold=b.hold(20), used=used, **both)
    ledger.overrun(**over, **named())
    freed = named()
    ledger.release(hold=b.hold(20, **freed), **named())
    meter([record(b, freed["key"], 5_000)], source=freed["source"])
    before = set(Excess.objects.values_list("hold", "entry"))
    assert len(before) == 3
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ledger_excess DISABLE TRIGGER USER; DELETE FROM ledger_excess")
        cursor.execute(NAMED)
        cursor.execute("ALTER TABLE ledger_excess ENABLE TRIGGER USER")
    assert set(Excess.objects.values_list("hold", "entry")) == before
    assert verify() == []
