"""The state machines are worth what they find: each of these faults, planted in the functions or the constraint, must
be found by them."""

from __future__ import annotations

import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from madang.claims.tests.test_state_machine import Booking, Counting

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
ANY_TIME = """
    ALTER TABLE claims_claim DROP CONSTRAINT claims_claim_during;
    ALTER TABLE claims_pool_claim DROP CONSTRAINT claims_pool_claim_during
"""
ANY_END = "ALTER TABLE claims_claim DROP CONSTRAINT claims_claim_until"
UNGUARDED = "ALTER TABLE claims_claim DROP CONSTRAINT claims_never_twice"
ONLY_CONFIRMED = f"""
    {UNGUARDED};
    ALTER TABLE claims_claim ADD CONSTRAINT claims_never_twice EXCLUDE USING gist
      (int8range(leaf_id, leaf_id, '[]') WITH &&, during WITH &&) WHERE (state = 'confirmed')
"""
READ_FIRST = """BEGIN
  IF EXISTS (SELECT FROM claims_claim WHERE leaf_id = ANY (claims_lock_things(p_things))
                AND during && claims_during(p_start, p_end) AND state IN ('held', 'confirmed')) THEN
    PERFORM claims_refuse('claims_never_twice');
  END IF;
"""
BOOKING = {
    "the end is taken, too": ("during", "'[)'", "'[]'", ANY_TIME),
    "the start isn't taken": ("during", "'[)'", "'(]'", ANY_TIME),
    "nothing keeps two apart": ("take", "", "", UNGUARDED),
    "it is looked at when it is taken, and not when it is moved": ("take", "BEGIN\n", READ_FIRST, UNGUARDED),
    "what is held may be taken": ("take", "", "", ONLY_CONFIRMED),
    "an overdue hold still blocks": ("lock_leaves", "expires_at <= clock_timestamp()", "false", ""),
    "a hold ends before its time": ("lock_leaves", "expires_at <= clock_timestamp()", "expires_at IS NOT NULL", ""),
    "a hold without an end is overdue": (
        "lock_leaves",
        "expires_at <= clock_timestamp()",
        "coalesce(expires_at, '-infinity') <= clock_timestamp()",
        ANY_END,
    ),
    "an overdue hold is confirmed": ("confirm", "PERFORM claims_lock_claims(p_claims)", "NULL", ""),
    "the whole is taken without its parts": ("lock_things", "RETURN v_leaves", "RETURN p_things", ""),
    "parts of parts are forgotten": (
        "lock_things",
        "ON part.parent_id = tree.id)",
        "ON part.parent_id = ANY (p_things))",
        "",
    ),
    "a set is taken as far as it is free": ("take", "RETURNING id)", "ON CONFLICT DO NOTHING RETURNING id)", ""),
    "one of a set may be gone": (
        "lock_claims",
        "IF EXISTS (SELECT FROM claims_claim WHERE id = ANY (p_claims) AND state NOT IN",
        "IF NOT EXISTS (SELECT FROM claims_claim WHERE id = ANY (p_claims) AND state IN",
        "",
    ),
    "what was released comes back": ("lock_claims", "NOT IN ('held', 'confirmed')", "= 'expired'", ""),
    "confirmed time is never given back": ("release", "IN ('held', 'confirmed')", "= 'held'", ""),
    "giving back counts and frees nothing": ("release", "SET state = 'released'", "SET state = state", ""),
    "what is overdue counts as given back": ("release", "PERFORM claims_lock_leaves", "PERFORM cardinality", ""),
    "confirming leaves the end of the hold": ("confirm", "expires_at = NULL", "expires_at = expires_at", ANY_END),
    "one of a set isn't moved": ("move", "id = ANY (p_claims)", "id = p_claims[1]", ""),
    "a whole in use is divided": ("make_leaf", "leaf_id = p_parent AND", "false AND", ""),
    "an overdue hold keeps it whole": ("make_leaf", "claims_lock_things(ARRAY[p_parent])", "ARRAY[p_parent]", ""),
}
COUNTING = {
    "the end is taken, too": BOOKING["the end is taken, too"],
    "the start isn't taken": BOOKING["the start isn't taken"],
    "the sum counts": (
        "peak",
        "coalesce(max(level), 0)::bigint FROM levels",
        "coalesce(sum(amount), 0)::bigint FROM busy",
        "",
    ),
    "who comes sits before who leaves": (
        "peak",
        "sum(sum(amount)) OVER (ORDER BY at) AS level FROM steps GROUP BY at",
        "sum(amount) OVER (ORDER BY at, amount DESC) AS level FROM steps",
        "",
    ),
    "another pool counts, too": (
        "peak",
        "int8range(claim.pool_id, claim.pool_id, '[]')",
        "int8range(NULL, NULL)",
        "",
    ),
    "a hold takes nothing": ("peak", "IN ('held', 'confirmed')", "= 'confirmed'", ""),
    "what was released still counts": ("peak", "'confirmed')", "'confirmed', 'released')", ""),
    "an overdue hold still counts": ("peak", "> clock_timestamp()", "> '-infinity'", ""),
    "an overdue hold is confirmed": ("lock_pool", "expires_at <= clock_timestamp()", "false", ""),
    "one more than there are": ("need", "p_amount > v_free", "p_amount > v_free + 1", ""),
    "one is never lent": ("need", "p_amount > v_free", "p_amount >= v_free", ""),
    "fewer than none are left": ("need", "greatest(v_free, 0)", "v_free", ""),
    "taking isn't checked": ("pool_take", "PERFORM claims_need(", "PERFORM row(", ""),
    "moving isn't checked": ("pool_move", "PERFORM claims_need(", "PERFORM row(", ""),
    "a claim stands in its own way": ("pool_move", ", p_claim);", ");", ""),
    "more of it isn't checked where it was": (
        "pool_move",
        "IF coalesce(p_amount, v_old.amount) <= v_old.amount",
        "IF true",
        "",
    ),
    "what it has is asked for again": (
        "pool_move",
        "IF coalesce(p_amount, v_old.amount) <= v_old.amount",
        "IF false",
        "",
    ),
    "moving forgets the number": ("pool_move", "amount = coalesce(p_amount, amount)", "amount = amount", ""),
    "what was released comes back": ("lock_pool_claim", "NOT IN ('held', 'confirmed')", "= 'expired'", ""),
    "confirmed seats are never given back": ("pool_release", "IN ('held', 'confirmed')", "= 'held'", ""),
    "a pool breaks its promises": ("pool_resize", "v_promised > p_capacity", "false", ""),
    "what is over is still promised": ("pool_resize", "clock_timestamp(), NULL", "'1900-01-01', NULL", ""),
    "what comes later isn't promised": (
        "pool_resize",
        "clock_timestamp(), NULL",
        "clock_timestamp(), clock_timestamp() + '1 s'::interval",
        "",
    ),
}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("machine", "name"), [(Booking, name) for name in BOOKING] + [(Counting, name) for name in COUNTING]
)
def test_the_state_machine_finds(machine, name):
    function, right, wrong, also = (BOOKING if machine is Booking else COUNTING)[name]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = %s", [f"claims_{function}"])
        (text,) = cursor.fetchone()
        assert right in text, "the mutant no longer fits the function"
        cursor.execute(text.replace(right, wrong) if right else text, None)
        if also:
            cursor.execute(also)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=SEARCH)
