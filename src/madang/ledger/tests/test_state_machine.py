"""Any order of verbs, with keys that repeat, against a model in plain Python that says what must come of each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from madang.ledger import actions as ledger
from madang.ledger import errors, queries
from madang.ledger.models import Entry
from madang.ledger.tests.make import books
from madang.workflow.moment import now

SEOUL = ZoneInfo("Asia/Seoul")
amounts = st.integers(0, 9)
keys = st.sampled_from("abcdefghijkl")
sides = st.integers(0, 1)
ages = st.sampled_from([None, 0, 1, 2])  # months ago
untils = st.sampled_from([None, "past", "future"])


@dataclass
class Posted:
    kind: str
    debit: int
    credit: int
    amount: int
    until: str | None = None
    ended_by: int | None = None
    given_back: int = 0
    reversed_by: int | None = None
    about: int | None = None
    used_by: int | None = None
    excess: int | None = None  # of a hold: the overrun of what it didn't cover


@dataclass
class Model:
    """credited, debited, held by account; entries by the order of posting; keys with their payload and answer."""

    credited: dict[int, int]
    debited: dict[int, int]
    held: dict[int, int]
    used: int
    over: int
    posted: list[Posted] = field(default_factory=list)
    seen: dict[tuple[str, str], tuple[Any, Any]] = field(default_factory=dict)
    overrun: dict[int, int] = field(default_factory=dict)

    def free_overdue(self, account: int) -> None:
        for number, entry in enumerate(self.posted):
            if entry.kind == "hold" and entry.debit == account and entry.until == "past" and entry.ended_by is None:
                self.post(Posted("expire", entry.debit, entry.credit, 0, about=number), ends=number)

    def need(self, account: int, amount: int) -> None:
        """Where it isn't there, what is overdue is ended first."""
        if account in self.held and amount > self.available(account):
            self.free_overdue(account)
            if amount > self.available(account):
                raise errors.Overspent("")

    def spend(self, entry: Posted) -> int:
        """Written first; where it isn't there, what is overdue is ended after it."""
        short = entry.debit in self.held and entry.amount > self.available(entry.debit)
        number = self.post(entry)
        if short:
            self.free_overdue(entry.debit)
            if self.available(entry.debit) < 0:
                raise errors.Overspent("")
        return number

    def available(self, account: int) -> int:
        return self.credited[account] - self.debited[account] - self.held[account]

    def post(self, entry: Posted, *, ends: int | None = None) -> int:
        self.posted.append(entry)
        if ends is not None:
            self.posted[ends].ended_by = len(self.posted) - 1
            self.held[entry.debit] -= self.posted[ends].amount
        if entry.kind == "hold":
            self.held[entry.debit] += entry.amount
        else:
            self.debited[entry.debit] += entry.amount
            self.credited[entry.credit] += entry.amount
        return len(self.posted) - 1

    def lose(self, key: str, hold: int | None, account: int, amount: int) -> int:
        """An overrun, of a hold or of none: no key names two of them."""
        over = Posted("overrun", self.over, self.used, amount, used_by=account)
        return int(self.keyed("overrun", key, (hold, account, amount), lambda: self.post(over)))

    def keyed(self, kind: str, key: str, payload: Any, effect: Callable[[], Any]) -> Any:
        """The answer given before, a conflict, or what `effect` answers now."""
        if (kind, key) in self.seen:
            old, answer = self.seen[kind, key]
            if old != payload:
                raise errors.KeyConflict("")
            return answer
        answer = effect()
        self.seen[kind, key] = (payload, answer)
        return answer


