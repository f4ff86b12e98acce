"""The state machine is worth what it finds: each of these faults, planted in the functions, must be found by it."""

from __future__ import annotations

import pytest
from django.db import Error, connection
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from madang.ledger.tests.test_state_machine import Lending
from madang.workflow.errors import Refused

SEARCH = settings(
    max_examples=400,
    stateful_step_count=25,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    derandomize=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
UNCHECKED = "ALTER TABLE ledger_balance DROP CONSTRAINT ledger_never_overspent"
MUTANTS = {
    "holds are not counted": (
        "hold",
        "credited - debited - held >= p_amount",
        "credited - debited >= p_amount",
        UNCHECKED,
    ),
    "settle releases the settled amount": ("settle", "held - v_held", "held - o_used", ""),
    "another payload is accepted": ("write", "RAISE EXCEPTION 'key used", "RAISE NOTICE 'key used", ""),
    "a replay is applied twice": ("charge", "IF v_fresh THEN", "IF true THEN", ""),
    "off by one": ("hold", "held >= p_amount", "held > p_amount", ""),
    "a leg is missing": ("move", "SET credited = credited + p_amount", "SET credited = credited", ""),
    "expire obeys no clock": ("expire", "v_hold.expires_at > clock_timestamp()", "false", ""),
    "a second reversal counts": ("reverse", "'reversed before'", "'partly'", ""),
    "refunds exceed the entry": ("refund", "> v_old.amount", "> 2 * v_old.amount", ""),
    "a transfer never asks the giver": ("move", "AND credited - debited - held >= p_amount", "", UNCHECKED),
    "a closed month takes entries": ("period_of", "o_period <= v_closed", "o_period < v_closed", ""),
    "freeing gives nothing back": ("free", "held - p_hold.amount", "held", ""),
    "the excess is lost": ("settle", "IF o_overrun > 0", "IF o_overrun > 5", ""),
    "late use counts once for each key": (
        "settle",
        "IF v_late.id IS NULL THEN",
        "IF true THEN",
        "ALTER TABLE ledger_excess DROP CONSTRAINT ledger_excess_pkey",
    ),
    "a key names two overruns": ("lose", "IF NOT v_fresh AND", "IF false AND", ""),
}


@pytest.mark.django_db
@pytest.mark.parametrize("name", MUTANTS)
def test_the_state_machine_finds(name):
    function, right, wrong, also = MUTANTS[name]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = %s", [f"ledger_{function}"])
        (text,) = cursor.fetchone()
        assert right in text, "the mutant no longer fits the function"
        cursor.execute(text.replace(right, wrong), None)
        if also:
            cursor.execute(also)
    if name == "a second reversal counts":
        with connection.cursor() as cursor:  # the unique index is the guard there; without it the verb must notice
            cursor.execute("DROP INDEX ledger_reversed_once")
    with pytest.raises((AssertionError, Error, Refused)):
        run_state_machine_as_test(Lending, settings=SEARCH)
