"""One hot account: requests that come while another is under way go together, as one statement and one commit.

The speed of a hot account is that of its commits, one after another. Nobody waits for company here: a request that
finds nobody under way goes at once; those that come meanwhile are the next batch. Each is answered by itself, as the
verb would.

    hot = Combiner(source="meter")
    hold = hot.hold(Hold(account, sink, 60, "841"))            # from any number of threads
    hot.settle(account, Settlement(hold, 40, "841"))

Each call is a transaction of its own, on the connection of whichever thread goes; inside another transaction the batch
would be committed with it, and for everybody: that is refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition
from typing import Any

from django.db import connection

from madang.ledger import actions
from madang.ledger.actions import Hold, Settled, Settlement
from madang.ledger.errors import Refused

MOST = 1_000  # of one batch


@dataclass(eq=False)
class _Asked:
    request: Any
    answer: Any = None
    done: bool = False


@dataclass
class _Queue:
    """The requests of one account and verb; `under_way` while one of their threads is at the database."""

    waiting: deque[_Asked] = field(default_factory=deque)
    under_way: bool = False
    changed: Condition = field(default_factory=Condition)


class Combiner:
    def __init__(self, *, source: str, actor: int | None = None, reason: str = "") -> None:
        self._shared: dict[str, Any] = {"source": source, "actor": actor, "reason": reason}
        self._queues: dict[tuple[str, int], _Queue] = {}

    def hold(self, request: Hold) -> int:
        """As `actions.hold`, without an end by the clock."""
        return int(self._ask("hold", request.account, request, actions.hold_batch))

    def charge(self, request: Hold) -> int:
        """As `actions.charge`, of now."""
        return int(self._ask("charge", request.account, request, actions.charge_batch))

    def settle(self, account: int, request: Settlement) -> Settled:
        """As `actions.settle`, of now. `account` is that of the hold."""
        answer: Settled = self._ask("settle", account, request, actions.settle_batch)
        return answer

    def _ask(self, verb: str, account: int, request: Any, batch: Callable[..., Sequence[Any]]) -> Any:
        if connection.in_atomic_block:
            raise RuntimeError("a combined request is a transaction of its own")
        queue = self._queues.setdefault((verb, account), _Queue())
        mine = _Asked(request)
        with queue.changed:
            queue.waiting.append(mine)
            queue.changed.wait_for(lambda: mine.done or not queue.under_way)
            if not mine.done:
                queue.under_way = True
                queue.waiting.remove(mine)
                queue.waiting.appendleft(mine)
                going = [queue.waiting.popleft() for _ in range(min(MOST, len(queue.waiting)))]
        if not mine.done:
            self._go(queue, mine, going, batch)
        if isinstance(mine.answer, Refused):
            raise mine.answer
        return mine.answer

    def _go(self, queue: _Queue, mine: _Asked, going: list[_Asked], batch: Callable[..., Sequence[Any]]) -> None:
        """Ask for all of these, and answer each. An error of the whole batch is the asking thread's; the others, of
        whom nothing was booked either, ask for themselves."""
        borrowed = connection.connection is None
        answers: Sequence[Any] = ()
        try:
            answers = batch([asked.request for asked in going], **self._shared)
        finally:
            if borrowed:  # many threads ask, and few at a time are at the database
                connection.close()
            with queue.changed:
                for asked, answer in zip(going, answers, strict=False):
                    asked.answer, asked.done = answer, True
                if not answers:
                    queue.waiting.extendleft(asked for asked in reversed(going) if asked is not mine)
                queue.under_way = False
                queue.changed.notify_all()