class Lending(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.around = transaction.atomic()
        self.around.__enter__()
        self.books = books(granted=0)
        self.over = ledger.site_account(commodity=self.books.commodity, role="overrun")
        self.two = (self.books.mine, self.books.account())
        every = (*self.two, self.books.pool, self.books.used, self.over)
        self.model = Model(
            credited=dict.fromkeys(every, 0), debited=dict.fromkeys(every, 0), held=dict.fromkeys(self.two, 0),
            used=self.books.used, over=self.over,
        )  # fmt: skip
        self.ids: list[int] = []
        self.closed: date | None = None
        self.source = f"m{self.books.commodity}"

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.around.__exit__(None, None, None)

    def step(self, verb: Callable[..., Any], effect: Callable[[Model], Any], **arguments: Any) -> None:
        """Do it to both. Every answer and every refusal must be the one that the model predicts."""
        after = copy.deepcopy(self.model)
        said: Any
        try:
            expected: Any = effect(after)
        except errors.Refused as refused:
            expected, after = type(refused), self.model
        try:
            said = verb(**arguments, source=self.source, actor=None, reason="")
        except errors.Refused as refused:
            said = type(refused)
        self.model = after
        known = Entry.objects.filter(pk__gt=self.ids[-1] if self.ids else 0, debit_id__in=after.debited)
        self.ids += known.order_by("pk").values_list("pk", flat=True)
        assert len(self.ids) == len(after.posted), f"{verb.__name__} {arguments}: other entries than predicted"
        if isinstance(expected, tuple):
            expected = (self.ids[expected[0]], *expected[1:])
        elif isinstance(expected, int):
            expected = self.ids[expected]
        assert said == expected, f"{verb.__name__} {arguments}: {said} where {expected} was predicted"

    def months_ago(self, age: int | None) -> datetime | None:
        if age is None:
            return None
        day = now().astimezone(SEOUL).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        for _ in range(age):
            day = (day - timedelta(days=1)).replace(day=1)
        return day

    def pick(self, number: int, *kinds: str) -> int | None:
        of_kind = [index for index, entry in enumerate(self.model.posted) if not kinds or entry.kind in kinds]
        return of_kind[number % len(of_kind)] if of_kind else None

    @initialize(first=st.integers(5, 20), second=amounts)
    def begin_with_something(self, first, second):
        self.grant(0, first, "first")
        self.grant(1, second, "second")

    @rule(side=sides, amount=amounts, key=keys)
    def grant(self, side, amount, key):
        account, pool = self.two[side], self.books.pool
        self.step(
            ledger.grant,
            lambda m: m.keyed("grant", key, (account, amount), lambda: m.post(Posted("grant", pool, account, amount))),
            pool=pool, account=account, amount=amount, key=key,
        )  # fmt: skip

    @rule(side=sides, amount=amounts, key=keys, until=untils)
    def hold(self, side, amount, key, until):
        account, used = self.two[side], self.books.used
        when = {None: None, "past": now() - timedelta(hours=1), "future": now() + timedelta(days=1)}[until]

        def effect(m: Model) -> Any:
            def fresh() -> int:
                m.need(account, amount)
                return m.post(Posted("hold", account, used, amount, until))

            return m.keyed("hold", key, (account, amount), fresh)

        self.step(ledger.hold, effect, account=account, sink=used, amount=amount, key=key, until=when)

    @precondition(lambda self: self.pick(0, "hold") is not None)
    @rule(number=st.integers(0, 9), used=amounts, key=keys, age=ages)
    def settle(self, number, used, key, age):
        index = self.pick(number, "hold")

        def effect(m: Model) -> Any:
            hold = m.posted[index]
            covered = min(used, hold.amount)
            account = hold.debit
            if ("settle", key) in m.seen:
                old, answer = m.seen["settle", key]
                if old != (index, used):
                    raise errors.KeyConflict("")
                return answer
            if hold.ended_by is not None and m.posted[hold.ended_by].kind == "settle":
                before = next(answer for (old, answer) in m.seen.values() if answer == hold.settled)
                if before[1] + before[2] != used:
                    raise errors.AlreadyResolved("")
                return before
            freed = hold.ended_by
            if freed is not None:
                if hold.excess is None:
                    hold.excess = m.lose(key, index, account, used) if used else None
                    return (hold.excess if used else freed, 0, used)
                if m.seen.get(("overrun", key), ((index,), None))[0][0] != index:
                    raise errors.KeyConflict("")
                if m.posted[hold.excess].amount != used:
                    raise errors.KeyConflict("") if ("overrun", key) in m.seen else errors.AlreadyResolved("")
                return (hold.excess, 0, used)
            entry = m.post(Posted("settle", account, hold.credit, covered, about=index), ends=index)
            if used > covered:
                hold.excess = m.lose(key, index, account, used - covered)
            hold.settled = answer = (entry, covered, used - covered)
            m.seen["settle", key] = ((index, used), answer)
            return answer

        self.step(ledger.settle, effect, hold=self.ids[index], used=used, key=f"{key}", event_at=self.months_ago(age))

    @precondition(lambda self: self.pick(0, "hold") is not None)
    @rule(number=st.integers(0, 9), key=keys, verb=st.sampled_from(["release", "expire"]))
    def free(self, number, key, verb):
        index = self.pick(number, "hold")

        def effect(m: Model) -> Any:
            hold = m.posted[index]
            if verb == "expire" and hold.until != "past":
                raise errors.NotOverdue("")

            def fresh() -> int:
                if hold.ended_by is None:
                    return m.post(Posted(verb, hold.debit, hold.credit, 0, about=index), ends=index)
                if m.posted[hold.ended_by].kind == "settle":
                    raise errors.AlreadyResolved("")
                return hold.ended_by

            posted, had = len(m.posted), (verb, key) in m.seen
            answer = m.keyed(verb, key, index, fresh)
            if not had and len(m.posted) == posted:  # freed before: that key was not used
                del m.seen[verb, key]
            return answer

        self.step(getattr(ledger, verb), effect, hold=self.ids[index], key=key)

    @rule(side=sides, amount=amounts, key=keys, age=ages)
    def charge(self, side, amount, key, age):
        account, used = self.two[side], self.books.used

        def effect(m: Model) -> Any:
            def fresh() -> int:
                return m.spend(Posted("charge", account, used, amount))

            return m.keyed("charge", key, (account, amount), fresh)

        self.step(
            ledger.charge, effect, account=account, sink=used, amount=amount, key=key, event_at=self.months_ago(age)
        )

    @rule(side=sides, amount=amounts, key=keys, age=ages)
    def overrun(self, side, amount, key, age):
        self.step(
            ledger.overrun,
            lambda m: m.lose(key, None, self.two[side], amount),
            account=self.two[side], sink=self.books.used, amount=amount, key=key, event_at=self.months_ago(age),
        )  # fmt: skip

    @precondition(lambda self: any(kind == "overrun" for kind, _key in self.model.seen))
    @rule(number=st.integers(0, 9))
    def overrun_again(self, number):
        """The same account, amount and key: a replay, or a conflict where that was what a hold didn't cover."""
        seen = [(key, *payload) for (kind, key), (payload, _answer) in self.model.seen.items() if kind == "overrun"]
        key, _hold, account, amount = seen[number % len(seen)]
        self.overrun(self.two.index(account), amount, key, None)

    @rule(side=sides, amount=amounts, key=keys, verb=st.sampled_from(["transfer", "reclaim"]))
    def give(self, side, amount, key, verb):
        giver = self.two[side]
        taker = self.two[1 - side] if verb == "transfer" else self.books.pool

        def effect(m: Model) -> Any:
            def fresh() -> int:
                return m.spend(Posted(verb, giver, taker, amount))

            return m.keyed(verb, key, (giver, taker, amount), fresh)

        names = ("giver", "taker") if verb == "transfer" else ("account", "pool")
        self.step(getattr(ledger, verb), effect, **{names[0]: giver, names[1]: taker}, amount=amount, key=key)

    @precondition(lambda self: self.model.posted)
    @rule(number=st.integers(0, 99), amount=amounts, key=keys)
    def refund(self, number, amount, key):
        index = self.pick(number, "settle", "charge") if number % 5 else self.pick(number)
        if index is None:
            return

        def effect(m: Model) -> Any:
            old = m.posted[index]
            if old.kind not in ("settle", "charge"):
                raise errors.NotRefundable("")

            def fresh() -> int:
                if old.given_back + amount > old.amount:
                    raise errors.NotRefundable("")
                old.given_back += amount
                return m.post(Posted("refund", old.credit, old.debit, amount, about=index))

            return m.keyed("refund", key, (index, amount), fresh)

        self.step(ledger.refund, effect, entry=self.ids[index], amount=amount, key=key)

    @precondition(lambda self: self.model.posted)
    @rule(number=st.integers(0, 99), key=keys)
    def reverse(self, number, key):
        index = self.pick(number)

        def effect(m: Model) -> Any:
            old = m.posted[index]
            if old.kind in ("hold", "release", "expire", "reverse"):
                raise errors.NotReversible("")

            def fresh() -> int:
                if old.reversed_by is not None:
                    raise errors.AlreadyReversed("")
                if old.given_back > 0:
                    raise errors.NotReversible("")
                old.given_back = old.amount
                if old.kind == "refund":
                    m.posted[old.about].given_back -= old.amount
                old.reversed_by = m.spend(
                    Posted("reverse", old.credit, old.debit, old.amount, about=index, used_by=old.used_by)
                )
                return old.reversed_by

            return m.keyed("reverse", key, index, fresh)

        self.step(ledger.reverse, effect, entry=self.ids[index], key=key)

    @rule(age=st.integers(0, 2))
    def close_month(self, age):
        month = self.months_ago(age).date()
        if age == 0:
            with pytest.raises(errors.MonthNotOver):
                ledger.close_month(month=month, actor=None)
            return
        ledger.close_month(month=month, actor=None)
        self.closed = max(self.closed or month, month)
        self.entries_at_closing = len(self.ids)

    @invariant()
    def the_balances_are_those_of_the_model(self):
        m = copy.deepcopy(self.model)
        for account in self.two:
            m.free_overdue(account)
        stored = queries.balances([*self.two, self.books.used, self.over])
        for account, balance in stored.items():
            predicted = (m.credited[account], m.debited[account], m.held.get(account, 0))
            assert (balance.credited, balance.debited, balance.held) == predicted, f"balance of {account}"
        for account in self.two:
            assert stored[account].available >= 0, f"account {account} is overspent"

    @invariant()
    def every_balance_is_the_sum_of_its_entries(self):
        assert queries.check() == []

    @invariant()
    def nothing_books_into_a_closed_month(self):
        if self.closed:
            late = Entry.objects.filter(pk__in=self.ids[self.entries_at_closing :], period__lte=self.closed)
            assert not late.exists(), "an entry in a closed month"


@pytest.mark.django_db
def test_no_order_of_verbs_breaks_the_ledger():
    run_state_machine_as_test(
        Lending,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
