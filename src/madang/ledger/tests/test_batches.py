"""A batch answers each request as the verb would have; records come to the same in whatever parcels they arrive."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, given, settings

from madang.ledger import actions as ledger
from madang.ledger import errors, queries
from madang.ledger.actions import Hold, Settlement
from madang.ledger.combine import Combiner
from madang.ledger.models import Import
from madang.ledger.tests.make import Books, books, named
from madang.ledger.tests.test_usage import record
from madang.ledger.usage import meter
from madang.ledger.verify import verify
from madang.workflow.errors import Missing

HERE = {"max_examples": 25, "deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
requests = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9), st.sampled_from("abcdef")), max_size=6)
ends = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.sampled_from("abcdef")), max_size=6)
steps = st.lists(
    st.one_of(st.tuples(st.sampled_from(["hold", "charge"]), requests), st.tuples(st.just("settle"), ends))
)


@dataclass
class Twin:
    """The same books twice: what one is asked in batches the other is asked one by one."""

    books: Books = field(default_factory=lambda: books(granted=12))
    holds: list[int] = field(default_factory=list)
    keys: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.two = (self.books.mine, self.books.account(granted=5))
        self.shared: dict[str, Any] = {"source": f"twin {self.books.commodity}", "actor": None, "reason": ""}

    def asked(self, verb: str, rows: Any) -> list[Any]:
        if verb == "settle":
            return [Settlement(self.holds[n % len(self.holds)], used, key) for n, used, key in rows if self.holds]
        return [Hold(self.two[side], self.books.used, amount, key) for side, amount, key in rows]

    def together(self, verb: str, rows: Any) -> list[Any]:
        batch = {"hold": ledger.hold_batch, "charge": ledger.charge_batch, "settle": ledger.settle_batch}[verb]
        asked = self.asked(verb, rows)
        return self.answers(verb, asked, batch(asked, **self.shared))

    def one_by_one(self, verb: str, rows: Any) -> list[Any]:
        answers: list[Any] = []
        every = self.asked(verb, rows)
        for asked in every:
            words = dict(zip(asked._fields, asked, strict=True)) | self.shared
            try:
                answers.append(getattr(ledger, verb)(**words, **({"until": None} if verb == "hold" else {})))
            except errors.Refused as refused:
                answers.append(refused)
        return self.answers(verb, every, answers)

    def answers(self, verb: str, asked: list[Any], said: list[Any]) -> list[Any]:
        """What can be compared: which refusal and what is left, what was covered, under which key a hold was booked."""
        if verb == "hold":
            fresh = {
                a: row.key for row, a in zip(asked, said, strict=True) if isinstance(a, int) and a not in self.keys
            }
            self.keys |= fresh
            self.holds += sorted(fresh, key=lambda hold: fresh[hold])
        return [
            (type(a).__name__, getattr(a, "left", None)) if isinstance(a, errors.Refused)
            else (a.used, a.overrun) if verb == "settle"
            else self.keys[a] if verb == "hold"
            else "charged"
            for a in said
        ]  # fmt: skip

    def state(self) -> list[Any]:
        balances, overruns = queries.balances(self.two), queries.overruns(self.two)
        return [(balances[account], overruns[account]) for account in self.two]


def compare(played: Any) -> None:
    with transaction.atomic():
        batch, single = Twin(), Twin()
        for verb, rows in played:
            said, expected = batch.together(verb, rows), single.one_by_one(verb, rows)
            assert said == expected, f"{verb} {rows}"
            assert batch.state() == single.state(), f"{verb} {rows}"
        assert queries.check() == []
        transaction.set_rollback(True)


def parcels(played: Any) -> None:
    """Records with keys that come again, the same or changed, some of them for a hold, against a count in Python."""
    with transaction.atomic():
        b = books(granted=40)
        source, known, covered, over, holds = f"parcels {b.commodity}", {}, {}, {}, {}
        for parcel in played:
            Import.objects.all()._raw_delete("default")
            rows = {key: (amount, held) for key, amount, held in parcel}
            changed = {key for key, (amount, _held) in rows.items() if known.get(key, amount) != amount}
            settled = []  # what a hold was opened for just now
            for key in rows:
                if rows[key][1] and key not in holds and sum(covered.values()) + 4 * len(settled) <= 36:
                    holds[key] = b.hold(4, **named())
                    settled.append(key)
                    changed |= {key} & known.keys()  # the same use, that comes with its hold now
            fresh = [key for key in rows if key not in known or key in changed]
            for key in changed:
                covered[key] = over[key] = 0
            for key in settled:
                covered[key] = min(4, rows[key][0])
                over[key] = rows[key][0] - covered[key]
            left = 40 - sum(covered.values())
            for key in fresh:
                if key not in settled:
                    covered[key] = min(left, rows[key][0])
                    over[key] = rows[key][0] - covered[key]
                    left -= covered[key]
            known |= {key: amount for key, (amount, _held) in rows.items()}
            came = meter([record(b, key=key, amount=amount, hold=holds.get(key)) for key, (amount, _) in rows.items()],
                         source=source)  # fmt: skip
            assert (came.fresh, came.changed, came.refused) == (len(fresh) - len(changed), len(changed), [])
            assert b.balance().available == 40 - sum(covered.values()), f"after {parcel}"
            assert queries.overruns([b.mine])[b.mine] == sum(over.values()), f"after {parcel}"
            assert b.balance().held == 0
            assert verify() == [], f"after {parcel}"
        transaction.set_rollback(True)


records = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 12), st.booleans()), max_size=5)


@pytest.mark.django_db
@given(steps)
@settings(**HERE)
def test_a_batch_answers_each_request_as_the_verb_would(played):
    compare(played)


@pytest.mark.django_db
@given(st.lists(records, max_size=6))
@settings(**HERE)
def test_in_whatever_parcels_records_come_they_are_counted_once_and_add_up(played):
    parcels(played)


BATCHES, PARCELS = (compare, steps), (parcels, st.lists(records, max_size=6))
MUTANTS = {
    "holds of a batch are not counted": (
        BATCHES, "take_batch", "SELECT credited - debited - held FROM", "SELECT credited - debited FROM",
    ),
    "a replay in a batch is applied": (
        BATCHES, "take_batch", "AND e.kind = p_kind AND e.rev = 0)", "AND e.kind = p_kind AND e.rev = 1)",
    ),
    "one key twice in a batch counts twice": (
        BATCHES, "take_batch", "row_number() OVER (PARTITION BY key ORDER BY n) = 1", "true",
    ),
    "a batch of settlements keeps what was held": (
        BATCHES, "settle_batch", "held = b.held - s.amount", "held = b.held - s.used",
    ),
    "a batch of settlements takes more than was held": (
        BATCHES, "settle_batch", "used BETWEEN 0 AND h.amount", "used >= 0",
    ),
    "a changed record is not reversed": (PARCELS, "meter", "IF o_changed > 0 THEN", "IF o_changed > 9 THEN"),
    "a hold that comes with a known record stands for ever": (
        PARCELS, "meter", "s.hold_id IS NULL OR ", "true OR ",
    ),
    "a changed record adds to the sums": (
        PARCELS, "meter", "wait_s, -1 FROM unnest(v_old)", "wait_s, 0 FROM unnest(v_old)",
    ),
    "what nothing covers is charged": (
        PARCELS, "meter", "least(s.amount, l.available - l.before)", "least(s.amount, l.available)",
    ),
    "a known record is booked again": (PARCELS, "meter", "(k.same OR EXISTS", "(false OR EXISTS"),
    "a metered hold is not given back": (PARCELS, "meter", "held = b.held - s.held", "held = b.held - s.covered"),
    "the excess over a hold is lost": (
        PARCELS, "meter", "s.covered < s.amount\n      RET", "s.covered < s.amount AND NOT s.settles\n      RET",
    ),
}  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_fault_is_found(name):
    (property_of, data), function, right, wrong = MUTANTS[name]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = %s", [f"ledger_{function}"])
        (text,) = cursor.fetchone()
        assert right in text, "the mutant no longer fits the function"
        cursor.execute(text.replace(right, wrong), None)
    search = settings(**HERE | {"max_examples": 400}, phases=[Phase.generate], derandomize=True)
    with pytest.raises(Exception) as found:  # noqa: PT011  an assertion, or the database itself
        search(given(data)(property_of))()
    assert "max_examples" not in str(found.value)


@pytest.mark.django_db(transaction=True)
def test_many_that_ask_one_account_at_once_go_together_and_are_answered_each():
    b = books(granted=100)
    hot = Combiner(source="hot")

    def ask(number: int) -> Any:
        try:
            held = hot.hold(Hold(b.mine, b.used, 3, str(number % 45)))
            return hot.settle(b.mine, Settlement(held, 2, str(number % 45)))
        except errors.Refused as refused:
            return type(refused)
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(90)))
    assert {answer for answer in answers if isinstance(answer, type)} <= {errors.Overspent}
    used = {answer.entry for answer in answers if not isinstance(answer, type)}
    assert b.balance() == queries.Balance(credited=100, debited=2 * len(used), held=0)
    assert len(used) == 45
    assert queries.check() == []


@pytest.mark.django_db
def test_a_combined_request_is_refused_inside_a_transaction():
    b = books()
    with pytest.raises(RuntimeError):
        Combiner(source="hot").hold(Hold(b.mine, b.used, 3, "1"))


@pytest.mark.django_db(transaction=True)
def test_a_batch_that_fails_as_a_whole_is_the_error_of_whoever_went_and_nobody_is_forgotten():
    b = books()
    hot = Combiner(source="hot")
    with pytest.raises(errors.WrongAmount):
        hot.hold(Hold(b.mine, b.used, 2**63, "1"))
    assert hot.hold(Hold(b.mine, b.used, 3, "2")) > 0


@pytest.mark.django_db
@pytest.mark.parametrize(("amount", "key"), [(2**63, "a"), (5, "k" * 201), (5, "a\0b"), (5, "\ud800")])
def test_a_request_that_can_not_even_be_read_is_answered_by_itself(amount, key):
    b = books()
    shared: dict[str, Any] = {"source": "test", "actor": None, "reason": ""}
    first, wrong, last = ledger.hold_batch(
        [Hold(b.mine, b.used, 5, "one"), Hold(b.mine, b.used, amount, key), Hold(b.mine, b.used, 7, "two")], **shared
    )
    assert isinstance(wrong, errors.WrongAmount | errors.WrongRecord)
    assert b.balance().held == 12
    wrong, ended = ledger.settle_batch(
        [Settlement(int(str(first)), amount, key), Settlement(int(str(last)), 7, "two")], **shared
    )
    assert isinstance(wrong, errors.WrongAmount | errors.WrongRecord)
    assert isinstance(ended, ledger.Settled)
    assert b.balance().debited == 7


@pytest.mark.django_db
def test_a_request_that_names_what_has_no_number_is_answered_by_itself():
    b = books()
    shared: dict[str, Any] = {"source": "test", "actor": None, "reason": ""}
    asked = [Hold(2**63, b.used, 5, "a"), Hold(b.mine, -(2**64), 5, "b"), Hold(b.mine, b.used, 5, "c")]
    wrong, too, held = ledger.hold_batch(asked, **shared)
    assert (type(wrong), type(too), b.balance().held) == (Missing, Missing, 5)
    wrong, _ended = ledger.settle_batch([Settlement(2**63, 1, "a"), Settlement(int(str(held)), 4, "c")], **shared)
    assert (type(wrong), b.balance().debited) == (Missing, 4)
