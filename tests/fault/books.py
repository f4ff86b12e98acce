"""Writers of the ledger, and what it must say by what it answered them."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

from django.db import connection

from madang.ledger import actions as ledger
from madang.ledger import queries
from madang.ledger.errors import Overspent
from madang.ledger.verify import verify
from tests.fault.counts import Counts
from tests.fault.writers import Asked

SOURCE = "fault"
ACCOUNTS = 12
MOST_AT_ONCE = 6
# What the writers booked, and the reversals that the ledger itself books where a record changes.
ROWS = """
    SELECT kind, ext_key || CASE WHEN rev > 0 THEN '#' || rev ELSE '' END, debit_id, credit_id, amount, hold_id, id
      FROM ledger_entry WHERE source IN ('fault', 'ledger')
"""


class Row(NamedTuple):
    """An entry without its id: (kind, key) is there once. A changed record's key has its revision, as in `841#2`."""

    kind: str
    key: str
    debit: int
    credit: int
    amount: int
    hold: int | None = None


@dataclass(frozen=True)
class Call:
    verb: str
    key: str
    arguments: dict[str, Any]

    def post(self) -> Any:
        """What the ledger answers; Overspent is returned, since it is an answer."""
        try:
            return getattr(ledger, self.verb)(
                **self.arguments, source=SOURCE, key=self.key, actor=None, reason=self.verb
            )
        except Overspent:
            return Overspent

    def booked(self) -> int | None:
        """The entry that it made, if it did."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM ledger_entry WHERE source = %s AND ext_key = %s AND kind = %s",
                [SOURCE, self.key, self.verb],
            )
            row = cursor.fetchone()
        return row[0] if row else None


@dataclass
class Books:
    """One commodity, and the entries that were acknowledged, each with its id; None where the answer names none."""

    commodity: int
    pool: int
    used: int
    over: int
    accounts: list[int]
    known: dict[Row, int | None] = field(default_factory=dict)
    wrong_answers: list[Any] = field(default_factory=list)

    def differences(self, counts: Counts) -> None:
        """Count what the ledger says otherwise than it answered. For when nobody writes."""
        with connection.cursor() as cursor:
            cursor.execute(ROWS)
            rows = [(Row(*row[:-1]), row[-1]) for row in cursor.fetchall()]
            cursor.execute("SELECT account_id, sum(amount) FROM ledger_leg GROUP BY account_id")
            legs = dict(cursor.fetchall())
        found = dict(rows)
        lost = [row for row, entry in self.known.items() if row not in found or entry not in (None, found[row])]
        counts.wrong("lost", lost, "acknowledged and not there")
        twice = [key for key, times in Counter(row[:2] for row, _entry in rows).items() if times > 1]
        counts.wrong("double_charged", twice, "a key is booked twice")
        counts.wrong("double_charged", found.keys() - self.known.keys(), "booked and not acknowledged")
        counts.wrong("double_charged", self.wrong_answers, "answered otherwise on asking again")
        self.wrong_answers.clear()
        balances = queries.balances(self.accounts)
        counts.wrong("overspent", [a for a, b in balances.items() if b.available < 0], "below zero")
        wanted = self.balances()
        counts.wrong("drift", [(a, balances[a], wanted[a]) for a in self.accounts if balances[a] != wanted[a]], "total")
        # Days that nobody came to seal yet are told, too. Seals that were acknowledged are counted with the nights.
        problems = [str(problem) for problem in verify() if problem.check != "missing seals"]
        counts.wrong("drift", problems, "counted again")
        counts.wrong("drift", [legs] if sum(legs.values()) else [], "the legs don't sum to zero")
        ended = {row.hold for row in self.known if row.hold}
        mine = {entry for row, entry in self.known.items() if row.kind == "hold"} - ended
        there = {entry.pk for entry in queries.open_holds(source=SOURCE)}
        counts.wrong("forgotten_holds", mine ^ there, "open in one and not in the other")

    def balances(self) -> dict[int, queries.Balance]:
        """By what was acknowledged alone."""
        credited, debited, held = defaultdict[int, int](int), defaultdict[int, int](int), defaultdict[int, int](int)
        ended = {row.hold for row in self.known if row.hold}
        for row, entry in self.known.items():
            if row.kind != "hold":
                credited[row.credit] += row.amount
                debited[row.debit] += row.amount
            elif entry not in ended:
                held[row.debit] += row.amount
        return {a: queries.Balance(credited[a], debited[a], held[a]) for a in self.accounts}


def books() -> Books:
    """Accounts with so little that many calls are refused; the first is the one that all want."""
    commodity = ledger.commodity(code=f"fault-{uuid4()}", unit="krw")
    pool, used, over = (ledger.site_account(commodity=commodity, role=role) for role in ("pool", "consumed", "overrun"))
    accounts = [
        ledger.open_account(
            commodity=commodity, owner_type="fault", owner_id=number, role="allocation", limited=True
        )
        for number in range(ACCOUNTS)
    ]  # fmt: skip
    return Books(commodity, pool, used, over, accounts)


class LedgerWriter(Asked):
    """One verb at each turn, some of them a second time later."""

    def __init__(self, books: Books) -> None:
        super().__init__()
        self.books = books
        self.holds: list[tuple[int, Row]] = []
        self.charges: list[tuple[int, Row]] = []
        self.rows: dict[int, Row] = {}
        self.before: list[tuple[Call, Any]] = []

    def turn(self) -> None:
        if self.before and random.random() < 0.1:
            call, answer = random.choice(self.before[-50:])
        else:
            call, answer = self.choose(), None
        fresh = answer is None
        made: list[int] = []

        def again() -> Any:
            if (entry := call.booked()) is not None:
                made.append(entry)
            return call.post()

        said = self.ask(call.post, again)
        entry = said.entry if isinstance(said, ledger.Settled) else said
        # What was booked before the kill, or acknowledged earlier, is answered as it was then.
        if made and entry != made[0]:
            self.books.wrong_answers.append((call, made[0], said))
        if fresh:
            self.learn(call, said)
        elif said != answer:
            self.books.wrong_answers.append((call, answer, said))

    def choose(self) -> Call:
        """Something that is never refused but for want of a balance."""
        b, key = self.books, str(uuid4())
        account = b.accounts[0] if random.random() < 0.4 else random.choice(b.accounts)
        amount = random.randint(1, 60)
        verb = random.choices(
            ["grant", "hold", "settle", "release", "charge", "transfer", "refund", "reverse"], [4, 8, 5, 2, 3, 2, 1, 1]
        )[0]
        if verb in ("settle", "release") and self.holds:
            hold, row = self.holds.pop(random.randrange(len(self.holds)))
            used = {"used": random.randint(0, row.amount * 5 // 4)} if verb == "settle" else {}
            return Call(verb, key, {"hold": hold, **used})
        if verb in ("refund", "reverse") and self.charges:
            entry, row = self.charges.pop(random.randrange(len(self.charges)))
            part = {"amount": random.randint(0, row.amount)} if verb == "refund" else {}
            return Call(verb, key, {"entry": entry, **part})
        match verb:
            case "grant":
                return Call(verb, key, {"pool": b.pool, "account": account, "amount": amount})
            case "charge":
                return Call(verb, key, {"account": account, "sink": b.used, "amount": amount})
            case "transfer":
                taker = random.choice([other for other in b.accounts if other != account])
                return Call(verb, key, {"giver": account, "taker": taker, "amount": amount})
        return Call("hold", key, {"account": account, "sink": b.used, "amount": amount, "until": None})

    def learn(self, call: Call, said: Any) -> None:
        """Keep what the answer promises."""
        self.before.append((call, said))
        if said is Overspent:
            self.before.pop()  # it is no promise: later there may be enough
            return
        b, a = self.books, call.arguments
        match call.verb:
            case "grant":
                b.known[Row("grant", call.key, b.pool, a["account"], a["amount"])] = said
            case "transfer":
                b.known[Row("transfer", call.key, a["giver"], a["taker"], a["amount"])] = said
            case "hold" | "charge" as kind:
                row = Row(kind, call.key, a["account"], b.used, a["amount"])
                b.known[row], self.rows[said] = said, row
                (self.holds if kind == "hold" else self.charges).append((said, row))
            case "release":
                b.known[Row("release", call.key, self.rows[a["hold"]].debit, b.used, 0, a["hold"])] = said
            case "settle":
                used = min(a["used"], self.rows[a["hold"]].amount)
                row = Row("settle", call.key, self.rows[a["hold"]].debit, b.used, used, a["hold"])
                b.known[row] = said.entry
                if used < a["used"]:
                    b.known[Row("overrun", call.key, b.over, b.used, a["used"] - used)] = None
            case "refund" | "reverse" as kind:
                row = self.rows[a["entry"]]
                b.known[Row(kind, call.key, row.credit, row.debit, a.get("amount", row.amount))] = said


class BatchWriter(LedgerWriter):
    """Several holds at once, and the ends of several."""

    def turn(self) -> None:
        calls = [self.choose() for _ in range(random.randint(2, MOST_AT_ONCE))]
        for verb in ("hold", "settle"):
            if asked := [call for call in calls if call.verb == verb]:
                self.together(verb, asked)

    def choose(self) -> Call:
        if self.holds and random.random() < 0.5:
            hold, row = self.holds.pop(random.randrange(len(self.holds)))
            return Call("settle", str(uuid4()), {"hold": hold, "used": random.randint(0, row.amount * 5 // 4)})
        b = self.books
        amount, account = random.randint(1, 30), random.choice(b.accounts)
        return Call("hold", str(uuid4()), {"account": account, "sink": b.used, "amount": amount, "until": None})

    def together(self, verb: str, calls: list[Call]) -> None:
        made: list[int | None] = []

        def post() -> list[Any]:
            a = [(call.arguments, call.key) for call in calls]
            if verb == "hold":
                holds = [ledger.Hold(one["account"], one["sink"], one["amount"], key) for one, key in a]
                return ledger.hold_batch(holds, source=SOURCE, actor=None, reason=verb)
            ends = [ledger.Settlement(one["hold"], one["used"], key) for one, key in a]
            return list(ledger.settle_batch(ends, source=SOURCE, actor=None, reason=verb))

        def again() -> list[Any]:
            made[:] = [call.booked() for call in calls]
            return post()

        said = self.ask(post, again)
        # A batch is one transaction: the ends of holds are never refused, so all of them were booked or none.
        if verb == "settle" and len({one is None for one in made}) > 1:
            self.books.wrong_answers.append((calls, made))
        for call, answer, before in zip(calls, said, made or [None] * len(calls), strict=True):
            entry = answer.entry if isinstance(answer, ledger.Settled) else answer
            if (isinstance(answer, Exception) and not isinstance(answer, Overspent)) or before not in (None, entry):
                self.books.wrong_answers.append((call, before, answer))
                continue
            self.learn(call, Overspent if isinstance(answer, Overspent) else answer)
